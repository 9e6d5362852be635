// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/votes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "fingerprint/similarity.h"

namespace abis {
namespace {

// Where a row holds its largest byte first.
std::size_t first_of(const std::uint8_t* row, std::uint8_t largest) {
    for (std::size_t j0 = 0;; j0 += kLanes) {
        std::uint64_t eight;
        std::memcpy(&eight, row + j0, sizeof eight);
        const std::uint64_t found = at_least(eight, largest);
        if (found != 0) return j0 + static_cast<std::size_t>(std::countr_zero(found)) / 8;
    }
}

}  // namespace

float rotation_votes(const Roles& roles, const std::uint8_t* similarity) {
    constexpr int kBins = parameters::kVoteBins, kBinUnits = 256 / kBins;
    static_assert(kLanes == sizeof(std::uint64_t));
    std::array<int, kBins + 2> bins{};  // the first and last repeat, so that neighbours need no wrapping
    const std::size_t stride = roles.second.stride();
    std::array<std::uint8_t, parameters::kMaxMinutiae> most_similar;
    kernels().row_maxima(similarity, roles.first.size(), stride, most_similar.data());
    for (std::size_t i = 0; i < roles.first.size(); ++i) {
        if (most_similar[i] < kVoteByte) continue;
        const std::size_t j = first_of(similarity + i * stride, most_similar[i]);
        const auto turn = static_cast<Angle>(roles.first.direction()[i] - roles.second.direction()[j] + kBinUnits / 2);
        bins[1 + turn / kBinUnits] += most_similar[i] - (kVoteByte - 1);
    }
    bins.front() = bins[kBins];
    bins.back() = bins[1];
    int most = 0;
    for (std::size_t b = 1; b <= kBins; ++b) most = std::max(most, bins[b - 1] + 2 * bins[b] + bins[b + 1]);
    const float pairs = static_cast<float>(roles.first.size() * roles.second.size()) + parameters::kVotePrior;
    const float root = std::sqrt(pairs);
    return 0.5F * static_cast<float>(most) / (root * std::sqrt(root));
}

}  // namespace abis
