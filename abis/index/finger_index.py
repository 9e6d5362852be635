# SPDX-License-Identifier: Apache-2.0
"""Fingers in a compact form to be searched: the Python interface of the core's index.

A minutia takes 23.25 bytes: 128 bits of code for its neighbourhood, the sector it belongs to, and the minutia as the
comparison takes it. An uncertain minutia has no code and takes 6.25 bytes: the first three steps pass over it, the
comparison uses it. A search takes four steps, each on fewer references and more closely:

1. :meth:`FingerIndex.screen`, all references: the most distinctive minutiae of the probe are compared with the
   minutiae of a reference in about the same direction, by one half of the code. Similar ones vote on the rotation.
2. :meth:`FingerIndex.sift`: more minutiae of the probe with all of the reference, by the other half.
3. :meth:`FingerIndex.refine`: all minutiae by the whole code; similar pairs must agree on one pose of the finger.
4. :meth:`FingerIndex.compare`: the full comparison. The reference is prepared each time.

The evidence of the first three steps is a rough log likelihood ratio in natural log units: higher values speak for a
mate, whatever the reference, and the evidence of several fingers of a subject adds up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison import balances, contents
from abis.comparison.minutiae import check_array, check_indices, checked_threads, columns, columns_of_many
from abis.scoring.calibration import Calibration
from abis.template import Minutiae

__all__ = ["COLUMNS", "FingerIndex", "FingerProbe", "ready"]

FingerProbe = _core.FingerProbe
"""A prepared probe, for any number of indexes: see :func:`ready`."""

COLUMNS = {
    "sizes": np.uint8,
    "removed": np.uint8,
    "first": np.uint64,
    "second": np.uint64,
    "x": np.int16,
    "y": np.int16,
    "direction": np.uint8,
    "kind": np.uint8,
    "reliability": np.uint8,
}
"""The columns of :meth:`FingerIndex.arrays` in the order of the core, and their dtypes."""

_OF_SLOTS = ("sizes", "removed")  # the other columns have a row for each minutia


class FingerIndex:
    """Finger references in a compact form, to be searched.

    Slots are numbered from 0 in the order of :meth:`extend` and never used again. All results are the same to the
    bit on every CPU and for any number of threads. Any number of threads may search at once. A search during
    :meth:`extend` or :meth:`remove`, and either of these during a search, raises RuntimeError. Ctrl-C ends any call.
    """

    tells_nearest: ClassVar[bool] = False

    def __init__(self) -> None:
        self._core = _core.FingerIndex()

    @classmethod
    def of(cls, templates: Sequence[Minutiae]) -> Self:
        """An index of templates, in their order."""
        index = cls()
        index.extend(templates)
        return index

    @classmethod
    def joined(cls, parts: Sequence[tuple[FingerIndex, NDArray[np.int64]]]) -> Self:
        """An index of some slots of other indexes, in their order.

        Args:
            parts: indexes, each with ascending slots that are not removed.
        """
        columns: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
        for index, slots in parts:
            own = index.arrays()
            chosen = np.zeros(len(index), np.bool_)
            chosen[slots] = True
            of_minutiae = np.repeat(chosen, own["sizes"])
            for name, column in own.items():
                columns[name].append(column[chosen if name in _OF_SLOTS else of_minutiae])
        return cls.from_arrays({name: np.concatenate(own) for name, own in columns.items()})

    def __len__(self) -> int:
        """The number of slots, removed ones included."""
        return len(self._core)

    @property
    def memory_bytes(self) -> int:
        """RAM that the index holds, in bytes."""
        return self._core.memory_bytes

    def extend(self, templates: Sequence[Minutiae], *, threads: int = 0) -> range:
        """Append templates.

        Args:
            templates: finger views of any positions.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            The slots of the templates.
        """
        if not templates:
            return range(len(self), len(self))
        first = self._core.append(*columns_of_many(templates), checked_threads(threads))
        return range(first, first + len(templates))

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Wipe slots. Their memory is not used again; :meth:`joined` copies the other slots to a new index.

        Args:
            slots: (m,) int64.

        Raises:
            IndexError: a slot does not exist.
        """
        check_indices("slots", slots)
        self._core.remove(slots)

    def screen(self, probe: Minutiae | FingerProbe, *, threads: int = 0) -> NDArray[np.float32]:
        """The evidence of a first look at every slot.

        Args:
            probe: one finger view, as it is or prepared by :func:`ready`.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (n,) float32, natural log units; -inf for a removed slot.
        """
        return self._core.screen(_core_probe(probe), checked_threads(threads))

    def tally(
        self,
        tallies: Sequence[_core.Tally],
        probes: Sequence[FingerProbe],
        subjects: NDArray[Any],
        *,
        is_run: bool,
        gone: NDArray[np.bool_] | None,
    ) -> None:
        """Add the evidence of :meth:`screen` up by subject, for several probes in one pass over the references.

        One pass reads the codes from memory once, so several probes take less time than one after the other.

        Args:
            tallies: a tally for each probe, each of which is open for a position.
            probes: one finger view each, prepared by :func:`ready`.
            subjects: (n,) uint32 or int64, key of the subject of each slot.
            is_run: True if the keys of subjects are a run.
            gone: (n,) bool, True where a reference has been removed; None where none has.
        """
        _core.screen_fingers(tuple(tallies), self._core, tuple(probes), subjects, is_run, gone, 0)

    def sift(
        self, probe: Minutiae | FingerProbe, slots: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """The evidence of a second look at some slots.

        Args:
            probe: one finger view, as it is or prepared by :func:`ready`.
            slots: (m,) int64.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (m,) float32, natural log units; -inf for a removed slot.

        Raises:
            IndexError: a slot does not exist.
        """
        check_indices("slots", slots)
        return self._core.sift(_core_probe(probe), slots, checked_threads(threads))

    def refine(
        self, probe: Minutiae | FingerProbe, slots: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """The evidence of a third look at some slots.

        Args:
            probe: one finger view, as it is or prepared by :func:`ready`.
            slots: (m,) int64.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (m,) float32, natural log units; -inf for a removed slot.

        Raises:
            IndexError: a slot does not exist.
        """
        check_indices("slots", slots)
        return self._core.refine(_core_probe(probe), slots, checked_threads(threads))

    def compare(
        self, probe: Minutiae | FingerProbe, slots: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """Raw scores of some slots, equal to the bit to those of :func:`abis.comparison.raw_scores`.

        Args:
            probe: one finger view, as it is or prepared by :func:`ready`.
            slots: (m,) int64.
            threads: number of threads; 0 uses one for each available core.

        Returns:
            (m,) float32; NaN for a removed slot.

        Raises:
            IndexError: a slot does not exist.
        """
        check_indices("slots", slots)
        return self._core.compare(_core_probe(probe), slots, checked_threads(threads))

    def balance(self, probe: Minutiae, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """How similar probe and references are in content, equal to the bit to :func:`abis.comparison.balance`.

        Args:
            probe: one finger view.
            slots: (m,) int64.

        Returns:
            (m,) float64, 0 to 1; 0 for a removed slot.

        Raises:
            IndexError: a slot does not exist.
        """
        check_indices("slots", slots)
        return balances(contents([probe]), self._core.contents(slots))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of all columns, with a row for each slot or each minutia, to be stored.

        The columns are biometric data, as templates are. Codes are comparable only if they were made by the same
        ``cpp/search/code_projection.h``.
        """
        return self._core.columns()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index with the given :meth:`arrays`.

        Raises:
            ValueError: a column is missing or unknown, has another dtype or length, or has an invalid value.
        """
        if arrays.keys() != COLUMNS.keys():
            raise ValueError(f"columns are {sorted(arrays)}; expected {sorted(COLUMNS)}")
        for name, dtype in COLUMNS.items():
            try:
                check_array(name, arrays[name], dtype, dimensions=1)
            except TypeError as error:
                raise ValueError(str(error)) from None
        index = cls()
        index._core = _core.FingerIndex.from_columns(*(arrays[name] for name in COLUMNS))
        return index

    @staticmethod
    def ready(template: Minutiae, _: Calibration) -> FingerProbe:
        """:func:`ready`."""
        return ready(template)


def ready(probe: Minutiae) -> FingerProbe:
    """Prepare a probe once for many indexes and calls."""
    return FingerProbe(*columns(probe))


def _core_probe(probe: Minutiae | FingerProbe) -> FingerProbe:
    return probe if isinstance(probe, FingerProbe) else ready(probe)
