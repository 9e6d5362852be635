# SPDX-License-Identifier: Apache-2.0
"""Results of a gallery: small frozen records, which print as tables and become dictionaries and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, overload

from abis.answers import Answer
from abis.comparison.coverage import Coverage
from abis.scoring.fusion import Evidence
from abis.store import Status
from abis.template import Position
from abis.text import counted, printable

__all__ = ["Candidate", "GalleryInfo", "Identification", "Outcome", "Verification"]


@dataclass(frozen=True)
class Candidate(Answer):
    """A row of the result of :meth:`Gallery.identify`.

    Attributes:
        rank: from 1.
        subject_id: as enrolled.
        score: log10 likelihood ratio, the sum over ``evidence``.
        threshold: the score from which a subject with this evidence is listed at the false positive
            identification rate asked for; None where none was.
        evidence: the evidence of each position of the probe that the subject also has.
        status: of the identity. A search also finds locked and terminated identities.
        disclosed: False where the gallery discloses decisions only: score, threshold and evidence have no meaning then.
    """

    rank: int
    subject_id: str
    score: float
    threshold: float | None
    evidence: tuple[Evidence, ...]
    status: Status = Status.ACTIVE
    disclosed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The candidate as dictionaries, lists, texts, numbers and None; what is not disclosed is None."""
        return _without_undisclosed(super().to_dict(), self.disclosed)

    def __str__(self) -> str:
        limit = "" if self.threshold is None else f"  {self.threshold:9.1f}"
        status = "" if self.status == Status.ACTIVE else f"  {self.status}"
        subject_id = printable(self.subject_id)
        if not self.disclosed:
            return f"{self.rank:4}  {subject_id:20}{status}".rstrip()
        return f"{self.rank:4}  {subject_id:20}  {self.score:6.1f}{limit}  {_listed(self.evidence)}{status}"


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
        disclosed: False where the gallery discloses decisions only: see :class:`Candidate`. The counts are 0 then, and
            where scores are rounded.
    """

    candidates: tuple[Candidate, ...]
    compared: int
    comparable: int
    gallery_size: int
    fpir: float | None
    coverage: Coverage | None = None
    disclosed: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, texts, numbers and None."""
        found = super().to_dict() | {"candidates": [candidate.to_dict() for candidate in self]}
        del found["disclosed"]
        return found

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
        if self.candidates and not self.disclosed:
            best = f", first {self[0].subject_id!r}"
        return f"Identification({len(self)} candidates{best}; {self.gallery_size:,} subjects)"

    def __str__(self) -> str:
        limit = "" if self.fpir is None else "  threshold"
        heading = f"{'rank':>4}  {'subject':20}  {'score':>6}{limit}  evidence"
        if not self.disclosed:
            heading = f"{'rank':>4}  subject"
        lines = [heading, *map(str, self.candidates)]
        if not self.candidates:
            limit = "" if self.fpir is None else f" at a false positive identification rate of {self.fpir:g}"
            lines = [f"no candidate{limit}"]
        size = counted(self.gallery_size, "subject")
        if self.comparable:  # else: nothing could be compared, or the gallery does not tell
            size = f"{self.compared:,} of {self.comparable:,} comparable references compared in full; {size}"
        lines.append(size)
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
        evidence: the evidence of each position of the probe that the subject also has.
        reason: why it was refused, what is not comparable, or that the threshold cannot be reached; else empty.
        subject_id: the claim that was decided.
        disclosed: False where the gallery discloses decisions only: score, threshold and evidence have no meaning then.
    """

    outcome: Outcome
    score: float
    threshold: float
    evidence: tuple[Evidence, ...]
    reason: str = ""
    subject_id: str = ""
    disclosed: bool = True

    @property
    def match(self) -> bool:
        """There is evidence, its score reaches the threshold, and nothing speaks against the identity."""
        return self.outcome == Outcome.MATCH

    def __bool__(self) -> bool:
        return self.match

    def __repr__(self) -> str:
        if not self.disclosed:
            return f"Verification({self.subject_id!r}: {self.outcome})"
        return (
            f"Verification({self.subject_id!r}: {self.outcome}, score {self.score:.1f}, "
            f"threshold {self.threshold:.1f})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, texts, numbers and None; ``match`` is among them.

        What is not disclosed is None.
        """
        found = {"subject_id": self.subject_id, "match": self.match} | super().to_dict()
        return _without_undisclosed(found, self.disclosed)

    def __str__(self) -> str:
        if self.outcome in (Outcome.MATCH, Outcome.NON_MATCH) and self.disclosed:
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
        kinds: number of subjects by the kinds of their templates, such as ``FACE by 'sface_2021dec' (128-d)``; None
            before references are loaded, for the models are known then.
        coverage: number of subjects that can be compared with all others; None before references are loaded.
    """

    subjects: int
    encounters: int
    templates: Mapping[Position, int]
    memory_bytes: int
    disk_bytes: int | None
    change: int
    schema_version: int
    kinds: Mapping[str, int] | None = None
    coverage: Coverage | None = None


def _without_undisclosed(found: dict[str, Any], disclosed: bool) -> dict[str, Any]:
    del found["disclosed"]
    return found if disclosed else found | {"score": None, "threshold": None, "evidence": None}


def _listed(evidence: Sequence[Evidence]) -> str:
    return ", ".join(map(str, evidence)) or "no evidence"
