// SPDX-License-Identifier: Apache-2.0
// How alike two cylinders are, as a byte and as a number.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fingerprint/parameters.h"

namespace abis {

// The share of set bits in common, in [0, 1], is kept as the byte share * kSharedScale + kSharedOffset, rounded down.
inline constexpr float kSharedScale = 127 / (1 - parameters::kMiddleShare);
inline constexpr float kSharedOffset = 255.49F - kSharedScale;
inline constexpr int kVoteByte = static_cast<int>(parameters::kVoteShare * kSharedScale + kSharedOffset);
static_assert(kSharedOffset >= 0);

// The top bits of those of eight bytes that are at least `least`, 1 to 255.
inline std::uint64_t at_least(std::uint64_t eight, unsigned least) {
    constexpr std::uint64_t kTop = 0x8080808080808080U, kOnes = 0x0101010101010101U;
    const std::uint64_t low = eight & ~kTop;  // leaves room for a carry into the top bit
    if (least > 128) return (low + kOnes * (256 - least)) & eight & kTop;
    return ((low + kOnes * (128 - least)) | eight) & kTop;
}

// [MCC, equation 19] for bit vectors a, b is 1 - |a ^ b| / (|a| + |b|), with |v| the root of the number of set
// bits. Where |a| = |b| that is 1 - sqrt((1 - share) / 2), which is taken for all: it saves a root a pair.
class SimilarityTable {
public:
    SimilarityTable() {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const float share = (static_cast<float>(byte) + 0.5F - kSharedOffset) / kSharedScale;
            values_[byte] = 1.0F - std::sqrt(0.5F * std::min(1.0F, std::max(0.0F, 1.0F - share)));
        }
    }
    float operator[](std::uint8_t byte) const { return values_[byte]; }

private:
    std::array<float, 256> values_;
};

inline const SimilarityTable similarity_of;

}  // namespace abis
