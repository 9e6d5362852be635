// SPDX-License-Identifier: Apache-2.0
// Sketches of embeddings: bits of which more differ the wider the angle between two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace abis {

inline constexpr std::size_t kSketchWords = 8;  // a sketch is one or more runs of so many words

struct SketchesView {
    const std::byte* bits;  // sketch by sketch, at any address
    std::size_t count;
    std::size_t words;  // of each, a multiple of kSketchWords
};

// evidence[k] is by_distance[d], of which d bits differ between the probe and sketch slots[k], or the k-th of all where
// slots is null; there are `count` of them.
void evidence_of_sketches(const std::byte* probe, const SketchesView& references, const std::int64_t* slots,
                          std::size_t count, const float* by_distance, unsigned threads,
                          const std::function<void()>& poll, float* evidence);

}  // namespace abis
