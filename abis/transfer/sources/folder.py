# SPDX-License-Identifier: Apache-2.0
"""A folder of template files, and its folders, in the order of their names."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from abis.store.import_records import Record
from abis.transfer.sources.files import RefusedFileError, read_inside
from abis.transfer.sources.names import NamedSample, Names, records_of
from abis.transfer.sources.source import Progress, Source, hash_of

__all__ = ["FolderSource"]


class FolderSource(Source):
    """All regular files of a folder but hidden ones; those of a subject must follow each other by name.

    Links are not followed. The names of one folder at a time are in memory.
    """

    def __init__(self, path: Path, names: Names) -> None:
        self.name = str(path)
        self._path = path
        self._names = names
        self._done = 0
        self._total = 0
        sha256 = hashlib.sha256()
        for entry in _files(path):
            self._total += 1
            found = entry.stat(follow_symlinks=False)
            size = found.st_size if stat.S_ISREG(found.st_mode) else 0
            sha256.update(f"{entry.path} {size}\n".encode(errors="surrogateescape"))
        self._fingerprint = hash_of(sha256.hexdigest(), names.pattern)

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def records(self, after: int) -> Iterator[Record]:
        yield from records_of(self._samples(after))

    def progress(self) -> Progress:
        return Progress(self._done, self._total)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        for number, entry in islice(enumerate(_files(self._path), 1), after, None):
            self._done = number
            path = Path(entry.path).relative_to(self._path).as_posix()
            content = fault = None
            try:
                content = read_inside(self._path, path)
            except RefusedFileError as error:
                fault = f"{path}: {error}"
            except OSError as error:
                fault = f"{path}: {error.strerror}"
            yield self._names.named(path, content, number, fault)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        found = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        else:
            yield entry
