# SPDX-License-Identifier: Apache-2.0
"""Commands about subjects: list, subject, status, label, merge, move, erase."""

from __future__ import annotations

import base64
import json
import os
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, DryRun, GalleryPath, SubjectId, Yes, check_output
from abis.cli.audit import entry_as_json
from abis.cli.console import NOT_FOUND, Faults, confirm, print_json, tell
from abis.cli.enrolment import print_removals
from abis.cli.opening import open_existing
from abis.deduplication.decisions import merges, read_decisions
from abis.errors import NotEnrolled
from abis.formats import native
from abis.gallery import SubjectExport
from abis.store import Status, Subject
from abis.text import counted, printable

__all__ = ["commands"]

commands = typer.Typer()


class StatusName(StrEnum):
    """Statuses as they are typed."""

    ACTIVE = "active"
    LOCKED = "locked"
    TERMINATED = "terminated"


@commands.command("list")
def list_(
    gallery: GalleryPath,
    *,
    status: Annotated[
        StatusName | None, typer.Option(metavar="STATUS", help="Only these: active, locked or terminated.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="LABEL", help="Only subjects with this label.")] = None,
    after: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Begin after this subject: the last one of the previous page."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Largest number of subjects listed: a page.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the subjects with their status, level and labels, in the order of enrolment.

    Exit code 0: there are such subjects; 1: there are none; 2: an error.
    """
    wanted = None if status is None else Status[status.upper()]
    is_found = False
    with open_existing(gallery) as opened:
        for known in islice(opened.subjects(status=wanted, label=label, after=after), limit):
            if as_json:
                print_json(known.to_dict())
            else:
                if not is_found:
                    tell(f"{'subject':24}  {'status':10}  level  {'templates':>9}  labels")
                labels = ", ".join(map(printable, known.labels))
                name = printable(known.subject_id)
                row = f"{name:24}  {known.status!s:10}  {known.level:5}  {known.templates:9,}  {labels}"
                tell(row.rstrip())
            is_found = True
    if not is_found:
        if not as_json:
            tell("no such subject" if wanted is not None or label or after else "no subject")
        raise typer.Exit(NOT_FOUND)


@commands.command()
def subject(
    gallery: GalleryPath,
    subject_id: SubjectId,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write everything that the gallery holds of the subject as JSON, templates and log included: what "
            "the subject has a right to see.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the status, level, labels and encounters of a subject."""
    check_output(output)
    with open_existing(gallery) as opened:
        if output is not None:
            found = json.dumps(_export(opened.export_subject(subject_id)), ensure_ascii=False, indent=2)
            with open(
                os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(found + "\n")  # readable by its owner alone: it holds templates
            tell(f"Everything about {subject_id} is in {output}.")
            return
        known = opened.subject(subject_id)
    if as_json:
        print_json(_subject(known))
        return
    reason = f" since {known.since:%Y-%m-%d %H:%M:%S}: {printable(known.reason)}" if known.since else ""
    tell(f"{subject_id}: {known.status}{reason}")
    tell(f"level {known.level}; labels: {', '.join(map(printable, known.labels)) or 'none'}")
    for encounter in known.encounters:
        when = (
            "at an unknown time" if encounter.enrolled is None else f"{encounter.enrolled:%Y-%m-%d %H:%M:%S}"
        )
        positions = ", ".join(position.name for position in encounter.positions)
        tell(f"encounter {printable(encounter.encounter_id)}, {when}: {positions}")


@commands.command()
def status(
    gallery: GalleryPath,
    subject_id: SubjectId,
    to: Annotated[StatusName, typer.Argument(metavar="STATUS", help="active, locked or terminated.")],
    *,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Reason, kept with the status and in the audit log.")
    ],
) -> None:
    """Lock an identity for its holder, terminate it for the authority, or make it active again."""
    with open_existing(gallery) as opened:
        opened.set_status(subject_id, Status[to.upper()], reason=reason)
    tell(f"{subject_id} is {to}.")


@commands.command()
def label(
    gallery: GalleryPath,
    subject_id: SubjectId,
    labels: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABELS...]", help="Replaces the existing labels; omit to keep them."),
    ] = None,
    *,
    level: Annotated[
        int | None,
        typer.Option(
            min=0, max=9, help="Assurance level, for example 1 for a portrait only, 2 for in person."
        ),
    ] = None,
) -> None:
    """Set the labels of a subject, such as its province, and its assurance level."""
    with open_existing(gallery) as opened:
        if labels:
            opened.set_labels(subject_id, labels)
        if level is not None:
            opened.set_level(subject_id, level)
        known = opened.subject(subject_id)
    tell(f"{subject_id}: level {known.level}; labels: {', '.join(map(printable, known.labels)) or 'none'}")


@commands.command()
def merge(
    gallery: GalleryPath,
    source: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="Subject that is removed.", show_default=False)
    ] = None,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="Subject that gets all encounters.", show_default=False),
    ] = None,
    *,
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Merge all pairs that were decided to be one person: a file that the page of "
            "`abis deduplicate --html` saved.",
        ),
    ] = None,
) -> None:
    """Merge two subjects that are one person, or all subjects that were decided to be one person."""
    if (decisions is None) == (source is None) or (source is None) != (target is None):
        raise typer.BadParameter("give SOURCE and TARGET, or --from FILE")
    wanted = [(source, target)] if decisions is None else merges(read_decisions(decisions).pairs)
    with open_existing(gallery) as opened:
        for one, other in wanted:
            assert one is not None
            assert other is not None
            if decisions is not None and one not in opened and other in opened:
                tell(f"{one} is not enrolled any more: merged already.")  # by a run that was stopped
                continue
            renamed = opened.merge(one, other)
            for before, now in renamed.items():
                tell(f"encounter {before} of {one} is encounter {now} of {other}.")


