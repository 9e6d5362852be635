# SPDX-License-Identifier: Apache-2.0
"""A manifest in Parquet, usually with the templates in it; needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from abis.errors import AbisError
from abis.store.import_records import Record
from abis.transfer.sources.names import NamedSample, records_of
from abis.transfer.sources.source import Progress, Source, naming, of_file
from abis.transfer.sources.table import Columns

try:
    import pyarrow
    import pyarrow.parquet
except ImportError:
    raise AbisError("Parquet files need pyarrow: pip install 'abis[parquet]'") from None

__all__ = ["ParquetSource"]

_ROWS = 4_096  # read at once: some 2 MB


class ParquetSource(Source):
    """A row for each template; those of a subject must follow each other.

    Args:
        path: of the file.
        files: folder that paths in the rows must be inside of; by default the file's own.
    """

    def __init__(self, path: Path, files: Path | None = None) -> None:
        self.name = str(path)
        self._path = path
        with (
            naming(self.name, pyarrow.ArrowException, OSError, MemoryError),
            pyarrow.parquet.ParquetFile(path) as file,
        ):
            names = list(file.schema_arrow.names)
            self._ends = list(
                accumulate(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))
            )
        whole = Columns.of(self.name, names, files or path.parent)
        self._names = list(whole.needed(names))
        self._columns = Columns.of(self.name, self._names, files or path.parent)
        self.ignored = whole.ignored(names)
        self._done = 0

    @property
    def fingerprint(self) -> str:
        return of_file(self._path)

    def records(self, after: int) -> Iterator[Record]:
        with naming(self.name, pyarrow.ArrowException, OSError, MemoryError):
            yield from records_of(self._samples(after))

    def progress(self) -> Progress:
        return Progress(self._done, self._ends[-1] if self._ends else 0)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        groups = [group for group, end in enumerate(self._ends) if end > after]
        if not groups:
            return
        number = self._ends[groups[0] - 1] if groups[0] else 0
        # With pre_buffer, what has been read stays in memory to the end of the file.
        with pyarrow.parquet.ParquetFile(self._path, pre_buffer=False) as file:
            for batch in file.iter_batches(_ROWS, row_groups=groups, columns=self._names):
                self._done = number + batch.num_rows
                for row in zip(*(batch.column(name).to_pylist() for name in self._names), strict=True):
                    number += 1
                    if number > after:
                        yield self._columns.sample(row, f"row {number}", number)
