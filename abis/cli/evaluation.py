# SPDX-License-Identifier: Apache-2.0
"""``abis evaluate``: error rates of a folder of templates."""

from __future__ import annotations

from pathlib import Path

import typer

from abis.cli.console import FAILED, print_json, progress_bar, say
from abis.errors import AbisError
from abis.evaluation import Evaluation, Summary, evaluate_folder, write_scores
from abis.evaluation.datasets import DEFAULT_PATTERN

__all__ = ["evaluate"]


def evaluate(
    folder: Path, *, scores: Path | None, all_pairs: bool, pattern: str | None, as_json: bool
) -> None:
    """Compare, print, and write the scores where that is asked for; end with FAILED if a file did."""
    if all_pairs and scores is None:
        raise typer.BadParameter("--all-pairs says what --scores FILE is to hold; give that too")
    try:
        with progress_bar("comparing") as progress:
            evaluation = evaluate_folder(
                folder, pattern=DEFAULT_PATTERN if pattern is None else pattern, progress=progress
            )
    except ValueError as error:
        raise AbisError(str(error)) from error
    if as_json:
        print_json(_figures(evaluation))
    else:
        typer.echo(evaluation)
    if scores is not None:
        count = write_scores(scores, evaluation, all_pairs=all_pairs)
        say(f"{count:,} scores written to {scores}")
    if failures := evaluation.data_set.failures:
        say(f"error: {len(failures):,} of {len(evaluation.data_set.samples):,} files failed to be read")
        raise typer.Exit(FAILED)


def _figures(evaluation: Evaluation) -> dict[str, object]:
    samples = evaluation.data_set.samples
    return {
        "name": evaluation.data_set.name,
        "samples": len(samples),
        "fingers": len({sample.finger for sample in samples}),
        "failures": [{"name": f.name, "reason": f.reason} for f in evaluation.data_set.failures],
        "ignored": list(evaluation.data_set.ignored),
        "all_against_all": _rates(evaluation.all_against_all),
        "fvc_protocol": _rates(evaluation.fvc_protocol),
        "cllr_bits": evaluation.cllr,
        "min_cllr_bits": evaluation.min_cllr,
    }


def _rates(summary: Summary) -> dict[str, float | int]:
    rates: dict[str, float | int] = {
        name: getattr(summary, name) for name in ("mated", "non_mated", "mated_failed", "non_mated_failed")
    }
    for name in ("eer", "fmr100", "fmr1000", "zero_fmr"):
        estimate = getattr(summary, name)
        rates[f"{name}_percent"] = 100 * estimate.value
        rates[f"{name}_low_percent"] = 100 * estimate.low
        rates[f"{name}_high_percent"] = 100 * estimate.high
    return rates
