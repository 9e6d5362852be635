# SPDX-License-Identifier: Apache-2.0
"""False match and false non-match rates, after ISO/IEC 19795-1:2006, 4.6.

A comparison is a match if its score is at or above the threshold. All rates are exact: without bins and without
interpolation between scores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.errors import ArgumentError
from abis.evaluation.scores import Scores, check_scores, separate

__all__ = ["Det", "ErrorRates", "OperatingPoint", "ascending", "equal_error_rate"]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_EXACT_POINTS = 4096  # up to this number of scores of a kind, a DET curve contains every distinct score
_POINTS = 2048  # number of ranks beyond that, evenly spaced in their logarithm
_PART = 1 << 20


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and its error rates.

    Attributes:
        threshold: the threshold, on the scale of the scores.
        fmr: false match rate, a fraction in [0, 1].
        fnmr: false non-match rate, a fraction in [0, 1].
    """

    threshold: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, eq=False)
class Det:
    """Detection error trade-off curve (ISO/IEC 19795-1:2006, 4.7).

    Attributes:
        threshold: (k,) ascending thresholds.
        fmr: (k,) FMR at each threshold.
        fnmr: (k,) FNMR at each threshold.
    """

    threshold: FloatArray
    fmr: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """The error rates of a set of mated and of non-mated scores, at any threshold.

    A failed comparison (-inf) is a non-match at every threshold. It adds to the FNMR if it is mated, and to the number
    of comparisons of the FMR if it is non-mated.

    Attributes:
        mated: (m,) float32 or float64, mated scores in ascending order; m > 0. Scores given in another order are
            sorted.
        non_mated: (n,) non-mated scores of the same dtype, in ascending order; n > 0.

    Raises:
        ValueError: there is no mated or no non-mated score, or a score is NaN or plus infinity.

    >>> rates = ErrorRates(np.array([3.0, 5, 6, 9]), np.array([0.0, 1, 2, 4]))
    >>> rates.eer
    0.25
    >>> rates.at_fmr(0.25).fnmr, rates.zero_fmr.fnmr
    (0.0, 0.25)
    """

    mated: FloatArray
    non_mated: FloatArray

    def __post_init__(self) -> None:
        common = np.result_type(self.mated, self.non_mated)
        for name in ("mated", "non_mated"):
            scores = np.asarray(getattr(self, name))
            check_scores(f"{name} score", scores)
            if len(scores) == 0:
                raise ValueError(f"no {name} scores; expected both mated and non-mated scores")
            object.__setattr__(self, name, ascending(scores.astype(common, copy=False)))

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """Return the error rates of scores; the memory is about that of a copy of the scores."""
        mated, non_mated = separate(scores)
        mated.sort()
        non_mated.sort()
        return cls(mated, non_mated)

    def fmr(self, threshold: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the false match rate at a threshold, or at each of an array of thresholds."""
        rejected = np.searchsorted(self.non_mated, self._comparable(threshold))
        return (len(self.non_mated) - rejected) / len(self.non_mated)

    def fnmr(self, threshold: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the false non-match rate at a threshold, or at each of an array of thresholds."""
        rejected = np.searchsorted(self.mated, self._comparable(threshold))
        return np.asarray(rejected / len(self.mated))

    def at(self, threshold: float) -> OperatingPoint:
        """Return the error rates at one threshold."""
        return OperatingPoint(threshold, float(self.fmr(threshold)), float(self.fnmr(threshold)))

    def at_fmr(self, fmr: float) -> OperatingPoint:
        """Return the lowest threshold with an FMR of at most ``fmr``, and its error rates.

        The threshold is the next representable number above the highest non-mated score that must not match. FNMR is
        not interpolated. FVC's FMR100 and FMR1000 are ``at_fmr(0.01).fnmr`` and ``at_fmr(0.001).fnmr``.

        Args:
            fmr: false match rate asked for, a fraction in [0, 1].

        Raises:
            ValueError: ``fmr`` is outside [0, 1].
        """
        if not 0 <= fmr <= 1:
            raise ArgumentError(f"fmr is {fmr}; expected a fraction, 0 to 1")
        n = len(self.non_mated)
        allowed = int(fmr * n)
        # The product may have been rounded across an integer; the quotient decides, as in ``self.fmr``.
        if allowed < n and (allowed + 1) / n <= fmr:
            allowed += 1
        if allowed / n > fmr:
            allowed -= 1
        if allowed == n:
            return self.at(float(self.non_mated[0]))
        return self.at(float(_next_above(self.non_mated[n - 1 - allowed])))

    @property
    def zero_fmr(self) -> OperatingPoint:
        """The lowest threshold without a false match, and its error rates; its FNMR is FVC's ZeroFMR."""
        return self.at_fmr(0)

    @property
    def eer(self) -> float:
        """Equal error rate, as the FVC competitions define it.

        Of the last threshold with FNMR <= FMR and the first threshold with FNMR >= FMR, the one with the smaller sum
        of rates counts. The EER is the mean of its two rates. Source: Maio, Maltoni, Cappelli, Wayman, Jain: FVC2000,
        IEEE TPAMI 24(3), 2002, section on performance evaluation.
        """

        def excess(threshold: float) -> float:
            return float(self.fnmr(threshold)) - float(self.fmr(threshold))

        below: list[float] = []
        above = [np.inf]
        for scores in (self.mated, self.non_mated):
            below.extend(scores[: bisect_right(scores, 0.0, key=excess)][-1:])
            above.extend(scores[bisect_left(scores, 0.0, key=excess) :][:1])
        thresholds = np.array([max(below), min(above)], dtype=self.mated.dtype)
        return float(equal_error_rate(self.fmr(thresholds), self.fnmr(thresholds)))

    def det(self) -> Det:
        """Return the DET curve at the thresholds of :meth:`det_thresholds`."""
        threshold = self.det_thresholds()
        return Det(threshold, self.fmr(threshold), self.fnmr(threshold))

    def det_thresholds(self) -> FloatArray:
        """Return (k,) ascending thresholds for a DET curve, from the lowest score to infinity.

        Up to 4096 mated scores all distinct ones are thresholds, and the same holds for non-mated scores. Of more
        scores, a selection is used: ranks evenly spaced in their logarithm, counted from the highest non-mated and
        from the lowest mated score. Adjacent ranks differ by less than 1 %, and all ranks with few errors are present.
        """
        return np.unique(
            np.concatenate(
                [
                    self.mated[_ranks(len(self.mated))],
                    self.non_mated[len(self.non_mated) - 1 - _ranks(len(self.non_mated))],
                    np.array([np.inf], dtype=self.mated.dtype),
                ]
            )
        )

    def _comparable(self, threshold: npt.ArrayLike) -> FloatArray:
        """Return the thresholds in the dtype of the scores, rounded up so that the same scores match."""
        given = np.asarray(threshold, dtype=np.float64)
        with np.errstate(over="ignore"):
            rounded = given.astype(self.mated.dtype)
        return np.where(rounded < given, _next_above(rounded), rounded)


def equal_error_rate(fmr: npt.NDArray[np.float64], fnmr: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the EER of each DET curve; see :attr:`ErrorRates.eer`.

    Args:
        fmr: (..., k) FMR at ascending thresholds.
        fnmr: (..., k) FNMR at the same thresholds.

    Returns:
        (...) equal error rates.
    """
    last_below = (fnmr <= fmr).sum(axis=-1, keepdims=True) - 1
    first_above = (fnmr < fmr).sum(axis=-1, keepdims=True)
    sums = [
        np.take_along_axis(fmr, at, axis=-1) + np.take_along_axis(fnmr, at, axis=-1)
        for at in (last_below, first_above)
    ]
    return np.asarray(np.minimum(*sums)[..., 0] / 2)


def ascending(scores: FloatArray) -> FloatArray:
    """Return the scores in ascending order: the same array if it is sorted, otherwise a sorted copy."""
    # In parts, to bound the memory of the comparison.
    parts = (scores[start : start + _PART + 1] for start in range(0, len(scores), _PART))
    return scores if all(bool((part[:-1] <= part[1:]).all()) for part in parts) else np.sort(scores)


def _next_above(score: FloatArray) -> FloatArray:
    """Return the next representable number above each score; for -inf, the lowest finite number."""
    with np.errstate(over="ignore"):  # NumPy reports an overflow for -inf
        return np.nextafter(score, score.dtype.type(np.inf))


def _ranks(n: int) -> npt.NDArray[np.int64]:
    """Return the ranks 0 to n - 1, or a log-spaced selection with both ends if there are more than 4096."""
    if n <= _EXACT_POINTS:
        return np.arange(n)
    return np.unique(np.geomspace(1, n, _POINTS).round().astype(np.int64)) - 1
