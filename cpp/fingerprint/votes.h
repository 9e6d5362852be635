// SPDX-License-Identifier: Apache-2.0
// A first look at two templates: do their similar minutiae agree on how the finger was turned?
#pragma once

#include "fingerprint/workspace.h"

namespace abis {

// Each minutia of the first template votes for the turn to its most similar one in the second, by how far their
// similarity exceeds kVoteByte. The most that one turn, give or take a bin, is given; over the number of pairs to the
// power of 3/4, with which what chance adds up to grows.
float rotation_votes(const Roles& roles, const std::uint8_t* similarity);

}  // namespace abis
