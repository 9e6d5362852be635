# SPDX-License-Identifier: Apache-2.0
"""A whole population against itself, in portions that can be stopped after each.

Portions are ranges of subjects' keys: they do not depend on how the gallery's references happen to be cut into
segments, nor on when the job runs. What has been found so far stands in a checkpoint (:mod:`.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abis.deduplication.checkpoint import Checkpoint
from abis.deduplication.pairing import Criterion, FoundPair, find_pairs
from abis.deduplication.tiles import Tile
from abis.index.segments import Segment
from abis.scoring.calibration import Calibrations

__all__ = ["Job", "Population"]

_TILE = 32_768  # keys of subjects whose tables are in memory at once: some 400 MB a finger and subject
_BATCH = 2_048  # keys of subjects of a portion: some seconds


@dataclass(frozen=True, eq=False)
class Population:
    """Who is held against whom, as of one change of the gallery.

    Attributes:
        segments: of the gallery, as of this change or a later one.
        last_subject: keys of subjects are up to it.
        last_encounter: encounters with a key above it came later, and are left out.
        new: sorted keys of the subjects that are held against all; None where everyone is.
    """

    segments: Sequence[Segment]
    last_subject: int
    last_encounter: int
    new: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Portion:
    """Subjects ``first`` to ``last`` against those of a tile, all keys."""

    number: int
    first: int
    last: int
    tile: int  # its first key


class Job:
    """All pairs of a population, each once.

    Args:
        population: who is held against whom.
        criterion: from when on a pair is listed.
        calibrations: in force.
    """

    def __init__(self, population: Population, criterion: Criterion, calibrations: Calibrations) -> None:
        self._population = population
        self._criterion = criterion
        self._calibrations = calibrations
        self._portions = list(_portions(population.last_subject))

    def run(
        self, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None
    ) -> list[FoundPair]:
        """Work off what the checkpoint has not; returns all pairs, in the order of portions.

        Args:
            checkpoint: gets the pairs of every portion as soon as it is done.
            progress: called with the pairs of keys worked off and those in all.
        """
        weights = [self._weight(portion) for portion in self._portions]
        total, done = sum(weights), 0
        references = probes = None
        for portion, weight in zip(self._portions, weights, strict=True):
            if portion.number not in checkpoint:
                if references is None or references.first != portion.tile:
                    references = _Subjects(self._population, portion.tile)
                if probes is None or portion.first not in probes:
                    start = portion.first - (portion.first - 1) % _TILE
                    is_same = start == references.first
                    probes = references if is_same else _Subjects(self._population, start)
                checkpoint.add(portion.number, self._found(portion, probes, references))
            done += weight
            if progress is not None:
                progress(done, total)
        return [pair for portion in self._portions for pair in checkpoint[portion.number]]

    def _found(self, portion: _Portion, probes: _Subjects, references: _Subjects) -> list[FoundPair]:
        """The new against all before them, and the others against the new before them."""
        found = []
        for mine, theirs in ((probes.new, references.all), (probes.others, references.new)):
            own = mine.between(portion.first, portion.last)
            if own.parts and theirs.parts:
                found += find_pairs(own, theirs, self._criterion, self._calibrations, ordered=True)
        return sorted(found, key=lambda pair: (pair.probe, pair.reference))

    @staticmethod
    def _weight(portion: _Portion) -> int:
        """Pairs of keys."""
        count = portion.last - portion.first + 1
        before = portion.first - portion.tile
        return count * _TILE if before >= _TILE else count * before + count * (count - 1) // 2


class _Subjects:
    """The references of a tile of subjects, in memory.

    Attributes:
        first: the tile's first key.
        all: references of all of them.
        new: of those that are held against all; the same where everyone is.
        others: of the rest.
    """

    def __init__(self, population: Population, first: int) -> None:
        self.first = first
        self.all = Tile.of(
            population.segments, first, first + _TILE - 1, last_encounter=population.last_encounter
        )
        self.new, self.others = self.all, Tile(())
        if population.new is not None:
            self.new = self.all.among(population.new)
            self.others = self.all.among(np.setdiff1d(self.all.subjects, population.new))

    def __contains__(self, subject: int) -> bool:
        return self.first <= subject < self.first + _TILE


def _portions(last_subject: int) -> Iterator[_Portion]:
    """Each tile with itself and all that comes after it."""
    number = 0
    for tile in range(1, last_subject + 1, _TILE):
        for first in range(tile, last_subject + 1, _BATCH):
            yield _Portion(number, first, min(first + _BATCH - 1, last_subject), tile)
            number += 1
