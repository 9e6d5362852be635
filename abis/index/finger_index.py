# SPDX-License-Identifier: Apache-2.0
"""Very many fingers in memory, and a quick look at all of them: the Python face of the core's index.

A finger takes 23.25 bytes a minutia and some 9 more: 128 bits of code for what stands around each minutia, and the
minutia itself as the comparator takes it. A search looks at all of them, ever more closely at ever fewer:

1. :meth:`FingerIndex.screen`, everyone, some 0.03 microseconds each: the probe's most telling minutiae against those
   of a reference that have about their direction, by one half of the code; like ones vote on how the finger was turned.
2. :meth:`FingerIndex.sift`, some, 0.2 microseconds each: more minutiae against all, by the other half.
3. :meth:`FingerIndex.refine`, few, 2 microseconds each: all minutiae by the whole code; like ones must lie to each
   other as their partners do.
4. :meth:`FingerIndex.compare`, a shortlist, 60 microseconds each: the full comparison, prepared on the spot.

The evidence of the first three is a rough log likelihood ratio in natural log units: higher speaks for a mate,
whatever the reference, and that of several fingers of a subject adds up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison import balances, contents
from abis.comparison.minutiae import check_array, check_indices, checked_threads, columns, columns_of_many
from abis.template import Minutiae

__all__ = ["COLUMNS", "FingerIndex", "FingerProbe", "ready"]

FingerProbe = _core.FingerProbe
"""A probe made ready, for any number of indexes: see :func:`ready`."""

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
"""The columns of :meth:`FingerIndex.arrays`, in the order of the core, and their types."""

_OF_SLOTS = ("sizes", "removed")  # the other columns have a row for each minutia


class FingerIndex:
    """Minutiae references to be searched, in a compact form.

    Slots are numbered from 0 in the order of :meth:`extend` and never used again. All results are the same to the
    bit on every CPU and for any number of threads. Any number of threads may search at once; :meth:`extend` and
    :meth:`remove` must have the object to themselves.
    """

    def __init__(self) -> None:
        self._core = _core.FingerIndex()

    @classmethod
    def of(cls, templates: Sequence[Minutiae]) -> Self:
        """An index of some templates, slot by slot in their order."""
        index = cls()
        index.extend(templates)
        return index

    @classmethod
    def joined(cls, parts: Sequence[tuple[FingerIndex, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order; ascending, none of them removed."""
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
        """RAM held, in bytes."""
        return self._core.memory_bytes

    def extend(self, templates: Sequence[Minutiae], *, threads: int = 0) -> range:
        """Takes templates in and returns their slots.

        Args:
            templates: what to append.
            threads: how many to use; 0 is one a core.
        """
        if not templates:
            return range(len(self), len(self))
        first = self._core.append(*columns_of_many(templates), checked_threads(threads))
        return range(first, first + len(templates))

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Wipes slots. Their memory is not used again: a new index of the others is what frees it.

        Args:
            slots: (m,) int64.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        self._core.remove(slots)

    def screen(self, probe: Minutiae | FingerProbe, *, threads: int = 0) -> NDArray[np.float32]:
        """Evidence of a first look at every slot.

        Args:
            probe: one finger view, as it is or made ready.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

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
        """Evidence of a second look at some slots.

        Args:
            probe: one finger view, as it is or made ready.
            slots: (m,) int64.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (m,) float32, natural log units; -inf for a removed slot.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        return self._core.sift(_core_probe(probe), slots, checked_threads(threads))

    def refine(
        self, probe: Minutiae | FingerProbe, slots: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """Evidence of a third look at some slots.

        Args:
            probe: one finger view, as it is or made ready.
            slots: (m,) int64.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (m,) float32, natural log units; -inf for a removed slot.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        return self._core.refine(_core_probe(probe), slots, checked_threads(threads))

    def compare(
        self, probe: Minutiae | FingerProbe, slots: NDArray[np.int64], *, threads: int = 0
    ) -> NDArray[np.float32]:
        """Raw scores: those of :func:`abis.comparison.raw_scores`, to the bit.

        Args:
            probe: one finger view, as it is or made ready.
            slots: (m,) int64, the references wanted.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (m,) float32; NaN for a removed slot.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        return self._core.compare(_core_probe(probe), slots, checked_threads(threads))

    def balance(self, probe: Minutiae, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """How alike probe and references are in content: :func:`abis.comparison.balance`, to the bit.

        Args:
            probe: one finger view.
            slots: (m,) int64, the references wanted.

        Returns:
            (m,) float64, 0 to 1; 0 for a removed slot.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        return balances(contents([probe]), self._core.contents(slots))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All there is, to be kept: copies of the columns, each with a row a slot or a minutia.

        They are biometric data as much as the templates are. Codes are comparable only where made by the same
        ``cpp/search/code_projection.h``.
        """
        return self._core.columns()

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index whose :meth:`arrays` these are.

        Raises:
            ValueError: where a column is missing or unknown, of another type or length, or holds what none may.
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


def ready(probe: Minutiae) -> FingerProbe:
    """What every method would make of the probe: where there are many indexes it is made once."""
    return FingerProbe(*columns(probe))


def _core_probe(probe: Minutiae | FingerProbe) -> FingerProbe:
    return probe if isinstance(probe, FingerProbe) else ready(probe)
