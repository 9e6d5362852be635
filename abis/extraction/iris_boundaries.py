# SPDX-License-Identifier: Apache-2.0
"""Pupil and limbus of a near-infrared eye: two circles first, then a closed contour each.

Angles are radians from the positive x axis, growing clockwise as seen on the image (y points downwards).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from abis.errors import ExtractionError

__all__ = ["CentrePrior", "Circle", "Contour", "find_boundaries", "find_circles", "find_contours", "sampled"]

Floats = npt.NDArray[np.float32]

_WORKING_SIDE = 120  # pixels of the shorter side, at which circles are searched
_PUPIL_RADII = np.arange(4.0, 29.0)  # pixels at that scale
_LIMBUS_RADII = np.arange(11.0, 69.0, 1.5)
_RING_ANGLES = 96
_REFLECTION_RADIUS = 3  # pixels at that scale: brighter spots up to twice that wide are reflections
_LEAST_CONTRAST = 0.02  # of the range of grey levels: weaker gradients count less
_PUPIL_EDGE = 1.12  # of its radius: as far reaches the edge of the pupil
_PUPIL_SHARE = (0.15, 0.75)  # of the radius of the iris: beyond, there is no iris to compare
_MOST_ECCENTRIC = 0.15  # distance of the two centres by the radius of the iris
_CANDIDATES = 8
_GLINT, _BRIGHT = 0.3, 0.75  # of the range of grey levels: above what is around, and above the darkest
_BRIGHT_WITHIN = 0.15  # a pupil whose rays are brighter on the mean is taken for larger than it is
_LEAST_EVIDENCE = 1.15
"""Mean alignment of gradients with both circles and the darkness of the pupil, below which there is no eye. Fingers and
portraits reach 1.1, the weakest of the images of CASIA-IrisV1 1.3."""
_CHANCE = 0.8
"""By the root of the radius: on small circles of few pixels gradients are aligned by chance."""

CONTOUR_ANGLES = 256


class CentrePrior(NamedTuple):
    """Where the centre of the limbus is expected, compared with the centre of the pupil.

    Lids hide the limbus above and below, so that lashes may pull it up or down. ``benchmarks/fitting/fit_irises.py``
    chooses the values.

    Attributes:
        below: how far the pupil is expected below the centre of the iris, by the radius of the iris.
        kept: parts of the offset of the circles, to a side and up or down, from where the contour is searched.
        costs: factors by which such a shift costs more than another deformation.
    """

    below: float = 0.03
    kept: tuple[float, float] = (0.5, 0.0)
    costs: tuple[float, float] = (30.0, 100.0)


CENTRE_PRIOR = CentrePrior()


@dataclass(frozen=True)
class Circle:
    """Pixels of the image it was found in."""

    x: float
    y: float
    radius: float

    def scaled(self, factor: float) -> Circle:
        """In an image that is ``factor`` times as large; centres of pixels have whole coordinates."""
        return Circle((self.x + 0.5) * factor - 0.5, (self.y + 0.5) * factor - 0.5, self.radius * factor)


@dataclass(frozen=True, eq=False)
class Contour:
    """A closed line around a point: ``radii[k]`` pixels from it at angle 2 pi k / len(radii)."""

    x: float
    y: float
    radii: npt.NDArray[np.float64]

    @property
    def mean_radius(self) -> float:
        return float(self.radii.mean())

    def points(self, angles: int) -> npt.NDArray[np.float64]:
        """(angles, 2) x and y, linear between the radii."""
        turn = np.arange(angles) * (2 * np.pi / angles)
        own = np.arange(len(self.radii) + 1) * (2 * np.pi / len(self.radii))
        radius = np.interp(turn, own, np.append(self.radii, self.radii[0]))
        return np.stack([self.x + radius * np.cos(turn), self.y + radius * np.sin(turn)], axis=1)


def find_boundaries(image: Floats) -> tuple[Contour, Contour]:
    """The contours of the pupil and of the iris.

    Args:
        image: (h, w) grey levels.

    Raises:
        ExtractionError: no pair of circles looks like an eye.
    """
    return find_contours(image, *find_circles(image))


def find_contours(
    image: Floats, pupil: Circle, limbus: Circle, prior: CentrePrior = CENTRE_PRIOR
) -> tuple[Contour, Contour]:
    """The contours near the circles of pupil and limbus.

    Args:
        image: (h, w) grey levels.
        pupil: as :func:`find_circles` finds it.
        limbus: as :func:`find_circles` finds it.
        prior: where the centre of the limbus is expected.
    """
    clean = _without_glints(image, limbus.radius / 12)
    inner = _pupil_contour(clean, pupil, limbus)
    return inner, _limbus_contour(clean, limbus, inner, prior)


def sampled(image: Floats, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> Floats:
    """Grey levels at points, bilinear; those of the nearest pixel outside the image."""
    return np.asarray(
        ndimage.map_coordinates(image, [y, x], output=np.float32, order=1, mode="nearest"), np.float32
    )


# --- circles ------------------------------------------------------------------------------------------


def find_circles(image: Floats) -> tuple[Circle, Circle]:
    """The pair of circles with the most evidence (integro-differential operator: Daugman, IEEE TPAMI 15(11), 1993).

    For every centre and radius at once: gradients correlated with rings, by FFT. Gradients are saturated, so that the
    bright edge of a reflection or of a lid is no more evidence than the whole soft limbus.

    Raises:
        ExtractionError: no pair of circles looks like an eye.
    """
    factor = max(1.0, min(image.shape) / _WORKING_SIDE)
    small = _shrunk(image, factor)
    small = _without_reflections(small, _REFLECTION_RADIUS)
    range_ = max(1.0, float(np.subtract(*np.percentile(small, (98, 1)))))
    down = ndimage.gaussian_filter(small, 1.3, order=(1, 0), mode="nearest")
    across = ndimage.gaussian_filter(small, 1.3, order=(0, 1), mode="nearest")
    size = np.hypot(down, across) + _LEAST_CONTRAST * range_
    gradients = np.stack([across / size, down / size])
    pupil = _pupil_responses(gradients) + _darkness(small, range_)
    pupil -= (_CHANCE / np.sqrt(_PUPIL_RADII)).astype(np.float32)[:, np.newaxis, np.newaxis]

    best: tuple[float, Circle, Circle] | None = None
    for value, candidate in _strongest(pupil):
        found = _limbus_around(candidate, gradients)
        if found is not None and (best is None or value + found[0] > best[0]):
            best = (value + found[0], candidate, found[1])
    if best is None or best[0] < _LEAST_EVIDENCE:
        raise ExtractionError("no iris found")
    return best[1].scaled(factor), best[2].scaled(factor)


def _shrunk(image: Floats, factor: float) -> Floats:
    if factor == 1.0:
        return image
    smooth = ndimage.gaussian_filter(image, 0.4 * factor, mode="nearest")
    height, width = (int(n / factor) for n in image.shape)
    y = (np.arange(height) + 0.5) * factor - 0.5
    x = (np.arange(width) + 0.5) * factor - 0.5
    return sampled(smooth, *np.meshgrid(x, y))


def _without_reflections(image: Floats, radius: float) -> Floats:
    """Bright spots narrower than twice the radius taken away, by a morphological opening."""
    reach = max(1, round(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    footprint = x * x + y * y <= reach * reach + reach
    return np.asarray(ndimage.grey_opening(image, footprint=footprint, mode="nearest"), np.float32)


def _without_glints(image: Floats, radius: float) -> Floats:
    """The same for spots that are among the brightest of the image.

    A ring of iris between the pupil and dark crypts is narrow too, and stays.
    """
    opened = _without_reflections(image, radius)
    low, high = np.percentile(image, (1, 98))
    bright = (image - opened > _GLINT * (high - low)) & (image > low + _BRIGHT * (high - low))
    glints = ndimage.binary_dilation(bright, iterations=max(1, round(radius / 4)))
    return np.asarray(np.where(glints, opened, image), np.float32)


@lru_cache(maxsize=4)
def _ring_transforms(padded: tuple[int, int]) -> npt.NDArray[np.complex64]:
    """(2, pupil radii, h, w // 2 + 1): Fourier transforms of rings that gradients are multiplied with."""
    turn = (np.arange(_RING_ANGLES) + 0.5) * (2 * np.pi / _RING_ANGLES)
    rings = np.zeros((2, len(_PUPIL_RADII), *padded), np.float32)
    for k, radius in enumerate(_PUPIL_RADII):
        x, y = radius * np.cos(turn), radius * np.sin(turn)
        left, top = np.floor(x).astype(int), np.floor(y).astype(int)
        for dx in (0, 1):
            for dy in (0, 1):
                part = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top)) / _RING_ANGLES
                at = ((top + dy) % padded[0], (left + dx) % padded[1])
                np.add.at(rings[0, k], at, part * np.cos(turn))
                np.add.at(rings[1, k], at, part * np.sin(turn))
    return np.asarray(np.conj(fft.rfft2(rings)), np.complex64)


