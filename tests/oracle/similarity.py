# SPDX-License-Identifier: Apache-2.0
"""Similarity of descriptors and votes; ``similarity.h``, ``kernels.h`` and ``votes.cpp`` in ``cpp/fingerprint``."""

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats, Ints
from oracle.constants import C
from oracle.template import Normalised

Words = npt.NDArray[np.uint64]


def set_bits(words: Words) -> Ints:
    """(n,) of (n, words)."""
    bits = np.unpackbits(words.view(np.uint8), axis=1)
    return np.asarray(bits.sum(axis=1, dtype=np.int64))


def similarities(first: Words, second: Words) -> npt.NDArray[np.uint8]:
    """(n, m): the share of set bits in common, 2 |a & b| / (|a| + |b|), as bytes."""
    own_bits = np.maximum(set_bits(first), 1).astype(np.float32)[:, None]  # no bits: nothing in common
    common = np.array([set_bits(second & own) for own in first]).reshape(len(first), len(second))
    share = (2 * common).astype(np.float32) / (own_bits + set_bits(second).astype(np.float32))
    return (share * np.float32(C["kSharedScale"]) + np.float32(C["kSharedOffset"])).astype(np.uint8)


def similarity_of(byte: npt.NDArray[np.uint8]) -> Floats:
    """1 - |a ^ b| / (|a| + |b|) [MCC, equation 19], |v| the root of the set bits, as if |a| were |b|."""
    share = (byte.astype(np.float32) + np.float32(0.5) - np.float32(C["kSharedOffset"])) / np.float32(
        C["kSharedScale"]
    )
    return 1 - np.sqrt(np.clip(1 - share.astype(np.float64), 0, 1) / 2)


def rotation_votes(first: Normalised, second: Normalised, similarity: npt.NDArray[np.uint8]) -> float:
    """How far the minutiae of the first, each with its most similar one, agree on a turn, give or take a bin."""
    partner = similarity.argmax(axis=1)  # the first of equals
    votes = np.maximum(similarity.max(axis=1).astype(np.int64) - (int(C["kVoteByte"]) - 1), 0)
    number = int(C["kVoteBins"])
    width = 256 // number
    bin_ = (first.direction - second.direction[partner] + width // 2) % 256 // width
    bins = np.bincount(bin_, weights=votes, minlength=number)
    most = (np.roll(bins, 1) + 2 * bins + np.roll(bins, -1)).max()
    return float(most / 2 / (similarity.size + C["kVotePrior"]) ** 0.75)
