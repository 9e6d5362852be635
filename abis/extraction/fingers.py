# SPDX-License-Identifier: Apache-2.0
"""A finger image to minutiae, by LEADER.

What comes before and after the network follows ``pyfing.minutiae_end_to_end.Leader.run`` step by step, and finds
the same minutiae.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from abis.errors import ExtractionError
from abis.extraction.leader_graph import INPUT
from abis.extraction.models import finger_extractor
from abis.extraction.resizing import resize
from abis.template import MAX_MINUTIAE, Minutiae, MinutiaKind, Position

__all__ = ["EXTRACTOR", "extract_minutiae", "pixels_to_search"]

EXTRACTOR = "leader-0.1"
"""What templates carry as their extractor: LEADER, minutiae from a confidence of 0.1 on."""

_DPI = 500  # that the network was trained at
_MULTIPLE = 32  # pixels: width and height that the network takes
_CONFIDENCE = 0.1  # from which a minutia is kept; pyfing keeps those from 0.6 on (decision 22)
_ENDING = 0.5  # confidence from which a minutia is an ending, as pyfing has it
_FEWEST_MINUTIAE = 4  # of fewer, no comparison says anything
_LEAST_CONFIDENCE = 2.4  # sum over the minutiae: what four of a confidence of 0.6 have
_LEAST_MEAN = 0.25  # confidence: the lowest of 960 FVC images is 0.27; of eyes and faces most are below ...
_CERTAIN, _FEWEST_CERTAIN = 0.6, 3  # ... and have fewer minutiae that pyfing would keep
_MUCH_EVIDENCE = 25.0  # minutiae of confidence 1, of which the quality is 63
_MOST_PIXELS = 2**21  # at 500 dpi: some seven centimetres a side, which take 2.5 GB
_SIDES = (32, 2500)  # pixels at 500 dpi: 1.6 mm, below which nothing is seen, and 127 mm
_DPI_RANGE = (100.0, 5000.0)
_UNITS_PER_DEGREE = 32  # directions are rounded so that the stored form takes 7 bytes a minutia
_CM_PER_INCH = 2.54


def extract_minutiae(image: npt.NDArray[np.uint8], *, dpi: float, position: Position) -> Minutiae:
    """The minutiae of one finger, uncertain ones included.

    Some 0.3 s on one core for an image of 388 by 374 pixels.

    Args:
        image: (h, w) grey, ridges dark.
        dpi: pixels an inch.
        position: the finger.

    Returns:
        The template, in the pixels of ``image``: all minutiae of which the network's confidence is 0.1 or more,
        the 255 of the highest confidence where there are more. ``quality`` is that confidence in percent,
        ``finger_quality`` says how much there is to compare (:func:`_finger_quality`), ``extractor`` is
        :data:`EXTRACTOR`.

    Raises:
        ExtractionError: there is no finger in the image, or too little of it: fewer than four minutiae, or
            minutiae whose confidences add up to less than 2.4, or are below 0.25 on average, with fewer than three of
            0.6 or more.
    """
    if not _DPI_RANGE[0] <= dpi <= _DPI_RANGE[1]:
        raise ExtractionError(f"resolution is {dpi:g} dpi; expected {_DPI_RANGE[0]:g} to {_DPI_RANGE[1]:g}")
    height, width = image.shape
    _check_size(width, height, dpi)
    normal = image if dpi == _DPI else resize(image, _DPI / dpi)
    peaks, direction, ending = _run(normal)

    rows, columns = np.nonzero(peaks >= _CONFIDENCE)
    confidence = peaks[rows, columns]
    _check_evidence(confidence)
    if len(rows) > MAX_MINUTIAE:
        best = np.sort(np.argsort(-confidence, kind="stable")[:MAX_MINUTIAE])
        rows, columns, confidence = rows[best], columns[best], confidence[best]

    scale = dpi / _DPI
    per_cm = round(dpi / _CM_PER_INCH)
    cosine, sine = direction[:, rows, columns]
    return Minutiae(
        x=np.rint(columns * scale).clip(0, width - 1),
        y=np.rint(rows * scale).clip(0, height - 1),
        direction=_degrees(cosine, sine),
        kind=np.where(ending[rows, columns] >= _ENDING, MinutiaKind.ENDING, MinutiaKind.BIFURCATION),
        quality=np.rint(100 * confidence).clip(0, 100),
        width=width,
        height=height,
        resolution=(per_cm, per_cm),
        position=position,
        finger_quality=_finger_quality(confidence),
        extractor=EXTRACTOR,
    )


def pixels_to_search(width: int, height: int, dpi: float) -> float:
    """Pixels that an image has at the network's resolution: its time and memory are in proportion to them."""
    return width * height * (_DPI / dpi) ** 2


