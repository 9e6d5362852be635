# SPDX-License-Identifier: Apache-2.0
"""Error rates of a set of comparisons at the usual operating points, with 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from abis.evaluation.bootstrap import DetReplicates, bootstrap
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.intervals import Estimate, interval
from abis.evaluation.reliability import Reliability, measure_reliability
from abis.evaluation.scores import FAILED, Scores
from abis.evaluation.thresholds import CheckedPromise, Promise

__all__ = ["Band", "FnmrAtFmr", "Summary", "summarise"]

_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_BAND_POINTS = 25  # a decade


@dataclass(frozen=True)
class FnmrAtFmr:
    """The FNMR at an FMR.

    Attributes:
        wanted: FMR asked for, a fraction.
        threshold: lowest threshold with an FMR of at most ``wanted``.
        fmr: FMR at the threshold.
        fnmr: FNMR at the threshold, with its 95 % interval.
    """

    wanted: float
    threshold: float
    fmr: float
    fnmr: Estimate


@dataclass(frozen=True, eq=False)
class Band:
    """Pointwise 95 % intervals of the FNMR along a DET curve.

    Attributes:
        fmr: (k,) ascending FMRs.
        low: (k,) lower end of the interval of the FNMR at each FMR.
        high: (k,) upper end of the interval of the FNMR at each FMR.
    """

    fmr: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Error rates of one protocol on one data set.

    FMR100, FMR1000 and ZeroFMR are the competitions' names (FVC2000, see :attr:`ErrorRates.eer`) for the
    FNMR at the lowest threshold with an FMR of at most 1 %, 0.1 % and 0.

    Attributes:
        mated: number of mated comparisons, failed ones included.
        non_mated: number of non-mated comparisons, failed ones included.
        mated_failed: number of mated comparisons that failed; they count as non-matches.
        non_mated_failed: number of non-mated comparisons that failed; they count as non-matches.
        eer: equal error rate, with its 95 % interval over subjects.
        fmr100: FNMR at an FMR of at most 1 %, with its 95 % interval over subjects.
        fmr1000: FNMR at an FMR of at most 0.1 %, with its 95 % interval over subjects.
        zero_fmr: FNMR at an FMR of 0, with its 95 % interval over subjects.
        fnmr_at: FNMR at FMRs of 1 %, 0.1 % and so on, where that allows at least one false match; and at an FMR
            of 0.
        claims: error rates measured at the threshold of each promise.
        band: 95 % intervals along the DET curve.
        reliability: claimed and observed likelihood ratios. None: the scores are not likelihood ratios, or all mated or
            all non-mated comparisons failed.
        rates: error rates at every threshold.
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
    reliability: Reliability | None = field(repr=False, compare=False)
    rates: ErrorRates = field(repr=False, compare=False)


def summarise(scores: Scores, *, seed: int = 0, promises: Sequence[Promise] = ()) -> Summary:
    """Measure error rates, with 95 % intervals by bootstrap over the subjects of ``scores``.

    Args:
        scores: comparison scores or log10 likelihood ratios.
        seed: seed of the bootstrap.
        promises: thresholds to measure error rates at; only for log10 likelihood ratios. Default: none.

    Raises:
        ValueError: there is no mated or no non-mated comparison.
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
        reliability=measure_reliability(rates, replicates) if promises else None,
        rates=rates,
    )


def _band(rates: ErrorRates, replicates: DetReplicates) -> Band:
    """Return the band down to the FMR of three false matches; below, the replicates are mostly chance."""
    lowest = min(3 / len(rates.non_mated), 0.5)
    fmr = np.geomspace(lowest, 1, max(round(-np.log10(lowest) * _BAND_POINTS), 2))
    ends = [interval(rates.at_fmr(f).fnmr, replicates.fnmr_at_fmr(f), len(rates.mated)) for f in fmr.tolist()]
    low, high = np.array(ends).T
    return Band(fmr, low, high)
