# SPDX-License-Identifier: Apache-2.0
"""Compact a gallery's files, and back a gallery up while it is in use."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from abis.errors import StoreError
from abis.files import private_folder, publish
from abis.store import schema
from abis.store.erasure import scrub
from abis.store.store import Store

__all__ = ["backup", "compact"]

Progress = Callable[[int, int], None]


def compact(store: Store) -> None:
    """Rewrite the database without free space and without the bytes of removed rows.

    Needs the time and the disk space of one more copy. Meanwhile SQLite blocks writers, and PostgreSQL blocks readers
    and writers.
    """
    if store.database.is_sqlite:
        store.database.execute_alone("VACUUM", "PRAGMA optimize")
        scrub(store)
    else:
        store.database.execute_alone(
            *(
                f"ALTER TABLE {column.table.name} ALTER COLUMN {column.name} SET STATISTICS 0, "
                f"ALTER COLUMN {column.name} TYPE bytea"  # removes statistics of older versions
                for column in schema.SECRET
            ),
            # The gallery's own tables, one after the other: all of the server's catalogues at once may end in a
            # deadlock with other connections.
            f"VACUUM (FULL, ANALYZE) {', '.join(sorted(store.database.tables()))}",
            "VACUUM (FULL) pg_catalog.pg_statistic",
        )


def backup(store: Store, folder: Path, progress: Progress | None = None, *, pages: int = 2_000) -> Path:
    """Copy a gallery's database as of this moment into a new folder, while other processes use the gallery.

    The copy is a gallery. It appears under its name when it is complete and synced to disk. A backup that fails leaves
    nothing.

    Args:
        store: store of a gallery in a folder.
        folder: folder to create.
        progress: called with the number of pages copied and of all pages.
        pages: number of pages copied between two calls of ``progress``; 2,000 are 8 MB.

    Raises:
        StoreError: the folder holds a gallery, cannot be written, or the database is on a server.
    """
    source = store.database.file
    if source is None:
        raise StoreError(f"{store.name}: a server keeps it: use pg_dump, or the server's own backup")
    target = folder / source.name
    unfinished = target.with_suffix(".unfinished")
    is_new, done = not folder.exists(), False
    leftovers = [Path(f"{unfinished}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]
    try:
        private_folder(folder)
        if target.exists():
            raise StoreError(f"{folder}: there is a gallery in it already")
        leftovers.append(target)  # in place, but not synced
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(unfinished)) as copy:
            origin.execute("BEGIN")
            origin.execute("SELECT change FROM gallery").fetchone()  # fixes the state to copy
            origin.backup(
                copy,
                pages=pages,
                progress=None if progress is None else lambda _, left, total: progress(total - left, total),
            )
            copy.execute("PRAGMA journal_mode=DELETE")
        publish(unfinished, target)
        done = True
    except sqlite3.Error as error:
        raise StoreError(f"{folder}: {error}") from error
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror}") from error
    finally:
        if not done:
            for path in leftovers:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):
                    folder.rmdir()
    return target