def _check_evidence(confidence: npt.NDArray[np.float32]) -> None:
    if not len(confidence):
        raise ExtractionError("no finger found: not one minutia")
    if len(confidence) < _FEWEST_MINUTIAE:
        raise ExtractionError(f"no finger found: {len(confidence)} minutiae, fewer than {_FEWEST_MINUTIAE}")
    total = float(confidence.sum())
    if total < _LEAST_CONFIDENCE:
        raise ExtractionError(
            f"no finger found: the confidences of {len(confidence)} minutiae add up to {total:.1f}; "
            f"expected at least {_LEAST_CONFIDENCE}"
        )
    mean = float(confidence.mean())
    if mean < _LEAST_MEAN and int((confidence >= _CERTAIN).sum()) < _FEWEST_CERTAIN:
        raise ExtractionError(
            f"no finger found: the minutiae have a confidence of {mean:.2f} on average, expected {_LEAST_MEAN} or "
            "more; images of eyes and faces have such minutiae"
        )


def _check_size(width: int, height: int, dpi: float) -> None:
    low, high = (side * dpi / _DPI for side in _SIDES)
    if not low <= min(width, height) or not max(width, height) <= high:
        raise ExtractionError(
            f"the image is {width}x{height} pixels at {dpi:g} dpi; one of a finger has {low:.0f} to {high:.0f} a side"
        )
    if (pixels := pixels_to_search(width, height, dpi)) > _MOST_PIXELS:
        raise ExtractionError(
            f"the image is {width}x{height} pixels at {dpi:g} dpi, {pixels:,.0f} at {_DPI} dpi; expected at most "
            f"{_MOST_PIXELS:,}"
        )


def _run(
    image: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The network's three maps, (h, w), (2, h, w) and (h, w), of an image at 500 dpi."""
    height, width = image.shape
    full_height, full_width = (-(-side // _MULTIPLE) * _MULTIPLE for side in (height, width))
    top, left = (full_height - height) // 2, (full_width - width) // 2
    inner = slice(top, top + height), slice(left, left + width)
    padded = np.full((1, 1, full_height, full_width), image[0, 0], np.float32)
    padded[0, 0][inner] = image
    peaks, direction, ending = finger_extractor().run(None, {INPUT: padded})
    return peaks[0, 0][inner], direction[0][:, *inner], ending[0, 0][inner]


def _degrees(cosine: npt.NDArray[np.float32], sine: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Directions in [0, 360), in whole units of the stored form."""
    units = np.rint(np.degrees(np.arctan2(sine, cosine).astype(np.float64)) * _UNITS_PER_DEGREE)
    return np.asarray(units % (360 * _UNITS_PER_DEGREE) / _UNITS_PER_DEGREE, np.float32)


def _finger_quality(confidence: npt.NDArray[np.float32]) -> int:
    """0 to 100: how much there is to compare, given the confidences of the minutiae.

    The evidence is the sum of the squared confidences times their mean: an uncertain minutia adds little and
    says that the print is poor. It finds the prints of which mated scores are low (docs/extraction.md); among
    good prints it says little.
    """
    evidence = float(np.square(confidence).sum() * confidence.mean())
    return round(100 * (1 - math.exp(-evidence / _MUCH_EVIDENCE)))
