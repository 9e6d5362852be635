# SPDX-License-Identifier: Apache-2.0
"""The store of a gallery: subjects, encounters and templates in a SQL database.

The code is the same for SQLite in the gallery's folder and for a database server; :mod:`abis.store.database` holds the
differences.

Every write is one transaction that first locks the single row of table ``gallery``. So the writes of all
threads and processes happen one after the other; keys and change numbers grow in the order of commit and
are never used again; and a reader that remembers how far it has read (a :class:`Mark`) can ask for
exactly what it has missed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema, settings
from abis.store.anchors import write_anchor
from abis.store.chain import subjects_or_proof
from abis.store.database import Database
from abis.store.encryption import AUTHENTICATION_KEY, Cipher, KeyRing, KeyService, new_data_key
from abis.store.queries import IDS_PER_QUERY, REFERENCES, select_in, state_of, subjects_by_key
from abis.store.records import (
    Claimed,
    DamageError,
    Enrollment,
    Mark,
    Named,
    Operation,
    Owners,
    State,
    Status,
    StoredTemplate,
    Tail,
    Written,
    check_id,
    microseconds,
    not_enrolled,
)
from abis.store.rows import (
    SubjectRow,
    check_encounter,
    check_encounters,
    checked_state,
    state_row,
    tags_of,
)
from abis.store.schema import SCHEMA_VERSION
from abis.store.schema_steps import MIGRATIONS
from abis.store.settings import CALIBRATION
from abis.store.stored_form import natives_of, read_templates, stored_enrollments
from abis.store.tags import RowTags
from abis.store.transaction import Transaction
from abis.template import Position, Template

__all__ = ["Store"]

_ANCHOR_S = 3600.0  # seconds between two anchors of a process that writes
_ANSWERS = "disclosure"  # name of the setting with the answer policy
_CACHE = "cache:"  # prefix of the names of settings with folders of snapshots
_SCRUBBED = "scrubbed"  # name of the setting with the change before which no snapshot may be used
_SNAPSHOT = "snapshot:"  # prefix of the names of settings with digests of snapshots
_SNAPSHOTS = 64  # number of snapshots whose digests are kept; each cache folder has one at a time


_ENCOUNTERS = sa.select(schema.encounters)
_wanted = schema.encounters.alias("wanted")
_OWNERS = sa.select(schema.gallery, schema.encounters, schema.subjects).select_from(
    schema.gallery.outerjoin(
        schema.encounters,
        schema.encounters.c.subject.in_(
            sa.select(_wanted.c.subject).where(_wanted.c.key.in_(sa.bindparam("wanted", expanding=True)))
        ),
    ).outerjoin(schema.subjects, schema.subjects.c.key == schema.encounters.c.subject)
)
"""The gallery's row, and all encounters of the subjects that have one of the wanted encounters."""

_ENCOUNTER_AT = len(schema.gallery.c)  # in a row of _OWNERS, where the encounter begins ...
_SUBJECT_AT = _ENCOUNTER_AT + len(schema.encounters.c)  # ... and the subject
_ENCOUNTER = itemgetter(1, 4, 5, 6, 7)  # of a row of REFERENCES: a row of table encounters


