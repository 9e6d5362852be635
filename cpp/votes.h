// SPDX-License-Identifier: Apache-2.0
// A first look at two templates: do their similar minutiae agree on how the finger was turned?
#pragma once

#include "workspace.h"

namespace abis {

// The most similarity that pairs of one rotation, give or take a bin, add up to, each counted by how far its
// byte exceeds kVoteByte; divided by the root of the number of pairs, with which
// what chance adds up to grows.
float rotation_votes(const Roles& roles, const std::uint8_t* similarity);

}  // namespace abis
