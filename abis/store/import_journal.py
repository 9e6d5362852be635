# SPDX-License-Identifier: Apache-2.0
"""The journal of imports, in the gallery's database, written in the transaction that enrolls each batch.

So an interrupted import goes on exactly after the last record that it enrolled, and refused records are as safe as
enrolled ones. The first import into a gallery creates the tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import Store, settings
from abis.store import import_tables as tables
from abis.store.import_records import DUPLICATE, UNCHECKED, Record, Sample, digest
from abis.store.kept import drop, keep, kept
from abis.store.queries import state_of
from abis.store.records import DamageError
from abis.store.rows import tags_of
from abis.store.tagging import quarantine_share, quarantine_tag
from abis.store.tags import xor_of
from abis.store.transaction import Transaction
from abis.text import printable

__all__ = ["BatchRow", "ImportRow", "Journal", "QuarantinedRecord", "check_quarantine"]

_ROWS = 500  # bound parameters of one statement


@dataclass(frozen=True)
class ImportRow:
    """An import: its source, and how far it has come."""

    key: int
    source: str
    fingerprint: str | None
    started: str
    finished: str | None
    end: int
    batches: int
    released: int


class BatchRow(NamedTuple):
    """The results of a batch."""

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

    @property
    def is_duplicate(self) -> bool:
        """Whether the only fault is that an enrolled subject is, or may be, the same person."""
        place = printable(self.record.place)
        return self.reason.startswith((f"{place}: {DUPLICATE}", f"{place}: {UNCHECKED}"))

    def __repr__(self) -> str:  # not the content, which is biometric data
        return f"QuarantinedRecord({self.key}, {self.record.place}: {self.reason})"


class Journal:
    """The tables of imports in a gallery's database.

    Args:
        store: of the gallery.
        create: make the tables if they do not exist.
    """

    def __init__(self, store: Store, *, create: bool = True) -> None:
        self._store = store
        if create:
            with store.writing() as transaction:
                tables.metadata.create_all(transaction.connection)

    # ---------------------------------------------------------------------------------------- imports

    def resume_or_begin(self, source: str, fingerprint: str | None) -> ImportRow:
        """Return the unfinished import of this source, or begin a new one.

        An import whose place in the source is not as it was written begins anew: records that are enrolled already are
        found to be there, and none is skipped.
        """
        with self._store.writing() as transaction:
            connection = transaction.connection
            if fingerprint is not None:
                unfinished = (
                    tables.imports.select()
                    .where(tables.imports.c.fingerprint == fingerprint, tables.imports.c.finished.is_(None))
                    .order_by(tables.imports.c.key.desc())
                )
                row = connection.execute(unfinished).first()
                if row is not None and _is_authentic(connection, ImportRow(*row)):
                    return ImportRow(*row)
            last = connection.scalar(sa.select(sa.func.max(tables.imports.c.key))) or 0
            new = ImportRow(last + 1, printable(source), fingerprint, _now(), None, 0, 0, 0)
            connection.execute(tables.imports.insert(), asdict(new))
            return new

    def import_row(self, key: int) -> ImportRow:
        with self._store.reading() as connection:
            return ImportRow(
                *connection.execute(tables.imports.select().where(tables.imports.c.key == key)).one()
            )

    def finished_before(self, row: ImportRow) -> ImportRow | None:
        """The last complete import of the same source before an import; None if there is none."""
        imports = tables.imports.c
        same = sa.and_(
            imports.fingerprint == row.fingerprint, imports.finished.is_not(None), imports.key < row.key
        )
        with self._store.reading() as connection:
            query = tables.imports.select().where(same).order_by(imports.key.desc())
            found = connection.execute(query).first()
        return None if found is None else ImportRow(*found)

    def add_batch(
        self,
        transaction: Transaction,
        key: int,
        counts: BatchRow,
        refused: Sequence[tuple[Record, str]],
    ) -> None:
        """Note a batch, in the transaction that enrolls it.

        Raises:
            StoreError: another process has gone on with this import meanwhile.
        """
        connection = transaction.connection
        moved = connection.execute(
            tables.imports.update()
            .where(tables.imports.c.key == key, tables.imports.c.batches == counts.number - 1)
            .values(batches=counts.number, end=counts.end)
        )
        if moved.rowcount != 1:
            raise StoreError(f"{self._store.name}: another process is running import {key}")
        connection.execute(tables.batches.insert(), {"import": key, **counts._asdict()})
        settings.put(connection, _place_name(key), _place(counts.number, counts.end))
        self._quarantine(transaction, key, refused)

    def finish(self, key: int) -> None:
        with self._store.writing() as transaction:
            transaction.connection.execute(
                tables.imports.update().where(tables.imports.c.key == key).values(finished=_now())
            )

    def batches(self, key: int) -> Iterator[BatchRow]:
        """All batches of an import, in order."""
        columns = [column for column in tables.batches.c if column.name != "import"]
        query = sa.select(*columns).where(tables.batches.c["import"] == key).order_by(tables.batches.c.number)
        last = 0
        while True:
            with self._store.reading() as connection:
                rows = connection.execute(query.where(tables.batches.c.number > last).limit(_ROWS)).all()
            if not rows:
                return
            yield from (BatchRow(*row) for row in rows)
            last = rows[-1].number

    # ------------------------------------------------------------------------------------- quarantine

    def quarantined(self, import_key: int | None = None) -> int:
        """Number of records in quarantine, of one import or of all."""
        query = sa.select(sa.func.count()).select_from(tables.quarantine)
        if import_key is not None:
            query = query.where(tables.quarantine.c["import"] == import_key)
        with self._store.reading() as connection:
            return int(connection.scalar(query) or 0)

    def quarantine(self, which: sa.ColumnElement[bool] | None = None) -> Iterator[QuarantinedRecord]:
        """The records in quarantine, in the order they came.

        Args:
            which: a condition on table ``quarantine``; None for all.

        Raises:
            StoreError: a record is damaged or forged, missing, or was released and put back.
        """
        with self._store.reading() as connection:
            check_quarantine(connection)
        last = 0
        key = tables.quarantine.c.key
        wanted = tables.quarantine.select().where(sa.true() if which is None else which).order_by(key)
        while True:
            with self._store.reading() as connection:
                query = wanted.where(key > last)
                row = connection.execute(query.limit(1)).first()
                if row is None:
                    return
                found = self._record(connection, row)
            yield found
            last = found.key

    def check(self, connection: sa.Connection) -> None:
        """Check all records in quarantine, with their bytes.

        Raises:
            StoreError: a record is damaged or forged, missing, or was released and put back.
        """
        check_quarantine(connection)
        for row in connection.execute(tables.quarantine.select().order_by(tables.quarantine.c.key)).all():
            self._record(connection, row)

    @staticmethod
    def release(transaction: Transaction, record: int, import_key: int) -> None:
        """Remove a record and its bytes; the import's report counts it as released."""
        connection = transaction.connection
        imports, quarantine, samples = tables.imports, tables.quarantine, tables.samples
        own = sa.select(samples.c.kept).where(samples.c.record == record)
        drop(connection, connection.scalars(own).all())
        connection.execute(samples.delete().where(samples.c.record == record))
        tag = connection.scalar(sa.select(quarantine.c.checksum).where(quarantine.c.key == record))
        if tag is not None:
            _count(transaction, quarantine_share(transaction.tags, record, tag))
        connection.execute(quarantine.delete().where(quarantine.c.key == record))
        counted = imports.update().where(imports.c.key == import_key)
        connection.execute(counted.values(released=imports.c.released + 1))

    def _quarantine(self, transaction: Transaction, key: int, refused: Sequence[tuple[Record, str]]) -> None:
        connection, shares = transaction.connection, 0
        last = connection.scalar(sa.select(sa.func.max(tables.quarantine.c.key))) or 0
        for record, reason in refused:
            place = f"{record.place} {record.end}".encode(errors="surrogatepass")
            sha256 = hashlib.sha256(digest(record) + place).digest()
            query = tables.quarantine.select().where(tables.quarantine.c.sha256 == sha256)
            known = connection.execute(query).first()
            if known is not None:  # an earlier import of the same source put it there
                samples, _ = self._samples(connection, known.key)
                values = known._asdict() | {"import": key, "reason": printable(reason)}
                values["checksum"] = tag = _tag(connection, values, samples)
                shares ^= quarantine_share(transaction.tags, known.key, known.checksum)
                shares ^= quarantine_share(transaction.tags, known.key, tag)
                update = tables.quarantine.update().where(tables.quarantine.c.key == known.key)
                connection.execute(update.values(values))
                continue
            last += 1
            values = {
                "key": last,
                "import": key,
                "sha256": sha256,
                "reason": printable(reason),
                "subject_id": json.dumps(record.subject_id, default=str),
                "encounter_id": json.dumps(record.encounter_id, default=str),
                "end": record.end,
                "fault": None if record.fault is None else printable(record.fault),
                "labels": json.dumps(record.labels),
            }
            rows = [(_sample_row(n, sample), _data(sample)) for n, sample in enumerate(record.samples)]
            values["checksum"] = tag = _tag(connection, values, [(*row.values(), data) for row, data in rows])
            shares ^= quarantine_share(transaction.tags, last, tag)
            connection.execute(tables.quarantine.insert(), values)
            for row, data in rows:
                at = keep(connection, self._store.cipher, data)
                connection.execute(tables.samples.insert(), {"record": last, **row, "kept": at})
        _count(transaction, shares)

    def _samples(
        self, connection: sa.Connection, record: int
    ) -> tuple[list[tuple[object, ...]], list[Sample]]:
        """The samples of a record in quarantine: the values that the tag covers, and the samples as they were read."""
        query = tables.samples.select().where(tables.samples.c.record == record)
        covered: list[tuple[object, ...]] = []
        own = []
        for sample in connection.execute(query.order_by(tables.samples.c.number)):
            data = kept(connection, self._store.cipher, sample.kept)
            covered.append((sample.number, sample.place, sample.position, sample.is_text, data))
            content: bytes | str | None = data
            if sample.is_text is None:
                content = None
            elif sample.is_text:
                content = data.decode(errors="surrogatepass")
            own.append(Sample(sample.place, content, json.loads(sample.position)))
        return covered, own

    def _record(self, connection: sa.Connection, row: Any) -> QuarantinedRecord:
        covered, own = self._samples(connection, row.key)
        if _tag(connection, row._mapping, covered) != row.checksum:
            raise DamageError(f"record {row.key} in quarantine is damaged or forged: its tag is wrong")
        record = Record(
            json.loads(row.subject_id),
            json.loads(row.encounter_id),
            tuple(own),
            row.end,
            row.fault,
            tuple(json.loads(row.labels)),
        )
        return QuarantinedRecord(row.key, row._mapping["import"], row.reason, record)


