# SPDX-License-Identifier: Apache-2.0
"""Arguments and options that several commands share, and what their values mean."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from abis.errors import AbisError, FormatError
from abis.formats import Format
from abis.formats.names import subject_in
from abis.template import Position, Template

__all__ = [
    "STANDARD_INPUT",
    "AsJson",
    "CacheFolder",
    "Dpi",
    "DryRun",
    "FaceModel",
    "Files",
    "FingerFormat",
    "FingerPosition",
    "GalleryPath",
    "MinCoverage",
    "Pattern",
    "SubjectId",
    "VoiceModel",
    "Yes",
    "check_output",
    "check_output_folder",
    "compile_pattern",
    "files_in",
    "group_by_subject",
    "moved",
    "parse_position",
    "parse_rate",
]

STANDARD_INPUT = Path("-")
"""A file argument that stands for standard input."""


def parse_position(text: str) -> Position:
    """The position with a name such as ``right-index``."""
    try:
        return Position[text.strip().upper().replace("-", "_").replace("_IRIS", "_EYE")]
    except KeyError:
        names = ", ".join(position.name.lower().replace("_", "-") for position in Position)
        raise typer.BadParameter(f"{text!r} is not one of {names}") from None


GalleryPath = Annotated[
    str, typer.Argument(metavar="GALLERY", help="Folder of the gallery, or URL of its PostgreSQL database.")
]
SubjectId = Annotated[str, typer.Argument(metavar="SUBJECT", help="Subject id.")]
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILES...",
        help="Templates of any supported format, images, recordings, or folders of these; - reads standard input.",
    ),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Regular expression that the file name without its ending must match as a whole; the group "
        "(?P<subject>...) is the subject id, and (?P<position>...), if there, the position. By default the subject is "
        "the name of the folder in FOLDER/SUBJECT/FILE, else what the file name begins with: 0042 in "
        "0042_right_index_1, David_Beckham in David_Beckham_0001.",
    ),
]
FingerPosition = Annotated[
    Position | None,
    typer.Option(
        parser=parse_position,
        metavar="POSITION",
        help="Position of all files, whatever they state: right-index, left-thumb, face, ... Images need it, except "
        "ISO/IEC 19794 records and names that end with a position, such as 0042_right_index.png.",
    ),
]
Dpi = Annotated[
    float | None,
    typer.Option(
        min=1,
        metavar="DPI",
        help="Resolution of finger images in pixels per inch. The default is the resolution that the file states, "
        "or 500.",
    ),
]
FaceModel = Annotated[
    Path | None,
    typer.Option(metavar="ONNX", help="Network for face images, of the ArcFace kind. The default is SFace."),
]
VoiceModel = Annotated[
    Path | None,
    typer.Option(
        metavar="ONNX", help="Speaker model for recordings (WAV, FLAC), as docs/voice.md describes it."
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        metavar="DIR",
        help="Folder that keeps the templates extracted from images, not encrypted, for the next run.",
    ),
]
MinCoverage = Annotated[
    float,
    typer.Option(
        min=0,
        max=1,
        metavar="PART",
        help="With --unique, refuse a subject that is comparable with less than this part of the enrolled subjects. "
        "Embeddings of another face network are not comparable, for example.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Remove without a question.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be removed; remove nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]


def parse_format(text: str | Format) -> Format:
    """The format with a name such as ``iso-19794-2-2011``. A default value is a format already."""
    if isinstance(text, Format):
        return text
    try:
        return Format[text.strip().upper().replace("-", "_")]
    except KeyError:
        names = ", ".join(known.name.lower().replace("_", "-") for known in Format)
        raise typer.BadParameter(f"{text!r} is not one of {names}") from None


FingerFormat = Annotated[
    Format,
    typer.Option(
        "--format",
        parser=parse_format,
        metavar="FORMAT",
        show_default="native",
        help="Format of fingers: iso-19794-2-2011, ansi-378-2004, xyt, ...; native, the default, loses nothing.",
    ),
]


def parse_rate(text: str | float) -> float:
    """A number above 0, at most 1. A default value is a number already."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1:
        raise typer.BadParameter(
            f"{text!r} is not a rate; expected a number above 0, at most 1, such as 1e-6"
        )
    return rate


