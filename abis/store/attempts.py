# SPDX-License-Identifier: Apache-2.0
"""Count failed verifications in a row for each subject, in the database, to limit guessing.

An attempt is counted before the comparison, and a match clears the count. So neither parallel threads nor a process
that is killed and started again give an attacker further attempts.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from abis.store import schema
from abis.store.chain import subjects_or_proof
from abis.store.queries import select_in
from abis.store.records import from_microseconds
from abis.store.rows import check_row, tags_of
from abis.store.store import Store

__all__ = ["reserve", "settle"]

_TABLE = schema.attempts
_LONGEST_PAUSE_S = 86_400.0


def reserve(store: Store, subject_ids: Sequence[str], *, most: int, pause_s: float) -> list[datetime | None]:
    """Count a failed attempt at each of some subjects, before the comparison; call :func:`settle` with the results.

    Args:
        store: of the gallery.
        subject_ids: the claims; those that are not enrolled are not counted.
        most: failures in a row that a subject may have before it is paused.
        pause_s: length of the first pause; each further failure doubles it, up to a day.

    Returns:
        For each claim None, or the time until which it must not be compared.
    """
    decided: list[datetime | None] = []
    with store.writing() as transaction:
        connection, now = transaction.connection, transaction.now
        known = {name: row.key for name, row in subjects_or_proof(connection, subject_ids).items()}
        counts = _counts(connection, known.values())
        counted: set[int] = set()
        for subject_id in subject_ids:
            key = known.get(subject_id)
            failures, until = counts.get(key, (0, 0)) if key is not None else (0, 0)
            if until > now:
                decided.append(from_microseconds(until))
                continue
            decided.append(None)
            if key is not None:
                failures += 1
                if failures >= most:
                    pause = min(pause_s * 2.0 ** min(failures - most, 60), _LONGEST_PAUSE_S)
                    until = now + int(pause * 1_000_000)
                counts[key] = failures, until
                counted.add(key)
        _write(connection, {key: counts[key] for key in counted})  # paused subjects stay as they are
    return decided


def settle(store: Store, cleared: Sequence[str], uncounted: Sequence[str]) -> None:
    """Correct the counts of :func:`reserve` by the results of the comparisons.

    Args:
        store: of the gallery.
        cleared: subjects that matched; their counts become 0.
        uncounted: subjects of attempts that were not compared; their counts fall by 1.
    """
    if not cleared and not uncounted:
        return
    with store.writing() as transaction:
        connection = transaction.connection
        known = {n: row.key for n, row in subjects_or_proof(connection, {*cleared, *uncounted}).items()}
        counts = _counts(connection, known.values())
        for subject_id in uncounted:
            if (key := known.get(subject_id)) in counts:
                counts[key] = max(counts[key][0] - 1, 0), 0
        for subject_id in cleared:
            if subject_id in known:
                counts[known[subject_id]] = 0, 0
        _write(connection, counts)


def _counts(connection: sa.Connection, keys: Sequence[int] | object) -> dict[int, tuple[int, int]]:
    """Failures in a row, and the end of the pause in microseconds, by subject."""
    tags, found = tags_of(connection), {}
    for key, failures, until, stated in select_in(connection, _QUERY, _TABLE.c.subject, keys):  # type: ignore[arg-type]
        check_row("attempts", (key, failures, until), stated, tags)
        found[key] = failures, until
    return found


_QUERY = sa.select(_TABLE)


def _write(connection: sa.Connection, counts: dict[int, tuple[int, int]]) -> None:
    tags = tags_of(connection)
    for key, (failures, until) in counts.items():
        connection.execute(_TABLE.delete().where(_TABLE.c.subject == key))
        if failures:
            tag, _ = tags.of("attempts", (key, failures, until))
            values = {"subject": key, "failures": failures, "until": until, "checksum": tag}
            connection.execute(_TABLE.insert().values(values))
