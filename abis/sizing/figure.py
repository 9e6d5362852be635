# SPDX-License-Identifier: Apache-2.0
"""Draw latency against load: the load at which queues grow, and the load that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from abis.errors import AbisError
from abis.sizing.planning import Plan

__all__ = ["draw"]

_COLOURS = {50.0: "#9ec5e8", 95.0: "#3d85c6", 99.0: "#0b3d6b"}
_LOADS = np.array([0.02, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.94])


def draw(plan: Plan, path: Path) -> None:
    """Draw the latency of searches over their rate, with all machines and with one lost.

    Args:
        plan: the plan to draw.
        path: file to write; its ending (.svg, .png or .pdf) selects the format.

    Raises:
        AbisError: matplotlib is not installed, or the ending is unknown.
    """
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import LogLocator, NullLocator  # noqa: PLC0415
    except ImportError:
        raise AbisError("a picture needs matplotlib: pip install 'abis[report]'") from None
    layout, demand = plan.layout, plan.layout.demand
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    for state, style, name in (
        (plan.whole, "-", f"all {layout.machines:,} machines"),
        (plan.one_lost, "--", "one lost"),
    ):
        limit = 1 / layout.busy(state.machines, 1.0)  # searches a second at which the cores are always busy
        rates = _LOADS * limit
        found = np.array(
            [np.percentile(layout.latencies(state.machines, rate), list(_COLOURS)) for rate in rates]
        )
        for column, (percentile, colour) in enumerate(_COLOURS.items()):
            axes.plot(rates, found[:, column], style, color=colour, label=f"p{percentile:g}, {name}")
    axes.axhline(demand.latency, color="#b45f06", linewidth=0.8)
    axes.annotate(
        f"asked for: p{demand.percentile:g} {demand.latency:g} s", (0.01, demand.latency),
        xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points", color="#b45f06",
    )  # fmt: skip
    asked = demand.all_searches_per_second
    axes.axvline(asked, color="#666666", linewidth=0.8)
    axes.annotate(
        f"{asked:g}/s", (asked, 0.01), xycoords=("data", "axes fraction"), xytext=(3, 0),
        textcoords="offset points", color="#666666",
    )  # fmt: skip
    axes.set(xlabel="searches a second", ylabel="seconds to the answer", yscale="log", xlim=(0, None))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title(
        f"{demand.subjects:,} subjects on {layout.machines:,} machines of {layout.machine.cores} cores",
        loc="left",
    )
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.legend(frameon=False, fontsize="small", ncols=2)
    try:
        with mpl.rc_context({"svg.hashsalt": "abis", "svg.fonttype": "none"}):
            figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    except ValueError as error:
        raise AbisError(f"{path}: {error}") from None
