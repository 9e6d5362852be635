# SPDX-License-Identifier: Apache-2.0
"""What a writing transaction gathers and writes: rows, changes, audit entries and counters, always together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from abis import audit
from abis.encryption import Cipher
from abis.errors import NotEnrolled
from abis.store import schema
from abis.store.queries import REFERENCES, keys_of_subjects
from abis.store.records import Operation, State, Status, check_id, microseconds, not_enrolled
from abis.store.stored_form import Place, natives_of, stored

__all__ = ["Transaction"]

_NOBODY = audit.Actor("", "")


_WRITTEN = (
    schema.encounters,
    schema.templates,
    schema.changes,
    schema.audit,
)  # after subjects


@dataclass
class _NewSubject:
    key: int
    subject_id: str
    templates: int = 0
    level: int = 0

    @property
    def row(self) -> tuple[object, ...]:
        return self.key, self.subject_id, self.templates, self.level, int(Status.ACTIVE), "", None


class Transaction:
    """The one writer there is at a time.

    Attributes:
        connection: holds the lock of the gallery's row.
        state: the counters; written at the end.
        cipher: seals templates.
        now: microseconds, the same for all that is written.
    """

    def __init__(self, connection: sa.Connection, state: State, cipher: Cipher | None) -> None:
        self.connection = connection
        self.state = state
        self.cipher = cipher
        self.now = microseconds(datetime.now(UTC))
        self._actor = audit.actor() or _NOBODY
        self._new_subjects: dict[int, _NewSubject] = {}
        self._more_templates: Counter[int] = Counter()  # of subjects that were there before
        self._labels: dict[int, set[str]] = defaultdict(set)
        self._rows: dict[sa.Table, list[tuple[object, ...]]] = {table: [] for table in _WRITTEN}

    # ----------------------------------------------------------------------------------------- subjects

    def key_of(self, subject_id: str) -> int:
        """The key of a subject.

        Raises:
            NotEnrolled: where there is none.
        """
        check_id("subject_id", subject_id)
        key = keys_of_subjects(self.connection, [subject_id]).get(subject_id)
        if key is None:
            raise not_enrolled(subject_id)
        return key

    def new_subject(self, subject_id: str) -> int:
        """Make a subject; the caller enrolls an encounter of it."""
        self.state.last_subject += 1
        self.state.subjects += 1
        key = self.state.last_subject
        self._new_subjects[key] = _NewSubject(key, subject_id)
        return key

    def set_level(self, subject: int, level: int) -> None:
        """State the assurance level."""
        if subject in self._new_subjects:
            self._new_subjects[subject].level = level
        else:
            update = schema.subjects.update().where(schema.subjects.c.key == subject)
            self.connection.execute(update.values(level=level))

    def add_labels(self, subject: int, labels: Sequence[str]) -> None:
        """Labels beside those the subject has."""
        if labels:
            self._labels[subject] |= set(labels)

    # --------------------------------------------------------------------------------------- encounters

    def enroll(
        self,
        subject: int,
        subject_id: str,
        encounter_id: str,
        templates: Sequence[tuple[int, bytes]],
        *,
        enrolled: int | None,
    ) -> int:
        """Add an encounter of (position, native form) each; returns its key."""
        state, rows = self.state, self._rows
        state.last_encounter += 1
        state.encounters += 1
        encounter = state.last_encounter
        rows[schema.encounters].append((encounter, subject, encounter_id, enrolled))
        for position, plain in templates:
            state.last_template += 1
            place = Place(state.last_template, encounter, position, subject_id)
            data = stored(plain, place, self.cipher)
            rows[schema.templates].append((state.last_template, encounter, position, data))
        state.templates += len(templates)
        if subject in self._new_subjects:
            self._new_subjects[subject].templates += len(templates)
        else:
            self._more_templates[subject] += len(templates)
        self._change(Operation.ENROLL, subject, encounter)
        return encounter

    def encounters_of(self, subject: int, subject_id: str, encounter_id: str | None) -> list[int]:
        """Keys of all encounters of a subject, or of the one so called.

        Raises:
            NotEnrolled: where there is none.
        """
        query = sa.select(schema.encounters.c.key).where(schema.encounters.c.subject == subject)
        if encounter_id is not None:
            query = query.where(schema.encounters.c.encounter_id == encounter_id)
        found = list(self.connection.scalars(query.order_by(schema.encounters.c.key)))
        if not found:
            raise NotEnrolled(f"subject {subject_id!r} has no encounter {encounter_id!r}")
        return found

    def templates_of(self, encounters: Iterable[int]) -> dict[int, list[tuple[int, bytes]]]:
        """(position, native form) of the templates of encounters, by encounter."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        rows = self.connection.execute(REFERENCES.where(schema.encounters.c.key.in_(list(encounters)))).all()
        natives = natives_of(rows, self.cipher, lambda: self.state.reseal_from)
        for row, plain in zip(rows, natives, strict=True):
            found.setdefault(row.encounter, []).append((row.position, plain))
        return found

    def remove(self, subject: int, encounters: Sequence[int]) -> int:
        """Take encounters of a subject out, now; returns how many templates that were."""
        templates = schema.templates.delete().where(schema.templates.c.encounter.in_(encounters))
        removed = self.connection.execute(templates).rowcount
        self.connection.execute(schema.encounters.delete().where(schema.encounters.c.key.in_(encounters)))
        self.state.templates -= removed
        self.state.encounters -= len(encounters)
        self._more_templates[subject] -= removed
        for encounter in encounters:
            self._change(Operation.REMOVE, subject, encounter)
        return removed

    def remove_subject_if_empty(self, subject: int) -> bool:
        """With its last encounter goes the subject."""
        left = sa.select(schema.encounters.c.key).where(schema.encounters.c.subject == subject).limit(1)
        if self.connection.scalar(left) is not None:
            return False
        self.connection.execute(schema.labels.delete().where(schema.labels.c.subject == subject))
        self.connection.execute(schema.subjects.delete().where(schema.subjects.c.key == subject))
        self._more_templates.pop(subject, None)
        self.state.subjects -= 1
        return True

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
        """Write what was gathered, and begin to gather anew."""
        _insert(self.connection, schema.subjects, [subject.row for subject in self._new_subjects.values()])
        self._new_subjects.clear()
        for table, rows in self._rows.items():
            _insert(self.connection, table, rows)
            rows.clear()
        for subject, labels in self._labels.items():
            present = sa.select(schema.labels.c.label).where(schema.labels.c.subject == subject)
            new = sorted(labels - set(self.connection.scalars(present)))
            _insert(self.connection, schema.labels, [(subject, label) for label in new])
        self._labels.clear()
        for subject, count in self._more_templates.items():
            update = schema.subjects.update().where(schema.subjects.c.key == subject)
            self.connection.execute(update.values(templates=schema.subjects.c.templates + count))
        self._more_templates.clear()
        self.connection.execute(schema.gallery.update().values(asdict(self.state)))


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
