# SPDX-License-Identifier: Apache-2.0
"""How commands speak and end: results on standard output, all else on standard error."""

from __future__ import annotations

import getpass
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
import typer.core
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from abis.errors import AbisError

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NON_MATCH",
    "TERMINATED",
    "CommandGroup",
    "Faults",
    "describe",
    "import_bar",
    "out",
    "print_json",
    "progress_bar",
    "say",
]

NON_MATCH, FAILED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
"""Exit codes; FAILED is also that of a wrong command line. Those of other outcomes: :mod:`abis.cli.galleries`."""

out = Console(highlight=False)
_err = Console(stderr=True, highlight=False)


class CommandGroup(typer.core.TyperGroup):
    """The commands; here errors become one line and an exit code."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override, unused-ignore]
        from abis.store.audit import acting  # noqa: PLC0415 - `abis --help` needs no database

        try:
            with acting(_user(), os.environ.get("ABIS_PURPOSE") or "command line"):
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            say(str(stop) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise  # the reader of a pipe has left: typer ends quietly
        except (AbisError, OSError) as error:
            say(f"error: {describe(error)}")
            raise typer.Exit(FAILED) from None


def _user() -> str:
    """Who acts, for the audit log."""
    try:
        return os.environ.get("ABIS_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class Faults:
    """What went wrong with single files or subjects: said at once, and at the end by the exit code."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, error: str | BaseException) -> None:
        """Say it; the run goes on."""
        self.count += 1
        say(f"error: {error if isinstance(error, str) else describe(error)}")

    def exit_if_any(self) -> None:
        """End with the exit code for failure if there was one."""
        if self.count:
            raise typer.Exit(FAILED)


def describe(error: BaseException) -> str:
    """What went wrong, in words; the system's errors begin with the file, as ours do."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def say(message: str) -> None:
    """A line on standard error, above the progress bar if there is one."""
    _err.print(message, markup=False, soft_wrap=True)


def print_json(content: object) -> None:
    """One line on standard output."""
    typer.echo(json.dumps(content, ensure_ascii=False))


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal; gives what to call with (done, total)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def import_bar(label: str) -> Iterator[Callable[[int, tuple[int, int | None]], None]]:
    """The same for an import; gives what to call with the records read and (done, total) of the source."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=_err, transient=True, disable=not _err.is_terminal) as progress:
        task = progress.add_task(label, total=None, records=0, rate=0.0)
        start = time.monotonic()

        def update(records: int, source: tuple[int, int | None]) -> None:
            done, total = source
            rate = records / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, total=total, records=records, rate=rate)

        yield update
