# SPDX-License-Identifier: Apache-2.0
"""Angles as 1/256 of a turn, and rounding as C++ does it; ``cpp/fingerprint/angle.h``."""

from typing import Any

import numpy as np
import numpy.typing as npt

from oracle.edges import Edges

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def rounded(values: npt.ArrayLike) -> Ints:
    """std::lround: to the nearest, halves away from zero."""
    v = np.asarray(values, np.float64)
    return (np.sign(v) * np.floor(np.abs(v) + 0.5)).astype(np.int64)


def wrapped(units: Any) -> Any:
    """A signed difference of angles, -128 to 127."""
    return (units + 128) % 256 - 128


def sine(units: npt.ArrayLike) -> Floats:
    """Of an angle in units, rounded to float32 as the core's table is."""
    radians = wrapped(np.asarray(units)) * (np.pi / 128)
    return np.asarray(np.sin(radians).astype(np.float32).astype(np.float64))


def cosine(units: npt.ArrayLike) -> Floats:
    """Of an angle in units, rounded to float32 as the core's table is."""
    return sine(np.asarray(units) + 64)


def angle_of(x: float, y: float, edges: Edges) -> int:
    """The angle of the vector (x, y); Rajan et al. 2006, equation 10."""
    ax, ay = abs(x), abs(y)
    if ax == 0 and ay == 0:
        return 0
    z = min(ax, ay) / max(ax, ay)
    units = z * (32 + 0.273 * (128 / np.pi) * (1 - z))
    if ay > ax:
        units = 64 - units
    if x < 0:
        units = 128 - units
    if y < 0:
        units = -units
    edges.note(abs(units - np.floor(units) - 0.5), 1e-3)
    return int(rounded(units)) % 256
