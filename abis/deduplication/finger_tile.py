# SPDX-License-Identifier: Apache-2.0
"""Some ten thousand fingers that are compared with each other: the Python interface of the core's tiles.

:class:`abis.index.finger_index.FingerIndex` compares one probe with many references; a tile compares many with many:

1. :meth:`FingerTile.near`, all pairs: hashing finds minutiae that share a part of their codes, and similar ones vote
   on the rotation of the finger. Pairs without such minutiae cost nothing.
2. :meth:`FingerTile.refine`, some pairs: the third look of a search.
3. :meth:`FingerTile.compare`, few pairs: the full comparison.
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
    """Fingers, numbered from 0. A tile does not change; any number of threads may use it at once.

    All results are the same to the bit on every CPU and for any number of threads. The results of a pair do not depend
    on the other fingers of the tile. Ctrl-C ends any call.

    Args:
        arrays: the :meth:`abis.index.finger_index.FingerIndex.arrays` of an index without removed slots.
        threads: number of threads; 0 uses one for each available core.

    Raises:
        ValueError: a slot is removed, or a column has an invalid value.
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
        """RAM that the tile holds, in bytes: about 40 a minutia, and 280 more after the first call of :meth:`near`."""
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
        """The pairs of fingers whose similar minutiae give ``least`` evidence or more.

        Args:
            probes: another tile, or this one.
            limits: (m,) int64; probe ``first + k`` is compared with the fingers of this tile below ``limits[k]``.
            least: evidence in natural log units.
            first: number of the first probe.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (p,) int64 probes, (p,) int64 fingers of this tile and (p,) float32 evidence in natural log units, sorted
            by probe and finger.

        Raises:
            ValueError: there are fewer probes than limits, or a limit is above the number of fingers.
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
        """The evidence of a third look at some pairs, equal to the bit to that of ``FingerIndex.refine``.

        Args:
            probes: another tile, or this one.
            probe: (p,) int64, numbers of probes; quickest where equal ones follow each other.
            reference: (p,) int64, numbers of fingers of this tile.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (p,) float32, natural log units.

        Raises:
            IndexError: a finger does not exist.
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
        """Raw scores of some pairs, equal to the bit to those of :func:`abis.comparison.raw_scores`.

        Each probe and each reference is prepared once for many of its pairs.

        Args:
            probes: another tile, or this one.
            probe: (p,) int64, numbers of probes; quickest where equal ones follow each other.
            reference: (p,) int64, numbers of fingers of this tile.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (p,) float32.

        Raises:
            IndexError: a finger does not exist.
        """
        check_indices("probe", probe)
        check_indices("reference", reference)
        return self._core.compare(probes._core, probe, reference, checked_threads(threads))
