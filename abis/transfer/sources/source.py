# SPDX-License-Identifier: Apache-2.0
"""The interface of all sources of records."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from abis.errors import AbisError, FormatError
from abis.store.import_records import Record

__all__ = ["Progress", "Source", "naming", "of_file"]


class Progress(NamedTuple):
    """How much of a source has been read, in the source's own units; ``total`` is None if it is unknown."""

    done: int
    total: int | None


class Source(ABC):
    """A source of records, in an order that does not change unless the source changes.

    Attributes:
        name: as the user gave it.
        ignored: columns that are not imported.
    """

    name: str
    ignored: tuple[str, ...] = ()

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """A value that changes when the source changes.

        None: changes cannot be detected, so that no record may be skipped.
        """

    @abstractmethod
    def records(self, after: int) -> Iterator[Record]:
        """All records that follow the one whose ``end`` was ``after``; 0 for all.

        Raises:
            FormatError: the source is damaged, and the rest of it cannot be read.
            OSError: it cannot be read.
        """

    @abstractmethod
    def progress(self) -> Progress:
        """How far :meth:`records` has read."""


def of_file(path: Path, *options: object) -> str:
    """A fingerprint: name, size and time of a file, and what else decides how it is read."""
    found = path.stat()
    return hash_of(path.name, found.st_size, found.st_mtime_ns, *options)


def hash_of(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()


@contextmanager
def naming(name: str, *kinds: type[Exception]) -> Iterator[None]:
    """Turn what other libraries raise about damaged content into an error that names the source."""
    try:
        yield
    except AbisError:
        raise
    except kinds as error:
        raise FormatError(f"{name}: cannot be read on: {str(error) or type(error).__name__}") from error
