# SPDX-License-Identifier: Apache-2.0
"""Iris codes of one model and shape, packed for search: a coarse look at all, and full comparisons in the core.

Neighbouring columns of a code agree, so a few columns that are far apart hold most of the information. The first look
compares up to 64 bytes of each code, with their mask, at rotations of up to 2.8 degrees from one to the next. Codes
with finer columns are compared at all rotations where they agree a little. ``benchmarks/speed/iris.py`` measures the
time and what is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison.iris import REACH_DEGREES, iris_scores, packed, rotations
from abis.scoring.calibration import Calibration, shipped
from abis.template import IrisCode

__all__ = ["IrisIndex", "IrisProbe", "evidence_of_irises", "looked_at"]

_LN_OF_10 = 2.302585092994046
_LOOK_BYTES = 64  # of a code's bits at the first look: one vector of AVX-512
_LOOK_DEGREES = 2.8  # most that a probe is turned between coarse rotations: a column of codes of 128 columns
_LANES = 8  # kIrisLanes of cpp/iris/iris_look.h
_AT_ONCE = 65_536  # codes arranged at a time
_OF_LOOK = 2.5
"""Factor from scores of the columns of the first look to scores of all columns, for codes of one eye."""


class IrisProbe(NamedTuple):
    """A probe prepared for any number of indexes.

    Attributes:
        template: the probe.
        turned: (rotations, 2, words) uint64, the bits and the mask of the first look at each of its rotations.
        coarse: how many of these rotations every reference is compared at.
    """

    template: IrisCode
    turned: NDArray[np.uint64]
    coarse: int

    @classmethod
    def of(cls, template: IrisCode) -> Self:
        """Prepare a probe."""
        coarse, closer = cls.turns(template.columns)
        turns = np.concatenate([coarse, closer])
        columns = looked_at(template.columns, template.bits.shape[1]) + turns[:, np.newaxis]
        turned = np.stack(
            [part[columns % template.columns] for part in (template.bits, template.mask)], axis=1
        )
        return cls(template, _as_words(turned.reshape(len(turns), 2, -1)), len(coarse))

    @staticmethod
    def turns(columns: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The coarse rotations and all others, in columns of a code with ``columns`` columns."""
        reach = rotations(columns)
        count = 2 * math.ceil(REACH_DEGREES / _LOOK_DEGREES) + 1
        coarse = np.unique(np.rint(np.linspace(-reach, reach, count)).astype(np.int64))
        return coarse, np.setdiff1d(np.arange(-reach, reach + 1), coarse)

    def evidence_of(self, similarities: NDArray[Any]) -> NDArray[np.float32]:
        """Rough evidence of what the first look says, natural log units."""
        return evidence_of_irises(_OF_LOOK * similarities)


class IrisIndex:
    """Iris codes of one model and shape, slot by slot from 0. Immutable; safe to search from any number of threads.

    Args:
        codes: (n, 2, bytes) uint8 as :func:`abis.comparison.iris.packed` makes them, n at least 1.
        shape: columns of a code, and bytes of one.
    """

    tells_nearest: ClassVar[bool] = True

    def __init__(self, codes: NDArray[np.uint8], shape: tuple[int, int]) -> None:
        self._codes = np.ascontiguousarray(codes)
        self._shape = shape
        self._blocks = _blocks(self._codes, shape)

    @classmethod
    def of(cls, templates: Sequence[IrisCode]) -> Self:
        """An index of codes of one shape, at least one, slot by slot in their order."""
        first = templates[0]
        return cls(packed(templates), (first.columns, first.bits.shape[1]))

    @staticmethod
    def ready(template: IrisCode, _: Calibration) -> IrisProbe:
        """Prepare a probe once for many indexes and calls."""
        return IrisProbe.of(template)

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order."""
        return cls(np.concatenate([part._codes[slots] for part, slots in parts]), parts[0][0]._shape)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return self._codes.nbytes + self._blocks.nbytes

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(n, 2, bytes) uint8: bits and mask of each."""
        return self._codes

    @property
    def blocks(self) -> NDArray[np.uint64]:
        """(blocks, 2, words, 8) uint64: what the first look compares, as cpp/iris/iris_look.h has it."""
        return self._blocks

    def nearest(self, probe: IrisProbe, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The references that the first look finds most alike. Uses one thread.

        Args:
            probe: the probe.
            count: how many, at least 1; all where there are fewer.

        Returns:
            (m,) float64, scores of the columns looked at, the largest first, and (m,) int64, their slots; of equal
            scores the first slots.
        """
        scores, slots = _core.nearest_irises(
            probe.turned, probe.coarse, self._blocks, len(self), min(count, len(self))
        )
        return scores.astype(np.float64), slots

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
        return {"codes": self._codes, "shape": np.array(self._shape, np.uint16)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: if the arrays do not belong together.
        """
        codes = arrays["codes"]
        if codes.dtype != np.uint8 or codes.ndim != 3 or codes.shape[1] != 2 or not len(codes):
            raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}; expected (n, 2, bytes) uint8")
        shape = arrays["shape"]
        if (
            shape.shape != (2,)
            or shape.min() < 1
            or not 0 <= codes.shape[2] - int(shape.prod(dtype=int)) < 64
        ):
            raise ValueError(f"codes of {codes.shape[2]} bytes are not of the shape {shape.tolist()}")
        return cls(codes, (int(shape[0]), int(shape[1])))


def looked_at(columns: int, each: int) -> NDArray[np.int64]:
    """The columns of the first look, as far apart as they can be.

    Args:
        columns: of a code.
        each: bytes of a column.
    """
    count = min(columns, max(1, _LOOK_BYTES // each))
    return np.arange(count) * columns // count


def _as_words(rows: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The last axis as words of 64 bits, with zeros behind."""
    padding = [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % 8)]
    return np.ascontiguousarray(np.pad(rows, padding)).view(np.uint64)


def _blocks(codes: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint64]:
    """(blocks, 2, words, 8) uint64: the columns of the first look, as the core takes them."""
    columns, each = shape
    chosen = looked_at(columns, each)
    words = -(-len(chosen) * each // 8)
    blocks = np.zeros((-(-len(codes) // _LANES), 2, words, _LANES), np.uint64)
    for start in range(0, len(codes), _AT_ONCE):
        some = codes[start : start + _AT_ONCE, :, : columns * each].reshape(-1, 2, columns, each)
        own = _as_words(some[:, :, chosen].reshape(len(some), 2, -1))
        own = np.pad(own, [(0, -len(own) % _LANES), (0, 0), (0, 0)])
        first = start // _LANES
        blocks[first : first + len(own) // _LANES] = own.reshape(-1, _LANES, 2, words).transpose(0, 2, 3, 1)
    return blocks


def evidence_of_irises(scores: NDArray[Any]) -> NDArray[np.float32]:
    """(m,) float32, natural log likelihood ratios of raw scores, by the calibration for unknown models.

    It decides which references are compared in full; their scores come from the calibration of their own model.
    """
    return (_LN_OF_10 * shipped("iris").llr(scores.astype(np.float64))).astype(np.float32)
