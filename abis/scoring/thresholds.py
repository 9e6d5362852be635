# SPDX-License-Identifier: Apache-2.0
"""Thresholds of fused scores from the error rate that the caller asks for.

The distribution of a non-mated fused score follows from the distribution of single non-mated scores
(:class:`abis.scoring.calibration.NonMated`) and the rules of :mod:`abis.scoring.fusion`:

- *Alternatives* are averaged. A mean reaches t only if at least one alternative reaches t, so its rate is at most the
  sum of the alternatives' rates (union bound).
- *Positions* are taken as independent and added. The distribution of the sum is the convolution of their
  distributions.
- A calibration without counted rates has only the mean of its non-mated likelihood ratios, which is 1. Averages and
  products of independent ratios keep this mean. So at most a fraction 10**-t of non-mated scores reaches t
  (Markov's inequality).
- A search of N subjects has a false positive if any of the N subjects matches. So the FMR of each subject is the FPIR
  divided by N (union bound).

Each step is conservative: scores are rounded up to the next multiple of 1 / STEPS_A_DECADE. Rates too low to be
counted come from a fitted tail, and have upper limits (:func:`fmr_at`). The computation consists of sums and products
in one fixed order, so thresholds are bit-identical on every CPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache, reduce
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from abis.comparison.exact import power_of_10
from abis.errors import ArgumentError, check_real
from abis.scoring.calibration import STEPS_A_DECADE, Calibration

__all__ = [
    "Compared",
    "check_rate",
    "fmr_at",
    "highest_score",
    "lowest_fmr",
    "threshold_for_fmr",
    "threshold_for_fpir",
    "unreachable",
]

Compared: TypeAlias = Sequence[Sequence[Calibration]]
"""The comparisons behind one score: for each position of the probe, the calibration of each comparison."""

_CACHED = 4096  # distributions in the cache, one for each set of comparisons
_LOWEST_RATE_DECADES = 60  # range of the table of Markov's bound; below every rate in practical use


def threshold_for_fmr(fmr: float, compared: Compared) -> float:
    """Return the lowest threshold at which the false match rate (FMR) is at most ``fmr``.

    Args:
        fmr: false match rate, above 0, at most 1.
        compared: for each compared position of the probe, the calibrations of its comparisons.

    Returns:
        The threshold, a log10 likelihood ratio. If no score of these comparisons supports so low a rate, the
        threshold is above every possible score.

    Raises:
        ArgumentError: ``fmr`` is not above 0 and at most 1.

    >>> from abis.scoring.calibration import shipped
    >>> finger, face = shipped("minutiae"), shipped("embedding-w600k_mbf")
    >>> one = threshold_for_fmr(1e-4, [[finger]])
    >>> one < threshold_for_fmr(1e-6, [[finger]]) < threshold_for_fmr(1e-6, [[finger] * 10])
    True
    >>> threshold_for_fmr(1e-6, [[shipped("embedding")]])  # no counted rates: -log10(fmr)
    6.0
    """
    check_rate("fmr", fmr)
    tail = _fused(compared)
    low_enough = tail.rates <= fmr
    steps = tail.start + (int(np.argmax(low_enough)) if low_enough.any() else len(low_enough))
    return steps / STEPS_A_DECADE


def threshold_for_fpir(fpir: float, gallery_size: int, compared: Compared) -> float:
    """Return a threshold at which the false positive identification rate (FPIR) of a gallery is at most ``fpir``.

    Args:
        fpir: false positive identification rate, above 0, at most 1.
        gallery_size: number of subjects searched, at least 1.
        compared: for each compared position of the probe, the calibrations of its comparisons with one subject.

    Returns:
        The threshold, a log10 likelihood ratio, as :func:`threshold_for_fmr` returns it for ``fpir / gallery_size``.

    Raises:
        ArgumentError: ``fpir`` is not above 0 and at most 1, or ``gallery_size`` is below 1.
    """
    check_rate("fpir", fpir)
    if gallery_size < 1:
        raise ArgumentError(f"gallery_size is {gallery_size}; expected at least 1")
    return threshold_for_fmr(fpir / gallery_size, compared)


def lowest_fmr(compared: Compared) -> float:
    """Return the lowest false match rate whose threshold a score can reach; 0 where every rate's can be.

    Args:
        compared: for each compared position of the probe, the calibrations of its comparisons.

    >>> from abis.scoring.calibration import shipped
    >>> face = [[shipped("embedding")]]
    >>> threshold_for_fmr(lowest_fmr(face), face) < highest_score(face)
    True
    """
    tail, highest = _fused(compared), highest_score(compared)
    places = int(np.ceil(highest * STEPS_A_DECADE)) - tail.start  # of thresholds below the highest score
    if places > len(tail.rates):
        return 0.0
    return float(tail.rates[max(places, 1) - 1])


def unreachable(fmr: float, compared: Compared) -> str:
    """Say that the threshold of a false match rate cannot be reached; return "" if it can be.

    Args:
        fmr: false match rate, above 0, at most 1.
        compared: for each compared position of the probe, the calibrations of its comparisons.
    """
    threshold, highest = threshold_for_fmr(fmr, compared), highest_score(compared)
    if threshold < highest:
        return ""
    return (
        f"the threshold {threshold:.1f} of a false match rate of {fmr:g} cannot be reached: scores stay below "
        f"{highest:.1f}, so even identical templates do not match; the lowest rate that can be asked for is "
        f"{lowest_fmr(compared):.1e}"
    )


def fmr_at(threshold: float, compared: Compared, *, limit: bool = False) -> float:
    """Return the false match rate at a threshold: the fraction of non-mated comparisons that reach it.

    Args:
        threshold: log10 likelihood ratio.
        compared: for each compared position of the probe, the calibrations of its comparisons.
        limit: True: the one-sided upper 95 % limit of the rate, which includes the uncertainty of rates from a
            fitted tail. False (default): the estimate.

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
    """Return the upper bound of all scores of such comparisons, mated and non-mated.

    Every score is below the bound, even that of a template compared with itself. So a threshold at or above the bound
    matches nothing.

    Args:
        compared: for each compared position of the probe, the calibrations of its comparisons.

    >>> from abis.scoring.calibration import shipped
    >>> highest_score([[shipped("minutiae")]] * 2) == 2 * shipped("minutiae").maximum
    True
    """
    return sum(
        max(calibration.maximum for calibration in alternatives) for alternatives in compared if alternatives
    )