def _pupil_responses(gradients: Floats) -> Floats:
    """(pupil radii, h, w): how well gradients on the ring around each pixel point outwards, -1 to 1."""
    height, width = gradients.shape[1:]
    reach = int(_PUPIL_RADII[-1]) + 2
    padded = (fft.next_fast_len(height + reach, real=True), fft.next_fast_len(width + reach, real=True))
    transforms = fft.rfft2(gradients, padded)
    rings = _ring_transforms(padded)
    product = rings[0] * transforms[0] + rings[1] * transforms[1]
    return np.asarray(fft.irfft2(product, padded)[:, :height, :width], np.float32)


def _darkness(image: Floats, range_: float) -> Floats:
    """(pupil radii, h, w): how dark the disc around each pixel is, 0 to 1 of the range, as the pupil is."""
    low = float(np.percentile(image, 1))
    dark = np.clip((image - low) / range_, 0, 1)
    out = np.empty((len(_PUPIL_RADII), *image.shape), np.float32)
    for k, radius in enumerate(_PUPIL_RADII):
        out[k] = 0.5 - ndimage.uniform_filter(dark, max(1, round(1.3 * radius)), mode="nearest")
    return np.clip(out, -0.5, 0.5)


def _strongest(pupil: Floats) -> list[tuple[float, Circle]]:
    """The highest local maxima over centre and radius."""
    peaks = (pupil == ndimage.maximum_filter(pupil, (5, 5, 5))) & (pupil > 0)
    radius, y, x = np.nonzero(peaks)
    value = pupil[radius, y, x]
    order = np.argsort(-value, kind="stable")[:_CANDIDATES]
    return [
        (float(value[k]), Circle(float(x[k]), float(y[k]), float(_PUPIL_RADII[radius[k]]))) for k in order
    ]


