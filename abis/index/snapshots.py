# SPDX-License-Identifier: Apache-2.0
"""Segments as files, so that opening a gallery need not prepare every template anew.

A folder holds a file for each segment and a manifest, ``manifest.json``, that names them and says how far
they follow the store. All is written under a temporary name, synced, then renamed; the manifest last. What is
missing, old, foreign or damaged is made anew from the store, and a line in the log says so: whatever happens
to these files costs time and nothing else. docs/gallery.md describes the format.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.errors import AbisError
from abis.files import private_stream, replacing, write_whole
from abis.index.segments import Block, Entry, Segment, block_of_arrays
from abis.template import Embedding, Minutiae, Position

__all__ = ["Cipher", "Snapshots"]

_log = logging.getLogger("abis")

_MAGIC = b"ABISSEG"
_VERSION = 1
_PLAIN, _SEALED = 0, 1
_MANIFEST = "manifest.json"
_PIECE = 1 << 22  # bytes written, and sealed, at once
_DIGEST_BYTES = 32
_OWNERS = ("subjects", "encounters")  # arrays of a block beside those of its index


class Cipher(Protocol):
    """What seals the files of an encrypted gallery: :class:`abis.store.encryption.Cipher`."""

    @property
    def current(self) -> int:
        """Number of the key that seals."""

    def seal(self, plain: bytes, context: bytes) -> bytes: ...
    def open(self, sealed: bytes, context: bytes) -> bytes: ...


class _Store(Protocol):
    """What is needed of the store: :class:`abis.store.Store`."""

    @property
    def cipher(self) -> Cipher | None: ...
    def take_in_keys(self) -> None: ...
    def knows_snapshot(self, digest: str) -> bool: ...
    def remember_snapshot(self, digest: str, folder: Path) -> None: ...
    def scrubbed_change(self) -> int: ...


@dataclass(frozen=True)
class _File:
    """A line of the manifest."""

    name: str
    after: int
    last: int
    present: int
    digest: str


@dataclass(frozen=True)
class Manifest:
    """Which files there are, and how far they follow the store.

    Attributes:
        snapshot_id: random, so that no two manifests are the same.
        change: number of the last change in them.
        sealed_by: number of the key that seals them; 0 where they are not sealed.
        files: in the order of their templates.
    """

    snapshot_id: str
    change: int
    sealed_by: int
    files: tuple[_File, ...]

    @property
    def last(self) -> int:
        """Key of the last template in the files."""
        return self.files[-1].last if self.files else 0

    def to_json(self) -> str:
        return json.dumps(_origin() | asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises :class:`_UnusableError` where it was not written by :meth:`to_json` of this version."""
        try:
            content = json.loads(text)
            if {name: content[name] for name in _origin()} != _origin():
                raise _UnusableError("is of another version of abis")
            files = tuple(_File(**file) for file in content["files"])
            return cls(content["snapshot_id"], content["change"], content["sealed_by"], files)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise _UnusableError("is damaged") from error


class _UnusableError(Exception):
    """A file that cannot be used, and why."""


