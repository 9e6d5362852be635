# SPDX-License-Identifier: Apache-2.0
"""Segments as files, so that a gallery opens without preparing every template again.

A folder holds one file for each segment and a manifest, ``manifest.json``, which names the files and the last change of
the store that they contain. Every file is written whole (:mod:`abis.files`), the manifest last. A file that is missing,
damaged, of another version or of another gallery is rebuilt from the store, with a line in the log. Losing these files
costs time and nothing else. docs/gallery.md describes the format.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.errors import AbisError
from abis.files import open_regular, private_stream, read_regular, replacing, write_whole
from abis.index.segments import Block, Entry, Segment, block_of_arrays
from abis.store import Store
from abis.store.encryption import Cipher
from abis.template import Position, modality
from abis.text import printable

__all__ = ["SnapshotManifest", "Snapshots", "recipe"]

_log = logging.getLogger("abis")

_MAGIC = b"ABISSEG"
_VERSION = 1
_PLAIN, _SEALED = 0, 1
_MANIFEST = "manifest.json"
_LARGEST_MANIFEST = 1 << 26  # bytes: a file takes some 200
_PIECE = 1 << 22  # bytes written, and sealed, at once
_DIGEST_BYTES = 32
_OWNERS = ("subjects", "encounters")  # arrays of a block beside those of its index

_Number = Annotated[int, Meta(ge=0)]
_Digest = Annotated[str, Meta(pattern=f"^[0-9a-f]{{{2 * _DIGEST_BYTES}}}$")]


class SegmentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the manifest.

    Attributes:
        name: of the file, in the folder of the manifest.
        after: template key; the segment begins behind it.
        last: largest template key that belongs to the segment.
        present: number of references in the file.
        digest: SHA-256 of the file's content before its last 32 bytes, in hexadecimal digits.
    """

    name: Annotated[str, Meta(pattern=r"^[0-9a-f-]+\.segment$")]
    after: _Number
    last: _Number
    present: _Number
    digest: _Digest


class SnapshotManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The files of a snapshot, and the change of the store that they contain.

    Attributes:
        format: what the file is.
        version: of the format.
        recipe: of this abis, see :func:`recipe`.
        snapshot_id: random. The store notes the SHA-256 of the manifest's file: what it does not know is not used, be
            it forged, or written after the backup that the store was restored from.
        change: number of the last change of the store in the files.
        sealed_by: number of the key that seals the files; 0 if they are not sealed.
        files: in the order of their templates.
        digest: SHA-256 of the other fields as JSON with sorted keys, in hexadecimal digits.
    """

    format: str = "abis snapshot"
    version: int = _VERSION
    recipe: str
    snapshot_id: str
    change: _Number
    sealed_by: _Number
    files: tuple[SegmentFile, ...]
    digest: str = ""

    @property
    def last(self) -> int:
        """Key of the last template in the files."""
        return self.files[-1].last if self.files else 0

    def to_json(self) -> bytes:
        """The content of the manifest's file; the digest is computed."""
        whole = msgspec.structs.replace(self, digest=self._own_digest())
        return msgspec.json.format(msgspec.json.encode(whole), indent=1)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read the content of a manifest's file.

        Raises:
            _UnusableError: the content is damaged, or was written by another version.
        """
        try:
            manifest = msgspec.json.decode(content, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _UnusableError("is damaged") from error
        if manifest.digest != manifest._own_digest():
            raise _UnusableError("is damaged")
        if (manifest.format, manifest.version, manifest.recipe) != ("abis snapshot", _VERSION, recipe()):
            raise _UnusableError("is of another version of abis")
        return manifest

    def _own_digest(self) -> str:
        content = msgspec.to_builtins(self)
        del content["digest"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class _ArrayHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An array of a block.

    Attributes:
        name: of the array.
        dtype: NumPy's name of a type of numbers, little-endian.
        shape: of the array.
    """

    name: str
    dtype: Literal["|b1", "|u1", "<u2", "<u4", "<u8", "|i1", "<i2", "<i4", "<i8", "<f2", "<f4", "<f8"]
    shape: tuple[_Number, ...]

    @property
    def nbytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * math.prod(self.shape))


class _BlockHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A block of a segment: its kind and its arrays."""

    position: Position
    model: str
    dimension: _Number
    arrays: tuple[_ArrayHeader, ...]


class _SegmentHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first piece of a segment's file."""

    blocks: tuple[_BlockHeader, ...]


class _UnusableError(Exception):
    """A file that cannot be used, and why."""


