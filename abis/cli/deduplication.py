# SPDX-License-Identifier: Apache-2.0
"""``abis deduplicate``: a job that can be stopped at any moment and goes on when it is run again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from abis.cli.console import TERMINATED, print_json, progress_bar, say
from abis.cli.galleries import open_existing
from abis.deduplication.page import adjudication_page
from abis.deduplication.writing import check_ending, write_duplicates, write_whole

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
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    if checkpoint.exists():
        say(f"going on with the job that {checkpoint} remembers")
    try:
        with (
            _terminable(),
            open_existing(gallery, load=True) as opened,
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
            if html is not None:
                title = f"Duplicates in {Path(gallery).name}"
                page = adjudication_page(found, opened.store, title=title)
                write_whole(html, page.encode())
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_stopped(checkpoint)) from None
    except _Terminated:
        say(_stopped(checkpoint))
        raise typer.Exit(TERMINATED) from None
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
        typer.echo(f"{found.summary()}. In {output}; next time --since {found.change} looks at what is new.")


def _stopped(checkpoint: Path) -> str:
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
