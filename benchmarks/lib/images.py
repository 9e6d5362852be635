# SPDX-License-Identifier: Apache-2.0
"""The finger images among the public data, and the templates that abis makes of them.

What was extracted is kept in ``build/extracted``: a second script does not extract anything again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from abis.evaluation import DataSet, read_folder
from abis.template import Position, Template
from benchmarks.lib.common import ROOT, SETS, library

__all__ = ["FVC2000", "IMAGE_SETS", "dpi_of", "extracted_set", "templates_of"]

FVC2000 = tuple(f"fvc2000_db{i}_b" for i in (1, 2, 3, 4))
"""No constant was fitted on the last two of them."""

IMAGE_SETS = (*SETS, *FVC2000)
"""Sets whose images are among the public data."""

_DPI = {"fvc2002_db2_b": 569.0, "fvc2004_db3_b": 512.0}
_CACHE = ROOT / "build" / "extracted"


def dpi_of(name: str) -> float:
    """The resolution of a set's images."""
    return _DPI.get(name, 500.0)


@cache
def extracted_set(data: Path, name: str) -> DataSet:
    """A set's templates by ``abis.extraction``; some 15 seconds and core where they are not kept yet.

    Args:
        data: the folder of public data.
        name: of the set.

    Raises:
        DataMissingError: what ``abis[extraction]`` needs is not installed.
    """
    extract_many = library("abis.extraction").extract_many
    folder = data / "images" / name
    files = sorted(path for path in folder.iterdir() if path.suffix in {".png", ".tif"})
    outcomes = extract_many(files, position=Position.UNKNOWN_FINGER, dpi=dpi_of(name), cache=_CACHE)
    templates: dict[Path, tuple[Template, ...]] = {
        path: outcome.templates for path, outcome in zip(files, outcomes, strict=True)
    }
    return read_folder(folder, read=lambda path: templates.get(path, ()))


def templates_of(data: Path, extractor: str, name: str) -> DataSet:
    """A set's templates: those of the public data, or by ``abis.extraction`` where there are none of the extractor."""
    folder = data / "fingerprints" / extractor
    return read_folder(folder / name) if folder.exists() else extracted_set(data, name)
