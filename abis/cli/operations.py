# SPDX-License-Identifier: Apache-2.0
"""What the commands for those who run a gallery are called, take and say; see :mod:`abis.cli.care`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["add_to"]

_Gallery = Annotated[
    str, typer.Argument(metavar="GALLERY", help="A gallery's folder, or the URL of its PostgreSQL database.")
]
_Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom.")]
_Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]

audit = typer.Typer(no_args_is_help=True, help="The log of who did what to whom, when and what for.")
keys = typer.Typer(
    no_args_is_help=True,
    help="Encryption. The master key is that of the environment: ABIS_KEY (base64) or ABIS_KEY_FILE.",
)


class StatusName(StrEnum):
    """As they are typed."""

    ACTIVE = "active"
    LOCKED = "locked"
    TERMINATED = "terminated"


def add_to(app: typer.Typer) -> None:
    """Add these commands to those of the application."""
    for command in (check, compact, backup, subject, status, label, merge, move, erase, expire, size):
        app.command()(command)
    app.add_typer(audit, name="audit")
    app.add_typer(keys, name="keys")


def check(gallery: _Gallery, *, as_json: _Json = False) -> None:
    """Look at everything a gallery holds; say what is wrong, and what to do. Exit code 2 if anything is."""
    from abis.cli import care as room

    room.check(gallery, as_json=as_json)


def compact(gallery: _Gallery) -> None:
    """Write a gallery's database anew, without gaps. Nobody else should be working on it."""
    from abis.cli import care as room

    room.compact(gallery)


def backup(
    gallery: _Gallery,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="To be made; will be a gallery itself.")],
) -> None:
    """Copy a gallery as of this moment, while others work on it."""
    from abis.cli import care as room

    room.backup(gallery, folder)


def subject(
    gallery: _Gallery,
    subject_id: _Subject,
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Write all there is of the subject as JSON, templates and log included: what it has a "
            "right to see.",
        ),
    ] = None,
    as_json: _Json = False,
) -> None:
    """What is known of a subject: status, level, labels, encounters."""
    from abis.cli import care as room

    room.subject(gallery, subject_id, output=output, as_json=as_json)


def status(
    gallery: _Gallery,
    subject_id: _Subject,
    to: Annotated[StatusName, typer.Argument(metavar="STATUS", help="active, locked or terminated.")],
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Goes with the status, and in the log.")],
) -> None:
    """Lock an identity for its holder, terminate it for the authority, or make it active again."""
    from abis.cli import care as room

    room.status(gallery, subject_id, to, reason=reason)


def label(
    gallery: _Gallery,
    subject_id: _Subject,
    labels: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LABELS...]", help="In place of those there were; none: leave them."),
    ] = None,
    *,
    level: Annotated[
        int | None, typer.Option(min=0, max=9, help="Assurance level: 1 portrait only, 2 in person, …")
    ] = None,
) -> None:
    """Give a subject labels, as its province, and state its assurance level."""
    from abis.cli import care as room

    room.label(gallery, subject_id, labels or [], level=level)


def merge(
    gallery: _Gallery,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Who goes.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Who takes over all encounters.")],
) -> None:
    """Make one subject of two that are one person."""
    from abis.cli import care as room

    room.merge(gallery, source, target)


def move(
    gallery: _Gallery,
    encounter: Annotated[str, typer.Argument(metavar="ENCOUNTER", help="The encounter_id.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Under whose name it is.")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="Whose it is.")],
) -> None:
    """Give an encounter that was enrolled under a wrong name to whom it belongs."""
    from abis.cli import care as room

    room.move(gallery, encounter, source, target)


def erase(
    gallery: _Gallery,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECTS...", help="Whom.")],
) -> None:
    """Remove subjects so that nothing of their templates is left, and print the proof. There is no way back."""
    from abis.cli import care as room

    room.erase(gallery, subjects)


def expire(
    gallery: _Gallery,
    *,
    before: Annotated[
        datetime,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=["%Y-%m-%d"],
            help="Encounters enrolled before it go; UTC, as 2031-01-31.",
        ),
    ],
) -> None:
    """Remove and overwrite what was enrolled before a date."""
    from abis.cli import care as room

    room.expire(gallery, before)