def check_quarantine(connection: sa.Connection) -> None:
    """Compare the records in quarantine with what the gallery's row says of them; reads no content.

    Raises:
        DamageError: a record is missing, or one that was released was put back.
    """
    stated = settings.deciding_settings(connection, state_of(connection)).get(settings.QUARANTINE, "0")
    columns, tags = tables.quarantine.c, tags_of(connection)
    rows = connection.execute(sa.select(columns.key, columns.checksum))
    if xor_of(quarantine_share(tags, key, tag) for key, tag in rows) != int(stated):
        raise DamageError("the records in quarantine are not all those that were written last")


def _count(transaction: Transaction, shares: int) -> None:
    """Combine the shares of records that come or go with those of the others."""
    if shares:
        connection, state = transaction.connection, transaction.state
        before = settings.deciding_settings(connection, state).get(settings.QUARANTINE, "0")
        settings.put_deciding(connection, state, settings.QUARANTINE, str(int(before) ^ shares))


def _place_name(key: int) -> str:
    """Name of the setting that authenticates how far an import has come."""
    return f"import:{key}"


def _place(batches: int, end: int) -> str:
    return f"{batches} batches, to {end}"


def _is_authentic(connection: sa.Connection, row: ImportRow) -> bool:
    """Whether an import has come as far as its row says."""
    try:
        stated = settings.get(connection, _place_name(row.key))
    except DamageError:
        return False
    return stated == _place(row.batches, row.end) or row.batches == 0


def _sample_row(number: int, sample: Sample) -> dict[str, object]:
    content = sample.content
    return {
        "number": number,
        "place": printable(sample.place),
        "position": json.dumps(sample.position),
        "is_text": None if content is None else isinstance(content, str),
    }


def _data(sample: Sample) -> bytes:
    content = sample.content
    return content.encode(errors="surrogatepass") if isinstance(content, str) else content or b""


def _tag(connection: sa.Connection, row: Mapping[str, object], samples: Sequence[tuple[object, ...]]) -> int:
    values = [row[column.name] for column in tables.quarantine.c if column.name not in ("sha256", "checksum")]
    return quarantine_tag(tags_of(connection), values, samples)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
