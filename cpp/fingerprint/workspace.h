// SPDX-License-Identifier: Apache-2.0
// What one thread needs to compare two templates, allocated once and used for every comparison.
#pragma once

#include <array>
#include <cstdint>

#include "fingerprint/columns.h"
#include "fingerprint/kernels.h"
#include "fingerprint/overlap.h"
#include "fingerprint/prepared.h"

namespace abis {

// Two templates in the roles that make a comparison symmetric: the smaller one first, whoever is the probe.
struct Roles {
    PreparedView first, second;
    bool swapped;  // the reference is the first
};

// A minutia of the first template with one of the second.
struct Pair {
    std::uint8_t first, second;
};

// Minutiae of one template as floats.
struct Points {
    static constexpr std::size_t kRoom = parameters::kMaxMinutiae + 1;
    alignas(64) float x[kRoom], y[kRoom];
};

// Pairs of minutiae, each in one pair at most.
struct Pairing {
    std::size_t size = 0;
    float merit = 0;  // sum over the pairs of closeness and similarity
    std::array<Pair, parameters::kMaxMinutiae> pairs;
    std::array<float, parameters::kMaxMinutiae> closeness;  // in (0, 1], of place and direction
    std::array<std::int16_t, parameters::kMaxMinutiae> partner_of_first, partner_of_second;  // or -1
};

// The first template laid on the second.
struct Alignment {
    float cosine, sine;  // of the rotation
    Angle rotation;      // the same
    Points moved;        // where the first template's minutiae come to lie
};

// One way the finger may have moved, and what then lies together.
struct Attempt {
    Alignment alignment;
    Pairing pairing;
};

struct Candidates {
    std::size_t size = 0;
    std::array<float, parameters::kMaxCandidates> similarity, support;
    std::array<std::uint8_t, parameters::kMaxCandidates> by_support;  // indices, best first
    CandidateArrays arrays;
    alignas(64) std::array<float, parameters::kMaxCandidates * parameters::kMaxCandidates> compatibility;
};

// Two minutiae within reach of each other.
struct Offer {
    float merit, closeness;
    Pair pair;
};

struct Workspace {
    alignas(64) std::array<std::uint8_t, parameters::kMaxMinutiae*(parameters::kMaxMinutiae + 1)> similarity;
    Points first, second;
    std::array<std::uint32_t, parameters::kMaxMinutiae * parameters::kMaxMinutiae> candidate_keys;
    Candidates candidates;
    AnchorArrays anchors;
    std::array<float, AnchorArrays::kRoom> anchor_weight;
    std::array<float, AnchorArrays::kRoom> anchor_to_x, anchor_to_y;
    Hull second_hull;
    Columns second_columns;
    std::array<Offer, parameters::kMaxMinutiae * parameters::kMaxMinutiae> offers;  // room for every pair
    std::array<Attempt, parameters::kMaxSeeds> attempts;
};

}  // namespace abis
