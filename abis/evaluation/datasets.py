# SPDX-License-Identifier: Apache-2.0
"""Data sets: folders of template files, with the finger, eye or person and the sample in each file name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from abis.errors import AbisError, ArgumentError
from abis.formats import read_file
from abis.formats.names import IMPRESSION_IN_NAME, position_in
from abis.template import Position, Template

__all__ = ["DEFAULT_PATTERN", "DataSet", "FailureToAcquire", "FolderSample", "data_files", "read_folder"]

DEFAULT_PATTERN = IMPRESSION_IN_NAME
"""Default pattern of file names, such as ``101_3``: the finger before the last underscore, the impression after it."""


@dataclass(frozen=True)
class FolderSample:
    """One file of a data set.

    Attributes:
        name: the file's name without its ending.
        finger: finger, eye or person in the file name.
        impression: impression of the finger, or image of the eye or person, in the file name.
        template: template in the file. None: the file could not be read.
        path: the file.
    """

    name: str
    finger: str
    impression: str
    template: Template | None
    path: Path


@dataclass(frozen=True)
class FailureToAcquire:
    """A file without a usable template: a failure to acquire.

    Attributes:
        name: the file's name without its ending.
        reason: the error of the reader.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class DataSet:
    """The samples of a folder.

    Attributes:
        name: name of the folder.
        samples: all samples, failed ones included, by finger and impression; numbers in names sort by value.
        failures: the samples without a template, with the reasons.
        ignored: names of files that do not match the pattern.
    """

    name: str
    samples: tuple[FolderSample, ...]
    failures: tuple[FailureToAcquire, ...]
    ignored: tuple[str, ...]


def read_folder(
    folder: Path,
    *,
    pattern: str = DEFAULT_PATTERN,
    read: Callable[[Path], tuple[Template, ...]] = read_file,
) -> DataSet:
    """Read every template file of a folder; hidden files are ignored.

    Args:
        folder: folder of files in any format that :func:`abis.read` reads, with one template each. If there are only
            folders in it, each is named after a subject, and its files are impressions of that subject's face, or of
            the finger or eye that the file's name ends with. Otherwise folders in it are ignored.
        pattern: regular expression with the groups ``finger`` and ``impression``. It must match the whole name of a
            file, without or with the ending. Default: :data:`DEFAULT_PATTERN`, and the names of folders.
        read: function that returns the templates of a file, called in the order of file names. Default:
            :func:`abis.read_file`.

    Raises:
        ArgumentError: the pattern is not a regular expression or lacks a group, two files are the same impression of a
            finger, or no file matches the pattern.
        OSError: the folder cannot be read.
    """
    expression = _compile(pattern)
    samples: dict[tuple[str, str], FolderSample] = {}
    failures, ignored = [], []
    for path in data_files(folder):
        key = _named(path, folder, expression, by_folder=pattern == DEFAULT_PATTERN)
        if key is None:
            ignored.append(str(path.relative_to(folder)))
            continue
        name = str(path.relative_to(folder).with_suffix(""))
        if key in samples:
            raise ArgumentError(
                f"{folder}: {samples[key].name} and {path.name} are both impression {key[1]} of {key[0]}"
            )
        try:
            template = _only(read(path))
        except (AbisError, OSError) as error:
            template = None
            failures.append(FailureToAcquire(name, str(error)))
        samples[key] = FolderSample(name, *key, template, path)
    if not samples:
        raise ArgumentError(f"{folder}: none of {len(ignored)} file names matches the pattern {pattern!r}")
    ordered = sorted(
        samples.values(), key=lambda sample: (_natural(sample.finger), _natural(sample.impression))
    )
    return DataSet(folder.resolve().name, tuple(ordered), tuple(failures), tuple(ignored))


def data_files(folder: Path) -> list[Path]:
    """The files of a data set in the order of their names: those of a folder, or of the folders in it.

    Raises:
        OSError: the folder cannot be read.
    """

    def own(of: Path) -> list[Path]:
        return sorted(path for path in of.iterdir() if path.is_file() and path.name[0] != ".")

    if found := own(folder):
        return found
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return [file for each in folders for file in own(each)]


def _named(
    path: Path, folder: Path, expression: re.Pattern[str], *, by_folder: bool
) -> tuple[str, str] | None:
    """Finger and impression of a file; None if it is not part of the data set."""
    if path.suffix.lower() == ".svg":  # `abis extract --draw` puts drawings beside the templates
        return None
    if by_folder and path.parent != folder:
        position = position_in(f"_{path.stem}")
        if position is None or position is Position.FACE:
            return path.parent.name, path.stem
        return f"{path.parent.name}_{position.name.lower()}", path.stem
    fit = expression.fullmatch(path.stem) or expression.fullmatch(path.name)
    if fit is None or fit["finger"] is None or fit["impression"] is None:
        return None
    return fit["finger"], fit["impression"]


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ArgumentError(f"{pattern!r} is not a regular expression: {error}") from error
    missing = {"finger", "impression"} - expression.groupindex.keys()
    if missing:
        raise ArgumentError(
            f"{pattern!r} has no group named {' or '.join(sorted(missing))}; "
            "expected (?P<finger>...) and (?P<impression>...)"
        )
    return expression


def _only(templates: tuple[Template, ...]) -> Template:
    if len(templates) != 1:
        raise AbisError(f"contains {len(templates)} templates; expected one")
    return templates[0]


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Return a sorting key that puts 2 before 10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part
    ]
