# SPDX-License-Identifier: Apache-2.0
"""The one number that stands for a comparison; ``cpp/fingerprint/score.cpp``."""

from oracle.constants import C
from oracle.evidence import Evidence


def score(evidence: Evidence) -> float:
    """What an alignment's evidence is worth."""
    return float(
        C["kScoreOffset"]
        + (C["kScoreOfSupport"] * evidence["support"] + C["kScoreOfMissed"] * evidence["missed"])
        / (evidence["overlapping"] + C["kOverlapPrior"]) ** 0.5
        + C["kScoreOfRotation"] * min(evidence["rotation"], C["kMostRotation"])
    )


def bound(evidence: Evidence, minutiae: int) -> float:
    """The most that a comparison can score, by the smaller template's minutiae, the votes and the candidates alone."""
    by_size = C["kMostAMinutia"] * minutiae
    by_votes = C["kVoteBound"] + C["kVoteBoundSlope"] * evidence["votes"]
    return min(by_size, by_votes, C["kRelaxationBoundSlope"] * evidence["relaxation"])
