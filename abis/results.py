# SPDX-License-Identifier: Apache-2.0
"""Results of a gallery: small frozen records, which print as tables and become dictionaries and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from html import escape
from typing import Any, overload

from abis.comparison.coverage import Coverage
from abis.scoring.fusion import Evidence
from abis.store import Status
from abis.template import Position

__all__ = ["Answer", "Candidate", "GalleryInfo", "Identification", "Outcome", "Verification", "plain"]

_SHOWN = 50  # rows of a notebook's table


class Answer:
    """Base of the results that are dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, texts, numbers and None; positions and outcomes by name."""
        fields: dict[str, Any] = plain(self)
        return fields

    def to_json(self) -> str:
        """:meth:`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a table with the same columns: ``pandas.DataFrame(result.rows())``, or polars'.

        A result that is a sequence has a row for each of its items, any other has one. The evidence is one column for
        each position, its score.
        """
        items: Iterable[Any] = self if isinstance(self, Sequence) else [self]
        found = [_flat(item) for item in items]
        columns = dict.fromkeys(name for row in found for name in row)
        return [{name: row.get(name) for name in columns} for row in found]

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        rows = self.rows()
        if not rows:
            return f"<p>{escape(str(self))}</p>"
        head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row.values()) + "</tr>"
            for row in rows[:_SHOWN]
        )
        more = f"<p>{len(rows) - _SHOWN:,} more</p>" if len(rows) > _SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def plain(value: object) -> Any:
    """A value as what JSON knows: dataclasses as dictionaries, positions by name, sequences as lists."""
    if isinstance(value, Enum):
        return value.name if isinstance(value, Position) else str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes | int | float) or value is None:
        return value
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def _flat(item: object) -> dict[str, Any]:
    """One level: evidence by position, other parts as they are."""
    row: dict[str, Any] = {}
    for name, value in plain(item).items():
        if name == "evidence":
            row.update({part["position"].lower(): part["score"] for part in value})
        elif isinstance(value, dict):
            row.update({f"{name}_{key}".lower(): part for key, part in value.items()})
        else:
            row[name] = value
    return row


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Candidate(Answer):
    """A row of the result of :meth:`Gallery.identify`.

    Attributes:
        rank: from 1.
        subject_id: as enrolled.
        score: log10 likelihood ratio, the sum over ``evidence``.
        threshold: the score from which a subject with this evidence is listed at the false positive
            identification rate asked for; None where none was.
        evidence: what each of the probe's positions says; none for what the subject lacks.
        status: of the identity: who is locked or terminated is found all the same.
    """

    rank: int
    subject_id: str
    score: float
    threshold: float | None
    evidence: tuple[Evidence, ...]
    status: Status = Status.ACTIVE

    def __str__(self) -> str:
        limit = "" if self.threshold is None else f"  {self.threshold:9.1f}"
        status = "" if self.status == Status.ACTIVE else f"  {self.status}"
        return (
            f"{self.rank:4}  {self.subject_id:20}  {self.score:6.1f}{limit}  {_listed(self.evidence)}{status}"
        )


@dataclass(frozen=True, repr=False)
class Identification(Answer, Sequence[Candidate]):
    """Candidates, best first, equal scores in the order of subject_id; a sequence of them.

    Attributes:
        candidates: the rows.
        compared: how many times a probe template was compared in full with a reference.
        comparable: how many times it could have been: the number that ``exact=True`` looks at.
        gallery_size: subjects in the gallery.
        fpir: false positive identification rate asked for, or None where the best are listed however low.
        coverage: number of subjects that could be compared with the probe; of the others, the kinds of their templates.
    """

    candidates: tuple[Candidate, ...]
    compared: int
    comparable: int
    gallery_size: int
    fpir: float | None
    coverage: Coverage | None = None

    def __len__(self) -> int:
        return len(self.candidates)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self.candidates[index]

    def __repr__(self) -> str:
        best = f", best {self[0].subject_id!r} at {self[0].score:.1f}" if self.candidates else ""
        return f"Identification({len(self)} candidates{best}; {self.gallery_size:,} subjects)"

    def __str__(self) -> str:
        limit = "" if self.fpir is None else "  threshold"
        heading = f"{'rank':>4}  {'subject':20}  {'score':>6}{limit}  evidence"
        lines = [heading, *map(str, self.candidates)]
        if not self.candidates:
            limit = "" if self.fpir is None else f" at a false positive identification rate of {self.fpir:g}"
            lines = [f"no candidate{limit}"]
        lines.append(
            f"{self.compared:,} of {self.comparable:,} comparable references compared in full; "
            f"{self.gallery_size:,} subjects"
        )
        if self.coverage is not None and not self.coverage.is_full:
            lines.append(str(self.coverage))
        return "\n".join(lines)


class Outcome(StrEnum):
    """What a verification comes to. Only the first two say something about likeness."""

    MATCH = "match"
    NON_MATCH = "non-match"
    LOCKED = "locked"
    """The holder has locked the identity; nothing was compared."""
    TERMINATED = "terminated"
    """The authority has terminated it; nothing was compared."""
    REFUSED = "refused"
    """The policy asks for more than there is, or liveness detection failed; ``reason`` says which."""
    NOTHING_COMPARABLE = "nothing comparable"
    """The subject is enrolled, but no template of the probe can be compared with its own; ``reason`` says why."""
    PAUSED = "paused"
    """Too many verifications of the subject have failed in a row; nothing was compared. ``reason`` says until when."""
    NOT_ENROLLED = "not enrolled"
    """There is no such subject; of :meth:`Gallery.verify_many` only."""


@dataclass(frozen=True, repr=False)
class Verification(Answer):
    """The result of :meth:`Gallery.verify`; true where it is a match.

    Attributes:
        outcome: the decision.
        score: log10 likelihood ratio, the sum over ``evidence``; 0 where there is none.
        threshold: at which strangers reach the false match rate asked for, with this evidence.
        evidence: what each of the probe's positions says; none for what the subject lacks.
        reason: why it was refused, what is not comparable, or that the threshold cannot be reached; else empty.
        subject_id: the claim that was decided.
    """

    outcome: Outcome
    score: float
    threshold: float
    evidence: tuple[Evidence, ...]
    reason: str = ""
    subject_id: str = ""

    @property
    def match(self) -> bool:
        """There is evidence, its score reaches the threshold, and nothing speaks against the identity."""
        return self.outcome == Outcome.MATCH

    def __bool__(self) -> bool:
        return self.match

    def __repr__(self) -> str:
        return (
            f"Verification({self.subject_id!r}: {self.outcome}, score {self.score:.1f}, "
            f"threshold {self.threshold:.1f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, texts, numbers and None; ``match`` is among them."""
        return {"subject_id": self.subject_id, "match": self.match} | super().to_dict()

    def __str__(self) -> str:
        if self.outcome in (Outcome.MATCH, Outcome.NON_MATCH):
            why = f"score {self.score:.1f}, threshold {self.threshold:.1f} ({_listed(self.evidence)})"
            if self.reason:
                why += f"; {self.reason}"
        else:
            why = self.reason
        return f"{self.outcome}: {why}" if why else str(self.outcome)


@dataclass(frozen=True)
class GalleryInfo(Answer):
    """What a gallery holds and takes.

    Attributes:
        subjects: enrolled now.
        encounters: of all subjects.
        templates: by position.
        memory_bytes: of the references loaded, 0 before they are.
        disk_bytes: of the database's files; None where a server keeps them.
        change: number of the last change.
        schema_version: of the store.
    """

    subjects: int
    encounters: int
    templates: Mapping[Position, int]
    memory_bytes: int
    disk_bytes: int | None
    change: int
    schema_version: int


def _listed(evidence: Sequence[Evidence]) -> str:
    return ", ".join(map(str, evidence)) or "no evidence"
