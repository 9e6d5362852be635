# SPDX-License-Identifier: Apache-2.0
"""What is typed: values of options, and files and whose they are."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

import typer

from abis.errors import AbisError, FormatError
from abis.formats import Format
from abis.template import Position, Template

__all__ = [
    "DEFAULT_PATTERN",
    "Together",
    "Verdict",
    "compile_pattern",
    "files_in",
    "group_by_subject",
    "moved",
    "parse_format",
    "parse_position",
    "parse_rate",
]

DEFAULT_PATTERN = r"(?P<subject>[^_]+)(_.*)?"
"""``079203001234_right_index`` is of subject 079203001234, and so is ``079203001234``."""


class Together(Enum):
    """Which files make one probe."""

    SUBJECT = "subject"
    ALL = "all"


class Verdict(Enum):
    """Of a presentation attack detection."""

    PASSED = "passed"
    FAILED = "failed"


def parse_position(text: str) -> Position:
    """``right-index`` as Position.RIGHT_INDEX."""
    try:
        return Position[text.strip().upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(position.name.lower().replace("_", "-") for position in Position)
        raise typer.BadParameter(f"{text!r} is none of {names}") from None


def parse_format(text: str | Format) -> Format:
    """``iso-19794-2-2011`` as Format.ISO_19794_2_2011; defaults come as formats."""
    if isinstance(text, Format):
        return text
    try:
        return Format[text.strip().upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(known.name.lower().replace("_", "-") for known in Format)
        raise typer.BadParameter(f"{text!r} is none of {names}") from None


def parse_rate(text: str | float) -> float:
    """A number above 0, at most 1; defaults come as numbers."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise typer.BadParameter(f"{text!r} is no rate above 0 and up to 1, such as 1e-6")
    return rate


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files among the paths, and those right in the folders among them that are not hidden, sorted."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found.extend(sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")))
        else:
            found.append(path)
    if not found:
        raise AbisError(f"no files in {', '.join(map(str, paths))}")
    return found


def group_by_subject(files: Sequence[Path], pattern: str | None) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each subject, in the order of first appearance; and those whose name fits no subject.

    Args:
        files: named by ``pattern``.
        pattern: regular expression with the group ``subject`` for the whole stem of a name.
    """
    expression = compile_pattern(DEFAULT_PATTERN if pattern is None else pattern)
    groups: dict[str, list[Path]] = {}
    misfits = []
    for file in files:
        fit = expression.fullmatch(file.stem)
        if fit is None or not fit["subject"]:
            misfits.append(file)
        else:
            groups.setdefault(fit["subject"], []).append(file)
    return groups, misfits


def moved(template: Template, position: Position | None, file: Path) -> Template:
    """The template of a file at ``position`` where one is given.

    Raises:
        FormatError: naming the file.
    """
    if position is None:
        return template
    try:
        return dataclasses.replace(template, position=position)
    except AbisError as error:
        raise FormatError(f"{file}: {error}") from None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Refused where it is none, or has no group ``subject``."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"{pattern!r} is no regular expression: {error}") from None
    if "subject" not in expression.groupindex:
        raise typer.BadParameter(f"{pattern!r} has no group (?P<subject>...)")
    return expression
