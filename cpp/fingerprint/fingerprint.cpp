// SPDX-License-Identifier: Apache-2.0
// The comparison, step by step; each step has a file of its own.
#include "fingerprint/fingerprint.h"

#include <algorithm>
#include <cstring>

#include "fingerprint/alignment.h"
#include "fingerprint/candidates.h"
#include "fingerprint/overlap.h"
#include "fingerprint/pairing.h"
#include "fingerprint/score.h"
#include "fingerprint/votes.h"

namespace abis {
namespace {

using namespace parameters;

// Orders two templates of one size by their content.
int order_of(const PreparedView& a, const PreparedView& b) {
    const std::size_t n = a.size();
    const auto bytes = [](const void* one, const void* other, std::size_t size) {
        return std::memcmp(one, other, size);
    };
    if (const int order = bytes(a.words(), b.words(), kCylinderWords * a.stride() * sizeof(std::uint64_t)))
        return order;
    if (const int order = bytes(a.direction(), b.direction(), n)) return order;
    if (const int order = bytes(a.kind(), b.kind(), n)) return order;
    if (const int order = bytes(a.reliability(), b.reliability(), n)) return order;
    if (const int order = bytes(a.x(), b.x(), n * sizeof(std::int16_t))) return order;
    return bytes(a.y(), b.y(), n * sizeof(std::int16_t));
}

// The smaller template comes first, so that a comparison does not depend on who asks.
Roles assign_roles(const PreparedView& probe, const PreparedView& reference) {
    const bool swapped =
        probe.size() != reference.size() ? probe.size() > reference.size() : order_of(probe, reference) > 0;
    if (swapped) return {reference, probe, true};
    return {probe, reference, false};
}

void unpack(const PreparedView& view, Points& points) {
    for (std::size_t i = 0; i < view.size(); ++i) {
        points.x[i] = static_cast<float>(view.x()[i]);
        points.y[i] = static_cast<float>(view.y()[i]);
    }
}

// Lays the first template on the second by the anchors and pairs what then lies together.
void align_and_pair(const Roles& roles, Angle rotation, Workspace& w, Attempt& attempt) {
    align(roles, rotation, w, attempt.alignment);
    pair_minutiae(roles, attempt.alignment, w, attempt.pairing);
}

using Attempts = std::array<Attempt*, kMaxSeeds>;

// The most promising ways the finger may have moved, best first: each a candidate and those compatible with it.
std::size_t propose(const Roles& roles, Workspace& w, Attempts& attempts) {
    const CandidateArrays& candidates = w.candidates.arrays;
    std::array<bool, kMaxCandidates> in_group{};
    std::size_t found = 0;
    for (std::size_t k = 0; k < w.candidates.size && found < kMaxSeeds; ++k) {
        const std::size_t seed = w.candidates.by_support[k];
        if (in_group[seed]) continue;
        anchor_on_seed(seed, in_group, w);
        const auto rotation = static_cast<Angle>(candidates.second_direction[seed] - candidates.first_direction[seed]);
        attempts[found] = &w.attempts[found];
        align_and_pair(roles, rotation, w, *attempts[found++]);
    }
    std::stable_sort(attempts.begin(), attempts.begin() + static_cast<std::ptrdiff_t>(found),
                     [](const Attempt* a, const Attempt* b) { return a->pairing.merit > b->pairing.merit; });
    return std::min(found, kMaxPursued);
}

// Aligns again on the pairs that the last alignment found, a few times.
void pursue(const Roles& roles, Workspace& w, Attempt& attempt) {
    for (int round = 1; round < kAlignmentRounds && attempt.pairing.size >= 2; ++round) {
        anchor_on_pairing(roles, attempt.pairing, w);
        align_and_pair(roles, mean_rotation(roles, attempt.pairing), w, attempt);
    }
}

}  // namespace

Comparison compare(const PreparedView& probe, const PreparedView& reference, float cutoff, Workspace& w) {
    const Roles roles = assign_roles(probe, reference);
    Comparison best{.evidence = {}, .score = 0, .pairing = nullptr, .swapped = roles.swapped};
    const auto give_up = [&](float bound) {
        best.score = bound;
        return best;
    };
    if (roles.first.size() == 0) return give_up(score(best.evidence));

    kernels().similarities(roles.first, roles.second, w.similarity.data());
    best.evidence.votes = rotation_votes(roles, w.similarity.data());
    const float most_by_votes = std::min(bound_by_size(roles.first.size()), bound_by_votes(best.evidence));
    if (most_by_votes < cutoff) return give_up(most_by_votes);

    unpack(roles.first, w.first);
    unpack(roles.second, w.second);
    choose_candidates(roles, w);
    relax_candidates(roles, w);
    gather_candidate_evidence(roles, w, best.evidence);
    const float most_by_relaxation = std::min(most_by_votes, bound_by_relaxation(best.evidence));
    if (most_by_relaxation < cutoff) return give_up(most_by_relaxation);

    w.second_columns.assign(w.second.x, roles.second.size());
    w.second_hull = Hull(w.second.x, w.second.y, roles.second.size(), kOverlapMargin);
    Attempts attempts;
    const std::size_t pursued = propose(roles, w, attempts);
    for (std::size_t a = 0; a < pursued; ++a) {
        pursue(roles, w, *attempts[a]);
        Evidence evidence = best.evidence;
        gather_pairing_evidence(roles, w, *attempts[a], evidence);
        if (a == 0 || merit(evidence) > merit(best.evidence)) {
            best.evidence = evidence;
            best.pairing = &attempts[a]->pairing;
        }
    }
    best.score = std::min(score(best.evidence), most_by_relaxation);
    return best;
}

}  // namespace abis
