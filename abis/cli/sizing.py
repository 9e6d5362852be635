# SPDX-License-Identifier: Apache-2.0
"""``abis size``: what a gallery takes."""

from __future__ import annotations

from pathlib import Path

import typer

from abis.cli.console import print_json, say
from abis.errors import AbisError
from abis.sizing import Demand, Machine, Measurements, figures, plan, written
from abis.sizing.figure import draw

__all__ = ["size"]


def size(
    demand: dict[str, float | int],
    machine: dict[str, float | int],
    *,
    measured: Path | None,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Plan, print, and draw if asked to."""
    try:
        found = plan(Demand(**demand), Machine(**machine), Measurements.load(measured))  # type: ignore[arg-type]
    except ValueError as error:
        raise AbisError(str(error)) from None
    if as_json:
        print_json(figures(found))
    else:
        typer.echo(written(found))
    if figure is not None:
        draw(found, figure)
        say(f"picture written to {figure}")
