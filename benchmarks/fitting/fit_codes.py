# SPDX-License-Identifier: Apache-2.0
"""Learn the codes of minutiae, and what differing bits are worth, from synthetic fingers: cpp/search/code_projection.h.

Mated pairs of minutiae are those that the comparator pairs in two impressions of one finger. A bit of a
code is the side of a plane on which a cylinder lies. The planes are trained so that, by the bits, a minutia
finds its mate among those of other fingers (the contrastive loss of van den Oord et al. 2018,
"Representation learning with contrastive predictive coding", with tanh for the bits), for the first 64 bits
alone and for all 128. No real finger is used. The worth of pairs comes from subjects that the planes were
not trained on. The codes of a gallery depend on the header: a new header needs new indexes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis import _core
from abis.comparison import explain
from abis.synthetic import Population
from abis.template import Minutiae, Position
from benchmarks.lib.common import ROOT, options, print_table, write

HEADER = ROOT / "cpp" / "search" / "code_projection.h"
WORD, BITS = 64, 128
CYLINDER_BITS = (
    312  # kCylinderBits of cpp/fingerprint/cylinder.h; the rows of what the core returns are padded
)
LEAST_SCORE = 1.0  # raw score of two impressions whose pairs are believed
HELD_OUT = 0.3  # of the subjects: for the worth of pairs

STEPS, BATCH, RATE = 1500, 768, 3e-3
SHARPNESS, SLOPE = 20.0, 2.0  # of the softmax over a batch; of the tanh
INITIAL_SCALE = 0.7  # standard deviation of a bit's input
RIDGE = 0.01  # of the mean variance, added to both covariances

SCALE = 16  # units of worth in a natural log unit
WORD_CHANCE, CODE_CHANCE = 0.0030, 0.0060  # of non-mated pairs still looked at
MOST_WORTH = 8.0  # natural log units: beyond is a matter of luck
SAMPLE, SAMPLE_RADIUS = 4096, 18  # codes that tell how common a minutia is; bits
COMMON_PRIOR = 0.3  # of the mean commonness

Floats = npt.NDArray[np.float32]
Bits = npt.NDArray[np.uint8]


def main() -> None:
    """Make pairs, train, measure, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=6000, help="(default: 6,000)")
    parser.add_argument("--output", type=Path, default=HEADER)
    arguments = parser.parse_args()
    population = Population(seed=10_000 + arguments.seed, fingers=(Position.RIGHT_INDEX,), face=False)
    pairs = list(mated_pairs(population, arguments.subjects))
    learning = round(len(pairs) * (1 - HELD_OUT))
    first, second = (np.concatenate([p[side] for p in pairs[:learning]]) for side in (0, 1))
    weights, offsets = quantised(*train(first, second, arguments.seed))

    owner = np.concatenate([np.full(len(p[0]), i) for i, p in enumerate(pairs[learning:])])
    held_out = [np.concatenate([p[side] for p in pairs[learning:]]) for side in (0, 1)]
    a, b = (codes(bits, weights, offsets) for bits in held_out)
    rng = np.random.default_rng(arguments.seed)
    tables: dict[str, npt.NDArray[np.int64]] = {}
    figures: dict[str, float | int | str] = {"mated_pairs": len(first), "held_out_pairs": len(a)}
    for name, size, chance in (("word", WORD, WORD_CHANCE), ("code", BITS, CODE_CHANCE)):
        mated, non_mated = distances(a[:, :size], b[:, :size], owner, rng)
        tables[name] = worth(mated, non_mated, chance)
        figures |= {
            f"{name}_found_at_chance_{limit}": float(np.interp(limit, np.cumsum(non_mated), np.cumsum(mated)))
            for limit in (0.001, 0.003, 0.01, 0.03)
        }
    words = np.packbits(a[:, :WORD], axis=1, bitorder="little").view("<u8")[:, 0]
    sample = rng.choice(words, SAMPLE, replace=False)
    arguments.output.write_text(header(weights, offsets, tables, sample))
    print_table(
        f"Mated minutiae found, %, at the share of non-mated found; {len(a):,} held-out pairs",
        ["bits", "0.1 %", "0.3 %", "1 %", "3 %"],
        [
            [
                size,
                *(
                    f"{100 * float(value):.1f}"
                    for key, value in figures.items()
                    if key.startswith(f"{name}_found")
                ),
            ]
            for name, size in (("word", WORD), ("code", BITS))
        ],
    )
    write(arguments.json, figures, seed=arguments.seed)


def mated_pairs(population: Population, subjects: int) -> Iterator[tuple[Bits, Bits]]:
    """The cylinders, as rows of 0 and 1, of the minutiae that two impressions have in common, for each subject."""
    encounters = zip(
        *(population.encounters(range(subjects), impression) for impression in (0, 1)), strict=True
    )
    for (_, (probe,)), (_, (reference,)) in track(encounters, "comparing", total=subjects):
        assert isinstance(probe, Minutiae)
        assert isinstance(reference, Minutiae)
        found = explain(probe, reference)
        if found.score < LEAST_SCORE:
            continue
        a, b = cylinders(probe)[found.pairs[:, 0]], cylinders(reference)[found.pairs[:, 1]]
        described = a.any(axis=1) & b.any(axis=1)
        yield a[described], b[described]


