# SPDX-License-Identifier: Apache-2.0
"""``abis size``: the machines that a gallery needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, check_output
from abis.cli.console import note, print_json, tell
from abis.errors import AbisError
from abis.sizing import Demand, Machine, Measurements, figures, plan, written
from abis.sizing.figure import draw

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def size(
    *,
    subjects: Annotated[
        int, typer.Option(metavar="N", help="Number of enrolled subjects (underscores allowed).")
    ],
    fingers: Annotated[int, typer.Option(metavar="N", help="Fingers of each subject and each probe.")] = 2,
    faces: Annotated[
        int, typer.Option(metavar="N", help="Faces of each subject and each probe: 0 or 1.")
    ] = 1,
    searches: Annotated[
        float,
        typer.Option(
            "--searches-per-second", metavar="RATE", help="1:N searches a second at the busiest time."
        ),
    ] = 1.0,
    verifications: Annotated[
        float,
        typer.Option(
            "--verifications-per-second",
            metavar="RATE",
            help="1:1 verifications a second at the busiest time.",
        ),
    ] = 0.0,
    enrolments: Annotated[
        float,
        typer.Option(
            "--enrolments-per-second",
            metavar="RATE",
            help="Enrolments a second, each with a search for duplicates.",
        ),
    ] = 0.0,
    latency: Annotated[
        float, typer.Option(metavar="SECONDS", help="Longest time of a search, for --percentile of searches.")
    ] = 1.0,
    percentile: Annotated[
        float, typer.Option(metavar="PERCENT", help="Part of searches that stay within --latency.")
    ] = 99.0,
    copies: Annotated[
        int,
        typer.Option(
            metavar="N", help="Least number of copies of the gallery; 2 goes on when a machine is lost."
        ),
    ] = 1,
    cores: Annotated[int, typer.Option(metavar="N", help="Cores of each machine.")] = 32,
    memory_gb: Annotated[float, typer.Option(metavar="GB", help="Memory of each machine.")] = 256.0,
    measured: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Constants measured on your own machines, as benchmarks/scale/sizing.py writes them.",
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw latency against load: .svg, .png or .pdf.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute how many machines a gallery needs, with how much memory and disk, and its latency.

    The computation uses measured constants, and says which results lie beyond what was measured. See
    docs/fifty-million.md.
    """
    check_output(figure, ".svg", ".png", ".pdf")
    try:
        demand = Demand(
            subjects=subjects,
            fingers=fingers,
            faces=faces,
            searches_per_second=searches,
            verifications_per_second=verifications,
            enrolments_per_second=enrolments,
            latency=latency,
            percentile=percentile,
            copies=copies,
        )
        found = plan(demand, Machine(cores=cores, memory_gb=memory_gb), Measurements.load(measured))
    except ValueError as error:
        raise AbisError(str(error)) from None
    if as_json:
        print_json(figures(found))
    else:
        tell(written(found))
    if figure is not None:
        draw(found, figure)
        note(f"picture written to {figure}")
