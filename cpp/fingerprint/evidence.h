// SPDX-License-Identifier: Apache-2.0
// What an alignment shows for and against one finger: the terms of the score.
#pragma once

#include "fingerprint/workspace.h"

namespace abis {

// All terms in natural log units or counts. Reliability r, 0 to 1, weights most of them: it is the quality of a
// minutia relative to the better ones of its template. An uncertain minutia that has a partner is evidence nearly as a
// certain one is; one that has none says next to nothing.
struct Evidence {
    float pairs = 0;        // paired minutiae
    float support = 0;      // sum over pairs of what each says for one finger, 0 to kMostSupport; by (r1 r2)^1/4
    float missed = 0;       // minutiae in the overlap that have no partner; by r^4
    float overlapping = 0;  // minutiae in the overlap, of both templates; by r
    float rotation = 0;     // turns, 0 to 0.5
    float relaxation = 0;   // mean support of the best candidates by the root of the number of pairs
    float votes = 0;        // see rotation_votes
};

// What the candidates say before any alignment is tried.
void gather_candidate_evidence(const Roles& roles, const Workspace& workspace, Evidence& evidence);

// What an alignment and its pairing say.
void gather_pairing_evidence(const Roles& roles, const Workspace& workspace, const Attempt& attempt,
                             Evidence& evidence);

// How good an alignment is, to choose among hypotheses.
float merit(const Evidence& evidence);

}  // namespace abis
