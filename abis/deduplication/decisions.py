# SPDX-License-Identifier: Apache-2.0
"""Decisions about pairs: the file that the adjudication page saves, and the merges that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from abis.errors import AbisError, FormatError

__all__ = ["DecidedPair", "Decision", "Decisions", "merges", "read_decisions"]

_SubjectId = Annotated[str, msgspec.Meta(min_length=1)]


class Decision(StrEnum):
    """What a person decided about a pair."""

    ONE_PERSON = "one person"
    TWO_PEOPLE = "two people"
    CANNOT_SAY = "cannot say"


class DecidedPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair of subjects and the decision about it.

    Attributes:
        subject_id: the subject that was enrolled first.
        other_id: the subject that was enrolled later.
        decision: what was decided.
    """

    subject_id: _SubjectId
    other_id: _SubjectId
    decision: Decision


class Decisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of decisions.

    Attributes:
        abis_decisions: version of the format.
        change: :attr:`Duplicates.change <abis.deduplication.Duplicates.change>` of the de-duplication.
        pairs: the decided pairs, in the order of the page.
    """

    abis_decisions: Literal[1]
    change: Annotated[int, msgspec.Meta(ge=0)]
    pairs: tuple[DecidedPair, ...]

    @property
    def two_people(self) -> frozenset[frozenset[str]]:
        """The pairs that were decided to be two people, each as a set of two subject_ids."""
        return frozenset(
            frozenset((pair.subject_id, pair.other_id))
            for pair in self.pairs
            if pair.decision == Decision.TWO_PEOPLE
        )


def read_decisions(path: Path) -> Decisions:
    """Read a file of decisions.

    Raises:
        FormatError: the file is not one that the adjudication page saved.
        OSError: the file cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Decisions)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FormatError(
            f"{path}: not a file of decisions: {error}; expected the file that the page of "
            "`abis deduplicate --html` saves"
        ) from None


def merges(pairs: Iterable[DecidedPair]) -> list[tuple[str, str]]:
    """The merges that make one subject of each person: (source, target) each, in order.

    The target of a person is the first subject, in the order of the pairs, that was not enrolled later than another of
    the person's subjects.

    Raises:
        AbisError: two subjects were decided to be two people, though others make them one person.

    >>> merges([DecidedPair("a", "b", Decision.ONE_PERSON), DecidedPair("b", "c", Decision.ONE_PERSON)])
    [('b', 'a'), ('c', 'a')]
    """
    pairs = list(pairs)
    person: dict[str, list[str]] = {}  # all subjects of the person, by each of them
    later: set[str] = set()
    for pair in pairs:
        if pair.decision == Decision.ONE_PERSON:
            first = person.setdefault(pair.subject_id, [pair.subject_id])
            second = person.setdefault(pair.other_id, [pair.other_id])
            later.add(pair.other_id)
            if first is not second:
                first += second
                person |= dict.fromkeys(second, first)
    for pair in pairs:
        if pair.decision == Decision.TWO_PEOPLE and pair.other_id in person.get(pair.subject_id, ()):
            raise AbisError(
                f"{pair.subject_id!r} and {pair.other_id!r} were decided to be two people, but other decisions make "
                f"them one person, with {', '.join(map(repr, person[pair.subject_id]))}; change a decision"
            )
    found = []
    for subjects in {id(own): own for own in person.values()}.values():
        target = next((subject for subject in subjects if subject not in later), subjects[0])
        found += [(subject, target) for subject in subjects if subject != target]
    return found
