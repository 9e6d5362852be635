# SPDX-License-Identifier: Apache-2.0
"""Iris codes of one model and shape, packed for search: every comparison is the full one, in the core.

A comparison takes less than a microsecond, so there is no coarser look: what is found is what exhaustive comparison
finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from abis.comparison.iris import iris_scores, packed
from abis.scoring.calibration import shipped
from abis.template import IrisCode

__all__ = ["IrisIndex", "IrisProbe", "evidence_of_irises"]

_LN_OF_10 = 2.302585092994046


class IrisProbe(NamedTuple):
    """A probe as the methods of :class:`IrisIndex` take it."""

    template: IrisCode

    def evidence_of(self, scores: NDArray[Any]) -> NDArray[np.float32]:
        """:func:`evidence_of_irises`."""
        return evidence_of_irises(scores)


class IrisIndex:
    """Iris codes of one model and shape, slot by slot from 0. Immutable; safe to search from any number of threads.

    Args:
        codes: (n, 2, bytes) uint8 as :func:`abis.comparison.iris.packed` makes them, n at least 1.
    """

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self._codes = np.ascontiguousarray(codes)

    @classmethod
    def of(cls, templates: Sequence[IrisCode]) -> Self:
        """An index of codes of one shape, at least one, slot by slot in their order."""
        return cls(packed(templates))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order."""
        return cls(np.concatenate([part._codes[slots] for part, slots in parts]))

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return self._codes.nbytes

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(n, 2, bytes) uint8: bits and mask of each."""
        return self._codes

    def nearest(self, probe: IrisProbe, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The references with the largest raw scores. Uses one thread.

        Args:
            probe: the probe.
            count: how many, at least 1; all where there are fewer.

        Returns:
            (m,) float64, raw scores, the largest first, and (m,) int64, their slots; of equal scores the first slots.
        """
        scores = iris_scores(probe.template, self._codes, threads=1)
        if count < len(scores):
            limit = np.partition(scores, len(scores) - count)[len(scores) - count]
            slots = np.flatnonzero(scores >= limit)
        else:
            slots = np.arange(len(scores))
        slots = slots[np.argsort(-scores[slots], kind="stable")][:count]
        return scores[slots].astype(np.float64), slots

    def sift(self, probe: IrisProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same as :meth:`refine`."""
        return self.refine(probe, slots)

    def refine(self, probe: IrisProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, natural log likelihood ratios of some slots."""
        return evidence_of_irises(self.compare(probe, slots))

    def compare(
        self, probe: IrisCode | IrisProbe, slots: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """(m,) float32, raw scores of some slots, or of all: exactly :func:`abis.comparison.iris.iris_scores`."""
        own = probe.template if isinstance(probe, IrisProbe) else probe
        return iris_scores(own, self._codes, slots)

    def balance(self, probe: IrisCode, slots: NDArray[np.int64]) -> None:
        """Iris codes have no balance: the number of bits compared is in the score."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`from_arrays` needs to make the same index."""
        return {"codes": self._codes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: if the arrays do not belong together.
        """
        codes = arrays["codes"]
        if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[1] != 2 or not len(codes):
            raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}; expected (n, 2, bytes) uint8")
        return cls(codes)


def evidence_of_irises(scores: NDArray[Any]) -> NDArray[np.float32]:
    """(m,) float32, natural log likelihood ratios of raw scores, by the calibration for unknown models.

    It decides which references are compared in full; their scores come from the calibration of their own model.
    """
    return (_LN_OF_10 * shipped("iris").llr(scores.astype(np.float64))).astype(np.float32)
