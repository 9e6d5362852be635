# SPDX-License-Identifier: Apache-2.0
"""A finger: the flow of its ridges, and the minutiae that the flow calls for.

Lengths are pixels at 500 dpi, angles radians anticlockwise, y upwards, origin at the finger's centre.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abis.synthetic.randomness import kernel, normal, stream, uniform

__all__ = ["CAPACITY", "Fingers", "make_fingers"]

CAPACITY = 128
"""The most minutiae a synthetic finger, or an impression of it, has."""

ARCH, TENTED_ARCH, LOOP, DOUBLE_LOOP, WHORL = range(5)
# Natural frequencies as in Wilson, Candela & Watson (J. Artificial Neural Networks 1, 1994): arch 3.7 %,
# tented arch 2.9 %, loops 65.5 %, whorls of all kinds 27.9 %, of which one in five a double loop.
CLASS_LIMITS = (0.037, 0.066, 0.721, 0.777, 1.0)
# Loops that open towards the little finger, rounded: the others (radial ones) are rare but on index fingers.
ULNAR_SHARE = 0.94
ULNAR_SHARE_INDEX = 0.65
INDEX_FINGERS, FIRST_LEFT_FINGER = (2, 7), 6  # codes of abis.template.Position

# From here on, sizes of patterns below included: set by hand to bring the figures of benchmarks/accuracy/synthetic.py
# near those of LEADER templates of six FVC "B" sets.
LIKENESS = 0.6  # correlation of the traits of two fingers of one subject
HALF_WIDTH, HALF_HEIGHT = 156.0, 234.0  # of the elliptic finger
SIZE_SPREAD = 0.08  # of the logarithm of the size
MEAN_COUNT = 69.0  # minutiae on a whole finger
COUNT_SPREAD = 0.24  # of the logarithm of the count
ARCHING, ARCHING_SPREAD = 1.2, 0.15  # radians by which ridges bend down far to either side
ENDING_SHARE, ENDING_SHARE_SPREAD = 0.65, 0.07  # ridge endings among minutiae, over fingers
# Ridges that diverge at a constant period must begin somewhere: minutiae point up the divergence of the
# flow, the more surely the stronger it is. The others are pairs of dislocations, of either sign.
PAIR_DIVERGENCE = 0.0015  # per pixel: where half of the minutiae are due to the divergence
CROWDING_DIVERGENCE = 0.005  # per pixel: where they are twice as dense as in parallel ridges
LARGEST_DIVERGENCE = 0.013  # per pixel: at singular points it has no bound
WAVINESS = math.radians(7.0)  # of a ridge at its minutia, about the flow
EMPTY_GAP, FREE_GAP = 7.5, 16.0  # pixels between minutiae: never less; no longer a hindrance
OPPOSITE_GAP, OPPOSITE_SHARE = 17.0, 0.6  # pixels: one nearer than this is turned round; how often


class Fingers(NamedTuple):
    """What of n fingers stays the same in all their impressions.

    Attributes:
        dryness: (n,) of the skin, standard normal; drier ones print worse.
        counts: (n,) minutiae; those of finger i are ``[i, : counts[i]]`` of what follows.
        x: (n, CAPACITY)
        y: (n, CAPACITY)
        direction: (n, CAPACITY)
        is_ending: (n, CAPACITY) bool.
        clarity: (n, CAPACITY) from 0, hard to see in any impression, to 1.
    """

    dryness: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]
    is_ending: npt.NDArray[np.bool_]
    clarity: npt.NDArray[np.float64]


@kernel
def make_fingers(seed: int, subjects: npt.NDArray[np.int64], position: int) -> Fingers:
    """The finger of each subject at a position, a code of Position."""
    n = len(subjects)
    columns = (n, CAPACITY)
    fingers = Fingers(
        np.empty(n),
        np.empty(n, np.int64),
        np.empty(columns),
        np.empty(columns),
        np.empty(columns),
        np.empty(columns, np.bool_),
        np.empty(columns),
    )
    for i in range(n):
        shared = stream(seed, subjects[i], 0, 0)
        own = stream(seed, subjects[i], position, 0)
        fingers.dryness[i] = _trait(shared, own)
        size = math.exp(SIZE_SPREAD * _trait(shared, own))
        pattern = _draw_pattern(_trait(shared, own))
        poles = _draw_poles(own, pattern, position, size)
        fingers.counts[i] = _place(own, poles, size, fingers, i)
        ending_share = ENDING_SHARE + ENDING_SHARE_SPREAD * normal(own)
        for k in range(fingers.counts[i]):
            fingers.is_ending[i, k] = uniform(own) < ending_share
            fingers.clarity[i, k] = uniform(own)
    return fingers


@kernel
def _trait(shared: npt.NDArray[np.uint64], own: npt.NDArray[np.uint64]) -> float:
    """A standard normal number, correlated over the fingers of one subject."""
    return math.sqrt(LIKENESS) * normal(shared) + math.sqrt(1.0 - LIKENESS) * normal(own)


@kernel
def _draw_pattern(intensity: float) -> int:
    """The pattern class of a standard normal intensity: a Gaussian copula over classes by ridge count."""
    rank = 0.5 * (1.0 + math.erf(intensity / math.sqrt(2.0)))
    pattern = ARCH
    while rank > CLASS_LIMITS[pattern]:
        pattern += 1
    return pattern


@kernel
def _draw_poles(
    own: npt.NDArray[np.uint64], pattern: int, position: int, size: float
) -> npt.NDArray[np.float64]:
    """Singular points of the ridge flow: rows x, y and charge; +1 a core, -1 a delta, 0 none."""
    poles = np.zeros((4, 3))
    if pattern == TENTED_ARCH:
        poles[0] = (0.0, 0.0, 1.0)
        poles[1] = (6.0 * normal(own), -90.0 + 18.0 * normal(own), -1.0)
    elif pattern == LOOP:
        poles[0] = (0.0, 0.0, 1.0)
        poles[1] = (-85.0 + 20.0 * normal(own), -115.0 + 25.0 * normal(own), -1.0)
    elif pattern != ARCH:
        is_double = pattern == DOUBLE_LOOP
        half = (38.0 if is_double else 20.0) * math.exp(0.3 * normal(own))
        tilt = (0.9 if is_double else 0.25) * (1.0 + 0.3 * normal(own))
        poles[0] = (half * math.sin(tilt), half * math.cos(tilt), 1.0)
        poles[1] = (-half * math.sin(tilt), -half * math.cos(tilt), 1.0)
        poles[2] = (-110.0 + 20.0 * normal(own), -115.0 + 25.0 * normal(own), -1.0)
        poles[3] = (110.0 + 20.0 * normal(own), -115.0 + 25.0 * normal(own), -1.0)
    poles[:, :2] *= size
    poles[:, 0] += 8.0 * normal(own)
    poles[:, 1] += 35.0 + 12.0 * normal(own)
    # As drawn, a loop opens to the right: towards the little finger on a right hand.
    ulnar_share = ULNAR_SHARE_INDEX if position in INDEX_FINGERS else ULNAR_SHARE
    if (uniform(own) < ulnar_share) == (position >= FIRST_LEFT_FINGER):
        poles[:, 0] *= -1.0
    return poles


@kernel
def _place(
    own: npt.NDArray[np.uint64],
    poles: npt.NDArray[np.float64],
    size: float,
    fingers: Fingers,
    i: int,
) -> int:
    """Places the minutiae of the i-th finger one by one, by rejection; returns how many there are."""
    x, y, direction = fingers.x[i], fingers.y[i], fingers.direction[i]
    half_width = HALF_WIDTH * size * math.exp(0.05 * normal(own))
    half_height = HALF_HEIGHT * size * math.exp(0.05 * normal(own))
    arching = ARCHING + ARCHING_SPREAD * normal(own)
    wanted = min(int(MEAN_COUNT * math.exp(COUNT_SPREAD * normal(own))), CAPACITY)
    n = 0
    for _ in range(20 * wanted):  # a crowded finger ends with fewer than wanted
        if n == wanted:
            break
        x[n] = half_width * (2.0 * uniform(own) - 1.0)
        y[n] = half_height * (2.0 * uniform(own) - 1.0)
        if (x[n] / half_width) ** 2 + (y[n] / half_height) ** 2 > 1.0:
            continue
        nearest = 0
        gap_squared = math.inf
        for k in range(n):
            squared = (x[k] - x[n]) * (x[k] - x[n]) + (y[k] - y[n]) * (y[k] - y[n])
            if squared < gap_squared:
                nearest, gap_squared = k, squared
        gap = math.sqrt(gap_squared)
        if uniform(own) > (gap - EMPTY_GAP) / (FREE_GAP - EMPTY_GAP):
            continue
        flow, divergence = _ridge_flow(poles, arching, x[n], y[n])
        strength = min(abs(divergence), LARGEST_DIVERGENCE)
        density = (CROWDING_DIVERGENCE + strength) / (CROWDING_DIVERGENCE + LARGEST_DIVERGENCE)
        if uniform(own) > density:
            continue
        is_new_ridge = uniform(own) < strength / (PAIR_DIVERGENCE + strength)
        is_along_flow = divergence > 0 if is_new_ridge else uniform(own) < 0.5
        direction[n] = (flow if is_along_flow else flow + math.pi) + WAVINESS * normal(own)
        is_alike = gap < OPPOSITE_GAP and math.cos(direction[n] - direction[nearest]) > 0
        if is_alike and uniform(own) < OPPOSITE_SHARE:
            direction[n] += math.pi
        n += 1
    return n


@kernel
def _ridge_flow(poles: npt.NDArray[np.float64], arching: float, x: float, y: float) -> tuple[float, float]:
    """The direction of the ridges at a place, and their divergence along it, in radians per pixel.

    The zero-pole model (Sherlock & Monro, Pattern Recognition 26, 1993) on an arched background, after
    the combination model of Zhou & Gu (IEEE TIP 13, 2004): the bare one is too flat above the core.
    """
    # Ridges fall off to both sides of the core: less so far above it, and not below the finger's crease.
    above = 1.0 / (1.0 + math.exp(-(y + 85.0) / 45.0))
    below = 1.0 / (1.0 + math.exp((y - 120.0) / 60.0))
    beside = 1.0 + abs(x) / 90.0
    angle = -arching * above * below * x / (90.0 * beside)
    gradient_x = -arching * above * below / (90.0 * beside * beside)
    gradient_y = angle * ((1.0 - above) / 45.0 - (1.0 - below) / 60.0)
    for k in range(4):
        if poles[k, 2] != 0.0:
            dx = x - poles[k, 0]
            dy = y - poles[k, 1]
            half = 0.5 * poles[k, 2]
            angle += half * math.atan2(dy, dx)
            gradient_x -= half * dy / (dx * dx + dy * dy + 1e-9)
            gradient_y += half * dx / (dx * dx + dy * dy + 1e-9)
    return angle, gradient_y * math.cos(angle) - gradient_x * math.sin(angle)
