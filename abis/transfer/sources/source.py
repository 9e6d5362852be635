# SPDX-License-Identifier: Apache-2.0
"""What every source of records can do."""

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
    """Where records come from, in an order that stays the same as long as the source does.

    Attributes:
        name: as the user gave it.
        ignored: columns that nothing is taken from.
    """

    name: str
    ignored: tuple[str, ...] = ()

    @property
    @abstractmethod
    def fingerprint(self) -> str | None:
        """Changes when the source does; None where that cannot be told, so that nothing may be skipped."""

    @abstractmethod
    def records(self, after: int) -> Iterator[Record]:
        """All records that follow the one whose ``end`` was ``after``; 0 for all.

        Raises:
            FormatError: the source is damaged such that it cannot be read on.
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
