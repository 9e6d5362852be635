// SPDX-License-Identifier: Apache-2.0
// The descriptor of a minutia: what stands around it, as bits. [MCC, section 3]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/parameters.h"
#include "fingerprint/template.h"

namespace abis {

namespace detail {

// Cells of the square grid whose centre lies within the cylinder's radius.
constexpr int count_cells() {
    const float side = 2 * parameters::kCylinderRadius / parameters::kCellsAcross;
    int cells = 0;
    for (int i = 0; i < parameters::kCellsAcross; ++i) {
        for (int j = 0; j < parameters::kCellsAcross; ++j) {
            const float x = (static_cast<float>(i) + 0.5F) * side - parameters::kCylinderRadius;
            const float y = (static_cast<float>(j) + 0.5F) * side - parameters::kCylinderRadius;
            cells += x * x + y * y <= parameters::kCylinderRadius * parameters::kCylinderRadius;
        }
    }
    return cells;
}

}  // namespace detail

inline constexpr int kCells = detail::count_cells();
inline constexpr int kCylinderBits = kCells * parameters::kSectors;
inline constexpr std::size_t kCylinderWords = (kCylinderBits + 63) / 64;

using Cylinder = std::array<std::uint64_t, kCylinderWords>;

// One cylinder a minutia; all zero where fewer than kLeastNeighbours minutiae reach into it.
std::vector<Cylinder> cylinders(const std::vector<Minutia>& minutiae);

}  // namespace abis
