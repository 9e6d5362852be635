# SPDX-License-Identifier: Apache-2.0
"""Whether rows are as they were written, subjects in their chain, and labels and calibrations all there."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from abis.store import schema
from abis.store.queries import calibrations_of
from abis.store.records import DamageError, Fault, State
from abis.store.rows import SubjectRow, check_encounter, checksum

__all__ = ["RESTORE", "faults_of_rows"]

RESTORE = "restore a backup"

_PAGE = 10_000  # rows read at once


def faults_of_rows(connection: sa.Connection, state: State) -> Iterator[Fault]:
    """What no longer vouches for itself; see :mod:`abis.store.rows`."""
    yield from _subjects(connection, state)
    yield from _encounters(connection)
    yield from _labels(connection)
    try:
        calibrations_of(connection, state)
    except DamageError as error:
        yield Fault(str(error), "set them again, or restore a backup")


def _subjects(connection: sa.Connection, state: State) -> Iterator[Fault]:
    """In the order of the chain, from its first to its last."""
    column = schema.subjects.c.subject_id
    page = sa.select(schema.subjects).order_by(column).limit(_PAGE)
    following, last = state.first_subject, ""
    while rows := connection.execute(page.where(column > last)).all():
        for row in rows:
            if row.key != following:
                yield Fault(f"subject {row.subject_id!r} does not follow on {last!r} in the chain", RESTORE)
            following = row.next
            last = row.subject_id
            try:
                SubjectRow.checked(row)
            except DamageError as error:
                yield Fault(f"subject {row.subject_id!r}: {error}", RESTORE)
    if following:
        yield Fault(f"the chain of subjects goes on behind the last, {last!r}", RESTORE)


def _encounters(connection: sa.Connection) -> Iterator[Fault]:
    key = schema.encounters.c.key
    page = sa.select(schema.encounters).order_by(key).limit(_PAGE)
    last = 0
    while rows := connection.execute(page.where(key > last)).all():
        for row in rows:
            try:
                check_encounter(*row)
            except DamageError as error:
                yield Fault(str(error), RESTORE)
        last = rows[-1].key


def _labels(connection: sa.Connection) -> Iterator[Fault]:
    """Each by its subject, and all of a label by its total."""
    columns = schema.labels.c
    totals: dict[str, tuple[int, int]] = {}
    rows = connection.execute(sa.select(columns.subject, columns.label).order_by(columns.subject))
    own: dict[int, int] = {}
    for subject, label in rows:
        count, keys = totals.get(label, (0, 0))
        totals[label] = count + 1, keys ^ subject
        own[subject] = own.get(subject, 0) ^ checksum([label])
    stated = {row[0]: (row[1], row[2]) for row in connection.execute(sa.select(schema.label_totals))}
    for label in sorted(totals.keys() | stated.keys()):
        if totals.get(label) != stated.get(label):
            yield Fault(f"label {label!r}: its subjects are not those that were counted", RESTORE)
    subjects = schema.subjects.c
    labelled = sa.select(subjects.key, subjects.subject_id, subjects.labels).where(subjects.labels != 0)
    for key, subject_id, all_of_them in connection.execute(labelled):
        if own.pop(key, 0) != all_of_them:
            yield Fault(f"subject {subject_id!r}: its labels are not those that were given", RESTORE)
    for key in own:
        yield Fault(f"labels of row {key} of table subjects, which has none", RESTORE)
