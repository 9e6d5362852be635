# SPDX-License-Identifier: Apache-2.0
"""Embeddings of one model, packed for search: a sketch of bits to look at all, float16 to be sure of some.

The sketch of a vector is the signs of its components after a fixed rotation; two vectors at an angle of
*a* radians differ in a share of about *a* / pi of them (Goemans and Williamson 1995; Charikar 2002). So the
Hamming distance of two sketches tells the cosine to within some hundredths, at a sixteenth of the reading:
512 bits are one instruction on a CPU with AVX-512, and 64 bytes a reference.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, Self

import faiss
import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.calibration import shipped
from abis.comparison import cosine
from abis.template import Embedding

__all__ = ["EmbeddingIndex", "EmbeddingProbe", "near", "sketch"]

_LEAST_BITS = 512  # fewer lose mates: docs/decisions/0006-segments-and-snapshots.md
_LN_OF_10 = 2.302585092994046
_BATCH = 4_096  # vectors sketched at a time: 8 MB


class EmbeddingProbe(NamedTuple):
    """A probe made ready, for any number of indexes."""

    template: Embedding
    sketch: NDArray[np.uint8]

    @classmethod
    def of(cls, template: Embedding) -> Self:
        return cls(template, sketch(template.vector[np.newaxis])[0])


class EmbeddingIndex:
    """Immutable; any number of threads may search it at once.

    Args:
        vectors: (n, d) float16, of unit length but for rounding.
        sketches: (n, b) uint8, from :func:`sketch`; made where None.
    """

    def __init__(self, vectors: NDArray[np.float16], sketches: NDArray[np.uint8] | None = None) -> None:
        self._vectors = np.ascontiguousarray(vectors)
        made = sketch(self._vectors) if sketches is None else sketches
        # In large pages: a search reads them from end to end.
        self._sketches = _core.large_array(made.nbytes).reshape(made.shape)
        self._sketches[...] = made

    @classmethod
    def of(cls, templates: Sequence[Embedding]) -> Self:
        """Of embeddings of one dimension, at least one; slot by slot in their order."""
        return cls(np.array([t.vector for t in templates], np.float16))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """Of the given slots of other indexes, in their order."""
        return cls(
            np.concatenate([part._vectors[slots] for part, slots in parts]),
            np.concatenate([part._sketches[slots] for part, slots in parts]),
        )

    def __len__(self) -> int:
        return len(self._vectors)

    @property
    def memory_bytes(self) -> int:
        return self._vectors.nbytes + self._sketches.nbytes

    def tally(
        self,
        tally: _core.Tally,
        probe: EmbeddingProbe,
        subjects: NDArray[Any],
        *,
        is_run: bool,
        gone: NDArray[np.bool_] | None,
    ) -> None:
        """Adds up what :meth:`sift` gives of all slots, by subject: see :class:`abis.segments.Index`."""
        values = _evidence_by_distance(8 * probe.sketch.size)
        tally.screen_sketches(self._sketches, probe.sketch, values, subjects, is_run, gone, 0)

    def sift(self, probe: EmbeddingProbe, slots: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """(m,) log likelihood ratios, natural log units, of what sketches say of the cosines; None for all slots."""
        values = _evidence_by_distance(8 * probe.sketch.size)
        return _core.look_at_sketches(probe.sketch, self._sketches, values, slots, 0)

    def refine(self, probe: EmbeddingProbe, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) log likelihood ratios, natural log units, of some slots' cosines."""
        return _evidence(self.compare(probe, slots))

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
        return {"vectors": self._vectors, "sketches": self._sketches}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: where the arrays do not belong together.
        """
        vectors, sketches = arrays["vectors"], arrays["sketches"]
        if vectors.dtype != np.float16 or vectors.ndim != 2 or not vectors.size:
            raise ValueError(f"vectors are {vectors.dtype} of shape {vectors.shape}; expected (n, d) float16")
        expected = (len(vectors), _bits(vectors.shape[1]) // 8)
        if sketches.dtype != np.uint8 or sketches.shape != expected:
            raise ValueError(f"sketches are {sketches.dtype} of shape {sketches.shape}; expected {expected}")
        return cls(vectors, sketches)


def near(
    probes: NDArray[np.uint8], references: NDArray[np.uint8], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pairs whose sketches say ``least`` or more; some 2 nanoseconds a pair and core. FAISS uses all cores.

    Args:
        probes: (m, b) uint8, from :func:`sketch`.
        references: (n, b) uint8, likewise.
        least: natural log units.

    Returns:
        (p,) probes, (p,) references, in the order of probes.
    """
    enough = np.flatnonzero(_evidence_by_distance(8 * references.shape[1]) >= least)
    if not len(enough) or not len(references):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    index = faiss.IndexBinaryFlat(8 * references.shape[1])
    index.add(references)
    ends, _, found = index.range_search(probes, int(enough[-1]) + 1)
    return np.repeat(np.arange(len(probes)), np.diff(ends.astype(np.int64))), found.astype(np.int64)


def sketch(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Signs of rotated vectors, packed; the same on every CPU, for sums are taken in one fixed order.

    The rotation is two rounds of random signs and a Walsh-Hadamard transform, as in Ailon and Chazelle 2009;
    shorter vectors are filled up with zeros first.

    Args:
        vectors: (n, d) float16.

    Returns:
        (n, b) uint8, b eighths of d rounded up to a power of two, at least 64.
    """
    bits = _bits(vectors.shape[1])
    packed = np.empty((len(vectors), bits // 8), np.uint8)
    for start in range(0, len(vectors), _BATCH):
        batch = vectors[start : start + _BATCH]
        rotated = np.zeros((len(batch), bits), np.float32)
        rotated[:, : vectors.shape[1]] = batch
        for signs in _signs(bits):
            rotated *= signs
            _walsh_hadamard(rotated)
        packed[start : start + len(batch)] = np.packbits(rotated > 0, axis=1)
    return packed


def _bits(dimension: int) -> int:
    return max(_LEAST_BITS, 1 << (dimension - 1).bit_length())


def _walsh_hadamard(rows: NDArray[np.float32]) -> None:
    """Transforms each row in place, without scaling."""
    half = 1
    while half < rows.shape[1]:
        pairs = rows.reshape(len(rows), -1, 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        difference = first - second
        first += second
        second[...] = difference
        half *= 2


@cache
def _signs(bits: int) -> NDArray[np.float32]:
    """(2, bits) of +1 and -1, drawn once and for all: by a hash, for generators change with versions."""
    drawn = hashlib.shake_256(f"abis sketch {bits}".encode()).digest(2 * bits // 8)
    signs = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(2, bits)
    return (2.0 * signs - 1.0).astype(np.float32)


@cache
def _evidence_by_distance(bits: int) -> NDArray[np.float32]:
    """(bits + 1,) what each Hamming distance of sketches says."""
    cosines = [
        round(math.cos(math.pi * differ / bits), 6) for differ in range(bits + 1)
    ]  # the same everywhere
    return _evidence(np.array(cosines))


def _evidence(cosines: NDArray[Any]) -> NDArray[np.float32]:
    """By the calibration for unknown models: rough, but so are the looks, and the full comparison has its own."""
    return (_LN_OF_10 * shipped("embedding").llr(cosines)).astype(np.float32)