@commands.command()
def move(
    gallery: GalleryPath,
    encounter: Annotated[str, typer.Argument(metavar="ENCOUNTER", help="Encounter id.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Subject that has the encounter.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Subject that should own the encounter.")],
) -> None:
    """Move an encounter that was enrolled under the wrong subject."""
    with open_existing(gallery) as opened:
        opened.move(encounter, source, target)
    tell(f"encounter {encounter} of {source} is now an encounter of {target}.")


@commands.command()
def erase(
    gallery: GalleryPath,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECTS...", help="Subject ids.")],
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Remove subjects so that no byte of their templates is left, and print the proof. This cannot be undone."""
    faults = Faults()
    with open_existing(gallery) as opened:
        if dry_run:
            print_removals(opened, subjects, None, faults)
            faults.exit_if_any()
            return
        confirm(f"Erase {counted(len(subjects), 'subject')} from {gallery} for good?", yes=yes)
        for subject_id in subjects:
            try:
                tell(opened.erase(subject_id))
            except NotEnrolled as error:
                faults.add(error)
    faults.exit_if_any()


def _subject(known: Subject) -> dict[str, object]:
    return {
        "subject_id": known.subject_id,
        "status": str(known.status),
        "reason": known.reason,
        "since": known.since and known.since.isoformat(),
        "level": known.level,
        "labels": list(known.labels),
        "encounters": [
            {
                "encounter_id": encounter.encounter_id,
                "enrolled": encounter.enrolled and encounter.enrolled.isoformat(),
                "positions": [position.name for position in encounter.positions],
            }
            for encounter in known.encounters
        ],
    }


def _export(export: SubjectExport) -> dict[str, object]:
    templates = [
        {
            "encounter_id": encounter_id,
            "position": template.position.name,
            "format": "abis native, base64",
            "template": base64.b64encode(native.write(template)).decode(),
        }
        for encounter_id, template in export.templates
    ]
    quarantined = [
        {
            "reason": found.reason,
            "samples": [
                {"place": sample.place, "content": _as_text(sample.content)}
                for sample in found.record.samples
            ],
        }
        for found in export.quarantined
    ]
    log = [entry_as_json(entry) for entry in export.log]
    return _subject(export.subject) | {"templates": templates, "quarantined": quarantined, "log": log}


def _as_text(content: bytes | str | None) -> str | None:
    """Bytes as base64, text as it is."""
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content
