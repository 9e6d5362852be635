// SPDX-License-Identifier: Apache-2.0
// The one number that stands for a comparison.
#pragma once

#include "evidence.h"

namespace abis {

// Larger is more alike; a logit up to an offset. Monotone in each term.
float score(const Evidence& evidence);

}  // namespace abis
