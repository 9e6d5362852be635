// SPDX-License-Identifier: Apache-2.0
// Comparison of iris codes: masked Hamming distances over rotations (J. Daugman, IEEE TPAMI 15(11), 1993).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace abis {

// Codes are bits, then the mask, of `stride` bytes each. The stride is a multiple of kIrisBlock; what lies beyond a
// code's own bytes is 0.
constexpr std::size_t kIrisBlock = 64;

// A code that is compared with many, at 2 * reach + 1 rotations.
class IrisProbe {
public:
    // `bits` and `mask` are `bytes` long, column after column of `bytes_a_column`. Requires reach * bytes_a_column <=
    // bytes.
    IrisProbe(const std::uint8_t* bits, const std::uint8_t* mask, std::size_t bytes, std::size_t bytes_a_column,
              std::size_t reach);

    // Scores of references[0], references[stride * 2], ... or, where `which` is given, of those rows: the most over
    // rotations of (agreeing less disagreeing bits) / sqrt(bits that count in both), 0 where no bit counts. For
    // independent bits of two different eyes it is normally distributed about 0 with standard deviation 1.
    void compare(const std::uint8_t* references, std::size_t stride, const std::int64_t* which, std::size_t count,
                 unsigned threads, const std::function<void()>& poll, float* scores) const;

private:
    std::vector<std::uint8_t> bits_, mask_;  // turned back by `reach` columns, and repeated
    std::size_t step_, rotations_;
};

}  // namespace abis
