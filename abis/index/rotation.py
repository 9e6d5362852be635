# SPDX-License-Identifier: Apache-2.0
"""A fixed random rotation of embeddings: afterwards all components have the same distribution, for any network.

The rotation is two rounds of random signs and a Walsh-Hadamard transform (Ailon and Chazelle 2009, "The Fast
Johnson-Lindenstrauss Transform"). Shorter embeddings are padded with zeros. It is bit-identical on every CPU, because
sums are taken in one fixed order.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

from abis import _core

__all__ = ["rotated", "rotated_dimension", "signs"]

_LEAST = 512  # components: codes of fewer lose mates, docs/decisions/0006-segments-and-snapshots.md


def rotated_dimension(dimension: int) -> int:
    """Number of components after rotation: ``dimension`` rounded up to a power of two, at least 512."""
    return max(_LEAST, 1 << (dimension - 1).bit_length())


def rotated(vectors: NDArray[np.float16]) -> NDArray[np.float32]:
    """Rotate embeddings; about 2 microseconds each.

    Args:
        vectors: (n, d) float16.

    Returns:
        (n, c) float32, c of :func:`rotated_dimension`; lengths stay as they are.
    """
    return _core.rotate(
        np.ascontiguousarray(vectors).view(np.uint16), signs(rotated_dimension(vectors.shape[1]))
    )


@cache
def signs(dimension: int) -> NDArray[np.float32]:
    """(2, dimension) float32 of +1 and -1. Drawn by a hash, because random generators change with versions."""
    drawn = hashlib.shake_256(f"abis sketch {dimension}".encode()).digest(2 * dimension // 8)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(2, dimension)
    return (2.0 * bits - 1.0).astype(np.float32)
