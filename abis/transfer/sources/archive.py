# SPDX-License-Identifier: Apache-2.0
"""A tar archive of template files, plain or packed (gzip, Zstandard), read from one end to the other."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from abis.errors import AbisError
from abis.store.import_records import Record, Sample
from abis.transfer.sources.names import LARGEST_FILE, NamedSample, Names, records_of
from abis.transfer.sources.source import Progress, Source, naming, of_file

__all__ = ["ENCOUNTER", "POSITION", "SUBJECT", "ArchiveSource", "is_archive"]

SUBJECT, ENCOUNTER, POSITION = "ABIS.subject_id", "ABIS.encounter_id", "ABIS.position"
"""Extended header records (POSIX.1-2001, pax) that say whose a member is, whatever its name."""

_GZIP, _ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst")
_DAMAGE = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, OSError)


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(_ENDINGS)


class ArchiveSource(Source):
    """The members of a tar archive in their order; those of a subject must follow each other."""

    def __init__(self, path: Path, names: Names) -> None:
        self.name = str(path)
        self._path = path
        self._names = names
        self._size = path.stat().st_size
        self._file: IO[bytes] | None = None

    @property
    def fingerprint(self) -> str:
        return of_file(self._path, self._names.pattern)

    def records(self, after: int) -> Iterator[Record]:
        with naming(self.name, *_DAMAGE):
            yield from records_of(self._samples(after))

    def progress(self) -> Progress:
        done = 0 if self._file is None or self._file.closed else self._file.tell()
        return Progress(done, self._size)

    def _samples(self, after: int) -> Iterator[NamedSample]:
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(self._path.open("rb"))
            content = _Watched(_unpacked(self._file, stack))
            archive = stack.enter_context(tarfile.open(fileobj=cast(IO[bytes], content), mode="r|"))
            number = 0
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else all headers stay in memory
                if member.isdir():
                    continue
                number += 1
                if number > after:
                    yield self._sample(archive, member, number)
            content.check_end()

    def _sample(self, archive: tarfile.TarFile, member: tarfile.TarInfo, number: int) -> NamedSample:
        if member.size > LARGEST_FILE:
            fault = (
                f"{member.name}: has {member.size:,} bytes, and stays where it is; no template is so large"
            )
            return self._names.named(member.name, None, number, fault)
        opened = archive.extractfile(member) if member.isreg() else None
        if opened is None:
            return self._names.named(member.name, None, number, f"{member.name}: is no ordinary file")
        content = opened.read()
        if len(content) < member.size:
            raise tarfile.ReadError(f"{member.name}: the archive ends within it")
        headers = member.pax_headers
        if SUBJECT in headers:
            sample = Sample(member.name, content, headers.get(POSITION))
            return NamedSample(headers[SUBJECT], headers.get(ENCOUNTER), sample, number)
        return self._names.named(member.name, content, number)


class _Watched:
    """An archive on its way to :mod:`tarfile`, which takes one that was cut short between members as whole."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._last = b""

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._last = (self._last + data[-tarfile.BLOCKSIZE :])[-tarfile.BLOCKSIZE :]
        return data

    def check_end(self) -> None:
        """Archives end with blocks of zeros; what pads a member is shorter."""
        while self.read(tarfile.RECORDSIZE):
            pass
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the archive has no end")


def _unpacked(file: IO[bytes], stack: contextlib.ExitStack) -> IO[bytes]:
    """The archive within what may be packed."""
    start = file.read(4)
    file.seek(0)
    if start.startswith(_GZIP):
        return cast(IO[bytes], stack.enter_context(gzip.open(file)))
    if start == _ZSTANDARD:
        try:
            import pyarrow  # noqa: PLC0415 - an extra
        except ImportError:
            raise AbisError(
                f"{file.name}: archives packed with Zstandard need pyarrow: pip install 'abis[parquet]'"
            ) from None
        unpacked: IO[bytes] = stack.enter_context(pyarrow.CompressedInputStream(file, "zstd"))
        return unpacked
    return file
