// SPDX-License-Identifier: Apache-2.0
// One fingerprint compared with another.
#pragma once

#include "fingerprint/evidence.h"
#include "fingerprint/prepared.h"
#include "fingerprint/workspace.h"

namespace abis {

struct Comparison {
    Evidence evidence;
    float score;
    const Pairing* pairing;  // the best one found, in the workspace until its next use; null where none was tried
    bool swapped;            // its pairs name minutiae of reference and probe
};

// Compares two prepared templates; symmetric to the bit.
//
// A score below the cutoff is not worked out: what is returned for it lies between it and the cutoff. A score
// of at least the cutoff does not depend on the cutoff.
Comparison compare(const PreparedView& probe, const PreparedView& reference, float cutoff, Workspace& workspace);

}  // namespace abis
