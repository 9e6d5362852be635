# SPDX-License-Identifier: Apache-2.0
"""The subjects whose references are nearest to a probe, over all segments of a gallery.

An index (:class:`abis.index.segments.NearestIndex`) gives the nearest references of one segment. Here they are merged
by subject, without those that are removed or not asked for, and a segment that may hold more of them is asked for more.
So the result depends on the probe, on the references present and on their subjects' keys only: not on how the gallery
is cut into segments, on what was removed from it, or on threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from abis.index.segments import Block, NearestIndex, NearestProbe

__all__ = ["Nearest", "largest", "nearest"]


class Nearest(NamedTuple):
    """Subjects near to a probe.

    Attributes:
        subjects: (m,) int64, sorted keys.
        similarities: (m,) float64, of the best reference of each, as the index gives them.
        is_all: True if no other subject has a comparable reference.
    """

    subjects: NDArray[np.int64]
    similarities: NDArray[np.float64]
    is_all: bool


def nearest(
    sides: Sequence[tuple[NearestProbe, Sequence[Block]]],
    count: int,
    among: NDArray[np.int64] | None,
) -> Nearest:
    """The ``count`` nearest subjects; of several references of a subject the best counts.

    Args:
        sides: templates of one position of the probe, each with the blocks it may be compared with.
        count: number of subjects, at least 1; of equal ones those with the smaller keys.
        among: sorted keys of the subjects to choose from; None for all.
    """
    looks = [_Look(probe, block, among) for probe, blocks in sides for block in blocks]
    looks = [look for look in looks if look.usable]
    usable = sum(look.usable for look in looks)
    for look in looks:
        expected = count * look.usable / usable
        share = look.usable / len(look.block)
        look.fetch(math.ceil((expected + 4 * math.sqrt(expected) + 8) / share))  # seldom too few
    # First as if each subject had one reference, which is quick to tell and never asks for too much.
    while _fetch_more(looks, np.concatenate([np.empty(0), *(look.similarities for look in looks)]), count):
        pass
    subjects, similarities = _best_of_each(looks)
    while _fetch_more(looks, similarities, count):
        subjects, similarities = _best_of_each(looks)
    chosen = largest(similarities, count)
    is_all = len(chosen) == len(subjects) and all(look.is_complete for look in looks)
    return Nearest(subjects[chosen], similarities[chosen], is_all)


def _fetch_more(looks: Sequence[_Look], similarities: NDArray[np.float64], count: int) -> bool:
    """Fetch more from each look that may hold one of the ``count`` largest similarities; False if none may."""
    limit = np.partition(similarities, -count)[-count] if len(similarities) >= count else -np.inf
    unfinished = [look for look in looks if not look.is_complete and look.least >= limit]
    for look in unfinished:
        look.fetch(4 * look.fetched)
    return bool(unfinished)


def largest(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest values stand, in order; of equal ones the first. -inf is none."""
    chosen = values > -np.inf
    if 0 < count < np.count_nonzero(chosen):
        limit = np.partition(values, len(values) - count)[len(values) - count]
        chosen = values > limit
        chosen[np.flatnonzero(values == limit)[: count - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)


class _Look:
    """The nearest references of one block.

    Attributes:
        block: the references.
        usable: how many of them are present and asked for.
        fetched: how many the index has given.
        least: the smallest of their similarities.
        similarities: (m,) float64, of the usable ones of them.
        subjects: (m,) their keys.
    """

    def __init__(self, probe: NearestProbe, block: Block, among: NDArray[np.int64] | None) -> None:
        self.block = block
        self._probe: Any = probe
        self._index = cast(NearestIndex, block.index)
        self._is_usable: NDArray[np.bool_] | None = None
        self.usable = len(block)
        if among is not None or block.gone is not None:
            slots = block.present_slots() if among is None else block.slots_of(among)
            self.usable = len(slots)
            self._is_usable = np.zeros(len(block), np.bool_)
            self._is_usable[slots] = True

    @property
    def is_complete(self) -> bool:
        return self.fetched == len(self.block)

    def fetch(self, count: int) -> None:
        """Ask the index for some references in place of those before."""
        self.similarities, slots = self._index.nearest(self._probe, count)
        self.fetched, self.least = len(slots), float(self.similarities[-1])
        if self._is_usable is not None:
            usable = self._is_usable[slots]
            self.similarities, slots = self.similarities[usable], slots[usable]
        self.subjects = self.block.subjects[slots]


def _best_of_each(looks: Sequence[_Look]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Sorted keys of all subjects found, and the largest similarity of each."""
    if not looks:
        return np.empty(0, np.int64), np.empty(0)
    subjects = np.concatenate([look.subjects for look in looks]).astype(np.int64)
    similarities = np.concatenate([look.similarities for look in looks])
    order = np.argsort(subjects)
    subjects, similarities = subjects[order], similarities[order]
    starts = np.flatnonzero(np.diff(subjects, prepend=-1))
    return subjects[starts], np.maximum.reduceat(similarities, starts) if len(starts) else similarities
