# SPDX-License-Identifier: Apache-2.0
"""Vectors turned at random, always alike: then no component is unlike the others, whatever network they come from.

The rotation is two rounds of random signs and a Walsh-Hadamard transform, as in Ailon and Chazelle 2009. It is the
same on every CPU, for sums are taken in one fixed order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["rotated", "rotated_dimension"]

_LEAST = 512  # components: fewer lose mates, docs/decisions/0006-segments-and-snapshots.md
_BATCH = 4_096  # vectors at a time: 8 MB


def rotated_dimension(dimension: int) -> int:
    """How many components a rotated vector has: ``dimension`` rounded up to a power of two, at least 512."""
    return max(_LEAST, 1 << (dimension - 1).bit_length())


def rotated(vectors: NDArray[np.float16]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Vectors, turned, some thousand at a time; shorter ones are filled up with zeros first.

    Args:
        vectors: (n, d) float16.

    Yields:
        Which ones, and (m, :func:`rotated_dimension`) float32 of the same lengths.
    """
    dimension = rotated_dimension(vectors.shape[1])
    for start in range(0, len(vectors), _BATCH):
        batch = vectors[start : start + _BATCH]
        turned = np.zeros((len(batch), dimension), np.float32)
        turned[:, : vectors.shape[1]] = batch
        for signs in _signs(dimension):
            turned *= signs
            _walsh_hadamard(turned)
        turned /= dimension  # by which two transforms are too long: a power of two, and exact
        yield slice(start, start + len(batch)), turned


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
def _signs(dimension: int) -> NDArray[np.float32]:
    """(2, dimension) of +1 and -1, drawn once and for all: by a hash, for generators change with versions."""
    drawn = hashlib.shake_256(f"abis sketch {dimension}".encode()).digest(2 * dimension // 8)
    signs = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(2, dimension)
    return (2.0 * signs - 1.0).astype(np.float32)
