// SPDX-License-Identifier: Apache-2.0
// What an alignment shows for and against one finger: the terms of the score.
#pragma once

#include "workspace.h"

namespace abis {

// All terms in natural log units or counts, each weighted by the minutiae's reliability where it says so.
struct Evidence {
    float pairs = 0;    // paired minutiae
    float support = 0;  // sum over pairs of what each says for one finger, where positive; weighted
    float balance = 0;  // the same with what speaks against, down to kMostAgainst, and a cost for each miss; weighted
    float missed = 0;   // minutiae in the overlap that have no partner; weighted
    float overlapping = 0;  // minutiae in the overlap, of both templates; weighted
    float relaxation = 0;   // mean support of the best candidates before any alignment
    float local = 0;        // mean similarity of the most similar candidates
    float rotation = 0;     // turns, 0 to 0.5
    float residual = 0;     // pixels
    float similarity = 0;   // sum over pairs
    float votes = 0;        // see rotation_votes
    float kinds = 0;        // pairs of equal kind less pairs of different kind
};

// What the candidates say before any alignment is tried.
void gather_candidate_evidence(const Roles& roles, const Workspace& workspace, Evidence& evidence);

// What the workspace's alignment and pairing say.
void gather_pairing_evidence(const Roles& roles, const Workspace& workspace, Evidence& evidence);

// How good an alignment is, to choose among hypotheses.
float merit(const Evidence& evidence);

}  // namespace abis