def _limbus_around(pupil: Circle, gradients: Floats) -> tuple[float, Circle] | None:
    """The strongest limbus that can belong to a pupil, and its evidence, -1 to 1."""
    height, width = gradients.shape[1:]
    y, x = np.mgrid[:height, :width]
    beyond = np.hypot(x - pupil.x, y - pupil.y) > _PUPIL_EDGE * pupil.radius + 2
    outside = np.pad(gradients * beyond, ((0, 0), (1, 1), (1, 1)))  # what lies off the image is no evidence
    turn = (np.arange(_RING_ANGLES) + 0.5) * (2 * np.pi / _RING_ANGLES)
    # Lids cover the limbus above and below, seldom to the sides.
    weight = np.where(np.abs(np.cos(turn)) > np.cos(np.radians(50)), 1.0, 0.15)
    weight /= weight.sum()
    best: tuple[float, Circle] | None = None
    for radius in _LIMBUS_RADII:
        if not _PUPIL_SHARE[0] * radius <= pupil.radius <= _PUPIL_SHARE[1] * radius:
            continue
        reach = int(min(_MOST_ECCENTRIC * radius, 0.5 * (radius - pupil.radius)))
        shift_y, shift_x = (each.reshape(-1, 1) for each in np.mgrid[-reach : reach + 1, -reach : reach + 1])
        at_x = np.rint(pupil.x + shift_x + radius * np.cos(turn)).astype(int)
        at_y = np.rint(pupil.y + shift_y + radius * np.sin(turn)).astype(int)
        at_x, at_y = at_x.clip(-1, width) + 1, at_y.clip(-1, height) + 1
        along = outside[0, at_y, at_x] * np.cos(turn) + outside[1, at_y, at_x] * np.sin(turn)
        evidence = along @ weight - _CHANCE / np.sqrt(radius)
        at = int(evidence.argmax())
        if best is None or evidence[at] > best[0]:
            x_, y_ = pupil.x + float(shift_x[at, 0]), pupil.y + float(shift_y[at, 0])
            best = (float(evidence[at]), Circle(x_, y_, float(radius)))
    return best