class Store:
    """A gallery's database. Safe for threads; several processes may open the same one.

    When a method returns, its effect is on disk (SQLite: write-ahead log, synced at each commit). A method that raises,
    or whose process is killed, has no effect.

    Args:
        url: of the database, as SQLAlchemy takes it.
        key: the master key. A store that is made with one is encrypted.
        create: make a gallery where the database is empty.
        read_only: refuse to write, and migrate nothing.

    Attributes:
        name: of the database, for messages.
        read_only: whether writes are refused.
        cipher: seals what is stored; None where the store is not encrypted.
        database: where it is.

    Raises:
        StoreError: from any method, where the database cannot be opened, read or written, or holds
            something else than a gallery of this schema version or an older one; or the key is not the
            one it was encrypted with.
    """

    def __init__(
        self,
        url: str | sa.URL,
        *,
        key: KeyService | None = None,
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        self.cipher: Cipher | None = None
        self.read_only = read_only
        self._to_anchor: State | None = None
        self._anchored = time.monotonic()
        self.database = Database(url, create=create, read_only=read_only)
        self.name = self.database.name
        try:
            self._create_or_migrate(key, create=create)
            is_encrypted = self._is_encrypted()
            if is_encrypted and key is None:
                raise StoreError(f"{self.name}: is encrypted; give its master key (docs/operations.md)")
            if key is not None and not is_encrypted:
                raise StoreError(
                    f"{self.name}: is not encrypted, but a master key was given, {key!r}; open it without a key (unset "
                    "ABIS_KEY and ABIS_KEY_FILE), or encrypt it by `abis keys encrypt`"
                )
            if key is not None:
                self.unlock(key)
            self.state()  # which its tag vouches for
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections, and write an anchor if something was written. Closing twice is allowed."""
        if self._to_anchor is not None:
            write_anchor(self.name, self._to_anchor)
            self._to_anchor = None
        self.database.close()

    def unlock(self, key: KeyService) -> None:
        """Take the master key of an encrypted store.

        Raises:
            StoreError: where it is another one.
        """
        try:
            self.cipher = Cipher(key, self._key_ring)
        except StoreError as error:
            raise StoreError(f"{self.name}: {error}") from None
        self.database.row_tags = self.cipher.tags

    # ---------------------------------------------------------------------------------------- writing

    def enroll(self, enrollments: Sequence[Enrollment]) -> Written:
        """Store all of the enrollments, or none, in one transaction.

        Raises:
            AlreadyEnrolled: as :meth:`Transaction.enroll` does.
        """
        with self.writing() as transaction:
            return transaction.enroll(stored_enrollments(enrollments))

    def remove(self, subject_id: str, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; with the last encounter goes the subject.

        Raises:
            NotEnrolled: where there is no such subject or encounter.
        """
        with self.writing() as transaction:
            subject = transaction.key_of(subject_id)
            if encounter_id is None:
                encounters = list(transaction.encounters_of(subject).values())
            else:
                encounters = [transaction.encounter_of(subject, encounter_id)]
            transaction.remove(subject, encounters)
            gone = transaction.remove_subject_if_empty(subject)
            transaction.log("remove", subject_id, "subject" if gone else f"encounter {encounter_id}")

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A writing transaction, one at a time; its changes are written at its end."""
        with self.database.writing() as connection:
            state = _locked_state(connection)
            if self.cipher is None and state.data_key:
                raise StoreError(f"{self.name}: has been encrypted meanwhile; open it again with its key")
            if self.cipher is not None and self.cipher.current != state.data_key:
                self.cipher.refresh()
            transaction = Transaction(connection, state, self.cipher)
            yield transaction
            transaction.write()
        self._to_anchor = transaction.state
        if time.monotonic() - self._anchored > _ANCHOR_S:
            self._anchored = time.monotonic()
            write_anchor(self.name, transaction.state)

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A reading transaction, which sees one state of the store."""
        with self.database.reading() as connection:
            yield connection

    # ---------------------------------------------------------------------------------------- reading

    def state(self) -> State:
        """The counters, by one small read."""
        with self.database.reading() as connection:
            return state_of(connection)

    def __contains__(self, subject_id: object) -> bool:
        if not isinstance(subject_id, str):
            return False
        with self.database.reading() as connection:
            return subject_id in subjects_or_proof(connection, [subject_id])

    def subject_ids(self) -> Iterator[str]:
        """All subject_ids in the order of enrolment.

        They are read in pages; subjects that other processes enroll or remove meanwhile may or may not be among them.
        """
        last = count = 0
        page = sa.select(schema.subjects).order_by(schema.subjects.c.key).limit(10_000)
        begun = None
        while True:
            with self.database.reading() as connection:
                state = state_of(connection)
                begun = begun or state
                rows = connection.execute(page.where(schema.subjects.c.key > last)).all()
                checked = [SubjectRow.checked(row, tags_of(connection)) for row in rows]
                count += len(rows)
                if not rows and state.change == begun.change and count != state.subjects:
                    raise DamageError(f"{count} subjects are found; expected {state.subjects}")
            if not rows:
                return
            yield from (row.subject_id for row in checked)
            last = checked[-1].key

    def claimed(self, subject_ids: Iterable[str]) -> dict[str, Claimed]:
        """Return what a verification needs of the given subjects that are enrolled, by one read.

        Raises:
            StoreError: the store cannot be read, or a template of a subject is missing.
        """
        with self.database.reading() as connection:
            subjects = subjects_or_proof(connection, subject_ids)
            owners = {row.key: row for row in subjects.values()}
            rows = list(select_in(connection, REFERENCES, schema.encounters.c.subject, owners))
            own: dict[int, list[StoredTemplate]] = {key: [] for key in owners}
            stored, shares = self._stored(connection, rows)
            for reference in stored:
                own[reference.subject].append(reference)
        for row in subjects.values():
            if len(own[row.key]) != row.templates:
                raise StoreError(
                    f"{self.name}: subject {row.subject_id!r} has {row.templates} templates, "
                    f"but {len(own[row.key])} are found; `abis check` says more"
                ).about(row.subject_id)
            try:
                check_encounters(row, shares.get(row.key, 0))
            except DamageError as error:
                raise StoreError(f"{self.name}: {error}; `abis check` says more").about(
                    row.subject_id
                ) from None
        return {
            row.subject_id: Claimed(Status(row.status), row.level, own[row.key]) for row in subjects.values()
        }

    def references(self, subject_id: str) -> list[StoredTemplate]:
        """All templates of a subject in the order of enrolment.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        check_id("subject_id", subject_id)
        found = self.claimed([subject_id])
        if not found:
            raise not_enrolled(subject_id)
        return list(found[subject_id].references)

    def encounters(self, subject_ids: Iterable[str]) -> dict[str, dict[str, list[Template]]]:
        """Return the templates of the given subjects that are enrolled, by subject_id and encounter_id."""
        found: dict[str, dict[str, list[Template]]] = {}
        for subject_id, claimed in self.claimed(subject_ids).items():
            own = found.setdefault(subject_id, {})
            for stored in claimed.references:
                own.setdefault(stored.encounter_id, []).append(stored.template)
        return found

    def enrolled_between(self, change: int, last_change: int) -> int:
        """How many of the changes after the one, up to the other, enrolled an encounter."""
        query = sa.select(sa.func.count()).where(
            schema.changes.c.number > change,
            schema.changes.c.number <= last_change,
            schema.changes.c.operation == Operation.ENROLL,
        )
        with self.database.reading() as connection:
            return int(connection.scalar(query) or 0)

    def subjects_enrolled_between(self, change: int, last_change: int) -> list[int]:
        """Keys of the subjects of which the changes after the one, up to the other, enrolled an encounter."""
        query = sa.select(schema.changes.c.subject).where(
            schema.changes.c.number > change,
            schema.changes.c.number <= last_change,
            schema.changes.c.operation == Operation.ENROLL,
        )
        query = query.distinct()
        with self.database.reading() as connection:
            return list(connection.scalars(query))

    def tail(self, after: Mark, *, limit: int, last: int | None = None) -> Tail:
        """Changes after a mark; the whole store after ``Mark()``.

        Args:
            after: mark up to which the reader knows the store.
            limit: largest number of templates to return.
            last: largest key of a template to return; None for no limit.
        """
        with self.database.reading() as connection:
            state = state_of(connection)
            removed: Sequence[int] = []
            if after.template and after.change < state.change:  # else no encounter was removed
                changes = schema.changes.c
                since = sa.and_(changes.number > after.change, changes.number <= state.change)
                if connection.scalar(sa.select(sa.func.count()).where(since)) != state.change - after.change:
                    raise DamageError(f"the log of changes has a gap after {after.change}")
                removal = changes.operation == Operation.REMOVE
                removed = connection.scalars(sa.select(changes.encounter).where(since, removal)).all()
                for row in select_in(connection, _ENCOUNTERS, schema.encounters.c.key, removed):
                    raise DamageError(
                        f"the log of changes says that encounter {row.key} was removed; it is there"
                    )
            end = state.last_template if last is None else min(last, state.last_template)
            keys = schema.templates.c.key
            query = REFERENCES.where(keys > after.template, keys <= end).limit(limit)
            rows = connection.execute(query).all()
            enrolled, _ = self._stored(connection, rows)
        # Keys between the last row read and the end, should there be any, are of templates that are gone.
        reached = rows[-1].template if len(rows) == limit else end
        return Tail(
            removed=removed,
            enrolled=enrolled,
            mark=Mark(state.change, reached),
            state=state,
            complete=reached >= state.last_template,
        )

    def names(self, subjects: Iterable[int]) -> dict[int, str]:
        """The subject_id of each subject key that is in the store."""
        with self.database.reading() as connection:
            return {key: row.subject_id for key, row in subjects_by_key(connection, subjects).items()}

    def named(self, subjects: Iterable[int], encounters: Iterable[int]) -> Named:
        """Names of subjects and of encounters by their keys, as of one moment."""
        found = Named({}, {}, {})
        with self.database.reading() as connection:
            for key, row in subjects_by_key(connection, subjects).items():
                found.subjects[key] = row.subject_id
                found.statuses[key] = Status(row.status)
            for row in select_in(connection, _ENCOUNTERS, schema.encounters.c.key, encounters):
                check_encounter(row, tags_of(connection))
                found.encounters[row.key] = row.encounter_id
        return found

    def owners(self, encounters: Iterable[int]) -> Owners:
        """Names of encounters and of their subjects, and the change that they are as of.

        One statement for up to 500 encounters, and for none.

        Args:
            encounters: keys of encounters; unknown ones are left out.

        Raises:
            StoreError: also where a subject's encounters are not those that were enrolled: one that was removed and
                put back must not answer a search.
        """
        found = Named({}, {}, {})
        wanted = list(encounters)
        with self.database.reading() as connection:
            tags = tags_of(connection)
            for start in range(0, max(1, len(wanted)), IDS_PER_QUERY):
                some = set(wanted[start : start + IDS_PER_QUERY])
                rows = connection.execute(_OWNERS, {"wanted": list(some)}).all()
                subjects: dict[int, SubjectRow] = {}
                shares: dict[int, int] = {}
                for row in rows:
                    if row[_SUBJECT_AT] is None:  # no encounter or subject of these is in the store
                        continue
                    encounter = row[_ENCOUNTER_AT:_SUBJECT_AT]
                    if row[_SUBJECT_AT] not in subjects:
                        subject = SubjectRow.checked(row[_SUBJECT_AT:], tags)
                        subjects[subject.key], shares[subject.key] = subject, 0
                        found.subjects[subject.key] = subject.subject_id
                        found.statuses[subject.key] = Status(subject.status)
                    shares[encounter[1]] ^= check_encounter(encounter, tags)
                    if encounter[0] in some:
                        found.encounters[encounter[0]] = encounter[2]
                for subject in subjects.values():
                    check_encounters(subject, shares[subject.key])
            return Owners(found, checked_state(rows[0][:_ENCOUNTER_AT], tags).change)

    def templates_by_position(self) -> dict[Position, int]:
        """How many templates there are of each position. Reads an index from end to end."""
        position = schema.templates.c.position
        with self.database.reading() as connection:
            counts = connection.execute(sa.select(position, sa.func.count()).group_by(position)).all()
            stated = state_of(connection).templates
            if sum(count for _, count in counts) != stated:
                raise DamageError(f"not all of {stated:,} templates are found")
            return {Position(position): count for position, count in sorted(map(tuple, counts))}

    def disk_bytes(self) -> int | None:
        """Size of the database's files; None where a server keeps them."""
        return self.database.disk_bytes()

    # --------------------------------------------------------------------------------------- snapshots

    def take_in_keys(self) -> None:
        """Load a data key that another process has made.

        Raises:
            StoreError: another process has encrypted the gallery since.
        """
        with self.writing():
            pass

    def remember_snapshot(self, digest: str, folder: Path) -> None:
        """Note the digest of a manifest of files that hold what the store holds now, and the folder they are in."""
        where = json.dumps([platform.node(), str(folder.resolve())])
        with self.writing() as transaction:
            settings.put(transaction.connection, _CACHE + hashlib.sha256(where.encode()).hexdigest(), where)
            name = f"{_SNAPSHOT}{transaction.state.change:020d}:{digest}"
            known = sorted(settings.named(transaction.connection, _SNAPSHOT))
            settings.delete(transaction.connection, known[: max(len(known) - _SNAPSHOTS + 1, 0)])
            settings.put(transaction.connection, name, digest)

    def knows_snapshot(self, digest: str) -> bool:
        """Whether :meth:`remember_snapshot` was called with this digest in the past of this very store."""
        with self.database.reading() as connection:
            return digest in settings.named(connection, _SNAPSHOT).values()

    def scrub_snapshots(self) -> list[Path]:
        """Refuse to write or use snapshots of changes before the present one.

        Returns:
            The folders on this machine that snapshots have been in, to be emptied.
        """
        with self.writing() as transaction:
            settings.put(transaction.connection, _SCRUBBED, str(transaction.state.change))
            known = settings.named(transaction.connection, _CACHE).values()
        places = [json.loads(where) for where in known]
        return [Path(folder) for machine, folder in places if machine == platform.node()]

    def scrubbed_change(self) -> int:
        """The change of the last :meth:`scrub_snapshots`; 0 where there was none."""
        with self.database.reading() as connection:
            return int(settings.get(connection, _SCRUBBED) or 0)

    # ------------------------------------------------------------------------------------ calibrations

    def calibration(self, kind: str) -> str | None:
        """The calibration of a kind of comparison that was set for this gallery, or None."""
        name = _calibration(kind)
        with self.database.reading() as connection:
            return settings.deciding_settings(connection, state_of(connection)).get(name)

    def answer_policy(self) -> str | None:
        """What answers disclose, as :meth:`set_answer_policy` was told; None where it never was."""
        with self.database.reading() as connection:
            return settings.deciding_settings(connection, state_of(connection)).get(_ANSWERS)

    def set_answer_policy(self, content: str) -> None:
        """Keep what answers disclose with the gallery.

        Args:
            content: any text.
        """
        with self.writing() as transaction:
            settings.put_deciding(transaction.connection, transaction.state, _ANSWERS, content)
            transaction.log("set_answer_policy", "", content)

    def set_calibration(self, kind: str, content: str) -> None:
        """Keep a calibration with the gallery, in place of the one there was.

        Args:
            kind: names what it is of; 1 to 200 characters.
            content: any text.
        """
        name = _calibration(kind)
        with self.writing() as transaction:
            settings.put_deciding(transaction.connection, transaction.state, name, content)
            transaction.log("set_calibration", "", kind)

    # ----------------------------------------------------------------------------------------- inside

    def _create_or_migrate(self, key: KeyService | None, *, create: bool) -> None:
        if self._is_empty():
            if not create:
                raise StoreError(f"{self.name}: there is no gallery in it: the database is empty")
            try:
                with self.database.writing() as connection:
                    schema.metadata.create_all(connection, checkfirst=False)
                    state = State(data_key=0 if key is None else 1, gallery_id=secrets.token_hex(16))
                    tags = RowTags()
                    if key is not None:
                        tags = add_keys(connection, state, key, (AUTHENTICATION_KEY, 1)).tags
                    connection.execute(schema.gallery.insert().values(state_row(state, tags)))
            except StoreError:
                if self._is_empty():
                    raise  # else: another process has just created it
        with self.database.reading() as connection:
            version = self._version(connection)
        if version < SCHEMA_VERSION and self.read_only:
            raise StoreError(
                f"{self.name}: has schema version {version}; open it once to write, which brings it to version "
                f"{SCHEMA_VERSION}"
            )
        if version < SCHEMA_VERSION:
            with self.database.writing() as connection:
                connection.execute(_LOCK)
                for step in range(self._version(connection), SCHEMA_VERSION):
                    MIGRATIONS[step](connection, key)

    def _version(self, connection: sa.Connection) -> int:
        version = connection.scalar(sa.select(schema.gallery.c.schema_version))
        if version is None:
            raise StoreError(f"{self.name}: table gallery is empty; expected one row")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.name}: schema version {version} was written by a newer abis; "
                f"this one reads up to {SCHEMA_VERSION}"
            )
        return int(version)

    def _is_empty(self) -> bool:
        tables = self.database.tables()
        if tables and schema.gallery.name not in tables:
            raise StoreError(
                f"{self.name}: not a gallery: it holds tables {', '.join(sorted(tables))}, but no "
                f"table {schema.gallery.name}"
            )
        return not tables

    def _is_encrypted(self) -> bool:
        with self.database.reading() as connection:
            return bool(connection.scalar(sa.select(schema.gallery.c.data_key)))

    def _key_ring(self) -> KeyRing:
        with self.database.reading() as connection:
            return key_ring(connection)

    def _stored(
        self, connection: sa.Connection, rows: Sequence[Any]
    ) -> tuple[list[StoredTemplate], dict[int, int]]:
        """The templates of rows, and the shares of their encounters by subject."""
        try:
            natives = natives_of(rows, self.cipher, lambda: state_of(connection).plain_from)
            templates = read_templates(natives, [row.template for row in rows])
        except StoreError as error:
            raise StoreError(f"{self.name}: {error}") from error
        shares: dict[int, int] = {}
        tags = tags_of(connection)
        for encounter in set(map(_ENCOUNTER, rows)):
            shares[encounter[1]] = shares.get(encounter[1], 0) ^ check_encounter(encounter, tags)
        stored = [
            StoredTemplate(row.template, row.subject, row.encounter, row.encounter_id, template)
            for row, template in zip(rows, templates, strict=True)
        ]
        return stored, shares


