// SPDX-License-Identifier: Apache-2.0
// A coarse look at many iris codes: some columns of each, at several rotations, with their masks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace abis {

// References stand together in blocks of this many: for each word of their chosen bits the words of all of them, then
// the same of their masks.
constexpr std::size_t kIrisLanes = 8;

// The references with the highest scores, the highest first; of equal ones the first.
struct NearIrises {
    std::vector<float> scores;
    std::vector<std::int64_t> slots;
};

// A reference that scores as much as this at one of the first rotations is looked at from all. Of codes of different
// eyes 4 in 100 do.
constexpr float kIrisNear = 4.0F;

// Looks at references [0, count) of the blocks, and returns the `most` nearest, or all where there are fewer.
//
// The score is the one of IrisProbe::compare for the chosen bits alone. `probe` has `rotations` rows of `words` words
// of bits, then of the mask. Every reference is compared at the first `coarse` of them. One thread; polls now and then.
NearIrises nearest_irises(const std::uint64_t* probe, std::size_t coarse, std::size_t rotations, std::size_t words,
                          const std::uint64_t* blocks, std::size_t count, std::size_t most,
                          const std::function<void()>& poll);

}  // namespace abis
