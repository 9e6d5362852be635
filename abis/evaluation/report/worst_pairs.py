# SPDX-License-Identifier: Apache-2.0
"""The worst pairs as figures: the images of both samples, and the minutiae of two fingers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from abis.comparison import explain
from abis.comparison.drawing import draw_pair
from abis.errors import AbisError
from abis.evaluation.findings import Findings, Pair
from abis.evaluation.report.words import threshold
from abis.formats import holds_image
from abis.template import Minutiae, Position

__all__ = ["DrawnPair", "drawn_pair"]

_LONGEST_SIDE = 400  # pixels of an image on the page


@dataclass(frozen=True)
class DrawnPair:
    """A pair of samples to look at.

    Attributes:
        title: names of the probe and the reference.
        score: score of the comparison, as text.
        note: rest of the caption.
        images: name and PNG, as a URL, of the image of each sample; empty if a sample is not an image.
        svg: drawing of the minutiae of both fingers side by side, an SVG document; empty if they are not fingers.
    """

    title: str
    score: str
    note: str
    images: tuple[tuple[str, str], ...]
    svg: str


def drawn_pair(pair: Pair, findings: Findings) -> DrawnPair | None:
    """Return the images of a pair and the drawing of its minutiae.

    Returns:
        The figure. None: the samples are neither images nor fingers.
    """
    title = f"{pair.probe} and {pair.reference}"
    images = _images(pair)
    svg, note = _minutiae(pair, title)
    if not images and not svg:
        return None
    return DrawnPair(title, threshold(pair.score, findings), note or "images of both samples.", images, svg)


def _images(pair: Pair) -> tuple[tuple[str, str], ...]:
    if pair.files is None:
        return ()
    urls = [_image(file) for file in pair.files]
    named = zip((pair.probe, pair.reference), urls, strict=True)
    return tuple((name, url) for name, url in named if url is not None) if all(urls) else ()


def _image(file: Path) -> str | None:
    """Return the image of a file as a URL; None if the file is not an image."""
    try:
        if not holds_image(file):
            return None
        from abis.extraction.images import png_url, read_images  # noqa: PLC0415 - an extra, for images only

        return png_url(read_images(file.read_bytes())[0].pixels, longest_side=_LONGEST_SIDE)
    except (AbisError, OSError, ModuleNotFoundError):  # the file has changed since it was read
        return None


def _minutiae(pair: Pair, title: str) -> tuple[str, str]:
    """Return the drawing of the minutiae of both samples, and what it shows; both empty if they are not fingers."""
    match pair.templates:
        case (Minutiae() as first, Minutiae() as second):
            # The file names determine the fingers, so positions in the templates do not matter here.
            probe, reference = (replace(t, position=Position.UNKNOWN_FINGER) for t in (first, second))
        case _:
            return "", ""
    found = explain(probe, reference)
    svg = draw_pair(probe, reference, found.pairs, title=title)
    return svg, f"minutiae paired: {len(found.pairs)} of {len(probe)} and {len(reference)}."
