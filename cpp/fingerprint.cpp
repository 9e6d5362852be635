// SPDX-License-Identifier: Apache-2.0
// The comparison, step by step; each step has a file of its own.
#include "fingerprint.h"

#include <cstring>

#include "alignment.h"
#include "candidates.h"
#include "pairing.h"
#include "score.h"

namespace abis {
namespace {

using namespace parameters;

// Orders two templates by nothing but their content, so that a comparison does not depend on who asks.
Roles assign_roles(const PreparedView& probe, const PreparedView& reference) {
    int order = probe.size() < reference.size() ? -1 : probe.size() > reference.size();
    if (order == 0) order = std::memcmp(probe.words(), reference.words(), PreparedView::bytes(probe.size()));
    if (order > 0) return {reference, probe, true};
    return {probe, reference, false};
}

void unpack(const PreparedView& view, Points& points) {
    for (std::size_t i = 0; i < view.size(); ++i) {
        points.x[i] = view.x()[i];
        points.y[i] = view.y()[i];
    }
}

// One hypothesis: aligned on the seed's anchors, then on the pairs that alignment finds, and so on.
void pursue(const Roles& roles, std::size_t seed, std::array<bool, kMaxCandidates>& in_group, Workspace& w) {
    anchor_on_seed(seed, in_group, w);
    auto rotation = static_cast<Angle>(w.candidates.arrays.second_direction[seed] - w.candidates.arrays.first_direction[seed]);
    for (int round = 0; round < kAlignmentRounds; ++round) {
        align(roles, rotation, w);
        pair_minutiae(roles, w);
        if (round + 1 == kAlignmentRounds || w.pairing.size < 2) break;
        anchor_on_pairing(roles, w);
        rotation = mean_rotation(roles, w.pairing);
    }
}

}  // namespace

Comparison compare(const PreparedView& probe, const PreparedView& reference, Workspace& w) {
    const Roles roles = assign_roles(probe, reference);
    Comparison best{.evidence = {}, .score = 0, .swapped = roles.swapped};
    w.best_pairing.size = 0;
    if (roles.first.size() == 0) {
        best.score = score(best.evidence);
        return best;
    }
    unpack(roles.first, w.first);
    unpack(roles.second, w.second);
    kernels().similarities(roles.first, roles.second, w.similarity.data());
    choose_candidates(roles, w);
    relax_candidates(w);
    gather_candidate_evidence(roles, w, best.evidence);

    std::array<bool, kMaxCandidates> in_group{};
    std::size_t hypotheses = 0;
    for (std::size_t k = 0; k < w.candidates.size && hypotheses < kMaxSeeds; ++k) {
        const std::size_t seed = w.candidates.by_support[k];
        if (in_group[seed]) continue;
        pursue(roles, seed, in_group, w);
        Evidence evidence = best.evidence;
        gather_pairing_evidence(roles, w, evidence);
        if (hypotheses++ == 0 || merit(evidence) > merit(best.evidence)) {
            best.evidence = evidence;
            w.best_alignment = w.alignment;
            w.best_pairing = w.pairing;
        }
    }
    best.score = score(best.evidence);
    return best;
}

}  // namespace abis
