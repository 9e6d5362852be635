# SPDX-License-Identifier: Apache-2.0
"""What an import writes down in the gallery's own database, in the transaction that enrolls each batch.

So an import that was killed goes on exactly where the gallery's content ends, and what was refused is as
safe as what was enrolled. The tables are made by the first import into a gallery.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from abis.errors import StoreError
from abis.migration.preparation import digest
from abis.migration.records import Record, Sample, printable
from abis.store import Store
from abis.store.kept import drop, keep, kept

__all__ = ["BatchRow", "ImportRow", "Journal", "QuarantinedRecord"]

_metadata = sa.MetaData()
_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_imports = sa.Table(
    "imports",
    _metadata,
    sa.Column("key", _Key, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64)),  # null: may have changed at any time
    sa.Column("started", sa.String(32), nullable=False),
    sa.Column("finished", sa.String(32)),
    sa.Column("end", sa.BigInteger, nullable=False),  # of the last batch
    sa.Column("batches", sa.BigInteger, nullable=False),
    sa.Column("released", sa.BigInteger, nullable=False),  # records that were in quarantine, and are not now
)
_batches = sa.Table(
    "import_batches",
    _metadata,
    sa.Column("import", sa.ForeignKey(_imports.c.key), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # from 1
    sa.Column("end", sa.BigInteger, nullable=False),  # of its last record, in the source's own units
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("enrolled", sa.BigInteger, nullable=False),
    sa.Column("already_there", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("templates", sa.BigInteger, nullable=False),  # of those enrolled
    sa.Column("change", sa.BigInteger, nullable=False),  # of the gallery, after it
    sa.Column("sha256", sa.LargeBinary, nullable=False),  # of its records as they were read
)
_quarantine = sa.Table(
    "quarantine",
    _metadata,
    sa.Column("key", _Key, primary_key=True, autoincrement=False),
    sa.Column("import", sa.ForeignKey(_imports.c.key), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False, unique=True),  # a record is here once
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),  # as JSON: it may be no text at all
    sa.Column("encounter_id", sa.Text, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("fault", sa.Text),
    sa.Column("labels", sa.Text, nullable=False),  # as JSON
)
_samples = sa.Table(
    "quarantined_samples",
    _metadata,
    sa.Column("record", sa.ForeignKey(_quarantine.c.key), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("position", sa.Text, nullable=False),  # as JSON
    sa.Column("is_text", sa.Boolean),  # null: there were no bytes
    sa.Column("kept", sa.BigInteger, nullable=False),  # abis.store.kept: the original bytes
)

_ROWS = 500  # bound parameters of one statement


@dataclass(frozen=True)
class ImportRow:
    """An import: which source, and how far."""

    key: int
    source: str
    fingerprint: str | None
    started: str
    finished: str | None
    end: int
    batches: int
    released: int


class BatchRow(NamedTuple):
    """What became of a batch."""

    number: int
    end: int
    read: int
    enrolled: int
    already_there: int
    quarantined: int
    templates: int
    change: int
    sha256: bytes


@dataclass(frozen=True, repr=False)
class QuarantinedRecord:
    """A record that was refused, as it was read, and why."""

    key: int
    import_key: int
    reason: str
    record: Record

    def __repr__(self) -> str:  # never the content
        return f"QuarantinedRecord({self.key}, {self.record.place}: {self.reason})"


class Journal:
    """The tables of imports in a gallery's database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        with store.transaction() as connection:
            _metadata.create_all(connection)

    # ---------------------------------------------------------------------------------------- imports

    def resume_or_begin(self, source: str, fingerprint: str | None) -> ImportRow:
        """The unfinished import of this very source, or else a new one."""
        with self._store.transaction() as connection:
            if fingerprint is not None:
                unfinished = (
                    _imports.select()
                    .where(_imports.c.fingerprint == fingerprint, _imports.c.finished.is_(None))
                    .order_by(_imports.c.key.desc())
                )
                row = connection.execute(unfinished).first()
                if row is not None:
                    return ImportRow(*row)
            last = connection.scalar(sa.select(sa.func.max(_imports.c.key))) or 0
            new = ImportRow(last + 1, printable(source), fingerprint, _now(), None, 0, 0, 0)
            connection.execute(_imports.insert(), asdict(new))
            return new

    def import_row(self, key: int) -> ImportRow:
        with self._store.reading() as connection:
            return ImportRow(*connection.execute(_imports.select().where(_imports.c.key == key)).one())

    def add_batch(
        self,
        connection: sa.Connection,
        key: int,
        counts: BatchRow,
        refused: Sequence[tuple[Record, str]],
    ) -> None:
        """Write down a batch, in the transaction that enrolls it.

        Raises:
            StoreError: another process has gone on with this import meanwhile.
        """
        moved = connection.execute(
            _imports.update()
            .where(_imports.c.key == key, _imports.c.batches == counts.number - 1)
            .values(batches=counts.number, end=counts.end)
        )
        if moved.rowcount != 1:
            raise StoreError(f"{self._store.name}: another process is running import {key}")
        connection.execute(_batches.insert(), {"import": key, **counts._asdict()})
        self._quarantine(connection, key, refused)

    def finish(self, key: int) -> None:
        with self._store.transaction() as connection:
            connection.execute(_imports.update().where(_imports.c.key == key).values(finished=_now()))

    def batches(self, key: int) -> Iterator[BatchRow]:
        """All batches of an import, in order."""
        columns = [column for column in _batches.c if column.name != "import"]
        query = sa.select(*columns).where(_batches.c["import"] == key).order_by(_batches.c.number)
        last = 0
        while True:
            with self._store.reading() as connection:
                rows = connection.execute(query.where(_batches.c.number > last).limit(_ROWS)).all()
            if not rows:
                return
            yield from (BatchRow(*row) for row in rows)
            last = rows[-1].number

    # ------------------------------------------------------------------------------------- quarantine

    def quarantined(self, import_key: int | None = None) -> int:
        """How many records are in quarantine now, of one import or of all."""
        query = sa.select(sa.func.count()).select_from(_quarantine)
        if import_key is not None:
            query = query.where(_quarantine.c["import"] == import_key)
        with self._store.reading() as connection:
            return int(connection.scalar(query) or 0)

    def quarantine(self) -> Iterator[QuarantinedRecord]:
        """All records in quarantine, in the order they came."""
        last = 0
        while True:
            with self._store.reading() as connection:
                query = _quarantine.select().where(_quarantine.c.key > last).order_by(_quarantine.c.key)
                row = connection.execute(query.limit(1)).first()
                if row is None:
                    return
                found = self._record(connection, row)
            yield found
            last = found.key

    def release(self, connection: sa.Connection, released: QuarantinedRecord) -> None:
        """Take a record out, in the transaction that enrolls it."""
        own = sa.select(_samples.c.kept).where(_samples.c.record == released.key)
        drop(connection, connection.scalars(own).all())
        connection.execute(_samples.delete().where(_samples.c.record == released.key))
        connection.execute(_quarantine.delete().where(_quarantine.c.key == released.key))
        counted = _imports.update().where(_imports.c.key == released.import_key)
        connection.execute(counted.values(released=_imports.c.released + 1))

    def _quarantine(self, connection: sa.Connection, key: int, refused: Sequence[tuple[Record, str]]) -> None:
        last = connection.scalar(sa.select(sa.func.max(_quarantine.c.key))) or 0
        for record, reason in refused:
            place = f"{record.place} {record.end}".encode(errors="surrogatepass")
            sha256 = hashlib.sha256(digest(record) + place).digest()
            known = connection.execute(
                _quarantine.update()
                .where(_quarantine.c.sha256 == sha256)
                .values({"import": key, "reason": printable(reason)})
            )
            if known.rowcount:  # an earlier import of the same source has put it there
                continue
            last += 1
            connection.execute(
                _quarantine.insert(),
                {
                    "key": last,
                    "import": key,
                    "sha256": sha256,
                    "reason": printable(reason),
                    "subject_id": json.dumps(record.subject_id, default=str),
                    "encounter_id": json.dumps(record.encounter_id, default=str),
                    "end": record.end,
                    "fault": None if record.fault is None else printable(record.fault),
                    "labels": json.dumps(record.labels),
                },
            )
            for number, sample in enumerate(record.samples):
                connection.execute(_samples.insert(), self._sample_row(connection, last, number, sample))

    def _sample_row(
        self, connection: sa.Connection, record: int, number: int, sample: Sample
    ) -> dict[str, Any]:
        content = sample.content
        data = content.encode(errors="surrogatepass") if isinstance(content, str) else content or b""
        return {
            "record": record,
            "number": number,
            "place": printable(sample.place),
            "position": json.dumps(sample.position),
            "is_text": None if content is None else isinstance(content, str),
            "kept": keep(connection, self._store.cipher, data),
        }

    def _record(self, connection: sa.Connection, row: Any) -> QuarantinedRecord:
        samples = connection.execute(
            _samples.select().where(_samples.c.record == row.key).order_by(_samples.c.number)
        )
        own = []
        for sample in samples:
            data = kept(connection, self._store.cipher, sample.kept)
            content: bytes | str | None = data
            if sample.is_text is None:
                content = None
            elif sample.is_text:
                content = data.decode(errors="surrogatepass")
            own.append(Sample(sample.place, content, json.loads(sample.position)))
        record = Record(
            json.loads(row.subject_id),
            json.loads(row.encounter_id),
            tuple(own),
            row.end,
            row.fault,
            tuple(json.loads(row.labels)),
        )
        return QuarantinedRecord(row.key, row._mapping["import"], row.reason, record)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
