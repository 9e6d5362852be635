# SPDX-License-Identifier: Apache-2.0
"""``abis audit``: print and check the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from abis.cli.arguments import AsJson, GalleryPath
from abis.cli.console import FAILED, print_json, say, tell
from abis.cli.opening import open_existing
from abis.errors import StoreError
from abis.gallery import Gallery
from abis.store.audit import AuditEntry

__all__ = ["commands", "entry_as_json"]

commands = typer.Typer()
audit = typer.Typer(
    no_args_is_help=True, help="Print and check the log of who did what, to which subject, when and why."
)
commands.add_typer(audit, name="audit")


@audit.command()
def show(
    gallery: GalleryPath,
    *,
    of: Annotated[
        str | None, typer.Option("--subject", metavar="ID", help="Only entries about this subject.")
    ] = None,
    after: Annotated[int, typer.Option(min=0, metavar="N", help="Only entries after number N.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the audit log, oldest entry first."""
    with open_existing(gallery) as opened:
        for entry in opened.audit_log(subject_id=of, after=after):
            if as_json:
                print_json(entry_as_json(entry))
            else:
                tell(entry)


@audit.command()
def verify(
    gallery: GalleryPath,
    *,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="N:HASH",
            help="Number and hash of an entry that you noted earlier; the log must still hold this entry.",
        ),
    ] = None,
) -> None:
    """Check the chain of hashes; print number and hash of the last entry, to be kept elsewhere as an anchor."""
    with open_existing(gallery) as opened:
        number, last, faults = opened.check_audit()
        missing = anchor is not None and not _is_there(opened, anchor)
    for fault in faults:
        say(f"error: {fault}")
    if missing:
        say(f"error: audit log: entry {anchor} is missing or different: the log was rewritten")
    if faults or missing:
        raise typer.Exit(FAILED)
    tell(f"{gallery}: {number:,} entries, none changed. Last entry: {number}:{last}")


def _is_there(gallery: Gallery, anchor: str) -> bool:
    number, _, wanted = anchor.partition(":")
    if not number.isdecimal() or int(number) < 1:
        raise StoreError(f"anchor {anchor!r}; expected a number, a colon and a hash, as this command prints")
    entry = next(gallery.audit_log(after=int(number) - 1), None)
    return entry is not None and entry.hash == wanted


def entry_as_json(entry: AuditEntry) -> dict[str, object]:
    """An entry as JSON values."""
    return asdict(entry) | {"time": entry.time.isoformat()}
