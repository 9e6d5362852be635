# SPDX-License-Identifier: Apache-2.0
"""Changes of a subject: status, level and labels; merge, move and replace.

An encounter that moves to another subject gets a new key, as if removed and enrolled in one transaction. A reader that
follows the store therefore sees only removals and enrolments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from abis.errors import AlreadyEnrolled, ArgumentError
from abis.store import schema
from abis.store.chain import subjects_or_proof
from abis.store.queries import encounters_of, label_totals, labels_of, labels_of_all, state_of
from abis.store.records import (
    FIRST_ENCOUNTER,
    DamageError,
    Encounter,
    Enrollment,
    ListedSubject,
    Status,
    Subject,
    check_id,
    check_level,
    check_new_id,
    check_room,
    checked_labels,
    from_microseconds,
    not_enrolled,
)
from abis.store.rows import SubjectRow, tags_of
from abis.store.store import Store
from abis.store.stored_form import doubts_of, encoded
from abis.store.transaction import Transaction
from abis.template import Position

__all__ = [
    "keys_with_labels",
    "listed_subjects",
    "merge",
    "merge_within",
    "move",
    "move_within",
    "replace",
    "set_labels",
    "set_level",
    "set_status",
    "subject",
]

_PAGE = 1_000  # subjects read at once


def subject(store: Store, subject_id: str) -> Subject:
    """Return everything that the gallery holds about a subject except its templates.

    Raises:
        NotEnrolled: where there is no such subject.
    """
    check_id("subject_id", subject_id)
    encounters, templates = schema.encounters.c, schema.templates.c
    with store.database.reading() as connection:
        row = subjects_or_proof(connection, [subject_id]).get(subject_id)
        if row is None:
            raise not_enrolled(subject_id)
        labels = labels_of(connection, row)
        encounters_of(connection, [row])  # the query checks that none is missing
        captures = connection.execute(
            sa.select(encounters.encounter_id, encounters.enrolled, templates.position)
            .join_from(schema.encounters, schema.templates)
            .where(encounters.subject == row.key)
            .order_by(encounters.key, templates.key)
        ).all()
    positions: dict[tuple[str, int | None], list[Position]] = {}
    for encounter_id, enrolled, position in captures:
        positions.setdefault((encounter_id, enrolled), []).append(Position(position))
    return Subject(
        subject_id=subject_id,
        status=Status(row.status),
        reason=row.status_reason,
        since=from_microseconds(row.status_time),
        level=row.level,
        labels=tuple(labels),
        encounters=tuple(
            Encounter(encounter_id, from_microseconds(enrolled), tuple(own))
            for (encounter_id, enrolled), own in positions.items()
        ),
    )


def listed_subjects(
    store: Store, *, status: Status | None, label: str | None, after: str | None
) -> Iterator[ListedSubject]:
    """The subjects in the order of enrolment, read in pages of their keys.

    Args:
        store: of the gallery.
        status: only subjects with this status; None for all.
        label: only subjects with this label; None for all.
        after: begin after this subject; None begins with the first.

    Raises:
        NotEnrolled: there is no subject ``after``.
    """
    columns = schema.subjects.c
    query = sa.select(schema.subjects).order_by(columns.key).limit(_PAGE)
    if status is not None:
        query = query.where(columns.status == int(Status(status)))
    if label is not None:
        check_id("label", label)
        own = sa.select(schema.labels.c.subject).where(schema.labels.c.label == label)
        query = query.where(columns.key.in_(own))
    last = 0
    if after is not None:
        check_id("subject_id", after)
        with store.database.reading() as connection:
            first = subjects_or_proof(connection, [after]).get(after)
        if first is None:
            raise not_enrolled(after)
        last = first.key
    while True:
        with store.database.reading() as connection:
            rows = connection.execute(query.where(columns.key > last)).all()
            tags = tags_of(connection)
            page = [SubjectRow.checked(row, tags) for row in rows]
            labels = labels_of_all(connection, page)
        if not page:
            return
        for row in page:
            yield ListedSubject(
                row.subject_id, Status(row.status), row.level, tuple(labels[row.key]), row.templates
            )
        last = page[-1].key


def set_status(store: Store, subject_id: str, status: Status, reason: str) -> None:
    """Lock, terminate or activate an identity.

    Raises:
        NotEnrolled: where there is no such subject.
    """
    check_new_id("reason", reason)
    status = Status(status)
    with store.writing() as transaction:
        transaction.set_status(transaction.key_of(subject_id), status, reason, transaction.now)
        transaction.log("set_status", subject_id, f"{status}: {reason}")


def set_level(store: Store, subject_id: str, level: int) -> None:
    """State the assurance level of a subject.

    Raises:
        NotEnrolled: where there is no such subject.
    """
    check_level(level)
    with store.writing() as transaction:
        transaction.set_level(transaction.key_of(subject_id), level)
        transaction.log("set_level", subject_id, str(level))


def set_labels(store: Store, subject_id: str, labels: Iterable[str]) -> None:
    """Replace the labels of a subject.

    Raises:
        NotEnrolled: where there is no such subject.
    """
    checked = checked_labels(labels)
    with store.writing() as transaction:
        key = transaction.key_of(subject_id)
        transaction.remove_labels(key)
        transaction.add_labels(key, checked)
        transaction.log("set_labels", subject_id, ", ".join(checked))


def keys_with_labels(store: Store, labels: Iterable[str]) -> tuple[NDArray[np.int64], int]:
    """Return the sorted keys of the subjects with any of the labels, and the number of the store's last change."""
    wanted = checked_labels(labels)
    columns = schema.labels.c
    found = []
    with store.database.reading() as connection:
        change = state_of(connection).change  # first, since the transaction sees the state at its first read
        totals = label_totals(connection, wanted)
        for label in wanted:
            rows = connection.scalars(sa.select(columns.subject).where(columns.label == label)).all()
            keys = np.array(rows, np.int64)
            if (len(keys), np.bitwise_xor.reduce(keys)) != totals.get(label, (0, 0)):
                raise DamageError(f"not all subjects with the label {label!r} are found")
            found.append(keys)
    return np.unique(np.concatenate([*found, np.empty(0, np.int64)])), change


