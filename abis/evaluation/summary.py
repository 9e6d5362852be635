# SPDX-License-Identifier: Apache-2.0
"""The figures by which comparison is judged, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from abis.evaluation.bootstrap import DetReplicates, bootstrap
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.intervals import Estimate, interval
from abis.evaluation.scores import FAILED, Scores
from abis.evaluation.thresholds import CheckedPromise, Promise

__all__ = ["Band", "FnmrAtFmr", "Summary", "summarise"]

_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_BAND_POINTS = 25  # a decade


@dataclass(frozen=True)
class FnmrAtFmr:
    """The FNMR at an FMR.

    Attributes:
        wanted: the FMR asked for.
        threshold: the lowest at which FMR is at most that.
        fmr: there, at most ``wanted``.
        fnmr: there, with its 95 % interval.
    """

    wanted: float
    threshold: float
    fmr: float
    fnmr: Estimate


@dataclass(frozen=True, eq=False)
class Band:
    """Pointwise 95 % intervals of a DET curve: of FNMR at fixed FMRs, all (k,), FMR ascending."""

    fmr: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Error rates of one protocol on one data set.

    FMR100, FMR1000 and ZeroFMR are the competitions' names (FVC2000, see :attr:`ErrorRates.eer`) for the
    FNMR at the lowest threshold with an FMR of at most 1 %, 0.1 % and 0.

    Attributes:
        mated, non_mated: comparisons, failed ones included.
        mated_failed, non_mated_failed: those of them that could not be made: non-matches.
        eer, fmr100, fmr1000, zero_fmr: fractions, with 95 % intervals over subjects.
        fnmr_at: at FMRs of 1 %, 0.1 %, and so on for as long as at least one false match is allowed, and at
            none.
        claims: what was measured at the thresholds of the promises given.
        band: of the DET curve.
        rates: at every threshold.
    """

    mated: int
    non_mated: int
    mated_failed: int
    non_mated_failed: int
    eer: Estimate
    fmr100: Estimate
    fmr1000: Estimate
    zero_fmr: Estimate
    fnmr_at: tuple[FnmrAtFmr, ...] = field(repr=False)
    claims: tuple[CheckedPromise, ...] = field(repr=False)
    band: Band = field(repr=False, compare=False)
    rates: ErrorRates = field(repr=False, compare=False)


def summarise(scores: Scores, *, seed: int = 0, promises: Sequence[Promise] = ()) -> Summary:
    """Error rates with intervals by bootstrap over the subjects of ``scores``.

    Args:
        scores: comparison scores, or log10 likelihood ratios.
        seed: of the bootstrap.
        promises: thresholds to hold against the measurement; for likelihood ratios only.

    Raises:
        ValueError: where there is no mated or no non-mated comparison.
    """
    rates = ErrorRates.of(scores)
    replicates = bootstrap(scores, seed=seed, rates=rates)

    def fnmr_at(fmr: float) -> FnmrAtFmr:
        point = rates.at_fmr(fmr)
        fnmr = Estimate(value=point.fnmr, replicates=replicates.fnmr_at_fmr(fmr), trials=len(rates.mated))
        return FnmrAtFmr(fmr, point.threshold, point.fmr, fnmr)

    def claim(promise: Promise) -> CheckedPromise:
        point = rates.at(promise.threshold)
        fmr, fnmr = replicates.at(promise.threshold)
        return CheckedPromise(
            promise,
            fmr=Estimate(value=point.fmr, replicates=fmr, trials=len(rates.non_mated)),
            fnmr=Estimate(value=point.fnmr, replicates=fnmr, trials=len(rates.mated)),
        )

    at = {fmr: fnmr_at(fmr) for fmr in (*_FMRS, 0.0)}
    return Summary(
        mated=len(rates.mated),
        non_mated=len(rates.non_mated),
        mated_failed=int((rates.mated == FAILED).sum()),
        non_mated_failed=int((rates.non_mated == FAILED).sum()),
        eer=Estimate(
            value=rates.eer, replicates=replicates.eer(), trials=min(len(rates.mated), len(rates.non_mated))
        ),
        fmr100=at[0.01].fnmr,
        fmr1000=at[0.001].fnmr,
        zero_fmr=at[0.0].fnmr,
        fnmr_at=tuple(row for fmr, row in at.items() if fmr == 0 or fmr * len(rates.non_mated) >= 1),
        claims=tuple(claim(promise) for promise in promises),
        band=_band(rates, replicates),
        rates=rates,
    )


def _band(rates: ErrorRates, replicates: DetReplicates) -> Band:
    """Down to the FMR of three false matches: below, what the replicates hold is chance."""
    lowest = min(3 / len(rates.non_mated), 0.5)
    fmr = np.geomspace(lowest, 1, max(round(-np.log10(lowest) * _BAND_POINTS), 2))
    ends = [interval(rates.at_fmr(f).fnmr, replicates.fnmr_at_fmr(f), len(rates.mated)) for f in fmr.tolist()]
    low, high = np.array(ends).T
    return Band(fmr, low, high)