class Snapshots:
    """The files of one gallery. Several processes may share the folder; one at a time writes there."""

    def __init__(self, folder: Path, store: _Store) -> None:
        self._folder = folder
        self._store = store
        self.is_faulty = False  # whether something was met that has to be written anew

    @property
    def exist(self) -> bool:
        """Whether there are any files; waits for who is writing some."""
        if not self._folder.is_dir():
            return False
        with self._alone(wait=True):
            return self._has_leftovers()

    def manifest(self) -> Manifest | None:
        """What there is that can be used; None where there is nothing."""
        try:
            with self._alone(wait=False) as is_alone:
                manifest = self._manifest()
                if is_alone:
                    self._forget_all_but({file.name for file in manifest.files})
                return manifest
        except FileNotFoundError:
            self.is_faulty = (
                self._folder.is_dir() and self._has_leftovers()
            )  # of use to nobody: they have to go
            return None
        except (OSError, _UnusableError) as error:
            self._report(self._folder / _MANIFEST, error)
            return None

    def read(self, manifest: Manifest, rebuild: Callable[[int, int], Segment]) -> Iterator[Segment]:
        """The segments of a manifest; those whose files cannot be used come from ``rebuild(after, last)``."""
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
                with suppress(OSError):
                    path.unlink(missing_ok=True)
                yield rebuild(file.after, file.last)

    def save(self, segments: Sequence[Segment], change: int, *, wait: bool) -> bool:
        """Write what the folder has not, and remove from it what has been removed from the gallery.

        Args:
            segments: as of a change of the store.
            change: its number.
            wait: for another process that is at it.

        Returns:
            False where another process is at it.
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
            kept: dict[tuple[int, int], _File] = {}
            if old is not None and old.sealed_by == self._key:
                kept = {(file.after, file.last): file for file in old.files}
            files = []
            for segment in segments:
                file = kept.get((segment.after, segment.last))
                if file is None or file.present != segment.present or not (self._folder / file.name).exists():
                    file = self._write(segment)
                files.append(file)
            manifest = Manifest(secrets.token_hex(16), change, self._key, tuple(files)).to_json().encode()
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
        """That of the store as it is now: a gallery may be encrypted while it is open."""
        return self._store.cipher

    @property
    def _key(self) -> int:
        return 0 if self._cipher is None else self._cipher.current

    def _manifest(self) -> Manifest:
        content = (self._folder / _MANIFEST).read_bytes()
        if not self._store.knows_snapshot(hashlib.sha256(content).hexdigest()):
            raise _UnusableError(
                "is damaged, or was not written by this gallery in its present or an earlier state"
            )
        manifest = Manifest.from_json(content)
        if manifest.change < self._store.scrubbed_change():
            raise _UnusableError("may hold what was erased")
        return manifest

    def _write(self, segment: Segment) -> _File:
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
        return _File(name, segment.after, segment.last, segment.present, digest.hexdigest())

    def _read(self, file: _File) -> Segment:
        with (self._folder / file.name).open("rb") as stream:
            reader = _Reader(stream, file, self._cipher)
            try:
                header = json.loads(reader.piece())
                sizes = [_size(array) for block in header["blocks"] for array in block["arrays"]]
                if sum(sizes) > reader.size:
                    raise _UnusableError("is damaged")
                blocks = [
                    (block, {a["name"]: reader.array(a["dtype"], a["shape"]) for a in block["arrays"]})
                    for block in header["blocks"]
                ]
                reader.finish()
                return Segment(file.after, file.last, tuple(_block(*block) for block in blocks))
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError) as error:
                raise _UnusableError("is damaged") from error

    @contextmanager
    def _alone(self, wait: bool) -> Iterator[bool]:
        """Holds the folder's lock, unless another process does and is not waited for."""
        with private_stream(self._folder / ".lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
            else:
                yield True

    def _report(self, path: Path, error: Exception) -> None:
        self.is_faulty = True
        _log.warning("%s is made anew: it %s", path, _reason(error))

    def _has_leftovers(self) -> bool:
        return any(self._folder.glob("*.segment")) or any(self._folder.glob(".*.new"))

    def _forget_all_but(self, names: set[str]) -> None:
        """Files of old snapshots, and what a killed process left; the folder's lock is held."""
        for path in self._folder.glob("*.segment"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        for path in self._folder.glob(".*.new"):
            path.unlink(missing_ok=True)


class _Reader:
    """A segment's file from its beginning to its end, piece by piece; its digest is checked last."""

    def __init__(self, stream: BufferedReader, file: _File, cipher: Cipher | None) -> None:
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
        data = self._take(self._length())
        return self._opened(data)

    def array(self, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
        array = np.empty(shape, np.dtype(dtype))
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


def _origin() -> dict[str, Any]:
    """What a manifest must agree in, to be of use to this abis."""
    return {"format": "abis snapshot", "version": _VERSION, "recipe": recipe()}


@cache
def recipe() -> str:
    """What templates are made into, as a digest of an example: another one, and old files are of no use."""
    n = np.arange(40)
    finger = Minutiae(x=n * 37 % 300, y=n * 91 % 400, direction=n * 53 % 360, width=300, height=400)
    face = Embedding(vector=n % 7 - 2.5, model="")
    digest = hashlib.sha256()
    for template in (finger, face):
        for block in Segment.of(0, 1, [Entry(1, 1, template)]).blocks:
            for name, array in sorted(block.index.arrays().items()):
                digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def _described(segment: Segment) -> tuple[bytes, list[NDArray[Any]]]:
    """A header that tells what the arrays are, and the arrays."""
    header: dict[str, Any] = {"blocks": []}
    arrays: list[NDArray[Any]] = []
    for block in segment.blocks:
        own = dict(zip(_OWNERS, (block.subjects, block.encounters), strict=True)) | block.index.arrays()
        own = {name: a.astype(a.dtype.newbyteorder("<"), copy=False) for name, a in own.items()}
        header["blocks"].append(
            {
                "position": int(block.kind.position),
                "model": block.kind.model,
                "dimension": block.kind.dimension,
                "arrays": [{"name": n, "dtype": a.dtype.str, "shape": a.shape} for n, a in own.items()],
            }
        )
        arrays += own.values()
    return json.dumps(header).encode(), arrays


def _pieces(header: bytes, arrays: Sequence[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield header
    for array in arrays:
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]


def _block(described: Mapping[str, Any], arrays: dict[str, NDArray[Any]]) -> Block:
    kind = Kind(Position(described["position"]), described["model"], described["dimension"])
    subjects, encounters = (arrays.pop(name) for name in _OWNERS)
    return block_of_arrays(kind, subjects, encounters, arrays)


def _size(array: Mapping[str, Any]) -> int:
    return int(np.dtype(array["dtype"]).itemsize * math.prod(array["shape"]))


def _context(name: str, number: int) -> bytes:
    """What a piece is authenticated with: where it stands."""
    return f"abis segment {name} piece {number}".encode()


def _reason(error: Exception) -> str:
    if isinstance(error, _UnusableError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "is missing"
    return f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"
