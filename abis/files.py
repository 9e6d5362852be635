# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their name only when they are complete and on disk."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["private_folder", "private_stream", "publish", "replacing", "write_whole"]


def private_folder(path: Path) -> None:
    """Make a folder, and those above it, for its owner alone; an existing folder stays as it is.

    Raises:
        OSError: if it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def private_stream(path: Path, *, new: bool = False) -> BinaryIO:
    """Open a file to read and write it; a new file is its owner's alone, whatever the umask allows.

    Args:
        path: name of the file; an existing file keeps its content.
        new: whether the file must not exist.

    Raises:
        OSError: if the file cannot be opened; FileExistsError if it is to be new and exists.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if new else 0)
    return open(os.open(path, flags, 0o600), "r+b")


@contextmanager
def replacing(path: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name ``path`` when the block ends without an error.

    The temporary file stands in the same folder, as ``.NAME.RANDOM.new``. It is synced to disk before it replaces
    an existing file, and the folder is synced afterwards: after a power failure there is either the old file or the
    new one. If the block raises an error, the temporary file is removed and an existing file stays.

    Args:
        path: final name of the file.
        mode: permissions of the new file, limited by the process's umask; by default its owner's alone, as most
            files that abis writes hold biometric data or what was found in it.

    Yields:
        A binary stream to write to.

    Raises:
        OSError: if the file cannot be written or renamed.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file by :func:`replacing`.

    Args:
        path: name of the file.
        content: what it will contain.
        mode: permissions of the new file, limited by the process's umask; by default its owner's alone, as most
            files that abis writes hold biometric data or what was found in it.

    Raises:
        OSError: if the file cannot be written or renamed.
    """
    with replacing(path, mode=mode) as stream:
        stream.write(content)


def publish(unfinished: Path, path: Path) -> None:
    """Sync a finished file or folder to disk, rename it, and sync the folder that it is in.

    Args:
        unfinished: present name, in the same folder as ``path``.
        path: final name; an existing file is replaced.

    Raises:
        OSError: if it cannot be synced or renamed.
    """
    _sync(unfinished)
    unfinished.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, written to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
