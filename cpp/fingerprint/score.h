// SPDX-License-Identifier: Apache-2.0
// The one number that stands for a comparison.
#pragma once

#include <cstddef>

#include "fingerprint/evidence.h"

namespace abis {

// The score that an alignment's evidence is worth; larger is more alike.
float score(const Evidence& evidence);

// The most that a comparison can score, by the minutiae of the smaller template, by the rotation votes and by the
// relaxed candidates alone. These are part of the score's definition, it is the least of the four; so a comparison
// may end as soon as one of them falls below what the caller asks for.
float bound_by_size(std::size_t minutiae);
float bound_by_votes(const Evidence& evidence);
float bound_by_relaxation(const Evidence& evidence);

}  // namespace abis
