# SPDX-License-Identifier: Apache-2.0
"""The commands that work on a gallery."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from abis.cli.arguments import Together, files_in, group_by_subject
from abis.cli.clusters import is_cluster, open_cluster
from abis.cli.console import NON_MATCH, Faults, describe, out, print_json, progress_bar
from abis.cli.images import ImageOptions, Reader, reader
from abis.errors import (
    AbisError,
    AlreadyEnrolled,
    ExtractionError,
    FormatError,
    NotEnrolled,
    StoreError,
    TemplateError,
)
from abis.gallery import Gallery
from abis.results import Identification, Outcome
from abis.scoring.fusion import Evidence
from abis.store import Enrollment
from abis.template import Template
from abis.verification.policy import Policy

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["enroll", "identify", "info", "open_existing", "reenroll", "remove", "verify"]

_EXIT_CODES = {
    Outcome.MATCH: 0,
    Outcome.NON_MATCH: NON_MATCH,
    Outcome.LOCKED: 3,
    Outcome.TERMINATED: 4,
    Outcome.REFUSED: 5,
    Outcome.NOTHING_COMPARABLE: 6,
}
"""Of a verification."""

_BATCH = 1_000  # subjects enrolled at once: as many as the gallery takes in one transaction


def enroll(
    gallery: str,
    files: Sequence[Path],
    *,
    subject: str | None,
    pattern: str | None,
    encounter: str | None,
    images: ImageOptions,
    skip_enrolled: bool,
    as_json: bool,
) -> None:
    """Read the files subject by subject and enroll them, a thousand in a transaction."""
    faults = Faults()
    found = files_in(files)
    people = _by_subject(found, pattern, faults) if subject is None else {subject: found}
    enrolled = templates = skipped = 0
    with (
        _open_or_make(gallery) as opened,
        reader(_wanted(people, opened, skip=skip_enrolled and encounter is None), images) as templates_of,
        progress_bar("enrolling") as progress,
    ):

        def read() -> Iterator[Enrollment]:
            nonlocal skipped
            for done, (name, own) in enumerate(people.items(), 1):
                if skip_enrolled and encounter is None and name in opened:
                    skipped += 1
                else:
                    try:
                        yield Enrollment(name, templates_of.read_all(own), encounter)
                    except (AbisError, ValueError, OSError) as error:
                        faults.add(f"{name} is not enrolled: {describe(error)}")
                progress(done, len(people))

        def refuse(error: AlreadyEnrolled) -> None:
            nonlocal skipped
            if skip_enrolled:
                skipped += 1
            else:
                faults.add(error)

        try:
            source = read()
            while batch := list(islice(source, _BATCH)):
                for part in _enroll_all(opened, batch, refuse):
                    enrolled += len(part)
                    templates += sum(len(e.templates) for e in part)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted; {gallery} keeps the {len(opened):,} subjects enrolled in it; "
                "to go on, run the command again with --skip-enrolled"
            ) from None
        size = len(opened)
    if as_json:
        print_json(
            {
                "enrolled": enrolled,
                "templates": templates,
                "skipped": skipped,
                "failed": faults.count,
                "subjects": size,
            }
        )
    else:
        already = f"; {skipped:,} were enrolled already" if skipped else ""
        failed = f"; {faults.count:,} failed" if faults.count else ""
        typer.echo(
            f"{enrolled:,} enrolled, of {templates:,} templates{already}{failed}. "
            f"{gallery} holds {size:,} subjects."
        )
    faults.exit_if_any()


def _wanted(people: Mapping[str, Sequence[Path]], gallery: Gallery | Cluster, *, skip: bool) -> list[Path]:
    """The files that will be read, in order."""
    return [file for name, own in people.items() if not (skip and name in gallery) for file in own]


def identify(
    gallery: str,
    files: Sequence[Path],
    *,
    max_candidates: int,
    fpir: float | None,
    exact: bool,
    together: Together | None,
    pattern: str | None,
    images: ImageOptions,
    as_json: bool,
) -> None:
    """Search for each probe; probes whose files cannot be read are named, and the others go on."""
    faults = Faults()
    found = files_in(files)
    match together:
        case None:
            probes = {str(file): [file] for file in found}
        case Together.SUBJECT:
            probes = _by_subject(found, pattern, faults)
        case Together.ALL:
            probes = {", ".join(map(str, found)): found}
    files_of_probes = [file for own in probes.values() for file in own]
    names: deque[str] = deque()  # of probes that have been read and not been answered

    def read(templates_of: Reader) -> Iterator[Sequence[Template]]:
        for name, own in probes.items():
            try:
                probe = templates_of.read_all(own)
            except (FormatError, ExtractionError, OSError) as error:
                faults.add(error)
                continue
            names.append(name)
            yield probe

    with (
        open_any(gallery, load=True) as opened,
        reader(files_of_probes, images) as templates_of,
        progress_bar("searching") as progress,
    ):
        results = opened.identify_many(
            read(templates_of),
            max_candidates=max_candidates,
            fpir=fpir,
            exact=exact,
            progress=lambda done: progress(done, len(probes)),
        )
        is_first = True
        for result in results:
            name = names.popleft()
            if isinstance(result, TemplateError):
                faults.add(f"{name}: {result}")
            elif as_json:
                print_json({"probe": name} | _identification(result))
            else:
                if not is_first:
                    typer.echo()
                typer.echo(f"{name}\n{result}")
                is_first = False
    faults.exit_if_any()


def verify(
    gallery: str,
    subject: str,
    files: Sequence[Path],
    *,
    policy: Policy,
    liveness: bool | None,
    images: ImageOptions,
    as_json: bool,
) -> None:
    """Compare with one subject; the exit code is the decision."""
    templates = _read_all(files, images)
    with open_any(gallery) as opened:
        result = opened.verify(templates, subject, policy=policy, liveness=liveness)
    if as_json:
        print_json(
            {
                "subject_id": subject,
                "match": result.match,
                "outcome": str(result.outcome),
                "reason": result.reason,
                "score": result.score,
                "threshold": result.threshold,
                "evidence": _evidence(result.evidence),
            }
        )
    else:
        typer.echo(result)
    raise typer.Exit(_EXIT_CODES[result.outcome])


def reenroll(
    gallery: str,
    subject: str,
    files: Sequence[Path],
    *,
    encounter: str,
    images: ImageOptions,
    as_json: bool,
) -> None:
    """Replace all templates of a subject by those of the files."""
    templates = _read_all(files, images)
    with open_any(gallery) as opened:
        opened.replace(subject, templates, encounter_id=encounter)
    if as_json:
        print_json({"subject_id": subject, "encounter_id": encounter, "templates": len(templates)})
    else:
        typer.echo(f"{subject} is enrolled anew: encounter {encounter}, of {len(templates)} templates.")


def _read_all(files: Sequence[Path], images: ImageOptions) -> Sequence[Template]:
    found = files_in(files)
    with reader(found, images) as templates_of:
        return templates_of.read_all(found)


def remove(gallery: str, subjects: Sequence[str], *, encounter: str | None) -> None:
    """Remove each subject, or one encounter of each."""
    faults = Faults()
    with open_any(gallery) as opened:
        for subject in subjects:
            try:
                opened.remove(subject, encounter_id=encounter)
            except NotEnrolled as error:
                faults.add(error)
        size = len(opened)
    typer.echo(f"{len(subjects) - faults.count:,} removed. {gallery} holds {size:,} subjects.")
    faults.exit_if_any()


def info(gallery: str, *, as_json: bool) -> None:
    """Counts and sizes."""
    with open_any(gallery) as opened:
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
    if found.disk_bytes is not None:
        table.add_row("bytes on disk", f"{found.disk_bytes:,}")
        if found.subjects:
            table.add_row("  a subject", f"{found.disk_bytes / found.subjects:,.0f}")
    table.add_row("changes so far", f"{found.change:,}")
    table.add_row("schema version", str(found.schema_version))
    out.print(table)


def open_existing(gallery: str, *, load: bool = False) -> Gallery:
    """Open a gallery that exists: only ``enroll`` and ``import`` make one."""
    folder = Path(gallery)
    if is_cluster(gallery):
        raise StoreError(f"{gallery}: is a cluster; this is done to its shards one by one (docs/cluster.md)")
    if "://" not in gallery and not (folder.is_dir() and any(folder.iterdir())):
        raise StoreError(f"{gallery}: no gallery there; `abis enroll` makes one")
    if not load:
        return Gallery.open(gallery, load=False)
    with progress_bar("loading") as progress:
        return Gallery.open(gallery, progress=progress)


def open_any(gallery: str, *, load: bool = False) -> AbstractContextManager[Gallery | Cluster]:
    """Open a gallery or a cluster that exists."""
    return open_cluster(gallery, load=load) if is_cluster(gallery) else open_existing(gallery, load=load)


def _open_or_make(gallery: str) -> AbstractContextManager[Gallery | Cluster]:
    return open_cluster(gallery) if is_cluster(gallery) else Gallery.open(gallery, load=False)


def _enroll_all(
    gallery: Gallery | Cluster, batch: list[Enrollment], refuse: Callable[[AlreadyEnrolled], None]
) -> Iterator[list[Enrollment]]:
    """What is enrolled as a whole or not at all is enrolled at once: each shard's own."""
    if isinstance(gallery, Gallery):
        yield from _enroll(gallery, batch, refuse)
        return
    parts: dict[int, list[Enrollment]] = {}
    for enrollment in batch:
        parts.setdefault(gallery.shard_of(enrollment.subject_id), []).append(enrollment)
    for part in parts.values():
        yield from _enroll(gallery, part, refuse)


