# SPDX-License-Identifier: Apache-2.0
"""The messages between clients and shards: plain values, with templates in their stored form.

No message prints a template. A shard returns a refusal as a value, so that Ray neither wraps nor logs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abis.answers import Answer
from abis.deduplication import FoundPair
from abis.errors import AbisError
from abis.formats import native
from abis.index.coverage import KindSets
from abis.results import Identification
from abis.store import Enrollment, StoredEnrollment
from abis.store.audit import Actor
from abis.store.parts import Whole
from abis.template import Template

__all__ = [
    "Answers",
    "CallHeader",
    "Keys",
    "NamedPair",
    "Page",
    "Plain",
    "PlainClaim",
    "Refused",
    "ShardInfo",
    "ShardPopulation",
    "enrollments_of",
    "plain",
    "plain_enrollment",
    "templates_of",
]

Plain = Sequence[bytes]
"""Templates in their native form."""


class CallHeader(NamedTuple):
    """The part that all calls have.

    Attributes:
        version: number of the division into shards that the client knows.
        actor: actor and purpose for the shard's audit log; None: none is stated.
        again: whether the client has sent the same call before and received no answer.
    """

    version: int
    actor: Actor | None
    again: bool


@dataclass(frozen=True)
class Refused:
    """The answer to a call that a shard refuses: the error to raise in the client."""

    error: AbisError | ValueError | TypeError


@dataclass(frozen=True)
class Answers:
    """The answer of a shard to a search with several probes.

    Attributes:
        results: for each probe, the identification, or the reason why no reference of this shard is comparable.
        subjects: number of subjects in the shard.
        calibrations: digest of the shard's own calibrations.
    """

    results: Sequence[Identification | str]
    subjects: int
    calibrations: str


class PlainClaim(NamedTuple):
    """:class:`abis.Claim` with templates in their native form."""

    subject_id: str
    templates: Plain
    liveness: bool | None
    encounters: frozenset[str] | None

    def __repr__(self) -> str:
        return f"PlainClaim({self.subject_id!r}, {len(self.templates)} templates)"


class Page(NamedTuple):
    """A page of the subjects of a shard during a resharding.

    Attributes:
        subjects: number of subjects in the page.
        last: key after which the next page begins.
        leaving: the subjects that belong to other shards, by number of that shard.
    """

    subjects: int
    last: int
    leaving: Mapping[int, Sequence[Whole]]


class Keys(NamedTuple):
    """The subjects of a shard with keys ``first`` to ``last``, without encounters above ``last_encounter``."""

    first: int
    last: int
    last_encounter: int


class NamedPair(NamedTuple):
    """A pair of subjects that a shard has found.

    Attributes:
        reference: subject_id of the shard's own subject.
        pair: the pair, with names of encounters; the probe's key is that of the shard that sent the probe.
    """

    reference: str
    pair: FoundPair


class ShardPopulation(NamedTuple):
    """The size of a shard as of one change: number of subjects, largest keys, and subjects by kinds of templates."""

    subjects: int
    last_subject: int
    last_encounter: int
    change: int
    calibrations: str
    kinds: KindSets

    def ranges(self, first: int, size: int) -> Iterator[Keys]:
        """All subjects from a key on, in ranges of ``size`` keys."""
        for begin in range(first, self.last_subject + 1, size):
            yield Keys(begin, min(begin + size - 1, self.last_subject), self.last_encounter)


@dataclass(frozen=True)
class ShardInfo(Answer):
    """The present state of a shard.

    Attributes:
        number: from 0.
        location: folder or URL of its gallery, without a password.
        node: name of the machine that serves the shard; empty if the shard does not answer.
        process: process id on that machine; 0 if the shard does not answer.
        subjects: number of subjects enrolled.
        memory_bytes: memory of its references; 0 before they are loaded.
        fault: why the shard does not answer; empty if it does.
    """

    number: int
    location: str
    node: str = ""
    process: int = 0
    subjects: int = 0
    memory_bytes: int = 0
    fault: str = ""


def plain(templates: Iterable[Template]) -> Plain:
    """Templates in their native form, without loss."""
    return [native.write(template) for template in templates]


def templates_of(plain: Plain) -> list[Template]:
    """The templates of their native form."""
    return [native.read(one) for one in plain]


def plain_enrollment(enrollment: Enrollment) -> StoredEnrollment:
    """An enrollment with templates in their native form."""
    return StoredEnrollment(
        enrollment.subject_id,
        enrollment.encounter_id,
        [(int(t.position), native.write(t)) for t in enrollment.templates],
        enrollment.labels,
        enrollment.level,
    )


def enrollments_of(stored: Iterable[StoredEnrollment]) -> list[Enrollment]:
    """Enrollments of their stored form."""
    return [
        Enrollment(e.subject_id, [native.read(t) for _, t in e.templates], e.encounter_id, e.labels, e.level)
        for e in stored
    ]
