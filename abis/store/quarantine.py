# SPDX-License-Identifier: Apache-2.0
"""Find and remove the quarantined records of one subject, or of old imports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import Store
from abis.store.import_journal import Journal, QuarantinedRecord
from abis.store.import_tables import imports, quarantine
from abis.store.records import Fault
from abis.store.transaction import Transaction

__all__ = [
    "count_quarantined_before",
    "faults_of_quarantine",
    "quarantined_of",
    "remove_quarantined",
    "remove_quarantined_before",
]


def faults_of_quarantine(store: Store, connection: sa.Connection) -> Iterator[Fault]:
    """Whether the records in quarantine are those that were written, each as it was written."""
    if not _is_there(connection):
        return
    try:
        Journal(store, create=False).check(connection)
    except StoreError as error:
        yield Fault(str(error), "restore a backup")


def quarantined_of(store: Store, subject_id: str) -> list[QuarantinedRecord]:
    """Return the quarantined records with this subject id."""
    with store.reading() as connection:
        if not _is_there(connection):
            return []
    return list(Journal(store, create=False).quarantine(_of(subject_id)))


def remove_quarantined(transaction: Transaction, subject_id: str) -> int:
    """Remove these records and their bytes; return their number."""
    return _remove(transaction, _of(subject_id))


def remove_quarantined_before(transaction: Transaction, before: datetime) -> int:
    """Remove all records of imports that began before a time; return their number."""
    return _remove(transaction, _before(before))


def count_quarantined_before(connection: sa.Connection, before: datetime) -> int:
    """Count the records that :func:`remove_quarantined_before` would remove."""
    if not _is_there(connection):
        return 0
    query = sa.select(sa.func.count()).select_from(quarantine).where(_before(before))
    return int(connection.scalar(query) or 0)


def _before(before: datetime) -> sa.ColumnElement[bool]:
    day = before.astimezone(UTC).isoformat(timespec="seconds")
    old = sa.select(imports.c.key).where(imports.c.started < day)
    return quarantine.c["import"].in_(old)


def _of(subject_id: str) -> sa.ColumnElement[bool]:
    return quarantine.c.subject_id == json.dumps(subject_id)


def _is_there(connection: sa.Connection) -> bool:
    """Whether the gallery has tables of imports: the first import creates them."""
    return sa.inspect(connection).has_table(quarantine.name)


def _remove(transaction: Transaction, which: sa.ColumnElement[bool]) -> int:
    connection = transaction.connection
    if not _is_there(connection):
        return 0
    rows = connection.execute(sa.select(quarantine.c.key, quarantine.c["import"]).where(which)).all()
    for row in rows:
        Journal.release(transaction, row.key, row._mapping["import"])
    return len(rows)
