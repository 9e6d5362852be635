# SPDX-License-Identifier: Apache-2.0
"""The truth of a gallery: subjects, encounters and templates in a SQL database, durable and followed.

SQLite in the gallery's folder and a database server take the same way through this file; what is
particular to one of them stands in :func:`_connect` alone.

Every write is one transaction that first locks the single row of table ``gallery``. So the writes of all
threads and processes happen one after the other; keys and change numbers grow in the order of commit and
are never used again; and a reader that remembers how far it has read (a :class:`Mark`) can ask for
exactly what it has missed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from abis.errors import AbisError, AlreadyEnrolled, NotEnrolled, StoreError, TemplateError
from abis.formats import native
from abis.formats._native_many import read_many
from abis.template import Embedding, Minutiae, Position, Template

__all__ = [
    "FIRST_ENCOUNTER",
    "SCHEMA_VERSION",
    "Enrollment",
    "Mark",
    "State",
    "Store",
    "StoredTemplate",
    "Tail",
    "check_id",
    "checked_templates",
]

SCHEMA_VERSION = 1
"""Of the tables below. A store of a newer one is refused."""

FIRST_ENCOUNTER = "1"
"""The encounter_id of a subject that was enrolled without one."""

_MAX_ID = 255  # characters of a subject_id or encounter_id: what every server can index
_IDS_PER_QUERY = 500  # bound parameters of one statement; SQLite takes 32,766, other databases fewer
_LOCK_TIMEOUT_S = 60.0  # that SQLite waits for another process to finish its transaction


class Operation(IntEnum):
    """What a row of the change log did to an encounter."""

    ENROLL = 1
    REMOVE = 2


_metadata = sa.MetaData()
_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER is the row's own id in SQLite

_gallery = sa.Table(  # one row
    "gallery",
    _metadata,
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),  # number of the last row of changes
    sa.Column("last_subject", sa.BigInteger, nullable=False),  # largest key ever given
    sa.Column("last_encounter", sa.BigInteger, nullable=False),
    sa.Column("last_template", sa.BigInteger, nullable=False),
    sa.Column("subjects", sa.BigInteger, nullable=False),  # how many there are now
    sa.Column("encounters", sa.BigInteger, nullable=False),
    sa.Column("templates", sa.BigInteger, nullable=False),
)
_subjects = sa.Table(
    "subjects",
    _metadata,
    sa.Column("key", _Key, primary_key=True, autoincrement=False),
    sa.Column("subject_id", sa.String(_MAX_ID), nullable=False, unique=True),
)
_encounters = sa.Table(
    "encounters",
    _metadata,
    sa.Column("key", _Key, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.ForeignKey(_subjects.c.key), nullable=False),
    sa.Column("encounter_id", sa.String(_MAX_ID), nullable=False),
    sa.UniqueConstraint("subject", "encounter_id"),
)
_templates = sa.Table(
    "templates",
    _metadata,
    sa.Column("key", _Key, primary_key=True, autoincrement=False),
    sa.Column("encounter", sa.ForeignKey(_encounters.c.key), nullable=False),
    sa.Column("position", sa.SmallInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),  # abis.formats.native
    sa.Index("templates_by_encounter", "encounter", "position"),
)
_changes = sa.Table(  # a row for each encounter enrolled or removed; keys of what is gone stay
    "changes",
    _metadata,
    sa.Column("number", _Key, primary_key=True, autoincrement=False),
    sa.Column("operation", sa.SmallInteger, nullable=False),
    sa.Column("subject", sa.BigInteger, nullable=False),
    sa.Column("encounter", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Enrollment:
    """What is enrolled of one subject at once.

    Attributes:
        subject_id: 1 to 255 characters, compared exactly as given.
        templates: one or more, of any positions; several of one position are allowed.
        encounter_id: names the capture session. None enrolls a subject that must be new.

    Raises:
        TypeError, ValueError: where an id is no such string.
        TemplateError: where there is no template.
    """

    subject_id: str
    templates: Sequence[Template]
    encounter_id: str | None = None

    def __post_init__(self) -> None:
        check_id("subject_id", self.subject_id)
        if self.encounter_id is not None:
            check_id("encounter_id", self.encounter_id)
        object.__setattr__(self, "templates", checked_templates(self.templates))


@dataclass(frozen=True)
class StoredTemplate:
    """A reference and the keys of its owners, as the store numbers them."""

    subject: int
    encounter: int
    encounter_id: str
    template: Template


@dataclass
class State:
    """The counters of a store: the row of table ``gallery``, and its columns' names.

    Attributes:
        change: number of the last change.
        last_subject: the largest key ever given to a subject; likewise for encounters and templates.
        subjects: how many subjects there are; likewise for encounters and templates.
    """

    schema_version: int = SCHEMA_VERSION
    change: int = 0
    last_subject: int = 0
    last_encounter: int = 0
    last_template: int = 0
    subjects: int = 0
    encounters: int = 0
    templates: int = 0


@dataclass(frozen=True)
class Mark:
    """How far a reader has followed a store: all templates up to ``template`` as of ``change``."""

    change: int = 0
    template: int = 0


@dataclass(frozen=True)
class Tail:
    """What came after a mark: first forget ``removed``, then take in ``enrolled``.

    Attributes:
        removed: keys of the encounters removed since the mark.
        enrolled: templates in the order of enrolment, as of ``state``; the first so many.
        mark: where this tail ends.
        state: the store's counters when this was read.
        complete: False where more templates follow.
    """

    removed: Sequence[int]
    enrolled: Sequence[StoredTemplate]
    mark: Mark
    state: State
    complete: bool


class Store:
    """A gallery's database. Safe for threads; several processes may open the same one.

    Every method that returned has its effect on disk (SQLite: write-ahead log, synced at each commit);
    one that raised, or did not live to return, has none.

    Raises:
        StoreError: from any method, where the database cannot be opened, read or written, or holds
            something else than a gallery of this schema version or an older one.
    """

    def __init__(self, url: str | sa.URL) -> None:
        self._calibrations: dict[str, str] = {}
        self._closed = False
        self._one_writer = threading.Lock()  # fair to threads; between processes the database sees to it
        self._engine = _connect(url)
        self._snapshots = self._engine
        if self._engine.dialect.name != "sqlite":  # SQLite's transactions are snapshots anyway
            self._snapshots = self._engine.execution_options(isolation_level="REPEATABLE READ")
        self.name = self._engine.url.render_as_string(hide_password=True)
        if self._engine.dialect.name == "sqlite":
            self.name = str(self._engine.url.database)
        try:
            self._create_or_check()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections. Closing twice is allowed."""
        self._closed = True
        self._engine.dispose()

    # ---------------------------------------------------------------------------------------- writing

    def enroll(self, enrollments: Sequence[Enrollment]) -> None:
        """Store all of the enrollments, or none, in one transaction.

        Raises:
            AlreadyEnrolled: where a subject without an encounter_id is in the gallery (or twice in
                ``enrollments``), or an encounter of a subject is.
        """
        encoded = [[(t.position, native.write(t)) for t in e.templates] for e in enrollments]
        with self._writing() as (connection, state):
            subjects = _keys_of_subjects(connection, {e.subject_id for e in enrollments})
            known = _encounter_ids_of(connection, subjects.values())
            rows: dict[sa.Table, list[dict[str, Any]]] = {
                table: [] for table in (_subjects, _encounters, _templates, _changes)
            }
            for enrollment, templates in zip(enrollments, encoded, strict=True):
                subject = subjects.get(enrollment.subject_id)
                if subject is None:
                    state.last_subject += 1
                    state.subjects += 1
                    subject = subjects[enrollment.subject_id] = state.last_subject
                    rows[_subjects].append({"key": subject, "subject_id": enrollment.subject_id})
                elif enrollment.encounter_id is None:
                    raise AlreadyEnrolled(
                        f"subject {enrollment.subject_id!r} is enrolled already; "
                        "a further encounter needs an encounter_id"
                    )
                encounter_id = enrollment.encounter_id or FIRST_ENCOUNTER
                if (subject, encounter_id) in known:
                    raise AlreadyEnrolled(
                        f"encounter {encounter_id!r} of subject {enrollment.subject_id!r} is enrolled already"
                    )
                known.add((subject, encounter_id))
                state.last_encounter += 1
                encounter = state.last_encounter
                rows[_encounters].append({"key": encounter, "subject": subject, "encounter_id": encounter_id})
                for position, data in templates:
                    state.last_template += 1
                    rows[_templates].append(
                        {
                            "key": state.last_template,
                            "encounter": encounter,
                            "position": int(position),
                            "data": data,
                        }
                    )
                rows[_changes].append(_change(state, Operation.ENROLL, subject, encounter))
            state.encounters += len(rows[_encounters])
            state.templates += len(rows[_templates])
            for table, values in rows.items():
                if values:
                    connection.execute(table.insert(), values)

    def remove(self, subject_id: str, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; with the last encounter goes the subject.

        Raises:
            NotEnrolled: where there is no such subject or encounter.
        """
        check_id("subject_id", subject_id)
        with self._writing() as (connection, state):
            subject = _keys_of_subjects(connection, [subject_id]).get(subject_id)
            if subject is None:
                raise _not_enrolled(subject_id)
            gone = sa.select(_encounters.c.key).where(_encounters.c.subject == subject)
            if encounter_id is not None:
                gone = gone.where(_encounters.c.encounter_id == encounter_id)
            encounters = list(connection.scalars(gone.order_by(_encounters.c.key)))
            if not encounters:
                raise NotEnrolled(f"subject {subject_id!r} has no encounter {encounter_id!r}")
            removed = connection.execute(_templates.delete().where(_templates.c.encounter.in_(gone)))
            connection.execute(_encounters.delete().where(_encounters.c.key.in_(gone)))
            state.templates -= removed.rowcount
            state.encounters -= len(encounters)
            left = sa.select(_encounters.c.key).where(_encounters.c.subject == subject).limit(1)
            if connection.scalar(left) is None:
                connection.execute(_subjects.delete().where(_subjects.c.key == subject))
                state.subjects -= 1
            log = [_change(state, Operation.REMOVE, subject, encounter) for encounter in encounters]
            connection.execute(_changes.insert(), log)

    # ---------------------------------------------------------------------------------------- reading

    def state(self) -> State:
        """The counters, by one small read."""
        with self._reading() as connection:
            return _state(connection)

    def __contains__(self, subject_id: object) -> bool:
        if not isinstance(subject_id, str):
            return False
        with self._reading() as connection:
            return subject_id in _keys_of_subjects(connection, [subject_id])

    def subject_ids(self) -> Iterator[str]:
        """All subject_ids in the order of enrolment.

        Read in pages: what others enroll or remove meanwhile may or may not be met.
        """
        last = 0
        page = sa.select(_subjects).order_by(_subjects.c.key).limit(10_000)
        while True:
            with self._reading() as connection:
                rows = connection.execute(page.where(_subjects.c.key > last)).all()
            if not rows:
                return
            yield from (row.subject_id for row in rows)
            last = rows[-1].key

    def references(self, subject_id: str) -> list[StoredTemplate]:
        """All templates of a subject in the order of enrolment.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        check_id("subject_id", subject_id)
        with self._reading() as connection:
            query = _REFERENCES.join(_subjects).where(_subjects.c.subject_id == subject_id)
            rows = connection.execute(query).all()
        if not rows:
            raise _not_enrolled(subject_id)
        return self._stored(rows)

    def tail(self, after: Mark, *, limit: int) -> Tail:
        """What changed after a mark; from ``Mark()`` on, the whole store. At most ``limit`` templates."""
        with self._reading() as connection:
            state = _state(connection)
            removed: Sequence[int] = []
            if after.template and after.change < state.change:  # else there is nothing to forget
                removed = connection.scalars(
                    sa.select(_changes.c.encounter).where(
                        _changes.c.number > after.change, _changes.c.operation == Operation.REMOVE
                    )
                ).all()
            rows = connection.execute(_REFERENCES.where(_templates.c.key > after.template).limit(limit)).all()
        complete = len(rows) < limit
        # Keys above the last row read, should there be any, belong to templates that are gone.
        last = state.last_template if complete else rows[-1].template
        return Tail(
            removed=removed,
            enrolled=self._stored(rows),
            mark=Mark(state.change, last),
            state=state,
            complete=complete,
        )

    def names(self, subjects: Iterable[int]) -> dict[int, str]:
        """The subject_id of each subject key that is in the store."""
        return self._look_up(_subjects.c.key, _subjects.c.subject_id, subjects)

    def encounter_names(self, encounters: Iterable[int]) -> dict[int, str]:
        """The encounter_id of each encounter key that is in the store."""
        return self._look_up(_encounters.c.key, _encounters.c.encounter_id, encounters)

    def templates_by_position(self) -> dict[Position, int]:
        """How many templates there are of each position. Reads an index from end to end."""
        query = sa.select(_templates.c.position, sa.func.count()).group_by(_templates.c.position)
        with self._reading() as connection:
            counts = connection.execute(query).all()
        return {Position(position): count for position, count in sorted(map(tuple, counts))}

    def calibration(self, kind: str) -> str | None:
        """The calibration of a kind of comparison that was set, or None. Kept in memory only, as yet."""
        return self._calibrations.get(kind)

    def set_calibration(self, kind: str, content: str) -> None:
        """Keep a calibration, in place of the one there was."""
        self._calibrations[kind] = content

    def disk_bytes(self) -> int | None:
        """Size of the database's files; None where a server keeps them."""
        database = self._engine.url.database
        if self._engine.dialect.name != "sqlite" or not database:
            return None
        files = (Path(database + suffix) for suffix in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    # ----------------------------------------------------------------------------------------- inside

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the store throughout."""
        with self._errors(), self._snapshots.begin() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[tuple[sa.Connection, State]]:
        """A transaction that no other writer overlaps; the state given is written back at its end."""
        with self._errors(), self._one_writer, self._engine.begin() as connection:
            connection.execute(_gallery.update().values(change=_gallery.c.change))  # takes the lock
            state = _state(connection)
            yield connection, state
            connection.execute(_gallery.update().values(asdict(state)))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the database raises into StoreError; statements' values are kept out of it."""
        if self._closed:
            raise StoreError(f"{self.name}: the gallery is closed")
        driver: Any = self._engine.dialect.dbapi
        try:
            yield
        except (sa.exc.SQLAlchemyError, driver.Error) as error:
            cause = getattr(error, "orig", None) or error
            raise StoreError(f"{self.name}: {cause}") from error

    def _create_or_check(self) -> None:
        if self._is_empty():
            try:
                with self._errors(), self._engine.begin() as connection:
                    _metadata.create_all(connection, checkfirst=False)
                    connection.execute(_gallery.insert().values(asdict(State())))
            except StoreError:
                if self._is_empty():
                    raise  # else: another process has just created it
        with self._reading() as connection:
            version = connection.scalar(sa.select(_gallery.c.schema_version))
        if version is None:
            raise StoreError(f"{self.name}: table gallery is empty; expected one row")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.name}: schema version {version} was written by a newer abis; "
                f"this one reads up to {SCHEMA_VERSION}"
            )

    def _is_empty(self) -> bool:
        with self._reading() as connection:
            tables = sa.inspect(connection).get_table_names()
        if tables and _gallery.name not in tables:
            raise StoreError(
                f"{self.name}: not a gallery: it holds tables {', '.join(sorted(tables))}, but no "
                f"table {_gallery.name}"
            )
        return not tables

    def _stored(self, rows: Sequence[Any]) -> list[StoredTemplate]:
        try:
            templates = read_many([row.data for row in rows])
        except AbisError:
            templates = [self._template(row) for row in rows]  # one of which says which it was
        return [
            StoredTemplate(row.subject, row.encounter, row.encounter_id, template)
            for row, template in zip(rows, templates, strict=True)
        ]

    def _template(self, row: Any) -> Template:
        try:
            return native.read(row.data)
        except AbisError as error:
            raise StoreError(f"{self.name}: template {row.template} is damaged: {error}") from error

    def _look_up(self, key: sa.Column[Any], value: sa.Column[Any], wanted: Iterable[int]) -> dict[int, str]:
        with self._reading() as connection:
            return dict(_select_in(connection, sa.select(key, value), key, wanted))


