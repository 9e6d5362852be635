# SPDX-License-Identifier: Apache-2.0
"""The rows of a query to a legacy system's database, by SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store.import_records import Record
from abis.transfer.sources.names import NamedSample, records_of
from abis.transfer.sources.source import Progress, Source
from abis.transfer.sources.table import Columns

__all__ = ["QuerySource"]

_ROWS = 4_096  # fetched at once


class QuerySource(Source):
    """A row for each template; the query must order them by subject.

    A database may return other rows the next time. So an interrupted import begins with the first row again, and finds
    the enrolled records already there.

    Args:
        url: of the database, as SQLAlchemy takes it.
        query: SQL, with the columns of :data:`abis.transfer.sources.table.COLUMNS`.
        files: folder that paths in the rows must be inside of; None reads no files.
    """

    def __init__(self, url: str, query: str, files: Path | None = None) -> None:
        try:
            self._engine = sa.create_engine(url, hide_parameters=True)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"cannot use the database URL: {error}") from error
        self.name = self._engine.url.render_as_string(hide_password=True)
        self._query = query
        self._files = files
        self._done = 0

    @property
    def fingerprint(self) -> None:
        return None

    def records(self, after: int) -> Iterator[Record]:
        try:
            yield from records_of(self._samples(after))
        except sa.exc.SQLAlchemyError as error:
            raise StoreError(f"{self.name}: {getattr(error, 'orig', None) or error}") from error

    def progress(self) -> Progress:
        return Progress(self._done, None)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        with self._engine.connect() as connection:
            rows = connection.execution_options(yield_per=_ROWS).execute(sa.text(self._query))
            names = list(rows.keys())
            columns = Columns.of(self.name, names, self._files)
            self.ignored = columns.ignored(names)
            for number, row in enumerate(rows, 1):
                self._done = number
                if number > after:
                    yield columns.sample(tuple(row), f"row {number}", number)
