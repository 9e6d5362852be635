# SPDX-License-Identifier: Apache-2.0
"""What is asked of the tables in more than one room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from abis.store.records import State
from abis.store.schema import encounters, gallery, subjects, templates

__all__ = ["CLAIMED", "REFERENCES", "encounter_ids_of", "keys_of_subjects", "select_in", "state_of"]

_IDS_PER_QUERY = 500  # bound parameters of one statement; SQLite takes 32,766, other databases fewer

REFERENCES = (
    sa.select(
        templates.c.key.label("template"),
        encounters.c.key.label("encounter"),
        templates.c.position,
        subjects.c.subject_id,
        subjects.c.key.label("subject"),
        encounters.c.encounter_id,
        templates.c.data,
    )
    .join_from(templates, encounters)
    .join(subjects, encounters.c.subject == subjects.c.key)
    .order_by(templates.c.key)
)
"""Templates and their owners; the first four columns are a :class:`abis.store.stored_form.Place`."""

CLAIMED = REFERENCES.add_columns(subjects.c.status, subjects.c.level, subjects.c.templates)
"""The same, and what else a verification needs to know of the subject."""


def state_of(connection: sa.Connection) -> State:
    """The counters."""
    return State(*connection.execute(sa.select(gallery)).one())


def keys_of_subjects(connection: sa.Connection, subject_ids: Iterable[str]) -> dict[str, int]:
    """The keys of those that there are."""
    column = subjects.c.subject_id
    query = sa.select(column, subjects.c.key)
    return {row[0]: row[1] for row in select_in(connection, query, column, subject_ids)}


def encounter_ids_of(connection: sa.Connection, keys: Iterable[int]) -> set[tuple[int, str]]:
    """(key of the subject, encounter_id) of all encounters of subjects."""
    column = encounters.c.subject
    query = sa.select(column, encounters.c.encounter_id)
    return {(row[0], row[1]) for row in select_in(connection, query, column, keys)}


def select_in(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Iterable[Any]
) -> Iterator[Any]:
    """The rows whose ``column`` is one of the values, asked for in portions."""
    wanted = list(values)
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        yield from connection.execute(query.where(column.in_(wanted[start : start + _IDS_PER_QUERY])))