_REFERENCES = (
    sa.select(
        _templates.c.key.label("template"),
        _encounters.c.subject,
        _encounters.c.key.label("encounter"),
        _encounters.c.encounter_id,
        _templates.c.data,
    )
    .join_from(_templates, _encounters)
    .order_by(_templates.c.key)
)


def checked_templates(templates: Iterable[Template]) -> tuple[Template, ...]:
    """The templates as a tuple, refused where there is none or something else among them."""
    if isinstance(templates, Minutiae | Embedding):
        raise TypeError(f"templates is one {type(templates).__name__}; expected a sequence of templates")
    checked = tuple(templates)
    for number, template in enumerate(checked):
        if not isinstance(template, Minutiae | Embedding):
            raise TypeError(
                f"template {number} is a {type(template).__name__}; expected Minutiae or Embedding"
            )
    if not checked:
        raise TemplateError("no templates; expected at least one")
    return checked


def _connect(url: str | sa.URL) -> sa.Engine:
    """An engine. Here, and only here, is what is particular to a database."""
    try:
        parsed = sa.make_url(url)
        options: dict[str, Any] = {"hide_parameters": True, "max_overflow": -1}  # no thread waits in vain
        if parsed.get_backend_name() != "sqlite":
            return sa.create_engine(parsed, pool_pre_ping=True, **options)
        if parsed.database in (None, "", ":memory:"):
            raise StoreError(
                f"{parsed}: a gallery needs a file; one in memory would not outlive its connection"
            )
        engine = sa.create_engine(parsed, connect_args={"timeout": _LOCK_TIMEOUT_S}, **options)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise StoreError(f"cannot use the database URL: {error}") from error

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, reads included
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _state(connection: sa.Connection) -> State:
    return State(*connection.execute(sa.select(_gallery)).one())


