# SPDX-License-Identifier: Apache-2.0
"""One person, one identity, at enrolment: those to be enrolled against each other and against newcomers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from abis.deduplication.pairing import Criterion, FoundPair, find_pairs
from abis.deduplication.tiles import Tile
from abis.index.references import View
from abis.index.segments import Entry, Segment
from abis.scoring.calibration import Calibrations
from abis.store import Enrollment

__all__ = ["Newcomers"]


class Newcomers:
    """People who are about to be enrolled.

    Args:
        enrollments: of them; pairs have their numbers from 1 as keys of probes.
        fpir: false positive identification rate of a search for one of them.
        calibrations: in force for their templates.
    """

    def __init__(self, enrollments: Sequence[Enrollment], *, fpir: float, calibrations: Calibrations) -> None:
        self._enrollments = enrollments
        self._fpir = fpir
        self._calibrations = calibrations
        numbers = enumerate(enrollments, 1)
        entries = (Entry(number, number, t) for number, e in numbers for t in e.templates)
        self._tile = Tile.of([Segment.of(0, 0, entries)])

    def among_themselves(self, gallery_size: int) -> Iterator[FoundPair]:
        """Pairs of two subjects, in a gallery that is to hold so many; both keys are numbers of enrollments."""
        if len(self._enrollments) < 2:
            return
        criterion = Criterion(gallery_size, self._fpir)
        for pair in find_pairs(self._tile, self._tile, criterion, self._calibrations, ordered=True):
            one, other = self._enrollments[pair.probe - 1], self._enrollments[pair.reference - 1]
            if one.subject_id != other.subject_id:
                yield pair

    def among_enrolled(self, tiles: Iterable[Tile], gallery_size: int) -> list[FoundPair]:
        """Pairs with those of some tiles, in a gallery that is to hold so many. Tables are made of newcomers only."""
        criterion = Criterion(gallery_size, self._fpir)
        found: list[FoundPair] = []
        for tile in tiles:
            found += find_pairs(
                self._tile, tile, criterion, self._calibrations, ordered=False, tables_of_probes=True
            )
        return found

    def among(self, view: View, *, after_encounter: int) -> list[FoundPair]:
        """Pairs with those of whom something was enrolled after an encounter: compared in full, for they are few."""
        references = Tile.of(view.segments, after_encounter=after_encounter)
        criterion = Criterion(max(view.subjects, 1), self._fpir, exact=True)
        return find_pairs(self._tile, references, criterion, self._calibrations, ordered=False)
