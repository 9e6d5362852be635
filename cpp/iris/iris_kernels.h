// SPDX-License-Identifier: Apache-2.0
// Inner loop of the comparison of iris codes, compiled once for each instruction set.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/simd.h"

namespace abis {

struct IrisKernels {
    // The score of one reference, of bits and mask of `stride` bytes each, and a probe whose k-th rotation starts
    // k * step bytes later.
    float (*score)(const std::uint8_t* probe_bits, const std::uint8_t* probe_mask, const std::uint8_t* reference,
                   std::size_t stride, std::size_t step, std::size_t rotations);
};

// Those of the level in use.
const IrisKernels& iris_kernels();

namespace body {

ABIS_INLINE std::uint64_t iris_word(const std::uint8_t* at) {
    std::uint64_t word;
    std::memcpy(&word, at, sizeof word);
    return word;
}

template <bool kHasPopcount>
ABIS_INLINE std::uint64_t iris_count(std::uint64_t word) {
    if constexpr (kHasPopcount) return static_cast<std::uint64_t>(std::popcount(word));
    // Without the instruction, a table is consulted; sums of neighbouring bits vectorise instead.
    word -= word >> 1 & 0x5555555555555555U;
    word = (word & 0x3333333333333333U) + (word >> 2 & 0x3333333333333333U);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fU;
    word += word >> 8;
    word += word >> 16;
    return (word + (word >> 32)) & 0xff;
}

template <bool kHasPopcount>
ABIS_INLINE float iris_score(const std::uint8_t* probe_bits, const std::uint8_t* probe_mask,
                             const std::uint8_t* reference, std::size_t stride, std::size_t step,
                             std::size_t rotations) {
    double best = 0;
    bool is_first = true;
    for (std::size_t k = 0; k < rotations; ++k) {
        const std::uint8_t* bits = probe_bits + k * step;
        const std::uint8_t* mask = probe_mask + k * step;
        std::uint64_t counting = 0, different = 0;
        for (std::size_t at = 0; at < stride; at += 8) {
            const std::uint64_t both = iris_word(mask + at) & iris_word(reference + stride + at);
            counting += iris_count<kHasPopcount>(both);
            different += iris_count<kHasPopcount>((iris_word(bits + at) ^ iris_word(reference + at)) & both);
        }
        if (counting == 0) continue;
        const double difference = static_cast<double>(counting) - 2.0 * static_cast<double>(different);
        const double score = difference / std::sqrt(static_cast<double>(counting));
        if (is_first || score > best) best = score;
        is_first = false;
    }
    return static_cast<float>(best);
}

}  // namespace body
}  // namespace abis
