# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made safe to show: on a terminal, in a log, in a spreadsheet."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Protocol

__all__ = [
    "SafeCsv",
    "counted",
    "escaped_cell",
    "has_control_characters",
    "json_line",
    "printable",
    "printable_lines",
    "safe_json",
    "spreadsheet_cell",
    "unescaped_cell",
]

_CONTROL = ("Cc", "Zl", "Zp")
"""Unicode categories of characters that move a cursor or end a line: controls, line and paragraph separators."""

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of the text after them (Unicode Standard Annex 9): text can look like another."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula (OWASP, CSV injection)."""


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)


def counted(count: int, what: str, plural: str = "") -> str:
    """A number and what it counts, in the singular or plural.

    >>> counted(1, "subject"), counted(1_234, "subject"), counted(0, "entry", "entries")
    ('1 subject', '1,234 subjects', '0 entries')
    """
    return f"{count:,} {what if count == 1 else plural or f'{what}s'}"


def has_control_characters(text: str) -> bool:
    """Whether a text holds characters that could change how what surrounds it is shown."""
    return not text.isprintable() and any(map(_is_control, text))


def printable(text: object) -> str:
    r"""A text that any terminal, log and database takes: control characters and what is not Unicode are escaped.

    >>> printable("id\x1b[2J\n")
    'id\\x1b[2J\\n'
    """
    shown = str(text).encode(errors="backslashreplace").decode()
    if not has_control_characters(shown):
        return shown
    return "".join(c.encode("unicode_escape").decode() if _is_control(c) else c for c in shown)


def printable_lines(text: object) -> str:
    r"""A text of several lines that any terminal takes: :func:`printable` of each, line feeds kept.

    >>> printable_lines("a\x1b[2J\nb\r")
    'a\\x1b[2J\nb\\r'
    """
    return "\n".join(map(printable, str(text).split("\n")))


def json_line(value: object) -> str:
    r"""A JSON value as one line that any terminal takes: control characters are escaped, all letters stay.

    >>> json_line({"é": "\x9b\u202e"})
    '{"é": "\\u009b\\u202e"}'
    """
    return safe_json(json.dumps(value, ensure_ascii=False))


def safe_json(text: str) -> str:
    """A JSON text in which no control character, direction mark or lone surrogate stands unescaped; line feeds stay."""
    if text.isprintable():
        return text
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and (_is_control(c) or "\ud800" <= c <= "\udfff") else c
        for c in text
    )


def spreadsheet_cell(text: object) -> str:
    """A cell of a table for people that no spreadsheet takes for a formula: an apostrophe before it, if it looks so.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("-3"), spreadsheet_cell("079")
    ("'=1+1", "'-3", '079')
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def escaped_cell(text: str) -> str:
    """A cell of a table for people and programs: an apostrophe precedes a formula. :func:`unescaped_cell` reverses it.

    A text of apostrophes and a formula gets one more apostrophe, so that every text comes back.

    >>> escaped_cell("=1+1"), escaped_cell("'=1+1"), escaped_cell("'s-Gravenhage")
    ("'=1+1", "''=1+1", "'s-Gravenhage")
    """
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def unescaped_cell(cell: str) -> str:
    """The text of a cell that :func:`escaped_cell` made; other cells stay as they are.

    >>> unescaped_cell("'=1+1"), unescaped_cell("-3"), unescaped_cell("'s-Gravenhage")
    ('=1+1', '-3', "'s-Gravenhage")
    """
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


class _Rows(Protocol):
    def write(self, text: str, /) -> object:
        """Write a text."""


class SafeCsv:
    """Writes CSV files of which no cell is a formula. All CSV files of abis are written by it.

    Texts get an apostrophe by :func:`escaped_cell`, which :func:`unescaped_cell` removes; numbers stay as they are.

    Args:
        stream: a text stream, opened with ``newline=""``.
        numbers: leave texts that are numbers as they are, as where cells of another file are passed on. False also
            escapes an id such as "-3".

    >>> import sys
    >>> SafeCsv(sys.stdout).row(["=1+1", -3, None])
    '=1+1,-3,
    """

    def __init__(self, stream: _Rows, *, numbers: bool = False) -> None:
        self._numbers = numbers
        self._writer = csv.writer(stream, lineterminator="\n")
        self._quoting = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def row(self, cells: Iterable[object]) -> None:
        """Write one row; None is an empty cell."""
        row = [self._cell(cell) if isinstance(cell, str) else cell for cell in cells]
        # A carriage return would end the row: the writer quotes only what holds its own line terminator.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
        (self._quoting if has_return else self._writer).writerow(row)

    def rows(self, rows: Iterable[Iterable[object]]) -> None:
        """Write rows."""
        for cells in rows:
            self.row(cells)

    def _cell(self, text: str) -> str:
        return text if self._numbers and _NUMBER.fullmatch(text) else escaped_cell(text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _CONTROL or character in _DIRECTIONS
