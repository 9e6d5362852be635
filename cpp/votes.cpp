// SPDX-License-Identifier: Apache-2.0
#include "votes.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "similarity.h"

namespace abis {

float rotation_votes(const Roles& roles, const std::uint8_t* similarity) {
    constexpr int kBins = parameters::kVoteBins, kBinUnits = 256 / kBins;
    static_assert(kLanes == sizeof(std::uint64_t));
    std::array<int, kBins + 2> bins{};  // the first and last repeat, so that neighbours need no wrapping
    const std::size_t stride = roles.second.stride();
    const Angle* second_direction = roles.second.direction();
    for (std::size_t i = 0; i < roles.first.size(); ++i) {
        const std::uint8_t* row = similarity + i * stride;
        const Angle direction = roles.first.direction()[i];
        for (std::size_t j0 = 0; j0 < stride; j0 += kLanes) {
            std::uint64_t eight;
            std::memcpy(&eight, row + j0, sizeof eight);
            for (std::uint64_t voters = at_least(eight, kVoteByte); voters != 0; voters &= voters - 1) {
                const std::size_t j = j0 + static_cast<std::size_t>(std::countr_zero(voters)) / 8;
                const Angle turn = static_cast<Angle>(direction - second_direction[j] + kBinUnits / 2);
                bins[1 + turn / kBinUnits] += row[j] - (kVoteByte - 1);
            }
        }
    }
    bins.front() = bins[kBins];
    bins.back() = bins[1];
    int most = 0;
    for (std::size_t b = 1; b <= kBins; ++b) most = std::max(most, bins[b - 1] + 2 * bins[b] + bins[b + 1]);
    const auto pairs = static_cast<float>(roles.first.size() * roles.second.size());
    return 0.5F * static_cast<float>(most) / std::sqrt(pairs + parameters::kVotePrior);
}

}  // namespace abis
