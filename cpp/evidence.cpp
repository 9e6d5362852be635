// SPDX-License-Identifier: Apache-2.0
#include "evidence.h"

#include <algorithm>
#include <cmath>

#include "overlap.h"
#include "similarity.h"

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

// Minutiae of the second template around (x, y) whose direction would fit.
std::size_t background(const Roles& roles, const Workspace& w, float x, float y, Angle direction) {
    const std::size_t m = roles.second.size();
    const float* begin = w.second.x;
    auto j = static_cast<std::size_t>(std::lower_bound(begin, begin + m, x - kBackgroundRadius) - begin);
    std::size_t count = 0;
    for (; j < m && w.second.x[j] <= x + kBackgroundRadius; ++j) {
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
    float relaxation = 0, local = 0;
    for (std::size_t k = 0; k < taken; ++k) {
        relaxation += c.support[c.by_support[k]];
        local += c.similarity[k];  // candidates stand in the order of similarity
    }
    e.relaxation = relaxation / static_cast<float>(wanted);
    e.local = local / static_cast<float>(wanted);
}

void gather_pairing_evidence(const Roles& roles, const Workspace& w, Evidence& e) {
    static const PairPeak peak;
    const Alignment& alignment = w.alignment;
    const Pairing& pairing = w.pairing;
    const std::size_t n = roles.first.size(), m = roles.second.size(), stride = roles.second.stride();
    const Hull first_hull(alignment.moved.x, alignment.moved.y, n, kOverlapMargin);

    float support = 0, balance = 0, missed = 0, overlapping = 0, similarity_sum = 0, kinds = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const float x = alignment.moved.x[i], y = alignment.moved.y[i];
        const float own = roles.first.reliability()[i] * 0.01F;
        const int partner = pairing.partner_of_first[i];
        if (partner < 0) {
            if (!w.second_hull.contains(x, y)) continue;
            missed += own;
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
        const float other = roles.second.reliability()[j] * 0.01F, both = std::sqrt(own * other);
        support += both * std::max(log_ratio, 0.0F);
        balance += both * std::max(log_ratio, kMostAgainst);
        overlapping += own + other;
        similarity_sum += similarity;
        const std::uint8_t kind = roles.first.kind()[i], other_kind = roles.second.kind()[j];
        if (kind != 0 && other_kind != 0) kinds += kind == other_kind ? 1.0F : -1.0F;
    }
    for (std::size_t j = 0; j < m; ++j) {
        if (pairing.partner_of_second[j] < 0 && first_hull.contains(w.second.x[j], w.second.y[j])) {
            missed += roles.second.reliability()[j] * 0.01F;
        }
    }
    e.pairs = static_cast<float>(pairing.size);
    e.support = support;
    e.balance = balance - kMissCost * missed;
    e.missed = missed;
    e.overlapping = overlapping + missed;
    e.rotation = std::fabs(static_cast<float>(angle_difference(alignment.rotation, 0))) / 256.0F;
    e.residual = alignment.residual;
    e.similarity = similarity_sum;
    e.kinds = kinds;
}

float merit(const Evidence& evidence) { return evidence.support - kSelectionMissCost * evidence.missed; }

}  // namespace abis
