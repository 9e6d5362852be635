# SPDX-License-Identifier: Apache-2.0
"""Settings of a gallery, each a text with a name: calibrations, its place in a cluster, known snapshots.

Each row has a tag. Settings that decide an answer also enter a total in the gallery's row, so that none of them can be
removed or replaced by an older value.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from abis.store import schema
from abis.store.records import DamageError, State
from abis.store.rows import check_row, tags_of

__all__ = [
    "CALIBRATION",
    "QUARANTINE",
    "deciding",
    "deciding_settings",
    "delete",
    "get",
    "named",
    "put",
    "put_deciding",
]

CALIBRATION = "calibration:"
"""Begins the names of settings that are calibrations."""

QUARANTINE = "quarantine"
"""Name of the setting that holds the shares of all records in quarantine, by XOR: a record that was released must not
be put back for a retry. The gallery's row counts it as it counts settings that decide."""

_DECIDING = (CALIBRATION, "part", "disclosure", QUARANTINE)
_TABLE = schema.settings


def get(connection: sa.Connection, name: str) -> str | None:
    """The content of a setting; None where there is none.

    Raises:
        DamageError: where it is not as it was written.
    """
    return _checked(connection, _TABLE.c.name == name).get(name)


def named(connection: sa.Connection, prefix: str) -> dict[str, str]:
    """All settings whose names begin with a prefix, by name.

    Raises:
        DamageError: where one is not as it was written.
    """
    return _checked(connection, _TABLE.c.name.startswith(prefix, autoescape=True))


def put(connection: sa.Connection, name: str, content: str) -> None:
    """Write a setting, in a writing transaction; a setting of the same name is replaced."""
    delete(connection, [name])
    tag, _ = tags_of(connection).of("settings", (name, content))
    connection.execute(_TABLE.insert().values(name=name, content=content, checksum=tag))


def delete(connection: sa.Connection, names: Iterable[str]) -> None:
    """Remove settings, in a writing transaction."""
    connection.execute(_TABLE.delete().where(_TABLE.c.name.in_(list(names))))


def deciding(name: str) -> bool:
    """Whether a setting of this name enters the total in the gallery's row."""
    return name.startswith(_DECIDING)


def deciding_settings(connection: sa.Connection, state: State) -> dict[str, str]:
    """Return all settings that decide an answer, by name.

    Raises:
        DamageError: a setting is missing, or is not the one written last.
    """
    found: dict[str, str] = {}
    for prefix in _DECIDING:
        found |= named(connection, prefix)
    tags, total = tags_of(connection), 0
    for item in found.items():
        total ^= tags.of("settings", item)[1]
    if total != state.settings:
        raise DamageError("the gallery's settings (calibrations among them) are damaged or forged")
    return found


def put_deciding(connection: sa.Connection, state: State, name: str, content: str | None) -> None:
    """Write a setting that decides, in a writing transaction; None removes it.

    Args:
        connection: of the transaction.
        state: the counters; changed with it.
        name: of the setting.
        content: of the setting from now on.
    """
    before = deciding_settings(connection, state).get(name)
    tags = tags_of(connection)
    for each in (before, content):
        if each is not None:
            state.settings ^= tags.of("settings", (name, each))[1]
    if content is None:
        delete(connection, [name])
    else:
        put(connection, name, content)


def _checked(connection: sa.Connection, which: sa.ColumnElement[bool]) -> dict[str, str]:
    tags = tags_of(connection)
    found = {}
    for name, content, stated in connection.execute(sa.select(_TABLE).where(which)):
        try:
            check_row("settings", (name, content), stated, tags)
        except DamageError:
            raise DamageError(f"setting {name!r} is damaged or forged: its tag is wrong") from None
        found[name] = content
    return found
