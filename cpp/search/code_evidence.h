// SPDX-License-Identifier: Apache-2.0
// What codes say for one finger, before anything is compared in full. Natural log units.
#pragma once

#include <array>

#include "fingerprint/workspace.h"
#include "search/code.h"
#include "search/code_kernels.h"

namespace abis {

struct PoseWorkspace {
    std::array<Minutia, parameters::kMaxMinutiae> reference;                        // its minutiae with codes
    std::array<std::uint64_t, parameters::kMaxMinutiae + kLanes> first;             // words of the reference's codes
    std::array<CodeHit, parameters::kMaxMinutiae * parameters::kMaxMinutiae> hits;  // room for every pair
    CandidateArrays arrays;
    alignas(64) std::array<float, parameters::kMaxCandidates * parameters::kMaxCandidates> compatibility;
};

// Of `slots` references: pairs with like first words that agree on how the finger was turned, which is not far.
// `begins` says where each one's codes begin, and the last one's end.
void evidence_of_upright_votes(const CodedProbe& probe, const SectorsView& references, const std::uint32_t* begins,
                               std::size_t slots, SlotVotes& votes, float* evidence);

// Pairs with like second words that agree on how the finger was turned.
float evidence_of_votes(const CodedProbe& probe, const CodedView& reference);

// Pairs with like codes that agree on how the finger lies. The workspace holds the reference's minutiae with codes.
float evidence_of_poses(const CodedProbe& probe, const CodedView& reference, PoseWorkspace& workspace);

}  // namespace abis