_LOCK = schema.gallery.update().values(change=schema.gallery.c.change)
"""Takes the lock of the gallery's row until the transaction ends."""


def _locked_state(connection: sa.Connection) -> State:
    connection.execute(_LOCK)
    return state_of(connection)


def key_ring(connection: sa.Connection) -> KeyRing:
    """The wrapped keys of a gallery."""
    columns = schema.data_keys.c
    gallery = schema.gallery.c
    gallery_id, current = connection.execute(sa.select(gallery.gallery_id, gallery.data_key)).one()
    rows = connection.execute(sa.select(columns.number, columns.wrapped)).all()
    return KeyRing(gallery_id, current, {row.number: row.wrapped for row in rows})


def add_keys(connection: sa.Connection, state: State, key: KeyService, numbers: Iterable[int]) -> Cipher:
    """Make new keys of these numbers; returns what seals with all keys there are."""
    for number in numbers:
        values = {"number": number, "wrapped": new_data_key(key, state.gallery_id, number)}
        made = microseconds(datetime.now(UTC))
        connection.execute(schema.data_keys.insert().values(values | {"made": made}))
    rows = connection.execute(sa.select(schema.data_keys.c.number, schema.data_keys.c.wrapped)).all()
    ring = KeyRing(state.gallery_id, state.data_key, {row.number: row.wrapped for row in rows})
    return Cipher(key, lambda: ring)


def _calibration(kind: str) -> str:
    check_id("kind", kind)
    return f"{CALIBRATION}{kind}"
