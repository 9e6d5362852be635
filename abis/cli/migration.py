# SPDX-License-Identifier: Apache-2.0
"""``abis import``, ``abis export`` and ``abis quarantine``."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from abis.cli.arguments import DEFAULT_PATTERN, compile_pattern
from abis.cli.console import FAILED, Faults, import_bar, out, print_json, progress_bar, say
from abis.cli.galleries import open_existing
from abis.formats import Format
from abis.gallery import Gallery
from abis.parallel import available_cores
from abis.store import Store
from abis.store.import_journal import Journal, QuarantinedRecord
from abis.store.import_records import printable
from abis.transfer.importing import retry as retry_record
from abis.transfer.sources import open_path
from abis.transfer.sources.gallery import GallerySource
from abis.transfer.sources.query import QuerySource
from abis.transfer.sources.source import Source

__all__ = ["export", "import_", "quarantine_export", "quarantine_list", "quarantine_retry"]


def import_(
    source: str,
    gallery: str,
    *,
    pattern: str | None,
    query: str | None,
    workers: int | None,
    fpir: float | None,
    as_json: bool,
) -> None:
    """Import, report, and end with the exit code for failure where something is in quarantine or amiss.

    Where there is an ``fpir``, nobody comes in who is there under another subject_id.
    """
    if workers is None:
        workers = available_cores()
    with ExitStack() as stack:
        opened = _source(source, pattern, query, stack)
        into = stack.enter_context(Gallery.open(gallery, load=False))
        if fpir is not None:
            with progress_bar("loading") as progress:
                into.load(progress=progress)
        watch = stack.enter_context(import_bar("importing"))
        try:
            report = into.import_records(
                opened, workers=workers, unique=fpir is not None, fpir=fpir or 1e-4, watch=watch
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {gallery} keeps what is imported; to go on, run the same command again"
            ) from None
    if as_json:
        print_json(report.as_json())
    else:
        typer.echo(report)
    if report.quarantined:
        say(f"error: {report.quarantined:,} records are in quarantine; see abis quarantine list {gallery}")
    if report.mismatches:
        say("error: the records do not add up; see 'reconciled' in the report")
    if report.quarantined or report.mismatches:
        raise typer.Exit(FAILED)


def export(gallery: str, destination: Path, *, finger_format: Format, as_json: bool) -> None:
    """Write all templates of a gallery."""
    with open_existing(gallery) as opened, progress_bar("exporting") as progress:
        report = opened.export_records(destination, finger_format=finger_format, progress=progress)
    if as_json:
        print_json(
            {
                "subjects": report.subjects,
                "encounters": report.encounters,
                "templates": report.templates,
                "refused": len(report.refused),
            }
        )
    else:
        typer.echo(
            f"{report.templates:,} templates of {report.subjects:,} subjects, {report.encounters:,} encounters, "
            f"are in {destination}."
        )
    faults = Faults()
    for place, reason in report.refused:
        faults.add(f"{place} is not exported: {reason}")
    faults.exit_if_any()


def quarantine_list(gallery: str, *, as_json: bool) -> None:
    """A line for each record: its number, subject, and what is wrong."""
    with _journal(gallery) as (_, journal):
        for found in journal.quarantine():
            if as_json:
                print_json(_described(found))
            else:
                out.print(f"{found.key}  {_subject(found)}  {found.reason}", markup=False, soft_wrap=True)


def quarantine_export(gallery: str, folder: Path) -> None:
    """The original bytes of each sample as a file, and ``quarantine.csv`` that says what each is."""
    folder.mkdir(mode=0o700, parents=True)
    count = 0
    with (
        _journal(gallery) as (_, journal),
        (folder / "quarantine.csv").open("w", newline="", encoding="utf-8") as manifest,
    ):
        rows = csv.writer(manifest)
        rows.writerow(["record", "subject_id", "encounter_id", "position", "path", "place", "reason"])
        for found in journal.quarantine():
            count += 1
            for number, sample in enumerate(found.record.samples):
                path = ""
                if sample.content is not None:
                    path = f"{found.key:09d}_{number:03d}" + (
                        ".txt" if isinstance(sample.content, str) else ""
                    )
                    content = sample.content
                    data = content.encode(errors="surrogatepass") if isinstance(content, str) else content
                    (folder / path).write_bytes(data)
                cells = [
                    found.key,
                    found.record.subject_id,
                    found.record.encounter_id,
                    sample.position,
                    path,
                    sample.place,
                    found.reason,
                ]
                rows.writerow(["" if cell is None else printable(cell) for cell in cells])
    typer.echo(f"{count:,} records are in {folder}.")


def quarantine_retry(gallery: str, keys: Sequence[int]) -> None:
    """Enroll what can be by now; the rest stays, and is named. Duplicates only where their numbers are given."""
    faults = Faults()
    enrolled = 0
    with _journal(gallery) as (store, journal):
        wanted = set(keys)
        for found in journal.quarantine():
            if keys and found.key not in wanted:
                continue
            wanted.discard(found.key)
            if found.is_duplicate and not keys:
                faults.add(f"{found.key}  {_subject(found)}  {found.reason}; to enroll it, give its number")
                continue
            reason = retry_record(store, journal, found)
            if reason is None:
                enrolled += 1
            else:
                faults.add(f"{found.key}  {_subject(found)}  {reason}")
    for key in sorted(wanted):
        faults.add(f"record {key} is not in quarantine")
    typer.echo(f"{enrolled:,} records are enrolled and out of quarantine.")
    faults.exit_if_any()


@contextmanager
def _journal(gallery: str) -> Iterator[tuple[Store, Journal]]:
    with open_existing(gallery) as opened:
        yield opened.internals.store, Journal(opened.internals.store)


def _source(source: str, pattern: str | None, query: str | None, stack: ExitStack) -> Source:
    path = Path(source)
    if query is not None:
        return QuerySource(source, query)
    if "://" in source or (path / "store.sqlite").exists():
        return GallerySource(stack.enter_context(open_existing(source)).internals.store)
    return open_path(path, pattern=compile_pattern(DEFAULT_PATTERN if pattern is None else pattern))


def _described(found: QuarantinedRecord) -> dict[str, object]:
    return {
        "record": found.key,
        "import": found.import_key,
        "subject_id": found.record.subject_id,
        "encounter_id": found.record.encounter_id,
        "places": [sample.place for sample in found.record.samples],
        "bytes": sum(len(sample.content or "") for sample in found.record.samples),
        "reason": found.reason,
    }


def _subject(found: QuarantinedRecord) -> str:
    subject_id = found.record.subject_id
    return printable(subject_id) if isinstance(subject_id, str) else "(no subject)"
