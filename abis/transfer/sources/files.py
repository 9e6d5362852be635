# SPDX-License-Identifier: Apache-2.0
"""Files that a source names, read without leaving the source's folder.

The author of a manifest chooses the paths, and the importing process may have more rights than the author. So a path
must stay inside the folder, contain no link, and lead to a regular file. Reading a device, pipe or socket might never
end.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

__all__ = ["LARGEST_FILE", "RefusedFileError", "read_inside"]

LARGEST_FILE = 2**20
"""Bytes of the largest file that is read. The largest template record, of ISO/IEC 19794-2, has about 40 kB."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RefusedFileError(ValueError):
    """A path that must not be read; the message states why."""


def read_inside(folder: Path, path: str) -> bytes:
    """The bytes of a file inside a folder.

    Each part of the path is opened from the one before it, so that no link that appears meanwhile leads elsewhere.

    Args:
        folder: that the path must stay in. Links in the folder's own path are followed.
        path: relative to the folder, or absolute and inside it.

    Raises:
        RefusedFileError: the path leaves the folder, leads over a link, to what is no regular file or to one larger
            than :data:`LARGEST_FILE`.
        OSError: the file cannot be read.
    """
    pure = PurePosixPath(path)
    if pure.is_absolute():
        if not pure.is_relative_to(folder.absolute()):
            raise RefusedFileError(f"is outside {folder}")
        pure = pure.relative_to(folder.absolute())
    if ".." in pure.parts or not pure.parts or "\0" in path:
        raise RefusedFileError(f"is outside {folder}")
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in pure.parts[:-1]:
            inner = _open(part, _FOLDER, at)
            os.close(at)
            at = inner
        file = _open(pure.name, _FILE, at)
    finally:
        os.close(at)
    with open(file, "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise RefusedFileError("is no regular file")
        content = stream.read(LARGEST_FILE + 1) if found.st_size <= LARGEST_FILE else b""
        if found.st_size > LARGEST_FILE or len(content) > LARGEST_FILE:
            raise RefusedFileError(
                f"has {found.st_size:,} bytes; a template record has at most {LARGEST_FILE:,}"
            )
        return content


def _open(name: str, flags: int, folder: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise RefusedFileError("leads over a link") from None
        if (
            error.errno == errno.ENOTDIR
            and flags == _FOLDER
            and stat.S_ISLNK(os.lstat(name, dir_fd=folder).st_mode)
        ):
            raise RefusedFileError("leads over a link") from None
        if error.errno == errno.ENXIO:  # a socket, or a pipe without a reader
            raise RefusedFileError("is no regular file") from None
        raise