# --- contours -----------------------------------------------------------------------------------------


def _pupil_contour(image: Floats, pupil: Circle, limbus: Circle) -> Contour:
    outer = min(1.35, 0.9 * limbus.radius / pupil.radius)
    contour = Contour(pupil.x, pupil.y, np.full(CONTOUR_ANGLES, pupil.radius))
    for _ in range(2):  # again from the better centre
        contour = _contour(
            image,
            contour,
            span=(0.65, outer),
            smoothing=contour.mean_radius / 15,
            weights=np.ones(CONTOUR_ANGLES),
            harmonics=2,
            tolerance=0.05,
            is_dark_within=True,
        )
    return contour


def _limbus_contour(image: Floats, limbus: Circle, inner: Contour, prior: CentrePrior) -> Contour:
    turn = np.arange(CONTOUR_ANGLES) * (2 * np.pi / CONTOUR_ANGLES)
    sides = np.clip((np.abs(np.cos(turn)) - 0.25) / 0.4, 0.02, 1)
    expected = inner.y - prior.below * limbus.radius
    x = inner.x + prior.kept[0] * (limbus.x - inner.x)
    y = expected + prior.kept[1] * (limbus.y - expected)
    contour = Contour(x, y, np.full(CONTOUR_ANGLES, limbus.radius))
    least = 1.15 * inner.mean_radius / limbus.radius
    for _ in range(2):
        contour = _contour(
            image,
            contour,
            span=(max(0.75, least), 1.25),
            smoothing=contour.mean_radius / 25,
            weights=sides,
            harmonics=2,
            tolerance=0.06,
            shift_costs=prior.costs,
        )
    return contour


