# SPDX-License-Identifier: Apache-2.0
"""Candidate pairs and their relaxation [MCC, section 4.2]; ``cpp/fingerprint/candidates.cpp``."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats, Ints, cosine, sine, wrapped
from oracle.constants import C
from oracle.similarity import similarity_of
from oracle.template import Normalised

SUPPORT_ROUNDING = 1e-5  # relative error of a support in float32


@dataclass(frozen=True)
class Candidates:
    """Pairs of minutiae that look alike, the most similar first.

    Attributes:
        first, second: (c,) indices of minutiae.
        similarity: (c,) in [0, 1].
        compatibility: (c, c) in [0, 1].
        support: (c,) after the relaxation.
        by_support: (c,) indices, the best supported first.
    """

    first: Ints
    second: Ints
    similarity: Floats
    compatibility: Floats
    support: Floats
    by_support: Ints

    def __len__(self) -> int:
        return len(self.first)


def find_candidates(first: Normalised, second: Normalised, similarity: npt.NDArray[np.uint8]) -> Candidates:
    i, j = choose_pairs(similarity)
    values = similarity_of(similarity[i, j])
    compatibility = compatibilities(first, second, i, j)
    both = first.reliability[i] / 100 * (second.reliability[j] / 100)
    support = relax(np.sqrt(both) * np.maximum(0, values - C["kNeutralSimilarity"]), compatibility)
    by_support = np.lexsort((np.arange(len(i)), -support))
    return Candidates(i, j, values, compatibility, support, by_support)


def choose_pairs(similarity: npt.NDArray[np.uint8]) -> tuple[Ints, Ints]:
    """The most similar pairs, few of them for any one minutia; equal to the core to the bit."""
    wanted = min(int(C["kMaxCandidates"]), 2 * len(similarity) + int(C["kSpareCandidates"]))
    positive = np.sort(similarity[similarity > 0])[::-1]
    if len(positive) == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    least = positive[min(2 * wanted, len(positive)) - 1]
    uses: dict[tuple[str, int], int] = {}
    chosen: list[tuple[int, int]] = []
    pairs = [(-int(similarity[i, j]), int(i), int(j)) for i, j in np.argwhere(similarity >= least)]
    for _, i, j in sorted(pairs):
        ends = ("first", i), ("second", j)
        if len(chosen) == wanted or any(uses.get(end, 0) == C["kMaxPairsOfMinutia"] for end in ends):
            continue
        chosen.append((i, j))
        for end in ends:
            uses[end] = uses.get(end, 0) + 1
    first, second = np.array(chosen, np.int64).T
    return first, second


def compatibilities(first: Normalised, second: Normalised, i: Ints, j: Ints) -> Floats:
    """(c, c): how far b lies in the frame of a on one finger as on the other [MCC, equations 26 to 28]."""

    def geometry(t: Normalised, index: Ints) -> tuple[Floats, Floats, Floats, Ints]:
        """Distance and unit bearing from a to b in the frames of a and of b; and the directions."""
        dx = (t.x[index] - t.x[index][:, None]).astype(np.float64)
        dy = (t.y[index] - t.y[index][:, None]).astype(np.float64)
        c, s = cosine(t.direction[index]), sine(t.direction[index])
        in_a = np.stack([dx * c[:, None] + dy * s[:, None], dy * c[:, None] - dx * s[:, None]])
        in_b = np.stack([dx * c + dy * s, dy * c - dx * s])
        return np.hypot(dx, dy), in_a, in_b, t.direction[index]

    d1, a1, b1, direction1 = geometry(first, i)
    d2, a2, b2, direction2 = geometry(second, j)
    tolerance = C["kDistanceTolerance"] + C["kDistanceToleranceGrowth"] * (d1 + d2) / 2
    stretch = (d1 - d2) / tolerance
    bearing = (1 - (a1 * a2).sum(axis=0) / (d1 * d2 + 1e-6)) / C["kRadialTolerance"]
    bearing_back = (1 - (b1 * b2).sum(axis=0) / (d1 * d2 + 1e-6)) / C["kRadialTolerance"]
    turn = direction1 - direction2
    angle = np.abs(wrapped(turn[:, None] - turn)) / C["kAngleTolerance"]
    value = 1 / ((1 + stretch**4) * (1 + angle**4) * (1 + bearing**2) * (1 + bearing_back**2))
    exclusive = (i[:, None] == i) | (j[:, None] == j)
    return np.where(exclusive, 0, value)


def relax(support: Floats, compatibility: Floats) -> Floats:
    """Each pair's support, raised by that of the pairs that agree with it [MCC, equation 25]."""
    gain = C["kRelaxationGain"] / max(1, len(support) - 1)
    for _ in range(int(C["kRelaxationRounds"])):
        support = support / 2 + gain * (compatibility @ support)
    return support
