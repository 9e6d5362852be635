# SPDX-License-Identifier: Apache-2.0
"""``abis fuse``: one score from the scores of several matchers."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.table import Table

from abis.cli.arguments import check_output
from abis.cli.console import note, out, progress_bar
from abis.errors import AbisError, FormatError
from abis.evaluation import best_fusion, learn_fusion, read_scores, try_fusions
from abis.evaluation.score_fusion import METHODS
from abis.scoring.matcher_fusion import FAILED_SCORE, ScoreFusion
from abis.text import SafeCsv, unescaped_cell

__all__ = ["commands"]

commands = typer.Typer()


@commands.command()
def fuse(
    source: Annotated[
        Path, typer.Argument(metavar="SCORES", help="File of scores with a column for each matcher.")
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File for the fusion (JSON) or the fused scores (CSV)."
        ),
    ],
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Learn a fusion from these columns: face,finger.")
    ] = None,
    qualities: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Columns of sample quality, one for each of --columns."),
    ] = None,
    fusion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Apply this fusion to a CSV file.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="sum, logistic, density or quality. The default is the best by cross-validation.",
        ),
    ] = None,
) -> None:
    """Learn a fusion from scores with known truth, or apply one to further scores."""
    check_output(output)
    if (columns is None) == (fusion is None):
        raise typer.BadParameter("give either --columns, to learn a fusion, or --fusion, to apply one")
    if method is not None and (fusion is not None or method not in METHODS):
        raise typer.BadParameter(f"--method must be one of {', '.join(METHODS)}, and needs --columns")
    if qualities is not None and (columns is None or qualities.count(",") != columns.count(",")):
        raise typer.BadParameter(
            "--qualities needs one name for each of --columns; leave it empty between commas for none"
        )
    try:
        if columns is not None:
            names = _listed(columns)
            _learn(source, names, dict(zip(names, _listed(qualities or ""), strict=False)), method, output)
        elif fusion is not None:
            _apply(source, ScoreFusion.load(fusion), output)
    except ValueError as error:
        raise AbisError(str(error)) from error


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")]


def _learn(
    source: Path, names: list[str], quality_of: dict[str, str], method: str | None, output: Path
) -> None:
    scores: dict[str, npt.NDArray[np.float64]] = {}
    for name in names:
        with progress_bar(f"reading {name}") as progress:
            file = read_scores(source, column=(name,), progress=progress)
        scores[name] = _without_failures(file.scores.score.astype(np.float64))
    probe, reference = file.scores.probe_subject, file.scores.reference_subject
    qualities = {
        name: _without_failures(read_scores(source, column=(own,)).scores.score.astype(np.float64))
        for name, own in quality_of.items()
        if own
    }
    trials = try_fusions(scores, probe, reference, qualities=qualities)
    chosen = method or best_fusion(trials)
    table = Table(
        title=f"{source.name}: five times learnt on four fifths of the subjects, tested on the others"
    )
    for column in ("", "Cllr, bits", "EER", "FNMR at FMR 0.1 %"):
        table.add_column(column, justify="right" if column else "left")
    for trial in trials:
        name = f"{trial.method}, taken" if trial.method == chosen else trial.method
        table.add_row(name, f"{trial.cllr:.4f}", f"{trial.eer:.2%}", f"{trial.fnmr:.2%}")
    out.print(table)
    learnt = learn_fusion(scores, probe == reference, method=chosen, qualities=qualities)
    inputs = (  # of a file, qualities are called as its columns
        one if one.quality is None else replace(one, quality=replace(one.quality, name=quality_of[one.name]))
        for one in learnt.inputs
    )
    replace(learnt, inputs=tuple(inputs)).save(output)
    note(f"fusion of {', '.join(names)} written to {output}")


def _apply(source: Path, fusion: ScoreFusion, output: Path) -> None:
    """Write the file again with the fused score in the column ``score``."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        rows = list(table)
        header = list(table.fieldnames or ())
    names = [name for name in fusion.names() if name in header]
    if not names:
        raise FormatError(
            f"{source}: none of the columns {', '.join(fusion.names())}; there are {', '.join(header)}"
        )
    qualities = {
        one.name: _without_failures(_numbers(source, one.quality.name, rows))
        for one in fusion.inputs
        if one.quality is not None and one.quality.name in header
    }
    fused = fusion({name: _without_failures(_numbers(source, name, rows)) for name in names}, qualities)
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = SafeCsv(file, numbers=True)
        kept = [name for name in header if name != "score"]
        writer.row([*kept, "score"])
        for row, score in zip(rows, fused.tolist(), strict=True):
            writer.row(
                [*(unescaped_cell(row[name] or "") for name in kept), None if np.isnan(score) else score]
            )
    note(f"{len(rows):,} fused scores written to {output}")


def _numbers(source: Path, name: str, rows: list[dict[str, str]]) -> npt.NDArray[np.float64]:
    values = np.empty(len(rows))
    for number, row in enumerate(rows):
        try:
            values[number] = float(row[name]) if row[name] else np.nan
        except ValueError:
            raise FormatError(
                f"{source}, row {number + 1}: {name} is {row[name]!r}; expected a number"
            ) from None
    return values


def _without_failures(raw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """NaN for what is no score: infinite, or the -1 that matchers write whose scores are never negative."""
    raw = np.where(np.isfinite(raw), raw, np.nan)
    negative = raw[raw < 0]
    if len(negative) and (negative == FAILED_SCORE).all():
        raw[raw == FAILED_SCORE] = np.nan
    return raw