def _contour(
    image: Floats,
    start: Contour,
    *,
    span: tuple[float, float],
    smoothing: float,
    weights: npt.NDArray[np.float64],
    harmonics: int,
    tolerance: float,
    shift_costs: tuple[float, float] = (1.0, 1.0),
    is_dark_within: bool = False,
) -> Contour:
    """A closed contour where the image gets brighter outwards, as a short Fourier series (Daugman 2007).

    J. Daugman, New methods in iris recognition, IEEE Trans. SMC-B 37(5), 2007, section II. The strongest closed path
    in the polar image is found first, by dynamic programming, so that lashes do not pull single points away.

    Args:
        image: (h, w), reflections taken away.
        start: the contour so far.
        span: least and largest radius, by the mean of those so far.
        smoothing: of the image, standard deviation in pixels.
        weights: (n,) how far each angle is trusted.
        harmonics: of the Fourier series beside the mean radius.
        tolerance: points of the path this far off the series, by the mean radius, count half and less.
        shift_costs: factors of what a shift to a side, and one up or down, cost.
        is_dark_within: whether all within is as dark as the middle, so that edges behind the first one do not count.
    """
    steps = 96
    n = CONTOUR_ANGLES
    radius = start.mean_radius
    turn = np.arange(n) * (2 * np.pi / n)
    radii = radius * np.linspace(*span, steps)
    x = start.x + radii[:, np.newaxis] * np.cos(turn)
    y = start.y + radii[:, np.newaxis] * np.sin(turn)
    polar = sampled(image, x, y)
    pixels_a_step = radii[1] - radii[0]
    gradient = ndimage.gaussian_filter(
        polar, (smoothing / pixels_a_step, 2.0), order=(1, 0), mode=("nearest", "wrap")
    )
    height, width = image.shape
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    strength = np.where(inside, np.maximum(gradient, 0), 0)
    strength /= strength + max(1e-6, float(np.percentile(strength.max(axis=0), 60)))
    if is_dark_within:
        strength /= 1 + (_brightness_within(polar) / _BRIGHT_WITHIN) ** 2
    path = _strongest_path(strength)
    found = radii[path]
    trust = weights * strength[path, np.arange(n)] * _typical(polar, path, steps // 12, weights)
    series = _fitted(found, trust, harmonics, tolerance * radius, shift_costs)
    # The first harmonic is a shift: take the centre there.
    shift_x, shift_y = 2 * (series * np.cos(turn)).mean(), 2 * (series * np.sin(turn)).mean()
    points_x = start.x + series * np.cos(turn) - (start.x + shift_x)
    points_y = start.y + series * np.sin(turn) - (start.y + shift_y)
    angle = np.arctan2(points_y, points_x) % (2 * np.pi)
    order = np.argsort(angle)
    moved = np.interp(turn, angle[order], np.hypot(points_x, points_y)[order], period=2 * np.pi)
    return Contour(start.x + shift_x, start.y + shift_y, moved)


def _brightness_within(polar: Floats) -> npt.NDArray[np.floating]:
    """(steps, n): mean grey level of each column up to each row, 0 as the darkest part to 1 as the brightest."""
    low = float(np.median(polar[: max(1, len(polar) // 8)]))
    high = float(np.median(polar[-max(1, len(polar) // 8) :]))
    level = np.clip((polar - low) / max(1.0, high - low), 0, 1)
    return np.cumsum(level, axis=0) / np.arange(1, len(polar) + 1)[:, np.newaxis]


def _typical(
    polar: Floats, path: npt.NDArray[np.intp], margin: int, weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(n,) 1 where the grey levels on both sides of a path are those of most of it, less where they are not.

    Where lashes or a lid lie over the edge, one of them is another.
    """
    column = np.arange(len(path))
    trust = np.ones(len(path))
    for move in (-margin, margin):
        level = ndimage.gaussian_filter1d(
            polar[np.clip(path + move, 0, len(polar) - 1), column], 2, mode="wrap"
        )
        order = np.argsort(level)
        share = np.cumsum(weights[order]) / weights.sum()
        low, middle, high = (level[order[np.searchsorted(share, part)]] for part in (0.25, 0.5, 0.75))
        spread = max(4.0, 0.74 * float(high - low))
        trust /= 1 + ((level - middle) / (2 * spread)) ** 2
    return trust


def _strongest_path(strength: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """(n,) rows of the path over columns that gathers most, closed, at most one row a column up or down."""
    steps, n = strength.shape
    doubled = np.concatenate([strength, strength], axis=1)  # the second turn closes on itself
    total = np.empty((2 * n, steps))
    came = np.zeros((2 * n, steps), np.int8)
    total[0] = doubled[:, 0]
    edge = np.full(1, -np.inf)
    for k in range(1, 2 * n):
        before = np.concatenate([edge, total[k - 1], edge])
        options = np.stack([before[1:-1], before[:-2] - 0.05, before[2:] - 0.05])
        choice = options.argmax(axis=0)
        came[k] = np.array([0, -1, 1], np.int8)[choice]
        total[k] = options[choice, np.arange(steps)] + doubled[:, k]
    row = int(total[-1].argmax())
    path = np.empty(2 * n, np.intp)
    for k in range(2 * n - 1, -1, -1):
        path[k] = row
        row += came[k, row]
    half = n // 2
    return np.concatenate([path[n : n + half], path[half:n]])


def _fitted(
    radii: npt.NDArray[np.float64],
    trust: npt.NDArray[np.float64],
    harmonics: int,
    tolerance: float,
    shift_costs: tuple[float, float],
) -> npt.NDArray[np.float64]:
    """(n,) values of the Fourier series nearest to radii, far ones weighed down (Cauchy weights)."""
    n = len(radii)
    turn = np.arange(n) * (2 * np.pi / n)
    order = np.arange(1, harmonics + 1)
    basis = np.concatenate(
        [np.ones((n, 1)), np.cos(np.outer(turn, order)), np.sin(np.outer(turn, order))], axis=1
    )
    # Few trusted angles must not bend the rest: higher harmonics cost the more.
    cost = np.concatenate([[0.0], order**2 * 0.5, order**2 * 0.5])
    cost[[1, 1 + harmonics]] *= shift_costs
    weight = trust.copy()
    series = radii
    for _ in range(8):
        normal = basis.T @ (basis * weight[:, np.newaxis]) + np.diag(cost * weight.sum() * 0.02)
        series = basis @ np.linalg.solve(normal, basis.T @ (weight * radii))
        weight = trust / (1 + ((radii - series) / tolerance) ** 2)
    return np.asarray(series)
