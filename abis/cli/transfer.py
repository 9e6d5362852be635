# SPDX-License-Identifier: Apache-2.0
"""``abis import``, ``abis export`` and ``abis quarantine``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import (
    AsJson,
    FingerFormat,
    GalleryPath,
    MinCoverage,
    check_output_folder,
    compile_pattern,
    parse_rate,
)
from abis.cli.console import FAILED, Faults, import_bar, out, print_json, progress_bar, say, tell
from abis.cli.opening import open_existing
from abis.files import private_stream
from abis.formats import Format
from abis.gallery import Gallery
from abis.parallel import available_cores
from abis.store import Store
from abis.store.import_journal import Journal, QuarantinedRecord
from abis.text import SafeCsv, counted, printable
from abis.transfer.exporting import check_destination
from abis.transfer.importing import retry as retry_record
from abis.transfer.sources import open_path
from abis.transfer.sources.gallery import GallerySource
from abis.transfer.sources.query import QuerySource
from abis.transfer.sources.source import Source

__all__ = ["commands"]

commands = typer.Typer()
quarantine = typer.Typer(
    no_args_is_help=True, help="List, export or retry the records that imports have refused."
)
commands.add_typer(quarantine, name="quarantine")


@commands.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a tar archive (plain, .gz, .zst), a manifest (.csv, .parquet), another gallery, or, with "
            "--query, the URL of a database.",
        ),
    ],
    gallery: GalleryPath,
    *,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Regular expression that names in folders and archives must match as a whole, without their ending: "
            "the group (?P<subject>...) is the subject id; (?P<encounter>...) and (?P<position>...) are optional. A "
            "pattern with a / is for the path. By default the subject is the folder's name in FOLDER/SUBJECT/FILE, "
            "else what the file name begins with: 0042 in 0042_right_index_1, David_Beckham in David_Beckham_0001.",
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="Read the rows of this query, ordered by subject_id: columns subject_id and template, optionally "
            "encounter_id and position.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Processes that read templates. The default is one a core."),
    ] = None,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique",
            help="Search for each record among all subjects; a subject who is enrolled under another id goes to "
            "quarantine. Loads the gallery into memory.",
        ),
    ] = False,
    fpir: Annotated[
        float,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="False positive identification rate of these searches: part of new subjects that may be refused.",
        ),
    ] = 1e-4,
    min_coverage: MinCoverage = 1.0,
    as_json: AsJson = False,
) -> None:
    """Import the records of another system; create the gallery if it does not exist.

    A record that cannot be enrolled goes to the gallery's quarantine, and the others go on. After Ctrl-C or a crash,
    the same command goes on where it stopped. See docs/migration.md.
    """
    if workers is None:
        workers = available_cores()
    with ExitStack() as stack:
        opened = _source(source, pattern, query, stack)
        into = stack.enter_context(Gallery.open(gallery, load=False))
        if unique:
            with progress_bar("loading") as progress:
                into.load(progress=progress)
        watch = stack.enter_context(import_bar("importing"))
        try:
            report = into.import_records(
                opened,
                workers=workers,
                unique=unique,
                fpir=fpir,
                min_coverage=min_coverage,
                watch=watch,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {gallery} keeps what is imported; to go on, run the same command again"
            ) from None
    if as_json:
        print_json(report.to_dict())
    else:
        tell(report)
    if report.quarantined:
        verb = "is" if report.quarantined == 1 else "are"
        say(
            f"error: {counted(report.quarantined, 'record')} {verb} in quarantine; "
            f"see abis quarantine list {gallery}"
        )
    if report.mismatches:
        say("error: the records do not add up; see 'reconciled' in the report")
    if report.quarantined or report.mismatches:
        raise typer.Exit(FAILED)


@commands.command()
def export(
    gallery: GalleryPath,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST",
            help="File or folder to create: NAME.parquet, NAME.tar, NAME.tar.gz, or a folder of files with a "
            "manifest.csv.",
        ),
    ],
    *,
    finger_format: FingerFormat = Format.NATIVE,
    as_json: AsJson = False,
) -> None:
    """Write all templates of a gallery, so that other systems, or `abis import`, can read them."""
    check_destination(destination)
    check_output_folder(destination.parent, new=False)
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
        tell(
            f"{counted(report.templates, 'template')} of {counted(report.subjects, 'subject')}, "
            f"{counted(report.encounters, 'encounter')}, are in {destination}."
        )
    faults = Faults()
    for place, reason in report.refused:
        faults.add(f"{place} is not exported: {reason}")
    faults.exit_if_any()


@quarantine.command("list")
def list_(gallery: GalleryPath, *, as_json: AsJson = False) -> None:
    """List the records and why each was refused."""
    with _journal(gallery) as (_, journal):
        for found in journal.quarantine():
            if as_json:
                print_json(_described(found))
            else:
                out.print(f"{found.key}  {_subject(found)}  {found.reason}", soft_wrap=True)


@quarantine.command("export")
def export_quarantine(
    gallery: GalleryPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create.")],
) -> None:
    """Write the original bytes to files, and the reasons to quarantine.csv."""
    check_output_folder(folder, new=True)
    folder.mkdir(mode=0o700, parents=True)
    count = 0
    with (
        _journal(gallery) as (_, journal),
        TextIOWrapper(private_stream(folder / "quarantine.csv"), encoding="utf-8", newline="") as manifest,
    ):
        rows = SafeCsv(manifest)
        rows.row(["record", "subject_id", "encounter_id", "position", "path", "place", "reason"])
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
                    with private_stream(folder / path, new=True) as file:
                        file.write(data)
                cells = [
                    found.key,
                    found.record.subject_id,
                    found.record.encounter_id,
                    sample.position,
                    path,
                    sample.place,
                    found.reason,
                ]
                rows.row([None if cell is None else printable(cell) for cell in cells])
    tell(f"{counted(count, 'record')} written to {folder}.")


@quarantine.command()
def retry(
    gallery: GalleryPath,
    records: Annotated[
        list[int] | None,
        typer.Argument(
            metavar="[RECORDS]...", help="Record numbers, as `list` prints them. The default is all."
        ),
    ] = None,
) -> None:
    """Enroll the records that can be enrolled now; the others stay in quarantine.

    A duplicate is enrolled only if its number is given.
    """
    keys = records or []
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
    tell(f"{counted(enrolled, 'record')} {'is' if enrolled == 1 else 'are'} enrolled and out of quarantine.")
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
    return open_path(path, pattern=None if pattern is None else compile_pattern(pattern))


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
