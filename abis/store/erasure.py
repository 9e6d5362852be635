# SPDX-License-Identifier: Apache-2.0
"""Erasure: remove rows, and overwrite their bytes in free pages and in the write-ahead log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from abis.answers import Answer
from abis.errors import ArgumentError, StoreError
from abis.store import schema
from abis.store.quarantine import (
    count_quarantined_before,
    remove_quarantined,
    remove_quarantined_before,
)
from abis.store.records import check_id, from_microseconds, microseconds, not_enrolled
from abis.store.store import Store
from abis.text import counted, printable

__all__ = [
    "Expired",
    "Tombstone",
    "count_older_than",
    "enrolled_in_future",
    "erase",
    "remove_older_than",
    "scrub",
]

_log = logging.getLogger("abis")

_PATIENCE_S = 30.0  # to wait for readers of an older state of the log
_CLOCKS = timedelta(days=1)  # that the clocks of two machines may differ
_PAGE = 1_000  # encounters removed in one transaction


@dataclass(frozen=True)
class Tombstone(Answer):
    """Proof that a subject was erased.

    Attributes:
        subject_id: id under which the subject was enrolled.
        erased: time of the erasure, UTC.
        encounters: number of erased encounters.
        templates: number of erased templates.
        quarantined: number of erased quarantined records of the subject.
        audit: number of the audit log's entry of the erasure.
        audit_hash: hash of that entry, hexadecimal.
    """

    subject_id: str
    erased: datetime
    encounters: int
    templates: int
    quarantined: int
    audit: int
    audit_hash: str

    def __str__(self) -> str:
        return printable(
            f"{self.subject_id} erased {self.erased:%Y-%m-%d %H:%M:%S} UTC: {counted(self.encounters, 'encounter')}, "
            f"{counted(self.templates, 'template')}, {counted(self.quarantined, 'record')} in quarantine; "
            f"audit entry {self.audit}:{self.audit_hash}"
        )


class Expired(NamedTuple):
    """Numbers of encounters and records that were older than a time and were removed.

    Attributes:
        encounters: number of removed encounters.
        quarantined: number of removed quarantined records.
    """

    encounters: int
    quarantined: int


def erase(store: Store, subject_id: str) -> Tombstone:
    """Remove a subject and its quarantined records, and overwrite their bytes.

    Args:
        store: store of the gallery.
        subject_id: subject to erase.

    Raises:
        NotEnrolled: the subject is not enrolled and has no quarantined records.
        StoreError: a reader of an older state keeps the write-ahead log from being emptied. The subject is removed;
            call :func:`scrub` later to overwrite its bytes.
    """
    check_id("subject_id", subject_id)
    with store.writing() as transaction:
        key = transaction.find([subject_id]).get(subject_id)
        encounters: list[int] = []
        templates = 0
        if key is not None:
            encounters = list(transaction.encounters_of(key).values())
            templates = transaction.remove(key, encounters)
            transaction.remove_subject_if_empty(key)
        quarantined = remove_quarantined(transaction, subject_id)
        if key is None and not quarantined:
            raise not_enrolled(subject_id)
        more = f", {quarantined} records in quarantine" if quarantined else ""
        transaction.log("erase", subject_id, f"{len(encounters)} encounters, {templates} templates{more}")
        state = transaction.state
        when = from_microseconds(transaction.now)
        assert when is not None
        tombstone = Tombstone(
            subject_id, when, len(encounters), templates, quarantined, state.audit, state.audit_hash
        )
    scrub(store)
    return tombstone


def remove_older_than(store: Store, before: datetime) -> Expired:
    """Remove all encounters enrolled before a time, and the subjects that have no other encounters.

    Quarantined records of imports that began before the time are removed too. Encounters without a time of enrolment
    stay.

    Args:
        store: store of the gallery.
        before: time with a time zone.

    Returns:
        Numbers of removed encounters and quarantined records. Encounters of which the time of enrolment is in the
        future stay, with a warning in the log.

    Raises:
        ArgumentError: the time has no time zone.
    """
    _check_time_zone(before)
    columns = schema.encounters.c
    query = (
        sa.select(columns.key, columns.encounter_id, schema.subjects.c.key, schema.subjects.c.subject_id)
        .join_from(schema.encounters, schema.subjects)
        .where(columns.enrolled < microseconds(before))
        .order_by(columns.key)
        .limit(_PAGE)
    )
    count = 0
    while True:
        with store.writing() as transaction:
            rows = transaction.connection.execute(query).all()
            for encounter, encounter_id, subject, subject_id in rows:
                transaction.remove(subject, [encounter])
                transaction.remove_subject_if_empty(subject)
                transaction.log("expire", subject_id, f"encounter {encounter_id}")
        count += len(rows)
        if len(rows) < _PAGE:
            break
    with store.writing() as transaction:
        if old := remove_quarantined_before(transaction, before):
            transaction.log("expire", "", f"{old} records in quarantine")
    with store.database.reading() as connection:
        if future := enrolled_in_future(connection):
            _log.warning(
                "%s: %d encounters have a time of enrolment in the future, because the clock was wrong, and are kept; "
                "enroll these subjects again",
                printable(store.name),
                future,
            )
    scrub(store)
    return Expired(count, old)


def enrolled_in_future(connection: sa.Connection) -> int:
    """Number of encounters of which the time of enrolment is in the future; retention keeps them too long."""
    late = microseconds(datetime.now(UTC) + _CLOCKS)
    query = sa.select(sa.func.count()).where(schema.encounters.c.enrolled > late)
    return int(connection.scalar(query) or 0)


def count_older_than(store: Store, before: datetime) -> Expired:
    """What :func:`remove_older_than` would remove; nothing is removed.

    Raises:
        ArgumentError: the time has no time zone.
    """
    _check_time_zone(before)
    query = sa.select(sa.func.count()).where(schema.encounters.c.enrolled < microseconds(before))
    with store.reading() as connection:
        return Expired(int(connection.scalar(query) or 0), count_quarantined_before(connection, before))


def _check_time_zone(before: datetime) -> None:
    if before.tzinfo is None:
        raise ArgumentError("the time has no time zone; expected one, e.g. datetime.UTC")


def scrub(store: Store) -> None:
    """Overwrite the bytes of removed rows.

    SQLite overwrites rows as they are deleted (``secure_delete``); this function writes its log back and truncates it.
    PostgreSQL's ``VACUUM`` frees the rows. Their bytes stay in the free part of a page until the page is written again;
    ``abis compact`` rewrites all pages.

    Raises:
        StoreError: a reader of an older state keeps the write-ahead log from being emptied.
    """
    if not store.database.is_sqlite:
        store.database.execute_alone(*(f"VACUUM {table}" for table in store.database.tables()))
        return
    deadline = time.monotonic() + _PATIENCE_S
    while not store.database.cut_log():
        if time.monotonic() > deadline:
            raise StoreError(
                f"{store.name}: another process still reads an older state, so the write-ahead log keeps the "
                "removed rows; run `abis compact` later"
            )
        time.sleep(0.05)
