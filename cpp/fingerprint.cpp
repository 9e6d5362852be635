// SPDX-License-Identifier: Apache-2.0
// The comparison, step by step; each step has a file of its own.
#include "fingerprint.h"

#include <algorithm>
#include <cstring>

#include "alignment.h"
#include "candidates.h"
#include "overlap.h"
#include "pairing.h"
#include "score.h"
#include "votes.h"

namespace abis {
namespace {

using namespace parameters;

// Orders two templates of one size by their content, wherever on the image the finger lay.
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
    const auto places = [n](const std::int16_t* one, const std::int16_t* other) {
        for (std::size_t i = 0; i < n; ++i) {
            if (const int difference = (one[i] - one[0]) - (other[i] - other[0])) return difference;
        }
        return 0;
    };
    if (const int order = places(a.x(), b.x())) return order;
    return places(a.y(), b.y());
}

// The smaller template comes first, so that a comparison does not depend on who asks.
Roles assign_roles(const PreparedView& probe, const PreparedView& reference) {
    const bool swapped =
        probe.size() != reference.size() ? probe.size() > reference.size() : order_of(probe, reference) > 0;
    if (swapped) return {reference, probe, true};
    return {probe, reference, false};
}

// Places are counted from the first minutia, so that rounding does not depend on where the finger lay.
void unpack(const PreparedView& view, Points& points) {
    for (std::size_t i = 0; i < view.size(); ++i) {
        points.x[i] = static_cast<float>(view.x()[i] - view.x()[0]);
        points.y[i] = static_cast<float>(view.y()[i] - view.y()[0]);
    }
}

// One way the finger may have moved: a candidate and those compatible with it.
struct Hypothesis {
    std::size_t seed;
    float promise;
};

// Lays the first template on the second by the anchors and pairs what then lies together.
void align_and_pair(const Roles& roles, Angle rotation, Workspace& w) {
    align(roles, rotation, w);
    pair_minutiae(roles, w);
}

void start(const Roles& roles, std::size_t seed, std::array<bool, kMaxCandidates>& in_group, Workspace& w) {
    anchor_on_seed(seed, in_group, w);
    const CandidateArrays& candidates = w.candidates.arrays;
    align_and_pair(roles, static_cast<Angle>(candidates.second_direction[seed] - candidates.first_direction[seed]), w);
}

// The most promising ways the finger may have moved, best first.
std::size_t propose(const Roles& roles, Workspace& w, std::array<Hypothesis, kMaxSeeds>& hypotheses) {
    std::array<bool, kMaxCandidates> in_group{};
    std::size_t found = 0;
    for (std::size_t k = 0; k < w.candidates.size && found < kMaxSeeds; ++k) {
        const std::size_t seed = w.candidates.by_support[k];
        if (in_group[seed]) continue;
        start(roles, seed, in_group, w);
        hypotheses[found++] = {seed, w.pairing.merit};
    }
    std::stable_sort(hypotheses.begin(), hypotheses.begin() + static_cast<std::ptrdiff_t>(found),
                     [](const Hypothesis& a, const Hypothesis& b) { return a.promise > b.promise; });
    return std::min(found, kMaxPursued);
}

// Aligns again on the pairs that the last alignment found, a few times.
void pursue(const Roles& roles, std::size_t seed, Workspace& w) {
    std::array<bool, kMaxCandidates> in_group{};
    start(roles, seed, in_group, w);
    for (int round = 1; round < kAlignmentRounds && w.pairing.size >= 2; ++round) {
        anchor_on_pairing(roles, w);
        align_and_pair(roles, mean_rotation(roles, w.pairing), w);
    }
}

}  // namespace

Comparison compare(const PreparedView& probe, const PreparedView& reference, float cutoff, Workspace& w) {
    const Roles roles = assign_roles(probe, reference);
    Comparison best{.evidence = {}, .score = 0, .swapped = roles.swapped};
    const auto give_up = [&](float bound) {
        best.score = bound;
        return best;
    };
    w.best_pairing.size = 0;
    if (roles.first.size() == 0) return give_up(score(best.evidence));

    kernels().similarities(roles.first, roles.second, w.similarity.data());
    best.evidence.votes = rotation_votes(roles, w.similarity.data());
    const float most_by_votes = bound_by_votes(best.evidence);
    if (most_by_votes < cutoff) return give_up(most_by_votes);

    unpack(roles.first, w.first);
    unpack(roles.second, w.second);
    choose_candidates(roles, w);
    relax_candidates(w);
    gather_candidate_evidence(roles, w, best.evidence);
    const float most_by_relaxation = std::min(most_by_votes, bound_by_relaxation(best.evidence));
    if (most_by_relaxation < cutoff) return give_up(most_by_relaxation);

    w.second_hull = Hull(w.second.x, w.second.y, roles.second.size(), kOverlapMargin);
    std::array<Hypothesis, kMaxSeeds> hypotheses;
    const std::size_t pursued = propose(roles, w, hypotheses);
    for (std::size_t h = 0; h < pursued; ++h) {
        pursue(roles, hypotheses[h].seed, w);
        Evidence evidence = best.evidence;
        gather_pairing_evidence(roles, w, evidence);
        if (h == 0 || merit(evidence) > merit(best.evidence)) {
            best.evidence = evidence;
            w.best_pairing = w.pairing;
        }
    }
    best.score = std::min(score(best.evidence), most_by_relaxation);
    return best;
}

}  // namespace abis
