# SPDX-License-Identifier: Apache-2.0
"""Made-up eyes for tests: a textured ring around a dark disc with a bright reflection, between two lids."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from abis.template import IrisCode, Position


def eye(
    seed: int,
    *,
    size: tuple[int, int] = (480, 640),
    centre: tuple[float, float] | None = None,
    radius: float = 110.0,
    pupil: float = 42.0,
    turn: float = 0.0,
    noise: float = 2.0,
    lids: float = 0.8,
    capture: int = 0,
) -> npt.NDArray[np.uint8]:
    """(h, w) grey levels.

    Args:
        seed: of the iris' texture: the eye.
        size: (h, w).
        centre: (x, y) of the pupil; by default that of the image.
        radius: of the limbus, pixels.
        pupil: its radius, pixels.
        turn: rotation of the eye, degrees clockwise.
        noise: of the sensor, standard deviation in grey levels.
        lids: distance of the upper lid from the pupil by the radius; the lower one is a little further off.
        capture: seed of the noise.
    """
    height, width = size
    x0, y0 = centre or (width / 2, height / 2)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    away = np.hypot(x - x0, y - y0)
    angle = np.arctan2(y - y0, x - x0) - np.radians(turn)
    texture = np.random.default_rng(seed).standard_normal((32, 256))
    texture = ndimage.gaussian_filter(texture, (2.0, 3.0), mode=("nearest", "wrap"))
    texture /= texture.std()
    row = np.clip((away - pupil) / (radius - pupil), 0, 1) * 31
    column = (angle / (2 * np.pi)) % 1 * 256
    iris = 115 + 14 * ndimage.map_coordinates(texture, [row, column], order=1, mode="grid-wrap")
    image = np.full(size, 190.0)
    blend = np.clip((radius - away) / 4 + 0.5, 0, 1)  # a soft limbus
    image = blend * iris + (1 - blend) * image
    blend = np.clip((pupil - away) / 2 + 0.5, 0, 1)
    image = blend * 35 + (1 - blend) * image
    image[np.hypot(x - x0 - pupil / 4, y - y0 - pupil / 3) < pupil / 7] = 250
    bend = ((x - x0) / (2.2 * radius)) ** 2 * radius
    upper = y - (y0 - lids * radius + bend)
    lower = (y0 + (lids + 0.1) * radius - bend) - y
    image[np.minimum(upper, lower) < 0] = 205
    image[np.abs(np.minimum(upper, lower)) < radius / 40] = 90
    image = ndimage.gaussian_filter(image, 0.8)
    image += np.random.default_rng([seed, capture]).normal(0, noise, size)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def code(
    seed: int,
    *,
    flips: float = 0.0,
    hidden: float = 0.3,
    shift: int = 0,
    capture: int = 0,
    position: Position = Position.LEFT_EYE,
    model: str = "made-up",
    shape: tuple[int, int, int] = (8, 128, 2),
) -> IrisCode:
    """A code of random bits. Captures of one seed differ in a part ``flips`` of their bits and in what is hidden."""
    bits = np.random.default_rng(seed).random(shape) < 0.5
    own = np.random.default_rng([seed, capture])
    bits ^= own.random(shape) < flips
    mask = own.random(shape) >= hidden
    return IrisCode(
        bits=np.roll(bits, shift, axis=1), mask=np.roll(mask, shift, axis=1), model=model, position=position
    )
