// SPDX-License-Identifier: Apache-2.0
// Pairing all minutiae, one to one, once the first template lies on the second.
#pragma once

#include "fingerprint/workspace.h"

namespace abis {

// Pairs minutiae that lie within kPairingDistance and kPairingAngle, the closest and most similar first.
void pair_minutiae(const Roles& roles, const Alignment& alignment, Workspace& workspace, Pairing& pairing);

}  // namespace abis