def files_in(paths: Sequence[Path]) -> list[Path]:
    """The files among the paths, and those in the folders among them and in their folders, sorted; no hidden ones."""
    found: list[Path] = []
    for path in paths:
        if path == STANDARD_INPUT and path in found:
            raise typer.BadParameter("standard input, -, can be read once")
        if path.is_dir():
            for folder in (path, *sorted(subject_folders([path]))):
                found.extend(
                    sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
                )
        else:
            found.append(path)
    if not found:
        raise AbisError(f"no files in {', '.join(map(str, paths))}")
    return found


def check_output(path: Path | None, *endings: str) -> None:
    """Refuse the name of a file that could not be written, before the work starts.

    Args:
        path: name of the file; None is fine.
        endings: endings that the name may have; without them any ending is allowed.
    """
    if path is None:
        return
    if endings and path.suffix.lower() not in endings:
        raise typer.BadParameter(f"{path}: expected a name that ends in {' or '.join(endings)}")
    if path.is_dir():
        raise typer.BadParameter(f"{path}: is a folder; expected the name of a file")
    if not path.parent.is_dir():
        raise typer.BadParameter(f"{path}: cannot be written: there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise typer.BadParameter(f"{path}: cannot be written")


def check_output_folder(path: Path, *, new: bool) -> None:
    """Refuse the name of a folder that could not be made or filled, before the work starts.

    Args:
        path: name of the folder.
        new: whether to refuse a folder that exists.
    """
    above = next((each for each in (path, *path.absolute().parents) if each.exists()), path)
    if new and path.exists():
        raise typer.BadParameter(f"{path}: exists already")
    if not above.is_dir():
        raise typer.BadParameter(f"{above}: is a file; expected a folder")
    if not os.access(above, os.W_OK):
        raise typer.BadParameter(f"{above}: cannot be written")


def subject_folders(paths: Sequence[Path]) -> frozenset[Path]:
    """The folders directly in the folders among the paths, which are named after subjects; no hidden ones."""
    return frozenset(
        folder
        for path in paths
        if path.is_dir()
        for folder in path.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    )


def group_by_subject(
    files: Sequence[Path], pattern: str | None, folders: frozenset[Path]
) -> tuple[dict[str, list[Path]], list[Path]]:
    """The files of each subject, in the order of first appearance; and the files whose names do not match.

    Args:
        files: files named after their subjects, or in folders that are.
        folders: named after subjects; their files are of that subject unless there is a pattern.
        pattern: regular expression with the group ``subject``, for the whole name without its ending; None takes
            folders, else what :func:`abis.formats.names.subject_in` finds.
    """
    groups: dict[str, list[Path]] = {}
    misfits = []
    expression = None if pattern is None else compile_pattern(pattern)
    for file in files:
        if expression is not None:
            fit = expression.fullmatch(file.stem)
            subject = None if fit is None else fit["subject"]
        else:
            subject = file.parent.name if file.parent in folders else subject_in(file.stem)
        if subject:
            groups.setdefault(subject, []).append(file)
        else:
            misfits.append(file)
    return groups, misfits


def moved(template: Template, position: Position | None, file: Path) -> Template:
    """The template of a file, at ``position`` unless that is None.

    Raises:
        FormatError: naming the file.
    """
    if position is None:
        return template
    try:
        return template.at(position)
    except AbisError as error:
        raise FormatError(f"{file}: {error}") from None


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Compile a pattern; it must have the group ``subject``."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise typer.BadParameter(f"{pattern!r} is not a regular expression: {error}") from None
    if "subject" not in expression.groupindex:
        raise typer.BadParameter(f"{pattern!r} has no group (?P<subject>...)")
    return expression
