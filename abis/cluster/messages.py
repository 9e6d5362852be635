# SPDX-License-Identifier: Apache-2.0
"""What clients and shards say to each other: plain values, and templates in their stored form.

Nothing here prints a template. What a shard refuses comes back as a value, so that Ray neither wraps nor
logs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abis.deduplication import FoundPair
from abis.errors import AbisError
from abis.formats import native
from abis.results import Identification
from abis.store import Enrollment, StoredEnrollment
from abis.store.audit import Actor
from abis.store.parts import Whole
from abis.template import Template

__all__ = [
    "Answers",
    "Asked",
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


class Asked(NamedTuple):
    """What comes with every call.

    Attributes:
        version: of the division into shards that the client knows.
        actor: who acts, for the shard's audit log.
        again: whether the same was asked before, and no answer came.
    """

    version: int
    actor: Actor | None
    again: bool


@dataclass(frozen=True)
class Refused:
    """In place of an answer: what is wrong."""

    error: AbisError | ValueError | TypeError


@dataclass(frozen=True)
class Answers:
    """What a shard says to some probes.

    Attributes:
        results: one each; in place of one, why nothing of this shard can be compared.
        subjects: in the shard.
        calibrations: a digest of those that were set for it.
    """

    results: Sequence[Identification | str]
    subjects: int
    calibrations: str


class PlainClaim(NamedTuple):
    """:class:`abis.Claim` with templates in their native form."""

    subject_id: str
    templates: Plain
    liveness: bool | None

    def __repr__(self) -> str:
        return f"PlainClaim({self.subject_id!r}, {len(self.templates)} templates)"


class Page(NamedTuple):
    """Some subjects of a shard that is being divided.

    Attributes:
        subjects: how many there are in the page.
        last: where the next page begins.
        leaving: those of them who belong to other shards, by shard.
    """

    subjects: int
    last: int
    leaving: Mapping[int, Sequence[Whole]]


class Keys(NamedTuple):
    """Subjects of a shard by their keys, ``first`` to ``last``, without encounters with a key above the last."""

    first: int
    last: int
    last_encounter: int


class NamedPair(NamedTuple):
    """A pair that a shard found.

    Attributes:
        reference: subject_id of its own subject.
        pair: encounters are named in it; the probe's key is of the shard that sent it.
    """

    reference: str
    pair: FoundPair


class ShardPopulation(NamedTuple):
    """Who is in a shard, as of one change of it; keys go up to the last ones."""

    subjects: int
    last_subject: int
    last_encounter: int
    change: int
    calibrations: str

    def ranges(self, first: int, size: int) -> Iterator[Keys]:
        """All subjects from one on, so many keys at a time."""
        for begin in range(first, self.last_subject + 1, size):
            yield Keys(begin, min(begin + size - 1, self.last_subject), self.last_encounter)


@dataclass(frozen=True)
class ShardInfo:
    """A shard as it is now.

    Attributes:
        number: from 0.
        location: where it is kept, without a password.
        node: the name of the machine that serves it; empty where the shard does not answer.
        process: its id there; 0 where the shard does not answer.
        subjects: enrolled in it.
        memory_bytes: of its references, 0 before they are loaded.
        fault: why it does not answer; empty where it does.
    """

    number: int
    location: str
    node: str = ""
    process: int = 0
    subjects: int = 0
    memory_bytes: int = 0
    fault: str = ""


def plain(templates: Iterable[Template]) -> Plain:
    """Templates in their native form, which loses nothing."""
    return [native.write(template) for template in templates]


def templates_of(plain: Plain) -> list[Template]:
    """The templates again."""
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
    """The enrollments again."""
    return [
        Enrollment(e.subject_id, [native.read(t) for _, t in e.templates], e.encounter_id, e.labels, e.level)
        for e in stored
    ]
