# SPDX-License-Identifier: Apache-2.0
"""Laying the first template on the second; ``cpp/fingerprint/alignment.cpp``."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats, Ints, angle_of, cosine, sine
from oracle.candidates import SUPPORT_ROUNDING, Candidates
from oracle.constants import C
from oracle.edges import Edges
from oracle.pairing import Pairing
from oracle.similarity import similarity_of
from oracle.template import Normalised


@dataclass(frozen=True)
class Anchors:
    """Pairs of minutiae that pull the alignment: (a,) indices and weights, and where directions point."""

    first: Ints
    second: Ints
    weight: Floats
    rotation: int


@dataclass(frozen=True)
class Alignment:
    """The first template laid on the second.

    Attributes:
        moved: (n, 2) where its minutiae come to lie, bent.
        rotation: 1/256 turn.
    """

    moved: Floats
    rotation: int


def anchors_of_seed(
    first: Normalised, second: Normalised, candidates: Candidates, seed: int, edges: Edges
) -> tuple[Anchors, list[int]]:
    """The seed and the candidates compatible with it, each minutia once; and which candidates those are."""
    compatibility = candidates.compatibility[seed].copy()
    edges.note(compatibility - C["kAnchorCompatibility"], 1e-5)
    compatibility[seed] = 1
    fitting = candidates.by_support[compatibility[candidates.by_support] >= C["kAnchorCompatibility"]]
    for ends in (candidates.first[fitting], candidates.second[fitting]):
        for end in np.unique(ends):
            supports = candidates.support[fitting[ends == end]]
            edges.note_order(np.log(supports[supports > 0]), SUPPORT_ROUNDING)
    group: list[int] = []
    for b in fitting:
        taken_first, taken_second = candidates.first[group], candidates.second[group]
        if candidates.first[b] not in taken_first and candidates.second[b] not in taken_second:
            group.append(int(b))
    i, j = candidates.first[seed], candidates.second[seed]
    rotation = int(second.direction[j] - first.direction[i]) % 256
    weight = candidates.support[group] * compatibility[group] + 1e-6
    return Anchors(candidates.first[group], candidates.second[group], weight, rotation), group


def anchors_of_pairing(
    first: Normalised,
    second: Normalised,
    pairing: Pairing,
    similarity: npt.NDArray[np.uint8],
    edges: Edges,
) -> Anchors:
    """The pairs that the last round found, turned as their directions say on the mean."""
    i, j = pairing.first, pairing.second
    both = first.reliability[i] / 100 * (second.reliability[j] / 100)
    weight = np.sqrt(both) * pairing.closeness * (C["kAnchorBaseWeight"] + similarity_of(similarity[i, j]))
    turn = second.direction[j] - first.direction[i]
    c, s = (pairing.closeness * cosine(turn)).sum(), (pairing.closeness * sine(turn)).sum()
    edges.note(np.hypot(c, s), 1e-4)
    return Anchors(i, j, weight, angle_of(c, s, edges))


def align(first: Normalised, second: Normalised, anchors: Anchors, edges: Edges) -> Alignment:
    """Weighted least squares over the anchors, then bent after their residuals."""
    points = np.stack([first.x, first.y], axis=1).astype(np.float64)
    source = points[anchors.first]
    target = np.stack([second.x, second.y], axis=1)[anchors.second].astype(np.float64)
    weight = anchors.weight / anchors.weight.sum()
    source_centre, target_centre = weight @ source, weight @ target
    u, v = source - source_centre, target - target_centre
    along = weight @ (u * v).sum(axis=1) + C["kDirectionPrior"] * float(cosine(anchors.rotation))
    across = weight @ (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) + C["kDirectionPrior"] * float(
        sine(anchors.rotation)
    )
    length = float(np.hypot(along, across))
    edges.note(length / (C["kDirectionPrior"] + weight @ (u * u + v * v).sum(axis=1)), 1e-3)
    c, s = along / length, across / length
    turned = np.array([[c, -s], [s, c]])
    residual = target - ((source - source_centre) @ turned.T + target_centre)
    moved = (points - source_centre) @ turned.T + target_centre + bending(points, source, residual)
    return Alignment(moved, angle_of(c, s, edges))


def bending(points: Floats, anchors: Floats, residual: Floats) -> Floats:
    """(n, 2): the mean residual around each point, nearer anchors weighing more; held back by stiffness."""
    squared = ((points[:, None] - anchors) ** 2).sum(axis=2)
    weight = 1 / (1 + squared / (2 * C["kElasticReach"] ** 2)) ** 2
    return np.asarray(weight @ residual / (C["kElasticStiffness"] + weight.sum(axis=1))[:, None])
