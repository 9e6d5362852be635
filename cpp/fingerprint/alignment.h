// SPDX-License-Identifier: Apache-2.0
// Laying the first template on the second: a rotation and a shift by consensus of the anchors, then bent
// after their residuals, so that tolerance follows the skin's distortion.
#pragma once

#include "fingerprint/workspace.h"

namespace abis {

// The anchors of a hypothesis: the seed candidate and the candidates compatible with it, each minutia once.
// Sets in_group[c] for each candidate taken.
void anchor_on_seed(std::size_t seed, std::array<bool, parameters::kMaxCandidates>& in_group, Workspace& workspace);

// The anchors of the next round: the pairs found by the last one.
void anchor_on_pairing(const Roles& roles, const Pairing& pairing, Workspace& workspace);

// Moves and bends the first template by the anchors; `rotation` is where their directions point.
void align(const Roles& roles, Angle rotation, Workspace& workspace, Alignment& alignment);

// The mean rotation from first to second over the pairs' directions.
Angle mean_rotation(const Roles& roles, const Pairing& pairing);

}  // namespace abis
