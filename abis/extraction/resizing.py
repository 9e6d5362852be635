# SPDX-License-Identifier: Apache-2.0
"""Images at another resolution, by bicubic interpolation as OpenCV's ``INTER_CUBIC`` does it.

The published error rates of the network, and the templates of pyfing, were made with OpenCV's interpolation. Neither
library can take the place of this code. Of ten images of FVC2002 DB2 and FVC2004 DB3 (569 and 512 dpi), Pillow 13's
bicubic changes 60 % of the pixels and all ten templates. OpenCV 4.11 changes 7 pixels in a million and one template, by
fixed-point weights; its wheel also loads libGL and X11, which servers and containers lack.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["resize"]

_SHARPNESS = -0.75  # Keys' parameter a (IEEE TASSP 29(6), 1981), as OpenCV has it


def resize(image: npt.NDArray[np.uint8], scale: float) -> npt.NDArray[np.uint8]:
    """(h, w) uint8 to the nearest whole size of ``scale`` times its own; the border's pixels go on outside."""
    rows, row_weights = _taps(image.shape[0], scale)
    columns, column_weights = _taps(image.shape[1], scale)
    wide = (image[:, columns] * column_weights).sum(axis=2)
    tall = (wide[rows] * row_weights[:, :, np.newaxis]).sum(axis=1)
    return np.asarray(np.rint(tall).clip(0, 255), np.uint8)


def _taps(size: int, scale: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each new pixel along an axis, the four old ones it is made of, and their weights: (n, 4) each."""
    places = (np.arange(max(1, round(size * scale))) + 0.5) / scale - 0.5
    first = np.floor(places)
    distance = (places - first)[:, np.newaxis]
    weights = np.hstack([_far(distance + 1), _near(distance), _near(1 - distance)])
    weights = np.hstack([weights, 1 - weights.sum(axis=1, keepdims=True)])
    taps = first.astype(np.int64)[:, np.newaxis] + np.arange(-1, 3)
    return taps.clip(0, size - 1), weights


def _near(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight at a distance of 0 to 1 pixels."""
    return ((_SHARPNESS + 2) * t - (_SHARPNESS + 3)) * t * t + 1


def _far(t: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weight at a distance of 1 to 2 pixels."""
    return ((_SHARPNESS * t - 5 * _SHARPNESS) * t + 8 * _SHARPNESS) * t - 4 * _SHARPNESS
