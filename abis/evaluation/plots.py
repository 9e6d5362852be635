# SPDX-License-Identifier: Apache-2.0
"""DET and CMC curves of one system or several in one plot, by matplotlib.

Each function returns the matplotlib axes. ``axes.figure.savefig("det.pdf")`` writes them as PDF, PNG or SVG.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from abis.errors import AbisError
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.findings import Findings
from abis.evaluation.identification import IdentificationRates

__all__ = ["ACCENT", "DARK", "DOTTED", "GREY", "drawing", "percent_axis", "plot_cmc", "plot_det", "trade_off"]

ACCENT, DARK, GREY = "#0b5c8a", "#1d2329", "#767f88"
DOTTED = (0, (1, 2))
# One for each system; after Okabe and Ito, "Color Universal Design", 2008: distinct for colour-blind readers too.
_SYSTEMS = (ACCENT, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", DARK)
_LINES = ("-", "--", "-.", ":")
_SIZE = (4.6, 3.5)  # inches; at the width of a phone, letters are 10 pixels high
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans", "sans-serif"],
    "font.size": 9.5,
    "axes.edgecolor": GREY,
    "axes.labelcolor": DARK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": DARK,
    "ytick.labelcolor": DARK,
    "grid.color": "#e3e7ea",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "abis",
}
_FEW_RANKS = 20  # a longer CMC has no markers


def plot_det(
    systems: Sequence[Findings | ErrorRates], *, names: Sequence[str] | None = None, axes: Any = None
) -> Any:
    """Plot the detection error trade-off of each system: FNMR over FMR, on logarithmic drawn.

    A dot marks the equal error rate. On the lower edge, no error occurred.

    Args:
        systems: findings, of which the main protocol is drawn with its 95 % band, or error rates, drawn without.
        names: names of the systems for the legend. None (default): the names of the data sets, if all are findings.
        axes: matplotlib axes to draw on. None (default): new ones.

    Returns:
        The matplotlib axes.

    Raises:
        AbisError: matplotlib is not installed: ``pip install abis[report]``.
        ValueError: there is no system, or not one name for each.

    >>> import numpy as np
    >>> from abis.evaluation import ErrorRates
    >>> generator = np.random.default_rng(0)
    >>> ours, theirs = (
    ...     ErrorRates(generator.normal(size=500) + distance, generator.normal(size=5000)) for distance in (3, 4)
    ... )
    >>> axes = plot_det([ours, theirs], names=["ours", "theirs"])
    >>> axes.figure.savefig("det.png")  # doctest: +SKIP
    """
    rates = [system.main.rates if isinstance(system, Findings) else system for system in systems]
    labels = _labels(systems, names)
    with drawing(axes) as (drawn, _):
        left, bottom = trade_off(
            drawn, rates, [f"{name}, EER {100 * r.eer:.2f} %" for name, r in zip(labels, rates, strict=True)]
        )
        for number, (system, rate) in enumerate(zip(systems, rates, strict=True)):
            if isinstance(system, Findings):
                band = system.main.band
                drawn.fill_between(
                    band.fmr, np.maximum(band.low, bottom), np.maximum(band.high, bottom), lw=0,
                    color=_colour(number), alpha=0.24 if len(systems) == 1 else 0.12,
                )  # fmt: skip
            eer = max(rate.eer, left, bottom)
            drawn.plot(eer, eer, "o", ms=5, color=_colour(number) if len(systems) > 1 else DARK)
        drawn.plot([max(left, bottom), 1], [max(left, bottom), 1], color=GREY, lw=0.8, ls=DOTTED)
        if len(systems) == 1:
            drawn.annotate("EER", (eer, eer), xytext=(7, 4), textcoords="offset points", color=DARK)
        drawn.set_xlabel("FMR: false matches among non-mated comparisons, %")
        drawn.set_ylabel("FNMR: false non-matches among mated, %")
        return drawn


def plot_cmc(
    systems: Sequence[Findings | IdentificationRates], *, names: Sequence[str] | None = None, axes: Any = None
) -> Any:
    """Plot the cumulative match characteristic of each system with its 95 % band: mates over rank.

    Args:
        systems: findings with 1:N searches, or error rates of searches.
        names: names of the systems for the legend. None (default): the names of the data sets, if all are findings.
        axes: matplotlib axes to draw on. None (default): new ones.

    Returns:
        The matplotlib axes.

    Raises:
        AbisError: matplotlib is not installed: ``pip install abis[report]``.
        ValueError: there is no system, not one name for each, or findings have no searches.
    """
    labels = _labels(systems, names)
    curves = []
    for system, name in zip(systems, labels, strict=True):
        found = system.identification if isinstance(system, Findings) else system
        if found is None:
            raise ValueError(
                f"{name} has no 1:N searches; expected findings whose identification is measured"
            )
        curves.append(found.cmc)
    with drawing(axes) as (drawn, _):
        for number, (curve, name) in enumerate(zip(curves, labels, strict=True)):
            colour = _colour(number)
            drawn.fill_between(
                curve.rank, 100 * curve.low, 100 * curve.high, color=colour, lw=0,
                alpha=0.24 if len(curves) == 1 else 0.12,
            )  # fmt: skip
            drawn.plot(
                curve.rank, 100 * curve.hits, color=colour, lw=1.8, ls=_line(number), ms=4,
                marker="o" if len(curve.rank) <= _FEW_RANKS else "",
                label=f"{name}, rank 1 {100 * curve.hits[0]:.2f} %",
            )  # fmt: skip
        ranks = max(len(curve.rank) for curve in curves)
        lowest = 100 - max(1.0, 1.15 * (100 - 100 * min(float(curve.low.min()) for curve in curves)))
        drawn.set_xlim(1 - 0.02 * ranks, ranks * 1.02)
        drawn.set_ylim(lowest, 100 + 0.02 * (100 - lowest))
        drawn.xaxis.get_major_locator().set_params(integer=True, nbins=10)
        drawn.set_xlabel("rank")
        drawn.set_ylabel("mates at this rank or before, %")
        if len(curves) > 1:
            drawn.legend(loc="lower right")
        return drawn


# --- shared with the plots of the report --------------------------------------------------------------------


@contextmanager
def drawing(axes: Any = None) -> Iterator[tuple[Any, Callable[[], str]]]:
    """Yield axes in the style of the report, and a function that returns their figure as SVG.

    Args:
        axes: matplotlib axes. None (default): new ones.

    Raises:
        AbisError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra
        from matplotlib.backends.backend_svg import FigureCanvasSVG  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        raise AbisError("plots need matplotlib: pip install abis[report]") from None

    with mpl.rc_context(_STYLE):
        if axes is None:
            axes = Figure(figsize=_SIZE, layout="constrained").add_subplot()
            axes.grid(visible=True)
            axes.set_axisbelow(True)

        def svg() -> str:
            with mpl.rc_context(_STYLE):
                file = io.StringIO()
                FigureCanvasSVG(axes.figure).print_svg(file, metadata={"Date": None, "Creator": None})
                return file.getvalue()

        yield axes, svg


