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
from abis.transfer.sources.files import LARGEST_FILE
from abis.transfer.sources.names import NamedSample, Names, records_of
from abis.transfer.sources.source import Progress, Source, naming, of_file

__all__ = ["ENCOUNTER", "POSITION", "SUBJECT", "ArchiveSource", "is_archive"]

SUBJECT, ENCOUNTER, POSITION = "ABIS.subject_id", "ABIS.encounter_id", "ABIS.position"
"""Extended header records (POSIX.1-2001, pax) that say whose a member is, whatever its name."""

_LARGEST_HEADER = 2**16  # bytes of a long name or of pax records
_UNPACKED_FREE, _UNPACKED_MOST = (
    2**26,
    50,
)  # bytes; and how many times its size an archive may unpack to beside
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
            content = _Watched(_unpacked(self._file, stack), self._size)
            archive = stack.enter_context(
                tarfile.open(fileobj=cast(IO[bytes], content), mode="r|", tarinfo=_BoundedHeader)
            )
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
                f"{member.name}: has {member.size:,} bytes; a template record has at most {LARGEST_FILE:,}"
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


class _BoundedHeader(tarfile.TarInfo):
    """A member's header; a header of headers (a long name, pax records) larger than any of use is passed over."""

    _HEADERS = (
        *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE),
    )

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self._HEADERS and (
            self.size > _LARGEST_HEADER or self.type == tarfile.GNUTYPE_SPARSE
        ):
            self.type = b"?"  # no regular file: its data are passed over, and a fault says so
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member


class _Watched:
    """An archive on its way to :mod:`tarfile`, which takes one that was cut short between members as whole."""

    def __init__(self, file: IO[bytes], packed: int) -> None:
        self._file = file
        self._last = b""
        self._left = _UNPACKED_FREE + _UNPACKED_MOST * packed

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(
                f"the archive unpacks to more than {_UNPACKED_MOST} times its size; unpack it, and import the folder"
            )
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
