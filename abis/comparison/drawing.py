# SPDX-License-Identifier: Apache-2.0
"""Draw one finger, or two side by side with the minutiae that a comparison paired, as SVG."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.template import Minutiae, MinutiaKind

__all__ = ["GAP", "MARGIN", "TITLE", "draw_finger", "draw_pair", "head"]

FloatArray: TypeAlias = npt.NDArray[np.float64]

_PIXELS_PER_CM = 197  # of the drawing: 500 dpi, whatever the templates' resolutions
MARGIN, GAP, TITLE = 12, 24, 28  # pixels
_LETTER = 8.5  # pixels, greatest width of a letter in the title
_RADIUS, _TAIL = 4.0, 14.0  # pixels: of a minutia's mark, and of the line that shows its direction
_UNPAIRED = "#a0a0a0"
_HUE_STEP = 0.381966  # of a full turn, the golden angle: consecutive pairs get very different colours


def draw_finger(finger: Minutiae, *, title: str, picture: str | None = None) -> str:
    """An SVG document: the minutiae of one finger, drawn as :func:`draw_pair` draws them, each in its own colour.

    Args:
        finger: one finger view.
        title: title of the drawing.
        picture: URL of the image to show behind the minutiae. None: no image.
    """
    top = MARGIN + TITLE
    width, height = _size(finger)
    marks = _marks(finger, _places(finger, MARGIN, top), {i: _colour(i) for i in range(len(finger))})
    lines = [
        *head(title, max(width, _LETTER * len(title)) + 2 * MARGIN, top + height + MARGIN),
        *_picture(picture, MARGIN, top, width, height),
        _frame(MARGIN, top, width, height),
        '<g stroke-width="1.6">',
        *marks,
        "</g></svg>",
    ]
    return "\n".join(lines) + "\n"


def draw_pair(
    probe: Minutiae,
    reference: Minutiae,
    pairs: npt.NDArray[np.integer[Any]],
    *,
    title: str,
    pictures: tuple[str | None, str | None] = (None, None),
) -> str:
    """An SVG document: the probe on the left, the reference on the right, at one scale.

    A ring is a ridge ending, a square a bifurcation, a diamond anything else; the line points where the
    minutia does. Both minutiae of a pair have one colour and a line between them; the others are grey.

    Args:
        probe: one finger view.
        reference: another finger view.
        pairs: (k, 2) indices of the minutiae of probe and reference that were paired, as
            :func:`abis.comparison.explain` gives them.
        title: title of the drawing.
        pictures: URLs of the images to show behind the minutiae. None: no image.
    """
    top = MARGIN + TITLE
    left_width, left_height = _size(probe)
    right_width, right_height = _size(reference)
    right_start = MARGIN + left_width + GAP
    left = _places(probe, MARGIN, top)
    right = _places(reference, right_start, top)
    width = right_start + right_width + MARGIN
    height = top + max(left_height, right_height) + MARGIN
    colours = [_colour(k) for k in range(len(pairs))]
    lines = [
        *head(title, width, height),
        *_picture(pictures[0], MARGIN, top, left_width, left_height),
        *_picture(pictures[1], right_start, top, right_width, right_height),
        _frame(MARGIN, top, left_width, left_height),
        _frame(right_start, top, right_width, right_height),
        '<g stroke-opacity="0.45">',
        *_links(left[pairs[:, 0]], right[pairs[:, 1]], colours),
        '</g><g stroke-width="1.6">',
        *_marks(probe, left, dict(zip(pairs[:, 0].tolist(), colours, strict=True))),
        *_marks(reference, right, dict(zip(pairs[:, 1].tolist(), colours, strict=True))),
        "</g></svg>",
    ]
    return "\n".join(lines) + "\n"


def head(title: str, width: float, height: float) -> Iterator[str]:
    """The beginning of an SVG document on white, with its title above."""
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" fill="none">'
    yield f"<title>{escape(title)}</title>"
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield (
        f'<text x="{MARGIN}" y="{MARGIN + TITLE - 14}" font-family="sans-serif" fill="black">'
        f"{escape(title)}</text>"
    )


def _picture(url: str | None, start: float, top: float, width: float, height: float) -> Iterator[str]:
    """Yield the image behind the minutiae, pale so that these are visible."""
    if url is not None:
        yield (
            f'<image href="{escape(url)}" x="{start:.0f}" y="{top:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" preserveAspectRatio="none" opacity="0.5"/>'
        )


def _colour(number: int) -> str:
    rgb = colorsys.hls_to_rgb(_HUE_STEP * number % 1, 0.38, 0.75)
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgb)


def _size(finger: Minutiae) -> tuple[float, float]:
    """Width and height, pixels of the drawing."""
    x_resolution, y_resolution = finger.resolution
    return finger.width * _PIXELS_PER_CM / x_resolution, finger.height * _PIXELS_PER_CM / y_resolution


def _places(finger: Minutiae, start: float, top: float) -> FloatArray:
    """(n, 2) pixels of the drawing."""
    scale = _PIXELS_PER_CM / np.array(finger.resolution, np.float64)
    return np.array([start, top]) + np.column_stack([finger.x, finger.y]) * scale


def _frame(start: float, top: float, width: float, height: float) -> str:
    return f'<rect x="{start:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" stroke="#d0d0d0"/>'


def _links(left: FloatArray, right: FloatArray, colours: Sequence[str]) -> Iterator[str]:
    for (x1, y1), (x2, y2), colour in zip(left.tolist(), right.tolist(), colours, strict=True):
        yield f'<path d="M{x1:.1f},{y1:.1f}L{x2:.1f},{y2:.1f}" stroke="{colour}"/>'


def _marks(finger: Minutiae, places: FloatArray, colours: Mapping[int, str]) -> Iterator[str]:
    columns = (places.tolist(), finger.direction.tolist(), finger.kind.tolist())
    for i, ((x, y), direction, kind) in enumerate(zip(*columns, strict=True)):
        across, down = (
            math.cos(math.radians(direction)),
            -math.sin(math.radians(direction)),
        )  # y grows downwards
        tail = (
            f"M{x + _RADIUS * across:.1f},{y + _RADIUS * down:.1f}"
            f"L{x + _TAIL * across:.1f},{y + _TAIL * down:.1f}"
        )
        yield f'<path d="{_outline(kind, x, y)}{tail}" stroke="{colours.get(i, _UNPAIRED)}"/>'


def _outline(kind: int, x: float, y: float) -> str:
    r = _RADIUS
    match kind:
        case MinutiaKind.ENDING:
            return f"M{x - r:.1f},{y:.1f}a{r},{r} 0 1 0 {2 * r},0a{r},{r} 0 1 0 {-2 * r},0"
        case MinutiaKind.BIFURCATION:
            return f"M{x - r:.1f},{y - r:.1f}h{2 * r}v{2 * r}h{-2 * r}z"
        case _:
            return f"M{x - r:.1f},{y:.1f}l{r},{-r}l{r},{r}l{-r},{r}z"
