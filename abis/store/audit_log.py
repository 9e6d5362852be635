# SPDX-License-Identifier: Apache-2.0
"""The audit log in the store: entries are written in the transaction of their operation, read, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

from abis.store import audit, schema
from abis.store.audit import AuditEntry
from abis.store.queries import state_of
from abis.store.records import Fault, State, from_microseconds
from abis.store.store import Store

__all__ = ["check_audit", "entries", "faults_of_audit", "record"]

_PAGE = 10_000
_ADVICE = "ask who had access to the database, and restore a backup beside it to compare"


def record(store: Store, operations: Iterable[tuple[str, str, str]]) -> None:
    """Log operations that change nothing, each as (operation, subject_id, outcome), in one transaction."""
    with store.writing() as transaction:
        for operation, subject_id, outcome in operations:
            transaction.log(operation, subject_id, outcome)


def entries(store: Store, *, subject_id: str | None = None, after: int = 0) -> Iterator[AuditEntry]:
    """The entries after a number, of one subject or of all, oldest first. Read in pages."""
    columns = schema.audit.c
    query = sa.select(schema.audit).order_by(columns.number).limit(_PAGE)
    if subject_id is not None:
        query = query.where(columns.subject_id == subject_id)
    last = after
    while True:
        with store.database.reading() as connection:
            rows = connection.execute(query.where(columns.number > last)).all()
        for row in rows:
            time = from_microseconds(row.time)
            assert time is not None
            yield AuditEntry(
                row.number,
                time,
                row.actor,
                row.purpose,
                row.operation,
                row.subject_id,
                row.outcome,
                row.hash.hex(),
            )
        if len(rows) < _PAGE:
            return
        last = rows[-1].number


def check_audit(store: Store) -> tuple[State, list[Fault]]:
    """Check the chain of hashes; return the faults, and the state, whose ``audit`` and ``audit_hash`` are an anchor."""
    with store.database.reading() as connection:
        state = state_of(connection)
        return state, list(faults_of_audit(connection, state))


def faults_of_audit(connection: sa.Connection, state: State) -> Iterator[Fault]:
    """Follow the chain of the audit log from its beginning to its end."""
    before, number = b"", 0
    columns = schema.audit.c
    page = sa.select(schema.audit).order_by(columns.number).limit(_PAGE)
    while rows := connection.execute(page.where(columns.number > number)).all():
        for row in rows:
            *fields, entry = row
            number += 1
            if fields[0] != number:
                yield Fault(f"audit log: entry {number} is missing", _ADVICE)
                return
            if audit.chained(before, fields) != entry:
                yield Fault(f"audit log: entry {number} was changed, or the one before it", _ADVICE)
                return
            before = entry
    if number != state.audit or before.hex() != state.audit_hash:
        yield Fault(
            f"audit log: ends with entry {number}, expected {state.audit}",
            _ADVICE,
        )
