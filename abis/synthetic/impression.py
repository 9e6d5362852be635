# SPDX-License-Identifier: Apache-2.0
"""An impression: what one touch of a sensor shows of a finger.

The skin is shifted, turned and stretched; only part of it touches. The extractor is modelled on abis.extraction: it
reports a confidence with each minutia, keeps uncertain ones, misses some, and invents others, mostly of low confidence.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abis.synthetic.finger import CAPACITY, Fingers
from abis.synthetic.randomness import kernel, normal, poisson, stream, uniform

__all__ = ["SENSOR_HEIGHT", "SENSOR_WIDTH", "Impressions", "make_impressions"]

SENSOR_WIDTH, SENSOR_HEIGHT = 400, 500  # pixels at 500 dpi: 0.8 x 1.0 inch, a usual one-finger sensor

ENDING, BIFURCATION = 1, 2  # codes of abis.template.MinutiaKind
DIRECTION_UNIT = 1.40625  # degrees: the unit of ISO/IEC 19794-2:2005, 7.4.2.4

# From here on: set by hand to bring the figures of benchmarks/accuracy/synthetic.py near those of templates that
# abis.extraction makes of six FVC "B" sets. A "spread" is the standard deviation of a logarithm.
CONTACT_HALF_WIDTH, CONTACT_HALF_HEIGHT, CONTACT_SPREAD = 132.0, 198.0, 0.13  # pixels: skin that touches
CONTACT_SHIFT_X, CONTACT_SHIFT_Y = 15.0, 27.0  # pixels on the finger, from touch to touch
PARTIAL_SHARE = 0.18  # touches with the tip or an edge only
PLACEMENT_SHIFT = 30.0  # pixels on the sensor
TURN, WILD_TURN, WILD_SHARE = 2.5, 20.0, 0.3  # degrees: a careful touch, a careless one; share of these
STRETCH = 0.012  # of scales and of shear
WARP, WARP_SPREAD = 1.45, 0.75  # pixels: amplitude of a wave of smooth distortion, its median
WARP_LENGTH = 52.0  # pixels: wave length / 2 pi of it
POSITION_JITTER, DIRECTION_JITTER = 0.7, 2.0  # pixels, degrees: of a minutia that is beyond doubt
SLIP_SHARE, SLIP = 0.08, 3.5  # directions that jitter more; how many times
FLIP_SHARE = 0.09  # minutiae taken for the other kind
SEVERITY_SPREAD, SEVERITY_MOST = 1.5, 30.0  # of how many times worse than usual an impression is
SMUDGE_SHARE, SMUDGE_SEVERITY = 0.35, 8.0  # impressions with a smudge; times worse inside it
SMUDGE_RADIUS_LEAST, SMUDGE_RADIUS_MOST = 35.0, 80.0  # pixels
EDGE_SEVERITY, EDGE_WIDTH = (
    6.0,
    4.0,
)  # times worse at the edge of the contact; how soon that falls towards the middle
# The doubt about a minutia falls exponentially with its clarity on the finger; the confidence in it falls with doubt.
DOUBT, DOUBT_FALL, DOUBT_SPREAD = 1.1, 5.5, 0.8  # of clarity 0; fall of the logarithm to clarity 1
SURENESS, SURENESS_FALL, SURENESS_SPREAD = (
    0.2,
    1.2,
    0.9,
)  # log odds at a doubt of 1; fall by its logarithm; noise
BEST_CONFIDENCE = 0.97  # LEADER's highest, nearly
LEAST_CONFIDENCE = 0.1  # from which abis.extraction keeps minutiae
SPURIOUS = 2.2  # false minutiae in a flawless impression; twice as many in a usual one
SPURIOUS_SPREAD = 1.1  # mean of the logarithm of their confidence beyond the least, exponential
RESOLVED_GAP = 6.0  # pixels: minutiae nearer to each other are taken for one


class Impressions(NamedTuple):
    """Impressions of n fingers; the minutiae of the i-th are ``[i, : counts[i]]`` of the columns.

    Attributes:
        counts: (n,) int64.
        x: (n, CAPACITY) pixels from the left.
        y: (n, CAPACITY) pixels from the top.
        direction: (n, CAPACITY) degrees in [0, 360).
        kind: (n, CAPACITY)
        quality: (n, CAPACITY) confidence in percent.
    """

    counts: npt.NDArray[np.int64]
    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    direction: npt.NDArray[np.float32]
    kind: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint8]


class _Touch(NamedTuple):
    """How a finger meets the sensor; lengths on the finger, y upwards, but for the shift."""

    half_width: float
    half_height: float
    centre_x: float
    centre_y: float
    smudge_x: float
    smudge_y: float
    smudge_radius: float
    turn: float  # radians
    shift_x: float  # of the centre on the sensor
    shift_y: float
    stretch_x: float
    stretch_y: float
    shear: float
    warp: float
    waves: npt.NDArray[np.float64]  # (4, 3): x and y wave number and phase; rows 0-1 move x, 2-3 move y


class _Mark(NamedTuple):
    """A minutia, true or false, on the finger."""

    x: float
    y: float
    direction: float
    is_ending: bool
    doubt: float
    confidence: float


@kernel
def make_impressions(
    fingers: Fingers, seed: int, subjects: npt.NDArray[np.int64], position: int, impression: int
) -> Impressions:
    """One impression of each finger; subjects and position are those the fingers were made of."""
    n = len(subjects)
    columns = (n, CAPACITY)
    impressions = Impressions(
        np.zeros(n, np.int64),
        np.zeros(columns, np.uint16),
        np.zeros(columns, np.uint16),
        np.zeros(columns, np.float32),
        np.zeros(columns, np.uint8),
        np.zeros(columns, np.uint8),
    )
    for i in range(n):
        state = stream(seed, subjects[i], position, 1 + impression)
        badness = math.sqrt(0.5) * (fingers.dryness[i] + normal(state))
        severity = min(math.exp(SEVERITY_SPREAD * badness), SEVERITY_MOST)
        touch = _draw_touch(state)
        for k in range(fingers.counts[i]):
            nearness = _nearness_to_edge(touch, fingers.x[i, k], fingers.y[i, k])
            if nearness > 1.0:
                continue
            doubt = severity * DOUBT * math.exp(DOUBT_SPREAD * normal(state))
            doubt *= math.exp(-DOUBT_FALL * fingers.clarity[i, k])
            doubt *= EDGE_SEVERITY**nearness**EDGE_WIDTH
            if _is_smudged(touch, fingers.x[i, k], fingers.y[i, k]):
                doubt *= SMUDGE_SEVERITY
            odds = math.exp(SURENESS + SURENESS_SPREAD * normal(state)) * doubt**-SURENESS_FALL
            confidence = BEST_CONFIDENCE * odds / (1.0 + odds)
            if confidence >= LEAST_CONFIDENCE:
                is_ending = fingers.is_ending[i, k] != (uniform(state) < FLIP_SHARE)
                x, y, direction = fingers.x[i, k], fingers.y[i, k], fingers.direction[i, k]
                _add(impressions, i, state, touch, _Mark(x, y, direction, is_ending, doubt, confidence))
        for _ in range(poisson(state, SPURIOUS * (1.0 + severity))):
            x = touch.centre_x + touch.half_width * (2.0 * uniform(state) - 1.0)
            y = touch.centre_y + touch.half_height * (2.0 * uniform(state) - 1.0)
            if _nearness_to_edge(touch, x, y) < 1.0 and fingers.counts[i] > 0:
                along = fingers.direction[i, _nearest(fingers, i, x, y)]
                if uniform(state) < 0.5:
                    along += math.pi
                beyond = -SPURIOUS_SPREAD * math.log(1.0 - uniform(state))
                confidence = min(LEAST_CONFIDENCE * math.exp(beyond), BEST_CONFIDENCE)
                mark = _Mark(x, y, along, uniform(state) < 0.5, 0.1 + uniform(state), confidence)
                _add(impressions, i, state, touch, mark)
    return impressions


@kernel
def _draw_touch(state: npt.NDArray[np.uint64]) -> _Touch:
    half_width = CONTACT_HALF_WIDTH * math.exp(CONTACT_SPREAD * normal(state))
    half_height = CONTACT_HALF_HEIGHT * math.exp(CONTACT_SPREAD * normal(state))
    centre_x = CONTACT_SHIFT_X * normal(state)
    centre_y = CONTACT_SHIFT_Y * normal(state)
    if uniform(state) < PARTIAL_SHARE:
        half_width *= 0.6 + 0.4 * uniform(state)
        half_height *= 0.5 + 0.5 * uniform(state)
        centre_x += 25.0 * normal(state)
        centre_y += 45.0 * normal(state)
    smudge_x = centre_x + half_width * (1.4 * uniform(state) - 0.7)
    smudge_y = centre_y + half_height * (1.4 * uniform(state) - 0.7)
    smudge_radius = 0.0
    if uniform(state) < SMUDGE_SHARE:
        smudge_radius = SMUDGE_RADIUS_LEAST + (SMUDGE_RADIUS_MOST - SMUDGE_RADIUS_LEAST) * uniform(state)
    turn = math.radians(normal(state) * (WILD_TURN if uniform(state) < WILD_SHARE else TURN))
    waves = np.empty((4, 3))
    for row in range(4):
        waves[row, 0] = normal(state) / WARP_LENGTH
        waves[row, 1] = normal(state) / WARP_LENGTH
        waves[row, 2] = 2.0 * math.pi * uniform(state)
    return _Touch(
        half_width,
        half_height,
        centre_x,
        centre_y,
        smudge_x,
        smudge_y,
        smudge_radius,
        turn,
        0.5 * SENSOR_WIDTH + PLACEMENT_SHIFT * normal(state),
        0.5 * SENSOR_HEIGHT + PLACEMENT_SHIFT * normal(state),
        1.0 + STRETCH * normal(state),
        1.0 + STRETCH * normal(state),
        STRETCH * normal(state),
        WARP * math.exp(WARP_SPREAD * normal(state)),
        waves,
    )


@kernel
def _nearness_to_edge(touch: _Touch, x: float, y: float) -> float:
    """0 at the middle of the skin that touches the sensor, 1 at its edge, more outside."""
    across = (x - touch.centre_x) / touch.half_width
    along = (y - touch.centre_y) / touch.half_height
    return across * across + along * along


@kernel
def _is_smudged(touch: _Touch, x: float, y: float) -> bool:
    across, along = x - touch.smudge_x, y - touch.smudge_y
    return across * across + along * along < touch.smudge_radius * touch.smudge_radius


@kernel
def _nearest(fingers: Fingers, i: int, x: float, y: float) -> int:
    """The finger's minutia next to a place: a false one follows the same ridges."""
    nearest = 0
    least_squared = math.inf
    for k in range(fingers.counts[i]):
        across, along = fingers.x[i, k] - x, fingers.y[i, k] - y
        squared = across * across + along * along
        if squared < least_squared:
            nearest, least_squared = k, squared
    return nearest


