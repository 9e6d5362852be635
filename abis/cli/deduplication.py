# SPDX-License-Identifier: Apache-2.0
"""``abis deduplicate``: a job that can be stopped at any moment and goes on when it is run again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from abis.cli.clusters import is_cluster
from abis.cli.console import TERMINATED, print_json, progress_bar, say
from abis.cli.galleries import open_any
from abis.deduplication.page import adjudication_page
from abis.deduplication.writing import check_ending, write_duplicates
from abis.errors import AbisError
from abis.files import write_whole
from abis.gallery import Gallery

__all__ = ["deduplicate"]


class _Terminated(BaseException):
    """A scheduler wants its machine back."""


def deduplicate(
    gallery: str,
    output: Path,
    *,
    fpir: float | None,
    threshold: float | None,
    since: int | None,
    exact: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Search, write the pairs, then remove the checkpoint."""
    if fpir is not None and threshold is not None:
        raise typer.BadParameter("give --fpir or --threshold, not both")
    check_ending(output)
    checkpoint = None if is_cluster(gallery) else output.with_name(f"{output.name}.checkpoint")
    if checkpoint is None:
        _check_for_cluster(gallery, since, html)
    elif checkpoint.exists():
        say(f"going on with the job that {checkpoint} remembers")
    try:
        with (
            _terminable(),
            open_any(gallery, load=True) as opened,
            _terminable(),  # again: Ray sets what it wants done
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
    if as_json:
        print_json(
            {
                "pairs": len(found),
                "clusters": len(found.clusters),
                "subjects": found.gallery_size,
                "searched": found.searched,
                "change": found.change,
                "output": str(output),
            }
        )
    else:
        later = f"; next time --since {found.change} looks at what is new" if checkpoint is not None else ""
        typer.echo(f"{found.summary()}. In {output}{later}.")


def _check_for_cluster(folder: str, since: int | None, html: Path | None) -> None:
    """Refuse what shards cannot give."""
    if since is not None:
        raise AbisError(f"{folder}: is a cluster, each shard of which counts its own changes: no --since")
    if html is not None:
        raise AbisError(
            f"{folder}: is a cluster, whose templates stay in its shards: no --html, which draws them"
        )


def _stopped(checkpoint: Path | None) -> str:
    if checkpoint is None:
        return "stopped; a cluster remembers nothing of it"
    return f"stopped; {checkpoint} remembers what is done: run the same command again to go on"


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
