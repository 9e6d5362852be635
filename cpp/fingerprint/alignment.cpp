// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/alignment.h"

#include <cmath>

#include "fingerprint/similarity.h"

namespace abis {
namespace {

using namespace parameters;

void add_anchor(Workspace& w, std::size_t i, std::size_t j, float weight) {
    const std::size_t a = w.anchors.size++;
    w.anchors.x[a] = w.first.x[i];
    w.anchors.y[a] = w.first.y[i];
    w.anchor_to_x[a] = w.second.x[j];
    w.anchor_to_y[a] = w.second.y[j];
    w.anchor_weight[a] = weight;
}

}  // namespace

void anchor_on_seed(std::size_t seed, std::array<bool, kMaxCandidates>& in_group, Workspace& w) {
    const Candidates& c = w.candidates;
    std::array<bool, kMaxMinutiae> first_taken{}, second_taken{};
    w.anchors.size = 0;
    for (std::size_t k = 0; k < c.size; ++k) {
        const std::size_t b = c.by_support[k];
        const float compatibility = b == seed ? 1.0F : c.compatibility[seed * kMaxCandidates + b];
        if (compatibility < kAnchorCompatibility) continue;
        const auto i = static_cast<std::size_t>(c.arrays.first[b]), j = static_cast<std::size_t>(c.arrays.second[b]);
        if (first_taken[i] || second_taken[j]) continue;
        first_taken[i] = second_taken[j] = true;
        in_group[b] = true;
        constexpr float kLeastWeight = 1e-6F;
        add_anchor(w, i, j, c.support[b] * compatibility + kLeastWeight);
    }
}

void anchor_on_pairing(const Roles& roles, const Pairing& pairing, Workspace& w) {
    w.anchors.size = 0;
    for (std::size_t p = 0; p < pairing.size; ++p) {
        const auto [i, j] = pairing.pairs[p];
        const float similarity = similarity_of[w.similarity[i * roles.second.stride() + j]];
        const float both = roles.first.reliability()[i] * 0.01F * (roles.second.reliability()[j] * 0.01F);
        add_anchor(w, i, j, std::sqrt(both) * pairing.closeness[p] * (kAnchorBaseWeight + similarity));
    }
}

void align(const Roles& roles, Angle rotation, Workspace& w, Alignment& alignment) {
    AnchorArrays& anchors = w.anchors;
    float sum = 0, from_x = 0, from_y = 0, to_x = 0, to_y = 0;
    for (std::size_t a = 0; a < anchors.size; ++a) {
        const float weight = w.anchor_weight[a];
        sum += weight;
        from_x += weight * anchors.x[a];
        from_y += weight * anchors.y[a];
        to_x += weight * w.anchor_to_x[a];
        to_y += weight * w.anchor_to_y[a];
    }
    from_x /= sum;
    from_y /= sum;
    to_x /= sum;
    to_y /= sum;

    // Least squares in closed form; the directions' rotation steadies it where anchors lie close together.
    float along = sum * kDirectionPrior * cosine(rotation), across = sum * kDirectionPrior * sine(rotation);
    for (std::size_t a = 0; a < anchors.size; ++a) {
        const float ux = anchors.x[a] - from_x, uy = anchors.y[a] - from_y;
        const float vx = w.anchor_to_x[a] - to_x, vy = w.anchor_to_y[a] - to_y;
        along += w.anchor_weight[a] * (ux * vx + uy * vy);
        across += w.anchor_weight[a] * (ux * vy - uy * vx);
    }
    const float length = std::sqrt(along * along + across * across);
    alignment.cosine = length > 0 ? along / length : 1.0F;
    alignment.sine = length > 0 ? across / length : 0.0F;
    alignment.rotation = angle_of(alignment.cosine, alignment.sine);
    const float shift_x = to_x - (alignment.cosine * from_x - alignment.sine * from_y);
    const float shift_y = to_y - (alignment.sine * from_x + alignment.cosine * from_y);

    for (std::size_t a = 0; a < anchors.size; ++a) {
        const float x = alignment.cosine * anchors.x[a] - alignment.sine * anchors.y[a] + shift_x;
        const float y = alignment.sine * anchors.x[a] + alignment.cosine * anchors.y[a] + shift_y;
        anchors.residual_x[a] = w.anchor_to_x[a] - x;
        anchors.residual_y[a] = w.anchor_to_y[a] - y;
    }

    const std::size_t n = roles.first.size();
    for (std::size_t i = 0; i < n; ++i) {
        alignment.moved.x[i] = alignment.cosine * w.first.x[i] - alignment.sine * w.first.y[i] + shift_x;
        alignment.moved.y[i] = alignment.sine * w.first.x[i] + alignment.cosine * w.first.y[i] + shift_y;
    }
    kernels().bend(anchors, w.first.x, w.first.y, n, alignment.moved.x, alignment.moved.y);
}

Angle mean_rotation(const Roles& roles, const Pairing& pairing) {
    float c = 0, s = 0;
    for (std::size_t p = 0; p < pairing.size; ++p) {
        const auto [i, j] = pairing.pairs[p];
        const auto turn = static_cast<Angle>(roles.second.direction()[j] - roles.first.direction()[i]);
        c += pairing.closeness[p] * cosine(turn);
        s += pairing.closeness[p] * sine(turn);
    }
    return angle_of(c, s);
}

}  // namespace abis
