# SPDX-License-Identifier: Apache-2.0
"""Data sets: folders of template files whose names say which finger and which impression they are of."""

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
"""Names as ``101_3``: all up to the last underscore is the finger, the rest the impression."""


@dataclass(frozen=True)
class FolderSample:
    """One file: its stem as ``name``, and its template, or None where that failed to be read."""

    name: str
    finger: str
    impression: str
    template: Template | None


@dataclass(frozen=True)
class FailureToAcquire:
    """A file from which no template was acquired, and why: a failure to acquire."""

    name: str
    reason: str


@dataclass(frozen=True)
class DataSet:
    """The samples of a folder.

    Attributes:
        name: of the folder.
        samples: in the order of finger and impression, numbers by their value; failed ones included.
        failures: the samples without a template, and why.
        ignored: names of files that do not fit the pattern.
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
    """Read every template file of a folder; its own folders are left alone.

    Args:
        folder: of files in any format that :func:`abis.read` knows, one finger view each.
        pattern: regular expression with the groups ``finger`` and ``impression``; must fit the whole of a
            file's stem, or else of its name.
        read: makes templates of a file, as :func:`abis.read_file` does; called in the order of the files' names.

    Raises:
        ValueError: where the pattern is not one or lacks a group; where two files are the same impression
            of a finger; where no file fits.
        OSError: where the folder cannot be read.
    """
    expression = _compile(pattern)
    samples: dict[tuple[str, str], FolderSample] = {}
    failures, ignored = [], []
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != "."):
        fit = expression.fullmatch(path.stem) or expression.fullmatch(path.name)
        if fit is None or fit["finger"] is None or fit["impression"] is None:
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
        samples[key] = FolderSample(path.stem, *key, template)
    if not samples:
        raise ValueError(
            f"{folder}: none of {len(ignored)} files has a name that fits the pattern {pattern!r}"
        )
    ordered = sorted(
        samples.values(), key=lambda sample: (_natural(sample.finger), _natural(sample.impression))
    )
    return DataSet(folder.resolve().name, tuple(ordered), tuple(failures), tuple(ignored))


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    missing = {"finger", "impression"} - expression.groupindex.keys()
    if missing:
        raise ValueError(f"{pattern!r} has no group named {' or '.join(sorted(missing))}, as (?P<finger>...)")
    return expression


def _only(templates: tuple[Template, ...]) -> Template:
    if len(templates) != 1:
        raise AbisError(f"holds {len(templates)} templates; expected one")
    return templates[0]


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A sorting key under which 2 comes before 10."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part
    ]
