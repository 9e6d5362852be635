# SPDX-License-Identifier: Apache-2.0
"""Who of a whole gallery is worth a full comparison: three looks, each cheaper than the next step by far.

The first look gives every reference some evidence, the others give better evidence to those that are left.
In all, evidence adds up by subject before the cut: of several references that one position of the probe may
be compared with, the best counts; over the positions the evidence is summed. A subject of which no position
says much alone is kept where all of them say a little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis.kind import Kind
from abis.segments import Block, Index, Segment, prepared_to_screen
from abis.template import Minutiae, Template

__all__ = ["Cuts", "comparable_blocks", "shortlist"]

# What passes, and what that loses: benchmarks/finger_index.py, benchmarks/scale.py, docs/gallery.md.
_LEAST = (1_000, 300, 100)  # subjects, at least; small galleries pass as a whole
_OF_FIRST = (1.0, 0.1, 0.005)  # of those who pass the first look
_POOR = 30  # minutiae: a finger with fewer says less, and more must be looked at ...
_MOST_EFFORT = 8.0  # ... up to so many times as many
_SAMPLED = 16  # one in so many values guesses a limit
_EMBEDDING_EFFORT = 0.1  # a sketch tells more than a code


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
            share: of the gallery that passes the first look, above 0, at most 1.
            probe: a poor one looks at more.
            subjects: in the gallery.
            wanted: candidates asked for.
        """
        passing = min(1.0, share * _effort(probe)) * subjects
        first, second, third = (
            max(least, 10 * wanted, int(part * passing))
            for least, part in zip(_LEAST, _OF_FIRST, strict=True)
        )
        if not any(isinstance(template, Minutiae) for template in probe):
            second = first  # of embeddings the second look says what the first does
        return cls(first, second, third)


def shortlist(
    segments: Sequence[Segment],
    probe: Sequence[Template],
    cuts: Cuts,
    *,
    span: int,
    among: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Sorted keys of the subjects that a probe should be compared with in full.

    Args:
        segments: the gallery.
        probe: templates of any positions.
        cuts: how many subjects pass each look; of equal evidence, those enrolled first.
        span: every subject's key is below it.
        among: sorted keys of the subjects that may be found; None for everyone.
    """
    positions = _by_position(probe)
    evidence = _first_look(segments, positions, span)
    if among is not None:
        others = np.ones(span, np.bool_)
        others[among[among < span]] = False
        evidence[others] = -np.inf
    subjects = _largest(evidence, cuts.first)
    for look, passing in ((_sift, cuts.second), (_refine, cuts.third)):
        if len(subjects) > passing:
            subjects = subjects[_largest(_closer_look(look, segments, positions, subjects), passing)]
    return subjects


def comparable_blocks(segments: Sequence[Segment], template: Template) -> Iterator[Block]:
    """The blocks with references that a template may be compared with."""
    wanted = Kind.of(template)
    return (block for segment in segments for block in segment.blocks if block.kind.is_comparable(wanted))


class _Ready(NamedTuple):
    """A template of the probe, and what is made of it for all blocks."""

    template: Template
    prepared: Any


def _first_look(
    segments: Sequence[Segment], positions: Sequence[Sequence[_Ready]], span: int
) -> NDArray[np.float32]:
    """(span,) evidence of every subject; -inf where nothing is comparable."""
    total = _Total()
    for alternatives in positions:
        best = np.full(span, -np.inf, np.float32)
        for template, prepared in alternatives:
            for block in comparable_blocks(segments, template):
                evidence = block.index.screen(prepared)
                if block.gone is not None:
                    evidence[block.gone] = -np.inf
                if block.is_run:
                    own = best[block.subjects[0] : block.subjects[0] + len(block)]
                    np.maximum(own, evidence, out=own)
                else:
                    np.maximum.at(best, block.subjects, evidence)
        total.add(best)
    return total.evidence()


_Look = Callable[[Index, Any, NDArray[np.int64]], NDArray[np.float32]]


def _sift(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.sift(prepared, slots)


def _refine(index: Index, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
    return index.refine(prepared, slots)


def _closer_look(
    look: _Look,
    segments: Sequence[Segment],
    positions: Sequence[Sequence[_Ready]],
    subjects: NDArray[np.int64],
) -> NDArray[np.float32]:
    """(len(subjects),) evidence of some subjects."""
    total = _Total()
    for alternatives in positions:
        best = np.full(len(subjects), -np.inf, np.float32)
        for template, prepared in alternatives:
            for block in comparable_blocks(segments, template):
                slots = block.slots_of(subjects)
                if len(slots):
                    rows = block.rows_of(slots, subjects)
                    np.maximum.at(best, rows, look(block.index, prepared, slots))
        total.add(best)
    return total.evidence()


class _Total:
    """Evidence of several positions, summed; a position that was not compared adds nothing."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float32] | None = None
        self._compared: NDArray[np.bool_] | None = None

    def add(self, evidence: NDArray[np.float32]) -> None:
        """Takes the array over."""
        if self._sum is None:
            self._sum = evidence
            return
        if self._compared is None:
            self._compared = _zero_where_not_compared(self._sum)
        self._compared |= _zero_where_not_compared(evidence)
        self._sum += evidence

    def evidence(self) -> NDArray[np.float32]:
        """-inf where nothing was compared."""
        assert self._sum is not None
        if self._compared is not None:
            np.copyto(self._sum, -np.inf, where=~self._compared)
        return self._sum


def _zero_where_not_compared(evidence: NDArray[np.float32]) -> NDArray[np.bool_]:
    compared: NDArray[np.bool_] = evidence > -np.inf
    np.copyto(evidence, 0, where=~compared)
    return compared


def _largest(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest stand, in order; of equal ones the first. -inf is none."""
    if count < 1:
        return np.empty(0, np.int64)
    places = _enough(values, count)
    values = values[places]
    if count < len(values):
        limit = np.partition(values, len(values) - count)[len(values) - count]
        chosen = values > limit
        chosen[np.flatnonzero(values == limit)[: count - np.count_nonzero(chosen)]] = True
        places, values = places[chosen], values[chosen]
    return places[values > -np.inf]


def _enough(values: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Where the ``count`` largest stand and some others, all that equal one of them among these."""
    sample = values[::_SAMPLED]
    rank = len(sample) - 2 * count // _SAMPLED - 1
    if rank > len(sample) // 2:  # else there is little to be gained
        places = np.flatnonzero(values >= np.partition(sample, rank)[rank])
        if len(places) >= count:
            return places
    return np.arange(len(values))


def _by_position(probe: Sequence[Template]) -> list[list[_Ready]]:
    ordered = sorted(probe, key=lambda template: template.position)
    return [
        [_Ready(template, prepared_to_screen(template)) for template in group]
        for _, group in groupby(ordered, key=lambda template: template.position)
    ]


def _effort(probe: Sequence[Template]) -> float:
    """1 for one good finger; more for a poor one, less for more positions, or for one without fingers."""
    minutiae = [len(template) for template in probe if isinstance(template, Minutiae)]
    if not minutiae:
        return _EMBEDDING_EFFORT
    positions = len({template.position for template in probe})
    if len(minutiae) < len(probe):
        return 1 / positions
    return min(_MOST_EFFORT, max(1.0, (_POOR / max(1, *minutiae)) ** 2)) / positions
