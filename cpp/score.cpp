// SPDX-License-Identifier: Apache-2.0
#include "score.h"

#include <cmath>

#include "parameters.h"

namespace abis {

using namespace parameters;

float score(const Evidence& e) {
    const float balance = e.balance;
    return kScoreOffset + kScoreOfBalance * (balance / std::sqrt(kBalanceScale * kBalanceScale + balance * balance)) +
           kScoreOfDensity * (balance / std::sqrt(e.overlapping + kOverlapPrior)) + kScoreOfRotation * e.rotation;
}

float bound_by_votes(const Evidence& e) { return kVoteBound + kVoteBoundSlope * e.votes; }

float bound_by_relaxation(const Evidence& e) { return kRelaxationBound + kRelaxationBoundSlope * e.relaxation; }

}  // namespace abis
