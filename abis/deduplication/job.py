# SPDX-License-Identifier: Apache-2.0
"""All pairs of a gallery, in portions; a job can be stopped after each.

Portions are ranges of subjects' keys. They do not depend on the segments of the gallery's references or on when the job
runs. The pairs found so far are kept by :mod:`abis.deduplication.checkpoint`.
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
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import Calibrations

__all__ = ["Job", "Scope"]


@dataclass(frozen=True, eq=False)
class Scope:
    """The subjects that a job compares, as of one change of the gallery.

    Attributes:
        segments: references of the gallery, as of this change or a later one.
        last_subject: largest key of a subject.
        last_encounter: largest key of an encounter; references of later encounters are left out.
        new: sorted keys of the subjects that are compared with all others; None compares all with all.
    """

    segments: Sequence[Segment]
    last_subject: int
    last_encounter: int
    new: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Portion:
    """Subjects ``first`` to ``last`` as probes against the subjects of a tile; all are keys."""

    number: int
    first: int
    last: int
    tile: int  # its first key


class Job:
    """All pairs of a scope, each once.

    Args:
        scope: the subjects to compare.
        criterion: decides which pairs are listed.
        calibrations: of the kinds of the references.
        sizes: numbers of subjects' keys in a tile and in a portion.
    """

    def __init__(
        self, scope: Scope, criterion: Criterion, calibrations: Calibrations, sizes: WorkSizes
    ) -> None:
        self._scope = scope
        self._tile = sizes.tile
        self._criterion = criterion
        self._calibrations = calibrations
        self._portions = list(_portions(scope.last_subject, sizes))

    def run(
        self, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None = None
    ) -> list[FoundPair]:
        """Work through the portions that the checkpoint does not have; returns all pairs, in the order of portions.

        Args:
            checkpoint: receives the pairs of each portion when it is finished.
            progress: called with the pairs of keys done and the pairs in all.
        """
        weights = [self._weight(portion) for portion in self._portions]
        total, done = sum(weights), 0
        references = probes = None
        for portion, weight in zip(self._portions, weights, strict=True):
            if portion.number not in checkpoint:
                if references is None or references.first != portion.tile:
                    references = _Subjects(self._scope, portion.tile, self._tile)
                if probes is None or portion.first not in probes:
                    start = portion.first - (portion.first - 1) % self._tile
                    is_same = start == references.first
                    probes = references if is_same else _Subjects(self._scope, start, self._tile)
                checkpoint.add(portion.number, self._found(portion, probes, references))
            done += weight
            if progress is not None:
                progress(done, total)
        return [pair for portion in self._portions for pair in checkpoint[portion.number]]

    def _found(self, portion: _Portion, probes: _Subjects, references: _Subjects) -> list[FoundPair]:
        """New subjects against all before them, and the others against the new ones before them."""
        found = []
        for mine, theirs in ((probes.new, references.all), (probes.others, references.new)):
            own = mine.between(portion.first, portion.last)
            if own.parts and theirs.parts:
                found += find_pairs(own, theirs, self._criterion, self._calibrations, ordered=True)
        return sorted(found, key=lambda pair: (pair.probe, pair.reference))

    def _weight(self, portion: _Portion) -> int:
        """Pairs of keys."""
        count = portion.last - portion.first + 1
        before = portion.first - portion.tile
        return count * self._tile if before >= self._tile else count * before + count * (count - 1) // 2


class _Subjects:
    """The references of a tile of subjects, in memory.

    Attributes:
        first: the tile's first key.
        all: references of all subjects.
        new: references of the subjects that are compared with all; the same as ``all`` if all are.
        others: references of the rest.
    """

    def __init__(self, scope: Scope, first: int, tile: int) -> None:
        self.first = first
        self._end = first + tile
        self.all = Tile.of(scope.segments, first, self._end - 1, last_encounter=scope.last_encounter)
        self.new, self.others = self.all, Tile(())
        if scope.new is not None:
            self.new = self.all.among(scope.new)
            self.others = self.all.among(np.setdiff1d(self.all.subjects, scope.new))

    def __contains__(self, subject: int) -> bool:
        return self.first <= subject < self._end


def _portions(last_subject: int, sizes: WorkSizes) -> Iterator[_Portion]:
    """Each tile with itself and with all subjects after it."""
    number = 0
    for tile in range(1, last_subject + 1, sizes.tile):
        for first in range(tile, last_subject + 1, sizes.portion):
            yield _Portion(number, first, min(first + sizes.portion - 1, last_subject), tile)
            number += 1
