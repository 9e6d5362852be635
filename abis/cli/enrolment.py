# SPDX-License-Identifier: Apache-2.0
"""``abis enroll``, ``abis reenroll`` and ``abis remove``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abis.cli.arguments import (
    AsJson,
    CacheFolder,
    Dpi,
    DryRun,
    FaceModel,
    Files,
    FingerPosition,
    GalleryPath,
    MinCoverage,
    Pattern,
    SubjectId,
    VoiceModel,
    Yes,
    files_in,
    parse_rate,
)
from abis.cli.console import Faults, confirm, describe, note, print_json, progress_bar, tell
from abis.cli.images import ImageOptions, files_by_subject, read_all, reader
from abis.cli.opening import is_cluster, open_any, open_or_create
from abis.errors import (
    AbisError,
    AlreadyEnrolled,
    ArgumentError,
    DuplicateFound,
    NotEnrolled,
    TemplateError,
)
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.template import Position
from abis.template.superposition import superimposed
from abis.text import counted

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["BATCH", "commands", "enroll_all", "print_removals"]

commands = typer.Typer()

_MANY_FACES = 10  # of one subject: more are rather of several people whose names begin alike

BATCH = 1_000
"""Subjects enrolled at once: as many as the gallery takes in one transaction."""


@commands.command()
def enroll(
    gallery: GalleryPath,
    files: Files,
    *,
    subject: Annotated[
        str | None, typer.Option(metavar="ID", help="Subject id of all files, whatever their names.")
    ] = None,
    pattern: Pattern = None,
    encounter: Annotated[
        str | None,
        typer.Option(
            metavar="ID", help="Name of this capture session; a further encounter of a subject needs one."
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    cache: CacheFolder = None,
    skip_enrolled: Annotated[
        bool,
        typer.Option("--skip-enrolled", help="Skip subjects that are enrolled, to go on after Ctrl-C."),
    ] = False,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique",
            help="Refuse a subject who is enrolled under another id: search for each one among all. Loads the gallery "
            "into memory.",
        ),
    ] = False,
    fpir: Annotated[
        float,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="False positive identification rate of the searches of --unique: part of new subjects that may be "
            "refused.",
        ),
    ] = 1e-4,
    min_coverage: MinCoverage = 1.0,
    as_json: AsJson = False,
) -> None:
    """Enroll the subjects that folders or file names name; create the gallery if it does not exist.

    079203001234_right_index.fmr and 079203001234_left_index.fmr are files of subject 079203001234, and so are all
    files in the folder photos/079203001234 of photos; David_Beckham_0001.jpg is of David_Beckham. If one of a
    subject's files cannot be read, the subject is not enrolled.
    """
    if unique and is_cluster(gallery):
        raise AbisError(
            f"{gallery}: --unique does not work on a cluster: a search and an enrolment span its shards"
        )
    images = ImageOptions(position, dpi, face_model, cache, pattern, voice_model)
    faults = Faults()
    people = files_by_subject(files, pattern, faults) if subject is None else {subject: files_in(files)}
    enrolled = templates = skipped = 0
    rule = _Uniqueness(fpir, min_coverage) if unique else None
    with (
        open_or_create(gallery) as opened,
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
                        enrollment = Enrollment(name, templates_of.read_all(own), encounter)
                        _warn_of_many_faces(enrollment)
                        _warn_of_doubts(enrollment)
                        yield enrollment
                    except (AbisError, ValueError, OSError) as error:
                        faults.add(f"{name} is not enrolled: {describe(error)}")
                progress(done, len(people))

        def refuse(error: AbisError) -> None:
            nonlocal skipped
            if skip_enrolled and isinstance(error, AlreadyEnrolled):
                skipped += 1
            else:
                faults.add(error)

        try:
            source = read()
            while batch := list(islice(source, BATCH)):
                for part in enroll_all(opened, batch, rule, refuse):
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
        already = f"; {skipped:,} {'was' if skipped == 1 else 'were'} enrolled already" if skipped else ""
        failed = f"; {faults.count:,} failed" if faults.count else ""
        tell(
            f"{enrolled:,} enrolled, of {counted(templates, 'template')}{already}{failed}. "
            f"{gallery} holds {counted(size, 'subject')}."
        )
    faults.exit_if_any()


def _warn_of_doubts(enrollment: Enrollment) -> None:
    for words in filter(None, map(superimposed, enrollment.templates)):
        note(f"{enrollment.subject_id}: {words}")


def _warn_of_many_faces(enrollment: Enrollment) -> None:
    faces = sum(template.position is Position.FACE for template in enrollment.templates)
    if faces > _MANY_FACES:
        note(
            f"{enrollment.subject_id}: {faces} faces; if they are of several people, put each person's files into a "
            "folder of its own or give --pattern"
        )


def _wanted(people: Mapping[str, Sequence[Path]], gallery: Gallery | Cluster, *, skip: bool) -> list[Path]:
    """The files to read, in order."""
    return [file for name, own in people.items() if not (skip and name in gallery) for file in own]


@dataclass(frozen=True)
class _Uniqueness:
    """The search that each subject gets before it is enrolled; see :meth:`abis.Gallery.enroll`."""

    fpir: float
    min_coverage: float


def enroll_all(
    gallery: Gallery | Cluster,
    batch: list[Enrollment],
    rule: _Uniqueness | None,
    refuse: Callable[[AbisError], None],
) -> Iterator[list[Enrollment]]:
    """Enroll a batch, in a cluster shard by shard; yields what was enrolled as a whole."""
    if rule is not None and isinstance(gallery, Gallery):
        for enrollment in batch:
            try:
                gallery.enroll_many([enrollment], unique=True, fpir=rule.fpir, min_coverage=rule.min_coverage)
            except (AlreadyEnrolled, DuplicateFound, TemplateError) as error:
                refuse(error)
            else:
                yield [enrollment]
        return
    if isinstance(gallery, Gallery):
        yield from _enroll(gallery, batch, refuse)
        return
    parts: dict[int, list[Enrollment]] = {}
    for enrollment in batch:
        parts.setdefault(gallery.shard_of(enrollment.subject_id), []).append(enrollment)
    for part in parts.values():
        yield from _enroll(gallery, part, refuse)


def _enroll(
    gallery: Gallery | Cluster, batch: list[Enrollment], refuse: Callable[[AbisError], None]
) -> Iterator[list[Enrollment]]:
    """Enroll a batch; if some subjects are enrolled already, halve the batch to find them, and enroll the rest."""
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


@commands.command()
def reenroll(
    gallery: GalleryPath,
    subject: SubjectId,
    files: Files,
    *,
    encounter: Annotated[str, typer.Option(metavar="ID", help="Name of the new encounter.")] = "1",
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Replace all templates of a subject by those of the files, in one transaction.

    The subject's id, status, level, labels and log stay. If a file cannot be read, nothing changes.
    """
    templates = read_all(files, ImageOptions(position, dpi, face_model, cache, voice_model=voice_model))
    with open_any(gallery) as opened:
        opened.replace(subject, templates, encounter_id=encounter)
    if as_json:
        print_json({"subject_id": subject, "encounter_id": encounter, "templates": len(templates)})
    else:
        made = counted(len(templates), "template")
        tell(f"{subject} is enrolled anew: encounter {encounter}, of {made}.")


