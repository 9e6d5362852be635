# SPDX-License-Identifier: Apache-2.0
"""Queries that several modules use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from abis.store.records import DamageError, State
from abis.store.rows import (
    SubjectRow,
    check_encounter,
    check_encounters,
    check_row,
    checked_state,
    label_share,
    tags_of,
)
from abis.store.schema import encounters, gallery, labels, subjects, templates
from abis.store.schema import label_totals as totals
from abis.store.tags import xor_of

__all__ = [
    "IDS_PER_QUERY",
    "REFERENCES",
    "encounters_of",
    "label_totals",
    "labels_of",
    "labels_of_all",
    "select_in",
    "state_of",
    "subjects_by_id",
    "subjects_by_key",
]

IDS_PER_QUERY = 500  # bound parameters of one statement; SQLite takes 32,766, other databases fewer

REFERENCES = (
    sa.select(
        templates.c.key.label("template"),
        encounters.c.key.label("encounter"),
        templates.c.position,
        subjects.c.subject_id,
        subjects.c.key.label("subject"),
        encounters.c.encounter_id,
        encounters.c.enrolled,
        encounters.c.checksum,
        templates.c.data,
    )
    .join_from(templates, encounters)
    .join(subjects, encounters.c.subject == subjects.c.key)
    .order_by(templates.c.key)
)
"""Templates and their owners; the first four columns are a :class:`abis.store.stored_form.Place`."""

_STATE, _SUBJECTS, _TOTALS = sa.select(gallery), sa.select(subjects), sa.select(totals)
_LABELS = sa.select(labels.c.subject, labels.c.label)
_ENCOUNTERS = (
    sa.select(encounters, sa.func.count(templates.c.key))
    .join_from(encounters, templates, isouter=True)
    .group_by(encounters.c.key)
    .order_by(encounters.c.key)
)


def state_of(connection: sa.Connection) -> State:
    """The counters."""
    return checked_state(connection.execute(_STATE).one(), tags_of(connection))


def subjects_by_id(connection: sa.Connection, subject_ids: Iterable[str]) -> dict[str, SubjectRow]:
    """Return the rows of the ids that are found. :mod:`abis.store.chain` proves that the others are not enrolled."""
    tags, found = tags_of(connection), select_in(connection, _SUBJECTS, subjects.c.subject_id, subject_ids)
    return {row.subject_id: row for row in (SubjectRow.checked(each, tags) for each in found)}


def subjects_by_key(connection: sa.Connection, keys: Iterable[int]) -> dict[int, SubjectRow]:
    """Return the rows of the keys that are found."""
    tags, found = tags_of(connection), select_in(connection, _SUBJECTS, subjects.c.key, keys)
    return {row.key: row for row in (SubjectRow.checked(each, tags) for each in found)}


def encounters_of(connection: sa.Connection, owners: Iterable[SubjectRow]) -> dict[int, dict[str, int]]:
    """Keys of all encounters of subjects, by the subject's key and encounter_id, in the order of enrolment.

    Raises:
        DamageError: where not all encounters or templates of a subject are found, or others.
    """
    tags = tags_of(connection)
    known: Mapping[int, SubjectRow] = {row.key: row for row in owners}
    found: dict[int, dict[str, int]] = {key: {} for key in known}
    count = dict.fromkeys(known, 0)
    shares = dict.fromkeys(known, 0)
    for *row, own in select_in(connection, _ENCOUNTERS, encounters.c.subject, known):
        key, subject, encounter_id = row[:3]
        shares[subject] ^= check_encounter(row, tags)
        found[subject][encounter_id] = key
        count[subject] += own
    for key, row in known.items():
        if count[key] != row.templates:
            raise DamageError(
                f"subject {row.subject_id!r} has {row.templates} templates, but {count[key]} are found"
            ).about(row.subject_id)
        check_encounters(row, shares[key])
    return found


def labels_of(connection: sa.Connection, row: SubjectRow) -> list[str]:
    """The labels of a subject, sorted.

    Raises:
        DamageError: where they are not those that were written.
    """
    return labels_of_all(connection, [row])[row.key]


def labels_of_all(connection: sa.Connection, rows: Iterable[SubjectRow]) -> dict[int, list[str]]:
    """:func:`labels_of` of each of many subjects, by its key."""
    known = {row.key: row for row in rows}
    found: dict[int, list[str]] = {key: [] for key in known}
    for subject, label in select_in(connection, _LABELS, labels.c.subject, known):
        found[subject].append(label)
    tags = tags_of(connection)
    for key, row in known.items():
        if xor_of(label_share(tags, key, label) for label in found[key]) != row.labels:
            raise DamageError(f"the labels of subject {row.subject_id!r} are damaged").about(row.subject_id)
        found[key].sort()
    return found


def label_totals(connection: sa.Connection, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return, for each label, the number of its subjects and the XOR of their keys."""
    tags, found = tags_of(connection), {}
    for label, count, keys, stated in select_in(connection, _TOTALS, totals.c.label, names):
        check_row("label_totals", (label, count, keys), stated, tags)
        found[label] = count, keys
    return found


def select_in(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Iterable[Any]
) -> Iterator[Any]:
    """The rows whose ``column`` is one of the values, asked for in portions."""
    wanted = list(values)
    statement = _where_in(query, column)
    for start in range(0, len(wanted), IDS_PER_QUERY):
        yield from connection.execute(statement, {"wanted": wanted[start : start + IDS_PER_QUERY]})


@lru_cache(
    maxsize=64
)  # by identity: each query is a constant of this package, so that its SQL is cached with it
def _where_in(query: sa.Select[Any], column: sa.Column[Any]) -> sa.Select[Any]:
    return query.where(column.in_(sa.bindparam("wanted", expanding=True)))
