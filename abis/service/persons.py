# SPDX-License-Identifier: Apache-2.0
"""Persons and encounters: written, read, merged, moved. Each write is one transaction of the store."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa
from msgspec import UNSET

from abis.errors import AlreadyEnrolled, NotEnrolled
from abis.formats import native
from abis.gallery import Gallery
from abis.service import tables
from abis.service.biometrics import computed, format_name, subtype_of, template_text, type_of
from abis.service.encounters import (
    ALL,
    Known,
    Person,
    StoredEncounter,
    adopt,
    checked_galleries,
    keep_again,
    keep_record,
    person,
    persons,
    put,
    record_of,
    relabel,
)
from abis.service.messages import BiometricComputedData, BiometricData, EncounterMessage, PersonIds
from abis.service.refusals import Refusal
from abis.store import Enrollment, StoredTemplate, check_id, lifecycle, schema
from abis.store.records import microseconds
from abis.store.transaction import Transaction
from abis.template import Template

__all__ = ["New", "Note", "Persons"]

Note: TypeAlias = Callable[[sa.Connection, object], None]
"""Is called with the answer, in the transaction that does what is asked for."""


@dataclass(frozen=True, repr=False)
class New:
    """An encounter of a request, and the templates of its biometric data.

    Attributes:
        message: without images and templates.
        templates: one sequence for each biometric datum.
    """

    message: EncounterMessage
    templates: Sequence[Sequence[Template]]

    @property
    def all_templates(self) -> list[Template]:
        """The templates of all samples, at least one.

        Raises:
            Refusal: there is none.
        """
        found = [template for own in self.templates for template in own]
        if not found:
            raise Refusal(
                400, "biometricData: empty; expected at least one sample of a finger, a face or an eye"
            )
        return found


class Persons:
    """What OSIA's operations do to persons.

    Args:
        gallery: that the persons are enrolled in.
        check: is called in each transaction, and raises where it must not go on; None: nothing is checked.
    """

    def __init__(self, gallery: Gallery, check: Callable[[sa.Connection], None] | None = None) -> None:
        self._internals = gallery.internals
        self._store = gallery.internals.store
        self._check = check
        tables.create(self._store)

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        with self._store.writing() as transaction:
            if self._check is not None:
                self._check(transaction.connection)
            yield transaction

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._store.reading() as connection:
            if self._check is not None:
                self._check(connection)
            yield connection

    # ---------------------------------------------------------------------------------------- writing

    def create(self, person_id: str, encounter_id: str | None, new: New, note: Note) -> PersonIds:
        """Enroll an encounter; an encounter id that is None is made.

        Raises:
            AlreadyEnrolled: the encounter is there.
        """
        ids = PersonIds(
            person_id=person_id, encounter_id=str(uuid.uuid4()) if encounter_id is None else encounter_id
        )
        check_id("encounterId", ids.encounter_id)
        galleries = checked_galleries(new.message.galleries)
        enrollment = Enrollment(ids.person_id, new.all_templates, ids.encounter_id)

        def write(transaction: Transaction) -> None:
            known = person(transaction.connection, ids.person_id)
            adopt(transaction, known, without=ids.encounter_id)
            _put(transaction, known.encounters[ids.encounter_id].key, new, galleries)
            relabel(transaction, ids.person_id)
            note(transaction.connection, ids)

        self.enroll(enrollment, write)
        return ids

    def enroll(self, enrollment: Enrollment, write: Callable[[Transaction], None]) -> None:
        """Enroll an encounter, and write more in the same transaction.

        Raises:
            AlreadyEnrolled: the encounter is there.
        """
        with self._internals.enrolling([enrollment]) as transaction:
            if self._check is not None:
                self._check(transaction.connection)
            write(transaction)

    def update(self, person_id: str, encounter_id: str, new: New, note: Note) -> PersonIds:
        """Replace an encounter.

        Raises:
            NotEnrolled, Refusal: there is no such encounter.
        """
        templates = [(int(t.position), native.write(t)) for t in new.all_templates]
        galleries = checked_galleries(new.message.galleries)
        ids = PersonIds(person_id=person_id, encounter_id=encounter_id)
        with self._writing() as transaction:
            known = person(transaction.connection, person_id)
            before = known.encounter(person_id, encounter_id)
            adopt(transaction, known)
            transaction.remove(known.key, [before.key])
            enrolled = None if before.enrolled is None else microseconds(before.enrolled)
            key = transaction.add_encounter(known.key, person_id, encounter_id, templates, enrolled=enrolled)
            transaction.log("update", person_id, f"encounter {encounter_id}")
            transaction.write()
            _put(transaction, key, new, galleries)
            relabel(transaction, person_id)
            note(transaction.connection, ids)
        return ids

    def delete(self, person_id: str, encounter_id: str | None, note: Note) -> None:
        """Remove an encounter, or all of a person; with the last encounter goes the person.

        Raises:
            NotEnrolled, Refusal: there is no such person or encounter.
        """
        with self._writing() as transaction:
            known = person(transaction.connection, person_id)
            if encounter_id is None:
                keys = [e.key for e in known.encounters.values()]
            else:
                keys = [known.encounter(person_id, encounter_id).key]
                adopt(transaction, known)
            transaction.remove(known.key, keys)
            gone = transaction.remove_subject_if_empty(known.key)
            transaction.log("remove", person_id, "subject" if gone else f"encounter {encounter_id}")
            if not gone:
                transaction.write()
                relabel(transaction, person_id)
            note(transaction.connection, None)

    def merge(self, target_id: str, source_id: str, note: Note) -> None:
        """Give all encounters of one person to another.

        Raises:
            NotEnrolled: one of them is not there.
            AlreadyEnrolled: both have an encounter of the same id.
        """
        with self._writing() as transaction:
            source, target = _two(transaction, source_id, target_id)
            if both := sorted(source.encounters.keys() & target.encounters.keys()):
                raise AlreadyEnrolled(f"both persons have an encounter {both[0]!r}")
            adopt(transaction, target)
            rows = _rows_of(transaction, source, source.encounters)
            lifecycle.merge_within(transaction, source_id, target_id)
            self._moved(transaction, target_id, rows, note)

    def move(self, target_id: str, source_id: str, encounter_id: str, note: Note) -> None:
        """Give one encounter of a person to another; with its last one the former goes.

        Raises:
            NotEnrolled, Refusal: one of them is not there.
            AlreadyEnrolled: the target has an encounter of the same id.
        """
        with self._writing() as transaction:
            source, target = _two(transaction, source_id, target_id)
            source.encounter(source_id, encounter_id)
            adopt(transaction, source)
            adopt(transaction, target)
            rows = _rows_of(transaction, source, [encounter_id])
            lifecycle.move_within(transaction, encounter_id, source_id, target_id)
            if source.encounters.keys() - {encounter_id}:
                transaction.write()
                relabel(transaction, source_id)
            self._moved(transaction, target_id, rows, note)

    def _moved(
        self, transaction: Transaction, target_id: str, rows: dict[str, tuple[Known, int | None]], note: Note
    ) -> None:
        """Write the rows of encounters that have new keys now."""
        transaction.write()
        now_known = person(transaction.connection, target_id)
        for encounter_id, (before, record) in rows.items():
            put(
                transaction,
                now_known.encounters[encounter_id].key,
                active=before.active,
                galleries=before.galleries,
                record=record,
            )
        relabel(transaction, target_id)
        note(transaction.connection, None)

    def set_status(self, person_id: str, encounter_id: str, note: Note, *, active: bool) -> None:
        """Have searches and verifications take an encounter, or leave it out.

        Raises:
            NotEnrolled, Refusal: there is no such encounter.
        """
        with self._writing() as transaction:
            key = self._own(transaction, person_id, encounter_id)
            own = tables.encounters
            transaction.connection.execute(
                own.update().where(own.c.encounter == key).values(active=active, updated=transaction.now)
            )
            transaction.log(
                "set_encounter_status",
                person_id,
                f"encounter {encounter_id}: {'ACTIVE' if active else 'INACTIVE'}",
            )
            relabel(transaction, person_id)
            note(transaction.connection, None)

    def set_galleries(self, person_id: str, encounter_id: str, galleries: Sequence[str], note: Note) -> None:
        """Put an encounter into these galleries, in place of those it was in.

        Raises:
            Refusal: a gallery is named twice, or has no name.
            NotEnrolled, Refusal: there is no such encounter.
        """
        checked = checked_galleries(galleries)
        with self._writing() as transaction:
            key = self._own(transaction, person_id, encounter_id)
            own = tables.galleries
            connection = transaction.connection
            connection.execute(own.delete().where(own.c.encounter == key))
            connection.execute(own.insert(), [{"encounter": key, "gallery": gallery} for gallery in checked])
            rows = tables.encounters
            connection.execute(rows.update().where(rows.c.encounter == key).values(updated=transaction.now))
            transaction.log("set_encounter_galleries", person_id, f"encounter {encounter_id}")
            relabel(transaction, person_id)
            note(connection, None)

    def _own(self, transaction: Transaction, person_id: str, encounter_id: str) -> int:
        """The key of an encounter that has a row now, as all of its person have."""
        known = person(transaction.connection, person_id)
        encounter = known.encounter(person_id, encounter_id)
        adopt(transaction, known)
        return encounter.key

    # ---------------------------------------------------------------------------------------- reading

    def read(self, person_id: str, encounter_id: str | None) -> list[EncounterMessage]:
        """One encounter of a person, or all of them in the order of enrolment.

        Images are not kept; each biometric datum comes with its template.

        Raises:
            NotEnrolled, Refusal: there is no such person or encounter.
        """
        own = self._templates(person_id)
        with self._reading() as connection:
            known = person(connection, person_id)
            wanted = known.encounters
            if encounter_id is not None:
                wanted = {encounter_id: known.encounter(person_id, encounter_id)}
            cipher = self._store.cipher
            records = {name: record_of(connection, cipher, each) for name, each in wanted.items()}
        return [
            _message(name, each, records[name], [t.template for t in own.get(name, ())])
            for name, each in wanted.items()
        ]

    def templates(
        self,
        person_id: str,
        encounter_id: str,
        *,
        biometric_type: str | None = None,
        biometric_sub_type: str | None = None,
        instance: str | None = None,
        template_format: str | None = None,
    ) -> list[BiometricComputedData]:
        """The templates of an encounter, those of a type, sub type or instance alone where one is given.

        Raises:
            NotEnrolled, Refusal: there is no such encounter.
        """
        own = self._templates(person_id)
        with self._reading() as connection:
            known = person(connection, person_id).encounter(person_id, encounter_id)
            record = record_of(connection, self._store.cipher, known)
        found = []
        for data, templates in _paired(record, [t.template for t in own.get(encounter_id, ())]):
            if instance is not None and (data is None or data.instance != instance):
                continue
            for template in templates:
                if biometric_type not in (None, type_of(template.position)):
                    continue
                if biometric_sub_type not in (None, subtype_of(template.position)):
                    continue
                answer = computed(template, template_format)
                if data is not None and data.instance is not UNSET:
                    answer.instance = data.instance
                found.append(answer)
        return found

    def known(self, person_ids: Iterable[str]) -> dict[str, Person]:
        """Those of the persons that are enrolled, by id."""
        with self._reading() as connection:
            return persons(connection, person_ids)

    def inside(
        self, known: Mapping[str, Person], gallery: str, passes: Callable[[Mapping[str, Any]], bool] | None
    ) -> dict[str, set[str]]:
        """The ids of those encounters of persons that a search takes.

        Args:
            known: the persons, by id.
            gallery: that is searched.
            passes: tells by the biographic data of an encounter whether it fulfils the filter; None: all do.
        """
        found = {
            person_id: {name for name, each in own.encounters.items() if each.is_in(gallery)}
            for person_id, own in known.items()
        }
        if passes is None:
            return found
        with self._reading() as connection:
            for person_id, names in found.items():
                for name in list(names):
                    record = record_of(connection, self._store.cipher, known[person_id].encounters[name])
                    data = None if record is None else record.biographic_data
                    if not passes(data if isinstance(data, dict) else {}):
                        names.discard(name)
        return found

    def probe(self, person_id: str, encounter_id: str | None) -> list[Template]:
        """The templates of a person's active encounters, or of one encounter, to search by.

        Raises:
            NotEnrolled, Refusal: there is no such person or encounter.
        """
        own = self._templates(person_id)
        with self._reading() as connection:
            known = person(connection, person_id)
        if encounter_id is not None:
            known.encounter(person_id, encounter_id)
            return [t.template for t in own.get(encounter_id, ())]
        return [
            t.template
            for name, templates in own.items()
            if name in known.encounters and known.encounters[name].active
            for t in templates
        ]

    def _templates(self, person_id: str) -> dict[str, list[StoredTemplate]]:
        check_id("personId", person_id)
        found: dict[str, list[StoredTemplate]] = {}
        try:
            references = self._store.references(person_id)
        except NotEnrolled:
            with self._reading():  # which says so if the person may be in another shard by now
                raise
        for stored in references:
            found.setdefault(stored.encounter_id, []).append(stored)
        return found

    # -------------------------------------------------------------------------------------- galleries

    def galleries(self) -> list[str]:
        """Names of all galleries that encounters are in, sorted."""
        totals, own = schema.label_totals.c, tables.galleries.c
        with self._reading() as connection:
            labels = connection.scalars(sa.select(totals.label)).all()
            named = connection.scalars(sa.select(own.gallery).distinct()).all()
        return sorted({*labels, *named} - {ALL})

    def has_gallery(self, gallery: str) -> bool:
        """Whether something is in a gallery."""
        totals, own = schema.label_totals.c, tables.galleries.c
        check_id("galleryId", gallery)
        with self._reading() as connection:
            if connection.scalar(sa.select(totals.label).where(totals.label == gallery)) is not None:
                return True
            found = connection.scalar(sa.select(own.gallery).where(own.gallery == gallery).limit(1))
        return found is not None

    def content(self, gallery: str, offset: int, limit: int) -> list[PersonIds]:
        """The encounters of a gallery, whatever their status, in the order of enrolment."""
        stored, subjects = schema.encounters.c, schema.subjects.c
        query = _in_gallery(gallery, sa.select(subjects.subject_id, stored.encounter_id))
        query = query.order_by(stored.key).offset(offset).limit(limit)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [PersonIds(person_id=row.subject_id, encounter_id=row.encounter_id) for row in rows]

    def count(self, gallery: str) -> int:
        """How many encounters are in a gallery, whatever their status."""
        with self._reading() as connection:
            return int(connection.scalar(_in_gallery(gallery, sa.select(sa.func.count()))) or 0)


def _in_gallery(gallery: str, query: sa.Select[Any]) -> sa.Select[Any]:
    """A query of encounters and their subjects, of those in a gallery alone."""
    stored, own = schema.encounters.c, tables.encounters.c
    query = query.join_from(schema.encounters, schema.subjects)
    if gallery == ALL:
        return query
    named = sa.select(tables.galleries.c.encounter).where(tables.galleries.c.gallery == gallery)
    labelled = sa.select(schema.labels.c.subject).where(schema.labels.c.label == gallery)
    return query.join(tables.encounters, own.encounter == stored.key, isouter=True).where(
        sa.or_(stored.key.in_(named), sa.and_(own.encounter.is_(None), stored.subject.in_(labelled)))
    )


def _put(transaction: Transaction, key: int, new: New, galleries: Sequence[str]) -> None:
    fields = {name: getattr(new.message, name) for name in EncounterMessage.__struct_fields__}
    record = keep_record(transaction, StoredEncounter(**fields, counts=[len(own) for own in new.templates]))
    put(transaction, key, active=new.message.status == "ACTIVE", galleries=galleries, record=record)


def _two(transaction: Transaction, source_id: str, target_id: str) -> tuple[Person, Person]:
    if source_id == target_id:
        raise Refusal(400, f"source and target are both {source_id!r}; expected two persons")
    return person(transaction.connection, source_id), person(transaction.connection, target_id)


def _rows_of(
    transaction: Transaction, source: Person, names: Iterable[str]
) -> dict[str, tuple[Known, int | None]]:
    """Encounters that go elsewhere, and the keys of their messages for their new rows."""
    return {
        name: (source.encounters[name], keep_again(transaction, source.encounters[name])) for name in names
    }


def _paired(
    record: StoredEncounter | None, templates: Sequence[Template]
) -> Iterator[tuple[BiometricData | None, Sequence[Template]]]:
    """Each biometric datum of a message with its templates; no datum where there is no message."""
    if record is None or sum(record.counts) != len(templates):
        for template in templates:
            yield None, [template]
        return
    start = 0
    for data, count in zip(record.biometric_data, record.counts, strict=True):
        yield data, templates[start : start + count]
        start += count


def _message(
    encounter_id: str, known: Known, record: StoredEncounter | None, templates: Sequence[Template]
) -> EncounterMessage:
    """An encounter as it is read."""
    fields = (
        {} if record is None else {name: getattr(record, name) for name in EncounterMessage.__struct_fields__}
    )
    fields |= {
        "encounter_id": encounter_id,
        "status": "ACTIVE" if known.active else "INACTIVE",
        "galleries": list(known.galleries) or [ALL],
        "biometric_data": [_datum(data, own) for data, own in _paired(record, templates)],
    }
    if fields.get("created_date", UNSET) is UNSET and known.enrolled is not None:
        fields["created_date"] = known.enrolled
    if known.updated is not None:
        fields["updated_date"] = known.updated
    fields.setdefault("encounter_type", "UNKNOWN")
    return EncounterMessage(**fields)


def _datum(data: BiometricData | None, templates: Sequence[Template]) -> BiometricData:
    """A biometric datum with its template as it is read."""
    first = templates[0]
    if data is None:
        data = BiometricData(
            biometric_type=type_of(first.position), biometric_sub_type=subtype_of(first.position)
        )
    name = format_name(first) if data.template_format is UNSET else data.template_format
    data = copy(data)
    try:
        data.template = template_text(templates, name)
    except Refusal:  # several embeddings of one datum, which no format holds together
        return data
    data.template_format = name
    return data
