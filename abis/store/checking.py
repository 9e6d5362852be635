# SPDX-License-Identifier: Apache-2.0
"""Check a gallery: the database's structure, every row and template, the counters and the logs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema
from abis.store.anchors import faults_of_anchors
from abis.store.audit_log import faults_of_audit
from abis.store.checking_rows import RESTORE, faults_of_rows
from abis.store.erasure import enrolled_in_future
from abis.store.quarantine import faults_of_quarantine
from abis.store.queries import REFERENCES
from abis.store.records import DamageError, Fault, Operation, State
from abis.store.rows import checked_state, tags_of
from abis.store.store import Store
from abis.store.stored_form import natives_of, read_templates

__all__ = ["check"]

Progress = Callable[[int, int], None]

_PAGE = 5_000  # templates read at once


def check(store: Store, progress: Progress | None = None) -> Iterator[Fault]:
    """Check the database's structure, every row and template, the counters, and both logs.

    The check sees one state of the store, that of its beginning. Other processes may write meanwhile.

    Args:
        store: store to check.
        progress: is called with the templates looked at and the templates in all.
    """
    with store.database.reading() as connection:
        *values, stated = connection.execute(sa.select(schema.gallery)).one()
        state = State(*values)
        try:
            state = checked_state([*values, stated], tags_of(connection))
        except DamageError as error:
            yield Fault(str(error), RESTORE)
        damage = list(_structure(store, connection))
        yield from damage
        if not damage:  # else the following checks would report the same fault again
            yield from _counters(connection, state)
            yield from faults_of_rows(connection, state)
            yield from _log_of_changes(connection, state)
            yield from faults_of_audit(connection, state)
            yield from faults_of_anchors(connection, store.name, state)
            yield from faults_of_quarantine(store, connection)
            yield from _templates(store, connection, state, progress)


def _structure(store: Store, connection: sa.Connection) -> Iterator[Fault]:
    if not store.database.is_sqlite:
        return  # pg_amcheck checks the pages of a server
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if message != "ok":
            yield Fault(f"database: {message}", f"{RESTORE}, or `sqlite3 .recover`")
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Fault(f"row {row} of table {table} belongs to no row of {parent}", RESTORE)


def _counters(connection: sa.Connection, state: State) -> Iterator[Fault]:
    for table, last in (
        (schema.subjects, state.last_subject),
        (schema.encounters, state.last_encounter),
        (schema.templates, state.last_template),
    ):
        query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(table.c.key), 0))
        rows, largest = connection.execute(query.select_from(table)).one()
        stated = getattr(state, table.name)
        if rows != stated:
            yield Fault(f"{table.name}: {rows:,} rows, but the counter says {stated:,}", RESTORE)
        if largest > last:
            yield Fault(
                f"{table.name}: key {largest} was given, but the last one is said to be {last}", RESTORE
            )
    subjects, encounters, templates = schema.subjects, schema.encounters, schema.templates
    counted = (
        sa.select(encounters.c.subject, sa.func.count(templates.c.key).label("templates"))
        .join_from(encounters, templates, isouter=True)
        .group_by(encounters.c.subject)
        .subquery()
    )
    wrong = (
        sa.select(subjects.c.subject_id, subjects.c.templates, counted.c.templates.label("found"))
        .join_from(subjects, counted, subjects.c.key == counted.c.subject, isouter=True)
        .where(sa.or_(counted.c.templates.is_(None), subjects.c.templates != counted.c.templates))
    )
    for subject_id, stated, found in connection.execute(wrong):
        yield Fault(f"subject {subject_id!r}: {found or 0} templates, but should have {stated}", RESTORE)
    if future := enrolled_in_future(connection):
        yield Fault(
            f"{future:,} encounters have a time of enrolment in the future",
            "the clock was wrong when they were enrolled: `abis expire` keeps them; enroll these subjects again",
        )
    empty = sa.select(encounters.c.key).where(~sa.exists().where(templates.c.encounter == encounters.c.key))
    for key in connection.scalars(empty):
        yield Fault(f"encounter {key} has no template", RESTORE)


def _log_of_changes(connection: sa.Connection, state: State) -> Iterator[Fault]:
    changes, encounters = schema.changes, schema.encounters
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(changes.c.number), 0))
    rows, last = connection.execute(query.select_from(changes)).one()
    if not rows == last == state.change:
        yield Fault(
            f"log of changes: {rows:,} rows, the last is {last}, but the counter says {state.change}",
            RESTORE,
        )
    gone = sa.select(changes.c.encounter).where(changes.c.operation == int(Operation.REMOVE))
    for key in connection.scalars(sa.select(encounters.c.key).where(encounters.c.key.in_(gone))):
        yield Fault(f"encounter {key} is there, but the log says it was removed", RESTORE)
    net = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((changes.c.operation == int(Operation.ENROLL), 1), else_=-1)), 0)
    )
    if (balance := connection.scalar(net)) != state.encounters:
        yield Fault(
            f"log of changes: leaves {balance:,} encounters, but there are {state.encounters:,}", RESTORE
        )


def _templates(
    store: Store, connection: sa.Connection, state: State, progress: Progress | None
) -> Iterator[Fault]:
    last = done = 0
    while rows := connection.execute(REFERENCES.where(schema.templates.c.key > last).limit(_PAGE)).all():
        for row in rows:
            yield from _template(store, state, row)
        last = rows[-1].template
        done += len(rows)
        if progress is not None:
            progress(done, state.templates)


def _template(store: Store, state: State, row: Any) -> Iterator[Fault]:
    try:
        natives = natives_of([row], store.cipher, lambda: state.plain_from)
        (template,) = read_templates(natives, [row.template])
    except StoreError as error:
        yield Fault(f"subject {row.subject_id!r}: {error}", "enroll the subject anew, or restore a backup")
        return
    if template.position != row.position:
        yield Fault(
            f"subject {row.subject_id!r}: template {row.template} is of {template.position.name}, "
            f"but its row says position {row.position}",
            "enroll the subject anew, or restore a backup",
        )
