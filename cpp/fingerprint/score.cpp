// SPDX-License-Identifier: Apache-2.0
#include "fingerprint/score.h"

#include <algorithm>
#include <cmath>

#include "fingerprint/parameters.h"

namespace abis {

using namespace parameters;

// Chance adds up with the root of the minutiae that could pair; fingers are rarely presented turned.
float score(const Evidence& e) {
    return kScoreOffset +
           (kScoreOfSupport * e.support + kScoreOfMissed * e.missed) / std::sqrt(e.overlapping + kOverlapPrior) +
           kScoreOfRotation * std::min(e.rotation, kMostRotation);
}

float bound_by_size(std::size_t minutiae) { return kMostAMinutia * static_cast<float>(minutiae); }

float bound_by_votes(const Evidence& e) { return kVoteBound + kVoteBoundSlope * e.votes; }

float bound_by_relaxation(const Evidence& e) { return kRelaxationBoundSlope * e.relaxation; }

}  // namespace abis
