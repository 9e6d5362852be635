// SPDX-License-Identifier: Apache-2.0
#include "pairing.h"

#include <algorithm>
#include <cmath>

#include "similarity.h"

namespace abis {

using namespace parameters;

void pair_minutiae(const Roles& roles, Workspace& w) {
    const std::size_t n = roles.first.size(), m = roles.second.size(), stride = roles.second.stride();
    const Alignment& alignment = w.alignment;
    std::size_t found = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float x = alignment.moved.x[i], y = alignment.moved.y[i];
        const auto direction = static_cast<Angle>(roles.first.direction()[i] + alignment.rotation);
        // Minutiae are sorted by x, so those within reach are neighbours in the array.
        const float* begin = w.second.x;
        const auto j0 = static_cast<std::size_t>(std::lower_bound(begin, begin + m, x - kPairingDistance) - begin);
        for (std::size_t j = j0; j < m && w.second.x[j] <= x + kPairingDistance; ++j) {
            const float dx = x - w.second.x[j], dy = y - w.second.y[j];
            const float distance2 = (dx * dx + dy * dy) * (1 / (kPairingDistance * kPairingDistance));
            if (distance2 > 1) continue;
            const float turn = static_cast<float>(angle_difference(direction, roles.second.direction()[j])) * (1 / kPairingAngle);
            if (turn * turn > 1) continue;
            const float closeness = (1 - 0.5F * distance2) * (1 - 0.5F * turn * turn);
            const float similarity = similarity_of[w.similarity[i * stride + j]];
            w.offers[found++] = {closeness * (0.5F + similarity), closeness,
                                 {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(j)}};
        }
    }
    std::sort(w.offers.begin(), w.offers.begin() + static_cast<std::ptrdiff_t>(found), [](const Offer& a, const Offer& b) {
        if (a.merit != b.merit) return a.merit > b.merit;
        return a.pair.first != b.pair.first ? a.pair.first < b.pair.first : a.pair.second < b.pair.second;
    });
    Pairing& pairing = w.pairing;
    pairing.size = 0;
    pairing.merit = 0;
    pairing.partner_of_first.fill(-1);
    pairing.partner_of_second.fill(-1);
    for (std::size_t k = 0; k < found; ++k) {
        const auto [i, j] = w.offers[k].pair;
        if (pairing.partner_of_first[i] >= 0 || pairing.partner_of_second[j] >= 0) continue;
        pairing.partner_of_first[i] = j;
        pairing.partner_of_second[j] = i;
        pairing.merit += w.offers[k].merit;
        pairing.pairs[pairing.size] = {i, j};
        pairing.closeness[pairing.size++] = w.offers[k].closeness;
    }
}

}  // namespace abis