def _enroll(
    gallery: Gallery | Cluster, batch: list[Enrollment], refuse: Callable[[AlreadyEnrolled], None]
) -> Iterator[list[Enrollment]]:
    """Enroll a batch; where some of it is enrolled already, all the rest, halving the batch to find those."""
    try:
        gallery.enroll_many(batch)
        yield batch
    except AlreadyEnrolled as error:
        if len(batch) == 1:
            refuse(error)
            return
        middle = len(batch) // 2
        yield from _enroll(gallery, batch[:middle], refuse)
        yield from _enroll(gallery, batch[middle:], refuse)


def _by_subject(files: Sequence[Path], pattern: str | None, faults: Faults) -> dict[str, list[Path]]:
    groups, misfits = group_by_subject(files, pattern)
    for file in misfits:
        faults.add(f"{file}: its name does not say whose it is; give --pattern")
    return groups


def _identification(result: Identification) -> dict[str, object]:
    return {
        "gallery_size": result.gallery_size,
        "compared": result.compared,
        "comparable": result.comparable,
        "fpir": result.fpir,
        "candidates": [
            {
                "rank": candidate.rank,
                "subject_id": candidate.subject_id,
                "score": candidate.score,
                "status": str(candidate.status),
                "threshold": candidate.threshold,
                "evidence": _evidence(candidate.evidence),
            }
            for candidate in result
        ],
    }


def _evidence(evidence: Sequence[Evidence]) -> list[dict[str, object]]:
    return [
        {
            "position": e.position.name,
            "score": e.score,
            "raw": e.raw,
            "encounter_id": e.encounter_id,
            "reference_position": e.reference_position.name,
        }
        for e in evidence
    ]
