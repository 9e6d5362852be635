// SPDX-License-Identifier: Apache-2.0
#include "candidates.h"

#include <algorithm>
#include <numeric>

#include "similarity.h"

namespace abis {
namespace {

using namespace parameters;

// The least similarity that leaves at least `wanted` pairs, or 1 where there are not so many.
int least_similarity(const Roles& roles, const std::uint8_t* similarity, std::size_t wanted) {
    std::array<std::uint32_t, 256> count{};
    const std::size_t stride = roles.second.stride();
    for (std::size_t k = 0; k < roles.first.size() * stride; ++k) ++count[similarity[k]];
    std::size_t sum = 0;
    int least = 256;
    while (least > 1 && sum < wanted) sum += count[static_cast<std::size_t>(--least)];
    return least;
}

}  // namespace

void choose_candidates(const Roles& roles, Workspace& workspace) {
    Candidates& candidates = workspace.candidates;
    const std::size_t n = roles.first.size(), m = roles.second.size(), stride = roles.second.stride();
    const std::size_t wanted = std::min(kMaxCandidates, 2 * n + kSpareCandidates);

    // Twice as many as wanted, since some fall to the limit a minutia. A key sorts by similarity, best
    // first, then by minutiae.
    const int least = least_similarity(roles, workspace.similarity.data(), 2 * wanted);
    auto& keys = workspace.candidate_keys;
    std::size_t found = 0;
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < m; ++j) {
            const int similarity = workspace.similarity[i * stride + j];
            if (similarity < least) continue;
            keys[found++] = static_cast<std::uint32_t>((255 - similarity) << 16 | static_cast<int>(i) << 8 | static_cast<int>(j));
        }
    }
    std::sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(found));

    std::array<std::uint8_t, kMaxMinutiae> uses_of_first{}, uses_of_second{};
    candidates.size = 0;
    for (std::size_t k = 0; k < found && candidates.size < wanted; ++k) {
        const std::size_t i = keys[k] >> 8 & 255, j = keys[k] & 255;
        if (uses_of_first[i] == kMaxPairsOfMinutia || uses_of_second[j] == kMaxPairsOfMinutia) continue;
        ++uses_of_first[i];
        ++uses_of_second[j];
        CandidateArrays& arrays = candidates.arrays;
        const std::size_t c = candidates.size++;
        candidates.similarity[c] = similarity_of[static_cast<std::uint8_t>(255 - (keys[k] >> 16))];
        arrays.first[c] = static_cast<std::int32_t>(i);
        arrays.second[c] = static_cast<std::int32_t>(j);
        arrays.first_x[c] = workspace.first.x[i];
        arrays.first_y[c] = workspace.first.y[i];
        arrays.second_x[c] = workspace.second.x[j];
        arrays.second_y[c] = workspace.second.y[j];
        arrays.first_direction[c] = roles.first.direction()[i];
        arrays.second_direction[c] = roles.second.direction()[j];
        arrays.first_cosine[c] = cosine(roles.first.direction()[i]);
        arrays.first_sine[c] = sine(roles.first.direction()[i]);
        arrays.second_cosine[c] = cosine(roles.second.direction()[j]);
        arrays.second_sine[c] = sine(roles.second.direction()[j]);
    }
}

void relax_candidates(Workspace& workspace) {
    Candidates& c = workspace.candidates;
    kernels().compatibilities(c.arrays, c.size, c.compatibility.data());
    for (std::size_t a = 0; a < c.size; ++a) c.support[a] = std::max(0.0F, c.similarity[a] - kNeutralSimilarity);
    const float gain = kRelaxationGain / static_cast<float>(std::max<std::size_t>(1, c.size - 1));
    std::array<float, kMaxCandidates> next;
    for (int round = 0; round < kRelaxationRounds; ++round) {
        kernels().relax(c.compatibility.data(), c.support.data(), c.size, gain, next.data());
        std::copy_n(next.begin(), c.size, c.support.begin());
    }
    const auto end = c.by_support.begin() + static_cast<std::ptrdiff_t>(c.size);
    std::iota(c.by_support.begin(), end, std::uint8_t{0});
    std::sort(c.by_support.begin(), end, [&](std::uint8_t a, std::uint8_t b) {
        return c.support[a] != c.support[b] ? c.support[a] > c.support[b] : a < b;
    });
}

}  // namespace abis
