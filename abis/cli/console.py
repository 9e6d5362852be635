# SPDX-License-Identifier: Apache-2.0
"""Output and exit codes of commands: results on standard output, everything else on standard error.

With ``--quiet``, which every command takes, only errors and what ``--json`` asks for are printed; the exit code tells
the outcome.
"""

from __future__ import annotations

import getpass
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Annotated, Any, ClassVar

import typer
import typer.core
import typer.main
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from abis.errors import AbisError
from abis.text import json_line, printable_lines

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NON_MATCH",
    "NOT_FOUND",
    "TERMINATED",
    "Faults",
    "LazyGroup",
    "confirm",
    "describe",
    "import_bar",
    "note",
    "out",
    "print_json",
    "progress_bar",
    "quiet_option",
    "say",
    "set_quiet",
    "tell",
]

NON_MATCH = NOT_FOUND = 1
FAILED, INTERRUPTED, TERMINATED = 2, 130, 143
"""Exit codes, as those of grep. A wrong command line gives FAILED, too. `abis verify` has further codes."""

_CommandLineError: type[Exception] = typer.BadParameter.__mro__[2]
"""ClickException, which typer takes from click or brings along."""


class _SafeConsole(Console):
    """A console that shows control characters and Rich's markup in texts as plain text."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable_lines(text), **options)


out = _SafeConsole(highlight=False, markup=False, emoji=False)
_err = _SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)


class LazyGroup(typer.core.TyperGroup):
    """Commands that are imported when they run; an error becomes one line and an exit code.

    Attributes:
        lazy: module of abis.cli and one line of help, by the command's name. The module has the command in its
            typer application ``commands``.
    """

    lazy: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.lazy)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the list of commands needs; :meth:`resolve_command` finds the command itself."""
        if cmd_name not in self.lazy:
            return None
        return typer.core.TyperCommand(cmd_name, help=self.lazy[cmd_name][1])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _command, rest = super().resolve_command(ctx, args)
        return name, None if name is None else self.load(self.lazy[name][0], name), rest

    @staticmethod
    def load(module: str, name: str) -> Any:
        """Import a command from a module of abis.cli."""
        commands = import_module(f"abis.cli.{module}").commands
        command = typer.main.get_group(commands).commands[name]
        for each in getattr(command, "commands", {name: command}).values():
            each.params.append(quiet_option())
            each.help = each.help and _unwrapped(each.help)
        return command

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Begin a command line without the settings of an earlier one in this process."""
        set_quiet(False)
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: Any) -> Any:
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
        except (typer.Exit, typer.Abort, _CommandLineError):
            raise
        except Exception:  # a fault of abis: exit code 1, Python's own, would say non-match
            say(traceback.format_exc())
            raise typer.Exit(FAILED) from None


def _unwrapped(text: str) -> str:
    """A docstring whose paragraphs a terminal of any width may wrap."""
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text)


def _quiet_if_given(given: bool) -> None:
    if given:
        set_quiet(True)


def _command_with_quiet(
    *,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_quiet_if_given,
            expose_value=False,
            help="Print only errors, and what --json asks for; the exit code tells the outcome.",
        ),
    ] = False,
) -> None:
    pass


def quiet_option() -> Any:
    """The option ``--quiet``, to be added to a command."""
    only = typer.Typer(add_completion=False)
    only.command()(_command_with_quiet)
    return typer.main.get_command(only).params[0]


def set_quiet(quiet: bool) -> None:
    """Print only errors and JSON from now on, or everything again."""
    out.quiet = quiet


def _user() -> str:
    """The actor for the audit log."""
    try:
        return os.environ.get("ABIS_ACTOR") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class Faults:
    """Faults of single files or subjects: printed at once, and reported by the exit code at the end."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, error: str | BaseException) -> None:
        """Print a fault and go on."""
        self.count += 1
        say(f"error: {error if isinstance(error, str) else describe(error)}")

    def exit_if_any(self) -> None:
        """Exit with FAILED if there was a fault."""
        if self.count:
            raise typer.Exit(FAILED)


def describe(error: BaseException) -> str:
    """The message of an error; for errors of the operating system it begins with the file."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def say(message: str) -> None:
    """Print a line on standard error, above the progress bar if there is one; control characters are escaped."""
    _err.print(message, soft_wrap=True)


def note(message: str) -> None:
    """Print a line that is not an error on standard error, unless --quiet was given."""
    if not out.quiet:
        say(message)


def tell(message: object = "") -> None:
    """Print a result on standard output, unless --quiet was given; control characters but line feeds are escaped."""
    if not out.quiet:
        typer.echo(printable_lines(message))


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is removed; exit with FAILED where the answer is not yes, or there is none.

    Args:
        question: to ask, on standard error.
        yes: whether the command line has answered it.
    """
    if yes:
        return
    try:
        if typer.confirm(printable_lines(question), err=True):
            return
        say("nothing is removed")
    except typer.Abort:
        say("error: nothing is removed: there was no answer; give --yes to remove without a question")
    raise typer.Exit(FAILED)


def print_json(content: object) -> None:
    """Print a JSON value as one line on standard output; control characters are escaped."""
    typer.echo(json_line(content))


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error if that is a terminal; yields a function to call with (done, total).

    There is none with --quiet.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(
        *columns, console=_err, transient=True, disable=out.quiet or not _err.is_terminal
    ) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def import_bar(label: str) -> Iterator[Callable[[int, tuple[int, int | None]], None]]:
    """A progress bar for an import; yields a function to call with the records read and (done, total) of the source."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(
        *columns, console=_err, transient=True, disable=out.quiet or not _err.is_terminal
    ) as progress:
        task = progress.add_task(label, total=None, records=0, rate=0.0)
        start = time.monotonic()

        def update(records: int, source: tuple[int, int | None]) -> None:
            done, total = source
            rate = records / max(time.monotonic() - start, 1e-9)
            progress.update(task, completed=done, total=total, records=records, rate=rate)

        yield update
