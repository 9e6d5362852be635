# SPDX-License-Identifier: Apache-2.0
"""Uniqueness at enrolment: compares subjects that are about to be enrolled with each other and with new references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from abis.comparison.coverage import Coverage
from abis.comparison.kind import Kind
from abis.deduplication.pairing import Criterion, FoundPair, find_pairs
from abis.deduplication.tiles import Tile
from abis.index.references import ReferenceView
from abis.index.segments import Entry, Segment
from abis.scoring.calibration import Calibrations
from abis.store import Enrollment

__all__ = ["Newcomers"]


class Newcomers:
    """Subjects that are about to be enrolled.

    Args:
        enrollments: of these subjects; pairs have their numbers, from 1, as keys of probes.
        fpir: false positive identification rate of a search for one of them.
        calibrations: of the kinds of their templates.
    """

    def __init__(self, enrollments: Sequence[Enrollment], *, fpir: float, calibrations: Calibrations) -> None:
        self._enrollments = enrollments
        self._fpir = fpir
        self._calibrations = calibrations
        numbers = enumerate(enrollments, 1)
        entries = (Entry(number, number, t) for number, e in numbers for t in e.templates)
        self._tile = Tile.of([Segment.of(0, 0, entries)])

    def coverages(self, view: ReferenceView, *, by_model: bool) -> list[Coverage]:
        """How many subjects each of them is comparable with: those enrolled, and those of earlier enrollments.

        ``by_model`` is that of :meth:`abis.index.references.ReferenceView.coverage`.
        """
        found = []
        earlier: dict[str, frozenset[Kind]] = {}
        counts: Counter[frozenset[Kind]] = Counter()
        for enrollment in self._enrollments:
            own = frozenset(map(Kind.of, enrollment.templates))
            known = earlier.pop(enrollment.subject_id, frozenset())
            if known:
                counts[known] -= 1
            found.append(view.coverage(own, by_model=by_model) + _coverage_of(own, counts, by_model))
            earlier[enrollment.subject_id] = known | own
            counts[known | own] += 1
        return found

    def among_themselves(self, gallery_size: int) -> Iterator[FoundPair]:
        """Pairs of two of the enrollments; both keys are their numbers. ``gallery_size`` sets the threshold."""
        if len(self._enrollments) < 2:
            return
        criterion = Criterion(gallery_size, self._fpir)
        for pair in find_pairs(self._tile, self._tile, criterion, self._calibrations, ordered=True):
            one, other = self._enrollments[pair.probe - 1], self._enrollments[pair.reference - 1]
            if one.subject_id != other.subject_id:
                yield pair

    def among_enrolled(self, tiles: Iterable[Tile], gallery_size: int) -> list[FoundPair]:
        """Pairs with the subjects of some tiles; tables are made of newcomers. ``gallery_size`` sets the threshold."""
        criterion = Criterion(gallery_size, self._fpir)
        found: list[FoundPair] = []
        for tile in tiles:
            found += find_pairs(
                self._tile, tile, criterion, self._calibrations, ordered=False, tables_of_probes=True
            )
        return found

    def among(self, view: ReferenceView, *, after_encounter: int) -> list[FoundPair]:
        """Pairs with the references of later encounters, which are few and compared in full."""
        references = Tile.of(view.segments, after_encounter=after_encounter)
        criterion = Criterion(max(view.subjects, 1), self._fpir, exact=True)
        return find_pairs(self._tile, references, criterion, self._calibrations, ordered=False)


def _coverage_of(own: frozenset[Kind], counts: Mapping[frozenset[Kind], int], by_model: bool) -> Coverage:
    """How many subjects, counted by the kinds of their templates, have one that is comparable with ``own``."""
    others = {
        kinds: count
        for kinds, count in counts.items()
        if count
        and not any(a.is_comparable(b) for a in own for b in kinds)
        and (not by_model or any(a.is_rival(b) for a in own for b in kinds))
    }
    by_kind: Counter[str] = Counter()
    for kinds, count in others.items():
        by_kind.update({str(kind): count for kind in kinds})
    subjects = sum(counts.values())
    return Coverage(subjects, subjects - sum(others.values()), by_kind)
