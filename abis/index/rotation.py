# SPDX-License-Identifier: Apache-2.0
"""Vectors turned at random, always alike: then no component is unlike the others, whatever network they come from.

The rotation is two rounds of random signs and a Walsh-Hadamard transform, as in Ailon and Chazelle 2009; shorter
vectors are filled up with zeros first. It is the same on every CPU, for sums are taken in one fixed order.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from abis import _core

__all__ = ["rotated", "rotated_dimension", "signs"]

_LEAST = 512  # components: fewer lose mates, docs/decisions/0006-segments-and-snapshots.md


def rotated_dimension(dimension: int) -> int:
    """How many components a rotated vector has: ``dimension`` rounded up to a power of two, at least 512."""
    return max(_LEAST, 1 << (dimension - 1).bit_length())


def rotated(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """(n, b) vectors, turned; (n, d) before. Some 2 microseconds each."""
    return _core.rotate(
        np.ascontiguousarray(vectors).view(np.uint16), signs(rotated_dimension(vectors.shape[1]))
    )


@cache
def signs(dimension: int) -> NDArray[np.float32]:
    """(2, dimension) of +1 and -1, drawn once and for all: by a hash, for generators change with versions."""
    drawn = hashlib.shake_256(f"abis sketch {dimension}".encode()).digest(2 * dimension // 8)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(2, dimension)
    return (2.0 * bits - 1.0).astype(np.float32)
