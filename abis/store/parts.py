# SPDX-License-Identifier: Apache-2.0
"""A store that is one part of a gallery spread over several: which part it is, and subjects that change parts.

What a part is of stands in its own database. So whoever opens a store in the belief that it is part 3 of 8 can
tell whether it is, also after its place has been given to another, or the whole has been divided anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import sqlalchemy as sa

from abis.errors import AlreadyEnrolled, StoreError
from abis.store import schema
from abis.store.queries import REFERENCES, keys_of_subjects, select_in, state_of
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

_PART = "part"  # the name of the setting


@dataclass(frozen=True)
class Part:
    """Which part of what a store is.

    Attributes:
        whole: the id of the gallery that is spread.
        number: from 0.
        of: how many parts there are.
        version: of the division; grows when the whole is divided anew.
        moving: whether subjects are being moved between parts now: nobody may enroll or search.
    """

    whole: str
    number: int
    of: int
    version: int
    moving: bool = False

    def __str__(self) -> str:
        return f"part {self.number} of {self.of} of {self.whole}, version {self.version}"


def read_part(store: Store) -> Part | None:
    """Which part the store is; None where it is one by itself."""
    with store.reading() as connection:
        return part_of(connection)


def part_of(connection: sa.Connection) -> Part | None:
    """The same, within a transaction."""
    settings = schema.settings.c
    content = connection.scalar(sa.select(settings.content).where(settings.name == _PART))
    return None if content is None else Part(**json.loads(content))


def set_part(store: Store, part: Part | None) -> None:
    """Make the store this part, or one by itself."""
    settings = schema.settings
    with store.writing() as transaction:
        transaction.connection.execute(settings.delete().where(settings.c.name == _PART))
        if part is not None:
            content = json.dumps(asdict(part))
            transaction.connection.execute(settings.insert().values(name=_PART, content=content))
        transaction.log("set_part", "", "none" if part is None else str(part))


def calibrations(store: Store) -> list[str]:
    """The calibrations that were set for this store, each as it was given: parts of one whole have the same."""
    settings = schema.settings.c
    query = sa.select(settings.content).order_by(settings.name)
    with store.reading() as connection:
        return list(connection.scalars(query.where(settings.name.startswith("calibration:"))))


def calibrations_digest(store: Store) -> str:
    """A digest of them."""
    return hashlib.sha256(json.dumps(calibrations(store)).encode()).hexdigest()


def ids_after(store: Store, key: int, limit: int) -> list[tuple[int, str]]:
    """(key, subject_id) of the next subjects in the order of enrolment."""
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
    templates: Sequence[tuple[int, bytes]]


class Whole(NamedTuple):
    """All that a store holds of a subject, but for its log."""

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
    """All there is of those of the subjects that are enrolled, as of one moment."""
    with store.reading() as connection:
        return _wholes(store, connection, subject_ids)


def take(
    store: Store, wholes: Sequence[Whole], *, also: Callable[[sa.Connection], None] | None = None
) -> int:
    """Enroll subjects as they were elsewhere, in one transaction; those that are here already stay.

    Returns:
        How many were not here before.

    Raises:
        AlreadyEnrolled: where a subject is here with other encounters, templates, status, level or labels;
            then none is taken.
    """
    taken = 0
    with store.writing() as transaction:
        if also is not None:
            also(transaction.connection)
        present = {
            w.subject_id: w for w in _wholes(store, transaction.connection, [w.subject_id for w in wholes])
        }
        for whole in wholes:
            known = present.get(whole.subject_id)
            if known is None:
                _take(transaction, whole)
                taken += 1
            elif known != whole:
                raise AlreadyEnrolled(
                    f"{store.name}: subject {whole.subject_id!r} is enrolled here already, with other content"
                )
        transaction.write()
        for whole in wholes:
            if whole.subject_id not in present:
                _set_status(transaction, whole)
    return taken


def drop(store: Store, subject_ids: Iterable[str]) -> None:
    """Remove those of the subjects that are here: they have been taken elsewhere."""
    with store.writing() as transaction:
        keys = keys_of_subjects(transaction.connection, subject_ids)
        for subject_id, key in sorted(keys.items(), key=lambda item: item[1]):
            transaction.remove(key, transaction.encounters_of(key, subject_id, None))
            transaction.remove_subject_if_empty(key)
            transaction.log("give", subject_id, "to another part")


def _take(transaction: Transaction, whole: Whole) -> None:
    key = transaction.new_subject(whole.subject_id)
    for encounter_id, enrolled, templates in whole.encounters:
        transaction.enroll(key, whole.subject_id, encounter_id, templates, enrolled=enrolled)
    transaction.set_level(key, whole.level)
    transaction.add_labels(key, whole.labels)
    transaction.log("take", whole.subject_id, f"{len(whole.encounters)} encounters")


def _set_status(transaction: Transaction, whole: Whole) -> None:
    if whole.since is not None:
        columns = schema.subjects.c
        update = schema.subjects.update().where(columns.subject_id == whole.subject_id)
        values = {"status": whole.status, "status_reason": whole.reason, "status_time": whole.since}
        transaction.connection.execute(update.values(values))


def _wholes(store: Store, connection: sa.Connection, subject_ids: Iterable[str]) -> list[Whole]:
    subjects, encounters, labels = schema.subjects, schema.encounters, schema.labels
    ids = list(subject_ids)
    rows = {r.key: r for r in select_in(connection, sa.select(subjects), subjects.c.subject_id, ids)}
    own_labels: dict[int, list[str]] = {}
    for row in select_in(connection, sa.select(labels), labels.c.subject, rows):
        own_labels.setdefault(row.subject, []).append(row.label)
    own: dict[int, dict[int, MovedEncounter]] = {}
    query = sa.select(encounters).order_by(encounters.c.key)
    for row in select_in(connection, query, encounters.c.subject, rows):
        own.setdefault(row.subject, {})[row.key] = MovedEncounter(row.encounter_id, row.enrolled, [])
    references = list(select_in(connection, REFERENCES, subjects.c.key, rows))
    try:
        natives = natives_of(references, store.cipher, lambda: state_of(connection).reseal_from)
    except StoreError as error:
        raise StoreError(f"{store.name}: {error}") from error
    for row, plain in zip(references, natives, strict=True):
        templates = own[row.subject][row.encounter].templates
        assert isinstance(templates, list)
        templates.append((row.position, bytes(plain)))
    for key, row in rows.items():
        found = sum(len(encounter.templates) for encounter in own.get(key, {}).values())
        if found != row.templates:
            raise StoreError(
                f"{store.name}: subject {row.subject_id!r} has {row.templates} templates, but {found} are found; "
                "`abis check` says more"
            )
    return [
        Whole(
            row.subject_id,
            int(Status(row.status)),
            row.status_reason,
            row.status_time,
            row.level,
            sorted(own_labels.get(key, ())),
            list(own.get(key, {}).values()),
        )
        for key, row in sorted(rows.items())
    ]
