// SPDX-License-Identifier: Apache-2.0
// Full comparisons of fingers that are kept as minutiae, and prepared when they are wanted.
#pragma once

#include <array>
#include <cstddef>
#include <limits>
#include <vector>

#include "fingerprint/fingerprint.h"

namespace abis {

// Room for one prepared template.
struct PreparedRoom {
    PreparedView prepare(const std::vector<Minutia>& minutiae) {
        PreparedView::write(minutiae, block.data());
        return {block.data(), minutiae.size()};
    }

    alignas(64) std::array<std::byte, PreparedView::bytes(parameters::kMaxMinutiae)> block;
};

// What one thread needs to prepare references and compare them.
struct Comparer {
    // Of the probe and the `minutiae`, in full.
    float score(const PreparedView& probe) {
        return compare(probe, reference.prepare(minutiae), -std::numeric_limits<float>::infinity(), workspace).score;
    }

    std::vector<Minutia> minutiae;  // of the reference
    PreparedRoom reference;
    Workspace workspace;
};

}  // namespace abis
