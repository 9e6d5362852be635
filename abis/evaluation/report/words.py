# SPDX-License-Identifier: Apache-2.0
"""Format the numbers of the report, and state the findings in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.findings import Findings
from abis.evaluation.intervals import Estimate
from abis.evaluation.reliability import Reliability
from abis.evaluation.thresholds import CheckedPromise

__all__ = ["interval", "number_of", "percent", "sentences", "threshold", "wanted"]

_PERCENT = "\xa0%"  # a no-break space keeps the sign on the line of its number
_FEW_SUBJECTS = 100
_A_FEW = 0.1  # fraction of comparisons discarded
_WELL, _SOME = 0.5, 0.15  # fractions of the gain of the best possible quality
_GOOD_LOSS, _FAIR_LOSS = 0.02, 0.1  # bits of Cllr that calibration loses


def percent(rate: float) -> str:
    r"""Format a rate in %, with two decimals; below 0.1 %, with two significant digits.

    >>> percent(0.0285), percent(0), percent(0.00000123), percent(1)
    ('2.85\xa0%', '0\xa0%', '0.00012\xa0%', '100\xa0%')
    """
    return f"{_decimal(rate, _decimals(rate))}{_PERCENT}"


def wanted(rate: float) -> str:
    r"""Format a rate that the caller asked for in %, without trailing zeros.

    >>> wanted(0.01), wanted(1e-6)
    ('1\xa0%', '0.0001\xa0%')
    """
    return f"{100 * rate:.9f}".rstrip("0").rstrip(".") + _PERCENT


def interval(estimate: Estimate) -> str:
    """Format a 95 % interval, such as ``0.02 to 7.85 %``; both ends have the decimals of the upper end."""
    decimals = _decimals(estimate.high)
    return f"{_decimal(estimate.low, decimals)} to {_decimal(estimate.high, decimals)}{_PERCENT}"


def threshold(value: float, findings: Findings) -> str:
    """Format a score: likelihood ratios with three decimals, raw scores with five significant digits."""
    return f"{value:.3f}" if findings.calibrated else f"{value:.5g}"


def number_of(count: int, noun: str) -> str:
    """Format a count with its noun.

    >>> number_of(1, "file"), number_of(1200, "file")
    ('1 file', '1,200 files')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _decimals(rate: float) -> int:
    if 100 * rate >= 0.1 or rate == 0:
        return 2
    return min(1 - math.floor(math.log10(100 * rate)), 9)


def _decimal(rate: float, decimals: int) -> str:
    return f"{100 * rate:.0f}" if rate in (0, 1) else f"{100 * rate:.{decimals}f}"


