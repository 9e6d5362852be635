# SPDX-License-Identifier: Apache-2.0
"""Synthetic fingers for the tests of the comparison: scattered minutiae, and several impressions of the same ones."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from abis.template import NO_QUALITY, Minutiae

PIXELS_PER_CM = 500 / 2.54
RESOLUTIONS = ((197, 197), (224, 224), (202, 197), (394, 394), (98, 98))


@dataclass(frozen=True)
class Finger:
    """What is true of a finger, before any print of it: (n,) columns at 500 dpi, degrees and codes."""

    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    direction: npt.NDArray[np.float64]
    kind: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint8]


def make_finger(rng: np.random.Generator, n: int) -> Finger:
    """Minutiae scattered over 260 x 320 pixels."""
    return Finger(
        x=rng.uniform(120, 380, n),
        y=rng.uniform(90, 410, n),
        direction=rng.uniform(0, 360, n),
        kind=rng.integers(0, 3, n, np.uint8),
        quality=rng.integers(1, 101, n, np.uint8),
    )


def make_impression(
    finger: Finger,
    rng: np.random.Generator | None = None,
    *,
    turn: float = 0,
    shift: tuple[float, float] = (0, 0),
    jitter: float = 2,
    kept: float = 0.85,
    spurious: int = 3,
    resolution: tuple[int, int] = RESOLUTIONS[0],
    quality: bool = True,
) -> Minutiae:
    """A print of a finger.

    Args:
        finger: whose.
        rng: where the noise comes from; none at all where None.
        turn: degrees anticlockwise about (250, 250).
        shift: pixels at 500 dpi.
        jitter: standard deviation of a place in pixels at 500 dpi, and of a direction in 2 degrees.
        kept: share of the finger's minutiae that are found.
        spurious: minutiae that are not the finger's.
        resolution: pixels per centimetre.
        quality: whether it is reported.
    """
    x, y, direction = finger.x, finger.y, finger.direction
    kind, grade = finger.kind, finger.quality
    if rng is not None:
        found = rng.random(len(x)) < kept
        extra = make_finger(rng, spurious)
        x, y, direction, kind, grade = (
            np.concatenate([getattr(finger, name)[found], getattr(extra, name)])
            for name in ("x", "y", "direction", "kind", "quality")
        )
        x, y = x + rng.normal(0, jitter, len(x)), y + rng.normal(0, jitter, len(y))
        direction = direction + rng.normal(0, 2 * jitter, len(x))
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    dx, dy = x - 250, y - 250  # y downwards
    moved_x = (250 + c * dx + s * dy + shift[0]) * resolution[0] / PIXELS_PER_CM
    moved_y = (250 - s * dx + c * dy + shift[1]) * resolution[1] / PIXELS_PER_CM
    width, height = (round(500 * r / PIXELS_PER_CM) for r in resolution)
    column, row = np.rint(moved_x), np.rint(moved_y)
    on_image = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    on_image[np.flatnonzero(on_image)[255:]] = False
    units = np.rint((direction + turn) * (256 / 360)) % 256
    return Minutiae(
        x=column[on_image],
        y=row[on_image],
        direction=units[on_image] * (360 / 256),
        kind=kind[on_image],
        quality=grade[on_image] if quality else np.full(int(on_image.sum()), NO_QUALITY),
        width=width,
        height=height,
        resolution=resolution,
    )


seeds = st.integers(0, 2**32 - 1)


@st.composite
def scattered(draw: st.DrawFn, *, least: int = 0, most: int = 60) -> Minutiae:
    """Any print of a made-up finger."""
    rng = np.random.default_rng(draw(seeds))
    return make_impression(
        make_finger(rng, draw(st.integers(least, most))),
        resolution=draw(st.sampled_from(RESOLUTIONS)),
        quality=draw(st.booleans()),
    )


@st.composite
def mated(
    draw: st.DrawFn, *, least: int = 15, most: int = 60, turn: float = 180
) -> tuple[Minutiae, Minutiae]:
    """Two prints of one finger, the second moved, turned by up to `turn` degrees, jittered and partly lost."""
    rng = np.random.default_rng(draw(seeds))
    finger = make_finger(rng, draw(st.integers(least, most)))
    return make_impression(finger, rng), make_impression(
        finger,
        rng,
        turn=draw(st.floats(-turn, turn)),
        shift=(draw(st.floats(-60, 60)), draw(st.floats(-60, 60))),
        jitter=draw(st.floats(0, 4)),
        kept=draw(st.floats(0.5, 1)),
        spurious=draw(st.integers(0, 15)),
        resolution=draw(st.sampled_from(RESOLUTIONS)),
        quality=draw(st.booleans()),
    )


SHAPES = ("tiny", "place", "line", "grid", "many", "corner")


def make_strange(shape: str, rng: np.random.Generator) -> Minutiae:
    """What no sensor delivers but a file may hold.

    Next to nothing, all in one place, on a line, on a grid, as many as may be, or in the far corner of the
    largest image; some with all directions the same.
    """
    n = rng.integers(0, 6) if shape == "tiny" else 255 if shape == "many" else rng.integers(3, 41)
    side = 16383 if shape == "corner" else 500
    if shape == "place":
        x, y = np.full(n, 250), np.full(n, 250)
    elif shape == "line":
        x, y = 100 + 7 * np.arange(n), 100 + rng.integers(0, 9) * np.arange(n)
    elif shape == "grid":
        x, y = 100 + 20 * (np.arange(n) % 6), 100 + 20 * (np.arange(n) // 6)
    else:
        low, high = (side - 300, side) if shape == "corner" else (100, 400)
        x, y = rng.integers(low, high, n), rng.integers(low, high, n)
    directions = np.full(n, 32) if rng.random() < 0.3 else rng.integers(0, 256, n)
    return Minutiae(
        x=x,
        y=y,
        direction=directions * (360 / 256),
        kind=rng.integers(0, 3, n),
        quality=rng.choice([0, 1, 50, 100, NO_QUALITY], n),
        width=side,
        height=side,
    )


@st.composite
def strange(draw: st.DrawFn) -> Minutiae:
    """See make_strange."""
    return make_strange(draw(st.sampled_from(SHAPES)), np.random.default_rng(draw(seeds)))
