# SPDX-License-Identifier: Apache-2.0
"""Line plots as SVG for the documentation, drawn by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Line", "plot"]

Line = Sequence[tuple[float, float]]

_COLOURS = ("#1f6fb4", "#c8501e", "#2e8b57", "#7d4fa0", "#444444")


def plot(
    path: Path,
    *,
    title: str,
    x: tuple[str, float, float],
    y: tuple[str, float, float],
    lines: Mapping[str, Line],
    decades: bool = False,
) -> None:
    """Draw lines, and the diagonal on which the stated value equals the observed one.

    Args:
        path: file to write.
        title: for screen readers.
        x: name and ends of the horizontal axis, whole numbers.
        y: name and ends of the vertical axis, whole numbers.
        lines: points of each line, by its name. Points outside the axes are not drawn.
        decades: the numbers are exponents of 10.
    """
    import matplotlib as mpl  # noqa: PLC0415 - an extra, which most benchmarks do not need
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, MultipleLocator  # noqa: PLC0415

    (x_name, x0, x1), (y_name, y0, y1) = x, y
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")
    axes = figure.subplots()
    low, high = max(x0, y0), min(x1, y1)
    axes.plot([low, high], [low, high], "--", color="#888888", linewidth=1)
    for (name, line), colour in zip(lines.items(), _COLOURS, strict=False):
        axes.plot(*zip(*line, strict=True), color=colour, label=name)
    axes.set(xlabel=x_name, ylabel=y_name, xlim=(x0, x1), ylim=(y0, y1))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MultipleLocator(1))
        if decades:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"$10^{{{value:.0f}}}$"))
    axes.grid(color="#e0e0e0")
    axes.legend(frameon=False)
    with mpl.rc_context({"svg.hashsalt": "abis", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None, "Title": title})
