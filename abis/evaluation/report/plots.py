# SPDX-License-Identifier: Apache-2.0
"""Plots of the report, as SVG by matplotlib, each with a text alternative and a caption."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import AbisError
from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.findings import DISCARDED, Findings
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.report.words import counted, percent, wanted
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

_ACCENT, _DARK, _GREY, _BAND = "#0b5c8a", "#1d2329", "#767f88", "#c5dbe8"
_SIZE = (4.6, 3.5)  # inches; at the width of a phone, letters are 10 pixels high
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _DARK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _DARK,
    "ytick.labelcolor": _DARK,
    "grid.color": "#e3e7ea",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "none",
    "svg.hashsalt": "abis",
}
_BINS = 60
_THRESHOLDS = 400
_MOST_DISCARDED = 0.5
_Z = 1.96  # standard deviations to the ends of a 95 % interval


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
    with _axes() as (axes, svg):
        _trade_off(axes, summary.rates, ("FMR", "FNMR"))
        band = summary.band
        bottom = axes.get_ylim()[0]
        axes.fill_between(
            band.fmr, np.maximum(band.low, bottom), np.maximum(band.high, bottom), color=_BAND, lw=0
        )
        axes.plot(*[[max(axes.get_xlim()[0], bottom), 1]] * 2, color=_GREY, lw=0.8, ls=(0, (1, 2)))
        axes.plot(summary.eer.value or bottom, summary.eer.value or bottom, "o", ms=5, color=_DARK)
        axes.annotate(
            "EER", (summary.eer.value or bottom,) * 2, xytext=(7, 4), textcoords="offset points", color=_DARK
        )
        axes.set_xlabel("FMR: false matches among non-mated comparisons, %")
        axes.set_ylabel("FNMR: false non-matches among mated, %")
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
    with _axes() as (axes, svg):
        mated, non_mated = (_histogram(kind, edges) for kind in kinds)
        axes.stairs(
            100 * non_mated, edges, fill=True, facecolor="#d9dde0", edgecolor=_GREY, hatch="////", lw=0,
            label="non-mated",
        )  # fmt: skip
        axes.stairs(100 * mated, edges, color=_ACCENT, lw=1.8, label="mated")
        axes.set_yscale("log")
        axes.set_ylim(50 / max(len(kind) for kind in kinds), 100)
        _percent_axis(axes.yaxis, 0.01)
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
    with _axes() as (axes, svg):
        axes.set_yscale("log")
        fmr, fnmr = summary.rates.fmr(at), summary.rates.fnmr(at)
        axes.plot(at, np.where(fmr > 0, fmr, np.nan), color=_ACCENT, lw=1.8, label="FMR measured")
        axes.plot(at, np.where(fnmr > 0, fnmr, np.nan), color=_DARK, lw=1.4, ls="--", label="FNMR measured")
        promised = [claim.promise for claim in summary.claims if claim.promise.gallery_size is None]
        bottom = 0.5 / max(summary.non_mated, summary.mated)
        shown = [promise for promise in promised if promise.rate >= bottom and promise.threshold <= high]
        if shown:
            axes.plot(
                [promise.threshold for promise in shown], [promise.rate for promise in shown],
                "D", ms=5, mfc="white", mec=_ACCENT, label="FMR promised",
            )  # fmt: skip
        axes.set_ylim(bottom, 1.5)
        _percent_axis(axes.yaxis)
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


def reliability(findings: Findings) -> Plot:
    """Plot observed over claimed log10 likelihood ratios."""
    kinds = [_made(findings.main.rates.mated), _made(findings.main.rates.non_mated)]
    low, high = _range(kinds)
    width = 0.5 if high - low < 8 else 1.0
    edges = np.arange(np.floor(low / width), np.ceil(high / width) + 1) * width
    mated, non_mated = (np.diff(np.searchsorted(kind, edges)) for kind in kinds)
    middle = (edges[:-1] + edges[1:]) / 2
    both = (mated > 0) & (non_mated > 0)
    least = (mated > 0) & (non_mated == 0)  # rule of three: up to three are consistent with none
    most = (mated == 0) & (non_mated > 0)

    def observed(m: npt.NDArray[Any], n: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.asarray(np.log10(m / len(kinds[0])) - np.log10(n / len(kinds[1])))

    with _axes() as (axes, svg):
        ends = [float(edges[0]), float(edges[-1])]
        axes.plot(ends, ends, color=_GREY, lw=0.9, ls=(0, (1, 2)), label="ideal")
        error = _Z * np.sqrt(1 / mated[both] + 1 / non_mated[both]) / np.log(10)
        axes.errorbar(
            middle[both], observed(mated[both], non_mated[both]), error, fmt="o", ms=4.5, color=_ACCENT,
            lw=1.2, label="observed, 95 % interval",
        )  # fmt: skip
        if least.any():
            axes.plot(
                middle[least], observed(mated[least], np.full(int(least.sum()), 3)), "^", ms=5,
                mfc="white", mec=_ACCENT, label="at least",
            )  # fmt: skip
        if most.any():
            axes.plot(
                middle[most], observed(np.full(int(most.sum()), 3), non_mated[most]), "v", ms=5,
                mfc="white", mec=_ACCENT, label="at most",
            )  # fmt: skip
        axes.set_xlabel("claimed log10 likelihood ratio")
        axes.set_ylabel("observed log10 likelihood ratio")
        axes.legend(loc="upper left")
    points = "; ".join(
        f"{claimed:g} claimed, {seen:.1f} observed"
        for claimed, seen in zip(
            middle[both].tolist(), observed(mated[both], non_mated[both]).tolist(), strict=True
        )
    )
    return Plot(
        svg(),
        f"Observed over claimed log10 likelihood ratios: {points or 'no bin has mated and non-mated scores'}.",
        "Reliability of likelihood ratios.",
        f"Points on the dotted line are calibrated. Above the line, evidence is stronger than claimed; below it, "
        f"weaker. Triangles are bounds for bins without mated or without non-mated scores (rule of three). Bins of "
        f"{width:g}; intervals treat comparisons as independent. {_numbers(findings.main)}",
    )


def cmc(findings: Findings, found: IdentificationRates) -> Plot:
    """Plot the cumulative match characteristic."""
    curve = found.cmc
    with _axes() as (axes, svg):
        axes.fill_between(curve.rank, 100 * curve.low, 100 * curve.high, color=_BAND, lw=0)
        marker = "o" if len(curve.rank) <= 20 else ""
        axes.plot(curve.rank, 100 * curve.hits, color=_ACCENT, lw=1.8, marker=marker, ms=4)
        axes.set_xlim(1 - 0.02 * len(curve.rank), len(curve.rank) * 1.02)
        lowest = 100 - max(1.0, 1.15 * (100 - 100 * float(curve.low.min())))
        axes.set_ylim(lowest, 100 + 0.02 * (100 - lowest))
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=10)
        axes.set_xlabel("rank")
        axes.set_ylabel("mates at this rank or before, %")
    last = percent(float(curve.hits[-1]))
    return Plot(
        svg(),
        f"Cumulative match characteristic: {percent(float(curve.hits[0]))} of mates at rank 1, {last} up to "
        f"rank {len(curve.rank)}.",
        "Cumulative match characteristic.",
        f"Share of mates among the first candidates. Band: 95\xa0% interval. {found.mated:,} mated searches, "
        f"gallery of {found.gallery_size:,} {counted(findings)}, list of {found.list_length:,}.",
    )


def identification_det(findings: Findings, found: IdentificationRates) -> Plot:
    """Plot FNIR at rank 1 over FPIR."""
    with _axes() as (axes, svg):
        _trade_off(axes, found.rates, ("FPIR", "FNIR"))
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
        f"{found.gallery_size:,} {counted(findings)}, {found.non_mated:,} non-mated searches in "
        f"{found.gallery_size_without_mate:,}.",
    )


def discard(findings: Findings, curve: ErrorVersusDiscard) -> Plot:
    """Plot FNMR over the fraction of comparisons discarded, up to one half."""
    first = float(curve.fnmr[0])
    with _axes() as (axes, svg):
        part = np.linspace(0, _MOST_DISCARDED, 200)
        axes.axhline(100 * first, color=_GREY, lw=0.9, ls="--", label="quality without information")
        best = np.maximum(first - part, 0) / (1 - part)
        axes.plot(100 * part, 100 * best, color=_GREY, lw=0.9, ls=(0, (1, 2)), label="best possible")
        shown = curve.discarded <= _MOST_DISCARDED
        axes.step(
            100 * np.append(curve.discarded[shown], _MOST_DISCARDED),
            100 * np.append(curve.fnmr[shown], curve.at(_MOST_DISCARDED)),
            where="post", color=_ACCENT, lw=1.8, label="quality stated",
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


@contextmanager
def _axes() -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yield empty axes, and a function that returns the drawn axes as SVG."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise AbisError("the report's figures need matplotlib: pip install abis[report]") from None

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE, layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True)
        axes.set_axisbelow(True)

        def svg() -> str:
            with mpl.rc_context(_STYLE):
                file = io.StringIO()
                FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None})
                return file.getvalue()

        yield axes, svg


def _trade_off(axes: Any, rates: ErrorRates, names: tuple[str, str]) -> None:
    """Plot one error rate over the other on logarithmic axes; a rate without an error lies on the lower edge."""
    curve = rates.det()
    some = slice(int((curve.fmr > 0).sum()) + 1)  # up to the first threshold without a false match
    left, bottom = 0.5 / len(rates.non_mated), 0.5 / len(rates.mated)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, 1)
    axes.set_ylim(bottom, 1)
    axes.step(
        np.maximum(curve.fmr[some], left), np.maximum(curve.fnmr[some], bottom), where="pre", color=_ACCENT, lw=1.8,
        label=f"{names[1]} over {names[0]}",
    )  # fmt: skip
    _percent_axis(axes.xaxis)
    _percent_axis(axes.yaxis)


def _percent_axis(axis: Any, unit: float = 1.0) -> None:
    """Set ticks at powers of ten in %; ``unit`` is the fraction that a 1 on the axis stands for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: PLC0415 - an extra

    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda rate, _: f"{100 * unit * rate:.9f}".rstrip("0").rstrip("."))
    )


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
