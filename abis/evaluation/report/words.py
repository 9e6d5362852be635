# SPDX-License-Identifier: Apache-2.0
"""Numbers as they stand in the report, and the findings in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from abis.evaluation.findings import Findings
from abis.evaluation.intervals import Estimate
from abis.evaluation.thresholds import Claim

__all__ = ["interval", "percent", "sentences", "threshold"]

_FEW_SUBJECTS = 100
_GOOD_LOSS, _FAIR_LOSS = 0.02, 0.1  # bits of Cllr that calibration loses


def percent(rate: float) -> str:
    """A rate in %, with two decimals, or below 0.1 % two digits that count.

    >>> percent(0.0285), percent(0), percent(0.00000123), percent(1)
    ('2.85 %', '0 %', '0.00012 %', '100 %')
    """
    if rate in (0, 1):
        return f"{100 * rate:.0f} %"
    decimals = 2 if 100 * rate >= 0.1 else 1 - math.floor(math.log10(100 * rate))
    return f"{100 * rate:.{min(decimals, 9)}f} %"


def interval(estimate: Estimate) -> str:
    """Its 95 % interval: ``0.02 to 7.85 %``."""
    return f"{percent(estimate.low).removesuffix(' %')} to {percent(estimate.high)}"


def threshold(value: float) -> str:
    """A score, with as many digits as tell it from others."""
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def sentences(findings: Findings) -> Iterator[str]:
    """What was found, the most important first."""
    main = findings.main
    samples = f" of {_of(findings)}" if findings.samples is not None else ""
    yield (
        f"This is what {findings.compared}{samples} show: {main.mated:,} mated and {main.non_mated:,} "
        f"non-mated comparisons."
    )
    row = next((row for row in reversed(main.fnmr_at[:-1]) if row.wanted * main.non_mated >= 10), None)
    row = main.fnmr_at[-1] if row is None else row
    limit = (
        f"lets at most one non-mated comparison in {1 / row.wanted:,.0f} match"
        if row.wanted
        else f"lets none of the {main.non_mated:,} non-mated comparisons match"
    )
    yield (
        f"A threshold that {limit} refuses {percent(row.fnmr.value)} of the mated ones (95 % interval: "
        f"{interval(row.fnmr)}). The equal error rate is {percent(main.eer.value)} ({interval(main.eer)})."
    )
    if findings.accuracy is not None:
        accuracy = findings.accuracy
        yield (
            f"Over {accuracy.folds} folds, {100 * accuracy.mean:.2f} % of the pairs are decided right "
            f"(standard error {100 * accuracy.standard_error:.2f} %)."
        )
    if (found := findings.identification) is not None:
        hits = Estimate(
            value=1 - found.rank_1.value, replicates=1 - found.rank_1.replicates, trials=found.mated
        )
        yield (
            f"Searched among {found.gallery_size:,} {_enrolled(findings)}, the mate comes first in "
            f"{percent(hits.value)} of {found.mated:,} searches ({interval(hits)})."
        )
    if findings.cllr is not None:
        yield _calibration(findings, findings.cllr)
        if broken := [claim for claim in main.claims if _is_broken(claim)]:
            yield (
                "Against what was promised, more non-mated comparisons match at the threshold for "
                + ", ".join(f"{claim.promise} ({percent(claim.fmr.value)})" for claim in broken)
                + ": calibrate on data like this before use."
            )
        elif main.claims:
            yield (
                "No threshold asked for as an error rate lets more non-mated comparisons match than it "
                "promises, as far as so many comparisons can tell."
            )
    if findings.failures or main.mated_failed or main.non_mated_failed:
        failed = f"{len(findings.failures):,} files could not be read" if findings.failures else ""
        comparisons = (
            f"{main.mated_failed:,} mated and {main.non_mated_failed:,} non-mated comparisons failed"
        )
        yield f"{failed + '; ' if failed else ''}{comparisons}. All of these count as non-matches."
    else:
        yield "Every template could be read, and every comparison was made."
    if findings.unit == "comparisons":
        yield (
            "The file does not say whose templates were compared, so the intervals take comparisons for "
            "independent. They are too narrow wherever subjects come more than once."
        )
    elif findings.subjects is not None and findings.subjects < _FEW_SUBJECTS:
        yield (
            f"With {findings.subjects} {findings.unit} the intervals are wide. They say what other "
            f"{findings.unit} from the same source would give, not another sensor or population."
        )


def _of(findings: Findings) -> str:
    return f"{findings.subjects:,} {findings.unit if findings.unit != 'comparisons' else 'subjects'}"


def _enrolled(findings: Findings) -> str:
    return "subjects" if findings.unit == "comparisons" else findings.unit


def _calibration(findings: Findings, cllr: float) -> str:
    loss = cllr - findings.min_cllr
    if loss <= _GOOD_LOSS:
        judgement = "they mean what they say"
    elif loss <= _FAIR_LOSS:
        judgement = "they can be used as they are, and a calibration on data like this would help a little"
    else:
        judgement = "calibrate on data like this before relying on them"
    return (
        f"As likelihood ratios, scores cost {cllr:.3f} bits a decision (Cllr), {loss:.3f} more than the best "
        f"calibration of the same scores: {judgement}."
    )


def _is_broken(claim: Claim) -> bool:
    """Whether even the low end of the interval is above the promise."""
    return claim.promise.gallery_size is None and claim.fmr.low > claim.promise.rate
