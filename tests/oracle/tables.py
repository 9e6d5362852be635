# SPDX-License-Identifier: Apache-2.0
"""Tables of codes, all fingers with all; ``cpp/search/code_tables.cpp``; it looks at every pair."""

from functools import cache

import numpy as np

from abis.template import Minutiae
from oracle.angle import Ints
from oracle.codes import Words, commonness, learnt, less_price, scale, told
from oracle.constants import C

_64_BITS = 2**64 - 1


@cache
def masks() -> Words:
    """(tables, 2): the bits of a code that each table looks at."""
    bits, state = len(learnt("kCodeOffsets")), 0
    found = np.zeros((int(C["kTables"]), bits), np.uint8)
    for table in found:
        while table.sum() < C["kTableBits"]:
            state, number = _next_random(state)
            table[number % bits] = 1
    return np.packbits(found, axis=1, bitorder="little").view("<u8")


def _next_random(state: int) -> tuple[int, int]:
    """SplitMix64 [Steele, Lea and Flood 2014]."""
    state = z = (state + 0x9E3779B97F4A7C15) & _64_BITS
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return state, z ^ (z >> 31)


def near(probe: Minutiae, reference: Minutiae) -> float | None:
    """Evidence of minutiae that share a bucket of some table and look alike; None where there are none."""
    (own, own_codes), (other, other_codes) = told(probe), told(reference)
    difference = own_codes[:, None] ^ other_codes[None]
    together = np.zeros(difference.shape[:2], bool)
    for mask in masks():
        together |= ((difference & mask) == 0).all(axis=2)
    differing = np.bitwise_count(difference).sum(axis=2, dtype=np.int64)
    checked = np.bitwise_count(difference[:, :, 1] >> np.uint64(32))
    worth = learnt("kCodeWorth")[differing] - _halved(commonness(own_codes), commonness(other_codes))
    votes = together & (differing <= C["kMostCodeBits"]) & (checked <= C["kMostCheckBits"]) & (worth > 0)
    if not votes.any():
        return None
    bins = int(C["kVoteBins"])
    unit = 256 // bins
    turn = (own.direction[:, None] - other.direction + unit // 2) % 256 // unit
    most = less_price(np.bincount(turn[votes], weights=worth[votes], minlength=bins)).max()
    return max(0, int(most)) / (2 * scale()) - float(C["kChanceInTables"] * len(own) * len(other))


def _halved(own: Ints, other: Ints) -> Ints:
    """(n, m) half the sum, towards zero."""
    total = own[:, None] + other
    half: Ints = np.sign(total) * (np.abs(total) // 2)
    return half