def trade_off(axes: Any, systems: Sequence[ErrorRates], labels: Sequence[str]) -> tuple[float, float]:
    """Plot FNMR over FMR, or FNIR over FPIR, of each system; a rate without an error lies on the lower edge.

    Args:
        axes: matplotlib axes.
        systems: error rates of each system.
        labels: label of each system for the legend, which is drawn for several systems.

    Returns:
        The left and the lower edge of the axes, as rates.
    """
    left = min(0.5 / len(rates.non_mated) for rates in systems)
    bottom = min(0.5 / len(rates.mated) for rates in systems)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(left, 1)
    axes.set_ylim(bottom, 1)
    for number, (rates, label) in enumerate(zip(systems, labels, strict=True)):
        curve = rates.det()
        some = slice(int((curve.fmr > 0).sum()) + 1)  # up to the first threshold without a false match
        axes.step(
            np.maximum(curve.fmr[some], left), np.maximum(curve.fnmr[some], bottom), where="pre",
            color=_colour(number), ls=_line(number), lw=1.8, label=label,
        )  # fmt: skip
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
    if len(systems) > 1:
        axes.legend(loc="upper right")
    return left, bottom


def percent_axis(axis: Any, unit: float = 1.0) -> None:
    """Set ticks at powers of ten in %; ``unit`` is the fraction that a 1 on the axis stands for."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: PLC0415 - an extra

    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(
        FuncFormatter(lambda rate, _: f"{100 * unit * rate:.9f}".rstrip("0").rstrip("."))
    )


def _labels(systems: Sequence[Any], names: Sequence[str] | None) -> list[str]:
    """Return the name of each system; a single system that has none is called by an empty name."""
    if not systems:
        raise ValueError("no systems; expected at least one")
    if names is not None:
        if len(names) != len(systems):
            raise ValueError(f"{len(names)} names for {len(systems)} systems; expected one for each")
        return list(names)
    if len(systems) > 1 and not all(isinstance(system, Findings) for system in systems):
        raise ValueError("names is None; expected one name for each system, since error rates have no names")
    return [system.name if isinstance(system, Findings) else "" for system in systems]


def _colour(number: int) -> str:
    return _SYSTEMS[number % len(_SYSTEMS)]


def _line(number: int) -> str:
    return _LINES[number % len(_LINES)]
