# SPDX-License-Identifier: Apache-2.0
"""Reconcile an import: compare the records read with the records in the gallery's database."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from abis.answers import Answer
from abis.store import Store
from abis.store.import_journal import ImportRow, Journal

__all__ = ["ImportReport", "reconcile"]

_SHOWN = 3  # faults that the printed report names; the JSON names all


@dataclass(frozen=True, repr=False)
class ImportReport(Answer):
    """What an import did, from its first batch on, however often it was interrupted.

    Attributes:
        source: name of the source.
        gallery: name of the gallery's database.
        import_key: number of the import in this gallery.
        complete: whether the source has been read to its end.
        read: records read; each is counted under one of the next three.
        enrolled: encounters that are in the gallery by this import.
        already_there: records whose encounter was in the gallery, with the very same templates.
        quarantined: records that were refused.
        templates: of the encounters enrolled.
        batches: transactions.
        sha256: over all records as they were read, batch by batch; the same source gives the same again.
        resumed: records that earlier runs of this import had read.
        ignored_columns: columns of the source that are not imported.
        mismatches: differences between the counts; empty if there is none.
        repairs: faults of records that this run passed over, such as padding, and where; see :func:`abis.read`.
        earlier: the last complete import of the same source, and what it enrolled; empty where there is none. After an
            import that was complete but killed before its report, another run enrolls nothing.
    """

    source: str
    gallery: str
    import_key: int
    complete: bool
    read: int
    enrolled: int
    already_there: int
    quarantined: int
    templates: int
    batches: int
    sha256: str
    resumed: int
    ignored_columns: tuple[str, ...]
    mismatches: tuple[str, ...]
    repairs: tuple[str, ...] = ()
    earlier: str = ""

    def __str__(self) -> str:
        rows = [
            ("source", self.source),
            ("gallery", self.gallery),
            (
                "records read",
                f"{self.read:,}" + (f" ({self.resumed:,} by earlier runs)" if self.resumed else ""),
            ),
            ("  enrolled", f"{self.enrolled:,}, of {self.templates:,} templates"),
            ("  already there", f"{self.already_there:,}"),
            ("  quarantined", f"{self.quarantined:,}"),
            ("batches", f"{self.batches:,}"),
            ("checksum", f"sha256 {self.sha256}"),
        ]
        if self.repairs:
            first = "; ".join(self.repairs[:_SHOWN]) + (", ..." if len(self.repairs) > _SHOWN else "")
            rows.append(("read leniently", f"{len(self.repairs):,} faults passed over: {first}"))
        if self.earlier:
            rows.append(("before", self.earlier))
        if self.ignored_columns:
            rows.append(("not imported", f"columns {', '.join(self.ignored_columns)}"))
        if not self.complete:
            rows.append(("incomplete", "the source has not been read to its end"))
        rows.append(("reconciled", "; ".join(self.mismatches) if self.mismatches else "yes"))
        return "\n".join(f"{label:17}{value}" for label, value in rows)


def reconcile(
    store: Store,
    journal: Journal,
    import_key: int,
    *,
    resumed: int,
    ignored_columns: tuple[str, ...],
    repairs: Sequence[str] = (),
) -> ImportReport:
    """Add up the journal of an import, and compare it with the gallery's log of changes and quarantine."""
    row = journal.import_row(import_key)
    read = enrolled = already_there = quarantined = templates = number = end = 0
    mismatches = []
    sha256 = hashlib.sha256()
    for number, batch in enumerate(journal.batches(import_key), 1):
        if batch.number != number or batch.end <= end:
            mismatches.append(
                f"batch {batch.number} follows on {number - 1}, ending at {batch.end} after {end}"
            )
        if batch.read != batch.enrolled + batch.already_there + batch.quarantined:
            mismatches.append(f"batch {batch.number}: {batch.read} records read are not the sum of the rest")
        logged = store.enrolled_between(batch.change - batch.enrolled, batch.change)
        if logged != batch.enrolled:
            mismatches.append(
                f"batch {batch.number}: {batch.enrolled} enrolled, but the log of changes has {logged}"
            )
        read += batch.read
        enrolled += batch.enrolled
        already_there += batch.already_there
        quarantined += batch.quarantined
        templates += batch.templates
        end = batch.end
        sha256.update(batch.sha256)
    if (number, end) != (row.batches, row.end):
        mismatches.append(f"{number} batches to {end}, but the import says {row.batches} to {row.end}")
    held = journal.quarantined(import_key) + row.released
    if held != quarantined:
        mismatches.append(f"{quarantined} quarantined, but the quarantine holds {held}")
    return ImportReport(
        source=row.source,
        gallery=store.name,
        import_key=import_key,
        complete=row.finished is not None,
        read=read,
        enrolled=enrolled,
        already_there=already_there,
        quarantined=quarantined,
        templates=templates,
        batches=number,
        sha256=sha256.hexdigest(),
        resumed=resumed,
        ignored_columns=ignored_columns,
        mismatches=tuple(mismatches),
        repairs=tuple(repairs),
        earlier=_earlier(journal, row),
    )


def _earlier(journal: Journal, row: ImportRow) -> str:
    """The complete import of the same source before this one, in words."""
    before = journal.finished_before(row)
    if before is None:
        return ""
    enrolled = sum(batch.enrolled for batch in journal.batches(before.key))
    return f"import {before.key} of the same source, complete on {before.finished}, enrolled {enrolled:,}"
