# SPDX-License-Identifier: Apache-2.0
"""Whether a portrait is good enough that the promised false match rates hold.

Where little of a face is to be seen, a network still gives a vector, and the vectors of all such portraits are alike:
of blurred portraits, strangers reach a threshold for 1 in 10,000 thirty times in 100. The floors below were chosen on
some people of the first fold of LFW, degraded on purpose, such that of what passes the false match rates seen are
within a factor of two of those promised; benchmarks/accuracy/degraded_faces.py measures them on the other people. Of
the originals, fewer than 1 % fall below one.

A covered mouth is no reason to refuse: strangers with masks match no more often than others do, but two portraits of
one person match less often. Covered eyes, or half a face, make strangers alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["poor_by_aligned_face", "poor_by_vector"]

_LEAST_DETECTION = 0.80  # the detector's confidence: faces half covered, and noise
_LEAST_CONTRAST = 7.0  # standard deviation of 8-bit grey
_LEAST_SHARPNESS = 0.040  # mean absolute Laplacian by contrast
_MOST_FLAT = 0.10  # part of eyes and nose without any structure: covered, painted over, burnt out
_FLAT = 0.05  # range of grey in a flat patch, by contrast
_PATCH, _STEP = 5, 2  # pixels
_EYES = slice(38, 72), slice(24, 88)  # rows and columns of an aligned face that eyes and nose lie in
_LEAST_LENGTH = 8.5  # of SFace's vector


def poor_by_aligned_face(face: npt.NDArray[np.uint8], detection: float) -> str:
    """Why a portrait is too poor to be compared, in words; empty where it is good enough.

    Args:
        face: (112, 112, 3), aligned.
        detection: the detector's confidence, 0 to 1.
    """
    grey = face.mean(axis=2)
    contrast = float(grey.std())
    if contrast < _LEAST_CONTRAST:
        return f"too dark or too pale: contrast {contrast:.1f} of 255, expected {_LEAST_CONTRAST:g} or more"
    sharpness = _laplacian(grey) / contrast
    if sharpness < _LEAST_SHARPNESS:
        return f"blurred: sharpness {sharpness:.3f}, expected {_LEAST_SHARPNESS:g} or more"
    flat = _flat_part(grey[_EYES], _FLAT * contrast)
    if flat > _MOST_FLAT:
        return f"covered: {flat:.0%} of eyes and nose shows nothing, expected {_MOST_FLAT:.0%} or less"
    if detection < _LEAST_DETECTION:
        return f"hardly a face: detection confidence {detection:.2f}, expected {_LEAST_DETECTION:g} or more"
    return ""


def poor_by_vector(length: float) -> str:
    """The same by the length of the vector that SFace gives; other networks' lengths were not measured."""
    if length < _LEAST_LENGTH:
        return f"unclear: vector of length {length:.1f}, expected {_LEAST_LENGTH:g} or more"
    return ""


def _laplacian(grey: npt.NDArray[np.float64]) -> float:
    """The mean absolute value of the discrete Laplacian."""
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.abs(4 * grey[1:-1, 1:-1] - around).mean())


def _flat_part(grey: npt.NDArray[np.float64], tolerance: float) -> float:
    """Part of the patches whose grey values lie within ``tolerance`` of each other."""
    patches = np.lib.stride_tricks.sliding_window_view(grey, (_PATCH, _PATCH))[::_STEP, ::_STEP]
    ranges = patches.max(axis=(2, 3)) - patches.min(axis=(2, 3))
    return float((ranges <= tolerance).mean())
