# SPDX-License-Identifier: Apache-2.0
"""The ring between pupil and limbus as a rectangle, and which of its pixels show iris.

Row 0 is at the pupil, the last row at the limbus; columns are angles from the positive x axis, clockwise as seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from abis.extraction.iris_boundaries import Contour, sampled

__all__ = ["COLUMNS", "ROWS", "Normalised", "normalised"]

Floats = npt.NDArray[np.float32]

ROWS = 64
COLUMNS = 512
_SIDE_CENTRE = np.radians(10)  # below the horizontal: middle of the sectors to both sides
_SIDE_HALF_ANGLE = np.radians(35)
_COARSE = (2.5, 6.0)  # rows, columns: standard deviation of a bell that evens out the iris' own texture
_CUT = 3.0  # standard deviations of the iris: further off, a neighbourhood shows something else
_LASH, _STRAY = 2.6, 4.0  # the same for single pixels: dark ones where lashes hang, and all others
_LASHES_ABOVE = -0.2  # sine of the angle
_UNLIKE = 2.0
_LEAST_SPREAD = 0.02  # of the range of grey levels of the image
_LEAST_TEXTURE_SPREAD = 0.25  # of the logarithm of a spread
_LID_STEP = 1  # rows that the edge of a lid rises or falls a column
_INNER_MARGIN, _OUTER_MARGIN = 2, 3  # rows next to the contours, which show what is beyond them


class Normalised(NamedTuple):
    """A rubber sheet (Daugman 1993).

    Attributes:
        grey: (64, 512) float32 grey levels.
        visible: (64, 512) bool; False where a lid, lashes, a reflection or the border of the image hides the iris.
    """

    grey: Floats
    visible: npt.NDArray[np.bool_]


def normalised(image: Floats, inner: Contour, outer: Contour) -> Normalised:
    """Unroll the iris between two contours, and mark what hides it."""
    start, end = inner.points(COLUMNS), outer.points(COLUMNS)
    # Each point of the inner contour is joined with that of the outer one at the same angle around the pupil.
    share = ((np.arange(ROWS) + 0.5) / ROWS)[:, np.newaxis]
    x = start[:, 0] + share * (end[:, 0] - start[:, 0])
    y = start[:, 1] + share * (end[:, 1] - start[:, 1])
    thickness = max(1.0, outer.mean_radius - inner.mean_radius)
    blur = 0.5 * max(thickness / ROWS, 2 * np.pi * outer.mean_radius / COLUMNS / 2)
    grey = sampled(ndimage.gaussian_filter(image, blur, mode="nearest") if blur > 0.6 else image, x, y)
    height, width = image.shape
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    range_ = float(np.subtract(*np.percentile(image, (98, 1))))
    return Normalised(grey, inside & _visible(grey, inside, range_))


def _visible(grey: Floats, inside: npt.NDArray[np.bool_], range_: float) -> npt.NDArray[np.bool_]:
    """Pixels that look like iris: neither beyond a lid's edge nor lashes nor reflections."""
    sides = _sides(inside)
    fine = _smoothed(grey, 1.0, 1.5)
    coarse = _smoothed(grey, *_COARSE)
    texture = np.log(np.sqrt(_smoothed((grey - coarse) ** 2, *_COARSE)) + _LEAST_SPREAD * range_)
    off = _deviations(fine, sides, _LEAST_SPREAD * range_)
    lids = _beyond_lids(
        _deviations(coarse, sides, _LEAST_SPREAD * range_), _deviations(texture, sides, _LEAST_TEXTURE_SPREAD)
    )
    turn = np.arange(COLUMNS) * (2 * np.pi / COLUMNS)
    dark = np.where(np.sin(turn) < _LASHES_ABOVE, _LASH, _STRAY)
    stray = _dilated((off < -dark) | (off > _STRAY))
    visible = inside & ~lids & ~stray
    visible[:_INNER_MARGIN] = visible[-_OUTER_MARGIN:] = False
    return visible


def _smoothed(rows: Floats, across: float, along: float) -> Floats:
    return np.asarray(ndimage.gaussian_filter(rows, (across, along), mode=("nearest", "wrap")), np.float32)


