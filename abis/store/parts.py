# SPDX-License-Identifier: Apache-2.0
"""A store that is one part of a gallery spread over several: which part it is, and subjects that change parts.

Each part's own database states which part of which gallery it is. A process that opens a store as part 3 of 8 can
therefore check this, even if another store was put in its place, or the gallery was resharded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import sqlalchemy as sa

from abis.errors import AlreadyEnrolled, StoreError
from abis.store import schema, settings
from abis.store.queries import (
    REFERENCES,
    encounters_of,
    labels_of,
    select_in,
    state_of,
    subjects_by_id,
)
from abis.store.records import Status
from abis.store.store import Store
from abis.store.stored_form import natives_of
from abis.store.transaction import Transaction

__all__ = [
    "Part",
    "Whole",
    "calibrations",
    "calibrations_digest",
    "drop",
    "give",
    "ids_after",
    "part_of",
    "read_part",
    "set_part",
    "take",
]

_PART = "part"  # name of the setting that holds the part


@dataclass(frozen=True)
class Part:
    """The part of a spread gallery that a store holds.

    Attributes:
        whole: the id of the gallery that is spread.
        number: from 0.
        of: number of parts.
        version: version of the division; grows each time the gallery is divided again.
        moving: True while subjects are moved between parts; enrolments and searches are then refused.
    """

    whole: str
    number: int
    of: int
    version: int
    moving: bool = False

    def __str__(self) -> str:
        return f"part {self.number} of {self.of} of {self.whole}, version {self.version}"


def read_part(store: Store) -> Part | None:
    """Return the part that the store is; None if it is a gallery by itself."""
    with store.reading() as connection:
        return part_of(connection)


def part_of(connection: sa.Connection) -> Part | None:
    """The same, within a transaction."""
    content = settings.get(connection, _PART)
    return None if content is None else Part(**json.loads(content))


def set_part(store: Store, part: Part | None) -> None:
    """Mark the store as this part; None marks it as a gallery by itself."""
    content = None if part is None else json.dumps(asdict(part))
    with store.writing() as transaction:
        settings.put_deciding(transaction.connection, transaction.state, _PART, content)
        transaction.log("set_part", "", "none" if part is None else str(part))


def calibrations(store: Store) -> list[str]:
    """Return the calibrations that were set for this store, as JSON text. All parts of a gallery have the same."""
    with store.reading() as connection:
        found = settings.deciding_settings(connection, state_of(connection))
    return [text for name, text in sorted(found.items()) if name.startswith(settings.CALIBRATION)]


def calibrations_digest(store: Store) -> str:
    """Return a digest of :func:`calibrations`."""
    return hashlib.sha256(json.dumps(calibrations(store)).encode()).hexdigest()


def ids_after(store: Store, key: int, limit: int) -> list[tuple[int, str]]:
    """Return key and subject id of the next subjects, in the order of enrolment."""
    columns = schema.subjects.c
    query = sa.select(columns.key, columns.subject_id).where(columns.key > key)
    with store.reading() as connection:
        return [
            (row.key, row.subject_id) for row in connection.execute(query.order_by(columns.key).limit(limit))
        ]


# --------------------------------------------------------------------------------- subjects that change parts


class MovedEncounter(NamedTuple):
    """An encounter with (position, native form) of each template; when it was enrolled, in microseconds."""

    encounter_id: str
    enrolled: int | None
    templates: list[tuple[int, bytes]]


class Whole(NamedTuple):
    """Everything that a store holds about a subject, except its audit log."""

    subject_id: str
    status: int
    reason: str
    since: int | None
    level: int
    labels: Sequence[str]
    encounters: Sequence[MovedEncounter]

    def __repr__(self) -> str:
        return f"Whole({self.subject_id!r}, {len(self.encounters)} encounters)"


def give(store: Store, subject_ids: Sequence[str]) -> list[Whole]:
    """Return everything about the given subjects that are enrolled, as of one moment."""
    with store.reading() as connection:
        return _wholes(store, connection, subject_ids)


def take(store: Store, wholes: Sequence[Whole]) -> int:
    """Enroll subjects of another part, in one transaction. Subjects that are here already, with equal content, stay.

    Returns:
        How many were not here before.

    Raises:
        AlreadyEnrolled: where a subject is here with other encounters, templates, status, level or labels;
            then none is taken.
    """
    taken = 0
    with store.writing() as transaction:
        ids = transaction.find(whole.subject_id for whole in wholes)
        present = {whole.subject_id: whole for whole in _wholes(store, transaction.connection, ids)}
        for whole in wholes:
            known = present.get(whole.subject_id)
            if known is None:
                _take(transaction, whole)
                taken += 1
            elif known != whole:
                raise AlreadyEnrolled(
                    f"{store.name}: subject {whole.subject_id!r} is enrolled here already, with other content"
                ).about(whole.subject_id)
    return taken


def drop(store: Store, subject_ids: Iterable[str]) -> None:
    """Remove the given subjects that are here, after another part has enrolled them."""
    with store.writing() as transaction:
        keys = transaction.find(subject_ids)
        transaction.remove_subjects(keys.values())
        for subject_id in sorted(keys, key=keys.__getitem__):
            transaction.log("give", subject_id, "to another part")


def _take(transaction: Transaction, whole: Whole) -> None:
    key = transaction.new_subject(whole.subject_id)
    for encounter_id, enrolled, templates in whole.encounters:
        transaction.add_encounter(key, whole.subject_id, encounter_id, templates, enrolled=enrolled)
    transaction.set_level(key, whole.level)
    transaction.set_status(key, Status(whole.status), whole.reason, whole.since)
    transaction.add_labels(key, whole.labels)
    transaction.log("take", whole.subject_id, f"{len(whole.encounters)} encounters")


def _wholes(store: Store, connection: sa.Connection, subject_ids: Iterable[str]) -> list[Whole]:
    rows = sorted(subjects_by_id(connection, subject_ids).values(), key=lambda row: row.key)
    encounters_of(connection, rows)  # which finds all of them, and checks them
    own: dict[int, dict[int, MovedEncounter]] = {row.key: {} for row in rows}
    references = list(select_in(connection, REFERENCES, schema.subjects.c.key, own))
    try:
        natives = natives_of(references, store.cipher, lambda: state_of(connection).plain_from)
    except StoreError as error:
        raise StoreError(f"{store.name}: {error}") from error
    for row, plain in zip(references, natives, strict=True):
        moved = MovedEncounter(row.encounter_id, row.enrolled, [])
        encounter = own[row.subject].setdefault(row.encounter, moved)
        encounter.templates.append((row.position, bytes(plain)))
    return [
        Whole(
            row.subject_id,
            row.status,
            row.status_reason,
            row.status_time,
            row.level,
            labels_of(connection, row) if row.labels else [],
            [encounter for _, encounter in sorted(own[row.key].items())],
        )
        for row in rows
    ]
