# SPDX-License-Identifier: Apache-2.0
"""Some ten thousand fingers held against each other: the Python face of the core's tiles.

What :class:`abis.index.finger_index.FingerIndex` does for one probe and many references, this does for many and many:

1. :meth:`FingerTile.near`, all pairs, some nanoseconds each, for only those are looked at that share a part of a
   code: minutiae that look alike, found by hashing, vote on how the finger was turned.
2. :meth:`FingerTile.refine`, some pairs, 2 microseconds each: the second look of a search.
3. :meth:`FingerTile.compare`, few pairs, 60 microseconds each: the full comparison, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison.minutiae import check_array, check_indices, checked_threads
from abis.index.finger_index import COLUMNS

__all__ = ["FingerTile"]


class FingerTile:
    """Fingers numbered from 0; immutable, any number of threads may use it at once.

    All results are the same to the bit on every CPU and for any number of threads, and those of a pair do not
    depend on what other fingers there are.

    Args:
        arrays: what :meth:`abis.index.finger_index.FingerIndex.arrays` gives, with nothing removed.
        threads: how many to use; 0 is one a core.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], *, threads: int = 0) -> None:
        if arrays["removed"].any():
            raise ValueError("some of the fingers are removed; expected those present")
        columns: dict[str, Any] = {name: arrays[name] for name in COLUMNS}
        self._core = _core.FingerTile(**columns, threads=checked_threads(threads))

    def __len__(self) -> int:
        return len(self._core)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes: some 40 a minutia, and 280 more once :meth:`near` has been called."""
        return self._core.memory_bytes

    def near(
        self,
        probes: FingerTile,
        limits: NDArray[np.int64],
        least: float,
        *,
        first: int = 0,
        threads: int = 0,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The pairs whose like minutiae say ``least`` or more. Which pairs these are depends on themselves alone.

        Args:
            probes: another tile, or this one.
            limits: (m,) int64; probe ``first + k`` is held against the fingers of this tile below ``limits[k]``.
            least: natural log units.
            first: number of the first probe.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (p,) probes, (p,) fingers of this tile, (p,) evidence in natural log units; in order of the two.
        """
        check_array("limits", limits, np.int64, dimensions=1)
        return self._core.near(probes._core, first, limits, least, checked_threads(threads))

    def refine(
        self,
        probes: FingerTile,
        probe: NDArray[np.int64],
        reference: NDArray[np.int64],
        *,
        threads: int = 0,
    ) -> NDArray[np.float32]:
        """Evidence of the third stage for some pairs, equal to the bit to that of ``FingerIndex.refine``.

        Args:
            probes: another tile, or this one.
            probe: (p,) int64, numbers of probes; quickest where equal ones follow each other.
            reference: (p,) int64, numbers of fingers of this tile.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (p,) float32, natural log units.

        Raises:
            IndexError: where there is no such finger.
        """
        check_indices("probe", probe)
        check_indices("reference", reference)
        return self._core.refine(probes._core, probe, reference, checked_threads(threads))

    def compare(
        self,
        probes: FingerTile,
        probe: NDArray[np.int64],
        reference: NDArray[np.int64],
        *,
        threads: int = 0,
    ) -> NDArray[np.float32]:
        """Raw scores of some pairs: those of :func:`abis.comparison.raw_scores`, to the bit.

        Args:
            probes: as for :meth:`refine`.
            probe: likewise.
            reference: likewise.
            threads: likewise.

        Raises:
            IndexError: where there is no such finger.
        """
        check_indices("probe", probe)
        check_indices("reference", reference)
        return self._core.compare(probes._core, probe, reference, checked_threads(threads))
