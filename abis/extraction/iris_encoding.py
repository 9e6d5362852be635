# SPDX-License-Identifier: Apache-2.0
"""The texture of a normalised iris as bits: the phase of log-Gabor filters along its circles.

L. Masek, Recognition of human iris patterns for biometric identification, 2003, chapter 4, after J. Daugman 1993: of
the complex response, the signs of its real and imaginary parts; where a part is near zero, noise decides the sign, and
the bit is masked (fragile bits: Hollingsworth, Bowyer, Flynn, IEEE TPAMI 31(6), 2009).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from abis.extraction.iris_normalisation import COLUMNS, ROWS, Normalised

__all__ = ["CODE_COLUMNS", "CODE_ROWS", "encoded"]

CODE_ROWS, CODE_COLUMNS = 6, 128
_WAVELENGTHS = (32.0, 64.0)  # columns a period, of COLUMNS a turn
_BANDWIDTH = 0.4  # sigma of the filter by its frequency: about three octaves
_FRAGILE = 0.2  # the weakest part of the bits
_BELL = 0.45  # standard deviation of a row's bell by the height of its band
_LEVEL = (
    10.0,
    24.0,
)  # rows, columns: standard deviation of the bell over which brightness and contrast are levelled
_LEAST_SEEN = 0.6  # of what a bit depends on


def encoded(iris: Normalised) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Bits and mask, (rows, columns, planes) each."""
    visible = iris.visible
    grey = _levelled(iris)
    planes, masks = [], []
    for wavelength in _WAVELENGTHS:
        response, seen = _response(grey, visible, wavelength)
        for part in (response.real, response.imag):
            planes.append(part > 0)
            masks.append((seen >= _LEAST_SEEN) & ~_fragile(np.abs(part), seen >= _LEAST_SEEN))
    return np.stack(planes, axis=2), np.stack(masks, axis=2)


def _levelled(iris: Normalised) -> npt.NDArray[np.float32]:
    """Grey levels less their local mean, by their local spread; 0 where nothing is seen."""
    weight = iris.visible.astype(np.float32)

    def local(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.asarray(ndimage.gaussian_filter(values, _LEVEL, mode=("nearest", "wrap")), np.float32)

    share = local(weight) + 1e-3
    rest = (iris.grey - local(weight * iris.grey) / share) * weight
    spread = np.sqrt(local(rest * rest) / share)
    floor = 1e-3 + 0.3 * float(np.median(spread[iris.visible])) if iris.visible.any() else 1.0
    return np.asarray(np.clip(rest / (spread + floor), -3, 3), np.float32)


def _response(
    grey: npt.NDArray[np.float32], visible: npt.NDArray[np.bool_], wavelength: float
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.float64]]:
    """((rows, columns) complex responses, the part of each that comes from visible pixels)."""
    band = ROWS / CODE_ROWS
    # Rows are averaged with a bell over each band; hidden pixels do not count.
    centre = (band - 1) / 2 + band * np.arange(CODE_ROWS)[:, np.newaxis]
    across = np.exp(-(((np.arange(ROWS) - centre) / (_BELL * band)) ** 2) / 2)
    weight = across @ visible
    rows = (across @ (grey * visible)) / np.maximum(weight, 0.25 * across.sum(axis=1, keepdims=True))
    frequency = np.arange(COLUMNS // 2 + 1) / COLUMNS
    transfer = np.zeros(COLUMNS)
    with np.errstate(divide="ignore"):
        transfer[: COLUMNS // 2 + 1] = np.exp(
            -(np.log(frequency * wavelength) ** 2) / (2 * np.log(_BANDWIDTH) ** 2)
        )
    response = fft.ifft(fft.fft(rows, axis=1) * transfer, axis=1)
    step = COLUMNS // CODE_COLUMNS
    seen = ndimage.gaussian_filter1d(
        weight / across.sum(axis=1, keepdims=True), wavelength / 4, axis=1, mode="wrap"
    )
    return response[:, ::step], seen[:, ::step]


def _fragile(strength: npt.NDArray[np.float64], seen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    if not seen.any():
        return ~seen
    return np.asarray(strength < np.quantile(strength[seen], _FRAGILE))
