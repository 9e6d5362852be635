// SPDX-License-Identifier: Apache-2.0
// The loops over codes where a search of a whole index spends its time, by the instructions of this CPU; their bodies
// are in code_kernels-inl.h.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fingerprint/cylinder.h"
#include "fingerprint/prepared.h"
#include "search/code.h"
#include "search/code_projection.h"
#include "search/sectors.h"

namespace abis {

// The codes of one reference's minutiae, of those that have one; kLanes - 1 words beyond the last may be read. Votes
// need no first words.
struct CodedView {
    std::size_t size;
    const std::uint64_t *first, *second;
    const Angle* direction;
};

// A minutia of the probe, by its place in CodedProbe, one of the reference, and what they say for one finger.
struct CodeHit {
    std::int16_t worth;  // in 1 / kWorthScale natural log units, commonness taken off
    std::uint8_t probe, reference;
};

// What pairs are worth by first words, for each bin of rotation and slot of a table of sectors, in 1 / kWorthScale
// natural log units.
using SlotVotes = std::array<std::array<std::int16_t, kSectorSlots>, parameters::kVoteBins>;

struct CodeKernels {
    void (*encode)(const Cylinder* cylinders, std::size_t n, MinutiaCode* codes);
    // The number of words that differ from one by `most` bits or fewer.
    std::size_t (*near_words)(std::uint64_t own, std::uint64_t most, const std::uint64_t* words, std::size_t n);
    // The most that pairs of one rotation, give or take a bin, are worth, less the price of that rotation, in
    // 1 / (2 kWorthScale) natural log units: of each slot by first words, fingers hardly turned, ...
    void (*upright_votes)(const CodedProbe& probe, const SectorsView& references, SlotVotes& votes, std::int16_t* most);
    // ... and of one reference by second words, however it is turned.
    int (*votes)(const CodedProbe& probe, const CodedView& reference);
    // All pairs that say something by both words; returns how many. There is room for every pair.
    std::size_t (*hits)(const CodedProbe& probe, const CodedView& reference, CodeHit* hits);
};

const CodeKernels& code_kernels();

// What each bin of rotation costs, in 1 / (2 kWorthScale) natural log units: fingers are rarely presented turned.
inline constexpr std::array<int, parameters::kVoteBins> kRotationPrice = [] {
    using namespace parameters;
    std::array<int, kVoteBins> price{};
    for (int bin = 0; bin < kVoteBins; ++bin) {
        const float turn = static_cast<float>(std::min(bin, kVoteBins - bin)) / kVoteBins;
        price[static_cast<std::size_t>(bin)] =
            static_cast<int>(2 * kWorthScale * kScreenRotationPrice * std::min(1.0F, turn / kMostRotation));
    }
    return price;
}();

struct VoteBins {
    std::array<int, parameters::kVoteBins> worth{};
    std::uint32_t voted = 0;  // a bit for each bin
};
static_assert(parameters::kVoteBins == 32);

// Bins beside which nothing has voted have nothing but their price.
inline int most_votes(const VoteBins& bins) {
    constexpr std::size_t kLast = parameters::kVoteBins - 1;
    int most = 0;
    for (std::uint32_t left = bins.voted | std::rotl(bins.voted, 1) | std::rotr(bins.voted, 1); left != 0;
         left &= left - 1) {
        const auto b = static_cast<std::size_t>(std::countr_zero(left));
        const int worth = bins.worth[(b - 1) & kLast] + 2 * bins.worth[b] + bins.worth[(b + 1) & kLast];
        most = std::max(most, worth - kRotationPrice[b]);
    }
    return most;
}

}  // namespace abis