def sentences(findings: Findings) -> Iterator[str]:
    """Yield the findings in sentences, the most important first."""
    main = findings.main
    subjects = (
        f", of {f'{findings.subjects:,} {findings.enrolled}'}," if findings.subjects is not None else ""
    )
    yield (
        f"{findings.compared[0].upper()}{findings.compared[1:]}{subjects} were compared: {main.mated:,} mated and "
        f"{main.non_mated:,} non-mated comparisons."
    )
    row = next((row for row in reversed(main.fnmr_at[:-1]) if row.wanted * main.non_mated >= 10), None)
    row = main.fnmr_at[-1] if row is None else row
    limit = (
        f"lets at most one non-mated comparison in {1 / row.wanted:,.0f} match"
        if row.wanted
        else f"lets none of the {main.non_mated:,} non-mated comparisons match"
    )
    yield (
        f"A threshold that {limit} rejects {percent(row.fnmr.value)} of the mated comparisons (95 % interval: "
        f"{interval(row.fnmr)}). The equal error rate is {percent(main.eer.value)} ({interval(main.eer)})."
    )
    if findings.accuracy is not None:
        accuracy = findings.accuracy
        yield (
            f"Over {accuracy.folds} folds, {100 * accuracy.mean:.2f} % of the pairs are decided correctly "
            f"(standard error {100 * accuracy.standard_error:.2f} %)."
        )
    if (found := findings.identification) is not None:
        hits = Estimate(
            value=1 - found.rank_1.value, replicates=1 - found.rank_1.replicates, trials=found.mated
        )
        yield (
            f"In a gallery of {found.gallery_size:,} {findings.enrolled}, the mate has rank 1 in "
            f"{percent(hits.value)} of {found.mated:,} mated searches ({interval(hits)})."
        )
    if findings.cllr is not None:
        yield _calibration(findings, findings.cllr)
        if main.reliability is not None:
            yield _reliability(main.reliability)
        if broken := [claim for claim in main.claims if _is_broken(claim)]:
            yield (
                "More non-mated comparisons match than promised at the threshold for "
                + ", ".join(f"{claim.promise} ({percent(claim.fmr.value)})" for claim in broken)
                + ". Fit a calibration to data like this before use."
            )
        elif main.claims:
            yield (
                "At every threshold for a promised FMR, the measured FMR is within the promise, to the precision "
                "of this number of comparisons."
            )
    if findings.discard is not None:
        yield _quality(findings.discard)
    if findings.failures or main.mated_failed or main.non_mated_failed:
        failed = f"{number_of(len(findings.failures), 'file')} could not be read" if findings.failures else ""
        non_mated = number_of(main.non_mated_failed, "non-mated comparison")
        comparisons = f"{main.mated_failed:,} mated and {non_mated} failed"
        yield f"{failed + '; ' if failed else ''}{comparisons}. Failed comparisons count as non-matches."
    else:
        read = "Every template could be read, and every" if findings.from_files else "Every"
        yield f"{read} comparison was made."
    if findings.unit == "comparisons":
        yield (
            "The file does not state the subjects of the templates, so the intervals treat comparisons as "
            "independent. They are too narrow if a subject occurs in more than one comparison."
        )
    elif findings.subjects is not None and findings.subjects < _FEW_SUBJECTS:
        yield (
            f"With {findings.subjects} {findings.unit} the intervals are wide. They cover other "
            f"{findings.unit} from the same source, but not another sensor or population."
        )


def _quality(curve: ErrorVersusDiscard) -> str:
    first, place = float(curve.fnmr[0]), curve.place(_A_FEW)
    left = float(curve.fnmr[place])
    best = (first - curve.discarded[place]) / (1 - curve.discarded[place])
    gained = (first - left) / (first - best) if place else 0.0
    judgement = (
        "predicts error well"
        if gained >= _WELL
        else "predicts some errors"
        if gained >= _SOME
        else "hardly predicts errors on this data"
    )
    return (
        f"The quality stated in the templates {judgement}: if the {percent(float(curve.discarded[place]))} of the "
        f"mated comparisons with the lowest quality are discarded, an FNMR of {percent(first)} becomes {percent(left)}."
    )


def _calibration(findings: Findings, cllr: float) -> str:
    loss = cllr - findings.min_cllr
    if loss <= _GOOD_LOSS:
        judgement = "another calibration would hardly lower it"
    elif loss <= _FAIR_LOSS:
        judgement = "a calibration on data like this would lower it a little"
    else:
        judgement = "fit a calibration to data like this before you rely on the scores"
    return (
        f"The cost of the scores as likelihood ratios (Cllr) is {cllr:.3f} bits a decision, {loss:.3f} more than the "
        f"best calibration of the same scores: {judgement}."
    )


def _reliability(measured: Reliability) -> str:
    """State how many bins of the reliability figure agree with the claims, and the largest difference."""
    excess = measured.excess
    count, agree = len(excess), int((excess == 0).sum())
    if agree == count:
        return (
            f"In each of {count} bins of scores, the observed likelihood ratio agrees with the claimed ones within its "
            "95 % interval."
        )
    parts = []
    for sign, kind in ((-1, "weaker"), (1, "stronger")):
        off = np.flatnonzero(sign * excess > 0)
        if len(off):
            worst = off[np.argmax(np.abs(excess[off]))]
            parts.append(
                f"in {len(off)} the evidence is {kind} than claimed, by {abs(excess[worst]):.1f} decades or more at a "
                f"score of {measured.middle[worst]:.1f}"
            )
    return (
        f"In {agree} of {count} bins of scores, the observed likelihood ratio agrees with the claimed ones within its "
        f"95 % interval; {'; '.join(parts)}."
    )


def _is_broken(claim: CheckedPromise) -> bool:
    """Return whether the lower end of the 95 % interval of the FMR is above the promised FMR."""
    return claim.promise.gallery_size is None and claim.fmr.low > claim.promise.rate
