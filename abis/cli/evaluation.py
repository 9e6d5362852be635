# SPDX-License-Identifier: Apache-2.0
"""``abis evaluate``: error rates of templates, embeddings or scores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import (
    AsJson,
    CacheFolder,
    Dpi,
    FaceModel,
    FingerPosition,
    VoiceModel,
    check_output,
)
from abis.cli.console import FAILED, note, print_json, progress_bar, say, tell
from abis.cli.images import ImageOptions, reading
from abis.errors import AbisError
from abis.evaluation import (
    Findings,
    evaluate_embeddings,
    evaluate_folder,
    evaluate_scores,
    evaluate_searches,
    write_scores,
)
from abis.evaluation.datasets import DEFAULT_PATTERN
from abis.evaluation.embeddings import is_embeddings
from abis.evaluation.report import check_ending, provenance, write_report
from abis.evaluation.score_tables import ENDINGS
from abis.scoring.dna import load_calibration

__all__ = ["commands"]

commands = typer.Typer()

_SEED = 0


@dataclass(frozen=True)
class _Options:
    """The options of the command."""

    references: Path | None
    pairs: Path | None
    pattern: str | None
    calibration: Path | None
    scores: Path | None
    all_pairs: bool
    report: Path | None
    images: ImageOptions
    as_json: bool


@commands.command()
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of files with one template or image each, named <finger>_<impression>.* or "
            "<person>_<image>.*; or a folder with a folder of such files for each subject; or a score file: .csv, "
            ".parquet or .npz with the columns score and mated; or embeddings: .npz with embeddings and names.",
        ),
    ],
    *,
    gallery: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="1:N: search for each template of DATA among the templates of this folder."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Compare only the pairs of embeddings in this file, as LFW's pairs.txt."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Calibration that turns scores into likelihood ratios: of a score file, or of templates in place of "
            "the shipped one. DNA needs one (`abis dna frequencies`).",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report with figures, as FILE.html, FILE.pdf or FILE.png."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the scores as CSV: probe, reference, mated, score, raw."),
    ] = None,
    all_pairs: Annotated[
        bool,
        typer.Option(
            "--all-pairs", help="With --scores, write all pairs, not only those of the FVC protocol."
        ),
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression that file names without their ending must match as a whole, with the groups "
            "(?P<finger>...), also for eyes and people, and (?P<impression>...).",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print the error rates of templates, embeddings or scores with 95 % intervals, and write a report on them."""
    options = _Options(
        references=gallery,
        pairs=pairs,
        pattern=pattern,
        calibration=calibration,
        scores=scores,
        all_pairs=all_pairs,
        report=report,
        images=ImageOptions(position, dpi, face_model, cache, voice_model=voice_model),
        as_json=as_json,
    )
    if options.all_pairs and options.scores is None:
        raise typer.BadParameter("--all-pairs needs --scores FILE")
    _check_applicable(data, options)
    if options.report is not None:
        check_ending(options.report)
    check_output(options.report)
    check_output(options.scores, ".csv")
    try:
        with progress_bar("evaluating" if data.is_dir() else "reading") as progress:
            findings = _findings(data, options, progress)
    except ValueError as error:
        raise AbisError(str(error)) from error
    if options.report is not None:
        read = [path for path in (data, options.references, options.pairs, options.calibration) if path]
        command = ["abis", *sys.argv[1:]]
        write_report(options.report, findings, provenance(command, read, seed=_SEED))
        note(f"report written to {options.report}")
    if options.as_json:
        print_json(findings.figures())
    else:
        tell(findings)
    if findings.failures:
        say(f"error: {len(findings.failures):,} of {findings.samples:,} files failed to be read")
        raise typer.Exit(FAILED)


def _check_applicable(data: Path, options: _Options) -> None:
    """Refuse options that do not apply to this kind of data, rather than ignore them."""
    if not data.exists():
        raise AbisError(f"{data}: there is no such file or folder")
    is_folder = data.is_dir()
    is_npz = not is_folder and data.suffix.lower() == ".npz"
    if not is_folder and data.suffix.lower() not in ENDINGS:
        raise typer.BadParameter(f"{data} is neither a folder nor a file that ends in {', '.join(ENDINGS)}")
    for name, given, applicable, what in (
        ("--gallery", options.references, is_folder, "a folder of templates"),
        ("--pattern", options.pattern, is_folder, "a folder of templates"),
        ("--scores", options.scores, is_folder and options.references is None, "one folder of templates"),
        ("--pairs", options.pairs, is_npz, "a file of embeddings"),
        ("--calibration", options.calibration, not is_npz, "a score file or a folder of templates"),
        ("--position", options.images.position, is_folder, "a folder of templates"),
        ("--dpi", options.images.dpi, is_folder, "a folder of images"),
        ("--face-model", options.images.face_model, is_folder, "a folder of images"),
        ("--voice-model", options.images.voice_model, is_folder, "a folder of recordings"),
        ("--cache", options.images.cache, is_folder, "a folder of images"),
    ):
        if given is not None and not applicable:
            raise typer.BadParameter(f"{name} is for {what}, which {data} is not")
    for path in (options.references, options.pairs, options.calibration):
        if path is not None and not path.exists():
            raise AbisError(f"{path}: there is no such file or folder")


def _findings(data: Path, options: _Options, progress: Callable[[int, int], None]) -> Findings:
    pattern = DEFAULT_PATTERN if options.pattern is None else options.pattern
    calibration = None if options.calibration is None else load_calibration(options.calibration)
    if data.is_dir() and options.references is not None:
        with reading((data, options.references), options.images, progress) as read:
            return evaluate_searches(
                data,
                options.references,
                pattern=pattern,
                read=read,
                calibration=calibration,
                seed=_SEED,
                progress=progress,
            )
    if data.is_dir():
        with reading((data,), options.images, progress) as read:
            evaluation = evaluate_folder(
                data, pattern=pattern, read=read, calibration=calibration, seed=_SEED, progress=progress
            )
        if options.scores is not None:
            count = write_scores(options.scores, evaluation, all_pairs=options.all_pairs)
            note(f"{count:,} scores written to {options.scores}")
        return evaluation.findings()
    if is_embeddings(data):
        return evaluate_embeddings(data, pairs=options.pairs, seed=_SEED, progress=progress)
    if options.pairs is not None:
        raise typer.BadParameter(f"--pairs is for a file of embeddings; {data} holds scores")
    return evaluate_scores(data, calibration=calibration, seed=_SEED, progress=progress)