def cylinders(template: Minutiae) -> Bits:
    """(n, bits), in the template's own order of minutiae."""
    t = template
    prepared = _core.prepare(t.x, t.y, t.direction, t.kind, t.quality, *t.resolution)
    rows = np.unpackbits(prepared["cylinders"].view(np.uint8), axis=1, bitorder="little")
    ordered = np.empty_like(rows)
    ordered[prepared["order"]] = rows
    return ordered


def train(first: Bits, second: Bits, seed: int) -> tuple[Floats, Floats]:
    """Weights (cylinder bits, 128) and offsets (128,) of the planes."""
    rng = np.random.default_rng(seed)
    mean = np.concatenate([first, second]).mean(axis=0, dtype=np.float32)
    weights, offsets = discriminant(first - mean, second - mean, rng), np.zeros(BITS, np.float32)
    step_of_weights = 3 * float(np.abs(weights).mean())
    adam_weights, adam_offsets = Adam(weights), Adam(offsets)
    for step in track(range(1, STEPS + 1), "training"):
        chosen = rng.integers(0, len(first), BATCH)
        x, y = (side[chosen] - mean for side in (first, second))
        a, b = (np.tanh(SLOPE * (side @ weights + offsets)) for side in (x, y))
        to_a, to_b = (g * (1 - side * side) * SLOPE for g, side in zip(contrast(a, b), (a, b), strict=True))
        rate = RATE * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        adam_weights.descend(x.T @ to_a + y.T @ to_b, rate * step_of_weights)
        adam_offsets.descend(to_a.sum(axis=0) + to_b.sum(axis=0), rate)
    return weights, offsets - mean @ weights


class Adam:
    """Descends a value in place by the published rule and constants: Kingma & Ba, ICLR 2015."""

    def __init__(self, value: Floats) -> None:
        self.value, self.steps = value, 0
        self.mean, self.square = np.zeros_like(value), np.zeros_like(value)

    def descend(self, gradient: Floats, rate: float) -> None:
        """One step down."""
        self.steps += 1
        self.mean += 0.1 * (gradient - self.mean)
        self.square += 0.001 * (gradient * gradient - self.square)
        mean, square = self.mean / (1 - 0.9**self.steps), self.square / (1 - 0.999**self.steps)
        self.value -= np.float32(rate) * mean / (np.sqrt(square) + np.float32(1e-10))


