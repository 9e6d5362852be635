# SPDX-License-Identifier: Apache-2.0
"""From a source into a gallery: each record is enrolled, found to be there already, or quarantined."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from abis.errors import AlreadyEnrolled
from abis.formats import native
from abis.migration.journal import BatchRow, Journal, QuarantinedRecord
from abis.migration.preparation import PreparedBatch, prepare
from abis.migration.reconciliation import ImportReport, reconcile
from abis.migration.records import Prepared, Record, Rejected
from abis.migration.sources.source import Progress, Source
from abis.migration.workers import collected_by_hand, prepare_all
from abis.store import FIRST_ENCOUNTER, State, Store, StoredEnrollment

__all__ = ["import_records", "retry"]

_BATCH = 1_000  # records of one transaction
_BATCH_BYTES = 2**24  # or so many bytes read: what bounds memory where records are large

Watch = Callable[[int, Progress], None]
"""Is called after each batch with the records read by this run, and how much of the source is read."""

Content = Sequence[tuple[int, bytes]]
"""The templates of an encounter, (position, stored form) each; in any order they are the same."""


def import_records(
    source: Source, store: Store, *, workers: int = 0, watch: Watch | None = None
) -> ImportReport:
    """Import a source; go on where an earlier run of the same import stopped, whatever stopped it.

    A batch, what became of it and how far the source has been read are one transaction. Whatever is
    refused (a damaged template, a missing id, other templates of an encounter that is enrolled) goes to the
    quarantine with its bytes, and the others go on. The report is of the whole import, all runs together.

    Args:
        source: where records come from.
        store: of the gallery.
        workers: processes that read templates, besides this one.
        watch: told how it goes on.

    Raises:
        FormatError: the source is damaged such that it cannot be read on.
        OSError, StoreError: source or store cannot be used. What was committed stays; run it again to go on.
    """
    journal = Journal(store)
    begun = journal.resume_or_begin(source.name, source.fingerprint)
    resumed = sum(batch.read for batch in journal.batches(begun.key))
    number, read = begun.batches, 0
    with collected_by_hand(), closing(prepare_all(_batches(source.records(begun.end)), workers)) as batches:
        for records, prepared in batches:
            gc.collect(0)
            number += 1
            _write(store, journal, import_key=begun.key, number=number, records=records, prepared=prepared)
            read += len(records)
            if watch is not None:
                watch(read, source.progress())
    journal.finish(begun.key)
    return reconcile(store, journal, begun.key, resumed=resumed, ignored_columns=source.ignored)


def retry(store: Store, journal: Journal, quarantined: QuarantinedRecord) -> str | None:
    """Enroll a record of the quarantine, and take it out.

    Returns:
        None, or the reason why it stays there.
    """
    record = quarantined.record

    def release(plan: _Plan, connection: sa.Connection, _: State) -> None:
        if not plan.refused:
            journal.release(connection, quarantined.key, quarantined.import_key)

    plan = _enroll(store, [record], [prepare(record)], release)
    return plan.refused[0][1] if plan.refused else None


@dataclass(frozen=True)
class _Plan:
    """What is to become of some records."""

    enroll: list[StoredEnrollment]
    already_there: int
    refused: list[tuple[Record, str]]


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        for sample in record.samples:
            size += len(sample.content or b"")
        if len(batch) == _BATCH or size >= _BATCH_BYTES:
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
) -> None:
    """Enroll a batch, and write down what became of it."""

    def write_down(plan: _Plan, connection: sa.Connection, state: State) -> None:
        counts = BatchRow(
            number=number,
            end=records[-1].end,
            read=len(records),
            enrolled=len(plan.enroll),
            already_there=plan.already_there,
            quarantined=len(plan.refused),
            templates=sum(len(enrollment.templates) for enrollment in plan.enroll),
            change=state.change,
            sha256=prepared.sha256,
        )
        journal.add_batch(connection, import_key, counts, plan.refused)

    _enroll(store, records, prepared.prepared, write_down)


def _enroll(
    store: Store,
    records: Sequence[Record],
    prepared: Sequence[Prepared],
    also: Callable[[_Plan, sa.Connection, State], None],
) -> _Plan:
    """Enroll what can be, as if nothing were there; where that fails, look what is, and plan again."""
    known: dict[str, dict[str, Content]] = {}
    while True:
        plan = _plan(records, prepared, known)
        try:
            store.enroll_stored(plan.enroll, also=partial(also, plan))
        except AlreadyEnrolled:
            known = _known(store, (p.subject_id for p in prepared if isinstance(p, StoredEnrollment)))
        else:
            return plan


def _plan(
    records: Sequence[Record], prepared: Sequence[Prepared], known: Mapping[str, Mapping[str, Content]]
) -> _Plan:
    """Decide on each record, those before it in the batch taken as enrolled."""
    seen: dict[str, dict[str, Content]] = {}
    enroll: list[StoredEnrollment] = []
    refused: list[tuple[Record, str]] = []
    already_there = 0
    for record, own in zip(records, prepared, strict=True):
        if isinstance(own, Rejected):
            refused.append((record, own.reason))
            continue
        encounters = seen.setdefault(own.subject_id, dict(known.get(own.subject_id, {})))
        encounter_id = own.encounter_id or FIRST_ENCOUNTER
        if encounter_id in encounters:
            if _sorted(encounters[encounter_id]) == _sorted(own.templates):
                already_there += 1
            else:
                refused.append((record, _conflict(record, own.subject_id, encounter_id)))
        elif encounters and own.encounter_id is None:
            reason = (
                f"{record.place}: subject {own.subject_id!r} is enrolled already; "
                "a further encounter needs an encounter_id"
            )
            refused.append((record, reason))
        else:
            encounters[encounter_id] = own.templates
            enroll.append(own)
    return _Plan(enroll, already_there, refused)


def _sorted(content: Content) -> list[bytes]:
    return sorted([data for _, data in content])


def _conflict(record: Record, subject_id: str, encounter_id: str) -> str:
    return (
        f"{record.place}: encounter {encounter_id!r} of subject {subject_id!r} is enrolled with other templates "
        "(or comes in parts: the records of a subject must follow each other)"
    )


def _known(store: Store, subject_ids: Iterable[str]) -> dict[str, dict[str, Content]]:
    return {
        subject_id: {
            encounter_id: [(int(template.position), native.write(template)) for template in templates]
            for encounter_id, templates in encounters.items()
        }
        for subject_id, encounters in store.encounters(set(subject_ids)).items()
    }