def _dilated(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Grown by a row and two columns on each side, round the turn."""
    wide = np.concatenate([rows[:, -2:], rows, rows[:, :2]], axis=1)
    return np.asarray(ndimage.binary_dilation(wide, np.ones((3, 5)))[:, 2:-2])


def _sides(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(rows, columns): the part left and right of the pupil, which lids and lashes seldom hide."""
    turn = np.arange(COLUMNS) * (2 * np.pi / COLUMNS)
    folded = np.arctan2(np.sin(turn), np.abs(np.cos(turn)))  # 0 at both sides, pi / 2 below
    sides = np.abs(folded - _SIDE_CENTRE) < _SIDE_HALF_ANGLE
    return np.asarray(inside & sides)


def _deviations(values: Floats, sides: npt.NDArray[np.bool_], least_spread: float) -> Floats:
    """How many standard deviations each pixel is off what the iris has in its row.

    The expected value is a curve over rows plus a slope from one side to the other (light comes from somewhere),
    fitted to the sides robustly.
    """
    turn = np.arange(COLUMNS) * (2 * np.pi / COLUMNS)
    rows = np.polynomial.legendre.legvander(np.linspace(-1, 1, ROWS), 4)
    basis = np.empty((ROWS, COLUMNS, 6))
    basis[..., :5] = rows[:, np.newaxis]
    basis[..., 5] = np.cos(turn)
    chosen = basis[sides]
    given = values[sides].astype(np.float64)
    if len(given) < ROWS:
        return np.zeros_like(values)
    weight = np.ones(len(given))
    ridge = np.diag([1e-6, 1e-2, 1e-2, 1e-2, 1e-2, 1e-2]) * len(given)
    for _ in range(5):
        weighted = chosen * weight[:, np.newaxis]
        solution = np.linalg.solve(chosen.T @ weighted + ridge, weighted.T @ given)
        rest = given - chosen @ solution
        spread = max(least_spread, 1.4826 * float(np.median(np.abs(rest))))
        weight = 1 / (1 + (rest / (2 * spread)) ** 2)
    return np.asarray((values - basis @ solution) / spread, np.float32)


def _beyond_lids(grey: Floats, texture: Floats) -> npt.NDArray[np.bool_]:
    """What lies outside the edges of the upper and the lower lid.

    Along each column, pixels within the edge should look like iris and those beyond should not; of all connected
    edges the likeliest is found by dynamic programming.

    Args:
        grey: deviations of the local grey level.
        texture: deviations of the local spread of grey levels: lashes have more.
    """
    distance = grey**2 + np.maximum(texture, 0) ** 2
    evidence = np.clip(1 - distance / _CUT**2, -_UNLIKE, 1.0)  # above 0 like iris
    gain = np.concatenate([np.zeros((1, COLUMNS)), np.cumsum(evidence, axis=0)])  # of an edge before row k
    return np.asarray(np.arange(ROWS)[:, np.newaxis] >= _best_edge(gain))


def _best_edge(gain: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """(columns,) the row of the best edge over a closed turn, which moves ``_LID_STEP`` rows a column at most."""
    steps, n = gain.shape
    start = n // 8  # a side of the eye, in the middle of the unrolled turn twice
    order = (np.arange(2 * n) + start) % n
    total = gain[:, order[0]].copy()
    came = np.zeros((2 * n, steps), np.int8)
    moves = np.arange(-_LID_STEP, _LID_STEP + 1)
    for k in range(1, 2 * n):
        padded = np.pad(total, _LID_STEP, constant_values=-np.inf)
        options = np.stack(
            [padded[_LID_STEP + move : _LID_STEP + move + steps] - 0.3 * abs(move) for move in moves]
        )
        choice = options.argmax(axis=0)
        came[k] = moves[choice]
        total = options[choice, np.arange(steps)] + gain[:, order[k]]
    row = int(total.argmax())
    edge = np.empty(n, np.intp)
    for k in range(2 * n - 1, -1, -1):
        if n // 2 <= k < n + n // 2:
            edge[order[k]] = row
        row += int(came[k, row])
    return edge
