# SPDX-License-Identifier: Apache-2.0
"""Find near embeddings among very many pairs, by the number of bits in which their sketches differ.

The sketch of an embedding has the signs of its components after a fixed rotation. For two embeddings at an angle of *a*
radians, about a / pi of the bits differ (Goemans and Williamson 1995; Charikar 2002). So the Hamming distance of two
sketches tells the cosine to within some hundredths. FAISS counts the bits of all pairs.
"""

from __future__ import annotations

import math
from functools import cache

import faiss
import numpy as np
from numpy.typing import NDArray

from abis.index.embedding_index import evidence_of_cosines
from abis.index.rotation import rotated, rotated_dimension
from abis.parallel import available_cores

__all__ = ["near", "sketch"]

_BATCH = 4_096  # embeddings rotated at a time: 8 MB


def near(
    probes: NDArray[np.uint8], references: NDArray[np.uint8], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pairs with enough evidence. About 2 nanoseconds a pair and core; uses all cores.

    Args:
        probes: (m, b) uint8, from :func:`sketch`.
        references: (n, b) uint8, from :func:`sketch`.
        least: least evidence, natural log units.

    Returns:
        Two (p,) int64 arrays, the rows of probes, ascending, and of references.
    """
    enough = np.flatnonzero(_evidence_by_distance(8 * references.shape[1]) >= least)
    if not len(enough) or not len(references):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    faiss.omp_set_num_threads(
        available_cores()
    )  # for this thread; FAISS itself would take all CPUs of the machine
    index = faiss.IndexBinaryFlat(8 * references.shape[1])
    index.add(references)
    ends, _, found = index.range_search(probes, int(enough[-1]) + 1)
    return np.repeat(np.arange(len(probes)), np.diff(ends.astype(np.int64))), found.astype(np.int64)


def sketch(vectors: NDArray[np.float16]) -> NDArray[np.uint8]:
    """The sketches of embeddings.

    Args:
        vectors: (n, d) float16.

    Returns:
        (n, b) uint8, b an eighth of :func:`abis.index.rotation.rotated_dimension`.
    """
    packed = np.empty((len(vectors), rotated_dimension(vectors.shape[1]) // 8), np.uint8)
    for start in range(0, len(vectors), _BATCH):
        batch = slice(start, start + _BATCH)
        packed[batch] = np.packbits(rotated(vectors[batch]) > 0, axis=1)
    return packed


@cache
def _evidence_by_distance(bits: int) -> NDArray[np.float32]:
    """(bits + 1,) float32, evidence of each Hamming distance."""
    cosines = [
        round(math.cos(math.pi * differ / bits), 6) for differ in range(bits + 1)
    ]  # the same everywhere
    return evidence_of_cosines(np.array(cosines))
