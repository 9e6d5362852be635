// SPDX-License-Identifier: Apache-2.0
// The pairs of minutiae that look most alike, and how far they support each other.
#pragma once

#include "fingerprint/workspace.h"

namespace abis {

// Picks the most similar pairs, few of them for any one minutia.
void choose_candidates(const Roles& roles, Workspace& workspace);

// Lets candidates that agree on how the finger moved raise each other [MCC, section 4.2]. A pair begins with its
// similarity times the root of its minutiae's reliabilities.
void relax_candidates(const Roles& roles, Workspace& workspace);

}  // namespace abis
