# SPDX-License-Identifier: Apache-2.0
"""The commands of those who run a gallery: care of the data, of subjects, of keys, and the log."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import typer

from abis.cli.console import FAILED, Faults, print_json, progress_bar, say
from abis.cli.galleries import open_existing
from abis.errors import NotEnrolled, StoreError
from abis.formats import native
from abis.gallery import Gallery, SubjectExport
from abis.store import Status, Subject
from abis.store.audit import AuditEntry
from abis.store.encryption import MasterKey

__all__ = [
    "audit_show",
    "audit_verify",
    "backup",
    "check",
    "compact",
    "erase",
    "expire",
    "keys_encrypt",
    "keys_master",
    "keys_new",
    "keys_reseal",
    "keys_rotate",
    "label",
    "merge",
    "move",
    "status",
    "subject",
]


def check(gallery: str, *, as_json: bool) -> None:
    """Print the faults."""
    with open_existing(gallery) as opened:
        with progress_bar("checking") as progress:
            faults = opened.check(progress=progress)
        info = opened.info()
    if as_json:
        print_json({"faults": [asdict(fault) for fault in faults], "subjects": info.subjects})
    else:
        for fault in faults:
            typer.echo(fault)
        templates = sum(info.templates.values())
        sound = "all is well" if not faults else f"{len(faults):,} faults"
        typer.echo(f"{gallery}: {info.subjects:,} subjects, {templates:,} templates: {sound}.")
    if faults:
        raise typer.Exit(FAILED)


def compact(gallery: str) -> None:
    """Compact, and say what it saved."""
    with open_existing(gallery) as opened:
        before = opened.info().disk_bytes
        opened.compact()
        after = opened.info().disk_bytes
    sizes = "" if before is None or after is None else f": {before:,} bytes before, {after:,} now"
    typer.echo(f"{gallery} is compact{sizes}.")


def backup(gallery: str, folder: Path) -> None:
    """Copy with a progress bar."""
    with open_existing(gallery) as opened, progress_bar("copying") as progress:
        opened.backup(folder, progress=progress)
    typer.echo(f"{folder} is a copy of {gallery}.")


def subject(gallery: str, subject_id: str, *, output: Path | None, as_json: bool) -> None:
    """Print what is known, or write all there is."""
    with open_existing(gallery) as opened:
        if output is not None:
            found = json.dumps(_export(opened.export_subject(subject_id)), ensure_ascii=False, indent=2)
            with open(
                os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
            ) as file:
                file.write(found + "\n")  # for its owner alone: these are templates
            typer.echo(f"All there is of {subject_id} is in {output}.")
            return
        known = opened.subject(subject_id)
    if as_json:
        print_json(_subject(known))
        return
    reason = f" since {known.since:%Y-%m-%d %H:%M:%S}: {known.reason}" if known.since else ""
    typer.echo(f"{subject_id}: {known.status}{reason}")
    typer.echo(f"level {known.level}; labels: {', '.join(known.labels) or 'none'}")
    for encounter in known.encounters:
        when = "before 0.2" if encounter.enrolled is None else f"{encounter.enrolled:%Y-%m-%d %H:%M:%S}"
        positions = ", ".join(position.name for position in encounter.positions)
        typer.echo(f"encounter {encounter.encounter_id}, {when}: {positions}")


def status(gallery: str, subject_id: str, to: str, *, reason: str) -> None:
    """Set a status."""
    with open_existing(gallery) as opened:
        opened.set_status(subject_id, Status[to.upper()], reason=reason)
    typer.echo(f"{subject_id} is {to}.")


def label(gallery: str, subject_id: str, labels: Sequence[str], *, level: int | None) -> None:
    """Set labels and level, where they are given."""
    with open_existing(gallery) as opened:
        if labels:
            opened.set_labels(subject_id, labels)
        if level is not None:
            opened.set_level(subject_id, level)
        known = opened.subject(subject_id)
    typer.echo(f"{subject_id}: level {known.level}; labels: {', '.join(known.labels) or 'none'}")


def move(gallery: str, encounter_id: str, source: str, target: str) -> None:
    """Move an encounter."""
    with open_existing(gallery) as opened:
        opened.move(encounter_id, source, target)
    typer.echo(f"encounter {encounter_id} of {source} is of {target} now.")


def merge(gallery: str, source: str, target: str) -> None:
    """Merge, and say what encounters are called now."""
    with open_existing(gallery) as opened:
        renamed = opened.merge(source, target)
    for before, now in renamed.items():
        typer.echo(f"encounter {before} of {source} is encounter {now} of {target}.")


def erase(gallery: str, subjects: Sequence[str]) -> None:
    """Erase each, and print the tombstones."""
    faults = Faults()
    with open_existing(gallery) as opened:
        for subject_id in subjects:
            try:
                typer.echo(opened.erase(subject_id))
            except NotEnrolled as error:
                faults.add(error)
    faults.exit_if_any()


def expire(gallery: str, before: datetime) -> None:
    """Remove what is old."""
    with open_existing(gallery) as opened:
        expired = opened.remove_older_than(before.replace(tzinfo=UTC))
        size = len(opened)
    removed = f"{expired.encounters:,} encounters and {expired.quarantined:,} records in quarantine removed"
    typer.echo(f"{removed}. {gallery} holds {size:,} subjects.")


def audit_show(gallery: str, *, subject_id: str | None, after: int, as_json: bool) -> None:
    """Print entries."""
    with open_existing(gallery) as opened:
        for entry in opened.audit_log(subject_id=subject_id, after=after):
            if as_json:
                print_json(_entry(entry))
            else:
                typer.echo(entry)


def audit_verify(gallery: str, *, anchor: str | None) -> None:
    """Follow the chain, and look for the anchor."""
    with open_existing(gallery) as opened:
        number, last, faults = opened.check_audit()
        missing = anchor is not None and not _is_there(opened, anchor)
    for fault in faults:
        say(f"error: {fault}")
    if missing:
        say(f"error: audit log: entry {anchor} is not there, or another: the log was written anew")
    if faults or missing:
        raise typer.Exit(FAILED)
    typer.echo(f"{gallery}: {number:,} entries, none changed. Last one: {number}:{last}")


def keys_new(file: Path) -> None:
    """Write a key file."""
    MasterKey.generate(file)
    typer.echo(f"{file} holds a new master key. Without it an encrypted gallery is lost.")


def keys_encrypt(gallery: str) -> None:
    """Encrypt by the key of the environment, which opening would take for that of an encrypted gallery."""
    key = _key_of_environment()
    hidden = {name: os.environ.pop(name) for name in ("ABIS_KEY", "ABIS_KEY_FILE") if name in os.environ}
    try:
        opened = open_existing(gallery)
    finally:
        os.environ.update(hidden)
    with opened, progress_bar("encrypting") as progress:
        count = opened.encrypt(key, progress=progress)
    typer.echo(f"{gallery} is encrypted: {count:,} templates sealed.")


def keys_rotate(gallery: str) -> None:
    """A new data key."""
    with open_existing(gallery) as opened, progress_bar("sealing") as progress:
        count = opened.rotate_data_key(progress=progress)
    typer.echo(f"{gallery}: {count:,} templates sealed by a new data key.")


def keys_reseal(gallery: str) -> None:
    """Go on."""
    with open_existing(gallery) as opened, progress_bar("sealing") as progress:
        count = opened.reseal(progress=progress)
    typer.echo(f"{gallery}: {count:,} templates sealed by the newest data key.")


def keys_master(gallery: str, file: Path) -> None:
    """A new master key."""
    with open_existing(gallery) as opened:
        opened.rotate_master_key(MasterKey.from_file(file))
    typer.echo(f"{gallery} opens with the master key in {file} from now on, and not with the old one.")


def _key_of_environment() -> MasterKey:
    key = MasterKey.from_environment()
    if key is None:
        raise StoreError("no master key: set ABIS_KEY_FILE to a file that `abis keys new` wrote")
    return key


def _is_there(gallery: Gallery, anchor: str) -> bool:
    number, _, wanted = anchor.partition(":")
    if not number.isdecimal() or int(number) < 1:
        raise StoreError(f"anchor {anchor!r}; expected a number, a colon and a hash, as this command prints")
    entry = next(gallery.audit_log(after=int(number) - 1), None)
    return entry is not None and entry.hash == wanted


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
                {"place": sample.place, "content": _printable(sample.content)}
                for sample in found.record.samples
            ],
        }
        for found in export.quarantined
    ]
    log = [_entry(entry) for entry in export.log]
    return _subject(export.subject) | {"templates": templates, "quarantined": quarantined, "log": log}


def _printable(content: bytes | str | None) -> str | None:
    """Bytes as base64, text as it is."""
    return base64.b64encode(content).decode() if isinstance(content, bytes) else content


def _entry(entry: AuditEntry) -> dict[str, object]:
    return asdict(entry) | {"time": entry.time.isoformat()}
