# SPDX-License-Identifier: Apache-2.0
"""False match and false non-match rates, after ISO/IEC 19795-1:2006, 4.6.

A comparison is a match where its score is at or above the threshold. Everything here is exact: no
binning, no interpolation between observed scores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.evaluation.scores import Scores, check_scores, separate

__all__ = ["Det", "ErrorRates", "OperatingPoint", "ascending", "equal_error_rate"]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

_EXACT_POINTS = 4096  # up to so many scores a kind, a DET curve holds every distinct one
_POINTS = 2048  # beyond, so many ranks, evenly spaced in their logarithm
_PART = 1 << 20


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and the error rates at it, fractions in [0, 1]."""

    threshold: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, eq=False)
class Det:
    """Detection error trade-off (ISO/IEC 19795-1:2006, 4.7): error rates at ascending thresholds, (k,)."""

    threshold: FloatArray
    fmr: npt.NDArray[np.float64]
    fnmr: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorRates:
    """The error rates of a set of mated and of non-mated scores, at any threshold.

    A failed comparison (-inf) is a non-match at every threshold: it adds to FNMR where it was mated, and
    counts among the comparisons of FMR where it was not.

    Attributes:
        mated: (m,) float32 or float64, sorted ascending; m > 0.
        non_mated: (n,) likewise.

    Raises:
        ValueError: where either kind is empty, or a score is NaN or plus infinity.

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
                raise ValueError(f"no {name} scores: an error rate needs both mated and non-mated ones")
            object.__setattr__(self, name, ascending(scores.astype(common, copy=False)))

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """Those of scores and subjects, in little more memory than a copy of the scores."""
        mated, non_mated = separate(scores)
        mated.sort()
        non_mated.sort()
        return cls(mated, non_mated)

    def fmr(self, threshold: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Part of the non-mated comparisons with a score at or above the threshold (or thresholds)."""
        rejected = np.searchsorted(self.non_mated, self._comparable(threshold))
        return (len(self.non_mated) - rejected) / len(self.non_mated)

    def fnmr(self, threshold: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Part of the mated comparisons with a score below the threshold (or thresholds)."""
        rejected = np.searchsorted(self.mated, self._comparable(threshold))
        return np.asarray(rejected / len(self.mated))

    def at(self, threshold: float) -> OperatingPoint:
        """The error rates at one threshold."""
        return OperatingPoint(threshold, float(self.fmr(threshold)), float(self.fnmr(threshold)))

    def at_fmr(self, fmr: float) -> OperatingPoint:
        """The lowest threshold at which FMR is at most ``fmr``, and the rates there.

        That is the next representable number above the highest non-mated score that must be refused: FMR
        never exceeds what was asked for, and FNMR is taken at that threshold, not interpolated.
        FVC's FMR100 and FMR1000 are ``at_fmr(0.01).fnmr`` and ``at_fmr(0.001).fnmr``.

        Raises:
            ValueError: where ``fmr`` is outside [0, 1].
        """
        if not 0 <= fmr <= 1:
            raise ValueError(f"fmr is {fmr}; expected a fraction, 0 to 1")
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
        """The lowest threshold without a false match: FVC's ZeroFMR is its FNMR."""
        return self.at_fmr(0)

    @property
    def eer(self) -> float:
        """Equal error rate, as the FVC competitions define it where no threshold makes both rates equal.

        Maio, Maltoni, Cappelli, Wayman, Jain: FVC2000, IEEE TPAMI 24(3), 2002, section on performance
        evaluation: of the last threshold with FNMR <= FMR and the first with FNMR >= FMR, the one with the
        smaller sum of rates; the EER is the middle of its two rates.
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
        """The DET curve at every distinct score, or at some thousands of them where there are more."""
        threshold = self.det_thresholds()
        return Det(threshold, self.fmr(threshold), self.fnmr(threshold))

    def det_thresholds(self) -> FloatArray:
        """(k,) ascending thresholds for a DET curve: from the lowest score to infinity.

        Every distinct score up to some thousands; beyond, non-mated scores at ranks counted from the
        highest and mated ones at ranks counted from the lowest, evenly spaced in the rank's logarithm:
        less than 1 % apart, and every one where errors are few.
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
        """The thresholds in the scores' own dtype, rounded up: which scores they refuse stays the same."""
        given = np.asarray(threshold, dtype=np.float64)
        with np.errstate(over="ignore"):
            rounded = given.astype(self.mated.dtype)
        return np.where(rounded < given, _next_above(rounded), rounded)


def equal_error_rate(fmr: npt.NDArray[np.float64], fnmr: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The EER of DET curves (..., k) at ascending thresholds; see :attr:`ErrorRates.eer`."""
    last_below = (fnmr <= fmr).sum(axis=-1, keepdims=True) - 1
    first_above = (fnmr < fmr).sum(axis=-1, keepdims=True)
    sums = [
        np.take_along_axis(fmr, at, axis=-1) + np.take_along_axis(fnmr, at, axis=-1)
        for at in (last_below, first_above)
    ]
    return np.asarray(np.minimum(*sums)[..., 0] / 2)


def ascending(scores: FloatArray) -> FloatArray:
    """The scores sorted: themselves where they are, else a copy."""
    # In parts, for there may be very many.
    parts = (scores[start : start + _PART + 1] for start in range(0, len(scores), _PART))
    return scores if all(bool((part[:-1] <= part[1:]).all()) for part in parts) else np.sort(scores)


def _next_above(score: FloatArray) -> FloatArray:
    """The next representable number above; below all numbers, -inf, that is the lowest."""
    with np.errstate(over="ignore"):  # as numpy calls going there from -inf
        return np.nextafter(score, score.dtype.type(np.inf))


def _ranks(n: int) -> npt.NDArray[np.int64]:
    """Ranks 0 to n - 1, or a log-spaced selection of them that holds both ends."""
    if n <= _EXACT_POINTS:
        return np.arange(n)
    return np.unique(np.geomspace(1, n, _POINTS).round().astype(np.int64)) - 1
