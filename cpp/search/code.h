// SPDX-License-Identifier: Apache-2.0
// The neighbourhood of a minutia as a code of 128 bits, few of which differ between mated minutiae. The projection that
// makes the bits, and what equal bits are worth, are learnt: code_projection.h, written by
// benchmarks/fitting/fit_codes.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fingerprint/parameters.h"
#include "fingerprint/template.h"

namespace abis {

struct MinutiaCode {
    std::uint64_t first;  // sufficient for the first look
    std::uint64_t second;
};

// The code of a minutia that tells nothing: it has no neighbours, or it is too uncertain.
const MinutiaCode& empty_code();
bool tells(const MinutiaCode& code);

// The minutiae of a probe whose codes tell something. Votes need the most distinctive minutiae first; poses take any
// order.
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

    // For each sector of references' minutiae: the first minutiae of the probe that vote on it, and for which bin of
    // rotation.
    struct Voter {
        std::uint8_t minutia, bin;
    };
    std::array<std::array<Voter, parameters::kFirstToVote>, parameters::kVoteBins> voters{};
    std::array<std::uint8_t, parameters::kVoteBins> voter_counts{};
};

// One code a minutia, of the cylinders that stand around it. Uncertain minutiae get the empty code, but stand in the
// cylinders of others.
void encode(const std::vector<Minutia>& minutiae, MinutiaCode* codes);

// The probe in the order of votes, and with voters.
CodedProbe coded_probe(const std::vector<Minutia>& minutiae);

}  // namespace abis