@commands.command()
def remove(
    gallery: GalleryPath,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECTS...", help="Subject ids.")],
    *,
    encounter: Annotated[
        str | None, typer.Option(metavar="ID", help="Remove only this encounter of each subject.")
    ] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Remove subjects with all of their templates. This cannot be undone."""
    faults = Faults()
    with open_any(gallery) as opened:
        if dry_run:
            print_removals(opened, subjects, encounter, faults)
            faults.exit_if_any()
            return
        what = "" if encounter is None else f"encounter {encounter} of "
        confirm(f"Remove {what}{counted(len(subjects), 'subject')} from {gallery}?", yes=yes)
        for subject in subjects:
            try:
                opened.remove(subject, encounter_id=encounter)
            except NotEnrolled as error:
                faults.add(error)
        size = len(opened)
    tell(f"{len(subjects) - faults.count:,} removed. {gallery} holds {counted(size, 'subject')}.")
    faults.exit_if_any()


def print_removals(
    opened: Gallery | Cluster, subjects: Sequence[str], encounter: str | None, faults: Faults
) -> None:
    """Print what would be removed with these subjects, or with one encounter of each."""
    for subject_id in subjects:
        try:
            known = opened.subject(subject_id)
        except (NotEnrolled, ArgumentError) as error:
            faults.add(error)
            continue
        own = [each for each in known.encounters if encounter in (None, each.encounter_id)]
        if not own:
            faults.add(f"subject {subject_id!r} has no encounter {encounter!r}")
            continue
        templates = sum(len(each.positions) for each in own)
        tell(
            f"{subject_id}: {counted(len(own), 'encounter')}, {counted(templates, 'template')} would be removed."
        )
