// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/pairing.h"

#include <algorithm>
#include <cmath>

#include "fingerprint/similarity.h"

namespace abis {

using namespace parameters;

void pair_minutiae(const Roles& roles, const Alignment& alignment, Workspace& w, Pairing& pairing) {
    const std::size_t n = roles.first.size(), m = roles.second.size(), stride = roles.second.stride();
    const Angle *first_direction = roles.first.direction(), *second_direction = roles.second.direction();
    const float *second_x = w.second.x, *second_y = w.second.y;
    std::size_t found = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float x = alignment.moved.x[i], y = alignment.moved.y[i];
        const auto direction = static_cast<Angle>(first_direction[i] + alignment.rotation);
        const std::size_t begin = w.second_columns.first_from(x - kPairingDistance);
        for (std::size_t j = begin; j < m && second_x[j] <= x + kPairingDistance; ++j) {
            const float dx = x - second_x[j], dy = y - second_y[j];
            const float distance2 = (dx * dx + dy * dy) * (1 / (kPairingDistance * kPairingDistance));
            const float turn =
                static_cast<float>(angle_difference(direction, second_direction[j])) * (1 / kPairingAngle);
            const float closeness = (1 - 0.5F * distance2) * (1 - 0.5F * turn * turn);
            const float similarity = similarity_of[w.similarity[i * stride + j]];
            w.offers[found] = {closeness * (kPairingBaseMerit + similarity),
                               closeness,
                               {static_cast<std::uint8_t>(i), static_cast<std::uint8_t>(j)}};
            found += (distance2 <= 1) & (turn * turn <= 1);  // no branch: no CPU could predict it
        }
    }
    std::sort(w.offers.begin(), w.offers.begin() + static_cast<std::ptrdiff_t>(found),
              [](const Offer& a, const Offer& b) {
                  if (a.merit != b.merit) return a.merit > b.merit;
                  return a.pair.first != b.pair.first ? a.pair.first < b.pair.first : a.pair.second < b.pair.second;
              });
    pairing.size = 0;
    pairing.merit = 0;
    std::fill_n(pairing.partner_of_first.begin(), n, std::int16_t{-1});
    std::fill_n(pairing.partner_of_second.begin(), m, std::int16_t{-1});
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
