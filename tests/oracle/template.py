# SPDX-License-Identifier: Apache-2.0
"""Normalisation; ``cpp/fingerprint/template.cpp``. Equal to the core to the bit."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abis.template import NO_QUALITY, Minutiae
from oracle.angle import Ints, rounded
from oracle.constants import DEGREES_TO_UNITS, C


@dataclass(frozen=True)
class Normalised:
    """Minutiae at 500 dpi, y upwards, sorted by x, y, direction, kind, reliability, place in the template.

    Attributes:
        x, y: (n,) pixels from the middle of all.
        direction: (n,) 1/256 turn.
        kind: (n,) codes of MinutiaKind.
        reliability: (n,) 0 to 100 %.
        order: (n,) where each minutia stands in the template.
    """

    x: Ints
    y: Ints
    direction: Ints
    kind: Ints
    reliability: Ints
    order: Ints

    def __len__(self) -> int:
        return len(self.x)


def normalise(raw: Minutiae) -> Normalised:
    x, y = _scaled(raw.x, raw.resolution[0]), -_scaled(raw.y, raw.resolution[1])
    direction = rounded(raw.direction * DEGREES_TO_UNITS) % 256
    kind, reliability = raw.kind.astype(np.int64), _reliability(raw.quality)
    order = np.lexsort((reliability, kind, direction, y, x))
    return Normalised(x[order], y[order], direction[order], kind[order], reliability[order], order)


def _scaled(pixels: npt.NDArray[np.uint16], resolution: int) -> Ints:
    """Pixels at 500 dpi from the middle of all."""
    if not len(pixels):
        return np.empty(0, np.int64)
    half = np.float32(C["kPixelsPerCentimetre"]) / np.float32(2 * resolution)
    twice = 2 * pixels.astype(np.int64) - (int(pixels.min()) + int(pixels.max()))
    return rounded(np.clip(twice.astype(np.float32) * half, np.float32(-32767), np.float32(32767)))


def _reliability(quality: npt.NDArray[np.uint8]) -> Ints:
    """Quality against that of the template's better minutiae; all of it where not reported."""
    reported = np.sort(quality[quality != NO_QUALITY])
    rank = int(np.float32(len(reported)) * np.float32(C["kReliableQuantile"]))
    reliable = max(1, int(reported[rank])) if len(reported) else 1
    share = quality.astype(np.float32) / np.float32(reliable)
    clamped = np.clip(share, np.float32(C["kLeastReliability"]), np.float32(1))
    return np.where(quality == NO_QUALITY, 100, rounded(np.float32(100) * clamped))
