# SPDX-License-Identifier: Apache-2.0
"""A writing transaction: it collects rows, changes, audit entries and counters, and writes them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from abis.errors import AlreadyEnrolled, NotEnrolled
from abis.store import audit, chain, schema
from abis.store.encryption import Cipher
from abis.store.queries import (
    IDS_PER_QUERY,
    REFERENCES,
    encounters_of,
    label_totals,
    labels_of,
    select_in,
    subjects_by_id,
    subjects_by_key,
)
from abis.store.records import (
    FIRST_ENCOUNTER,
    DamageError,
    Mark,
    Operation,
    State,
    Status,
    StoredEnrollment,
    Written,
    check_id,
    check_room,
    microseconds,
    not_enrolled,
)
from abis.store.rows import SubjectRow, check_encounter, encounter_row, label_share, state_row, tags_of
from abis.store.stored_form import Place, doubts_of, natives_of, stored
from abis.store.tags import xor_of

__all__ = ["Transaction"]

_UNNAMED = audit.Actor("", "")
_ENCOUNTERS = sa.select(schema.encounters)

_WRITTEN = schema.encounters, schema.templates, schema.changes, schema.audit  # after subjects


class Transaction:
    """One write transaction of a store. A store has one at a time.

    Attributes:
        connection: connection that holds the lock of the gallery's row.
        state: counters of the store; written at the end.
        cipher: cipher that seals templates.
        tags: tags that authenticate rows.
        now: time of everything that the transaction writes, in microseconds.
    """

    def __init__(self, connection: sa.Connection, state: State, cipher: Cipher | None) -> None:
        self.connection = connection
        self.state = state
        self.cipher = cipher
        self.tags = tags_of(connection)
        self.now = microseconds(datetime.now(UTC))
        self._actor = audit.actor() or _UNNAMED
        self._subjects: dict[int, SubjectRow] = {}  # rows as they will be written, new ones included
        self._new: list[SubjectRow] = []
        self._changed: set[int] = set()  # keys of rows to be written again
        self._labels: dict[int, set[str]] = defaultdict(set)  # to be added
        self._totals: dict[str, tuple[int, int]] = {}  # more subjects with a label, and their keys by XOR
        self._templates: list[tuple[Place, bytes]] = []  # native forms, to be sealed all at once
        self._rows: dict[sa.Table, list[tuple[object, ...]]] = {table: [] for table in _WRITTEN}

    # ----------------------------------------------------------------------------------------- subjects

    def key_of(self, subject_id: str) -> int:
        """The key of a subject.

        Raises:
            NotEnrolled: the subject is not enrolled.
        """
        check_id("subject_id", subject_id)
        found = self.find([subject_id])
        if not found:
            raise not_enrolled(subject_id)
        return found[subject_id]

    def find(self, subject_ids: Iterable[str], *, proof: bool = True) -> dict[str, int]:
        """Keys of the given subjects that are enrolled, by subject_id.

        Args:
            subject_ids: ids to look for.
            proof: prove that the other ids are not enrolled. False is safe for ids of new subjects, which
                :meth:`write` proves.
        """
        rows = (chain.subjects_or_proof if proof else subjects_by_id)(self.connection, subject_ids)
        return {subject_id: self._known(row).key for subject_id, row in rows.items()}

    def subject(self, key: int) -> SubjectRow:
        """A subject's row with this transaction's changes. Only methods of this class may change it.

        Raises:
            DamageError: the table has no such row.
        """
        row = self._subjects.get(key)
        if row is None:
            row = subjects_by_key(self.connection, [key]).get(key)
            if row is None:
                raise DamageError(f"row {key} of table subjects is not found")
            self._subjects[key] = row
        return row

    def new_subject(self, subject_id: str) -> int:
        """Add a subject that :meth:`find` did not find, and return its key. The caller enrolls an encounter."""
        self.state.last_subject += 1
        self.state.subjects += 1
        row = SubjectRow(self.state.last_subject, subject_id)
        self._subjects[row.key] = row
        self._new.append(row)
        return row.key

    def set_level(self, subject: int, level: int) -> None:
        """State the assurance level."""
        self._change_subject(subject).level = level

    def set_status(self, subject: int, status: Status, reason: str, time: int | None) -> None:
        """Say whether the identity may be used."""
        row = self._change_subject(subject)
        row.status, row.status_reason, row.status_time = int(status), reason, time

    def add_labels(self, subject: int, labels: Iterable[str]) -> None:
        """Labels beside those the subject has."""
        if labels:
            self._labels[subject] |= set(labels)

    def labels_of(self, subject: int) -> list[str]:
        """The labels a subject has in the store, sorted."""
        return labels_of(self.connection, self.subject(subject))

    def remove_labels(self, subject: int) -> None:
        """Take all labels from a subject, now."""
        for label in self.labels_of(subject):
            self._total(label, -1, subject)
        self.connection.execute(schema.labels.delete().where(schema.labels.c.subject == subject))
        self._change_subject(subject).labels = 0

    # --------------------------------------------------------------------------------------- encounters

    def enroll(self, enrollments: Sequence[StoredEnrollment]) -> Written:
        """Add encounters of new and known subjects, and write them: all, or none where this raises.

        Args:
            enrollments: trusted to be what :class:`Enrollment` would accept.

        Raises:
            AlreadyEnrolled: a subject without an encounter_id is enrolled already (or stands twice in
                ``enrollments``), or an encounter of a subject is enrolled already.
        """
        before = Mark(self.state.change, self.state.last_template)
        subjects = self.find({e.subject_id for e in enrollments}, proof=False)
        known = {(key, encounter_id) for key in subjects.values() for encounter_id in self.encounters_of(key)}
        owners = []
        for subject_id, given_encounter_id, templates, labels, level in enrollments:
            subject = subjects.get(subject_id)
            if subject is None:
                subject = subjects[subject_id] = self.new_subject(subject_id)
            elif given_encounter_id is None:
                raise AlreadyEnrolled(
                    f"subject {subject_id!r} is enrolled already; a further encounter needs an encounter_id"
                ).about(subject_id)
            encounter_id = given_encounter_id or FIRST_ENCOUNTER
            if (subject, encounter_id) in known:
                raise AlreadyEnrolled(
                    f"encounter {encounter_id!r} of subject {subject_id!r} is enrolled already"
                ).about(subject_id)
            known.add((subject, encounter_id))
            check_room(subject_id, self.subject(subject).templates + len(templates))
            encounter = self.add_encounter(subject, subject_id, encounter_id, templates, enrolled=self.now)
            owners.append((subject, encounter))
            self.add_labels(subject, labels)
            if level is not None:
                self.set_level(subject, level)
            doubts = doubts_of(templates)
            self.log(
                "enroll",
                subject_id,
                f"encounter {encounter_id}" + (f"; doubtful: {doubts}" if doubts else ""),
            )
        self.write()
        return Written(before, Mark(self.state.change, self.state.last_template), owners, self.state)

    def add_encounter(
        self,
        subject: int,
        subject_id: str,
        encounter_id: str,
        templates: Sequence[tuple[int, bytes]],
        *,
        enrolled: int | None,
    ) -> int:
        """Add an encounter of (position, native form) each; returns its key."""
        state = self.state
        state.last_encounter += 1
        state.encounters += 1
        encounter = state.last_encounter
        row, share = encounter_row(self.tags, encounter, subject, encounter_id, enrolled)
        self._rows[schema.encounters].append(row)
        for position, plain in templates:
            state.last_template += 1
            self._templates.append((Place(state.last_template, encounter, position, subject_id), plain))
        state.templates += len(templates)
        owner = self._change_subject(subject)
        owner.templates += len(templates)
        owner.encounters ^= share
        self._change(Operation.ENROLL, subject, encounter)
        return encounter

    def encounters_of(self, subject: int) -> dict[str, int]:
        """Keys of all encounters of a subject in the store, by encounter_id, in the order of enrolment."""
        return encounters_of(self.connection, [self.subject(subject)])[subject]

    def encounter_of(self, subject: int, encounter_id: str) -> int:
        """The key of an encounter.

        Raises:
            NotEnrolled: where there is none.
        """
        encounter = self.encounters_of(subject).get(encounter_id)
        if encounter is None:
            subject_id = self.subject(subject).subject_id
            raise NotEnrolled(f"subject {subject_id!r} has no encounter {encounter_id!r}").about(subject_id)
        return encounter

    def templates_of(self, encounters: Iterable[int]) -> dict[int, list[tuple[int, bytes]]]:
        """(position, native form) of the templates of encounters, by encounter."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        rows = self.connection.execute(REFERENCES.where(schema.encounters.c.key.in_(list(encounters)))).all()
        natives = natives_of(rows, self.cipher, lambda: self.state.plain_from)
        for row, plain in zip(rows, natives, strict=True):
            found.setdefault(row.encounter, []).append((row.position, plain))
        return found

    def remove(self, subject: int, encounters: Sequence[int]) -> int:
        """Take encounters of a subject out, now; returns how many templates that were."""
        templates = schema.templates.delete().where(schema.templates.c.encounter.in_(encounters))
        removed = self.connection.execute(templates).rowcount
        rows = select_in(self.connection, _ENCOUNTERS, schema.encounters.c.key, encounters)
        shares = xor_of(check_encounter(row, self.tags) for row in rows)
        self.connection.execute(schema.encounters.delete().where(schema.encounters.c.key.in_(encounters)))
        self.state.templates -= removed
        self.state.encounters -= len(encounters)
        owner = self._change_subject(subject)
        owner.templates -= removed
        owner.encounters ^= shares
        for encounter in encounters:
            self._change(Operation.REMOVE, subject, encounter)
        return removed

    def remove_subject_if_empty(self, subject: int) -> bool:
        """With its last template goes the subject, and its place in the chain."""
        row = self.subject(subject)
        if row.templates:
            return False
        self.remove_labels(subject)
        self._write_subjects()  # so that the index shows the chain as it is
        before = chain.before(self.connection, row, self.state.first_subject)
        if before is None:
            self.state.first_subject = row.next
        else:
            self._change_subject(self._known(before).key).next = row.next
        self.connection.execute(schema.attempts.delete().where(schema.attempts.c.subject == subject))
        self.connection.execute(schema.subjects.delete().where(schema.subjects.c.key == subject))
        self.state.content ^= row.share
        del self._subjects[subject]
        self._changed.discard(subject)
        self.state.subjects -= 1
        return True

    def remove_subjects(self, subjects: Iterable[int]) -> None:
        """Take whole subjects out, now: many of them far faster than one by one."""
        self._write_subjects()  # so that the index shows the chain as it is
        rows = [self.subject(key) for key in subjects]
        encounters = [
            (encounter, key)
            for key, own in encounters_of(self.connection, rows).items()
            for encounter in own.values()
        ]
        for row in rows:
            if row.labels:
                self.remove_labels(row.key)
        before = chain.all_before(self.connection, rows, self.state.first_subject)
        stays: dict[int, SubjectRow | None] = {}  # before each that goes, the last who does not
        for row in sorted(rows, key=lambda row: row.subject_id):
            last = before[row.key]
            if last is not None:
                last = stays[last.key] if last.key in stays else self._known(last)
            stays[row.key] = last
            if last is None:
                self.state.first_subject = row.next
            else:
                self._change_subject(last.key).next = row.next
        keys = [encounter for encounter, _ in encounters]
        self.state.templates -= self._delete(schema.templates.c.encounter, keys)
        self.state.encounters -= self._delete(schema.encounters.c.key, keys)
        self._delete(schema.attempts.c.subject, list(stays))
        self.state.subjects -= self._delete(schema.subjects.c.key, list(stays))
        for key in stays:
            self.state.content ^= self._subjects.pop(key).share
        self._changed.difference_update(stays)
        for encounter, key in sorted(encounters):
            self._change(Operation.REMOVE, key, encounter)

    def _delete(self, column: sa.Column[Any], values: Sequence[int]) -> int:
        count = 0
        for start in range(0, len(values), IDS_PER_QUERY):
            delete = column.table.delete().where(column.in_(values[start : start + IDS_PER_QUERY]))
            count += self.connection.execute(delete).rowcount
        return count

    # -------------------------------------------------------------------------------------------- logs

    def log(self, operation: str, subject_id: str, outcome: str) -> None:
        """Add an entry to the audit log."""
        state = self.state
        state.audit += 1
        fields: list[int | str] = [state.audit, self.now, *self._actor, operation, subject_id, outcome]
        entry = audit.chained(bytes.fromhex(state.audit_hash), fields)
        state.audit_hash = entry.hex()
        self._rows[schema.audit].append((*fields, entry))

    def _change(self, operation: Operation, subject: int, encounter: int) -> None:
        self.state.change += 1
        self._rows[schema.changes].append((self.state.change, int(operation), subject, encounter))

    # --------------------------------------------------------------------------------------------- end

    def write(self) -> None:
        """Write the gathered rows, and clear them."""
        labels = self._new_labels()
        self._write_subjects()
        _insert(self.connection, schema.labels, labels)
        self._write_totals()
        sealed = stored(self._templates, self.cipher)
        for (place, _), data in zip(self._templates, sealed, strict=True):
            self._rows[schema.templates].append((place.template, place.encounter, place.position, data))
        self._templates.clear()
        for table, rows in self._rows.items():
            _insert(self.connection, table, rows)
            rows.clear()
        self.connection.execute(schema.gallery.update().values(state_row(self.state, self.tags)))

    def _known(self, row: SubjectRow) -> SubjectRow:
        """The row as it will be, of one just read."""
        return self._subjects.setdefault(row.key, row)

    def _change_subject(self, key: int) -> SubjectRow:
        self._changed.add(key)
        return self.subject(key)

    def _write_subjects(self) -> None:
        """New ones, each in its place of the chain, and those that have changed."""
        new = {row.subject_id: row for row in self._new}
        for names, gap in chain.gaps(self.connection, sorted(new), self.state.first_subject):
            keys = [new[name].key for name in names]
            if gap.before is None:
                self.state.first_subject = keys[0]
            else:
                self._change_subject(self._known(gap.before).key).next = keys[0]
            last = 0 if gap.after is None else gap.after.key
            for name, following in zip(names, [*keys[1:], last], strict=True):
                new[name].next = following
        _insert(self.connection, schema.subjects, [self._written(row) for row in self._new])
        self._changed.difference_update(row.key for row in self._new)
        self._new.clear()
        changed = [self._written(self._subjects[key]) for key in sorted(self._changed)]
        _update(self.connection, schema.subjects, changed)
        self._changed.clear()

    def _written(self, row: SubjectRow) -> tuple[object, ...]:
        """A subject's row to write; the gallery's content changes with it."""
        before = row.share
        values = row.written(self.tags)
        self.state.content ^= before ^ row.share
        return values

    def _new_labels(self) -> list[tuple[object, ...]]:
        """Rows of table ``labels`` for what is to be added."""
        rows: list[tuple[object, ...]] = []
        new_subjects = {row.key for row in self._new}
        for subject, labels in self._labels.items():
            new = sorted(labels if subject in new_subjects else labels.difference(self.labels_of(subject)))
            self._change_subject(subject).labels ^= xor_of(
                label_share(self.tags, subject, label) for label in new
            )
            for label in new:
                rows.append((subject, label))
                self._total(label, 1, subject)
        self._labels.clear()
        return rows

    def _total(self, label: str, more: int, subject: int) -> None:
        count, keys = self._totals.get(label, (0, 0))
        self._totals[label] = count + more, keys ^ subject

    def _write_totals(self) -> None:
        table = schema.label_totals
        known = label_totals(self.connection, self._totals)
        for label, (more, changed) in self._totals.items():
            count, keys = known.get(label, (0, 0))
            count, keys = count + more, keys ^ changed
            self.connection.execute(table.delete().where(table.c.label == label))
            if count:
                tag, _ = self.tags.of("label_totals", (label, count, keys))
                self.connection.execute(
                    table.insert().values(label=label, subjects=count, keys=keys, checksum=tag)
                )
        self._totals.clear()


def _insert(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert whole rows, in the order of the table's columns.

    SQLAlchemy's own way takes a dictionary for each row and three times as long, most of a migration's time.
    """
    if not rows:
        return
    compiled = table.insert().compile(dialect=connection.dialect)
    if compiled.positional:
        connection.exec_driver_sql(compiled.string, list(rows))
    else:
        names = table.columns.keys()
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])


def _update(connection: sa.Connection, table: sa.Table, rows: Sequence[tuple[object, ...]]) -> None:
    """Write whole rows again, found by their key, the first column."""
    if rows:
        names = table.columns.keys()
        values: dict[str, Any] = {name: sa.bindparam(f"new_{name}") for name in names[1:]}
        update = table.update().where(table.c[names[0]] == sa.bindparam(f"new_{names[0]}")).values(values)
        parameters = [{f"new_{n}": v for n, v in zip(names, row, strict=True)} for row in rows]
        connection.execute(update, parameters)
