// SPDX-License-Identifier: Apache-2.0
// What a FingerIndex holds, as vectors.
#pragma once

#include <cstdint>
#include <vector>

#include "made_up.h"
#include "search/finger_index.h"

namespace abis::made_up {

struct OwnColumns {
    explicit OwnColumns(const FingerIndex& index)
        : sizes(index.size()),
          removed(index.size()),
          first(index.minutiae()),
          second(first.size()),
          x(first.size()),
          y(first.size()),
          direction(first.size()),
          kind(first.size()),
          reliability(first.size()) {
        index.write({sizes.data(), removed.data(), first.data(), second.data(), x.data(), y.data(), direction.data(),
                     kind.data(), reliability.data()});
    }
    IndexColumns view() const {
        return {sizes.data(), removed.data(),   first.data(), second.data(),     x.data(),
                y.data(),     direction.data(), kind.data(),  reliability.data()};
    }
    bool operator==(const OwnColumns&) const = default;

    std::vector<std::uint8_t> sizes, removed;
    std::vector<std::uint64_t> first, second;
    std::vector<std::int16_t> x, y;
    std::vector<std::uint8_t> direction, kind, reliability;
};

// The first look of one probe.
inline void screen(const FingerIndex& index, const FingerProbe& probe, unsigned threads, float* evidence) {
    const FingerIndex::Look look{&probe, evidence};
    index.screen({&look, 1}, threads, no_poll);
}

}  // namespace abis::made_up
