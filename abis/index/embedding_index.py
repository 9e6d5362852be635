# SPDX-License-Identifier: Apache-2.0
"""Embeddings of one model, packed for search: short codes in FAISS that find the nearest, float16 for exact scores.

An embedding is rotated (:mod:`abis.index.rotation`) and cut into groups of eight components. The code keeps of each
group which component is the largest in size, and its sign: four bits that name the nearest corner of a cross-polytope
(Andoni et al. 2015, "Practical and Optimal LSH for Angular Distance"). To FAISS that is a product quantizer whose 16
centroids a group are set by hand, so there is no training, and the code of an embedding depends on nothing else.
FAISS adds up, for 32 references at once, what the probe's components say of each corner (``IndexPQFastScan``, after
André, Kermarrec and Le Scouarnec 2017, "Accelerated Nearest Neighbor Search with Quick ADC"). A code of 512 dimensions
takes 32 bytes and tells the cosine to within 0.05 (standard deviation).

FAISS rounds such tables to bytes. The probe is rounded here to the 256 values that FAISS keeps as they are, so each sum
is an exact integer: what is found does not depend on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from abis.comparison import cosine
from abis.index.rotation import rotated, rotated_dimension
from abis.scoring.calibration import Calibration, shipped
from abis.template import Embedding

__all__ = ["EmbeddingIndex", "EmbeddingProbe", "encode", "evidence_of_cosines"]

_GROUP = 8  # components that share a corner
_BITS = 4  # of a corner: three for the component, one for its sign
_LARGEST_OF_EIGHT = 1.7833670778810331  # mean size of the largest of eight standard normal numbers
_MOST = 127.5  # largest component of a rounded probe: then FAISS' scale of 255 steps is one step a unit
_MOST_COMPONENTS = 1_024  # rotated components that a code has at most: FAISS adds up in 16 bits, with a sign
_AT_ONCE = 256  # embeddings encoded at a time: they stay in the CPU's cache
_STEPS = 4096  # of cosines up to 1 that the evidence of a look tells apart
_LN_OF_10 = 2.302585092994046


class EmbeddingProbe(NamedTuple):
    """A probe prepared for any number of indexes.

    Attributes:
        template: the probe.
        components: (1, c) float32, its rotated components in steps: odd multiples of 1/2 up to 127.5.
        cosine_of_step: the cosine that a sum of one step stands for.
        calibration: that evidence is by; None for :func:`evidence_of_cosines`.
    """

    template: Embedding
    components: NDArray[np.float32]
    cosine_of_step: float
    calibration: Calibration | None = None

    @classmethod
    def of(cls, template: Embedding, calibration: Calibration | None = None) -> Self:
        """Prepare a probe."""
        own = _components(template.vector[np.newaxis])
        largest = float(np.abs(own).max())
        steps = np.clip(np.floor(own * np.float32(_MOST / largest)), -128, 127) + np.float32(0.5)
        spread = 1 / math.sqrt(rotated_dimension(len(template.vector)))  # standard deviation of a component
        one = largest / _MOST * _GROUP / (own.size * _LARGEST_OF_EIGHT * spread)
        return cls(template, steps, one, calibration)

    def evidence_of(self, cosines: NDArray[Any]) -> NDArray[np.float32]:
        """(m,) float32, natural log likelihood ratios of cosines."""
        if self.calibration is None:
            return evidence_of_cosines(cosines)
        return np.asarray(_LN_OF_10 * self.calibration.llr(cosines), np.float32)


class EmbeddingIndex:
    """Embeddings of one model and dimension, slot by slot from 0. Immutable; safe to search from any number of threads.

    Args:
        vectors: (n, d) float16, n at least 1, of unit length up to rounding.
        codes: (n, b) uint8, from :func:`encode`; None computes them.
    """

    tells_nearest: ClassVar[bool] = True

    def __init__(self, vectors: NDArray[np.float16], codes: NDArray[np.uint8] | None = None) -> None:
        self._vectors = np.ascontiguousarray(vectors)
        self._packed = _packed(encode(self._vectors) if codes is None else np.ascontiguousarray(codes))

    @classmethod
    def of(cls, templates: Sequence[Embedding]) -> Self:
        """An index of embeddings of one dimension, at least one, slot by slot in their order."""
        return cls(np.array([t.vector for t in templates], np.float16))

    @staticmethod
    def ready(template: Embedding, _: Calibration) -> EmbeddingProbe:
        """Prepare a probe once for many indexes and calls."""
        return EmbeddingProbe.of(template)

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order."""
        return cls(
            np.concatenate([part._vectors[slots] for part, slots in parts]),
            np.concatenate([part.codes[slots] for part, slots in parts]),
        )

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return self._vectors.nbytes + int(self._packed.codes.nbytes())

    @property
    def codes(self) -> NDArray[np.uint8]:
        """(n, b) uint8, the codes that :func:`encode` gave; a copy, unpacked from FAISS' blocks."""
        packer = self._packed.get_CodePacker()
        blocks = faiss.AlignedTable_to_array(self._packed.codes).reshape(-1, packer.block_size)
        flat = np.empty((len(blocks), packer.nvec, packer.code_size), np.uint8)
        for block, codes in zip(blocks, flat, strict=True):
            packer.unpack_all(faiss.swig_ptr(block), faiss.swig_ptr(codes))
        return flat.reshape(-1, packer.code_size)[: len(self)]

    @property
    def vectors(self) -> NDArray[np.float16]:
        """(n, d) float16, the embeddings."""
        return self._vectors

    def nearest(self, probe: EmbeddingProbe, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The references whose codes say the largest cosines. Uses one thread.

        Args:
            probe: the probe.
            count: how many, at least 1; all where there are fewer.

        Returns:
            (m,) float64, estimated cosines, the largest first, and (m,) int64, their slots. Which references of equal
            estimates are among the last is not defined.
        """
        (sums,), (slots,) = self._packed.search(probe.components, min(count, len(self)))
        if slots[-1] < 0:  # FAISS never gives a reference whose sum is the least there can be
            is_found = slots >= 0
            others = np.setdiff1d(np.arange(len(self)), slots[is_found])
            slots[~is_found] = others[: len(slots) - np.count_nonzero(is_found)]
            sums[~is_found] = -np.abs(probe.components.reshape(-1, _GROUP)).max(axis=1).sum()
        return probe.cosine_of_step * sums.astype(np.float64), slots

    def sift(self, probe: EmbeddingProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same as :meth:`refine`: the code has been looked at, and nothing lies between it and the embedding."""
        return self.refine(probe, slots)

    def refine(self, probe: EmbeddingProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, natural log likelihood ratios of the cosines of some slots."""
        return probe.evidence_of(self.compare(probe, slots))

    def compare(
        self, probe: Embedding | EmbeddingProbe, slots: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """(m,) float32, raw scores of some slots, or of all: exactly :func:`abis.comparison.cosine`."""
        own = probe.template if isinstance(probe, EmbeddingProbe) else probe
        return cosine(own, self._vectors, slots)

    def balance(self, probe: Embedding, slots: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """Faces have no balance: nothing is known of them but their scores."""
        return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`from_arrays` needs to make the same index."""
        return {"vectors": self._vectors, "codes": self.codes}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: if the arrays do not belong together.
        """
        vectors, codes = arrays["vectors"], arrays["codes"]
        if vectors.dtype != np.float16 or vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors are {vectors.dtype} of shape {vectors.shape}; expected (n, d) float16")
        expected = (len(vectors), _code_bytes(vectors.shape[1]))
        if codes.dtype != np.uint8 or codes.shape != expected:
            raise ValueError(f"codes are {codes.dtype} of shape {codes.shape}; expected {expected}")
        return cls(vectors, codes)


def encode(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The nearest corners of embeddings; bit-identical on every CPU, as the rotation is. About 7 microseconds each.

    Args:
        vectors: (n, d) float16.

    Returns:
        (n, b) uint8, two corners a byte, the lower half first. The highest bit of a corner is set where the component
        is negative; the other three are the number of the largest component of the group, the first of equal ones.
    """
    codes = np.empty((len(vectors), _code_bytes(vectors.shape[1])), np.uint8)
    for start in range(0, len(vectors), _AT_ONCE):
        some = _components(vectors[start : start + _AT_ONCE])
        corners = _corners(some.reshape(len(some), -1, _GROUP))
        codes[start : start + _AT_ONCE] = corners[:, ::2] | corners[:, 1::2] << _BITS
    return codes


def evidence_of_cosines(cosines: NDArray[Any]) -> NDArray[np.float32]:
    """(m,) float32, natural log likelihood ratios of cosines, by the calibration for unknown models.

    It decides which references are compared in full; their scores come from the calibration of their own model.
    """
    steps = np.rint(_STEPS * np.clip(cosines, -1, 1)).astype(np.intp)
    found: NDArray[np.float32] = _evidence_of_steps()[steps + _STEPS]
    return found


def _components(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """(n, c) the rotated components that codes are made of."""
    return np.ascontiguousarray(rotated(vectors)[:, :_MOST_COMPONENTS])


def _corners(groups: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(n, g) the nearest corner of each of (n, g, 8) groups."""
    by_place = np.ascontiguousarray(groups.transpose(2, 0, 1))
    sizes, is_negative = np.abs(by_place), (by_place < 0).astype(np.uint8) << (_BITS - 1)
    largest: NDArray[np.float32] = sizes[0]
    corners: NDArray[np.uint8] = is_negative[0]
    for place in range(1, _GROUP):
        is_larger = sizes[place] > largest
        np.copyto(largest, sizes[place], where=is_larger)
        np.copyto(corners, is_negative[place] | np.uint8(place), where=is_larger)
    return corners


def _packed(codes: NDArray[np.uint8]) -> Any:  # Any: FAISS has no types
    """FAISS' index of codes, to be searched by inner product."""
    groups = 2 * codes.shape[1]
    flat: Any = faiss.IndexPQ(_GROUP * groups, groups, _BITS, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(_centroids(groups), flat.pq.centroids)
    flat.is_trained = True
    flat.add_sa_codes(codes)
    packed: Any = faiss.IndexPQFastScan(flat)  # copies the codes into blocks of 32
    packed.orig_codes = None  # it points into `flat`, which goes
    return packed


@cache
def _centroids(groups: int) -> NDArray[np.float32]:
    """(groups * 16 * 8,) float32: of each group the corners, by their numbers."""
    corners = np.concatenate([np.eye(_GROUP), -np.eye(_GROUP)]).astype(np.float32)
    return np.tile(corners, (groups, 1)).reshape(-1)


def _code_bytes(dimension: int) -> int:
    return min(rotated_dimension(dimension), _MOST_COMPONENTS) // (2 * _GROUP)


@cache
def _evidence_of_steps() -> NDArray[np.float32]:
    """(2 _STEPS + 1,) float32: of cosines from -1 to 1."""
    return (_LN_OF_10 * shipped("embedding").llr(np.arange(-_STEPS, _STEPS + 1) / _STEPS)).astype(np.float32)
