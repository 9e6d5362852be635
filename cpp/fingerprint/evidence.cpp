// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/evidence.h"

#include <algorithm>
#include <cmath>

#include "fingerprint/overlap.h"
#include "fingerprint/similarity.h"

namespace abis {
namespace {

using namespace parameters;

// ln x by its series about 1 after halving; the C library's log differs from CPU to CPU.
double natural_log(double x) {
    int doublings = 0;
    for (; x > 1.5; x /= 2) ++doublings;
    for (; x < 0.75; x *= 2) --doublings;
    const double z = (x - 1) / (x + 1);
    double term = z, sum = 0;
    for (int k = 1; k < 40; k += 2, term *= z * z) sum += term / k;
    return 2 * sum + doublings * std::numbers::ln2;
}

// How many candidates the means are taken over: 4 to 12, more for larger templates [MCC, equation 23].
std::size_t leading_candidates(std::size_t smaller) {
    const float wanted = kFewestLeading + kLeadingGrowth * (static_cast<float>(smaller) - kLeadingFrom);
    return static_cast<std::size_t>(std::lround(std::clamp(wanted, kFewestLeading, kMostLeading)));
}

// The log of how much likelier a pair is at no distance and no turn, if the prints are of one finger, than
// by chance where `count` minutiae of fitting direction lie around.
struct PairPeak {
    std::array<float, kMaxMinutiae + 1> by_count;
    PairPeak() {
        const double area = std::numbers::pi * kBackgroundRadius * kBackgroundRadius;
        const double turns = 2.0 * kBackgroundAngle;
        const double density_if_mated = kFoundAgain / (2 * std::numbers::pi * kPositionSigma * kPositionSigma) /
                                        (std::sqrt(2 * std::numbers::pi) * kDirectionSigma);
        for (std::size_t count = 0; count < by_count.size(); ++count) {
            const double density_by_chance = (static_cast<double>(count) + kBackgroundPrior) / (area * turns);
            by_count[count] = static_cast<float>(natural_log(density_if_mated / density_by_chance));
        }
    }
};

float fourth_power(float x) { return x * x * (x * x); }

// Minutiae of the second template around (x, y) whose direction would fit.
std::size_t background(const Roles& roles, const Workspace& w, float x, float y, Angle direction) {
    const std::size_t m = roles.second.size();
    std::size_t count = 0;
    for (std::size_t j = w.second_columns.first_from(x - kBackgroundRadius);
         j < m && w.second.x[j] <= x + kBackgroundRadius; ++j) {
        const float dx = x - w.second.x[j], dy = y - w.second.y[j];
        const float turn = static_cast<float>(angle_difference(direction, roles.second.direction()[j]));
        count += (dx * dx + dy * dy <= kBackgroundRadius * kBackgroundRadius) &
                 (turn * turn <= kBackgroundAngle * kBackgroundAngle);
    }
    return count;
}

}  // namespace

void gather_candidate_evidence(const Roles& roles, const Workspace& w, Evidence& e) {
    const Candidates& c = w.candidates;
    const std::size_t wanted = leading_candidates(roles.first.size()), taken = std::min(wanted, c.size);
    float support = 0;
    for (std::size_t k = 0; k < taken; ++k) support += c.support[c.by_support[k]];
    // The more pairs there are, the better the best of them are by chance.
    const auto pairs = static_cast<float>(roles.first.size() * roles.second.size());
    e.relaxation = support / static_cast<float>(wanted) / std::sqrt(pairs + kRelaxationPrior);
}

void gather_pairing_evidence(const Roles& roles, const Workspace& w, const Attempt& attempt, Evidence& e) {
    static const PairPeak peak;
    const auto& [alignment, pairing] = attempt;
    const std::size_t n = roles.first.size(), m = roles.second.size(), stride = roles.second.stride();
    const Hull first_hull(alignment.moved.x, alignment.moved.y, n, kOverlapMargin);

    float support = 0, missed = 0, overlapping = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float x = alignment.moved.x[i], y = alignment.moved.y[i];
        const float own = roles.first.reliability()[i] * 0.01F;
        const int partner = pairing.partner_of_first[i];
        if (partner < 0) {
            if (!w.second_hull.contains(x, y)) continue;
            missed += fourth_power(own);
            overlapping += own;
            continue;
        }
        const auto j = static_cast<std::size_t>(partner);
        const auto direction = static_cast<Angle>(roles.first.direction()[i] + alignment.rotation);
        const float dx = x - w.second.x[j], dy = y - w.second.y[j];
        const float turn = static_cast<float>(angle_difference(direction, roles.second.direction()[j]));
        const float similarity = similarity_of[w.similarity[i * stride + j]];
        const float log_ratio = peak.by_count[background(roles, w, x, y, direction)] -
                                (dx * dx + dy * dy) * (0.5F / (kPositionSigma * kPositionSigma)) -
                                turn * turn * (0.5F / (kDirectionSigma * kDirectionSigma)) +
                                kSimilarityGain * (similarity - kExpectedSimilarity);
        const float other = roles.second.reliability()[j] * 0.01F;
        support += std::sqrt(std::sqrt(own * other)) * std::clamp(log_ratio, 0.0F, kMostSupport);
        overlapping += own + other;
    }
    for (std::size_t j = 0; j < m; ++j) {
        if (pairing.partner_of_second[j] < 0 && first_hull.contains(w.second.x[j], w.second.y[j])) {
            const float own = roles.second.reliability()[j] * 0.01F;
            missed += fourth_power(own);
            overlapping += own;
        }
    }
    e.pairs = static_cast<float>(pairing.size);
    e.support = support;
    e.missed = missed;
    e.overlapping = overlapping;
    e.rotation = std::fabs(static_cast<float>(angle_difference(alignment.rotation, 0))) / 256.0F;
}

float merit(const Evidence& evidence) { return evidence.support - kSelectionMissCost * evidence.missed; }

}  // namespace abis
