# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained HTML page: no script, no network, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np

from abis.comparison import explain
from abis.comparison.drawing import draw_pair
from abis.evaluation.findings import DISCARDED, Findings, Pair
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.report import plots
from abis.evaluation.report.elements import cell, figure, table
from abis.evaluation.report.provenance import ReportProvenance
from abis.evaluation.report.words import counted, interval, percent, sentences, threshold, wanted
from abis.evaluation.thresholds import GALLERY_SIZES, CheckedPromise
from abis.template import Minutiae, Position

__all__ = ["page", "write_report"]


def write_report(path: Path, findings: Findings, source: ReportProvenance) -> None:
    """Write the report on findings as one self-contained HTML page, for screen, phone and print.

    Args:
        path: HTML file to write; an existing file is replaced.
        findings: the findings of an evaluation.
        source: provenance of the findings, as :func:`abis.evaluation.report.provenance` returns it.

    Raises:
        AbisError: matplotlib is not installed: ``pip install abis[report]``.
        OSError: the file cannot be written.
    """
    path.write_text(page(findings, source), encoding="utf-8")


def page(findings: Findings, source: ReportProvenance) -> str:
    """Return the report on findings as the HTML text of one page.

    Args:
        findings: the findings of an evaluation.
        source: provenance of the findings.

    Raises:
        AbisError: matplotlib is not installed.
    """
    style = files("abis.evaluation.report").joinpath("style.css").read_text(encoding="utf-8")
    parts = [
        *_head(findings, source),
        *_summary(findings),
        *_verification(findings),
        *_thresholds(findings),
        *_identification(findings),
        *_quality(findings),
        *_worst_pairs(findings),
        *_failures(findings),
        *_method(findings),
        *_provenance(source),
    ]
    body = "\n".join(parts)
    title = escape(f"Evaluation of {findings.name}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


# --- parts of the page, from top to bottom ----------------------------------------------------------------


def _head(findings: Findings, source: ReportProvenance) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>Evaluation of {escape(findings.name)}</h1>"
    date = f'<span class="nowrap">{source.date}</span>'
    yield f'<p class="soft">Error rates of biometric comparison. {escape(source.software)}. {date}.</p>'
    yield "</header>"


def _summary(findings: Findings) -> Iterator[str]:
    first, *others = sentences(findings)
    yield f'<p class="lead">{escape(first)}</p>'
    yield "<ul>"
    yield from (f"<li>{escape(sentence)}</li>" for sentence in others)
    yield "</ul>"
    main = findings.main
    key = [
        ("EER", main.eer),
        ("FNMR at FMR 1\xa0% (FMR100)", main.fmr100),
        ("FNMR at FMR 0.1\xa0% (FMR1000)", main.fmr1000),
        ("FNMR with no false match (ZeroFMR)", main.zero_fmr),
    ]
    if findings.identification is not None:
        key.append(("FNIR at rank 1", findings.identification.rank_1))
    yield '<dl class="key">'
    for name, estimate in key:
        yield (
            f"<div><dt>{escape(name)}</dt><dd>{percent(estimate.value)}"
            f"<small>95\xa0%: {interval(estimate)}</small></dd></div>"
        )
    yield "</dl>"


def _verification(findings: Findings) -> Iterator[str]:
    yield "<h2>Verification, 1:1</h2>"
    yield from _plots([plots.det(findings), plots.distributions(findings)])
    for protocol in findings.protocols:
        summary = protocol.summary
        yield from table(
            f"FNMR at FMR, {protocol.name}.",
            f"{summary.mated:,} mated comparisons, {summary.mated_failed:,} failed; "
            f"{summary.non_mated:,} non-mated, {summary.non_mated_failed:,} failed. Each threshold is the "
            "lowest with an FMR of at most the FMR asked for.",
            ("FMR asked for", "threshold", "FMR measured", "FNMR, 95\xa0% interval"),
            [
                (
                    f"at most {wanted(row.wanted)}" if row.wanted else "0, no false match",
                    threshold(row.threshold, findings),
                    percent(row.fmr),
                    cell(row.fnmr),
                )
                for row in summary.fnmr_at
            ]
            + [("EER", "", "", cell(summary.eer))],
        )


def _thresholds(findings: Findings) -> Iterator[str]:
    yield "<h2>Scores and thresholds</h2>"
    if findings.cllr is None:
        yield (
            "<p>These scores are on a scale of their own: they are not likelihood ratios. Thresholds for larger "
            "galleries cannot be derived from them. Fit a calibration to the scores first.</p>"
        )
        yield from _plots([plots.thresholds(findings)])
        return
    yield (
        "<p>Scores are log10 likelihood ratios. A score of 3 means that the evidence is a thousand times likelier if "
        f"both templates are of one subject. Cllr, the cost of a score, is {findings.cllr:.3f} bits a decision; 0 is "
        f"perfect, and 1 is no information. The best calibration of the same scores has {findings.min_cllr:.3f}.</p>"
    )
    yield from _plots([plots.thresholds(findings), plots.reliability(findings)])
    if findings.main.claims:
        yield from table(
            "Thresholds asked for as error rates.",
            "The promise of each threshold, the error rates measured at it, and an upper bound of the FPIR by the "
            "number of enrolled subjects. An FMR of 0 % means that no false match occurred; its interval ends at "
            "the rule of three.",
            (
                "asked for",
                "threshold",
                "FMR measured, 95\xa0% interval",
                "FNMR measured, 95\xa0% interval",
                *(f"FPIR among {size:,}" for size in GALLERY_SIZES),
            ),
            [
                (
                    str(claim.promise).replace(" %", "\xa0%"),
                    threshold(claim.promise.threshold, findings),
                    cell(claim.fmr),
                    cell(claim.fnmr),
                    *(_expected_fpir(claim, size) for size in GALLERY_SIZES),
                )
                for claim in findings.main.claims
            ],
        )


def _identification(findings: Findings) -> Iterator[str]:
    found = findings.identification
    if found is None:
        return
    yield "<h2>Identification, 1:N</h2>"
    yield f"<p>{escape(_searched(findings, found))}</p>"
    yield from _plots([plots.cmc(findings, found), plots.identification_det(findings, found)])
    yield from table(
        "FNIR at rank 1, at FPIR.",
        f"N = {found.gallery_size:,} enrolled, list length {found.list_length:,}, {found.mated:,} mated searches and "
        f"{found.non_mated:,} non-mated searches.",
        ("FPIR asked for", "threshold", "FPIR measured", "FNIR, 95\xa0% interval"),
        [
            ("no threshold", "", "", cell(found.rank_1)),
            *(
                (
                    f"at most {wanted(row.wanted)}" if row.wanted else "0, no false positive",
                    threshold(row.threshold, findings),
                    percent(row.fpir),
                    cell(row.fnir),
                )
                for row in found.fnir_at
            ),
        ],
    )


def _quality(findings: Findings) -> Iterator[str]:
    curve = findings.discard
    if curve is None:
        return
    yield "<h2>Quality</h2>"
    yield (
        "<p>Each template states a quality. If quality predicts errors, the error rate falls when comparisons of "
        "low quality are discarded. A threshold on quality then tells the operator to repeat a capture.</p>"
    )
    yield from _plots([plots.discard(findings, curve)])
    yield from table(
        "FNMR when comparisons of the lowest quality are discarded.",
        f"{findings.main.mated:,} mated comparisons. The quality of a comparison is the lower one of its two "
        f"templates. The threshold is {threshold(curve.threshold, findings)} in every row; the FNMR of all "
        f"comparisons is {percent(float(curve.fnmr[0]))}.",
        ("discarded", "lowest quality kept", "comparisons left", "FNMR"),
        [
            (
                percent(float(curve.discarded[place])),
                f"{curve.quality[place]:.4g}" if curve.quality[place] > -np.inf else "failed",
                f"{round((1 - curve.discarded[place]) * findings.main.mated):,}",
                percent(float(curve.fnmr[place])),
            )
            for place in sorted({curve.place(part) for part in DISCARDED})
        ],
    )


def _worst_pairs(findings: Findings) -> Iterator[str]:
    if not findings.worst:
        return
    yield "<h2>The worst pairs</h2>"
    yield (
        "<p>Examine these pairs first. Wrong labels, prints captured upside down and photographs that occur twice "
        "in the data set appear here.</p>"
    )
    for mated, title in (
        (True, "Mated pairs with the lowest scores"),
        (False, "Non-mated pairs with the highest scores"),
    ):
        pairs = [pair for pair in findings.worst if pair.mated is mated]
        if not pairs:
            continue
        drawn = [_drawn(pair, findings) for pair in pairs]
        if any(drawn):
            yield f"<h3>{title}</h3>"
            yield '<div class="pairs">'
            yield from (drawing for drawing in drawn if drawing)
            yield "</div>"
        others = [pair for pair, drawing in zip(pairs, drawn, strict=True) if not drawing]
        if others:
            yield from table(
                f"{title}.",
                "",
                ("probe", "reference", "score"),
                [(pair.probe, pair.reference, threshold(pair.score, findings)) for pair in others],
                words=2,
            )


def _failures(findings: Findings) -> Iterator[str]:
    if not findings.failures and not findings.ignored:
        return
    yield "<h2>Files</h2>"
    if findings.failures:
        yield from table(
            "Files that could not be read.",
            f"{len(findings.failures):,} of {findings.samples or 0:,} files. Their comparisons count as non-matches.",
            ("file", "reason"),
            [(failure.name, failure.reason) for failure in findings.failures],
            words=2,
        )
    if findings.ignored:
        names = ", ".join(findings.ignored[:20]) + (", …" if len(findings.ignored) > 20 else "")
        yield f"<p>{len(findings.ignored):,} other files were ignored: {escape(names)}.</p>"


def _method(findings: Findings) -> Iterator[str]:
    yield "<h2>Method</h2>"
    yield (
        "<p>Error rates are defined by ISO/IEC 19795-1. A comparison is a match if its score is at or above the "
        "threshold. FNMR at an FMR is the FNMR at the lowest threshold whose FMR does not exceed it, without "
        "interpolation. Comparisons that failed, or whose template could not be read, count as non-matches. No "
        "comparison is left out.</p>"
    )
    drawn = findings.unit
    yield (
        f"<p>95 % intervals are by bootstrap: {drawn} are drawn with replacement, a thousand times."
        + (
            f" The weight of a comparison is the product of the numbers of draws of its {drawn}."
            if drawn != "comparisons"
            else ""
        )
        + " If no error occurred, the interval ends at 3 divided by the number of comparisons (rule of three).</p>"
    )


def _provenance(source: ReportProvenance) -> Iterator[str]:
    yield "<h2>Provenance</h2>"
    rows = [
        ("Command", f"<code>{escape(source.command)}</code>"),
        *((f"Data, SHA-256 of {escape(name)}", f"<code>{content}</code>") for name, content in source.data),
        ("Software", escape(source.software)),
        ("Machine", escape(source.machine)),
        ("Date", escape(source.date)),
        ("Seed of the bootstrap", str(source.seed)),
    ]
    yield '<table class="provenance"><tbody>'
    yield from (f'<tr><th scope="row">{name}</th><td>{value}</td></tr>' for name, value in rows)
    yield "</tbody></table>"


# --- elements of the parts ---------------------------------------------------------------------------------


def _plots(plotted: Sequence[plots.Plot]) -> Iterator[str]:
    yield '<div class="figures">'
    for plot in plotted:
        yield figure(plot.svg, plot.alternative, f"<b>{escape(plot.title)}</b> {escape(plot.caption)}")
    yield "</div>"


def _drawn(pair: Pair, findings: Findings) -> str:
    """Return a figure of the minutiae of both templates side by side; empty if a template is not of a finger."""
    match pair.templates:
        case (Minutiae() as first, Minutiae() as second):
            # The file names determine the fingers, so positions in the templates do not matter here.
            probe, reference = (replace(t, position=Position.UNKNOWN_FINGER) for t in (first, second))
        case _:
            return ""
    found = explain(probe, reference)
    names = f"{pair.probe} and {pair.reference}"
    svg = draw_pair(probe, reference, found.pairs, title=names)
    numbers = f"minutiae paired: {len(found.pairs)} of {len(probe)} and {len(reference)}."
    return figure(
        svg,
        f"{names}, side by side; {numbers}",
        f"<b>{escape(names)}</b>, score {threshold(pair.score, findings)}; {numbers}",
    )


def _expected_fpir(claim: CheckedPromise, size: int) -> str:
    """Return the union bound of the FPIR in a gallery of ``size`` subjects, from the promised rate."""
    promise = claim.promise
    fpir = promise.rate * size / (promise.gallery_size or 1)
    return percent(fpir) if fpir < 1 else "no bound"


def _searched(findings: Findings, found: IdentificationRates) -> str:
    non_mated = (
        "the same probes in the gallery without their own subject"
        if found.gallery_size_without_mate < found.gallery_size
        else "probes of subjects who are not enrolled"
    )
    return (
        f"{found.gallery_size:,} {counted(findings)} are enrolled. There are {found.mated:,} mated searches and "
        f"{found.non_mated:,} non-mated searches ({non_mated}). Each search compares every reference. Ties in rank "
        "count against the system."
    )