@audit.command("show")
def audit_show(
    gallery: _Gallery,
    *,
    of: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Only what was done to it.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only what follows entry N.")] = 0,
    as_json: _Json = False,
) -> None:
    """Print the log, oldest first."""
    from abis.cli import care as room

    room.audit_show(gallery, subject_id=of, after=after, as_json=as_json)


@audit.command("verify")
def audit_verify(
    gallery: _Gallery,
    *,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="N:HASH", help="An entry's number and hash, noted elsewhere earlier, that must be there."
        ),
    ] = None,
) -> None:
    """Follow the chain of hashes; print number and hash of the last entry, to be noted elsewhere."""
    from abis.cli import care as room

    room.audit_verify(gallery, anchor=anchor)


def size(
    *,
    subjects: Annotated[int, typer.Option(metavar="N", help="Enrolled; 50_000_000 will do, too.")],
    fingers: Annotated[int, typer.Option(metavar="N", help="Of each subject, and of each probe.")] = 2,
    faces: Annotated[int, typer.Option(metavar="N", help="Likewise: 0 or 1.")] = 1,
    searches: Annotated[
        float, typer.Option("--searches-per-second", metavar="RATE", help="1:N, at the busiest time.")
    ] = 1.0,
    verifications: Annotated[
        float, typer.Option("--verifications-per-second", metavar="RATE", help="1:1, at the busiest time.")
    ] = 0.0,
    enrolments: Annotated[
        float,
        typer.Option(
            "--enrolments-per-second",
            metavar="RATE",
            help="Each is searched for first: one person, one identity.",
        ),
    ] = 0.0,
    latency: Annotated[float, typer.Option(metavar="SECONDS", help="Searches may take so long...")] = 1.0,
    percentile: Annotated[float, typer.Option(metavar="PERCENT", help="... this share of them.")] = 99.0,
    copies: Annotated[
        int,
        typer.Option(
            metavar="N", help="At least so many of all, so that nothing waits when a machine is lost."
        ),
    ] = 1,
    cores: Annotated[int, typer.Option(metavar="N", help="Of each machine.")] = 32,
    memory_gb: Annotated[float, typer.Option(metavar="GB", help="Of each machine.")] = 256.0,
    measured: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Constants of your own machines, as benchmarks/scale/sizing.py writes them."
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw latency against load: .svg, .png or .pdf.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """How many machines a gallery takes, with how much memory and disk, and how soon it answers.

    From constants that were measured; what is beyond them is said. See docs/fifty-million.md.
    """
    from abis.cli import sizing as room

    room.size(
        {
            "subjects": subjects,
            "fingers": fingers,
            "faces": faces,
            "searches_per_second": searches,
            "verifications_per_second": verifications,
            "enrolments_per_second": enrolments,
            "latency": latency,
            "percentile": percentile,
            "copies": copies,
        },
        {"cores": cores, "memory_gb": memory_gb},
        measured=measured,
        figure=figure,
        as_json=as_json,
    )


@keys.command("new")
def keys_new(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="To be made, for its owner's eyes only.")],
) -> None:
    """Write a new master key to a file. Keep copies of it apart from those of the gallery."""
    from abis.cli import care as room

    room.keys_new(file)


@keys.command("encrypt")
def keys_encrypt(gallery: _Gallery) -> None:
    """Encrypt a gallery that is not, by the master key of the environment."""
    from abis.cli import care as room

    room.keys_encrypt(gallery)


@keys.command("rotate")
def keys_rotate(gallery: _Gallery) -> None:
    """Seal all templates by a new data key, while others work."""
    from abis.cli import care as room

    room.keys_rotate(gallery)


@keys.command("reseal")
def keys_reseal(gallery: _Gallery) -> None:
    """Go on with an `encrypt` or `rotate` that was stopped."""
    from abis.cli import care as room

    room.keys_reseal(gallery)


@keys.command("master")
def keys_master(
    gallery: _Gallery,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new master key.")],
) -> None:
    """Put the data keys under a new master key, in place of that of the environment."""
    from abis.cli import care as room

    room.keys_master(gallery, file)
