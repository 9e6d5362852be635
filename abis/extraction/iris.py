# SPDX-License-Identifier: Apache-2.0
"""A near-infrared image of an eye to an iris code, by filters of our own: no network, no weights.

The steps are those of J. Daugman, IEEE TPAMI 15(11), 1993: find pupil and limbus, unroll the ring between them, mask
what hides the iris, and keep the phase of its texture.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abis.errors import ExtractionError
from abis.extraction.iris_boundaries import Contour, find_boundaries
from abis.extraction.iris_encoding import encoded
from abis.extraction.iris_normalisation import Normalised, normalised
from abis.template import IrisCode, Position

__all__ = ["MODEL", "Located", "extract_iris", "locate", "unrolled"]

MODEL = "abis-iris-1"
"""Name of this extraction. Its number changes whenever codes would not compare well with those made before."""

_LEAST_SIDE = 64  # pixels
_LEAST_VISIBLE = 0.12  # of the iris
_LEAST_COUNTING = 0.1  # of the bits


class Located(NamedTuple):
    """What the extraction found on the way.

    Attributes:
        pupil, limbus: the contours of the iris, in pixels of the image.
        iris: the ring between them, unrolled.
    """

    pupil: Contour
    limbus: Contour
    iris: Normalised


def extract_iris(image: npt.NDArray[np.uint8], *, position: Position = Position.UNKNOWN_EYE) -> IrisCode:
    """The iris code of the one eye that an image shows. About 0.3 s on one core.

    Args:
        image: (h, w) grey levels of an eye in near-infrared light, of any size; the iris may be 20 to 110 % as wide
            as the image is high.
        position: which eye it is.

    Returns:
        A code of 6 rows, 128 columns and 4 planes. Its quality is the visible part of the iris in per cent
        (usable iris area, ISO/IEC 29794-6).

    Raises:
        ExtractionError: no iris is found, or too little of it is visible.
    """
    found = locate(image)
    visible = float(found.iris.visible.mean())
    if visible < _LEAST_VISIBLE:
        raise ExtractionError(
            f"{100 * visible:.0f} % of the iris is visible; expected at least {100 * _LEAST_VISIBLE:.0f} %"
        )
    bits, mask = encoded(found.iris)
    if mask.mean() < _LEAST_COUNTING:
        raise ExtractionError("the visible part of the iris is too small or too torn to compare")
    return IrisCode(bits=bits, mask=mask, model=MODEL, position=position, quality=round(100 * visible, 1))


def locate(image: npt.NDArray[np.uint8]) -> Located:
    """The iris in an image, unrolled.

    Args:
        image: (h, w) grey levels.

    Raises:
        ExtractionError: no iris is found.
    """
    if min(image.shape) < _LEAST_SIDE:
        height, width = image.shape
        raise ExtractionError(f"the image is {width}x{height}; expected at least {_LEAST_SIDE} pixels a side")
    grey = image.astype(np.float32)
    pupil, limbus = find_boundaries(grey)
    return Located(pupil, limbus, normalised(grey, pupil, limbus))


def unrolled(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a picture of the unrolled iris, (64, 512) grey levels; hidden parts are darker.

    Raises:
        ExtractionError: no iris is found.
    """
    iris = locate(image).iris
    low, high = np.percentile(iris.grey, (1, 99))
    grey = 255 * np.clip((iris.grey - low) / max(1.0, float(high - low)), 0, 1)
    return np.asarray(np.where(iris.visible, grey, 0.5 * grey), np.uint8)
