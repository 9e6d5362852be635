# SPDX-License-Identifier: Apache-2.0
"""Uniqueness of subjects that arrive in batches, for ``abis import --unique``.

A batch is compared with the gallery tile by tile; tiles are kept from batch to batch. Tables for the first look are
made of the batch, which is small, and the gallery's references are looked up in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abis.comparison.coverage import Coverage
from abis.deduplication.pairing import Criterion, FoundPair
from abis.deduplication.tiles import Tile
from abis.deduplication.uniqueness import Newcomers
from abis.errors import check_real
from abis.index.references import ReferenceView
from abis.scoring.calibration import Calibrations
from abis.store import Enrollment, Store
from abis.store.import_records import DUPLICATE, UNCHECKED
from abis.template import Template

__all__ = ["ArrivalsCheck", "CheckedArrivals"]


class ArrivalsCheck:
    """Finds arrivals that are enrolled under another subject_id, or that arrive twice.

    Args:
        store: of the gallery.
        view: returns all references as of now.
        calibrations: returns the calibrations of some templates.
        fpir: false positive identification rate of each arrival's search, above 0, at most 1.
        min_coverage: part of the subjects that an arrival must be comparable with, 0 to 1. A subject counts as not
            comparable if another model is the only reason.
        tile: number of subjects' keys whose references are packed together.
    """

    def __init__(
        self,
        store: Store,
        view: Callable[[], ReferenceView],
        calibrations: Callable[[Iterable[Template]], Calibrations],
        *,
        fpir: float,
        tile: int,
        min_coverage: float = 1.0,
    ) -> None:
        Criterion(1, fpir)  # checks the rate
        check_real("min_coverage", min_coverage, above=None, highest=1, what="a share from 0 to 1")
        self._min_coverage = min_coverage
        self.fpir = fpir
        self._store = store
        self._view = view
        self._calibrations = calibrations
        self._tile = tile
        self._tiles: dict[int, tuple[tuple[int, int], Tile]] = {}

    @property
    def rule(self) -> str:
        """The question in words, noted with an import: another question would get other answers."""
        return f"unique, fpir {self.fpir!r}, coverage {self._min_coverage!r}"

    def look(self, arrivals: Sequence[Enrollment]) -> CheckedArrivals:
        """Compare some arrivals with all enrolled subjects as of now, and with each other."""
        view = self._view()
        calibrations = self._calibrations(t for arrival in arrivals for t in arrival.templates)
        newcomers = Newcomers(arrivals, fpir=self.fpir, calibrations=calibrations)
        size = view.subjects + len(arrivals)
        found = [] if not arrivals else newcomers.among_enrolled(self._enrolled(view), size)
        among = list(newcomers.among_themselves(size))
        refused = self._uncovered(newcomers.coverages(view, by_model=True)) | self._duplicates(
            arrivals, found, among
        )
        return CheckedArrivals(refused, lambda: self._since(view, newcomers, arrivals))

    def _uncovered(self, coverages: Sequence[Coverage]) -> dict[int, str]:
        """The arrivals that too few subjects could be compared with, by number from 0."""
        return {
            number: f"{UNCHECKED}: {coverage}"
            for number, coverage in enumerate(coverages)
            if coverage.compared < self._min_coverage * coverage.subjects
        }

    def _since(
        self, view: ReferenceView, newcomers: Newcomers, arrivals: Sequence[Enrollment]
    ) -> Mapping[int, str]:
        """The arrivals that match a subject enrolled since ``view``."""
        now = self._view()
        if now.mark.change == view.mark.change:
            return {}
        found = newcomers.among(now, after_encounter=view.last_encounter)
        return self._duplicates(arrivals, found, [])

    def _duplicates(
        self, arrivals: Sequence[Enrollment], enrolled: Sequence[FoundPair], among: Sequence[FoundPair]
    ) -> dict[int, str]:
        """The likeliest match of each duplicate in words, by the arrival's number from 0.

        Args:
            arrivals: the batch.
            enrolled: pairs of an arrival (the probe; its number from 1) and an enrolled subject.
            among: pairs of two arrivals, the earlier one the reference.
        """
        names = self._store.names(
            {pair.reference for pair in enrolled}
        )  # subjects removed meanwhile have none
        candidates: dict[int, list[tuple[FoundPair, str]]] = {}
        for pair in enrolled:
            name = names.get(pair.reference)
            if name is not None and name != arrivals[pair.probe - 1].subject_id:
                candidates.setdefault(pair.probe, []).append((pair, name))
        earlier: dict[int, list[FoundPair]] = {}
        for pair in among:
            earlier.setdefault(pair.probe, []).append(pair)
        duplicates: dict[int, str] = {}
        for number in sorted(candidates.keys() | earlier.keys()):
            own = candidates.get(number, [])
            for pair in earlier.get(number, ()):
                if (
                    pair.reference - 1 not in duplicates
                ):  # else the earlier arrival will not be enrolled itself
                    own.append((pair, arrivals[pair.reference - 1].subject_id))
            if own:
                pair, name = min(own, key=lambda one: (-one[0].score, one[1]))
                score = f"score {pair.score:.1f}, threshold {pair.threshold:.1f}"
                duplicates[number - 1] = f"{DUPLICATE} subject {name!r}, {score}"
        return duplicates

    def _enrolled(self, view: ReferenceView) -> Iterator[Tile]:
        """All references; tiles that have not changed since the last batch are used again."""
        counts = _counts(view, self._tile)
        self._tiles = {number: kept for number, kept in self._tiles.items() if number in counts}
        for number, count in counts.items():
            kept = self._tiles.get(number)
            if kept is None or kept[0] != count:
                tile = Tile.of(view.segments, number * self._tile, (number + 1) * self._tile - 1)
                kept = self._tiles[number] = count, tile
            yield kept[1]


@dataclass(frozen=True)
class CheckedArrivals:
    """What was found about a batch of arrivals.

    Attributes:
        duplicates: why each arrival that must not be enrolled is refused, by the arrival's number from 0: its match, or
            that too few subjects could be compared.
        again: returns the same for subjects that others have enrolled since. It is called inside the transaction that
            enrolls the batch, when no other process can enroll.
    """

    duplicates: Mapping[int, str]
    again: Callable[[], Mapping[int, str]]


def _counts(view: ReferenceView, tile: int) -> dict[int, tuple[int, int]]:
    """Number of references and sum of their encounters' keys, by range of subjects: another sum means a change."""
    counts: dict[int, tuple[int, int]] = {}
    for segment in view.segments:
        for block in segment.blocks:
            slots = block.present_slots()
            numbers, where = np.unique(block.subjects[slots] // tile, return_inverse=True)
            own = np.bincount(where)
            keys = np.zeros(len(numbers), np.int64)
            np.add.at(keys, where, block.encounters[slots].astype(np.int64))
            for number, count, key in zip(numbers.tolist(), own.tolist(), keys.tolist(), strict=True):
                before = counts.get(number, (0, 0))
                counts[number] = before[0] + count, before[1] + key
    return counts
