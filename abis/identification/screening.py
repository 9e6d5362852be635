# SPDX-License-Identifier: Apache-2.0
"""Who of a whole gallery is worth a full comparison: three looks, each cheaper than the next step by far.

The first look gives every reference some evidence, the others give better evidence to those that are left; of
embeddings the second look is the third. In all, evidence adds up by subject before the cut: of several references
that one position of the probe may be compared with, the best counts; over the positions the evidence is summed. A
subject of which no position says much alone is kept where all of them say a little.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.index.segments import Block, Index, Probe, Segment, comparable_blocks
from abis.template import Minutiae, Template

__all__ = ["Cuts", "shortlists"]

# What passes, and what that loses: benchmarks/speed/finger_index.py, benchmarks/scale/scale.py, docs/gallery.md.
_LEAST = (1_000, 300, 100)  # subjects, at least; small galleries pass as a whole
_OF_FIRST = (1.0, 0.1, 0.005)  # of those who pass the first look
_POOR = 30  # minutiae: a finger with fewer says less, and more must be looked at ...
_MOST_EFFORT = 8.0  # ... up to so many times as many
_EMBEDDING_EFFORT = 0.05  # its first look tells more than a finger's

_idle: list[_core.Tally] = []  # of no search just now: memory for everyone's evidence is dear when it is new


@dataclass(frozen=True)
class Cuts:
    """How many subjects pass the first look, the second, the third."""

    first: int
    second: int
    third: int

    @classmethod
    def at(cls, share: float, *, probe: Sequence[Template], subjects: int, wanted: int) -> Cuts:
        """What a search uses.

        Args:
            share: of the gallery that passes the first look, above 0; 1 is all of it, whatever the probe.
            probe: a poor one looks at more, one of several positions at less.
            subjects: in the gallery.
            wanted: candidates asked for.
        """
        passing = subjects if share == 1 else min(1.0, share * _effort(probe)) * subjects
        first, second, third = (
            max(least, 10 * wanted, int(part * passing))
            for least, part in zip(_LEAST, _OF_FIRST, strict=True)
        )
        if not any(isinstance(template, Minutiae) for template in probe):
            second = first  # of embeddings the second look says what the third does
        return cls(first, second, third)

    def halved(self) -> Cuts:
        """For a portion that is to find somebody who stands out: half as many pass the first look and the second."""
        second = max(self.third, self.second // 2)
        return Cuts(max(second, self.first // 2), second, self.third)


def shortlists(
    segments: Sequence[Segment],
    probe: Sequence[Probe],
    cuts: Cuts,
    *,
    span: int,
    among: NDArray[np.int64] | None = None,
) -> Generator[NDArray[np.int64], None, None]:
    """Whom a probe should be compared with in full: at first by a part of the probe, then by all of it.

    Of several fingers the first look takes only the richest, with the embeddings, and the closer looks take them
    all. Who is found beyond doubt so need not be looked for any further; else the first look takes
    the other fingers, too.

    Args:
        segments: the gallery.
        probe: templates of any positions.
        cuts: how many subjects pass each look; of equal evidence, those enrolled first.
        span: every subject's key is below it.
        among: sorted keys of the subjects that may be found; None for everyone.

    Yields:
        Sorted keys of subjects, once or twice; the second time some of them are those of the first.
    """
    positions = _by_position(segments, probe)
    first, others = _apart(positions)
    tally = _borrowed()
    try:
        tally.begin(span)
        for part in filter(None, (first, others)):
            for alternatives in part:
                _first_look(tally, alternatives)
            is_last = part is others or not others
            passing = cuts if is_last else cuts.halved()
            subjects = tally.largest(passing.first, among)
            if len(subjects) < passing.first and not is_last:
                continue  # all pass: nothing would be saved
            for look, count in ((_sift, passing.second), (_refine, passing.third)):
                if len(subjects) > count:
                    evidence = _closer_look(look, positions, subjects)
                    subjects = subjects[_largest(evidence, count)]
            yield subjects
    finally:
        _idle.append(tally)


def _borrowed() -> _core.Tally:
    """One that is idle; a new one where all are busy."""
    try:
        return _idle.pop()  # asking before whether there is one would race with other searches
    except IndexError:
        return _core.Tally()


class _Side(NamedTuple):
    """A template of the probe and what it may be compared with."""

    probe: Probe
    blocks: Sequence[Block]


def _first_look(tally: _core.Tally, alternatives: Sequence[_Side]) -> None:
    """A look at everyone by one position of the probe."""
    tally.next_position()
    for (_, prepared), blocks in alternatives:
        for block in blocks:
            block.tally(tally, prepared)


_Look = Callable[[Index, Any, NDArray[np.int64]], NDArray[np.float32]]


def _sift(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.sift(prepared, slots)


def _refine(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.refine(prepared, slots)


def _closer_look(
    look: _Look,
    positions: Sequence[Sequence[_Side]],
    subjects: NDArray[np.int64],
) -> NDArray[np.float32]:
    """(len(subjects),) evidence of some subjects; -inf where nothing is comparable."""
    total = np.zeros(len(subjects), np.float32)
    compared = np.zeros(len(subjects), np.bool_)
    for alternatives in positions:
        best = np.full(len(subjects), -np.inf, np.float32)
        for (_, prepared), blocks in alternatives:
            for block in blocks:
                slots = block.slots_of(subjects)
                if len(slots):
                    rows = block.rows_of(slots, subjects)
                    np.maximum.at(best, rows, look(block.index, prepared, slots))
        known = best > -np.inf
        total[known] += best[known]
        compared |= known
    total[~compared] = -np.inf
    return total


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest stand, in order; of equal ones the first. -inf is none."""
    chosen = values > -np.inf
    if 0 < count < np.count_nonzero(chosen):
        limit = np.partition(values, len(values) - count)[len(values) - count]
        chosen = values > limit
        chosen[np.flatnonzero(values == limit)[: count - np.count_nonzero(chosen)]] = True
    return np.flatnonzero(chosen)


def _by_position(segments: Sequence[Segment], probe: Sequence[Probe]) -> list[list[_Side]]:
    sides = [_Side(one, list(comparable_blocks(segments, one.template))) for one in probe]
    sides.sort(key=lambda side: side.probe.template.position)
    return [list(group) for _, group in groupby(sides, key=lambda side: side.probe.template.position)]


def _apart(positions: Sequence[list[_Side]]) -> tuple[list[list[_Side]], list[list[_Side]]]:
    """Embeddings and the richest finger; the other fingers."""
    fingers = [p for p in positions if isinstance(p[0].probe.template, Minutiae)]
    others = [p for p in positions if not isinstance(p[0].probe.template, Minutiae)]
    fingers.sort(key=lambda own: -max(len(side.probe.template) for side in own))  # type: ignore[arg-type]
    return others + fingers[:1], fingers[1:]


def _effort(probe: Sequence[Template]) -> float:
    """1 for one good finger; more for a poor one, less for more positions, or for one without fingers."""
    minutiae = [len(template) for template in probe if isinstance(template, Minutiae)]
    if not minutiae:
        return _EMBEDDING_EFFORT
    positions = len({template.position for template in probe})
    if len(minutiae) < len(probe):
        return 1 / positions
    return min(_MOST_EFFORT, max(1.0, (_POOR / max(1, *minutiae)) ** 2)) / positions
