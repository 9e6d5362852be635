# SPDX-License-Identifier: Apache-2.0
"""Two iris codes one below the other, and where their bits agree, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from abis.comparison.drawing import GAP, MARGIN, TITLE, head
from abis.comparison.iris import IrisExplanation
from abis.template import IrisCode

__all__ = ["draw_irises"]

Bools: TypeAlias = "npt.NDArray[np.bool_]"

_WIDTH = 640.0  # pixels of a whole turn
_CELL, _STRIP = 4.0, 64.0  # pixels: height of a bit, and of the picture of an unrolled iris
_LABEL = 18.0  # pixels
_ONE, _ZERO, _MASKED = "#303030", "#f4f4f4", "#b8c8d8"
_AGREES, _DIFFERS = "#3a9a5b", "#d2453a"


def draw_irises(
    probe: IrisCode,
    reference: IrisCode,
    found: IrisExplanation,
    *,
    title: str,
    pictures: tuple[str | None, str | None] = (None, None),
) -> str:
    """An SVG document: the probe, the reference turned as it agrees best, and their agreement.

    Columns are angles around the pupil, clockwise from the right as seen on the image. Of each code the rows go from
    the pupil outwards, and within a row stand its planes. In the third part a bit that agrees is green and one that
    differs is red; bits that one of the masks hides are pale.

    Args:
        probe: one iris.
        reference: another, of the same model and shape.
        found: what :func:`abis.comparison.iris.explain_irises` says of the two.
        title: written above.
        pictures: URLs of the two unrolled irises, as wide as a turn.
    """
    lines: list[str] = []
    top = float(MARGIN + TITLE)
    codes = ((probe, 0, "probe", pictures[0]), (reference, found.turn, "reference", pictures[1]))
    for code, turn, name, picture in codes:
        bits, mask = (np.roll(part, turn, axis=1) for part in code.unpacked())
        share = 100 * mask.mean()
        lines.append(_label(f"{name}: {share:.0f} % of the bits count", top))
        top += _LABEL
        if picture is not None:
            lines += _strip(picture, turn * _WIDTH / code.columns, top)
            top += _STRIP
        lines += _cells({_MASKED: ~mask, _ONE: mask & bits, _ZERO: mask & ~bits}, top)
        top += _height(code) + GAP
    differing = int(found.differing.sum())
    counted = int(found.counted.sum())
    lines.append(_label(f"agreement: {differing} of {counted} bits differ", top))
    top += _LABEL
    parts = {_MASKED: ~found.counted, _AGREES: found.counted & ~found.differing, _DIFFERS: found.differing}
    lines += _cells(parts, top)
    height = top + _height(probe) + MARGIN
    return "\n".join([*head(title, _WIDTH + 2 * MARGIN, height), *lines, "</svg>"]) + "\n"


def _height(code: IrisCode) -> float:
    return code.rows * code.planes * _CELL


def _label(text: str, top: float) -> str:
    return (
        f'<text x="{MARGIN}" y="{top + _LABEL - 6:.0f}" font-family="sans-serif" font-size="12" fill="black">'
        f"{escape(text)}</text>"
    )


def _strip(url: str, shift: float, top: float) -> Iterator[str]:
    """A picture of a whole turn, moved to the right by ``shift`` pixels and round."""
    yield f'<svg x="{MARGIN}" y="{top:.0f}" width="{_WIDTH:.0f}" height="{_STRIP:.0f}">'
    for start in (shift % _WIDTH - _WIDTH, shift % _WIDTH):
        yield (
            f'<image href="{escape(url)}" x="{start:.1f}" y="0" width="{_WIDTH:.0f}" height="{_STRIP:.0f}" '
            'preserveAspectRatio="none"/>'
        )
    yield "</svg>"


def _cells(colours: Mapping[str, Bools], top: float) -> Iterator[str]:
    """Cells of (rows, columns, planes) in the colour of the array that is True."""
    for colour, chosen in colours.items():
        rows = chosen.transpose(0, 2, 1).reshape(-1, chosen.shape[1])
        width = _WIDTH / rows.shape[1]
        path = "".join(
            f"M{MARGIN + start * width:.2f},{top + number * _CELL:.0f}"
            f"h{(end - start) * width:.2f}v{_CELL:.0f}h{(start - end) * width:.2f}z"
            for number, row in enumerate(rows)
            for start, end in _runs(row)
        )
        if path:
            yield f'<path d="{path}" fill="{colour}"/>'


def _runs(row: npt.NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Where runs of True begin and end."""
    edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
