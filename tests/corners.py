# SPDX-License-Identifier: Apache-2.0
"""What codes of embeddings say, in plain NumPy."""

import numpy as np
from numpy.typing import NDArray


def sums(codes: NDArray[np.uint8], corners: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What the corners of each code add up to."""
    every = np.arange(codes.shape[1])
    both = corners[0, every, codes & 15].astype(np.int64) + corners[1, every, codes >> 4]
    return np.asarray(both.sum(axis=1))
