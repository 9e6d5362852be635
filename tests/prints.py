# SPDX-License-Identifier: Apache-2.0
"""Artificial images of ridges with minutiae at chosen places."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import PIL.Image

__all__ = ["png", "ridges"]

_PERIOD = 9.0  # pixels from ridge to ridge, as of an adult's finger at 500 dpi
_WIDTH, _HEIGHT = 320, 400


def ridges(seed: int, *, minutiae: int = 30, shift: tuple[int, int] = (0, 0)) -> npt.NDArray[np.uint8]:
    """(400, 320) grey: arching ridges, broken or forked at ``minutiae`` places.

    A wave whose phase winds once about each minutia; after K. Larkin and P. Fletcher, A coherent framework for
    fingerprint analysis: are fingerprints holograms?, Optics Express 15(14), 2007.

    Args:
        seed: of the places; the same seed makes the same finger.
        minutiae: how many.
        shift: pixels by which the finger lies further right and down.
    """
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:_HEIGHT, :_WIDTH].astype(np.float64)
    x, y = x - shift[0], y - shift[1]
    bend = random.uniform(0.8, 1.2) * 0.0025
    phase = 2 * np.pi / _PERIOD * (y + bend * (x - _WIDTH / 2) ** 2)
    for _ in range(minutiae):
        place = random.uniform(40, _WIDTH - 40), random.uniform(50, _HEIGHT - 50)
        phase += random.choice([-1, 1]) * np.arctan2(y - place[1], x - place[0])
    inside = ((x - _WIDTH / 2) / 140) ** 2 + ((y - _HEIGHT / 2) / 180) ** 2 < 1
    grain = random.normal(0, 12, x.shape)
    grey = np.where(inside, 128 + 90 * np.cos(phase) + grain, 245 + grain / 8)
    return np.asarray(grey.clip(0, 255), np.uint8)


def png(pixels: npt.NDArray[np.uint8], **options: object) -> bytes:
    """The image as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()
