# SPDX-License-Identifier: Apache-2.0
"""``abis calibrate``: fit likelihood ratios and thresholds to your own scores."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import check_output
from abis.cli.console import note, progress_bar, say, tell
from abis.cli.opening import open_existing
from abis.errors import AbisError, UnreachableThreshold
from abis.evaluation import read_scores, refit
from abis.evaluation.score_tables import ENDINGS
from abis.scoring.calibration import Calibration, shipped, shipped_names
from abis.scoring.dna import load_calibration
from abis.scoring.thresholds import unreachable
from abis.verification.policy import Policy

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def calibrate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A score file to fit to: .csv, .parquet or .npz with raw (or score), and mated or subjects; or a file "
            "that this command wrote; or the name of a shipped calibration, such as minutiae-leader.",
        ),
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the calibration.")
    ] = None,
    gallery: Annotated[
        str | None,
        typer.Option(metavar="GALLERY", help="Gallery that uses the calibration from now on."),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Kind of templates that the scores are of: minutiae; embedding- or voice- and the name of a model.",
        ),
    ] = "minutiae",
) -> None:
    """Fit likelihood ratios and thresholds to your own scores, and report how much they improve."""
    check_output(output)
    if Path(source).suffix.lower() in ENDINGS and not Path(source).exists():
        raise AbisError(f"{source}: there is no such file")
    if Path(source).suffix.lower() in ENDINGS:
        calibration = _fitted(Path(source), kind)
    elif source in shipped_names():
        calibration = shipped(source)
    elif Path(source).exists():
        calibration = load_calibration(Path(source))
    else:
        raise AbisError(
            f"{source}: neither a file nor a shipped calibration; expected one of {', '.join(sorted(shipped_names()))}"
        )
    if fault := unreachable(Policy().fmr, [[calibration]]):
        say(f"warning: {calibration.kind}: {fault}")
    if output is not None:
        calibration.save(output)
        note(f"calibration of {calibration.kind} written to {output}")
    if gallery is not None:
        with (
            open_existing(gallery, load=False) as opened,
            warnings.catch_warnings(action="ignore", category=UnreachableThreshold),  # said above
        ):
            opened.calibrate(calibration)
        note(f"{gallery} now scores {calibration.kind} by this calibration")


def _fitted(path: Path, kind: str) -> Calibration:
    if kind not in shipped_names() and not kind.startswith(("embedding-", "iris-", "voice-")):
        raise typer.BadParameter(
            f"--kind is {kind!r}; expected minutiae, or embedding-, iris- or voice- and the name of a model"
        )
    with progress_bar("reading") as progress:
        file = read_scores(path, column=("raw", "score"), progress=progress)
    in_use = _shipped_for(kind)
    try:
        found = refit(
            file.scores,
            kind=in_use.kind if in_use is not None and kind in shipped_names() else kind,
            name=path.name,
            in_use=in_use,
            balance=file.balance,
        )
    except ValueError as error:
        raise AbisError(str(error)) from error
    tell(found)
    return found.calibration


def _shipped_for(kind: str) -> Calibration | None:
    """The shipped calibration that such scores get without one of their own; None if there is none."""
    general = kind if kind in shipped_names() else kind.partition("-")[0]
    return shipped(general) if general in shipped_names() else None
