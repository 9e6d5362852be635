# SPDX-License-Identifier: Apache-2.0
"""Proof of non-membership over the sorted subject ids.

All subjects form a chain in the order of the bytes of their ids. Each subject's row holds the key of the ``next``
subject, and the gallery's row holds the key of the first. If a page of the index is lost, two neighbours in the index
are not neighbours in the chain. A subject is reported as not enrolled, and a new subject_id is accepted, only after
the subjects on both sides of the id were found to be neighbours in the chain.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import sqlalchemy as sa

from abis.store.queries import IDS_PER_QUERY, state_of, subjects_by_id
from abis.store.records import DamageError
from abis.store.rows import SubjectRow, tags_of
from abis.store.schema import subjects

__all__ = ["Gap", "all_before", "before", "gaps", "subjects_or_proof"]


class Gap(NamedTuple):
    """Two subjects that are neighbours in the chain; None for either end of the chain."""

    before: SubjectRow | None
    after: SubjectRow | None


def subjects_or_proof(connection: sa.Connection, subject_ids: Iterable[str]) -> dict[str, SubjectRow]:
    """Rows of the given subjects that are enrolled, by subject_id.

    Args:
        connection: connection to read with.
        subject_ids: ids to look for.

    Raises:
        DamageError: the chain does not prove that each other id is not enrolled.
    """
    wanted = set(subject_ids)
    found = subjects_by_id(connection, wanted)
    if absent := sorted(wanted - found.keys()):
        for _ in gaps(connection, absent, state_of(connection).first_subject):
            pass
    return found


def gaps(
    connection: sa.Connection, subject_ids: Sequence[str], first: int
) -> Iterator[tuple[Sequence[str], Gap]]:
    """The gaps of the chain in which subject ids that are not enrolled belong, each with the ids of that gap.

    Args:
        connection: connection to read with.
        subject_ids: ids that are not enrolled, sorted, each once.
        first: key of the first subject of the chain.

    Raises:
        DamageError: two neighbours in the index are not neighbours in the chain.
    """
    at, portion = 0, 1  # one, as what comes in order belongs in one gap; then many
    while at < len(subject_ids):
        names = subject_ids[at : at + portion]
        beside = _neighbours(connection, names)
        for name in names:
            if at == len(subject_ids) or name < subject_ids[at]:
                continue  # in the gap of one before it
            gap = _checked(name, beside[name], first)
            begin, at = at, len(subject_ids)
            if gap.after is not None:
                at = bisect_left(subject_ids, gap.after.subject_id, begin)
            yield subject_ids[begin:at], gap
        portion = IDS_PER_QUERY


def before(connection: sa.Connection, row: SubjectRow, first: int) -> SubjectRow | None:
    """The subject before a subject in the chain; None if the subject is the first.

    Args:
        connection: connection to read with.
        row: row of the subject.
        first: key of the first subject of the chain.

    Raises:
        DamageError: the index and the chain disagree.
    """
    return all_before(connection, [row], first)[row.key]


def all_before(
    connection: sa.Connection, rows: Sequence[SubjectRow], first: int
) -> dict[int, SubjectRow | None]:
    """:func:`before` of each of many subjects, by its key."""
    found: dict[int, SubjectRow | None] = {}
    for start in range(0, len(rows), IDS_PER_QUERY):
        some = rows[start : start + IDS_PER_QUERY]
        beside = _neighbours(connection, [row.subject_id for row in some])
        for row in some:
            found[row.key] = _checked_before(row, beside[row.subject_id].before, first)
    return found


def _checked_before(row: SubjectRow, found: SubjectRow | None, first: int) -> SubjectRow | None:
    if (first if found is None else found.next) != row.key:
        raise DamageError(f"the index of subjects does not show all before {row.subject_id!r}")
    return found


def _checked(name: str, gap: Gap, first: int) -> Gap:
    follows = first if gap.before is None else gap.before.next
    fits = (gap.before is None or gap.before.subject_id < name) and (
        gap.after is None or name < gap.after.subject_id
    )
    if not fits or follows != (0 if gap.after is None else gap.after.key):
        raise DamageError(
            f"whether {name!r} is enrolled cannot be told: the index of subjects does not show all"
        )
    return gap


def _neighbours(connection: sa.Connection, names: Sequence[str]) -> dict[str, Gap]:
    """The subjects on both sides of each name, by the index."""
    wanted = sa.values(sa.column("name", sa.String), name="wanted").data([(name,) for name in names]).cte()
    lower, upper, other = subjects.alias(), subjects.alias(), subjects.alias()
    last = sa.select(sa.func.max(other.c.subject_id)).where(other.c.subject_id < wanted.c.name)
    next_ = sa.select(sa.func.min(other.c.subject_id)).where(other.c.subject_id > wanted.c.name)
    query = (
        sa.select(wanted.c.name, lower, upper)
        .join_from(wanted, lower, lower.c.subject_id == last.scalar_subquery(), isouter=True)
        .join(upper, upper.c.subject_id == next_.scalar_subquery(), isouter=True)
    )
    width, tags = len(subjects.c), tags_of(connection)
    found = {}
    for name, *row in connection.execute(query):
        low, high = row[:width], row[width:]
        found[name] = Gap(
            None if low[0] is None else SubjectRow.checked(low, tags),
            None if high[0] is None else SubjectRow.checked(high, tags),
        )
    return found
