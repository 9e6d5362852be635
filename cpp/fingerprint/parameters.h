// SPDX-License-Identifier: Apache-2.0
// Every constant of the fingerprint comparison, with its unit and where it comes from. Lengths are pixels
// at 500 dpi (0.0508 mm).
//
// [MCC] R. Cappelli, M. Ferrara, D. Maltoni, "Minutia Cylinder-Code: A New Representation and Matching
//       Technique for Fingerprint Recognition", IEEE TPAMI 32(12), 2010.
// [fit] chosen on the FVC2002 and FVC2004 "B" sets, all of them, and DB1 and DB2 of FVC2000 "B". The three weights of
//       the score alone were also fitted with each set left out: benchmarks/fitting/fit_comparator.py.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fingerprint/angle.h"

namespace abis::parameters {

// --- Template ---------------------------------------------------------------------------------------
inline constexpr float kPixelsPerCentimetre = 500 / 2.54F;  // what every template is scaled to
inline constexpr std::size_t kMaxMinutiae = 255;            // ISO/IEC 19794-2:2005, 7.4.1.5
inline constexpr float kReliableQuantile = 0.95F;           // a minutia of this quality rank counts in full [fit]
inline constexpr float kLeastReliability = 0.1F;            // what the worst minutia still counts [fit]

// --- Cylinder [MCC, section 3 and table 4] -----------------------------------------------------------
inline constexpr float kCylinderRadius = 70;
inline constexpr int kCellsAcross = 8;
inline constexpr int kSectors = 6;
inline constexpr float kCellSigma = 8.5F;
inline constexpr float kSectorSigma = degrees_to_units(32);  // units of 1/256 turn
inline constexpr float kCellThreshold = 0.007F;              // contribution per square pixel that sets a bit
inline constexpr int kLeastNeighbours = 2;                   // fewer make no descriptor

// --- Similarity as a byte ---------------------------------------------------------------------------------
inline constexpr float kMiddleShare = 0.48F;  // bits in common that byte 128 stands for; all in common are 255

// --- Votes [fit] -----------------------------------------------------------------------------------------
inline constexpr float kVoteShare = 0.364F;  // bits in common from which a pair of minutiae votes
inline constexpr int kVoteBins = 32;         // of rotation
inline constexpr float kVotePrior = 50;      // pairs: keeps a lucky vote between tiny templates small [fit]

// --- Relaxation [MCC, section 4.2, with rational in place of logistic tolerances] ----------------------
inline constexpr std::size_t kMaxCandidates = 64;                 // pairs that enter the relaxation
inline constexpr std::size_t kSpareCandidates = 8;                // beyond two for each minutia of the smaller template
inline constexpr int kMaxPairsOfMinutia = 3;                      // candidates that share one minutia
inline constexpr float kNeutralSimilarity = 0.3F;                 // worth nothing as a candidate
inline constexpr float kDistanceTolerance = 5;                    // pixels, at which support halves ...
inline constexpr float kDistanceToleranceGrowth = 0.08F;          // ... and what distortion adds per pixel of distance
inline constexpr float kAngleTolerance = degrees_to_units(15);    // 1/256 turn, at which support halves
inline constexpr float kRadialTolerance = 0.0340742F;             // 1 - cos(15 degrees)
inline constexpr float kFewestLeading = 4, kMostLeading = 12;     // candidates that the means are taken over ...
inline constexpr float kLeadingGrowth = 0.4F, kLeadingFrom = 10;  // ... and how they grow with the smaller template
inline constexpr int kRelaxationRounds = 4;
inline constexpr float kRelaxationGain = 2;  // weight of the neighbours' mean support against the pair's own 1/2

// --- Alignment [fit] -------------------------------------------------------------------------------------
inline constexpr std::size_t kMaxSeeds = 4;          // hypotheses tried
inline constexpr std::size_t kMaxPursued = 2;        // of them, refined
inline constexpr float kAnchorCompatibility = 0.3F;  // with the seed, of pairs that vote on its alignment
inline constexpr int kAlignmentRounds = 3;
inline constexpr float kDirectionPrior = 400;     // square pixels: how much directions steady a rotation
inline constexpr float kAnchorBaseWeight = 0.2F;  // of a pair whose surroundings look nothing alike
inline constexpr float kElasticReach = 45;        // pixels: how far a pair's residual carries
inline constexpr float kElasticStiffness = 0.7F;  // pairs' worth of pull towards the rigid alignment

// --- Pairing [fit] ---------------------------------------------------------------------------------------
inline constexpr float kPairingDistance = 15;                 // pixels
inline constexpr float kPairingAngle = degrees_to_units(28);  // 1/256 turn
inline constexpr float kPairingBaseMerit = 0.5F;              // of a pair whose surroundings look nothing alike
inline constexpr float kOverlapMargin = 12;                   // pixels around the convex hull
inline constexpr float kBackgroundPrior = 0.2F;               // minutiae, where none is counted

// --- Evidence [fit] --------------------------------------------------------------------------------------
inline constexpr float kPositionSigma = 4.2F;                     // pixels, between paired minutiae
inline constexpr float kDirectionSigma = degrees_to_units(11.5);  // 1/256 turn
inline constexpr float kFoundAgain = 0.75F;                       // share of minutiae found in both prints
inline constexpr float kBackgroundRadius = 3 * kPairingDistance;  // pixels: where chance density is counted
inline constexpr float kBackgroundAngle = 1.5F * kPairingAngle;   // 1/256 turn: the same
inline constexpr float kSimilarityGain = 10;                      // natural log units per unit of similarity
inline constexpr float kExpectedSimilarity = 0.45F;               // of a pair, at which it says nothing
inline constexpr float kMostSupport = 6;            // natural log units: two lucky pairs shall not make a match
inline constexpr float kSelectionMissCost = 0.25F;  // natural log units, in the choice among alignments

// --- Score: a logit, balanced between mated and non-mated [fit] ------------------------------------------
inline constexpr float kScoreOffset = -2.89F;
inline constexpr float kScoreOfSupport = 1.9F;      // of support by the root of the overlap
inline constexpr float kScoreOfMissed = -1.74F;     // of missed minutiae by the root of the overlap
inline constexpr float kOverlapPrior = 10;          // minutiae
inline constexpr float kScoreOfRotation = -11.37F;  // a turn
inline constexpr float kMostRotation = 0.25F;       // turns: from here on one rotation is as rare as another
// Five minutiae that are all alike would else score as a good match of many does.
inline constexpr float kMostAMinutia = 1.2F;                       // see bound_by_size
inline constexpr float kVoteBound = 2.5F, kVoteBoundSlope = 2.5F;  // see bound_by_votes
inline constexpr float kRelaxationBoundSlope = 8000;               // see bound_by_relaxation
inline constexpr float kRelaxationPrior = 200;                     // pairs: added to the number of pairs

// --- Codes: the search of an index [fit] -----------------------------------------------------------------
// What codes are and what they are worth is learnt from synthetic fingers: code_projection.h.
inline constexpr std::uint8_t kCodedReliability = 70;              // below, a minutia has no code ...
inline constexpr std::size_t kAlwaysCoded = 24;                    // ... unless it is among the most reliable
inline constexpr int kRichCylinder = 120;                          // bits set: from here on more tell no more
inline constexpr int kRankOfBits = 5, kRankOfReliability = 6;      // in the order of a probe's minutiae ...
inline constexpr int kRankOfCrowding = 80, kCrowdingRadius = 50;   // ... less so much for each before it within pixels
inline constexpr std::size_t kFirstToVote = 24, kMostToVote = 40;  // minutiae of a probe, by that order
inline constexpr int kUprightBins = 4;                             // of rotation, that the first look goes either way
inline constexpr int kMostVotes = 8000;                            // a bin of rotation holds no more
inline constexpr float kScreenRotationPrice = 3;                   // natural log units, from kMostRotation on
inline constexpr float kChanceOfPair = 0.0075F;  // natural log units that chance adds a pair of minutiae
inline constexpr std::size_t kPoseHits = 32;     // pairs that are compared with each other

// --- Tables of codes: all fingers with all [fit] -----------------------------------------------------------
inline constexpr std::size_t kTables = 32, kTableBits = 16;  // tables, and bits of a code that one looks at
inline constexpr std::size_t kMostCodeBits = 34;             // of 128 that may differ: with more, few are found anyway
inline constexpr std::size_t kMostCheckBits = 10;            // of 32 that may differ
inline constexpr float kChanceInTables = 0.0025F;            // natural log units that chance adds a pair of minutiae

}  // namespace abis::parameters
