# SPDX-License-Identifier: Apache-2.0
"""Plots of the report, as SVG by matplotlib, each with a text alternative and a caption."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.findings import DISCARDED, Findings
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.plots import (
    ACCENT,
    DARK,
    DOTTED,
    GREY,
    drawing,
    percent_axis,
    plot_cmc,
    plot_det,
    trade_off,
)
from abis.evaluation.reliability import Reliability
from abis.evaluation.report.words import percent, wanted
from abis.evaluation.scores import FAILED
from abis.evaluation.summary import Summary

__all__ = [
    "Plot",
    "cmc",
    "det",
    "discard",
    "distributions",
    "identification_det",
    "reliability",
    "thresholds",
]

_BINS = 60
_THRESHOLDS = 400
_MOST_DISCARDED = 0.5
_DIFFERS = "#b3261e"


@dataclass(frozen=True)
class Plot:
    """A plot of the report.

    Attributes:
        svg: SVG document.
        alternative: text alternative that states the content of the plot.
        title: bold part of the caption.
        caption: rest of the caption.
    """

    svg: str
    alternative: str
    title: str
    caption: str


def det(findings: Findings) -> Plot:
    """Plot the detection error trade-off of the main protocol, with its 95 % band."""
    summary = findings.main
    with drawing() as (axes, svg):
        plot_det([findings], axes=axes)
    points = "; ".join(
        f"at FMR {wanted(row.wanted)} FNMR {percent(row.fnmr.value)}" for row in summary.fnmr_at
    )
    return Plot(
        svg(),
        f"DET curve, FNMR over FMR on logarithmic axes: {points}; equal error rate {percent(summary.eer.value)}.",
        "Detection error trade-off.",
        f"Curves nearer to the lower left corner are better. Band: 95\xa0% interval by bootstrap over {findings.unit}, "
        f"down to three false matches. On the lower edge, no error occurred. "
        f"{_numbers(summary)}",
    )


def distributions(findings: Findings) -> Plot:
    """Plot histograms of mated and non-mated scores."""
    summary = findings.main
    kinds = [_made(summary.rates.mated), _made(summary.rates.non_mated)]
    low, high = _range(kinds)
    edges = np.linspace(low, high, _BINS + 1)
    with drawing() as (axes, svg):
        mated, non_mated = (_histogram(kind, edges) for kind in kinds)
        axes.stairs(
            100 * non_mated, edges, fill=True, facecolor="#d9dde0", edgecolor=GREY, hatch="////", lw=0,
            label="non-mated",
        )  # fmt: skip
        axes.stairs(100 * mated, edges, color=ACCENT, lw=1.8, label="mated")
        axes.set_yscale("log")
        axes.set_ylim(50 / max(len(kind) for kind in kinds), 100)
        percent_axis(axes.yaxis, 0.01)
        axes.set_xlabel(_score_name(findings))
        axes.set_ylabel(f"comparisons per {edges[1] - edges[0]:.2g}, % of their kind")
        axes.legend(loc="upper center")
    medians = [float(kind[len(kind) // 2]) if len(kind) else float("nan") for kind in kinds]
    return Plot(
        svg(),
        f"Histograms of scores: the median mated score is {medians[0]:.2f}, the median non-mated score "
        f"{medians[1]:.2f}.",
        "Scores.",
        f"Histograms with less overlap mean fewer errors. Each histogram sums to 100\xa0%. The axis is logarithmic to "
        f"show the tails. {_numbers(summary)}",
    )


def thresholds(findings: Findings) -> Plot:
    """Plot measured FMR and FNMR over the threshold, with the promised FMRs."""
    summary = findings.main
    low, high = _range([_made(summary.rates.mated), _made(summary.rates.non_mated)])
    at = np.linspace(low, high, _THRESHOLDS)
    with drawing() as (axes, svg):
        axes.set_yscale("log")
        fmr, fnmr = summary.rates.fmr(at), summary.rates.fnmr(at)
        axes.plot(at, np.where(fmr > 0, fmr, np.nan), color=ACCENT, lw=1.8, label="FMR measured")
        axes.plot(at, np.where(fnmr > 0, fnmr, np.nan), color=DARK, lw=1.4, ls="--", label="FNMR measured")
        promised = [claim.promise for claim in summary.claims if claim.promise.gallery_size is None]
        bottom = 0.5 / max(summary.non_mated, summary.mated)
        shown = [promise for promise in promised if promise.rate >= bottom and promise.threshold <= high]
        if shown:
            axes.plot(
                [promise.threshold for promise in shown], [promise.rate for promise in shown],
                "D", ms=5, mfc="white", mec=ACCENT, label="FMR promised",
            )  # fmt: skip
        axes.set_ylim(bottom, 1.5)
        percent_axis(axes.yaxis)
        axes.set_xlabel(f"threshold, {_score_name(findings)}")
        axes.set_ylabel("error rate, %")
        axes.legend(loc="best")
    promise = " A promise is kept where the solid line is at or below its diamond." if shown else ""
    claims = "; ".join(
        f"at {claim.promise.threshold:.2f}, FMR {percent(claim.fmr.value)} and FNMR {percent(claim.fnmr.value)}"
        for claim in summary.claims
    )
    return Plot(
        svg(),
        f"FMR falling and FNMR rising over the threshold, logarithmic error rates{': ' + claims if claims else ''}.",
        "Error rates over the threshold.",
        f"A higher threshold has a lower FMR and a higher FNMR.{promise} {_numbers(summary)}",
    )


def reliability(findings: Findings, measured: Reliability) -> Plot:
    """Plot observed over claimed log10 likelihood ratios."""
    off = measured.excess != 0
    middle = measured.middle
    both = np.isfinite(measured.observed)
    at_least = ~both & np.isfinite(measured.low)
    at_most = ~both & np.isfinite(measured.high)
    shown = [measured.observed[both], measured.low[at_least], measured.high[at_most]]
    bottom, top = _range([np.sort(np.concatenate([measured.lowest, measured.highest, *shown]))])
    with drawing() as (axes, svg):
        ends = float(measured.lowest[0]), float(measured.highest[-1])
        axes.plot(ends, ends, color=GREY, lw=0.9, ls=DOTTED, label="ideal")
        for differs, colour, name in (
            (False, ACCENT, "observed, 95 % interval"),
            (True, _DIFFERS, "differs from what is claimed"),
        ):
            some = both & (off == differs)
            value = measured.observed[some]
            low, high = (np.clip(end[some], bottom, top) for end in (measured.low, measured.high))
            if some.any():
                axes.errorbar(
                    middle[some], value, (np.maximum(value - low, 0), np.maximum(high - value, 0)), fmt="o", ms=4.5,
                    color=colour, lw=1.2, label=name,
                )  # fmt: skip
            for bound, marker, kind, value in (
                ("at least", "^", at_least, measured.low),
                ("at most", "v", at_most, measured.high),
            ):
                some = kind & (off == differs)
                if some.any():
                    axes.plot(
                        middle[some], value[some], marker, ms=5, mfc="white", mec=colour,
                        label=f"{bound}, differs" if differs else bound,
                    )  # fmt: skip
        margin = 0.05 * (top - bottom)
        axes.set_ylim(bottom - margin, top + margin)
        axes.set_xlabel("claimed log10 likelihood ratio")
        axes.set_ylabel("observed log10 likelihood ratio")
        axes.legend(loc="upper left")
    points = "; ".join(
        f"{claimed:.1f} claimed, {seen:.1f} observed"
        for claimed, seen in zip(middle[both].tolist(), measured.observed[both].tolist(), strict=True)
    )
    return Plot(
        svg(),
        f"Observed over claimed log10 likelihood ratios: {points or 'no bin has mated and non-mated scores'}.",
        "Reliability of likelihood ratios.",
        "Points on the dotted line are calibrated. Above the line, evidence is stronger than claimed; below it, "
        f"weaker. Bars are 95\xa0% intervals by bootstrap over {findings.unit}. Triangles are 95\xa0% bounds for bins "
        "without mated or without non-mated scores (rule of three). Red: the interval does not overlap the "
        f"likelihood ratios claimed in the bin. {_numbers(findings.main)}",
    )


def cmc(findings: Findings, found: IdentificationRates) -> Plot:
    """Plot the cumulative match characteristic."""
    curve = found.cmc
    with drawing() as (axes, svg):
        plot_cmc([found], axes=axes)
    last = percent(float(curve.hits[-1]))
    return Plot(
        svg(),
        f"Cumulative match characteristic: {percent(float(curve.hits[0]))} of mates at rank 1, {last} up to "
        f"rank {len(curve.rank)}.",
        "Cumulative match characteristic.",
        f"Share of mates among the first candidates. Band: 95\xa0% interval. {found.mated:,} mated searches, "
        f"gallery of {found.gallery_size:,} {findings.enrolled}, list of {found.list_length:,}.",
    )


def identification_det(findings: Findings, found: IdentificationRates) -> Plot:
    """Plot FNIR at rank 1 over FPIR."""
    with drawing() as (axes, svg):
        trade_off(axes, [found.rates], [""])
        axes.set_xlabel("FPIR: false positives among non-mated searches, %")
        axes.set_ylabel("FNIR at rank 1: mates missed, %")
    points = "; ".join(
        f"at FPIR {wanted(row.wanted)} FNIR {percent(row.fnir.value)}" for row in found.fnir_at
    )
    return Plot(
        svg(),
        f"FNIR over FPIR on logarithmic axes: {points}.",
        "Open-set identification.",
        f"Curves nearer to the lower left corner are better. {found.mated:,} mated searches in "
        f"{found.gallery_size:,} {findings.enrolled}, {found.non_mated:,} non-mated searches in "
        f"{found.gallery_size_without_mate:,}.",
    )


def discard(findings: Findings, curve: ErrorVersusDiscard) -> Plot:
    """Plot FNMR over the fraction of comparisons discarded, up to one half."""
    first = float(curve.fnmr[0])
    with drawing() as (axes, svg):
        part = np.linspace(0, _MOST_DISCARDED, 200)
        axes.axhline(100 * first, color=GREY, lw=0.9, ls="--", label="quality without information")
        best = np.maximum(first - part, 0) / (1 - part)
        axes.plot(100 * part, 100 * best, color=GREY, lw=0.9, ls=DOTTED, label="best possible")
        shown = curve.discarded <= _MOST_DISCARDED
        axes.step(
            100 * np.append(curve.discarded[shown], _MOST_DISCARDED),
            100 * np.append(curve.fnmr[shown], curve.at(_MOST_DISCARDED)),
            where="post", color=ACCENT, lw=1.8, label="quality stated",
        )  # fmt: skip
        axes.set_xlim(0, 100 * _MOST_DISCARDED)
        axes.set_ylim(0, 100 * max(1.35 * first, 1.05 * float(curve.fnmr[shown].max())))
        axes.set_xlabel("comparisons discarded, lowest quality first, %")
        axes.set_ylabel("FNMR of the others, %")
        axes.legend(loc="upper right")
    points = "; ".join(f"{part:.0%} discarded, {percent(curve.at(part))}" for part in DISCARDED)
    return Plot(
        svg(),
        f"FNMR over the fraction of comparisons discarded: {points}.",
        "Error versus discard.",
        "Curves nearer to the dotted line mean that quality predicts errors better. The FNMR of all comparisons is "
        f"{percent(first)}. N\xa0=\xa0{findings.main.mated:,} mated, fewer to the right.",
    )


# --- shared elements --------------------------------------------------------------------------------------


def _made(scores: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
    """Return ascending scores without those of failed comparisons."""
    return scores[np.searchsorted(scores, FAILED, side="right") :]


def _range(kinds: list[npt.NDArray[np.floating[Any]]]) -> tuple[float, float]:
    ends = [float(kind[place]) for kind in kinds if len(kind) for place in (0, -1)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _histogram(kind: npt.NDArray[np.floating[Any]], edges: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return the share of ascending scores in each bin; the last bin includes its right edge."""
    places = np.searchsorted(kind, edges)
    places[-1] = len(kind)
    return np.diff(places) / max(len(kind), 1)


def _score_name(findings: Findings) -> str:
    return "log10 likelihood ratio" if findings.calibrated else "comparison score"


def _numbers(summary: Summary) -> str:
    return f"N\xa0=\xa0{summary.mated:,} mated, {summary.non_mated:,} non-mated."