class _Tail(NamedTuple):
    """Distribution of scores: ``rates[k]`` bounds the fraction at or above ``start + k`` steps; beyond, it is 0."""

    start: int
    rates: NDArray[np.float64]


def _fused(compared: Compared, *, limit: bool = False) -> _Tail:
    # Counted and sorted, so that the result does not depend on the order of positions and alternatives.
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
    """Return the distribution of the sum over positions; each item is the alternatives of a position and a count."""
    parts: list[_Tail] = []
    bounded = False  # whether a position has Markov's inequality only; one bound covers all such positions
    for alternatives, count in positions:
        if any(calibration.non_mated is None for calibration, _ in alternatives):
            bounded = True
        else:
            parts += [_mean(alternatives, limit)] * count
    if bounded:
        parts.append(_MARKOV)
    total = parts[0] if len(parts) == 1 else reduce(_convolved, map(_rounded_up, parts))
    total.rates.flags.writeable = False  # the array stays in the cache
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
    """Return the distribution of the scores rounded up to the next step."""
    return _Tail(tail.start + 1, tail.rates)


def _convolved(one: _Tail, other: _Tail) -> _Tail:
    """Return the distribution of the sum of two independent scores that are whole steps."""
    few, many = sorted((_parts(one), _parts(other)), key=len)
    parts = np.zeros(len(few) + len(many) - 1)
    for k in range(len(few)):
        parts[k : k + len(many)] += few[k] * many
    from_the_top = np.cumsum(parts[::-1])[::-1]  # keeps the digits of a rate of 1e-15
    return _Tail(one.start + other.start, np.minimum(from_the_top, 1.0))


def _parts(tail: _Tail) -> NDArray[np.float64]:
    """Return the fraction of scores at each step."""
    parts: NDArray[np.float64] = tail.rates - np.append(tail.rates[1:], 0.0)
    return parts


def _markov() -> _Tail:
    steps = np.arange(_LOWEST_RATE_DECADES * STEPS_A_DECADE + 1)
    # Lowered in the last digits: otherwise 10**-6 would be computed above 1e-6.
    return _Tail(0, power_of_10(-steps / STEPS_A_DECADE) * (1 - 1e-14))


_MARKOV = _markov()


def check_rate(name: str, rate: float) -> None:
    """Raise ArgumentError unless a rate is a number above 0 and at most 1.

    Args:
        name: name of the argument, for the message.
        rate: the rate to check, a fraction.
    """
    check_real(name, rate, above=0, highest=1, what="a rate above 0 and at most 1")
