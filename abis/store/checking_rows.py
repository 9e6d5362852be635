# SPDX-License-Identifier: Apache-2.0
"""Check the tags of rows, the chain of subjects, and the totals of labels and settings."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from abis.store import schema
from abis.store.records import DamageError, Fault, State
from abis.store.rows import SubjectRow, check_encounter, check_row, label_share, tags_of
from abis.store.settings import deciding_settings, named

__all__ = ["RESTORE", "faults_of_rows"]

RESTORE = "restore a backup"

_PAGE = 10_000  # rows read at once


def faults_of_rows(connection: sa.Connection, state: State) -> Iterator[Fault]:
    """Return the rows whose tags are wrong, and the rows that are missing; see :mod:`abis.store.rows`."""
    yield from _subjects(connection, state)
    yield from _encounters(connection)
    yield from _labels(connection)
    try:
        deciding_settings(connection, state)
        named(connection, "")
    except DamageError as error:
        yield Fault(str(error), RESTORE)


def _subjects(connection: sa.Connection, state: State) -> Iterator[Fault]:
    """Check subjects in the order of the chain."""
    column = schema.subjects.c.subject_id
    page = sa.select(schema.subjects).order_by(column).limit(_PAGE)
    following, last = state.first_subject, ""
    tags, content = tags_of(connection), 0
    while rows := connection.execute(page.where(column > last)).all():
        for row in rows:
            if row.key != following:
                yield Fault(f"subject {row.subject_id!r} does not follow on {last!r} in the chain", RESTORE)
            following = row.next
            last = row.subject_id
            try:
                content ^= SubjectRow.checked(row, tags).share
            except DamageError as error:
                yield Fault(f"subject {row.subject_id!r}: {error}", RESTORE)
    if following:
        yield Fault(f"the chain of subjects goes on behind the last, {last!r}", RESTORE)
    if content != state.content:
        yield Fault(
            "the rows of subjects are not all those that were written last: some are of an earlier time",
            RESTORE,
        )


def _encounters(connection: sa.Connection) -> Iterator[Fault]:
    """Check each encounter by its tag, and all encounters of a subject by the total in the subject's row."""
    subjects, encounters, tags = schema.subjects.c, schema.encounters.c, tags_of(connection)
    page = (
        sa.select(subjects.key, subjects.subject_id, subjects.encounters).order_by(subjects.key).limit(_PAGE)
    )
    last = 0
    while owners := connection.execute(page.where(subjects.key > last)).all():
        shares = dict.fromkeys((owner.key for owner in owners), 0)
        own = encounters.subject.between(owners[0].key, owners[-1].key)
        for row in connection.execute(sa.select(schema.encounters).where(own)):
            try:
                shares[row.subject] = shares.get(row.subject, 0) ^ check_encounter(row, tags)
            except DamageError as error:
                yield Fault(str(error), RESTORE)
        for key, subject_id, stated in owners:
            if shares[key] != stated:
                yield Fault(
                    f"subject {subject_id!r}: its encounters are not those that were enrolled", RESTORE
                )
        last = owners[-1].key


def _labels(connection: sa.Connection) -> Iterator[Fault]:
    """Check labels by the totals in their subjects' rows, and by the total of each label."""
    columns = schema.labels.c
    totals: dict[str, tuple[int, int]] = {}
    rows = connection.execute(sa.select(columns.subject, columns.label).order_by(columns.subject))
    own: dict[int, int] = {}
    tags = tags_of(connection)
    for subject, label in rows:
        count, keys = totals.get(label, (0, 0))
        totals[label] = count + 1, keys ^ subject
        own[subject] = own.get(subject, 0) ^ label_share(tags, subject, label)
    stated: dict[str, tuple[int, int]] = {}
    for label, count, keys, tag in connection.execute(sa.select(schema.label_totals)):
        try:
            check_row("label_totals", (label, count, keys), tag, tags)
        except DamageError as error:
            yield Fault(str(error), RESTORE)
        stated[label] = count, keys
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
