# SPDX-License-Identifier: Apache-2.0
"""The fused score at which to decide, from the error rate that is wanted and what was compared.

What a fused score of non-mated comparisons may be follows from how their single scores are spread
(:class:`abis.scoring.calibration.NonMated`) and from the rules of :mod:`abis.scoring.fusion`:

- *Alternatives* are averaged. A mean reaches t only where one of them does, so the chance of that is at most
  the sum of theirs (union bound).
- *Positions* are taken as independent and added. The distribution of a sum is the convolution of theirs.
- Calibrations without counted scores have nothing but the mean of their likelihood ratios, 1, which neither
  averaging nor multiplying changes: a score of t is reached by at most 10**-t (Markov's inequality).
- A gallery of N gives a false positive where any of its N subjects matches: each is allowed an N-th of the
  rate (union bound).

Each step errs to the safe side: scores are rounded up to the next multiple of 1 / STEPS_A_DECADE. Rates that were not
counted are those of a fitted tail, and their upper limits stand beside them (:func:`fmr_at`). All of it is sums and
products in one fixed order, so that a threshold is the same to the bit on every CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from abis.errors import ArgumentError
from abis.scoring.calibration import STEPS_A_DECADE, Calibration
from abis.scoring.exact import power_of_10

__all__ = ["Compared", "check_rate", "fmr_at", "highest_score", "threshold_for_fmr", "threshold_for_fpir"]

Compared: TypeAlias = Sequence[Sequence[Calibration]]
"""What was compared for one score: for each position of the probe, the calibration of every comparison."""

_CACHED = 4096  # sets of comparisons whose distribution is kept
_LOWEST_RATE_DECADES = 60  # of Markov's bound: below what anybody may ask for


def threshold_for_fmr(fmr: float, compared: Compared) -> float:
    """The lowest score that at most ``fmr`` of non-mated comparisons of this kind reach.

    Args:
        fmr: false match rate, above 0, at most 1.
        compared: for each position of the probe, the calibrations of its comparisons; what was not compared
            is left out.

    Returns:
        A log10 likelihood ratio. Where the evidence cannot bear out the rate, however high its scores, one
        that no score reaches.

    >>> from abis.scoring.calibration import shipped
    >>> finger, face = shipped("minutiae"), shipped("embedding-w600k_mbf")
    >>> one = threshold_for_fmr(1e-4, [[finger]])
    >>> one < threshold_for_fmr(1e-6, [[finger]]) < threshold_for_fmr(1e-6, [[finger] * 10])
    True
    >>> threshold_for_fmr(1e-6, [[shipped("embedding")]])  # nothing is known of a model: -log10(fmr)
    6.0
    """
    check_rate("fmr", fmr)
    tail = _fused(compared)
    low_enough = tail.rates <= fmr
    steps = tail.start + (int(np.argmax(low_enough)) if low_enough.any() else len(low_enough))
    return steps / STEPS_A_DECADE


def threshold_for_fpir(fpir: float, gallery_size: int, compared: Compared) -> float:
    """The lowest score that any of ``gallery_size`` subjects reaches in at most ``fpir`` of searches without a mate.

    Args:
        fpir: false positive identification rate, above 0, at most 1.
        gallery_size: subjects searched, at least 1.
        compared: as for :func:`threshold_for_fmr`, of each subject.
    """
    check_rate("fpir", fpir)
    if gallery_size < 1:
        raise ArgumentError(f"gallery_size is {gallery_size}; expected at least 1")
    return threshold_for_fmr(fpir / gallery_size, compared)


def fmr_at(threshold: float, compared: Compared, *, limit: bool = False) -> float:
    """This part of non-mated comparisons of this kind reach a score: what it is worth on its own.

    Args:
        threshold: log10 likelihood ratio.
        compared: as for :func:`threshold_for_fmr`.
        limit: give the upper 95 % limit (one-sided), from all that is uncertain of rates that were not counted.

    >>> from abis.scoring.calibration import shipped
    >>> finger = shipped("minutiae")
    >>> threshold = threshold_for_fmr(1e-3, [[finger]])
    >>> fmr_at(threshold, [[finger]]) <= 1e-3, fmr_at(threshold, [[finger]], limit=True) < 3e-3
    (True, True)
    """
    tail = _fused(compared, limit=limit)
    place = int(np.floor(threshold * STEPS_A_DECADE)) - tail.start
    return float(tail.rates[place]) if 0 <= place < len(tail.rates) else float(place < 0)


def highest_score(compared: Compared) -> float:
    """The bound that every score of such comparisons, mated or not, stays below.

    A threshold at or above it cannot be reached: not even by a template compared with itself.

    Args:
        compared: as for :func:`threshold_for_fmr`.

    >>> from abis.scoring.calibration import shipped
    >>> highest_score([[shipped("minutiae")]] * 2) == 2 * shipped("minutiae").maximum
    True
    """
    return sum(
        max(calibration.maximum for calibration in alternatives) for alternatives in compared if alternatives
    )


class _Tail(NamedTuple):
    """``rates[k]`` is at least the part of scores of ``start + k`` steps or more; past the last, none is."""

    start: int
    rates: NDArray[np.float64]


def _fused(compared: Compared, *, limit: bool = False) -> _Tail:
    # Positions in any order, alternatives in any order: one and the same distribution.
    positions = Counter(_counted(alternatives) for alternatives in compared if alternatives)
    if not positions:
        return _Tail(0, np.ones(1))
    return _sum(tuple(sorted(positions.items(), key=_fixed_order)), limit)


_Alternatives: TypeAlias = tuple[tuple[Calibration, int], ...]


def _counted(alternatives: Iterable[Calibration]) -> _Alternatives:
    return tuple(sorted(Counter(alternatives).items(), key=lambda item: (_name(item[0]), item[1])))


def _name(calibration: Calibration) -> tuple[str, float, float]:
    return calibration.kind, calibration.slope, calibration.offset


def _fixed_order(item: tuple[_Alternatives, int]) -> list[tuple[tuple[str, float, float], int]]:
    return [(_name(calibration), count) for calibration, count in item[0]]


@lru_cache(maxsize=_CACHED)
def _sum(positions: tuple[tuple[_Alternatives, int], ...], limit: bool) -> _Tail:
    """The distribution of the sum over positions; by their kind and how many there are."""
    parts: list[_Tail] = []
    bounded = False  # whether a position has Markov's inequality alone: one bound serves them all
    for alternatives, count in positions:
        if any(calibration.non_mated is None for calibration, _ in alternatives):
            bounded = True
        else:
            parts += [_mean(alternatives, limit)] * count
    if bounded:
        parts.append(_MARKOV)
    total = parts[0] if len(parts) == 1 else reduce(_convolved, map(_rounded_up, parts))
    total.rates.flags.writeable = False  # it is kept
    return total


def _mean(alternatives: _Alternatives, limit: bool) -> _Tail:
    tables = [(c.non_mated, count) for c, count in alternatives if c.non_mated is not None]
    start = min(table.start for table, _ in tables)
    stop = max(table.start + len(table.rates) for table, _ in tables)
    rates = np.zeros(stop - start)
    for table, count in tables:
        first = table.start - start
        rates[:first] += count
        rates[first : first + len(table.rates)] += count * table.table[int(limit)]
    return _Tail(start, np.minimum(rates, 1.0))


def _rounded_up(tail: _Tail) -> _Tail:
    """Of the same scores, each rounded up to the next step: what lies between two steps counts as the upper."""
    return _Tail(tail.start + 1, tail.rates)


def _convolved(one: _Tail, other: _Tail) -> _Tail:
    """Of the sum of two independent scores that are whole steps."""
    few, many = sorted((_parts(one), _parts(other)), key=len)
    parts = np.zeros(len(few) + len(many) - 1)
    for k in range(len(few)):
        parts[k : k + len(many)] += few[k] * many
    from_the_top = np.cumsum(parts[::-1])[::-1]  # so that a rate of 1e-15 keeps its digits
    return _Tail(one.start + other.start, np.minimum(from_the_top, 1.0))


def _parts(tail: _Tail) -> NDArray[np.float64]:
    """Of scores at each step."""
    parts: NDArray[np.float64] = tail.rates - np.append(tail.rates[1:], 0.0)
    return parts


def _markov() -> _Tail:
    steps = np.arange(_LOWEST_RATE_DECADES * STEPS_A_DECADE + 1)
    # Less the last digits, or 10**-6 would be above 1e-6.
    return _Tail(0, power_of_10(-steps / STEPS_A_DECADE) * (1 - 1e-14))


_MARKOV = _markov()


def check_rate(name: str, rate: float) -> None:
    """Raise ArgumentError where a rate is not above 0 and up to 1; ``name`` is what the message calls it."""
    if not 0 < rate <= 1:
        raise ArgumentError(f"{name} is {rate}; expected a rate above 0 and up to 1")
