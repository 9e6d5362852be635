# SPDX-License-Identifier: Apache-2.0
"""The handful of figures by which comparison is judged, with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

from abis.evaluation.bootstrap import bootstrap
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.intervals import Estimate
from abis.evaluation.scores import FAILED, Scores

__all__ = ["Summary", "summarise"]


@dataclass(frozen=True)
class Summary:
    """Error rates of one protocol on one data set.

    FMR100, FMR1000 and ZeroFMR are the competitions' names (FVC2000, see :attr:`ErrorRates.eer`) for the
    FNMR at the lowest threshold with an FMR of at most 1 %, 0.1 % and 0.

    Attributes:
        mated, non_mated: comparisons, failed ones included.
        mated_failed, non_mated_failed: those of them that could not be made: non-matches.
        eer, fmr100, fmr1000, zero_fmr: fractions, with 95 % intervals over subjects.
    """

    mated: int
    non_mated: int
    mated_failed: int
    non_mated_failed: int
    eer: Estimate
    fmr100: Estimate
    fmr1000: Estimate
    zero_fmr: Estimate


def summarise(scores: Scores, *, seed: int = 0) -> Summary:
    """Error rates with intervals by bootstrap over the subjects of ``scores``.

    Raises:
        ValueError: where there is no mated or no non-mated comparison.
    """
    rates = ErrorRates.of(scores)
    replicates = bootstrap(scores, seed=seed, rates=rates)

    def fnmr_at(fmr: float) -> Estimate:
        return Estimate(
            value=rates.at_fmr(fmr).fnmr, replicates=replicates.fnmr_at_fmr(fmr), trials=len(rates.mated)
        )

    return Summary(
        mated=len(rates.mated),
        non_mated=len(rates.non_mated),
        mated_failed=int((rates.mated == FAILED).sum()),
        non_mated_failed=int((rates.non_mated == FAILED).sum()),
        eer=Estimate(
            value=rates.eer, replicates=replicates.eer(), trials=min(len(rates.mated), len(rates.non_mated))
        ),
        fmr100=fnmr_at(0.01),
        fmr1000=fnmr_at(0.001),
        zero_fmr=fnmr_at(0),
    )