def _change(state: State, operation: Operation, subject: int, encounter: int) -> dict[str, int]:
    state.change += 1
    return {
        "number": state.change,
        "operation": int(operation),
        "subject": subject,
        "encounter": encounter,
    }


def _keys_of_subjects(connection: sa.Connection, subject_ids: Iterable[str]) -> dict[str, int]:
    column = _subjects.c.subject_id
    return dict(_select_in(connection, sa.select(column, _subjects.c.key), column, subject_ids))


def _encounter_ids_of(connection: sa.Connection, subjects: Iterable[int]) -> set[tuple[int, str]]:
    column = _encounters.c.subject
    return set(_select_in(connection, sa.select(column, _encounters.c.encounter_id), column, subjects))


def _select_in(
    connection: sa.Connection, query: sa.Select[Any], column: sa.Column[Any], values: Iterable[Any]
) -> Iterator[tuple[Any, Any]]:
    """The rows (of two columns) whose ``column`` is one of the values, asked for in portions."""
    wanted = list(values)
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        portion = wanted[start : start + _IDS_PER_QUERY]
        yield from ((row[0], row[1]) for row in connection.execute(query.where(column.in_(portion))))


def _not_enrolled(subject_id: str) -> NotEnrolled:
    return NotEnrolled(f"subject {subject_id!r} is not enrolled")


def check_id(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} is a {type(value).__name__}; expected a string")
    if not 1 <= len(value) <= _MAX_ID:
        raise ValueError(f"{name} has {len(value)} characters; expected 1 to {_MAX_ID}")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(f"{name} {value!r} holds a character that is not text")
