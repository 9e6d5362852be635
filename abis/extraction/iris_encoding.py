# SPDX-License-Identifier: Apache-2.0
"""The texture of a normalised iris as bits: the phase of log-Gabor filters along its circles.

L. Masek, Recognition of human iris patterns for biometric identification, 2003, chapter 4, after J. Daugman 1993: of
the complex response, the signs of its real and imaginary parts; where a part is near zero, noise decides the sign, and
the bit is masked (fragile bits: Hollingsworth, Bowyer, Flynn, IEEE TPAMI 31(6), 2009).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from abis.extraction.iris_normalisation import COLUMNS, ROWS, Normalised

__all__ = ["CODE_COLUMNS", "FILTERS", "Filters", "encoded"]

CODE_COLUMNS = 128


class Filters(NamedTuple):
    """The filters that turn grey levels into bits. ``benchmarks/fitting/fit_irises.py`` chooses the values.

    Attributes:
        rows: bands of the iris, a row of the code each.
        wavelengths: columns a period, of the 512 of a turn.
        bandwidth: sigma of the filter by its frequency: 0.4 is about three octaves.
        fragile: the weakest part of the bits, which does not count.
        bell: standard deviation of a row's bell by the height of its band.
        level: rows and columns, standard deviation of the bell over which brightness and contrast are levelled.
        least_seen: the least part that must be visible of the pixels that a bit depends on.
    """

    rows: int = 6
    wavelengths: tuple[float, ...] = (24.0, 48.0)
    bandwidth: float = 0.4
    fragile: float = 0.1
    bell: float = 0.45
    level: tuple[float, float] = (10.0, 24.0)
    least_seen: float = 0.6


FILTERS = Filters()


def encoded(
    iris: Normalised, filters: Filters = FILTERS
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Bits and mask, (rows, columns, planes) each."""
    grey = _levelled(iris, filters)
    planes, masks = [], []
    for wavelength in filters.wavelengths:
        response, share = _response(grey, iris.visible, wavelength, filters)
        seen = share >= filters.least_seen
        for part in (response.real, response.imag):
            planes.append(part > 0)
            masks.append(seen & ~_fragile(np.abs(part), seen, filters.fragile))
    return np.stack(planes, axis=2), np.stack(masks, axis=2)


def _levelled(iris: Normalised, filters: Filters) -> npt.NDArray[np.float32]:
    """Grey levels less their local mean, by their local spread; 0 where nothing is seen."""
    weight = iris.visible.astype(np.float32)

    def local(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(
            ndimage.gaussian_filter(values, filters.level, mode=("nearest", "wrap")), np.float32
        )

    share = local(weight) + 1e-3
    rest = (iris.grey - local(weight * iris.grey) / share) * weight
    spread = np.sqrt(local(rest * rest) / share)
    floor = 1e-3 + 0.3 * float(np.median(spread[iris.visible])) if iris.visible.any() else 1.0
    return np.asarray(np.clip(rest / (spread + floor), -3, 3), np.float32)


def _response(
    grey: npt.NDArray[np.float32], visible: npt.NDArray[np.bool_], wavelength: float, filters: Filters
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """((rows, columns) complex responses, the part of each that comes from visible pixels)."""
    band = ROWS / filters.rows
    # Rows are averaged with a bell over each band; hidden pixels do not count.
    centre = (band - 1) / 2 + band * np.arange(filters.rows)[:, np.newaxis]
    across = np.exp(-(((np.arange(ROWS) - centre) / (filters.bell * band)) ** 2) / 2)
    weight = across @ visible
    rows = (across @ (grey * visible)) / np.maximum(weight, 0.25 * across.sum(axis=1, keepdims=True))
    frequency = np.arange(COLUMNS // 2 + 1) / COLUMNS
    transfer = np.zeros(COLUMNS)
    with np.errstate(divide="ignore"):
        transfer[: COLUMNS // 2 + 1] = np.exp(
            -(np.log(frequency * wavelength) ** 2) / (2 * np.log(filters.bandwidth) ** 2)
        )
    response = fft.ifft(fft.fft(rows, axis=1) * transfer, axis=1)
    step = COLUMNS // CODE_COLUMNS
    seen = ndimage.gaussian_filter1d(
        weight / across.sum(axis=1, keepdims=True), wavelength / 4, axis=1, mode="wrap"
    )
    return response[:, ::step], seen[:, ::step]


def _fragile(
    strength: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_], share: float
) -> npt.NDArray[np.bool_]:
    if not seen.any():
        return ~seen
    return np.asarray(strength < np.quantile(strength[seen], share))
