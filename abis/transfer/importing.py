# SPDX-License-Identifier: Apache-2.0
"""Import a source: each record is enrolled, found to be enrolled already, or quarantined."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

from abis.store import Store
from abis.store.import_journal import BatchRow, Journal, QuarantinedRecord
from abis.store.import_records import Record
from abis.transfer.enrolling import Uniqueness, enrolled
from abis.transfer.preparation import PreparedBatch, prepare
from abis.transfer.reconciliation import ImportReport, reconcile
from abis.transfer.sources.source import Progress, Source
from abis.transfer.workers import collected_by_hand, prepare_all

__all__ = ["import_records", "retry"]

_BATCH_BYTES = 2**24  # of one transaction, which bounds memory if records are large

Watch = Callable[[int, Progress], None]
"""Is called after each batch with the records read by this run, and how much of the source is read."""


def import_records(
    source: Source,
    store: Store,
    *,
    workers: int = 0,
    unique: Uniqueness | None = None,
    watch: Watch | None = None,
    batch: int = 1_000,
) -> ImportReport:
    """Import a source, or continue an interrupted import of it.

    The records of a batch, their results and the place in the source are written in one transaction. A refused record
    (a damaged template, a missing id, other templates for an enrolled encounter) goes to the quarantine with its bytes,
    and the import continues. The report covers the whole import, all runs together.

    Args:
        source: where records come from.
        store: of the gallery.
        workers: processes that read templates, besides this one.
        unique: refuses people who are enrolled under another subject_id, earlier records of this import included. None:
            no check. With another rule it is another import, which begins with the first record.
        watch: called after each batch with the records read and the progress of the source.
        batch: number of records in one transaction; fewer if they are large.

    Raises:
        FormatError: the source is damaged, and the rest of it cannot be read.
        OSError, StoreError: source or store cannot be used. Enrolled batches stay; run the import again to continue.
    """
    journal = Journal(store)
    begun = journal.resume_or_begin(source.name, _fingerprint(source, unique))
    resumed = sum(batch.read for batch in journal.batches(begun.key))
    number, read = begun.batches, 0
    repairs: list[str] = []
    with (
        collected_by_hand(),
        closing(prepare_all(_batches(source.records(begun.end), batch), workers)) as batches,
    ):
        for records, prepared in batches:
            gc.collect(0)
            number += 1
            _write(
                store,
                journal,
                import_key=begun.key,
                number=number,
                records=records,
                prepared=prepared,
                unique=unique,
            )
            read += len(records)
            repairs += prepared.repairs
            if watch is not None:
                watch(read, source.progress())
    journal.finish(begun.key)
    return reconcile(
        store, journal, begun.key, resumed=resumed, ignored_columns=source.ignored, repairs=repairs
    )


def retry(store: Store, journal: Journal, quarantined: QuarantinedRecord) -> str | None:
    """Try to enroll a quarantined record, and remove it from the quarantine.

    Returns:
        None if it was enrolled, or the reason why it stays in quarantine.
    """
    record = quarantined.record
    with enrolled(store, [record], [prepare(record)]) as (plan, transaction):
        if not plan.refused:
            journal.release(transaction, quarantined.key, quarantined.import_key)
    return plan.refused[0][1] if plan.refused else None


def _batches(records: Iterable[Record], most: int) -> Iterator[list[Record]]:
    """Batches of at most ``most`` records."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        for sample in record.samples:
            size += len(sample.content or b"")
        if len(batch) == most or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(
    store: Store,
    journal: Journal,
    *,
    import_key: int,
    number: int,
    records: Sequence[Record],
    prepared: PreparedBatch,
    unique: Uniqueness | None,
) -> None:
    """Enroll a batch, and note the results in the journal."""
    with enrolled(store, records, prepared.prepared, unique) as (plan, transaction):
        counts = BatchRow(
            number=number,
            end=records[-1].end,
            read=len(records),
            enrolled=len(plan.enroll),
            already_there=plan.already_there,
            quarantined=len(plan.refused),
            templates=sum(len(enrollment.templates) for enrollment in plan.enroll),
            change=transaction.state.change,
            sha256=prepared.sha256,
        )
        journal.add_batch(transaction, import_key, counts, plan.refused)


def _fingerprint(source: Source, unique: Uniqueness | None) -> str | None:
    """Return a fingerprint of a source and of the uniqueness rule."""
    if source.fingerprint is None or unique is None:
        return source.fingerprint
    return hashlib.sha256(f"{source.fingerprint} {unique.rule}".encode()).hexdigest()
