# SPDX-License-Identifier: Apache-2.0
"""A manifest in CSV: RFC 4180, UTF-8, with the names of the columns in its first row."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from abis.errors import FormatError
from abis.store.import_records import Record, Sample
from abis.text import unescaped_cell
from abis.transfer.sources.files import LARGEST_FILE
from abis.transfer.sources.names import NamedSample, records_of
from abis.transfer.sources.source import Progress, Source, of_file
from abis.transfer.sources.table import Columns

__all__ = ["CsvSource"]

_LONGEST_CELL = 2**24  # characters: what a quotation mark that is never closed may swallow


class CsvSource(Source):
    """A row for each template; those of a subject must follow each other.

    Ids that are escaped for spreadsheets, by an apostrophe before a formula, are read without it.

    Args:
        path: of the file.
        files: folder that paths in the rows must be inside of; by default the file's own.
    """

    def __init__(self, path: Path, files: Path | None = None) -> None:
        self.name = str(path)
        self._path = path
        self._size = path.stat().st_size
        self._file: IO[bytes] | None = None
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        with path.open("rb") as file:
            if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise FormatError(f"{path}: is in UTF-16; expected UTF-8: save it again as CSV UTF-8")
            file.seek(0)
            try:
                self._names = next(csv.reader(_Lines(file)), [])
            except csv.Error as error:
                raise FormatError(f"{path}, line 1: {error}") from None
        self._columns = Columns.of(self.name, self._names, files or path.parent)
        self.ignored = self._columns.ignored(self._names)

    @property
    def fingerprint(self) -> str:
        return of_file(self._path)

    def records(self, after: int) -> Iterator[Record]:
        yield from records_of(self._samples(after))

    def progress(self) -> Progress:
        done = 0 if self._file is None or self._file.closed else self._file.tell()
        return Progress(done, self._size)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        with self._path.open("rb") as self._file:
            lines = _Lines(self._file)
            rows = csv.reader(lines, strict=True)
            next(rows)
            number = 0
            while True:
                lines.taken.clear()
                fault: str | None = None
                place = f"line {lines.number + 1}"
                number += 1
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except csv.Error as error:
                    row, fault = [], str(error)
                if not row and fault is None:  # an empty line
                    number -= 1
                elif number <= after:
                    continue
                elif fault is not None:
                    yield self._faulty(lines, place, number, fault)
                elif len(row) != len(self._names):
                    fault = f"{len(row)} cells; expected {len(self._names)} as in line 1"
                    yield self._faulty(lines, place, number, fault)
                else:
                    for column in (self._columns.subject_id, self._columns.encounter_id):
                        if column is not None:
                            row[column] = unescaped_cell(row[column])
                    yield self._columns.sample(row, place, number)

    def _faulty(self, lines: _Lines, place: str, number: int, fault: str) -> NamedSample:
        """A row that cannot be taken apart, with its text, cut off at :data:`LARGEST_FILE`."""
        text = "".join(lines.taken).encode(errors="surrogateescape")[:LARGEST_FILE]
        return NamedSample(None, None, Sample(place, text), number, f"{place}: {fault}")


class _Lines:
    """The lines of a file as text, and those that were taken since ``taken`` was cleared.

    Bytes that are no UTF-8 become lone surrogates, which no subject_id may hold and no base64.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.number = 0
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_LONGEST_CELL)
        if not line:
            raise StopIteration
        text = line.decode("utf-8-sig" if self.number == 0 else "utf-8", errors="surrogateescape")
        self.number += 1
        self.taken.append(text)
        return text
