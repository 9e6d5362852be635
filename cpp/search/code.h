// SPDX-License-Identifier: Apache-2.0
// What stands around a minutia in 128 bits, few of which differ between mated minutiae. What they mean and are worth
// is learnt: code_projection.h, written by benchmarks/fit_codes.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/parameters.h"
#include "fingerprint/template.h"

namespace abis {

struct MinutiaCode {
    std::uint64_t first;  // good for a first look by itself
    std::uint64_t second;
};

// Whether this is not the code of a minutia that nothing stands around.
bool tells(const MinutiaCode& code);

// A probe's minutiae that tell something. Votes of an index want those that tell most first; poses take any order.
struct CodedProbe {
    static constexpr std::size_t kRoom = parameters::kMaxMinutiae + 1;  // a whole number of groups
    static constexpr std::size_t kGroup = 8;                            // that the kernels take at a time

    std::size_t size = 0;
    std::array<std::uint64_t, kRoom> first{}, second{};
    // The most bits that may differ for a pair to say something: of the first word, of both; 0 beyond size.
    std::array<std::uint8_t, kRoom> word_limit{}, code_limit{};
    std::array<std::int16_t, kRoom> commonness{};  // how often chance finds its like: taken from what a pair is worth
    std::array<Minutia, kRoom> minutiae{};
    std::array<std::uint8_t, kRoom> place{};  // of each in the template: breaks ties, so that the order does not

    void push(const Minutia& minutia, std::size_t its_place, const MinutiaCode& code, int how_common);

    // Who of the first minutiae votes on references' minutiae of a sector, and for which bin of rotation.
    struct Voter {
        std::uint8_t minutia, bin;
    };
    std::array<std::array<Voter, parameters::kFirstToVote>, parameters::kVoteBins> voters{};
    std::array<std::uint8_t, parameters::kVoteBins> voter_counts{};
};

// One code a minutia, of the cylinders that stand around it.
void encode(const std::vector<Minutia>& minutiae, MinutiaCode* codes);

// The probe in the order that votes want, and with voters.
CodedProbe coded_probe(const std::vector<Minutia>& minutiae);

}  // namespace abis