def discriminant(first: Floats, second: Floats, rng: np.random.Generator) -> Floats:
    """Where training starts: the directions in which mated minutiae differ least for what all differ, mixed."""
    total = np.cov(np.concatenate([first, second]).T)
    within = (first - second).T @ (first - second) / (2 * len(first))
    ridge = RIDGE * np.trace(total) / len(total) * np.eye(len(total))
    whiten = np.linalg.inv(np.linalg.cholesky(within + ridge)).T
    _, vectors = np.linalg.eigh(whiten.T @ (total + ridge) @ whiten)
    best = whiten @ vectors[:, -WORD:]
    mixed = np.concatenate(
        [best @ np.linalg.qr(rng.standard_normal((WORD, WORD)))[0] for _ in range(BITS // WORD)], axis=1
    )
    scaled: Floats = (INITIAL_SCALE * mixed / (first @ mixed).std(axis=0)).astype(np.float32)
    return scaled


def contrast(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The loss' gradients by the outputs of mated rows: each is to know its mate among all of the batch."""
    to_a, to_b = np.zeros_like(a), np.zeros_like(b)
    diagonal = np.arange(len(a))
    for size in (WORD, BITS):
        likeness: Floats = np.float32(SHARPNESS / size) * (a[:, :size] @ b[:, :size].T)
        wrong = 0.5 * (softmax(likeness, 1) + softmax(likeness, 0))
        wrong[diagonal, diagonal] -= 1
        wrong *= SHARPNESS / size / len(a)
        to_a[:, :size] += wrong @ b[:, :size]
        to_b[:, :size] += wrong.T @ a[:, :size]
    return to_a, to_b


def softmax(values: Floats, axis: int) -> Floats:
    """Along an axis."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    result: Floats = powers / powers.sum(axis=axis, keepdims=True)
    return result


def quantised(weights: Floats, offsets: Floats) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int16]]:
    """Whole numbers, scaled a bit so that the largest weight is 127 and no sum of weights leaves 16 bits."""
    scale = np.minimum(
        127 / np.abs(weights).max(axis=0), 32_000 / (np.abs(weights).sum(axis=0) + np.abs(offsets))
    )
    return np.rint(weights * scale).astype(np.int8), np.rint(offsets * scale).astype(np.int16)


def codes(rows: Bits, weights: npt.NDArray[np.int8], offsets: npt.NDArray[np.int16]) -> Bits:
    """(n, 128) of 0 and 1."""
    sums = rows.astype(np.float32) @ weights.astype(np.float32) + offsets  # exact: whole numbers below 2**24
    return (sums > 0).astype(np.uint8)


def distances(
    a: Bits, b: Bits, owner: npt.NDArray[np.int64], rng: np.random.Generator, rounds: int = 60
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shares of mated and of non-mated pairs by the number of differing bits."""
    size = a.shape[1]
    packed = [np.packbits(side, axis=1).view(">u8") for side in (a, b)]

    def differing(i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        bits: npt.NDArray[np.int64] = np.bitwise_count(packed[0][i] ^ packed[1][j]).sum(
            axis=1, dtype=np.int64
        )
        return bits

    every = np.arange(len(a))
    mated = np.bincount(differing(every, every), minlength=size + 1)
    non_mated = np.zeros(size + 1, np.int64)
    for _ in range(rounds):
        other = rng.permutation(len(a))
        apart = owner != owner[other]
        non_mated += np.bincount(differing(every[apart], other[apart]), minlength=size + 1)
    return mated / mated.sum(), non_mated / non_mated.sum()


def worth(
    mated: npt.NDArray[np.float64], non_mated: npt.NDArray[np.float64], chance: float
) -> npt.NDArray[np.int64]:
    """Log likelihood ratios by differing bits, falling; very low where more than `chance` of non-mated pairs are."""
    smoothed = [
        np.convolve(np.pad(p, 1, mode="edge"), (0.25, 0.5, 0.25), "valid") for p in (mated, non_mated)
    ]
    ratio = np.log((smoothed[0] + 1e-7) / (smoothed[1] + 1e-7))
    rare = np.cumsum(non_mated) < 1e-5  # too few to tell
    ratio[rare] = ratio[~rare].max()
    ratio = np.minimum(np.minimum.accumulate(ratio), MOST_WORTH)
    reach = int(np.searchsorted(np.cumsum(non_mated), chance, side="right"))
    ratio[reach:] = -1000
    units: npt.NDArray[np.int64] = np.rint(SCALE * ratio).astype(np.int64)
    return units


def header(
    weights: npt.NDArray[np.int8],
    offsets: npt.NDArray[np.int16],
    tables: dict[str, npt.NDArray[np.int64]],
    sample: npt.NDArray[np.uint64],
) -> str:
    """The text of the header."""
    near = np.bitwise_count(sample[:, np.newaxis] ^ sample) <= SAMPLE_RADIUS
    mean = near.sum(axis=1).mean() - 1  # less the code itself
    count = np.arange(256)
    commonness = np.rint(SCALE * np.log((count + COMMON_PRIOR * mean) / ((1 + COMMON_PRIOR) * mean)))
    return f"""\
// SPDX-License-Identifier: Apache-2.0
// Written by benchmarks/fitting/fit_codes.py, which tells how: do not edit.
#pragma once

#include <array>
#include <cstdint>

#include "cylinder.h"

namespace abis {{

inline constexpr std::size_t kCodeBits = {BITS};
static_assert(kCylinderBits == {CYLINDER_BITS});

// clang-format off
// Weights of a cylinder's set bits in the sums of each code bit, and what the sums start from; set where above 0.
inline constexpr std::array<std::array<std::int8_t, kCodeBits>, kCylinderBits> kCodeWeights{{{{
{lines([f"{{{{{','.join(map(str, row))}}}}}" for row in weights[:CYLINDER_BITS]], 1)}
}}}};
inline constexpr std::array<std::int16_t, kCodeBits> kCodeOffsets{{
{lines(offsets, 16)}
}};

// What a pair is worth by the number of differing bits: of the first words, and of the codes. Falling.
inline constexpr int kWorthScale = {SCALE};  // a natural log unit
inline constexpr std::array<std::int16_t, {WORD + 1}> kWordWorth{{
{lines(tables["word"], 16)}
}};
inline constexpr std::array<std::int16_t, {BITS + 1}> kCodeWorth{{
{lines(tables["code"], 16)}
}};

// First words of minutiae of as many fingers; and by how many of them differ from a word by kSampleRadius bits at
// most, how much less a pair with that minutia is worth than one with a minutia as common as the mean one.
inline constexpr int kSampleRadius = {SAMPLE_RADIUS};
inline constexpr std::array<std::int16_t, 256> kCommonness{{
{lines(commonness.astype(np.int64), 16)}
}};
inline constexpr std::array<std::uint64_t, {len(sample)}> kCodeSample{{
{lines([f"0x{word:016x}" for word in sample], 5)}
}};
// clang-format on

}}  // namespace abis
"""


def lines(values: Iterable[object], a_line: int) -> str:
    """Values separated by commas, the given number a line."""
    texts = [str(value) for value in values]
    return ",\n".join(",".join(texts[k : k + a_line]) for k in range(0, len(texts), a_line))


if __name__ == "__main__":
    main()
