# SPDX-License-Identifier: Apache-2.0
"""What a service keeps of encounters beside their templates: status, galleries, and OSIA's message.

An OSIA gallery is a label of the engine. Labels belong to subjects, OSIA's galleries to encounters: a subject has
the labels of all its active encounters, and searches leave out the encounters that are not in the gallery asked
for. An encounter that was enrolled by other means is active, and in the galleries that its subject's labels name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import sqlalchemy as sa

from abis.service import tables
from abis.service.messages import EncounterMessage
from abis.service.refusals import Refusal
from abis.store import Status, not_enrolled, schema
from abis.store.chain import subjects_or_proof
from abis.store.encryption import Cipher
from abis.store.kept import keep, kept
from abis.store.queries import labels_of_all, select_in
from abis.store.records import from_microseconds
from abis.store.transaction import Transaction

__all__ = [
    "ALL",
    "Known",
    "Person",
    "StoredEncounter",
    "adopt",
    "checked_galleries",
    "keep_again",
    "keep_record",
    "person",
    "persons",
    "put",
    "record_of",
    "relabel",
]

ALL = "ALL"
"""OSIA's name for all galleries; as a gallery of an encounter: in none in particular."""


class StoredEncounter(EncounterMessage, kw_only=True):
    """What is kept of a message, and how many templates each of its biometric data has."""

    counts: list[int]


@dataclass(frozen=True)
class Known:
    """An encounter as the service knows it.

    Attributes:
        key: of the store.
        enrolled: when; None where the store does not know.
        updated: when the service last wrote it, or None.
        active: whether searches and verifications take it.
        galleries: sorted.
        record: key of OSIA's message, or None.
        is_own: whether the service has a row for it.
    """

    key: int
    enrolled: datetime | None
    updated: datetime | None
    active: bool
    galleries: tuple[str, ...]
    record: int | None
    is_own: bool

    def is_in(self, gallery: str) -> bool:
        """Whether a search in a gallery takes it."""
        return self.active and (gallery == ALL or gallery in self.galleries)


@dataclass(frozen=True)
class Person:
    """A subject as the service knows it.

    Attributes:
        key: of the store.
        status: of the identity.
        encounters: by encounter id, in the order of enrolment.
    """

    key: int
    status: Status
    encounters: dict[str, Known]

    def encounter(self, person_id: str, encounter_id: str) -> Known:
        """One of them.

        Raises:
            Refusal: there is none of this id.
        """
        known = self.encounters.get(encounter_id)
        if known is None:
            raise Refusal(404, f"person {person_id!r} has no encounter {encounter_id!r}")
        return known


def checked_galleries(galleries: Sequence[str]) -> tuple[str, ...]:
    """Galleries of a request, sorted.

    Raises:
        Refusal: one is no name.
    """
    for gallery in galleries:
        if not 1 <= len(gallery) <= schema.MAX_ID or any(
            c == "\0" or "\ud800" <= c <= "\udfff" for c in gallery
        ):
            raise Refusal(400, f"galleries: {gallery!r} is not a name of 1 to {schema.MAX_ID} characters")
    return tuple(sorted(galleries))


_STORED, _OWN = schema.encounters.c, tables.encounters.c
_ENCOUNTERS = (
    sa.select(
        _STORED.subject,
        _STORED.key,
        _STORED.encounter_id,
        _STORED.enrolled,
        _OWN.encounter.label("own"),
        _OWN.active,
        _OWN.updated,
        _OWN.kept,
    )
    .join_from(schema.encounters, tables.encounters, _OWN.encounter == _STORED.key, isouter=True)
    .order_by(_STORED.key)
)
_GALLERIES = sa.select(tables.galleries.c.encounter, tables.galleries.c.gallery)


def persons(connection: sa.Connection, person_ids: Iterable[str]) -> dict[str, Person]:
    """Those of the persons that are enrolled, by id."""
    subjects = subjects_or_proof(connection, list(person_ids))
    by_key = {row.key: row for row in subjects.values()}
    rows = list(select_in(connection, _ENCOUNTERS, _STORED.subject, by_key))
    galleries: dict[int, list[str]] = {}
    own = [row.key for row in rows if row.own is not None]
    for encounter, gallery in select_in(connection, _GALLERIES, tables.galleries.c.encounter, own):
        galleries.setdefault(encounter, []).append(gallery)
    others = {row.subject: by_key[row.subject] for row in rows if row.own is None}
    labels = labels_of_all(connection, others.values())
    found = {key: Person(key, Status(row.status), {}) for key, row in by_key.items()}
    for row in rows:
        is_own = row.own is not None
        found[row.subject].encounters[row.encounter_id] = Known(
            row.key,
            from_microseconds(row.enrolled),
            from_microseconds(row.updated),
            bool(row.active) if is_own else True,
            tuple(sorted(galleries.get(row.key, ())) if is_own else labels[row.subject]),
            row.kept,
            is_own,
        )
    return {row.subject_id: found[key] for key, row in by_key.items()}


def person(connection: sa.Connection, person_id: str) -> Person:
    """One person.

    Raises:
        NotEnrolled: where there is none.
    """
    found = persons(connection, [person_id]).get(person_id)
    if found is None:
        raise not_enrolled(person_id)
    return found


def adopt(transaction: Transaction, known: Person, *, without: str | None = None) -> None:
    """Write rows for those encounters of a person that have none, so that galleries become their own.

    Args:
        transaction: of the store.
        known: the person.
        without: id of an encounter whose row the caller writes.
    """
    for name, encounter in known.encounters.items():
        if not encounter.is_own and name != without:
            put(transaction, encounter.key, active=True, galleries=encounter.galleries, record=None)


def put(
    transaction: Transaction,
    encounter: int,
    *,
    active: bool,
    galleries: Collection[str],
    record: int | None,
) -> None:
    """Write the row of an encounter that has none.

    Args:
        transaction: that has written the encounter.
        encounter: its key.
        active: its status.
        galleries: that it is in; ALL stands for none in particular.
        record: key of OSIA's message, which is kept already; None: there is none.
    """
    connection = transaction.connection
    values = {"encounter": encounter, "active": active, "updated": transaction.now, "kept": record}
    connection.execute(tables.encounters.insert().values(values))
    rows = [{"encounter": encounter, "gallery": gallery} for gallery in galleries]
    if rows:
        connection.execute(tables.galleries.insert(), rows)


def relabel(transaction: Transaction, person_id: str) -> None:
    """Give a subject the labels of its active encounters' galleries, once its rows are written."""
    known = person(transaction.connection, person_id)
    wanted = {gallery for e in known.encounters.values() if e.active for gallery in e.galleries} - {ALL}
    if wanted == set(transaction.labels_of(known.key)):
        return
    transaction.remove_labels(known.key)
    transaction.add_labels(known.key, wanted)


def keep_record(transaction: Transaction, record: StoredEncounter) -> int:
    """Keep the message that an encounter was written with; returns the key for its row."""
    return keep(transaction.connection, transaction.cipher, msgspec.json.encode(record))


def keep_again(transaction: Transaction, known: Known) -> int | None:
    """Keep a copy of an encounter's message, for the row that the encounter will have elsewhere."""
    if known.record is None:
        return None
    content = kept(transaction.connection, transaction.cipher, known.record)
    return keep(transaction.connection, transaction.cipher, content)


def record_of(connection: sa.Connection, cipher: Cipher | None, known: Known) -> StoredEncounter | None:
    """The message that an encounter was written with; None where it was enrolled by other means."""
    if known.record is None:
        return None
    return msgspec.json.decode(kept(connection, cipher, known.record), type=StoredEncounter)
