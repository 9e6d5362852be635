# SPDX-License-Identifier: Apache-2.0
"""An iris: a code whose neighbouring bits agree, with lids and noise, and scores spread as those of real ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abis.synthetic.randomness import kernel, normal, normals, stream, uniform

__all__ = ["COLUMNS", "PLANES", "ROWS", "IrisColumns", "make_irises"]

ROWS, COLUMNS, PLANES = 6, 128, 4  # the shape of codes of abis-iris-1

# Fitted by hand to the codes of CASIA-IrisV1, whose figures benchmarks/accuracy/synthetic.py prints beside those of
# this module.
FREQUENCIES = 60  # periods a turn: finer texture has no part in the code
PERIODS = (512 / 24, 512 / 48)  # a turn: middles of the two filters, as in abis.extraction.iris_encoding
BANDWIDTH = 0.4  # of the filters
ROW_AGREEMENT = 0.72  # correlation of the texture in neighbouring rows
# Log of the ratio of standard deviations, sample's noise to iris: mean, spread over subjects, over samples.
NOISE, NOISE_SUBJECT, NOISE_SAMPLE = -0.92, 0.15, 0.28
BAD_SHARE, BAD_NOISE = 0.03, 0.5  # bad samples; the mean of what they add to it, exponential
TURN = 4.0  # degrees: standard deviation of the rotation of a head
FRAGILE = 0.12  # of the standard deviation of a bit's response: weaker ones do not count
PUPIL = 0.4  # radius, of that of the iris
UPPER_LID, LOWER_LID = 0.5, 0.85  # mean distance from the centre of the pupil, in radii of the iris
LID_SPREAD = 0.15
LASHES = 0.25  # of the columns below the upper lid

_EYES = 65  # abis.template.Position.RIGHT_EYE, the first of the two


class IrisColumns(NamedTuple):
    """Iris codes of n subjects as plain arrays.

    Attributes:
        bits: (n, COLUMNS, 3) uint8, as :class:`abis.template.IrisCode` has them.
        mask: the same shape.
    """

    bits: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]


def make_irises(seed: int, subjects: npt.NDArray[np.int64], position: int, impression: int) -> IrisColumns:
    """Codes of one impression of an eye of each subject; some 60 microseconds each."""
    texture, visible = _made(seed, subjects, position, impression)
    frequency = np.arange(1, FREQUENCIES + 1)
    planes, masks = [], []
    for middle in PERIODS:
        transfer = np.exp(-(np.log(frequency / middle) ** 2) / (2 * math.log(BANDWIDTH) ** 2))
        spectrum = np.zeros((*texture.shape[:2], COLUMNS), np.complex128)
        spectrum[..., 1 : FREQUENCIES + 1] = texture * transfer / math.sqrt((transfer**2).sum())
        response = COLUMNS * np.fft.ifft(spectrum, axis=-1)
        for part in (response.real, response.imag):  # each of standard deviation 1 for an iris without noise
            planes.append(part > 0)
            masks.append(visible & (np.abs(part) > FRAGILE))
    mask = np.stack(masks, axis=-1)  # (n, rows, columns, planes)
    bits = np.stack(planes, axis=-1) & mask
    return IrisColumns(_packed(bits), _packed(mask))


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    by_column = bits.transpose(0, 2, 1, 3).reshape(len(bits), COLUMNS, ROWS * PLANES)
    return np.packbits(by_column, axis=-1, bitorder="little")


@kernel
def _made(
    seed: int, subjects: npt.NDArray[np.int64], position: int, impression: int
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.bool_]]:
    """Texture, (n, ROWS, FREQUENCIES) Fourier coefficients along the circles, and (n, ROWS, COLUMNS) what is seen."""
    texture = np.empty((len(subjects), ROWS, FREQUENCIES), np.complex128)
    visible = np.ones((len(subjects), ROWS, COLUMNS), np.bool_)
    for row in range(len(subjects)):
        person = stream(seed, subjects[row], _EYES, 0)  # what both eyes have in common
        noisiness = NOISE + NOISE_SUBJECT * normal(person)
        openness = normal(person)
        own = _texture(stream(seed, subjects[row], position, 0))

        state = stream(seed, subjects[row], position, 1 + impression)
        noisiness += NOISE_SAMPLE * normal(state)
        if uniform(state) < BAD_SHARE:
            noisiness -= BAD_NOISE * math.log(1.0 - uniform(state))
        turn = math.radians(TURN * normal(state))
        noise = math.exp(noisiness)
        own = (own + noise * _texture(state)) / math.sqrt(1.0 + noise * noise)
        for k in range(FREQUENCIES):
            angle = turn * (k + 1)
            own[:, k] *= complex(math.cos(angle), math.sin(angle))
        texture[row] = own

        spread = LID_SPREAD * math.sqrt(0.5)
        upper = UPPER_LID + spread * (openness + normal(state))
        lower = LOWER_LID + spread * (openness + normal(state))
        for column in range(COLUMNS):
            up = -math.sin(2.0 * math.pi * column / COLUMNS)
            lash = 1.0
            if uniform(state) < LASHES:
                lash = 0.7
            for place in range(ROWS):
                away = PUPIL + (1.0 - PUPIL) * (place + 0.5) / ROWS
                visible[row, place, column] = away * up < upper * lash and -away * up < lower
    return texture, visible


@kernel
def _texture(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.complex128]:
    """(ROWS, FREQUENCIES) normal coefficients; neighbouring rows agree."""
    texture = np.empty((ROWS, FREQUENCIES), np.complex128)
    for place in range(ROWS):
        numbers = normals(state, 2 * FREQUENCIES)
        new = numbers[:FREQUENCIES] + 1j * numbers[FREQUENCIES:]
        if place == 0:
            texture[place] = new
        else:
            texture[place] = ROW_AGREEMENT * texture[place - 1] + math.sqrt(1.0 - ROW_AGREEMENT**2) * new
    return texture
