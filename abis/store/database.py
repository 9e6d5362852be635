# SPDX-License-Identifier: Apache-2.0
"""Connections to SQLite or to a database server. Only this module distinguishes the two."""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from abis.errors import AbisError, StoreError
from abis.store.records import DamageError
from abis.store.rows import ROW_TAGS
from abis.store.tags import RowTags

__all__ = ["Database"]

_LOG_TIMEOUT_MS = 100
_LOG_PAGES = 4_000  # of 4 KiB in SQLite's log before it is written back: a few batches of an import
_LOCK_TIMEOUT_S = 60.0  # that SQLite waits for another process to finish its transaction


class Database:
    """A database: its connections, its transactions, and its errors as StoreError. Safe for threads.

    Attributes:
        name: the file, or the URL without its password: for messages.
    """

    def __init__(self, url: str | sa.URL, *, create: bool = True, read_only: bool = False) -> None:
        self._closed = False
        self._read_only = read_only
        self._process = os.getpid()  # a forked process must not use these connections
        self._one_writer = (
            threading.Lock()
        )  # one writer at a time in this process; the database does the same between processes
        self._engine = _engine(url, create=create and not read_only, read_only=read_only)
        self.row_tags = RowTags()
        self.name = self._engine.url.render_as_string(hide_password=True)
        if self.is_sqlite:
            self.name = str(self._engine.url.database)

    @property
    def row_tags(self) -> RowTags:
        """The tags that connections know by :func:`abis.store.rows.tags_of`; checksums until another is set."""
        return self._row_tags

    @row_tags.setter
    def row_tags(self, tags: RowTags) -> None:
        self._row_tags = tags
        self._tagging = self._engine.execution_options(**{ROW_TAGS: tags})
        self._snapshots = self._tagging
        if not self.is_sqlite:  # SQLite's transactions are snapshots anyway
            self._snapshots = self._tagging.execution_options(isolation_level="REPEATABLE READ")

    @property
    def is_sqlite(self) -> bool:
        return self._engine.dialect.name == "sqlite"

    @property
    def file(self) -> Path | None:
        """The database's file; None where a server keeps it."""
        return Path(str(self._engine.url.database)) if self.is_sqlite else None

    def close(self) -> None:
        """Close all connections. Closing twice is allowed."""
        self._closed = True
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state of the store throughout."""
        with self.errors(), self._snapshots.begin() as connection:
            try:
                yield connection
            except AbisError:
                raise
            except (AttributeError, TypeError, ValueError) as error:  # of what was read: damage
                raise StoreError(
                    f"{self.name}: damaged: a value is not what it should be ({type(error).__name__}); "
                    "`abis check` says more"
                ) from None

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A writing transaction; one at a time in this process. Its first write locks out other processes.

        Raises:
            StoreError: the database is open for reading only.
        """
        self._refuse_to_write()
        with self.errors(), self._one_writer:
            connection = self._tagging.connect()
            try:
                transaction = connection.begin()
                yield connection
                transaction.commit()
            except BaseException as error:
                # SQLAlchemy asserts that a commit has ended, which hides a Ctrl-C that came within it.
                cause = error.__context__ if isinstance(error, AssertionError) else error
                if cause is None or isinstance(cause, Exception):
                    with suppress(Exception):  # the first error tells the cause
                        connection.rollback()
                    raise
                with suppress(Exception):  # Ctrl-C at any moment: the state of the connection is unknown
                    connection.invalidate()  # closes it, which ends the transaction and its locks
                raise cause from None
            finally:
                with suppress(sa.exc.SQLAlchemyError, AssertionError):
                    connection.close()

    def execute_alone(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements outside of any transaction, as VACUUM wants it; returns the rows of the last one.

        Raises:
            StoreError: the database is open for reading only.
        """
        self._refuse_to_write()
        rows: list[tuple[Any, ...]] = []
        with self.errors(), self._one_writer:
            if self.is_sqlite:
                raw = self._engine.raw_connection()
                try:
                    for statement in statements:
                        rows = raw.driver_connection.execute(statement).fetchall()  # type: ignore[union-attr]
                finally:
                    raw.close()
            else:
                with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                    for statement in statements:
                        result = connection.exec_driver_sql(statement)
                        rows = [tuple(row) for row in result] if result.returns_rows else []
        return rows

    def cut_log(self) -> bool:
        """Write SQLite's log back and truncate it; False if a reader still uses it."""
        with self.errors(), self._one_writer:
            raw: Any = self._engine.raw_connection()
            try:
                raw.execute(f"PRAGMA busy_timeout={_LOG_TIMEOUT_MS}")  # writers wait meanwhile
                return not raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                raw.execute(f"PRAGMA busy_timeout={_LOCK_TIMEOUT_S * 1000:.0f}")
                raw.close()

    def _refuse_to_write(self) -> None:
        if self._read_only:
            raise StoreError(f"{self.name}: is open for reading only")

    def disk_bytes(self) -> int | None:
        """Size of the database's files; None where a server keeps them."""
        if self.file is None:
            return None
        files = (Path(f"{self.file}{suffix}") for suffix in ("", "-wal", "-shm"))
        return sum(file.stat().st_size for file in files if file.exists())

    def tables(self) -> list[str]:
        """Names of the tables there are."""
        with self.reading() as connection:
            return sa.inspect(connection).get_table_names()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn errors of the database into StoreError, without the values of statements and rows."""
        if self._closed:
            raise StoreError(f"{self.name}: the gallery is closed")
        if os.getpid() != self._process:
            raise StoreError(f"{self.name}: was opened before this process was forked; open it here")
        driver: Any = self._engine.dialect.dbapi
        try:
            yield
        except DamageError as error:
            raise StoreError(f"{self.name}: {error}; `abis check` says more").about(
                error.subject_id
            ) from None
        except UnicodeDecodeError:  # its argument is the text, which SQLite's driver has found to be none
            raise StoreError(f"{self.name}: damaged: a text is no UTF-8; `abis check` says more") from None
        except (sa.exc.SQLAlchemyError, driver.Error) as error:
            cause: Any = getattr(error, "orig", None) or error
            message = getattr(getattr(cause, "diag", None), "message_primary", None)  # its detail shows rows
            if getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
                message = f"{cause}; free some space first: removals, too, are written to a log before they take effect"
            raise StoreError(f"{self.name}: {message or cause}") from (error if message is None else None)


def _engine(url: str | sa.URL, *, create: bool, read_only: bool) -> sa.Engine:
    try:
        parsed = sa.make_url(url)
        options: dict[str, Any] = {
            "hide_parameters": True,
            "max_overflow": -1,
        }  # as many connections as threads ask for, so that no thread waits
        if parsed.get_backend_name() != "sqlite":
            return sa.create_engine(parsed, pool_pre_ping=True, **options)
        if parsed.database in (None, "", ":memory:"):
            raise StoreError(
                f"{parsed}: a gallery needs a file; one in memory would not outlive its connection"
            )
        engine = sa.create_engine(parsed, connect_args={"timeout": _LOCK_TIMEOUT_S}, **options)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise StoreError(f"cannot use the database URL: {error}") from error
    if create and not parsed.query:
        _make_private(str(parsed.database))

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where SQLAlchemy says, reads included
        _keep_log(connection)
        for pragma in (
            *("synchronous=FULL", "fullfsync=ON", "foreign_keys=ON"),
            *("secure_delete=ON", "cell_size_check=ON"),  # what is deleted is overwritten; damage is noticed
            f"wal_autocheckpoint={_LOG_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")

    @sa.event.listens_for(engine, "invalidate")
    def _roll_back(connection: Any, _record: object, _error: object) -> None:
        """End the transaction of a connection that Ctrl-C interrupted.

        A connection that is closed with an open cursor would keep its lock.
        """
        with suppress(sqlite3.Error):
            connection.rollback()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    return engine


def _keep_log(connection: sqlite3.Connection) -> None:
    """Have SQLite use a write-ahead log; ask again if it refuses.

    Of two processes that ask so of a new file at once it may refuse one without waiting, as it does wherever
    each would wait for the other (https://sqlite.org/c3ref/busy_handler.html).
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(
            random.uniform(0.001, 0.01)
        )  # a random delay, so that two processes do not ask at the same moment again


def _make_private(path: str) -> None:
    """Create a file that only its owner can read, if it does not exist. SQLite gives its log the same permissions."""
    with suppress(OSError):  # it exists, or SQLite will raise the error
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
