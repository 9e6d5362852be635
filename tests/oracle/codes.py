# SPDX-License-Identifier: Apache-2.0
"""Codes of minutiae and their evidence; ``code.cpp``, ``code_kernels.h``, ``code_evidence.cpp`` in ``cpp/search``.

Codes and votes are equal to the core to the bit.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.template import Minutiae
from oracle.angle import Floats, Ints, wrapped
from oracle.candidates import compatibilities
from oracle.comparison import prepare
from oracle.constants import SOURCES, C
from oracle.template import Normalised

Words = npt.NDArray[np.uint64]


@cache
def learnt(name: str) -> Ints | Words:
    """A table of ``cpp/search/code_projection.h``, flat."""
    text = (SOURCES / "search" / "code_projection.h").read_text()
    (body,) = re.findall(rf" {name}\{{(.*?)\n\}}+;", text, re.DOTALL)
    if "0x" in body:
        return np.array([int(value, 16) for value in re.findall(r"0x\w+", body)], np.uint64)
    return np.array([int(value) for value in re.findall(r"-?\d+", body)], np.int64)


@cache
def scale() -> int:
    """Units of worth in a natural log unit."""
    (value,) = re.findall(r"kWorthScale = (\d+);", (SOURCES / "search" / "code_projection.h").read_text())
    return int(value)


def coded(template: Minutiae) -> tuple[Normalised, Words]:
    """The minutiae of a template, and the code of each, which is the empty one where it is too uncertain."""
    minutiae, cylinders = prepare(template)
    always = int(C["kAlwaysCoded"])
    best = np.sort(minutiae.reliability)[::-1]
    least = 0 if len(best) <= always else min(C["kCodedReliability"], best[always - 1])
    return minutiae, codes(np.where((minutiae.reliability < least)[:, None], np.uint64(0), cylinders))


def told(template: Minutiae) -> tuple[Normalised, Words]:
    """The minutiae whose codes tell something, and these codes."""
    minutiae, own = coded(template)
    telling = np.flatnonzero(tells(own))
    return _taken(minutiae, telling), own[telling]


def codes(cylinders: Words) -> Words:
    """(n, 2) of the (n, words) cylinders of a template."""
    offsets = learnt("kCodeOffsets")
    weights = learnt("kCodeWeights").reshape(-1, len(offsets))
    bits = np.unpackbits(cylinders.view(np.uint8), axis=1, bitorder="little")
    sums = bits[:, : len(weights)].astype(np.int64) @ weights + offsets
    return np.packbits(sums > 0, axis=1, bitorder="little").view("<u8")


@dataclass(frozen=True)
class CodedProbe:
    """The probe's minutiae that tell something, those that tell most first, and each one's place among all."""

    minutiae: Normalised
    codes: Words
    commonness: Ints
    place: Ints


def coded_probe(template: Minutiae) -> CodedProbe:
    minutiae, all_codes = coded(template)
    _, cylinders = prepare(template)
    set_bits = np.bitwise_count(cylinders).sum(axis=1, dtype=np.int64)
    rank = (
        np.minimum(set_bits, C["kRichCylinder"]) * C["kRankOfBits"]
        + minutiae.reliability * C["kRankOfReliability"]
    )
    order = _spread(minutiae, rank, np.flatnonzero(tells(all_codes)))
    own = all_codes[order]
    return CodedProbe(_taken(minutiae, order), own, commonness(own), order)


def tells(own: Words) -> npt.NDArray[np.bool_]:
    """(n,) of (n, 2) codes: false where nothing stands around a minutia, or it is too uncertain."""
    of_nothing = np.packbits(learnt("kCodeOffsets") > 0, bitorder="little").view("<u8")
    tell: npt.NDArray[np.bool_] = (own != of_nothing).any(axis=1)
    return tell


def commonness(own: Words) -> Ints:
    """(n,) of (n, 2) codes: by how many of a sample are like the first word."""
    near = (np.bitwise_count(own[:, :1] ^ learnt("kCodeSample")) <= sample_radius()).sum(axis=1)
    table = learnt("kCommonness")
    found: Ints = table[np.minimum(near, len(table) - 1)].astype(np.int64)
    return found


def _spread(minutiae: Normalised, rank: Ints, candidates: Ints) -> Ints:
    """By rank, which falls where minutiae around have been taken."""
    rank, order, left = rank.copy(), [], [int(c) for c in candidates]
    while left:
        best = max(left, key=lambda i: (rank[i], -i))
        left.remove(best)
        order.append(best)
        apart = np.maximum(np.abs(minutiae.x - minutiae.x[best]), np.abs(minutiae.y - minutiae.y[best]))
        rank[apart < C["kCrowdingRadius"]] -= int(C["kRankOfCrowding"])
    return np.array(order, np.int64)


@cache
def sample_radius() -> int:
    (value,) = re.findall(r"kSampleRadius = (\d+);", (SOURCES / "search" / "code_projection.h").read_text())
    return int(value)


def screened(probe: CodedProbe, reference: Minutiae) -> float:
    """Evidence of votes by first words, fingers hardly turned; directions are those of the bins' resolution."""
    minutiae, own = told(reference)
    leading, bins = min(len(probe.codes), int(C["kFirstToVote"])), int(C["kVoteBins"])
    reach, unit = int(C["kUprightBins"]), 256 // bins
    worth = _worth(probe, leading, own, word=0)
    turn = (probe.minutiae.direction[:leading, None] // unit - minutiae.direction // unit) % bins
    voting = (worth > 0) & (np.minimum(turn, bins - turn) <= reach)
    votes = np.bincount(turn[voting], weights=worth[voting], minlength=bins)
    votes = np.minimum(votes, C["kMostVotes"])
    bin_of_turn = np.arange(-reach - 1, reach + 2) % bins
    most = max(0, int(less_price(votes)[bin_of_turn].max()))
    return most / (2 * scale()) - (2 * reach + 1) / bins * _chance(leading, minutiae)


def sifted(probe: CodedProbe, reference: Minutiae) -> float:
    """Evidence of votes by second words."""
    minutiae, own = told(reference)
    leading, bins = min(len(probe.codes), int(C["kMostToVote"])), int(C["kVoteBins"])
    unit = 256 // bins
    worth = _worth(probe, leading, own, word=1)
    turn = (probe.minutiae.direction[:leading, None] - minutiae.direction + unit // 2) % 256 // unit
    votes = np.bincount(turn[worth > 0], weights=worth[worth > 0], minlength=bins)
    return max(0, int(less_price(votes).max())) / (2 * scale()) - _chance(leading, minutiae)


def _worth(probe: CodedProbe, leading: int, own: Words, *, word: int) -> Ints:
    """(leading, n) of pairs by one word."""
    differing = np.bitwise_count(probe.codes[:leading, None, word] ^ own[None, :, word])
    worth: Ints = learnt("kWordWorth")[differing] - probe.commonness[:leading, None]
    return worth


def less_price(votes: npt.NDArray[Any]) -> Floats:
    """(bins,) what each bin and those beside it have, in half units, less the price of the rotation."""
    bins = len(votes)
    steps = np.minimum(np.arange(bins), bins - np.arange(bins)) / bins
    price = 2 * scale() * C["kScreenRotationPrice"] * np.minimum(1, steps / C["kMostRotation"])
    around: Floats = np.roll(votes, 1) + 2 * votes + np.roll(votes, -1)
    return around - price.astype(np.int64)


def refined(probe: CodedProbe, reference: Minutiae) -> float:
    """Evidence of poses, by both words."""
    minutiae, own = told(reference)
    differing = np.bitwise_count(probe.codes[:, None] ^ own[None]).sum(axis=2, dtype=np.int64)
    worth = learnt("kCodeWorth")[differing] - probe.commonness[:, None]
    i, j = np.nonzero(worth > 0)
    order = np.lexsort((j, probe.place[i], -worth[i, j]))[: int(C["kPoseHits"])]
    i, j, best = i[order], j[order], worth[i[order], j[order]]
    chance = _chance(len(probe.codes), minutiae)
    if not len(i):
        return -chance
    support: Floats = best + compatibilities(probe.minutiae, minutiae, i, j) @ best
    turn = np.abs(wrapped(probe.minutiae.direction[i] - minutiae.direction[j])) / (256 * C["kMostRotation"])
    price = scale() * C["kScreenRotationPrice"] * np.minimum(1, turn)
    return max(0.0, float(np.max(support - price))) / scale() - chance


def _chance(leading: int, reference: Normalised) -> float:
    return float(C["kChanceOfPair"] * leading * len(reference))


def _taken(m: Normalised, order: Ints) -> Normalised:
    return Normalised(
        m.x[order], m.y[order], m.direction[order], m.kind[order], m.reliability[order], m.order[order]
    )
