# SPDX-License-Identifier: Apache-2.0
"""``abis identify`` and ``abis verify``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Annotated

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
    parse_rate,
)
from abis.cli.console import NON_MATCH, NOT_FOUND, Faults, print_json, progress_bar, tell
from abis.cli.images import ImageOptions, Reader, files_by_subject, read_all, reader
from abis.cli.opening import open_any
from abis.errors import ExtractionError, FormatError, TemplateError
from abis.results import Outcome
from abis.template import Template
from abis.verification.policy import Policy

__all__ = ["commands"]

commands = typer.Typer()

_EXIT_CODES = {
    Outcome.MATCH: 0,
    Outcome.NON_MATCH: NON_MATCH,
    Outcome.LOCKED: 3,
    Outcome.TERMINATED: 4,
    Outcome.REFUSED: 5,
    Outcome.NOTHING_COMPARABLE: 6,
    Outcome.PAUSED: 7,
}
"""Exit codes of ``abis verify``."""


class Together(Enum):
    """Files that make one probe."""

    SUBJECT = "subject"
    ALL = "all"


class Verdict(Enum):
    """Result of a presentation attack detection."""

    PASSED = "passed"
    FAILED = "failed"


@commands.command()
def identify(
    gallery: GalleryPath,
    files: Files,
    *,
    max_candidates: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Largest number of candidates listed: by default 10, or what the gallery allows if that is less.",
        ),
    ] = None,
    fpir: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="List only candidates that at most this part of non-mated searches returns. By default the best "
            "candidates are listed, however low their scores.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Search only among subjects with this label, or with any of them if given several times.",
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(
            parser=parse_rate,
            metavar="PART",
            help="Largest part of the gallery that passes the first look of a search. A larger part loses fewer "
            "mates and takes longer; with 1 all subjects pass.",
        ),
    ] = 0.03,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with all references in full.")] = False,
    together: Annotated[
        Together | None,
        typer.Option(
            help="Files that make one probe: those of one 'subject' by name, or 'all'. By default each file is a "
            "probe."
        ),
    ] = None,
    pattern: Pattern = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Search the gallery for each probe, and list the subjects that it is most likely of.

    Probes with files that cannot be read are named, and the others go on.

    Exit code 0: there are candidates; 1: there is none for any probe; 2: an error.
    """
    images = ImageOptions(position, dpi, face_model, cache, pattern, voice_model)
    faults = Faults()
    found = files_in(files)
    match together:
        case None:
            probes = {str(file): [file] for file in found}
        case Together.SUBJECT:
            probes = files_by_subject(files, pattern, faults)
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
            share=share,
            labels=label or None,
            exact=exact,
            progress=lambda done: progress(done, len(probes)),
        )
        is_first, is_found = True, False
        for result in results:
            name = names.popleft()
            is_found |= not isinstance(result, TemplateError) and len(result) > 0
            if isinstance(result, TemplateError):
                faults.add(f"{name}: {result}")
            elif as_json:
                print_json({"probe": name} | result.to_dict())
            else:
                if not is_first:
                    tell()
                tell(f"{name}\n{result}")
                is_first = False
    faults.exit_if_any()
    if not is_found:
        raise typer.Exit(NOT_FOUND)


@commands.command()
def verify(
    gallery: GalleryPath,
    subject: SubjectId,
    files: Files,
    *,
    fmr: Annotated[
        float,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="False match rate: part of impostors that may match."
        ),
    ] = 1e-6,
    level: Annotated[
        int, typer.Option(min=0, max=9, help="Require a subject of at least this assurance level.")
    ] = 0,
    face_fmr: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="Require a face that reaches this false match rate by itself.",
        ),
    ] = None,
    fingers: Annotated[
        int, typer.Option(min=0, max=10, metavar="N", help="Require evidence from at least N fingers.")
    ] = 0,
    needs_liveness: Annotated[
        bool, typer.Option("--needs-liveness", help="Require a presentation attack detection that passed.")
    ] = False,
    liveness: Annotated[
        Verdict | None,
        typer.Option(help="Result of a presentation attack detection, which other software makes."),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    voice_model: VoiceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Decide whether the files, all of one person, are of the subject.

    Exit code 0: match; 1: non-match; 2: an error, or there is no such subject; 3: locked by its holder;
    4: terminated; 5: refused, because a requirement is not met; 6: nothing comparable; 7: paused after failures.
    """
    templates = read_all(files, ImageOptions(position, dpi, face_model, cache, voice_model=voice_model))
    policy = Policy(fmr, level, face_fmr, fingers, needs_liveness)
    verdict = None if liveness is None else liveness == Verdict.PASSED
    with open_any(gallery) as opened:
        result = opened.verify(templates, subject, policy=policy, liveness=verdict)
    if as_json:
        print_json(result.to_dict())
    else:
        tell(result)
    raise typer.Exit(_EXIT_CODES[result.outcome])
