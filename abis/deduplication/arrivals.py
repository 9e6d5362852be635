# SPDX-License-Identifier: Apache-2.0
"""One person, one identity, for those who come in by the thousand: what ``abis import --unique`` asks.

The gallery is held against each batch in tiles that are kept from batch to batch. The tables are the batch's: it is
small, so they are made anew for each, and those enrolled look themselves up in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abis.deduplication.pairing import Criterion, FoundPair
from abis.deduplication.tiles import Tile
from abis.deduplication.uniqueness import Newcomers
from abis.index.references import View
from abis.scoring.calibration import Calibrations
from abis.store import Enrollment, Store
from abis.template import Template

__all__ = ["Look", "Uniqueness"]

_TILE = 8_192  # keys of subjects whose references are packed together


class Uniqueness:
    """Tells which arrivals are in the gallery under another subject_id, or came twice.

    Args:
        store: of the gallery, for names.
        view: gives all references as of now.
        calibrations: in force for some templates.
        fpir: false positive identification rate of the search that each arrival is: of so many strangers, on
            average so many are taken for somebody.
    """

    def __init__(
        self,
        store: Store,
        view: Callable[[], View],
        calibrations: Callable[[Iterable[Template]], Calibrations],
        *,
        fpir: float,
    ) -> None:
        Criterion(1, fpir)  # checks the rate
        self.fpir = fpir
        self._store = store
        self._view = view
        self._calibrations = calibrations
        self._tiles: dict[int, tuple[tuple[int, int], Tile]] = {}

    @property
    def rule(self) -> str:
        """What is asked, in words: where it is another, so are the answers."""
        return f"unique, fpir {self.fpir!r}"

    def look(self, arrivals: Sequence[Enrollment]) -> Look:
        """Hold some arrivals against all who are enrolled as of now, and against each other."""
        view = self._view()
        calibrations = self._calibrations(t for arrival in arrivals for t in arrival.templates)
        newcomers = Newcomers(arrivals, fpir=self.fpir, calibrations=calibrations)
        size = view.subjects + len(arrivals)
        found = [] if not arrivals else newcomers.among_enrolled(self._enrolled(view), size)
        among = list(newcomers.among_themselves(size))
        return Look(self._duplicates(arrivals, found, among), lambda: self._since(view, newcomers, arrivals))

    def _since(self, view: View, newcomers: Newcomers, arrivals: Sequence[Enrollment]) -> Mapping[int, str]:
        """Of whom others have been enrolled since."""
        now = self._view()
        if now.mark.change == view.mark.change:
            return {}
        found = newcomers.among(now, after_encounter=view.last_encounter)
        return self._duplicates(arrivals, found, [])

    def _duplicates(
        self, arrivals: Sequence[Enrollment], enrolled: Sequence[FoundPair], among: Sequence[FoundPair]
    ) -> dict[int, str]:
        """By its number from 0, whom each duplicate is likeliest to be.

        Args:
            arrivals: all of them.
            enrolled: pairs of an arrival (probe, its number from 1) and who is enrolled.
            among: pairs of two arrivals, the earlier one the reference.
        """
        names = self._store.names({pair.reference for pair in enrolled})  # those removed meanwhile have none
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
                if pair.reference - 1 not in duplicates:  # that one is not going to be enrolled
                    own.append((pair, arrivals[pair.reference - 1].subject_id))
            if own:
                pair, name = min(own, key=lambda one: (-one[0].score, one[1]))
                score = f"score {pair.score:.1f}, threshold {pair.threshold:.1f}"
                duplicates[number - 1] = f"subject {name!r}, {score}"
        return duplicates

    def _enrolled(self, view: View) -> Iterator[Tile]:
        """All references; what has not changed since the last batch as it was packed then."""
        counts = _counts(view)
        self._tiles = {number: kept for number, kept in self._tiles.items() if number in counts}
        for number, count in counts.items():
            kept = self._tiles.get(number)
            if kept is None or kept[0] != count:
                tile = Tile.of(view.segments, number * _TILE, (number + 1) * _TILE - 1)
                kept = self._tiles[number] = count, tile
            yield kept[1]


@dataclass(frozen=True)
class Look:
    """What became of a batch of arrivals.

    Attributes:
        duplicates: by number from 0, of whom those are that shall not be enrolled, in words.
        again: the same of those alone who have been enrolled by others since: asked where nobody else can
            enroll any more.
    """

    duplicates: Mapping[int, str]
    again: Callable[[], Mapping[int, str]]


def _counts(view: View) -> dict[int, tuple[int, int]]:
    """Of each range of subjects how many references there are, and the sum of their encounters' keys."""
    counts: dict[int, tuple[int, int]] = {}
    for segment in view.segments:
        for block in segment.blocks:
            slots = block.present_slots()
            numbers, where = np.unique(block.subjects[slots] // _TILE, return_inverse=True)
            own = np.bincount(where)
            keys = np.zeros(len(numbers), np.int64)
            np.add.at(keys, where, block.encounters[slots].astype(np.int64))
            for number, count, key in zip(numbers.tolist(), own.tolist(), keys.tolist(), strict=True):
                before = counts.get(number, (0, 0))
                counts[number] = before[0] + count, before[1] + key
    return counts
