# SPDX-License-Identifier: Apache-2.0
"""Sources of records, one module for each kind."""

from __future__ import annotations

import re
from pathlib import Path

from abis.errors import FormatError
from abis.transfer.sources.archive import ArchiveSource, is_archive
from abis.transfer.sources.csv_file import CsvSource
from abis.transfer.sources.folder import FolderSource
from abis.transfer.sources.names import Names
from abis.transfer.sources.source import Source

__all__ = ["open_path"]


def open_path(path: Path, *, pattern: re.Pattern[str] | None = None, files: Path | None = None) -> Source:
    """Return the source at a path, chosen by its kind and the ending of its name.

    Args:
        path: a folder, a tar archive (.tar, .tar.gz, .tgz, .tar.zst, .tzst), or a manifest (.csv, .parquet). A folder
            with a ``manifest.csv`` is read by that manifest, as an exported one must be.
        files: folder that the paths in a manifest must be inside of; by default the manifest's own.
        pattern: how the names in folders and archives say whose a file is; see :class:`Names`. None takes the name
            of the folder in ``FOLDER/SUBJECT/FILE``, else what :func:`abis.formats.names.subject_in` finds.

    Raises:
        FormatError: it is none of these, or damaged.
        OSError: there is none, or it cannot be read.
    """
    if path.is_dir():
        if (manifest := path / "manifest.csv").is_file():  # an exported folder; its file names are numbers
            return CsvSource(manifest, files)
        return FolderSource(path, Names(pattern))
    path.stat()
    if is_archive(path):
        return ArchiveSource(path, Names(pattern))
    match path.suffix.lower():
        case ".csv":
            return CsvSource(path, files)
        case ".parquet":
            from abis.transfer.sources.parquet_file import ParquetSource  # noqa: PLC0415 - needs an extra

            return ParquetSource(path, files)
    raise FormatError(
        f"{path}: not a folder; expected a folder, or a name that ends in .tar, .tar.gz, .tgz, .tar.zst, .csv or "
        ".parquet"
    )
