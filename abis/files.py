# SPDX-License-Identifier: Apache-2.0
"""Files that appear under their name only when they are complete and on disk."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "open_regular",
    "private_folder",
    "private_stream",
    "publish",
    "read_regular",
    "replacing",
    "write_whole",
]


def private_folder(path: Path) -> None:
    """Make a folder, and those above it, for its owner alone; an existing folder stays as it is.

    Raises:
        OSError: if it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read it, if it is a regular file: no link, device, or pipe, which might never begin or end.

    For folders that others may write to.

    Raises:
        OSError: the file cannot be opened, or is no regular file.
    """
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return open(file, "rb")


def read_regular(path: Path, largest: int) -> bytes:
    """The bytes of a file that :func:`open_regular` opens.

    Raises:
        OSError: as :func:`open_regular` does; also where the file has more than ``largest`` bytes.
    """
    with open_regular(path) as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} bytes", str(path))
    return content


def private_stream(path: Path, *, new: bool = False) -> BinaryIO:
    """Open a file to read and write it; a new file is its owner's alone, whatever the umask allows.

    Args:
        path: name of the file; an existing file keeps its content. A link is not followed.
        new: whether the file must not exist.

    Raises:
        OSError: if the file cannot be opened; FileExistsError if it is to be new and exists.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_EXCL if new else 0)
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
