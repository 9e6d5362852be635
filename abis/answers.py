# SPDX-License-Identifier: Apache-2.0
"""What all results have in common: as dictionaries, JSON, rows of a table, and a table in a notebook."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from html import escape
from typing import Any

from abis.template import Position
from abis.template.modality import is_template
from abis.text import json_line

__all__ = ["Answer", "plain"]

_SHOWN = 50  # rows of a notebook's table
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxtuple, _BRIEF.maxdict, _BRIEF.maxother, _BRIEF.maxstring = 2, 3, 4, 60, 60


class Answer:
    """Base of the results that are dataclasses."""

    def to_dict(self) -> dict[str, Any]:
        """The result as dictionaries, lists, texts, numbers and None; positions and outcomes by name."""
        fields: dict[str, Any] = plain(self)
        return fields

    def to_json(self) -> str:
        """:meth:`to_dict` as one line of JSON."""
        return json_line(self.to_dict())

    def __repr__(self) -> str:
        """The fields, long ones cut short; of results that are made without a ``repr`` of their own."""
        assert dataclasses.is_dataclass(self)
        names = [field.name for field in dataclasses.fields(self)]
        shown = ", ".join(f"{name}={_BRIEF.repr(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({shown})"

    def rows(self) -> list[dict[str, Any]]:
        """Rows of a table with the same columns: ``pandas.DataFrame(result.rows())``, or polars'.

        A result that is a sequence has a row for each of its items, any other has one. The evidence is one column for
        each position, its score.
        """
        items: Iterable[Any] = self if isinstance(self, Sequence) else [self]
        found = [_flat(item) for item in items]
        columns = dict.fromkeys(name for row in found for name in row)
        return [{name: row.get(name) for name in columns} for row in found]

    def _repr_html_(self) -> str:
        """A table, for notebooks."""
        rows = self.rows()
        if not rows:
            return f"<p>{escape(str(self))}</p>"
        head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(value))}</td>" for value in row.values()) + "</tr>"
            for row in rows[:_SHOWN]
        )
        more = f"<p>{len(rows) - _SHOWN:,} more</p>" if len(rows) > _SHOWN else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def plain(value: object) -> Any:
    """Convert a value to what JSON can hold: dataclasses to dictionaries, positions to names, sequences to lists.

    A template becomes its description, because its content must stay out of tables and logs.
    """
    if isinstance(value, Enum | date) or is_template(value):
        return _word(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, str | bytes | int | float) or value is None:
        return value
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    return str(value)


def _word(value: object) -> str:
    if isinstance(value, Position):
        return value.name
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if is_template(value) else str(value)


def _flat(item: object) -> dict[str, Any]:
    """One level: evidence by position, other parts as they are."""
    row: dict[str, Any] = {}
    fields = item.to_dict() if isinstance(item, Answer) else plain(item)
    for name, value in fields.items():
        if name == "evidence":
            row.update({part["position"].lower(): part["score"] for part in value or ()})
        elif isinstance(value, dict):
            row.update({f"{name}_{key}".lower(): part for key, part in value.items()})
        else:
            row[name] = value
    return row


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