class Snapshots:
    """The files of one gallery. Several processes may share the folder; one at a time writes to it.

    Args:
        folder: of the files; made when something is saved.
        store: of the gallery.

    Attributes:
        is_faulty: True if a file was found that has to be written again.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self.is_faulty = False

    @property
    def exist(self) -> bool:
        """True if there are any files. Waits while another process writes."""
        if not self._folder.is_dir():
            return False
        with self._alone(wait=True):
            return self._has_leftovers()

    def manifest(self) -> SnapshotManifest | None:
        """The manifest; None if there is none that can be used."""
        try:
            if self._store.read_only:
                return self._manifest()
            with self._alone(wait=False) as is_alone:
                manifest = self._manifest()
                if is_alone:
                    self._forget_all_but({file.name for file in manifest.files})
                return manifest
        except FileNotFoundError:
            self.is_faulty = (
                self._folder.is_dir() and self._has_leftovers()
            )  # without a manifest they are useless
            return None
        except (OSError, _UnusableError) as error:
            self._report(self._folder / _MANIFEST, error)
            return None

    def read(self, manifest: SnapshotManifest, rebuild: Callable[[int, int], Segment]) -> Iterator[Segment]:
        """The segments of a manifest.

        Args:
            manifest: what :meth:`manifest` gave.
            rebuild: called with ``after`` and ``last`` of a segment whose file cannot be used.
        """
        for file in manifest.files:
            try:
                try:
                    yield self._read(file)
                except FileNotFoundError:  # another process may have replaced it since
                    spans = {(f.after, f.last): f for f in self._manifest().files}
                    yield self._read(spans.get((file.after, file.last), file))
            except (OSError, AbisError, _UnusableError) as error:
                path = self._folder / file.name
                self._report(path, error)
                if not self._store.read_only:
                    with suppress(OSError):
                        path.unlink(missing_ok=True)
                yield rebuild(file.after, file.last)

    def save(self, segments: Sequence[Segment], change: int, *, wait: bool) -> bool:
        """Write the segments that have no file yet, and delete files whose references have been removed.

        Args:
            segments: all segments as of a change of the store.
            change: number of that change.
            wait: wait while another process writes, instead of leaving the work to it.

        Returns:
            False if another process is writing.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._alone(wait) as is_alone:
            if not is_alone:
                return False
            old = None
            with suppress(OSError, _UnusableError):
                old = self._manifest()
            if (old is not None and old.change > change) or change < self._store.scrubbed_change():
                return True
            self._store.take_in_keys()
            kept: dict[tuple[int, int], SegmentFile] = {}
            if old is not None and old.sealed_by == self._key:
                kept = {(file.after, file.last): file for file in old.files}
            files = []
            for segment in segments:
                file = kept.get((segment.after, segment.last))
                if file is None or file.present != segment.present or not (self._folder / file.name).exists():
                    file = self._write(segment)
                files.append(file)
            manifest = SnapshotManifest(
                recipe=recipe(),
                snapshot_id=secrets.token_hex(16),
                change=change,
                sealed_by=self._key,
                files=tuple(files),
            ).to_json()
            digest = hashlib.sha256(manifest).hexdigest()  # of the digests of all files, too
            self._store.remember_snapshot(digest, self._folder)
            write_whole(self._folder / _MANIFEST, manifest)
            self._forget_all_but({file.name for file in files})
            self.is_faulty = False
            return True

    def is_in(self, folder: Path) -> bool:
        """Whether the files are in a folder."""
        return self._folder.resolve() == folder.resolve()

    def discard(self) -> None:
        """Remove all files; a process that has the references in memory may write new ones."""
        if self.exist:
            with self._alone(wait=True):
                (self._folder / _MANIFEST).unlink(missing_ok=True)
                self._forget_all_but(set())

    # ----------------------------------------------------------------------------------------- inside

    @property
    def _cipher(self) -> Cipher | None:
        """The store's cipher as it is now: a gallery may be encrypted while it is open."""
        return self._store.cipher

    @property
    def _key(self) -> int:
        return 0 if self._cipher is None else self._cipher.current

    def _manifest(self) -> SnapshotManifest:
        content = read_regular(self._folder / _MANIFEST, _LARGEST_MANIFEST)
        manifest = SnapshotManifest.from_json(content)
        if not self._store.knows_snapshot(hashlib.sha256(content).hexdigest()):
            raise _UnusableError("belongs to another state of the store")
        if manifest.change < self._store.scrubbed_change():
            raise _UnusableError("may hold what was erased")
        return manifest

    def _write(self, segment: Segment) -> SegmentFile:
        if any(block.gone is not None for block in segment.blocks):
            segment = Segment.joined([segment])
        name = f"{segment.after:012d}-{segment.last:012d}-{secrets.token_hex(4)}.segment"
        digest = hashlib.sha256()

        with replacing(self._folder / name) as stream:

            def put(data: bytes | memoryview) -> None:
                digest.update(data)
                stream.write(data)

            put(_MAGIC + bytes([_VERSION, _PLAIN if self._cipher is None else _SEALED]))
            header, arrays = _described(segment)
            for number, piece in enumerate(_pieces(header, arrays)):
                data = (
                    piece if self._cipher is None else self._cipher.seal(bytes(piece), _context(name, number))
                )
                put(len(data).to_bytes(4, "little"))
                put(data)
            stream.write(digest.digest())
        return SegmentFile(name, segment.after, segment.last, segment.present, digest.hexdigest())

    def _read(self, file: SegmentFile) -> Segment:
        with open_regular(self._folder / file.name) as stream:
            reader = _Reader(stream, file, self._cipher)
            try:
                header = msgspec.json.decode(reader.piece(), type=_SegmentHeader)
                if sum(array.nbytes for block in header.blocks for array in block.arrays) > reader.size:
                    raise _UnusableError("is damaged")
                blocks = [
                    (block, {array.name: reader.array(array) for array in block.arrays})
                    for block in header.blocks
                ]
                reader.finish()
                return Segment(file.after, file.last, tuple(_block(*block) for block in blocks))
            except (msgspec.DecodeError, ValueError, KeyError, MemoryError, RecursionError) as error:
                raise _UnusableError("is damaged") from error

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Hold the folder's lock; yields False if another process holds it and ``wait`` is False."""
        with private_stream(self._folder / ".lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def _report(self, path: Path, error: Exception) -> None:
        self.is_faulty = True
        _log.warning("%s is rebuilt from the store: it %s", printable(path), _reason(error))

    def _has_leftovers(self) -> bool:
        return any(self._folder.glob("*.segment")) or any(self._folder.glob(".*.new"))

    def _forget_all_but(self, names: set[str]) -> None:
        """Delete the files of old snapshots and of killed processes. The folder's lock is held."""
        for path in self._folder.glob("*.segment"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".*.new"):
            path.unlink(missing_ok=True)


class _Reader:
    """A segment's file from its beginning to its end, piece by piece; its digest is checked last."""

    def __init__(self, stream: BufferedReader, file: SegmentFile, cipher: Cipher | None) -> None:
        self._stream = stream
        self._file = file
        self._cipher = cipher
        self._digest = hashlib.sha256()
        self._number = 0
        self.size = os.fstat(stream.fileno()).st_size
        head = self._take(len(_MAGIC) + 2)
        if head != _MAGIC + bytes([_VERSION, _PLAIN if cipher is None else _SEALED]):
            raise _UnusableError("is not a segment of this gallery and version")

    def piece(self) -> bytes:
        """The next piece."""
        data = self._take(self._length())
        return self._opened(data)

    def array(self, header: _ArrayHeader) -> NDArray[Any]:
        """The next array."""
        array = np.empty(header.shape, np.dtype(header.dtype))
        target = array.reshape(-1).view(np.uint8).data
        while target:
            length = self._length()
            if self._cipher is None:
                if length > len(target) or self._stream.readinto(target[:length]) != length:
                    raise _UnusableError("is damaged")
                self._digest.update(target[:length])
                self._number += 1
            else:
                data = self._opened(self._take(length))
                length = len(data)
                target[:length] = data
            target = target[length:]
        return array

    def finish(self) -> None:
        """Check the digest; there must be nothing behind it."""
        expected = self._digest.digest()
        found = self._stream.read(_DIGEST_BYTES + 1)
        if found != expected or expected.hex() != self._file.digest:
            raise _UnusableError("is damaged")

    def _length(self) -> int:
        length = int.from_bytes(self._take(4), "little")
        if not 0 < length <= self.size:
            raise _UnusableError("is damaged")
        return length

    def _take(self, count: int) -> bytes:
        data = self._stream.read(count)
        if len(data) != count:
            raise _UnusableError("is cut short")
        self._digest.update(data)
        return data

    def _opened(self, data: bytes) -> bytes:
        self._number += 1
        if self._cipher is None:
            return data
        return self._cipher.open(data, _context(self._file.name, self._number - 1))


@cache
def recipe() -> str:
    """A digest of what example templates are prepared to. Files with another recipe are of no use."""
    digest = hashlib.sha256()
    for each in modality.MODALITIES:
        for block in Segment.of(0, 1, [Entry(1, 1, each.example())]).blocks:
            for name, array in sorted(block.index.arrays().items()):
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _described(segment: Segment) -> tuple[bytes, list[NDArray[Any]]]:
    """The header of a segment's file, and the arrays that follow it."""
    blocks: list[_BlockHeader] = []
    arrays: list[NDArray[Any]] = []
    for block in segment.blocks:
        own = dict(zip(_OWNERS, (block.subjects, block.encounters), strict=True)) | block.index.arrays()
        own = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in own.items()}
        headers = (_ArrayHeader(name, a.dtype.str, a.shape) for name, a in own.items())  # type: ignore[arg-type]
        blocks.append(
            _BlockHeader(block.kind.position, block.kind.model, block.kind.dimension, tuple(headers))
        )
        arrays += own.values()
    return msgspec.json.encode(_SegmentHeader(tuple(blocks))), arrays


def _pieces(header: bytes, arrays: Sequence[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield header
    for array in arrays:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]


def _block(header: _BlockHeader, arrays: dict[str, NDArray[Any]]) -> Block:
    kind = Kind(header.position, header.model, header.dimension)
    subjects, encounters = (arrays.pop(name) for name in _OWNERS)
    return block_of_arrays(kind, subjects, encounters, arrays)


def _context(name: str, number: int) -> bytes:
    """The place of a piece, which is authenticated together with it."""
    return f"abis segment {name} piece {number}".encode()


def _reason(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "is missing"
    return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
