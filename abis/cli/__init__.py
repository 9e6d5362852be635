# SPDX-License-Identifier: Apache-2.0
"""The command line: what its commands are called, take and say. What they do is in the rooms beside.

Rooms are imported when their command runs, so that ``abis --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from abis.cli import cluster_commands, operations
from abis.cli.arguments import Together, Verdict, parse_format, parse_position, parse_rate
from abis.cli.console import CommandGroup
from abis.cli.images import ImageOptions
from abis.formats import Format
from abis.template import Position

__all__ = ["app"]

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Biometric identification: who is this, and is this the person it claims to be?",
    epilog="Exit codes: 0 all is well (verify: match); 1 non-match; 2 something failed, and standard error "
    "says what; 130 stopped by Ctrl-C, 143 by SIGTERM (deduplicate).",
)

GalleryPath = Annotated[
    str, typer.Argument(metavar="GALLERY", help="A gallery's folder, or the URL of its PostgreSQL database.")
]
Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILES...", help="Templates of any supported format, images, or folders of such."),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Which part of a file's name is the subject: a regular expression with the group "
        "(?P<subject>...) for all of the name but its ending. By default, all before the first underscore.",
    ),
]
FingerPosition = Annotated[
    Position | None,
    typer.Option(
        parser=parse_position,
        metavar="POSITION",
        help="Take all files as of this position, whatever they say: right-index, left-thumb, face, ... Images "
        "need it, but for ISO/IEC 19794 records and names that end with it, as 0042_right_index.",
    ),
]
Dpi = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="DPI",
        help="Resolution of finger images, in pixels an inch. By default what an ISO/IEC 19794-4 record states, "
        "else 500.",
    ),
]
FaceModel = Annotated[
    Path | None,
    typer.Option(metavar="ONNX", help="Network for images of faces, of ArcFace's kind. By default SFace."),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Keep what is extracted from images here, not encrypted, and take it from here the next time.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]


@app.command()
def demo(
    *,
    subjects: Annotated[int, typer.Option(min=10, help="How many people to make up.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the people; the same seed makes the same ones.")] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--images",
            metavar="DIR",
            help="Do it with images named <finger or person>_<impression>.* instead.",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
) -> None:
    """Enroll made-up people, search for them and for strangers, and show how well that goes.

    Needs no data, takes less than a minute, and leaves nothing behind.
    """
    if folder is not None:
        from abis.cli import demonstration_images

        demonstration_images.demo(folder, ImageOptions(position, dpi, face_model, cache))
        return
    from abis.cli import demonstration as room

    room.demo(subjects, seed)


@app.command()
def enroll(
    gallery: GalleryPath,
    files: Files,
    *,
    subject: Annotated[str | None, typer.Option(metavar="ID", help="All files are of this subject.")] = None,
    pattern: Pattern = None,
    encounter: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Name this capture; needed where a subject is enrolled already."),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
    skip_enrolled: Annotated[
        bool,
        typer.Option(
            "--skip-enrolled", help="Leave subjects alone that are enrolled: to go on after Ctrl-C."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Enroll the subjects that the files' names begin with; make the gallery where there is none.

    079203001234_right_index.fmr and 079203001234_left_index.fmr are of subject 079203001234. A subject is
    enrolled with all of its files or, where one of them cannot be read, not at all.
    """
    from abis.cli import galleries as room

    room.enroll(
        gallery,
        files,
        subject=subject,
        pattern=pattern,
        encounter=encounter,
        images=ImageOptions(position, dpi, face_model, cache),
        skip_enrolled=skip_enrolled,
        as_json=as_json,
    )


