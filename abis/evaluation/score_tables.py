# SPDX-License-Identifier: Apache-2.0
"""Read CSV, Parquet and npz files as named columns, in parts of a fixed number of rows."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy.typing as npt

from abis.errors import AbisError, FormatError
from abis.evaluation.archives import open_npz

__all__ = ["ENDINGS", "Column", "Columns", "read_columns"]

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]
Columns: TypeAlias = Mapping[str, Column]

Progress: TypeAlias = Callable[[int, int], None]

_LINES = 1 << 16  # lines of CSV in one part
_ROWS = 1 << 20  # rows of Parquet and npz in one part


def read_columns(
    path: Path, wanted: Sequence[str], progress: Callable[[int, int], None] | None
) -> Iterator[Columns]:
    """Yield the columns of a file, in parts of a fixed number of rows; columns of CSV are text.

    Args:
        path: file whose name ends in one of :data:`ENDINGS`.
        wanted: names of the columns to read. Columns that the file lacks are left out; further columns may be
            yielded.
        progress: function that is called after each part, with the number of bytes or rows read and their total.
            None: no calls.

    Raises:
        FormatError: the file is damaged or lacks all wanted columns; the message names the file and the line.
        AbisError: the file is Parquet and pyarrow is not installed.
        OSError: the file cannot be read.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise FormatError(f"{path} is not a score file; expected a name that ends in {', '.join(ENDINGS)}")
    yield from read(path, wanted, progress or (lambda done, total: None))


def _read_csv(path: Path, wanted: Sequence[str], progress: Progress) -> Iterator[Columns]:
    with path.open("rb") as raw:
        total = path.stat().st_size
        lines = (line.decode("utf-8-sig" if number == 0 else "utf-8") for number, line in enumerate(raw))
        table = csv.reader(lines)
        try:
            header = [name.strip() for name in next(table, [])]
            for rows in _chunks(table):
                if short := next((i for i, row in enumerate(rows) if len(row) != len(header)), None):
                    last = table.line_num - len(rows) + short + 1
                    raise FormatError(
                        f"{path}, line {last}: {len(rows[short])} columns; expected {len(header)}"
                    )
                yield dict(zip(header, zip(*rows, strict=True), strict=True))
                progress(raw.tell(), total)
        except (csv.Error, UnicodeDecodeError) as error:
            raise FormatError(f"{path}, line {table.line_num + 1}: {error}") from error


def _chunks(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    chunk = []
    for row in rows:
        if row:
            chunk.append(row)
        if len(chunk) == _LINES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _read_parquet(path: Path, wanted: Sequence[str], progress: Progress) -> Iterator[Columns]:
    parquet = _pyarrow_parquet()
    try:
        file = parquet.ParquetFile(path)
    except ValueError as error:  # the base class of pyarrow's errors
        raise FormatError(f"{path}: {error}") from error
    there = [name for name in file.schema_arrow.names if name in wanted]
    if not there:
        raise FormatError(f"{path}: no column {wanted[0]!r}; there are {', '.join(file.schema_arrow.names)}")
    done = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=there):
        done += batch.num_rows
        yield {name: batch.column(name).to_numpy(zero_copy_only=False) for name in there}
        progress(done, file.metadata.num_rows)


def _pyarrow_parquet() -> ModuleType:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise AbisError("Parquet files need pyarrow: pip install abis[parquet]") from None
    return parquet  # type: ignore[no-any-return]


def _read_npz(path: Path, wanted: Sequence[str], progress: Progress) -> Iterator[Columns]:
    with open_npz(path) as archive:
        columns = {name: archive[name] for name in archive.files if name in wanted}
        if not columns:
            raise FormatError(f"{path}: no array {wanted[0]!r}; there are {', '.join(archive.files)}")
    shapes = {column.shape for column in columns.values()}
    if len(shapes) > 1 or any(len(shape) != 1 for shape in shapes):
        found = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
        raise FormatError(f"{path}: arrays are of shapes {found}; expected (n,) each")
    rows = shapes.pop()[0]
    for start in range(0, rows, _ROWS):
        yield {name: column[start : start + _ROWS] for name, column in columns.items()}
        progress(min(start + _ROWS, rows), rows)


_READERS = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
ENDINGS = tuple(_READERS)
"""Endings of the names of score files."""
