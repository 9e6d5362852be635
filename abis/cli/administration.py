# SPDX-License-Identifier: Apache-2.0
"""Commands for the operator of a gallery: info, disclosure, check, compact, backup, expire."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from abis.cli.arguments import AsJson, DryRun, GalleryPath, Yes, check_output_folder, parse_rate
from abis.cli.console import FAILED, confirm, out, print_json, progress_bar, tell
from abis.cli.opening import is_cluster, open_any, open_existing
from abis.gallery.answer_policy import AnswerPolicy, Disclosure
from abis.store.erasure import Expired
from abis.text import counted

__all__ = ["commands"]

commands = typer.Typer()

_QUICKLY_LOADED = 100_000  # templates: loaded in a second or two


@commands.command()
def info(
    gallery: GalleryPath,
    *,
    models: Annotated[
        bool,
        typer.Option(
            "--models",
            help="Count subjects by kind and model of their templates, and those that cannot be compared with all "
            f"others. This loads the gallery into memory. It is the default up to {_QUICKLY_LOADED:,} templates.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print how many subjects and templates a gallery holds, and its size."""
    with open_any(gallery) as opened:
        found = opened.info()
        if models or (not is_cluster(gallery) and sum(found.templates.values()) <= _QUICKLY_LOADED):
            with progress_bar("loading") as progress:
                opened.load(progress=progress)
            found = opened.info()
    templates = {position.name: count for position, count in found.templates.items()}
    if as_json:
        print_json(
            {
                "subjects": found.subjects,
                "encounters": found.encounters,
                "templates": templates,
                "disk_bytes": found.disk_bytes,
                "change": found.change,
                "schema_version": found.schema_version,
                "kinds": None if found.kinds is None else dict(found.kinds),
                "coverage": None if found.coverage is None else found.coverage.to_dict(),
            }
        )
        return
    table = Table(title=gallery, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("subjects", f"{found.subjects:,}")
    table.add_row("encounters", f"{found.encounters:,}")
    table.add_row("templates", f"{sum(templates.values()):,}")
    for name, count in templates.items():
        table.add_row(f"  {name}", f"{count:,}")
    for kind, count in (found.kinds or {}).items():
        table.add_row(f"subjects with {kind}", f"{count:,}")
    if found.coverage is not None and not found.coverage.is_full:
        table.add_row(
            "subjects that cannot be compared with all others",
            f"{found.coverage.subjects - found.coverage.compared:,}",
        )
    if found.disk_bytes is not None:
        table.add_row("bytes on disk", f"{found.disk_bytes:,}")
        if found.subjects:
            table.add_row("  a subject", f"{found.disk_bytes / found.subjects:,.0f}")
    table.add_row("changes so far", f"{found.change:,}")
    table.add_row("schema version", str(found.schema_version))
    out.print(table)


@commands.command()
def disclosure(
    gallery: GalleryPath,
    *,
    level: Annotated[
        Disclosure | None, typer.Option(help="Tell scores in full, rounded, or only the decision.")
    ] = None,
    max_candidates: Annotated[
        int | None,
        typer.Option(metavar="N", help="Largest number of candidates that a search may ask for."),
    ] = None,
    failures: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Number of failed verifications in a row after which a subject is paused; 0 for no limit.",
        ),
    ] = None,
    pause: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", help="Length of the first pause; each further failure doubles it, up to a day."
        ),
    ] = None,
    fmr: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="The only false match rate that a verification may ask for; 'any' for no limit.",
        ),
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="The only false positive identification rate that a search may ask for; 'any' for no limit.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print or set what the answers of a gallery disclose. Options that are not given keep their values."""
    with open_existing(gallery) as opened:
        policy = opened.answer_policy
        changed = AnswerPolicy(
            policy.disclosure if level is None else level,
            policy.max_candidates if max_candidates is None else max_candidates,
            policy.failures if failures is None else failures or None,
            policy.pause_s if pause is None else pause,
            policy.fmr if fmr is None else _rate(fmr),
            policy.fpir if fpir is None else _rate(fpir),
        )
        if changed != policy:
            opened.set_answer_policy(changed)
    if as_json:
        print_json(asdict(changed))
        return
    limit = "no limit" if changed.failures is None else f"{changed.failures:,}"
    tell(f"disclosure: {changed.disclosure}")
    tell(f"candidates of a search, at most: {changed.max_candidates:,}")
    tell(f"failed verifications in a row before a pause: {limit}")
    tell(f"first pause: {changed.pause_s:g} seconds")
    tell(f"false match rate of verifications: {'any' if changed.fmr is None else f'{changed.fmr:g}'}")
    tell(
        f"false positive identification rate of searches: {'any' if changed.fpir is None else f'{changed.fpir:g}'}"
    )


def _rate(text: str) -> float | None:
    """A rate, or None for "any"."""
    return None if text == "any" else parse_rate(text)


@commands.command()
def check(gallery: GalleryPath, *, as_json: AsJson = False) -> None:
    """Check everything that a gallery holds; print the faults and what to do. Exit code 2 if there are any."""
    with open_existing(gallery) as opened:
        with progress_bar("checking") as progress:
            faults = opened.check(progress=progress)
        info = opened.info()
    if as_json:
        print_json({"faults": [asdict(fault) for fault in faults], "subjects": info.subjects})
    else:
        for fault in faults:
            tell(fault)
        templates = sum(info.templates.values())
        sound = "no fault found" if not info.subjects else "all is well"
        if faults:
            sound = counted(len(faults), "fault")
        empty = "" if info.subjects else f"; the gallery is empty, after {counted(info.change, 'change')}"
        tell(
            f"{gallery}: {counted(info.subjects, 'subject')}, {counted(templates, 'template')}: {sound}{empty}."
        )
    if faults:
        raise typer.Exit(FAILED)


@commands.command()
def compact(gallery: GalleryPath) -> None:
    """Rewrite the database without free space. No other process should use the gallery meanwhile."""
    with open_existing(gallery) as opened:
        before = opened.info().disk_bytes
        opened.compact()
        after = opened.info().disk_bytes
    sizes = "" if before is None or after is None else f": {before:,} bytes before, {after:,} now"
    tell(f"{gallery} is compact{sizes}.")


@commands.command()
def backup(
    gallery: GalleryPath,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to create; it is a gallery itself.")
    ],
) -> None:
    """Copy a gallery as of this moment, while other processes use it."""
    check_output_folder(folder, new=False)
    with open_existing(gallery) as opened, progress_bar("copying") as progress:
        opened.backup(folder, progress=progress)
    tell(f"{folder} is a copy of {gallery}.")


@commands.command()
def expire(
    gallery: GalleryPath,
    *,
    before: Annotated[
        datetime,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=["%Y-%m-%d"],
            help="Remove encounters enrolled before this date, UTC, which must not be in the future.",
        ),
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Remove and overwrite all encounters enrolled before a date. This cannot be undone."""
    since = before.replace(tzinfo=UTC)
    with open_existing(gallery) as opened:
        expected = opened.remove_older_than(since, dry_run=True)
        if dry_run:
            tell(f"{_expired(expected)} would be removed from {gallery}.")
            return
        confirm(f"Remove {_expired(expected)} from {gallery} for good?", yes=yes)
        expired = opened.remove_older_than(since)
        size = len(opened)
    tell(f"{_expired(expired)} removed. {gallery} holds {counted(size, 'subject')}.")


def _expired(expired: Expired) -> str:
    return f"{counted(expired.encounters, 'encounter')} and {counted(expired.quarantined, 'record')} in quarantine"
