# SPDX-License-Identifier: Apache-2.0
"""Reliability of likelihood ratios: the claimed ones compared with those observed in bins of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abis.evaluation.bootstrap import DetReplicates
from abis.evaluation.error_rates import ErrorRates, FloatArray
from abis.evaluation.scores import FAILED

__all__ = ["Reliability", "measure_reliability"]

_NARROW, _WIDE = 0.5, 1.0  # decades: width of a bin
_WIDE_RANGE = 8.0  # decades: a larger range of scores has wide bins
_TAIL = 0.025  # of the replicates below, and above, a 95 % interval
_UNSEEN = 3.0  # rule of three: up to three events are consistent with none


@dataclass(frozen=True, eq=False)
class Reliability:
    """Claimed and observed log10 likelihood ratios in each bin of scores.

    A score claims a likelihood ratio. The observed one is the share of the mated scores in the bin divided by the share
    of the non-mated scores. If the scores are calibrated, it lies between the lowest and the highest claim of the bin.

    Attributes:
        lowest: (k,) lowest score in each bin.
        highest: (k,) highest score in each bin.
        observed: (k,) observed log10 likelihood ratio; NaN in a bin without mated or without non-mated scores.
        low: (k,) lower end of the 95 % interval of the observed log10 likelihood ratio, by bootstrap over subjects;
            -inf if there is none. In a bin without non-mated scores it follows from the rule of three.
        high: (k,) upper end of the interval; inf if there is none. In a bin without mated scores it follows from the
            rule of three.
        mated: (k,) int64, number of mated scores in each bin.
        non_mated: (k,) int64, number of non-mated scores in each bin.
    """

    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    mated: npt.NDArray[np.int64]
    non_mated: npt.NDArray[np.int64]

    @property
    def middle(self) -> npt.NDArray[np.float64]:
        """(k,) middle of the claims of each bin."""
        return (self.lowest + self.highest) / 2

    @property
    def excess(self) -> npt.NDArray[np.float64]:
        """(k,) decades from the claims of each bin to the interval of what was observed.

        Above 0, evidence is stronger than claimed; below 0, weaker; 0 if the interval overlaps the claims.
        """
        return np.maximum(self.low - self.highest, 0.0) - np.maximum(self.lowest - self.high, 0.0)


def measure_reliability(rates: ErrorRates, replicates: DetReplicates) -> Reliability | None:
    """Compare claimed with observed log10 likelihood ratios in bins of half a decade, or of one for a large range.

    Args:
        rates: error rates of log10 likelihood ratios.
        replicates: replicates of the bootstrap of the same scores.

    Returns:
        The comparison; None if all mated or all non-mated comparisons failed.
    """
    kinds = [kind[np.searchsorted(kind, FAILED, side="right") :] for kind in (rates.mated, rates.non_mated)]
    if not all(len(kind) for kind in kinds):
        return None
    start = min(float(kind[0]) for kind in kinds)
    end = max(float(kind[-1]) for kind in kinds)
    width = _WIDE if end - start > _WIDE_RANGE else _NARROW
    wanted = width * np.arange(np.floor(start / width), np.floor(end / width) + 2)
    # A bin begins at the first threshold of the replicates that is at or above its wanted place.
    place = np.unique(np.searchsorted(replicates.threshold, wanted.astype(replicates.threshold.dtype)))
    edge = replicates.threshold[place]
    starts = [np.searchsorted(kind, edge) for kind in kinds]
    some = sum(np.diff(at) for at in starts) > 0
    mated, non_mated = (np.diff(at)[some] for at in starts)
    lowest, highest = _claims(kinds, starts)

    with np.errstate(divide="ignore", invalid="ignore"):  # a share of 0 has the logarithm -inf
        log_mated, log_non_mated = (np.log10(shares[:, some]) for shares in _shares(replicates, place))
        observed = np.log10(mated / len(kinds[0])) - np.log10(non_mated / len(kinds[1]))
        low, high = _interval(log_mated - log_non_mated)
        low = np.where(non_mated == 0, _interval(log_mated)[0] - np.log10(_UNSEEN / len(kinds[1])), low)
        high = np.where(mated == 0, np.log10(_UNSEEN / len(kinds[0])) - _interval(log_non_mated)[0], high)
    both = (mated > 0) & (non_mated > 0)
    return Reliability(
        lowest=lowest[some],
        highest=highest[some],
        observed=np.where(both, observed, np.nan),
        low=np.where(both, np.minimum(low, observed), np.where(mated > 0, low, -np.inf)),
        high=np.where(both, np.maximum(high, observed), np.where(non_mated > 0, high, np.inf)),
        mated=mated,
        non_mated=non_mated,
    )


def _claims(
    kinds: Sequence[FloatArray], starts: Sequence[npt.NDArray[np.int64]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the lowest and the highest score of both kinds in each bin; inf and -inf in an empty bin."""
    lowest = np.full(len(starts[0]) - 1, np.inf)
    highest = np.full(len(lowest), -np.inf)
    for kind, at in zip(kinds, starts, strict=True):
        has = np.diff(at) > 0
        lowest[has] = np.minimum(lowest[has], kind[at[:-1][has]])
        highest[has] = np.maximum(highest[has], kind[at[1:][has] - 1])
    return lowest, highest


def _shares(
    replicates: DetReplicates, place: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the shares of the mated and of the non-mated scores of each replicate in each bin, both (b, k)."""
    above = replicates.fmr[:, place]
    below = replicates.fnmr[:, place]
    return (
        np.diff(below, axis=1) / (1 - below[:, :1]),
        -np.diff(above, axis=1) / above[:, :1],
    )


def _interval(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the ends of the middle 95 % of each column; infinite values count, NaN does not."""
    ordered = np.sort(values, axis=0)  # NaN last
    last = np.maximum((~np.isnan(ordered)).sum(axis=0) - 1, 0)
    ends = np.floor(_TAIL * last), np.ceil((1 - _TAIL) * last)
    low, high = (np.take_along_axis(ordered, end.astype(np.int64)[np.newaxis], axis=0)[0] for end in ends)
    return np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
