// SPDX-License-Identifier: Apache-2.0
// Where to begin looking for the minutiae around a place: minutiae are sorted by x, and columns of equal width
// tell which is the first of each.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "fingerprint/parameters.h"

namespace abis {

class Columns {
public:
    // x ascending, n of them, n >= 1.
    void assign(const float* x, std::size_t n) {
        left_ = x[0];
        scale_ = kCount / (x[n - 1] - left_ + 1);
        std::size_t j = 0;
        for (std::size_t column = 0; column < kCount; ++column) {
            while (j < n && column_of(x[j]) < column) ++j;
            first_[column] = static_cast<std::uint8_t>(j);
        }
    }

    // An index below which every minutia lies left of x.
    std::size_t first_from(float x) const { return first_[column_of(x)]; }

private:
    static constexpr std::size_t kCount = 64;

    std::size_t column_of(float x) const {
        const float column = (x - left_) * scale_;
        return static_cast<std::size_t>(std::clamp(column, 0.0F, static_cast<float>(kCount - 1)));
    }

    float left_, scale_;
    std::array<std::uint8_t, kCount> first_;
};

}  // namespace abis
