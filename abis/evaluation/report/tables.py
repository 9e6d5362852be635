# SPDX-License-Identifier: Apache-2.0
"""Tables of the report: titles, headings and cells, which the page's template marks up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.findings import DISCARDED, Findings, Pair, Protocol
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.intervals import Estimate
from abis.evaluation.report.words import interval, number_of, percent, threshold, wanted
from abis.evaluation.thresholds import GALLERY_SIZES, CheckedPromise

__all__ = [
    "Cell",
    "Table",
    "discarded",
    "failures",
    "fnir_at_fpir",
    "fnmr_at_fmr",
    "pairs",
    "thresholds",
]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        figure: main text.
        small: text in small type after it; empty: none.
    """

    figure: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: caption in bold type.
        note: rest of the caption.
        columns: column headings; the first column has the row headings.
        rows: cells of each row, one for each column.
        words: number of columns from the left that are text; the others are numbers, aligned to the right.
        is_wide: whether a narrow screen shows each row as a list, since its columns do not fit.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    words: int = 1
    is_wide: bool = False


def fnmr_at_fmr(protocol: Protocol, findings: Findings) -> Table:
    """Return the table of FNMRs at FMRs, and of the EER, of a protocol."""
    summary = protocol.summary
    return Table(
        f"FNMR at FMR, {protocol.name}.",
        f"{summary.mated:,} mated comparisons, {summary.mated_failed:,} failed; {summary.non_mated:,} non-mated, "
        f"{summary.non_mated_failed:,} failed. Each threshold is the lowest with an FMR of at most the FMR asked for.",
        ("FMR asked for", "threshold", "FMR measured", "FNMR, 95\xa0% interval"),
        [
            *(
                _row(
                    f"at most {wanted(row.wanted)}" if row.wanted else "0, no false match",
                    threshold(row.threshold, findings),
                    percent(row.fmr),
                    row.fnmr,
                )
                for row in summary.fnmr_at
            ),
            _row("EER", "", "", summary.eer),
        ],
    )


def thresholds(findings: Findings) -> Table:
    """Return the table of thresholds with the rates promised and measured."""
    return Table(
        "Thresholds asked for as error rates.",
        "The promise of each threshold, the error rates measured at it, and an upper bound of the FPIR by the number "
        "of enrolled subjects. An FMR of 0\xa0% means that no false match occurred; its interval ends at the rule of "
        "three.",
        (
            "asked for",
            "threshold",
            "FMR measured, 95\xa0% interval",
            "FNMR measured, 95\xa0% interval",
            *(f"FPIR among {size:,}" for size in GALLERY_SIZES),
        ),
        [
            _row(
                str(claim.promise).replace(" %", "\xa0%"),
                threshold(claim.promise.threshold, findings),
                claim.fmr,
                claim.fnmr,
                *(_expected_fpir(claim, size) for size in GALLERY_SIZES),
            )
            for claim in findings.main.claims
        ],
        is_wide=True,
    )


def fnir_at_fpir(found: IdentificationRates, findings: Findings) -> Table:
    """Return the table of FNIRs at rank 1 and FPIRs."""
    return Table(
        "FNIR at rank 1, at FPIR.",
        f"N = {found.gallery_size:,} enrolled, list length {found.list_length:,}, {found.mated:,} mated searches and "
        f"{found.non_mated:,} non-mated searches.",
        ("FPIR asked for", "threshold", "FPIR measured", "FNIR, 95\xa0% interval"),
        [
            _row("no threshold", "", "", found.rank_1),
            *(
                _row(
                    f"at most {wanted(row.wanted)}" if row.wanted else "0, no false positive",
                    threshold(row.threshold, findings),
                    percent(row.fpir),
                    row.fnir,
                )
                for row in found.fnir_at
            ),
        ],
    )


def discarded(curve: ErrorVersusDiscard, findings: Findings) -> Table:
    """Return the table of FNMRs when comparisons of low quality are discarded."""
    return Table(
        "FNMR when comparisons of the lowest quality are discarded.",
        f"{findings.main.mated:,} mated comparisons. The quality of a comparison is the lower one of its two "
        f"templates. The threshold is {threshold(curve.threshold, findings)} in every row; the FNMR of all "
        f"comparisons is {percent(float(curve.fnmr[0]))}.",
        ("discarded", "lowest quality kept", "comparisons left", "FNMR"),
        [
            _row(
                percent(float(curve.discarded[place])),
                f"{curve.quality[place]:.4g}" if curve.quality[place] > -np.inf else "failed",
                f"{round((1 - curve.discarded[place]) * findings.main.mated):,}",
                percent(float(curve.fnmr[place])),
            )
            for place in sorted({curve.place(part) for part in DISCARDED})
        ],
    )


def pairs(title: str, listed: Sequence[Pair], findings: Findings) -> Table:
    """Return a table of pairs and their scores."""
    return Table(
        f"{title}.",
        "",
        ("probe", "reference", "score"),
        [_row(pair.probe, pair.reference, threshold(pair.score, findings)) for pair in listed],
        words=2,
    )


def failures(findings: Findings) -> Table:
    """Return the table of the files that could not be read."""
    return Table(
        "Files that could not be read.",
        f"{len(findings.failures):,} of {number_of(findings.samples or 0, 'file')}. Their comparisons count as "
        "non-matches.",
        ("file", "reason"),
        [_row(failure.name, failure.reason) for failure in findings.failures],
        words=2,
    )


def _row(*values: str | Estimate) -> tuple[Cell, ...]:
    """Return the cells of a row; an error rate has its 95 % interval in small type."""
    return tuple(
        Cell(percent(value.value), interval(value)) if isinstance(value, Estimate) else Cell(value)
        for value in values
    )


def _expected_fpir(claim: CheckedPromise, size: int) -> str:
    """Return the union bound of the FPIR in a gallery of ``size`` subjects, from the promised rate."""
    promise = claim.promise
    fpir = promise.rate * size / (promise.gallery_size or 1)
    return percent(fpir) if fpir < 1 else "no bound"
