# SPDX-License-Identifier: Apache-2.0
"""Repeated requests: a request that a client sends again, because no answer came, takes effect once.

The number of a request is noted in the transaction that carries it out. Numbers begin with the time at which they were
made, so old ones can be deleted without a search.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from abis.store import schema, settings
from abis.store.records import microseconds
from abis.store.store import Store

__all__ = ["is_done", "new_request", "note"]

_REQUEST = "request:"  # prefix of the names of the settings that hold request numbers
_KEPT = timedelta(days=1)


def new_request() -> str:
    """A new request number, unique among all processes."""
    return f"{microseconds(datetime.now(UTC)):020d}:{secrets.token_hex(8)}"


def note(connection: sa.Connection, request: str) -> None:
    """Note a request as done, in the transaction that carries it out; delete the numbers of older days."""
    settings.put(connection, _REQUEST + request, "")
    oldest = f"{_REQUEST}{microseconds(datetime.now(UTC) - _KEPT):020d}"
    name = schema.settings.c.name
    connection.execute(schema.settings.delete().where(name > _REQUEST, name < oldest))


def is_done(store: Store, request: str) -> bool:
    """Whether a transaction with :func:`note` of this request was committed within the last day."""
    with store.reading() as connection:
        return settings.get(connection, _REQUEST + request) is not None
