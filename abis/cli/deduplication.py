# SPDX-License-Identifier: Apache-2.0
"""``abis deduplicate``: a job that can be stopped at any moment and goes on when it runs again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, GalleryPath, check_output, parse_rate
from abis.cli.console import NOT_FOUND, TERMINATED, note, print_json, progress_bar, say, tell
from abis.cli.opening import is_cluster, open_any
from abis.deduplication import Duplicates
from abis.deduplication.decisions import read_decisions
from abis.deduplication.page import adjudication_page
from abis.deduplication.writing import check_ending, write_duplicates
from abis.errors import AbisError
from abis.files import write_whole
from abis.gallery import Gallery

__all__ = ["commands"]

commands = typer.Typer()


class _Terminated(BaseException):
    """The process got SIGTERM."""


@commands.command()
def deduplicate(
    gallery: GalleryPath,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="NAME.parquet, NAME.csv or NAME.json, one row a pair. By default the pairs are printed, and no "
            "progress is kept.",
        ),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="False positive identification rate of each subject's search among all; 1e-4 by default. In a gallery "
            "of N subjects without duplicates, at most N x RATE / 2 false pairs are expected.",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="SCORE", help="List pairs of at least this score instead.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="CHANGE",
            help="Compare only subjects enrolled after this change of the gallery with all others.",
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare all pairs in full.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also write a page for adjudication, with the minutiae drawn. The page saves decisions as a file for "
            "--decided and for `abis merge --from`.",
        ),
    ] = None,
    decided: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Leave out pairs that were decided to be two people: a file that the page of --html saved. "
            "May be given several times.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find people who are enrolled under two ids: compare every pair of subjects, and print or write the matches.

    Exit code 0: there are pairs, or they are written; 1: there are none; 2: an error; 143: stopped by SIGTERM. With -o,
    FILE.checkpoint keeps the progress. A job that was stopped, by Ctrl-C, SIGTERM or kill -9, goes on when the same
    command runs again, and writes the same file.
    """
    if fpir is not None and threshold is not None:
        raise typer.BadParameter("give --fpir or --threshold, not both")
    _check_outputs(output, html)
    two_people = {pair for file in decided or () for pair in read_decisions(file).two_people}
    checkpoint = _checkpoint(gallery, output)
    if is_cluster(gallery):
        _check_for_cluster(gallery, since, html)
    try:
        with (
            _terminable(),
            open_any(gallery, load=True) as opened,
            _terminable(),  # again: Ray sets its own handler
            progress_bar("pairs") as progress,
        ):
            found = opened.deduplicate(
                fpir=fpir,
                threshold=threshold,
                since=since,
                exact=exact,
                checkpoint=checkpoint,
                progress=progress,
            )
            found = found.without(two_people)
            if output is not None:
                write_duplicates(found, output)
            if html is not None and isinstance(opened, Gallery):
                title = f"Duplicates in {Path(gallery).name}"
                page = adjudication_page(found, opened.internals.store, title=title)
                write_whole(html, page.encode())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(checkpoint)) from None
    except _Terminated:
        say(_stopped(checkpoint))
        raise typer.Exit(TERMINATED) from None
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    later = "" if is_cluster(gallery) else f"; next time, --since {found.change} compares only new subjects"
    if as_json:
        print_json(_figures(found, output))
    elif output is None:
        tell(f"{found}{later}.")
    else:
        tell(f"{found.summary()}. In {output}{later}.")
    if output is None and not found:
        raise typer.Exit(NOT_FOUND)


def _check_outputs(output: Path | None, html: Path | None) -> None:
    if output is not None:
        check_ending(output)
    check_output(output)
    check_output(html, ".html")


def _checkpoint(gallery: str, output: Path | None) -> Path | None:
    """Where the progress is kept; None in a cluster, and without a file for the result."""
    if output is None or is_cluster(gallery):
        return None
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if checkpoint.exists():
        note(f"going on with the job in {checkpoint}")
    return checkpoint


def _figures(found: Duplicates, output: Path | None) -> dict[str, object]:
    """What --json prints; with the pairs, unless they are in a file."""
    coverage = found.coverage
    figures: dict[str, object] = {
        "pairs": len(found),
        "clusters": len(found.clusters),
        "subjects": found.gallery_size,
        "searched": found.searched,
        "change": found.change,
        "not_compared": 0 if coverage is None else coverage.subjects - coverage.compared,
        "output": None if output is None else str(output),
    }
    return figures if output is not None else figures | {"found": [pair.to_dict() for pair in found]}


def _check_for_cluster(folder: str, since: int | None, html: Path | None) -> None:
    """Refuse options that do not work on a cluster."""
    if since is not None:
        raise AbisError(f"{folder}: --since does not work on a cluster: each shard counts its own changes")
    if html is not None:
        raise AbisError(f"{folder}: --html does not work on a cluster: templates do not leave their shards")


def _stopped(checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "stopped; no progress is kept (-o FILE keeps it, except for a cluster)"
    return f"stopped; {checkpoint} keeps the progress: run the same command again to go on"


@contextmanager
def _terminable() -> Iterator[None]:
    """Raise at SIGTERM, as at Ctrl-C."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
