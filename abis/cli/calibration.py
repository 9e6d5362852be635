# SPDX-License-Identifier: Apache-2.0
"""``abis calibrate``: likelihood ratios and thresholds for one's own scores."""

from __future__ import annotations

from pathlib import Path

import typer

from abis.cli.console import progress_bar, say
from abis.cli.galleries import open_existing
from abis.errors import AbisError
from abis.evaluation import read_scores, refit
from abis.evaluation.score_tables import ENDINGS
from abis.scoring.calibration import Calibration, shipped, shipped_names

__all__ = ["calibrate"]


def calibrate(source: str, *, output: Path | None, gallery: str | None, kind: str) -> None:
    """Fit, or take a calibration as it is; say how much it helps; keep it where that is asked for."""
    if Path(source).suffix.lower() in ENDINGS:
        calibration = _fitted(Path(source), kind)
    elif source in shipped_names():
        calibration = shipped(source)
    elif Path(source).exists():
        calibration = Calibration.load(Path(source))
    else:
        raise AbisError(
            f"{source}: neither a file nor a calibration that abis brings: {', '.join(sorted(shipped_names()))}"
        )
    if output is not None:
        calibration.save(output)
        say(f"calibration of {calibration.kind} written to {output}")
    if gallery is not None:
        with open_existing(gallery, load=False) as opened:
            opened.calibrate(calibration)
        say(f"{gallery} scores {calibration.kind} by it from now on")


def _fitted(path: Path, kind: str) -> Calibration:
    if kind not in shipped_names() and not kind.startswith("embedding-"):
        raise typer.BadParameter(
            f"--kind is {kind!r}; expected minutiae, or embedding- and the name of a model"
        )
    with progress_bar("reading") as progress:
        file = read_scores(path, column=("raw", "score"), progress=progress)
    in_use = shipped(kind if kind in shipped_names() else "embedding")
    try:
        found = refit(
            file.scores,
            kind=in_use.kind if kind in shipped_names() else kind,
            name=path.name,
            in_use=in_use,
            balance=file.balance,
        )
    except ValueError as error:
        raise AbisError(str(error)) from error
    typer.echo(found)
    return found.calibration