def merge(store: Store, source_id: str, target_id: str) -> dict[str, str]:
    """Move all encounters of one subject to another subject of the same person, and remove the first.

    An encounter_id that the target has already becomes ``source_id:encounter_id``. The target gets the labels of
    both, keeps its level, and has the more restrictive status of both.

    Returns:
        The new encounter_ids by the former ones.

    Raises:
        NotEnrolled: one of the subjects is not enrolled.
        AlreadyEnrolled: the target also has an encounter with the longer name.
    """
    with store.writing() as transaction:
        return merge_within(transaction, source_id, target_id)


def merge_within(transaction: Transaction, source_id: str, target_id: str) -> dict[str, str]:
    """:func:`merge` as a part of a transaction that writes more."""
    source, target = _two(transaction, source_id, target_id)
    names = {e: name for name, e in transaction.encounters_of(source).items()}
    taken = set(transaction.encounters_of(target))
    now_called = {}
    for name in names.values():
        free = name if name not in taken else f"{source_id}:{name}"
        if free in taken:
            error = AlreadyEnrolled(f"encounter {free!r} of subject {target_id!r} is enrolled already")
            raise error.about(target_id)
        check_id("encounter_id", free)
        taken.add(free)
        now_called[name] = free
    transaction.add_labels(target, transaction.labels_of(source))
    _take_status(transaction, source, target)
    renamed = {encounter: now_called[name] for encounter, name in names.items()}
    _move(transaction, source, renamed, target, target_id)
    transaction.log("merge", source_id, f"into {target_id}")
    transaction.log("merge", target_id, f"from {source_id}")
    return now_called


def move(store: Store, encounter_id: str, source_id: str, target_id: str) -> None:
    """Move one encounter to another subject; a subject without further encounters is removed.

    Raises:
        NotEnrolled: a subject or the encounter is not enrolled.
        AlreadyEnrolled: the target has an encounter with this encounter_id.
    """
    with store.writing() as transaction:
        move_within(transaction, encounter_id, source_id, target_id)


def move_within(transaction: Transaction, encounter_id: str, source_id: str, target_id: str) -> None:
    """:func:`move` as a part of a transaction that writes more."""
    source, target = _two(transaction, source_id, target_id)
    encounter = transaction.encounter_of(source, encounter_id)
    if encounter_id in transaction.encounters_of(target):
        error = AlreadyEnrolled(f"encounter {encounter_id!r} of subject {target_id!r} is enrolled already")
        raise error.about(target_id)
    _move(transaction, source, {encounter: encounter_id}, target, target_id)
    transaction.log("move", source_id, f"encounter {encounter_id} to {target_id}")
    transaction.log("move", target_id, f"encounter {encounter_id} from {source_id}")


def replace(store: Store, enrollment: Enrollment) -> None:
    """Replace all encounters of a subject by one new encounter. Status, level and labels stay.

    Raises:
        NotEnrolled: the subject is not enrolled.
    """
    subject_id = enrollment.subject_id
    encounter_id = enrollment.encounter_id or FIRST_ENCOUNTER
    templates = encoded(enrollment.templates)
    with store.writing() as transaction:
        key = transaction.key_of(subject_id)
        transaction.remove(key, list(transaction.encounters_of(key).values()))
        transaction.add_encounter(key, subject_id, encounter_id, templates, enrolled=transaction.now)
        transaction.add_labels(key, enrollment.labels)
        if enrollment.level is not None:
            transaction.set_level(key, enrollment.level)
        doubts = doubts_of(templates)
        more = f"; doubtful: {doubts}" if doubts else ""
        transaction.log("replace", subject_id, f"encounter {encounter_id}{more}")


def _two(transaction: Transaction, source_id: str, target_id: str) -> tuple[int, int]:
    if source_id == target_id:
        raise ArgumentError(f"source and target are both {source_id!r}; expected two subjects")
    return transaction.key_of(source_id), transaction.key_of(target_id)


def _move(
    transaction: Transaction, source: int, encounters: dict[int, str], target: int, target_id: str
) -> None:
    """Move the named encounters of one subject to another."""
    keys: Sequence[int] = list(encounters)
    templates = transaction.templates_of(keys)
    columns = schema.encounters.c
    query = sa.select(columns.key, columns.enrolled).where(columns.key.in_(keys))
    enrolled = {row.key: row.enrolled for row in transaction.connection.execute(query)}
    more = sum(map(len, templates.values()))
    check_room(target_id, transaction.subject(target).templates + more)
    transaction.remove(source, keys)
    transaction.remove_subject_if_empty(source)
    for key, name in encounters.items():
        transaction.add_encounter(target, target_id, name, templates[key], enrolled=enrolled[key])


def _take_status(transaction: Transaction, source: int, target: int) -> None:
    """Give the target the more restrictive status of both subjects."""
    row = transaction.subject(source)
    if row.status > transaction.subject(target).status:
        transaction.set_status(target, Status(row.status), row.status_reason, row.status_time)