@kernel
def _on_sensor(touch: _Touch, x: float, y: float) -> tuple[float, float]:
    """Where the sensor sees a place of the finger: stretched, warped, turned, shifted; y downwards."""
    x -= touch.centre_x
    y -= touch.centre_y
    warped_x = touch.stretch_x * x + touch.shear * y
    warped_y = touch.stretch_y * y + touch.shear * x
    for row in range(2):
        wave, other = touch.waves[row], touch.waves[2 + row]
        warped_x += touch.warp * math.sin(wave[0] * x + wave[1] * y + wave[2])
        warped_y += touch.warp * math.sin(other[0] * x + other[1] * y + other[2])
    cos, sin = math.cos(touch.turn), math.sin(touch.turn)
    return touch.shift_x + cos * warped_x - sin * warped_y, touch.shift_y - sin * warped_x - cos * warped_y


@kernel
def _add(
    impressions: Impressions,
    i: int,
    state: npt.NDArray[np.uint64],
    touch: _Touch,
    mark: _Mark,
) -> None:
    """Adds a minutia as the extractor reports it, where that is on the sensor and apart from the others.

    Minutiae stand in order from the top, as in records of real extractors: in the order made, their
    index would give mates away.
    """
    jitter = math.sqrt(1.0 + 3.0 * mark.doubt)
    x, y = _on_sensor(touch, mark.x, mark.y)
    pixel_x = round(x + POSITION_JITTER * jitter * normal(state))
    pixel_y = round(y + POSITION_JITTER * jitter * normal(state))
    if uniform(state) < SLIP_SHARE:
        jitter *= SLIP
    degrees = math.degrees(mark.direction + touch.turn) + DIRECTION_JITTER * jitter * normal(state)

    n = impressions.counts[i]
    if n == CAPACITY or not (0 <= pixel_x < SENSOR_WIDTH and 0 <= pixel_y < SENSOR_HEIGHT):
        return
    at = 0  # where it belongs
    for k in range(n):
        down = pixel_y - np.int64(impressions.y[i, k])
        right = pixel_x - np.int64(impressions.x[i, k])
        if right * right + down * down < RESOLVED_GAP * RESOLVED_GAP:
            return
        if down >= 0:
            at = k + 1
    for k in range(n, at, -1):
        impressions.x[i, k] = impressions.x[i, k - 1]
        impressions.y[i, k] = impressions.y[i, k - 1]
        impressions.direction[i, k] = impressions.direction[i, k - 1]
        impressions.kind[i, k] = impressions.kind[i, k - 1]
        impressions.quality[i, k] = impressions.quality[i, k - 1]
    impressions.x[i, at] = pixel_x
    impressions.y[i, at] = pixel_y
    impressions.direction[i, at] = (round(degrees / DIRECTION_UNIT) % 256) * DIRECTION_UNIT
    impressions.kind[i, at] = ENDING if mark.is_ending else BIFURCATION
    impressions.quality[i, at] = round(100.0 * mark.confidence)
    impressions.counts[i] = n + 1
