# SPDX-License-Identifier: Apache-2.0
"""Is all well with a gallery; make its files small; copy it while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema
from abis.store.auditing import faults_of_audit
from abis.store.erasure import scrub
from abis.store.queries import REFERENCES, state_of
from abis.store.records import Fault, Operation, State
from abis.store.store import Store
from abis.store.stored_form import natives_of, read_templates

__all__ = ["backup", "check", "compact"]

Progress = Callable[[int, int], None]

_PAGE = 5_000  # templates read at once
_BACKUP_PAGES = 2_000  # of the database copied between two calls of progress: 8 MB

_RESTORE = "restore a backup"


def check(store: Store, progress: Progress | None = None) -> Iterator[Fault]:
    """Look at everything there is: the database's own structure, every template, counters, both logs.

    What is checked is one state of the store, as of the beginning; others may write meanwhile.

    Args:
        store: to look at.
        progress: is called with the templates looked at and the templates in all.
    """
    with store.database.reading() as connection:
        state = state_of(connection)
        damage = list(_structure(store, connection))
        yield from damage
        if not damage:  # else what follows would say the same in other words
            yield from _counters(connection, state)
            yield from _log_of_changes(connection, state)
            yield from faults_of_audit(connection, state)
            yield from _templates(store, connection, state, progress)


def _structure(store: Store, connection: sa.Connection) -> Iterator[Fault]:
    if not store.database.is_sqlite:
        return  # a server's pages are its own: pg_amcheck
    for (message,) in connection.exec_driver_sql("PRAGMA integrity_check(20)"):
        if message != "ok":
            yield Fault(f"database: {message}", f"{_RESTORE}, or `sqlite3 .recover`")
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield Fault(f"row {row} of table {table} belongs to no row of {parent}", _RESTORE)


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
            yield Fault(f"{table.name}: {rows:,} rows, but the counter says {stated:,}", _RESTORE)
        if largest > last:
            yield Fault(
                f"{table.name}: key {largest} was given, but the last one is said to be {last}", _RESTORE
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
        yield Fault(f"subject {subject_id!r}: {found or 0} templates, but should have {stated}", _RESTORE)
    empty = sa.select(encounters.c.key).where(~sa.exists().where(templates.c.encounter == encounters.c.key))
    for key in connection.scalars(empty):
        yield Fault(f"encounter {key} has no template", _RESTORE)


def _log_of_changes(connection: sa.Connection, state: State) -> Iterator[Fault]:
    changes, encounters = schema.changes, schema.encounters
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(changes.c.number), 0))
    rows, last = connection.execute(query.select_from(changes)).one()
    if not rows == last == state.change:
        yield Fault(
            f"log of changes: {rows:,} rows, the last is {last}, but the counter says {state.change}",
            _RESTORE,
        )
    gone = sa.select(changes.c.encounter).where(changes.c.operation == int(Operation.REMOVE))
    for key in connection.scalars(sa.select(encounters.c.key).where(encounters.c.key.in_(gone))):
        yield Fault(f"encounter {key} is there, but the log says it was removed", _RESTORE)
    net = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((changes.c.operation == int(Operation.ENROLL), 1), else_=-1)), 0)
    )
    if (balance := connection.scalar(net)) != state.encounters:
        yield Fault(
            f"log of changes: leaves {balance:,} encounters, but there are {state.encounters:,}", _RESTORE
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
        natives = natives_of([row], store.cipher, lambda: state.reseal_from)
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


def compact(store: Store) -> None:
    """Write the database anew without its gaps, and let go of what was removed.

    Takes the time to write it once, and the room; SQLite lets nobody write meanwhile, PostgreSQL nobody read.
    """
    if store.database.is_sqlite:
        store.database.execute_alone("VACUUM", "PRAGMA optimize")
        scrub(store)
    else:
        store.database.execute_alone("VACUUM (FULL, ANALYZE)")


def backup(store: Store, folder: Path, progress: Progress | None = None) -> Path:
    """Copy a gallery's database as of this moment into a new folder, while others go on to work.

    The copy is a gallery itself; it has appeared under its name only once it is whole and synced to disk.

    Args:
        store: whose database is a file.
        folder: to be made.
        progress: is called with the pages copied and the pages in all.

    Raises:
        StoreError: where there is such a folder already, or a server keeps the database.
    """
    source = store.database.file
    if source is None:
        raise StoreError(f"{store.name}: a server keeps it: use pg_dump, or the server's own backup")
    target = folder / source.name
    unfinished = target.with_suffix(".unfinished")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise StoreError(f"{folder}: there is a gallery in it already")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(unfinished)) as copy:
            origin.execute("BEGIN")
            origin.execute("SELECT change FROM gallery").fetchone()  # the state to be copied, whoever writes
            origin.backup(
                copy,
                pages=_BACKUP_PAGES,
                progress=None if progress is None else lambda _, left, total: progress(total - left, total),
            )
            copy.execute("PRAGMA journal_mode=DELETE")
        _sync(unfinished)
        unfinished.rename(target)
        _sync(folder)
    except sqlite3.Error as error:
        raise StoreError(f"{folder}: {error}") from error
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    return target


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
