# SPDX-License-Identifier: Apache-2.0
"""Text from outside, made safe to show: on a terminal, in a log, in a spreadsheet."""

from __future__ import annotations

import unicodedata

__all__ = [
    "counted",
    "escaped_cell",
    "has_control_characters",
    "printable",
    "spreadsheet_cell",
    "unescaped_cell",
]

_CONTROL = ("Cc", "Zl", "Zp")
"""Unicode categories of characters that move a cursor or end a line: controls, line and paragraph separators."""

_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of the text after them (Unicode Standard Annex 9): text can look like another."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula (OWASP, CSV injection)."""


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


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _CONTROL or character in _DIRECTIONS
