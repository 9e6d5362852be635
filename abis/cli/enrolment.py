# SPDX-License-Identifier: Apache-2.0
"""``abis enroll``, ``abis reenroll`` and ``abis remove``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abis.cli.arguments import (
    AsJson,
    CacheFolder,
    Dpi,
    FaceModel,
    Files,
    FingerPosition,
    GalleryPath,
    Pattern,
    SubjectId,
    VoiceModel,
    files_in,
)
from abis.cli.console import Faults, describe, print_json, progress_bar, say
from abis.cli.images import ImageOptions, files_by_subject, read_all, reader
from abis.cli.opening import open_any, open_or_create
from abis.errors import AbisError, AlreadyEnrolled, NotEnrolled
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.template import Position

if TYPE_CHECKING:
    from abis.cluster import Cluster

__all__ = ["BATCH", "commands", "enroll_all"]

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
    as_json: AsJson = False,
) -> None:
    """Enroll the subjects that folders or file names name; create the gallery if it does not exist.

    079203001234_right_index.fmr and 079203001234_left_index.fmr are files of subject 079203001234, and so are all
    files in the folder photos/079203001234 of photos. If one of a
    subject's files cannot be read, the subject is not enrolled.
    """
    images = ImageOptions(position, dpi, face_model, cache, pattern, voice_model)
    faults = Faults()
    people = files_by_subject(files, pattern, faults) if subject is None else {subject: files_in(files)}
    enrolled = templates = skipped = 0
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
                        yield enrollment
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
            while batch := list(islice(source, BATCH)):
                for part in enroll_all(opened, batch, refuse):
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


def _warn_of_many_faces(enrollment: Enrollment) -> None:
    faces = sum(template.position is Position.FACE for template in enrollment.templates)
    if faces > _MANY_FACES:
        say(
            f"{enrollment.subject_id}: {faces} faces; if they are of several people, put each person's files into a "
            "folder of its own or give --pattern"
        )


def _wanted(people: Mapping[str, Sequence[Path]], gallery: Gallery | Cluster, *, skip: bool) -> list[Path]:
    """The files to read, in order."""
    return [file for name, own in people.items() if not (skip and name in gallery) for file in own]


def enroll_all(
    gallery: Gallery | Cluster, batch: list[Enrollment], refuse: Callable[[AlreadyEnrolled], None]
) -> Iterator[list[Enrollment]]:
    """Enroll a batch, in a cluster shard by shard; yields what was enrolled as a whole."""
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
        typer.echo(f"{subject} is enrolled anew: encounter {encounter}, of {len(templates)} templates.")


@commands.command()
def remove(
    gallery: GalleryPath,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECTS...", help="Subject ids.")],
    *,
    encounter: Annotated[
        str | None, typer.Option(metavar="ID", help="Remove only this encounter of each subject.")
    ] = None,
) -> None:
    """Remove subjects with all of their templates. This cannot be undone."""
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
