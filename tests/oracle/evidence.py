# SPDX-License-Identifier: Apache-2.0
"""The terms of the score; ``cpp/fingerprint/evidence.cpp``."""

import numpy as np
import numpy.typing as npt

from oracle.alignment import Alignment
from oracle.angle import Floats, Ints, rounded, wrapped
from oracle.candidates import Candidates
from oracle.constants import C
from oracle.edges import Edges
from oracle.overlap import inside_hull
from oracle.pairing import Pairing
from oracle.similarity import similarity_of
from oracle.template import Normalised

Evidence = dict[str, float]


def relaxation(smaller: int, larger: int, candidates: Candidates) -> float:
    """The mean of the best candidates' support [MCC, equation 23], absent ones 0, by the root of the pairs."""
    growth = np.float32(C["kLeadingGrowth"]) * np.float32(smaller - C["kLeadingFrom"])
    wanted = np.float32(C["kFewestLeading"]) + growth
    leading = int(rounded(np.clip(wanted, C["kFewestLeading"], C["kMostLeading"])))
    mean = candidates.support[candidates.by_support[:leading]].sum() / leading
    return float(mean / (smaller * larger + C["kRelaxationPrior"]) ** 0.5)


def pairing_evidence(
    first: Normalised,
    second: Normalised,
    alignment: Alignment,
    pairing: Pairing,
    similarity: npt.NDArray[np.uint8],
    *,
    edges: Edges,
) -> Evidence:
    """What an alignment and its pairing say."""
    i, j = pairing.first, pairing.second
    alike = similarity_of(similarity[i, j])
    own, other = first.reliability[i] / 100, second.reliability[j] / 100
    shift = alignment.moved[i] - np.stack([second.x[j], second.y[j]], axis=1)
    turn = wrapped(first.direction[i] + alignment.rotation - second.direction[j])
    log_ratio = (
        _peak(_background(first, second, alignment, edges)[i])
        - (shift**2).sum(axis=1) / (2 * C["kPositionSigma"] ** 2)
        - turn**2 / (2 * C["kDirectionSigma"] ** 2)
        + C["kSimilarityGain"] * (alike - C["kExpectedSimilarity"])
    )
    both = (own * other) ** 0.25
    alone = _alone(first, second, alignment.moved, pairing, edges)
    return {
        "pairs": len(i),
        "support": float((both * np.clip(log_ratio, 0, C["kMostSupport"])).sum()),
        "missed": float((alone**4).sum()),
        "overlapping": float((own + other).sum() + alone.sum()),
        "rotation": abs(wrapped(alignment.rotation)) / 256,
    }


def merit(evidence: Evidence) -> float:
    """How good an alignment is, to choose among hypotheses."""
    return evidence["support"] - C["kSelectionMissCost"] * evidence["missed"]


def _peak(count: Ints) -> Floats:
    """How much likelier a pair is, at no distance and no turn, if mated than by chance among `count`; its log."""
    mated = C["kFoundAgain"] / (2 * np.pi * C["kPositionSigma"] ** 2)
    mated /= np.sqrt(2 * np.pi) * C["kDirectionSigma"]
    chance = (count + C["kBackgroundPrior"]) / (
        np.pi * C["kBackgroundRadius"] ** 2 * 2 * C["kBackgroundAngle"]
    )
    return np.asarray(np.log(mated / chance))


def _background(first: Normalised, second: Normalised, alignment: Alignment, edges: Edges) -> Ints:
    """(n,): minutiae of the second template around each of the first whose direction would fit."""
    distance = np.hypot(alignment.moved[:, :1] - second.x, alignment.moved[:, 1:] - second.y)
    turn = wrapped(first.direction[:, None] + alignment.rotation - second.direction)
    fits = np.abs(turn) <= C["kBackgroundAngle"]
    edges.note(distance[fits] - C["kBackgroundRadius"], 2e-3)
    return np.asarray((fits & (distance <= C["kBackgroundRadius"])).sum(axis=1))


def _alone(first: Normalised, second: Normalised, moved: Floats, pairing: Pairing, edges: Edges) -> Floats:
    """(k,) reliability, 0 to 1, of the minutiae that lie in the other template's hull and have no partner."""
    margin = C["kOverlapMargin"]
    fixed = np.stack([second.x, second.y], axis=1).astype(np.float64)
    alone_first = np.setdiff1d(np.arange(len(first)), pairing.first)
    alone_second = np.setdiff1d(np.arange(len(second)), pairing.second)
    in_second = inside_hull(moved[alone_first], fixed, margin, edges)
    in_first = inside_hull(fixed[alone_second], moved, margin, edges)
    alone = first.reliability[alone_first][in_second], second.reliability[alone_second][in_first]
    return np.asarray(np.concatenate(alone) / 100)
