# SPDX-License-Identifier: Apache-2.0
"""Read npz files of named arrays from untrusted sources; no code in the files is run."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from abis.errors import FormatError

__all__ = ["open_npz"]


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """Open an npz file of named arrays, as a context manager; errors inside the context name the file.

    Args:
        path: the npz file.

    Raises:
        FormatError: the file is not an npz file, is damaged, or contains Python objects.
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, NpzFile):
                raise FormatError(f"{path}: one array without a name; expected an npz file of named arrays")
            yield archive
    except FormatError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{path}: {error}") from error
