# SPDX-License-Identifier: Apache-2.0
"""Requests that take effect once, however often they are sent: whoever got no answer may ask again.

The number of a request is noted in the transaction that does what it asks for. Numbers begin with the time
they were made at, so that old ones are forgotten without a search.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from abis.store import schema, settings
from abis.store.records import microseconds
from abis.store.store import Store

__all__ = ["is_done", "new_request", "note"]

_REQUEST = "request:"  # begins the names of settings that tell requests
_KEPT = timedelta(days=1)


def new_request() -> str:
    """A new request number, unique among all processes."""
    return f"{microseconds(datetime.now(UTC)):020d}:{secrets.token_hex(8)}"


def note(connection: sa.Connection, request: str) -> None:
    """Note a request as done, in the transaction that does it; forget those of yesterday."""
    settings.put(connection, _REQUEST + request, "")
    oldest = f"{_REQUEST}{microseconds(datetime.now(UTC) - _KEPT):020d}"
    name = schema.settings.c.name
    connection.execute(schema.settings.delete().where(name > _REQUEST, name < oldest))


def is_done(store: Store, request: str) -> bool:
    """Whether :func:`note` was called for it, and its transaction took effect, within a day."""
    with store.reading() as connection:
        return settings.get(connection, _REQUEST + request) is not None