@app.command()
def deduplicate(
    gallery: GalleryPath,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="FILE", help="NAME.parquet, NAME.csv or NAME.json, a row a pair."
        ),
    ],
    fpir: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="False positive identification rate of each subject's search among all; 1e-4 by default. Of N "
            "subjects without a duplicate, at most N x RATE / 2 false pairs are to be expected.",
        ),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="SCORE", help="List pairs of at least this score instead.")
    ] = None,
    since: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="CHANGE", help="Only the new against all: who was enrolled after this change."
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare everyone with everyone in full.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page to decide by, with the minutiae drawn."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find who is enrolled twice: hold every subject against every other, and write the pairs.

    What is done is remembered in FILE.checkpoint. A job that was stopped, by Ctrl-C, SIGTERM or kill -9, goes on
    when the same command is run again, and writes the same file.
    """
    from abis.cli import deduplication as room

    room.deduplicate(
        gallery,
        output,
        fpir=fpir,
        threshold=threshold,
        since=since,
        exact=exact,
        html=html,
        as_json=as_json,
    )


@app.command()
def identify(
    gallery: GalleryPath,
    files: Files,
    *,
    max_candidates: Annotated[int, typer.Option(min=1, metavar="N", help="List at most so many.")] = 10,
    fpir: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="List only candidates that at most this part of searches for strangers would return; "
            "by default the best, however low their scores.",
        ),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Compare with everyone in full.")] = False,
    together: Annotated[
        Together | None,
        typer.Option(
            help="Which files are of one person: those of a 'subject' by name, or 'all' of them. "
            "By default each file is a search of its own."
        ),
    ] = None,
    pattern: Pattern = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Who is this? List the subjects of the gallery that are most likely the same person."""
    from abis.cli import galleries as room

    room.identify(
        gallery,
        files,
        max_candidates=max_candidates,
        fpir=fpir,
        exact=exact,
        together=together,
        pattern=pattern,
        images=ImageOptions(position, dpi, face_model, cache),
        as_json=as_json,
    )


@app.command()
def verify(
    gallery: GalleryPath,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Who it claims to be.")],
    files: Files,
    *,
    fmr: Annotated[
        float,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="Part of impostors that may be taken for a match."
        ),
    ] = 1e-6,
    level: Annotated[
        int, typer.Option(min=0, max=9, help="Assurance level that the subject must have at least.")
    ] = 0,
    face_fmr: Annotated[
        float | None,
        typer.Option(
            parser=parse_rate, metavar="RATE", help="There must be a face, and by itself reach this rate."
        ),
    ] = None,
    fingers: Annotated[
        int, typer.Option(min=0, max=10, metavar="N", help="There must be evidence of so many fingers.")
    ] = 0,
    needs_liveness: Annotated[
        bool, typer.Option("--needs-liveness", help="A presentation attack detection must have passed.")
    ] = False,
    liveness: Annotated[
        Verdict | None, typer.Option(help="The verdict of that detection, which is not ours.")
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Is this the person it claims to be? All files together are of one person.

    Exit code 0: match; 1: non-match; 3: locked by its holder; 4: terminated; 5: refused, for less than what is
    asked for; 2: it failed, or there is no such subject.
    """
    from abis.cli import galleries as room
    from abis.verification.policy import Policy

    room.verify(
        gallery,
        subject,
        files,
        policy=Policy(fmr, level, face_fmr, fingers, needs_liveness),
        liveness=None if liveness is None else liveness == Verdict.PASSED,
        images=ImageOptions(position, dpi, face_model, cache),
        as_json=as_json,
    )


@app.command()
def reenroll(
    gallery: GalleryPath,
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom.")],
    files: Files,
    *,
    encounter: Annotated[str, typer.Option(metavar="ID", help="Name of the new encounter.")] = "1",
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Enroll a subject anew: all its templates give way to those of the files, in one transaction.

    Who it is, its status, level, labels and what the log says of it stay. Files that cannot be read leave all as
    it is.
    """
    from abis.cli import galleries as room

    room.reenroll(
        gallery,
        subject,
        files,
        encounter=encounter,
        images=ImageOptions(position, dpi, face_model, cache),
        as_json=as_json,
    )


@app.command()
def remove(
    gallery: GalleryPath,
    subjects: Annotated[list[str], typer.Argument(metavar="SUBJECTS...", help="Whom to take out.")],
    *,
    encounter: Annotated[
        str | None, typer.Option(metavar="ID", help="Take only this encounter of each out.")
    ] = None,
) -> None:
    """Take subjects out of the gallery, with all of their templates. There is no way back."""
    from abis.cli import galleries as room

    room.remove(gallery, subjects, encounter=encounter)


@app.command()
def info(gallery: GalleryPath, *, as_json: AsJson = False) -> None:
    """What a gallery holds, and how much room it takes."""
    from abis.cli import galleries as room

    room.info(gallery, as_json=as_json)


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a tar archive (plain, .gz, .zst), a manifest (.csv, .parquet), another gallery, or "
            "with --query the URL of a database.",
        ),
    ],
    gallery: GalleryPath,
    *,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="How names in folders and archives say whose a file is: a regular expression with the group "
            "(?P<subject>...), and perhaps (?P<encounter>...) and (?P<position>...), for all of the name but "
            "its ending, or of the path where there is a / in it. By default, all before the first underscore.",
        ),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="Read the rows of this query: subject_id and template, and perhaps encounter_id and "
            "position, ordered by subject_id.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="Processes that read templates; by default, one for each core."
        ),
    ] = None,
    unique: Annotated[
        bool,
        typer.Option(
            "--unique",
            help="Search for each record among all who are enrolled and all before it; whoever is there under "
            "another subject_id goes to the quarantine. Needs the gallery in memory.",
        ),
    ] = False,
    fpir: Annotated[
        float,
        typer.Option(
            parser=parse_rate,
            metavar="RATE",
            help="Of these searches: part of strangers that may be refused.",
        ),
    ] = 1e-4,
    as_json: AsJson = False,
) -> None:
    """Import the records of another system; make the gallery where there is none.

    A record that cannot be enrolled goes to the gallery's quarantine, and the others go on. After Ctrl-C, or a
    crash, the same command goes on where it was. See docs/migration.md.
    """
    from abis.cli import migration as room

    room.import_(
        source,
        gallery,
        pattern=pattern,
        query=query,
        workers=workers,
        fpir=fpir if unique else None,
        as_json=as_json,
    )


