# SPDX-License-Identifier: Apache-2.0
"""Embeddings of one model, packed for search: a short code to look at all, float16 to be sure of some.

The code of a vector says, of each eight components of it after a fixed rotation, which is the largest in size
and what its sign is: the nearest corner of a cross-polytope (Andoni et al. 2015), half a byte. The probe is hardly
rounded, to a byte a component: its own components say what each corner is worth, and their sum over all corners of a
code tells the cosine to within 0.05 (standard deviation, 512 dimensions), at a thirty-second of the reading. On a CPU
with AVX-512 a look at two corners of 64 references is two instructions, and a reference takes 32 bytes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison import cosine
from abis.index.rotation import rotated, rotated_dimension, signs
from abis.scoring.calibration import shipped
from abis.template import Embedding

__all__ = ["EmbeddingIndex", "EmbeddingProbe", "encode", "evidence_of_cosines"]

_TOGETHER = 16  # codes lie byte by byte side by side, as the core takes them
_EIGHT = 8  # components that have a corner in common
_LARGEST_OF_EIGHT = 1.7833670778810331  # mean size of the largest of eight standard normal numbers
_MIDDLE, _MOST = 63, 127  # what a component of 0 is worth, and the largest
_RANGE = 6.0  # standard deviations of a component that are told apart
_STEPS = 4096  # of cosines up to 1 that a look tells apart
_LN_OF_10 = 2.302585092994046


class EmbeddingProbe(NamedTuple):
    """A probe made ready, for any number of indexes.

    Attributes:
        template: the probe.
        corners: (2, b, 16) uint8, read-only, what it says of each corner: of each byte's lower and upper half.
    """

    template: Embedding
    corners: NDArray[np.uint8]

    @classmethod
    def of(cls, template: Embedding) -> Self:
        components = rotated(template.vector[np.newaxis]).reshape(-1, _EIGHT)
        units = components * (math.sqrt(components.size) * _MIDDLE / _RANGE)
        sizes = np.concatenate([units, -units], axis=1)  # in the order of corners
        worth = np.clip(np.rint(sizes) + _MIDDLE, 0, _MOST).astype(np.uint8)
        corners = np.ascontiguousarray(worth.reshape(-1, 2, 2 * _EIGHT).transpose(1, 0, 2))
        corners.flags.writeable = False  # the core has checked them when it looks
        return cls(template, corners)


class EmbeddingIndex:
    """Immutable; any number of threads may search it at once.

    Args:
        vectors: (n, d) float16, of unit length but for rounding.
        codes: (n, b) uint8, from :func:`encode`; made where None.
    """

    def __init__(self, vectors: NDArray[np.float16], codes: NDArray[np.uint8] | None = None) -> None:
        self._vectors = np.ascontiguousarray(vectors)
        made = encode(self._vectors) if codes is None else codes
        shape = (-(-len(made) // _TOGETHER), made.shape[1], _TOGETHER)
        # In large pages: a search reads them from end to end.
        self._codes = _core.large_array(math.prod(shape)).reshape(shape)
        whole = len(made) // _TOGETHER
        self._codes[whole:] = 0
        rows = self._codes.transpose(0, 2, 1)
        rows[:whole] = made[: whole * _TOGETHER].reshape(whole, *rows.shape[1:])
        rows[whole:, : len(made) % _TOGETHER] = made[whole * _TOGETHER :]

    @classmethod
    def of(cls, templates: Sequence[Embedding]) -> Self:
        """Of embeddings of one dimension, at least one; slot by slot in their order."""
        return cls(np.array([t.vector for t in templates], np.float16))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """Of the given slots of other indexes, in their order."""
        return cls(
            np.concatenate([part._vectors[slots] for part, slots in parts]),
            np.concatenate([part.codes[slots] for part, slots in parts]),
        )

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def memory_bytes(self) -> int:
        return self._vectors.nbytes + self._codes.nbytes

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(n, b) what :func:`encode` gave; a copy."""
        return self._codes.transpose(0, 2, 1).copy().reshape(-1, self._codes.shape[1])[: len(self)]

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(n, d) what it was made of."""
        return self._vectors

    def tally(
        self,
        tally: _core.Tally,
        probe: EmbeddingProbe,
        subjects: NDArray[Any],
        *,
        is_run: bool,
        gone: NDArray[np.bool_] | None,
    ) -> None:
        """Adds up what codes say of the cosines, by subject: see :class:`abis.index.segments.Index`."""
        by_sum = _evidence_by_sum(self._codes.shape[1])
        tally.screen_embeddings(self._codes, probe.corners, by_sum, subjects, is_run, gone, 0)

    def sift(self, probe: EmbeddingProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """As :meth:`refine`: what is dear of a cosine is to fetch the vector, and the code is no nearer."""
        return self.refine(probe, slots)

    def refine(self, probe: EmbeddingProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) log likelihood ratios, natural log units, of some slots' cosines."""
        steps = np.rint(_STEPS * np.clip(self.compare(probe, slots), -1, 1)).astype(np.intp)
        return _evidence_by_cosine()[steps + _STEPS]

    def compare(
        self, probe: Embedding | EmbeddingProbe, slots: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """(m,) raw scores of some slots, or of all: :func:`abis.comparison.cosine`, to the bit."""
        own = probe.template if isinstance(probe, EmbeddingProbe) else probe
        return cosine(own, self._vectors, slots)

    def balance(self, probe: Embedding, slots: NDArray[np.int64]) -> None:
        """Of embeddings nothing is known but their scores."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All there is, for :meth:`from_arrays`."""
        return {"vectors": self._vectors, "codes": self.codes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: where the arrays do not belong together.
        """
        vectors, codes = arrays["vectors"], arrays["codes"]
        if vectors.dtype != np.float16 or vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors are {vectors.dtype} of shape {vectors.shape}; expected (n, d) float16")
        expected = (len(vectors), _code_bytes(vectors.shape[1]))
        if codes.dtype != np.uint8 or codes.shape != expected:
            raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}; expected {expected}")
        return cls(vectors, codes)


def encode(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The nearest corners; the same on every CPU, as the rotation is.

    Args:
        vectors: (n, d) float16.

    Returns:
        (n, b) uint8, b a sixteenth of :func:`abis.index.rotation.rotated_dimension`: of each half byte, the lower
        first, the upper bit is set where the component is negative; the other bits are the number of the largest
        component, the first of equal ones.
    """
    turned_by = signs(rotated_dimension(vectors.shape[1]))
    return _core.encode_embeddings(np.ascontiguousarray(vectors).view(np.uint16), turned_by, 0)


def evidence_of_cosines(cosines: NDArray[Any]) -> NDArray[np.float32]:
    """Log likelihood ratios, natural log units, by the calibration for unknown models.

    Rough, but so are the looks, and the full comparison has its own.
    """
    return (_LN_OF_10 * shipped("embedding").llr(cosines)).astype(np.float32)


def _code_bytes(dimension: int) -> int:
    return rotated_dimension(dimension) // (2 * _EIGHT)


@cache
def _evidence_by_cosine() -> NDArray[np.float32]:
    """(2 _STEPS + 1,) what cosines from -1 to 1 say."""
    return evidence_of_cosines(np.arange(-_STEPS, _STEPS + 1) / _STEPS)


@cache
def _evidence_by_sum(code_bytes: int) -> NDArray[np.float32]:
    """(254 b + 1,) what each sum of corners says."""
    corners = 2 * code_bytes
    least = -_MIDDLE * corners
    one = _RANGE / (_MIDDLE * corners * _LARGEST_OF_EIGHT)
    sums = range(least, _MOST * corners + least + 1)
    cosines = [round(min(1.0, max(-1.0, one * total)), 6) for total in sums]  # the same everywhere
    return evidence_of_cosines(np.array(cosines))
