# SPDX-License-Identifier: Apache-2.0
"""Arrays by name in npz files of unknown origin: nothing in them is run, and what is wrong is said."""

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
    """Open a file of arrays; what goes wrong while they are read names it too.

    Raises:
        FormatError: where it is none, is damaged, or holds Python objects.
        OSError: where it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, NpzFile):
                raise FormatError(f"{path}: one array; expected an archive of arrays with names")
            yield archive
    except FormatError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise FormatError(f"{path}: {error}") from error