@app.command()
def export(
    gallery: GalleryPath,
    destination: Annotated[
        Path,
        typer.Argument(
            metavar="DEST",
            help="What to make: NAME.parquet, NAME.tar, NAME.tar.gz, or a folder of files and their manifest.csv.",
        ),
    ],
    *,
    finger_format: Annotated[
        Format,
        typer.Option(
            "--format",
            parser=parse_format,
            metavar="FORMAT",
            help="Of fingers: iso-19794-2-2011, ansi-378-2004, xyt, ...; native, the default, loses nothing.",
        ),
    ] = Format.NATIVE,
    as_json: AsJson = False,
) -> None:
    """Write all templates of a gallery, so that others, or `abis import`, can read them."""
    from abis.cli import migration as room

    room.export(gallery, destination, finger_format=finger_format, as_json=as_json)


quarantine = typer.Typer(
    no_args_is_help=True, help="Records that an import has refused, with their bytes: list, export, retry."
)
app.add_typer(quarantine, name="quarantine")


@quarantine.command("list")
def quarantine_list(gallery: GalleryPath, *, as_json: AsJson = False) -> None:
    """What is there, and why."""
    from abis.cli import migration as room

    room.quarantine_list(gallery, as_json=as_json)


@quarantine.command("export")
def quarantine_export(
    gallery: GalleryPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder to make.")],
) -> None:
    """Write the original bytes to files, and what is wrong with them to quarantine.csv."""
    from abis.cli import migration as room

    room.quarantine_export(gallery, folder)


@quarantine.command("retry")
def quarantine_retry(
    gallery: GalleryPath,
    records: Annotated[
        list[int] | None,
        typer.Argument(metavar="[RECORDS]...", help="Their numbers in the list; by default all."),
    ] = None,
) -> None:
    """Enroll what can be enrolled by now; it leaves the quarantine, the rest stays."""
    from abis.cli import migration as room

    room.quarantine_retry(gallery, records or [])


