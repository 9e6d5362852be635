# SPDX-License-Identifier: Apache-2.0
"""Data sets: folders of template files, with the finger, eye or person and the sample in each file name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from abis.errors import AbisError
from abis.formats import read_file
from abis.template import Template

__all__ = ["DEFAULT_PATTERN", "DataSet", "FailureToAcquire", "FolderSample", "read_folder"]

DEFAULT_PATTERN = r"(?P<finger>.+)_(?P<impression>[^_]+)"
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
    """Read every template file of a folder; subfolders and hidden files are ignored.

    Args:
        folder: folder of files in any format that :func:`abis.read` reads, with one template each.
        pattern: regular expression with the groups ``finger`` and ``impression``. It must match the whole name of a
            file, without or with the ending. Default: :data:`DEFAULT_PATTERN`.
        read: function that returns the templates of a file, called in the order of file names. Default:
            :func:`abis.read_file`.

    Raises:
        ValueError: the pattern is not a regular expression or lacks a group, two files are the same impression of a
            finger, or no file matches the pattern.
        OSError: the folder cannot be read.
    """
    expression = _compile(pattern)
    samples: dict[tuple[str, str], FolderSample] = {}
    failures, ignored = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."):
        fit = expression.fullmatch(path.stem) or expression.fullmatch(path.name)
        is_drawing = path.suffix.lower() == ".svg"  # `abis extract --draw` puts drawings beside the templates
        if is_drawing or fit is None or fit["finger"] is None or fit["impression"] is None:
            ignored.append(path.name)
            continue
        key = (fit["finger"], fit["impression"])
        if key in samples:
            raise ValueError(
                f"{folder}: {samples[key].name} and {path.name} are both impression {key[1]} of {key[0]}"
            )
        try:
            template = _only(read(path))
        except (AbisError, OSError) as error:
            template = None
            failures.append(FailureToAcquire(path.stem, str(error)))
        samples[key] = FolderSample(path.stem, *key, template, path)
    if not samples:
        raise ValueError(f"{folder}: none of {len(ignored)} file names matches the pattern {pattern!r}")
    ordered = sorted(
        samples.values(), key=lambda sample: (_natural(sample.finger), _natural(sample.impression))
    )
    return DataSet(folder.resolve().name, tuple(ordered), tuple(failures), tuple(ignored))


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    missing = {"finger", "impression"} - expression.groupindex.keys()
    if missing:
        raise ValueError(
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
