# SPDX-License-Identifier: Apache-2.0
"""Pairing all minutiae one to one, once the first template lies on the second; ``cpp/fingerprint/pairing.cpp``."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats, Ints, wrapped
from oracle.constants import C
from oracle.edges import Edges
from oracle.similarity import similarity_of
from oracle.template import Normalised


@dataclass(frozen=True)
class Pairing:
    """(k,) indices of minutiae, and how close they lie, in (0, 1]; best pair first. Merit sums over them."""

    first: Ints
    second: Ints
    closeness: Floats
    merit: float


def pair_minutiae(
    first: Normalised,
    second: Normalised,
    moved: Floats,
    rotation: int,
    similarity: npt.NDArray[np.uint8],
    *,
    edges: Edges,
) -> Pairing:
    """Pairs within kPairingDistance and kPairingAngle, the closest and most similar first."""
    dx = moved[:, :1] - second.x
    dy = moved[:, 1:] - second.y
    distance = np.hypot(dx, dy)
    difference = wrapped(first.direction[:, None] + rotation - second.direction)
    turn = difference.astype(np.float32) * (np.float32(1) / np.float32(C["kPairingAngle"]))
    fits = turn * turn <= 1
    edges.note(distance[fits] - C["kPairingDistance"], 2e-3)
    offered = fits & (distance <= C["kPairingDistance"])
    closeness = (1 - (distance / C["kPairingDistance"]) ** 2 / 2) * (1 - turn.astype(np.float64) ** 2 / 2)
    merit = closeness * (C["kPairingBaseMerit"] + similarity_of(similarity))
    for line, rivals in zip([*merit, *merit.T], [*offered, *offered.T], strict=True):
        edges.note_order(line[rivals], 3e-4)

    pairs: list[tuple[int, int]] = []
    free_first, free_second = set(range(len(first))), set(range(len(second)))
    for _, a, b in sorted((-merit[a, b], int(a), int(b)) for a, b in np.argwhere(offered)):
        if a in free_first and b in free_second:
            free_first.remove(a)
            free_second.remove(b)
            pairs.append((a, b))
    i, j = np.array(pairs, np.int64).reshape(-1, 2).T
    return Pairing(i, j, closeness[i, j], float(merit[i, j].sum()))
