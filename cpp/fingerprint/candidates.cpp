// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "fingerprint/similarity.h"

namespace abis {
namespace {

using namespace parameters;

// The least similarity that leaves at least `wanted` pairs, or 1 if there are fewer.
int least_similarity(const Roles& roles, const std::uint8_t* similarity, std::size_t wanted) {
    // Four counts take turns: one alone would wait for its own last addition.
    std::array<std::array<std::uint32_t, 256>, 4> counts{};
    for (std::size_t k = 0; k < roles.first.size() * roles.second.stride(); k += counts.size()) {
        for (std::size_t turn = 0; turn < counts.size(); ++turn) ++counts[turn][similarity[k + turn]];
    }
    std::size_t sum = 0;
    int least = 256;
    while (least > 1 && sum < wanted) {
        --least;
        for (const auto& count : counts) sum += count[static_cast<std::size_t>(least)];
    }
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
        const std::uint8_t* row = workspace.similarity.data() + i * stride;
        for (std::size_t j0 = 0; j0 < stride; j0 += kLanes) {
            std::uint64_t eight;
            std::memcpy(&eight, row + j0, sizeof eight);
            for (std::uint64_t good = at_least(eight, static_cast<unsigned>(least)); good != 0; good &= good - 1) {
                const std::size_t j = j0 + static_cast<std::size_t>(std::countr_zero(good)) / 8;
                if (j >= m) break;  // padding
                keys[found++] = static_cast<std::uint32_t>((255U - row[j]) << 16 | i << 8 | j);
            }
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

void relax_candidates(const Roles& roles, Workspace& workspace) {
    Candidates& c = workspace.candidates;
    kernels().compatibilities(c.arrays, c.size, c.compatibility.data());
    for (std::size_t a = 0; a < c.size; ++a) {
        const auto i = static_cast<std::size_t>(c.arrays.first[a]), j = static_cast<std::size_t>(c.arrays.second[a]);
        const float both = roles.first.reliability()[i] * 0.01F * (roles.second.reliability()[j] * 0.01F);
        c.support[a] = std::sqrt(both) * std::max(0.0F, c.similarity[a] - kNeutralSimilarity);
    }
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