@app.command()
def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder of templates or images named <finger>_<impression>.*, one in a file; or a score file: .csv, "
            ".parquet or .npz with score and mated; or embeddings: .npz with embeddings and names.",
        ),
    ],
    *,
    gallery: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="1:N: search for every template of DATA among those of this folder."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare embeddings as LFW's pairs.txt lists them, not all."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Turns a score file's scores into likelihood ratios."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report with figures as one HTML page."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the scores as CSV: probe, reference, mated, score, raw."),
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Write all pairs' scores, not only those of the FVC protocol.")
    ] = False,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="For other names: a regular expression with the groups (?P<finger>...) and "
            "(?P<impression>...).",
        ),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    cache: CacheFolder = None,
    as_json: AsJson = False,
) -> None:
    """Print the error rates of templates, embeddings or scores with 95 % intervals, and report on them."""
    from abis.cli import evaluation as room

    options = room.Options(
        references=gallery,
        pairs=pairs,
        pattern=pattern,
        calibration=calibration,
        scores=scores,
        all_pairs=all_pairs,
        report=report,
        images=ImageOptions(position, dpi, face_model, cache),
        as_json=as_json,
    )
    room.evaluate(data, options)


@app.command()
def extract(
    files: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Images, or folders of such.")],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where the templates go, one file an image.")
    ],
    position: FingerPosition = None,
    dpi: Dpi = None,
    face_model: FaceModel = None,
    draw: Annotated[
        bool, typer.Option("--draw", help="Draw the minutiae over each image of a finger: DIR/<name>.svg.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make templates of images: 0042_right_index.png becomes DIR/0042_right_index.abis.

    Templates that are there already are left alone: to go on after Ctrl-C, run the command again.
    """
    from abis.cli import extraction as room

    room.extract(files, output, images=ImageOptions(position, dpi, face_model), draw=draw, as_json=as_json)


@app.command()
def calibrate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A score file to fit to: .csv, .parquet or .npz with raw (or score), and mated or subjects; or "
            "a calibration fitted before; or the name of one that abis brings, as minutiae-leader.",
        ),
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the calibration.")
    ] = None,
    gallery: Annotated[
        str | None, typer.Option(metavar="GALLERY", help="Have this gallery score by it from now on.")
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND", help="What the scores are of: minutiae, or embedding- and a model's name."
        ),
    ] = "minutiae",
) -> None:
    """Fit likelihood ratios and thresholds to your own scores, and say how much that helps."""
    from abis.cli import calibration as room

    room.calibrate(source, output=output, gallery=gallery, kind=kind)


@app.command()
def fuse(
    source: Annotated[
        Path, typer.Argument(metavar="SCORES", help="A file of scores, a column for each matcher.")
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the fusion (JSON), or the fused scores (CSV)."
        ),
    ],
    columns: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Learn from these columns: face,finger.")
    ] = None,
    qualities: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Columns of the qualities of what each of --columns compared."),
    ] = None,
    fusion: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Apply this fusion to a CSV file.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="sum, logistic, density or quality; by default the best by cross-validation.",
        ),
    ] = None,
) -> None:
    """Fuse the scores of several matchers: learn how from scores of known truth, or apply what was learnt."""
    from abis.cli import score_fusion as room

    room.fuse(source, columns=columns, qualities=qualities, fusion=fusion, method=method, output=output)


@app.command()
def explain(
    probe: Annotated[Path, typer.Argument(metavar="PROBE", help="A template or an image of one finger.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Another one.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Draw both, paired minutiae joined, as SVG."),
    ] = None,
    position: FingerPosition = None,
    dpi: Dpi = None,
    as_json: AsJson = False,
) -> None:
    """Compare two fingers, and show what the score is made of."""
    from abis.cli import explanation as room

    room.explain(probe, reference, images=ImageOptions(position, dpi), output=output, as_json=as_json)


operations.add_to(app)
app.add_typer(cluster_commands.cluster, name="cluster")
