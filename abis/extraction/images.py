# SPDX-License-Identifier: Apache-2.0
"""Image files, image records, CBEFF documents and transactions: bytes to pictures of one finger, face or eye each.

:mod:`abis.extraction.isolation` has files decoded in another process. Records of ISO/IEC 19794-4 and -5 are taken apart
in :mod:`abis.extraction.records`, transactions of ANSI/NIST-ITL in :mod:`abis.extraction.transactions`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import PIL.Image

from abis.errors import ExtractionError
from abis.extraction import records, transactions
from abis.extraction.decoding import DecodedPage
from abis.extraction.isolation import decode_isolated
from abis.formats import cbeff
from abis.formats.ansi_nist import is_transaction
from abis.template import Position

__all__ = ["Picture", "as_png", "iterate_images", "png_url", "read_images"]

_STANDARD_DPI = 500.0
_LEAST_STATED_DPI = 100  # lower ones are of screens and editors (1, 72, 96) and say nothing about a finger
_TOLERANCE = 0.02  # of a stated resolution


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture.

    Attributes:
        pixels: (h, w) or, in colour, (h, w, 3) uint8, red first.
        dpi: (x, y) pixels an inch, where a record or the file states it.
        position: what is seen, where a record states it.
        record_dpi: pixels an inch that a record of ISO/IEC 19794 or ANSI/NIST-ITL states, of fingers.
    """

    pixels: npt.NDArray[np.uint8]
    dpi: tuple[float, float] | None = None
    position: Position | None = None
    record_dpi: float | None = None

    def __repr__(self) -> str:  # never the content
        height, width = self.pixels.shape[:2]
        return f"Picture({width}x{height}, {self.position.name if self.position is not None else '?'})"

    def grey(self) -> npt.NDArray[np.uint8]:
        """(h, w) uint8."""
        if self.pixels.ndim == 2:
            return self.pixels
        return np.asarray(PIL.Image.fromarray(self.pixels).convert("L"))

    def colour(self) -> npt.NDArray[np.uint8]:
        """(h, w, 3) uint8, red first; three equal ones where the image is grey."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[..., np.newaxis], 3, axis=2)

    def finger_dpi(self) -> tuple[float, str]:
        """Pixels an inch of a finger image whose resolution the caller did not state, and a note or "".

        What a record states; else what the file states, where that is within 2 % of 500, the resolution of all common
        sensors; else 500. Fractions are rounded: PNG and BMP keep whole pixels a metre, so that 300 dpi read as
        299.9994. Tags of plain files are often wrong: one that states another resolution, or two that differ, is no
        answer but a question. Tags below 100 dpi are those of screens, and are not looked at.

        Raises:
            ExtractionError: no record states a resolution, and the file states another one than expected of a finger.
        """
        stated = None if self.dpi is None else (round(self.dpi[0]), round(self.dpi[1]))
        if stated is not None and min(stated) < _LEAST_STATED_DPI:
            stated = None
        if stated is None:
            return self.record_dpi or _STANDARD_DPI, ""
        across, down = stated
        tag = f"{across} dpi" if _is_near(across, down) else f"{across} x {down} dpi"
        expected = self.record_dpi or _STANDARD_DPI
        agrees = _is_near(across, expected) and _is_near(down, expected)
        if self.record_dpi is not None:
            note = f"its image states {tag}; the record's {self.record_dpi:.0f} dpi are used"
            return self.record_dpi, "" if agrees else note
        if not agrees:
            raise ExtractionError(f"its tag says {tag}, which may be wrong; state the resolution")
        return (across + down) / 2, ""


def read_images(data: bytes) -> tuple[Picture, ...]:
    """The images of a file or record: one, or the several pages or views of it; at least one.

    Raises:
        ExtractionError: the bytes are no image that can be read.
        FormatError: an image record is not as its standard says.
    """
    return tuple(iterate_images(data))


def iterate_images(data: bytes) -> Iterator[Picture]:
    """The images of :func:`read_images`; those of a record are decoded one at a time, as they are asked for.

    Raises:
        ExtractionError: as :func:`read_images` does.
        FormatError: as :func:`read_images` does.
    """
    if is_transaction(data):
        yield from _pictures_of_views(transactions.read(data))
    elif data.startswith((records.FINGER, records.FACE, records.IRIS)):
        yield from _pictures_of_views(records.read(data))
    elif cbeff.is_cbeff(data):
        for record, stated in cbeff.images(data):
            for picture in _pictures_of_views(records.read(record)):
                is_open = picture.position is None or picture.position.is_open
                yield replace(
                    picture, position=stated if stated is not None and is_open else picture.position
                )
    else:
        yield from (Picture(page.pixels, page.dpi) for page in decode_isolated(data))


def _pictures_of_views(views: tuple[records.RecordView, ...]) -> Iterator[Picture]:
    for view in views:
        if view.raw_size is not None:
            width, height = view.raw_size
            page = DecodedPage(np.frombuffer(view.data, np.uint8).reshape(height, width), None)
        else:
            page, *others = decode_isolated(view.data)
            if others:
                raise ExtractionError(f"an image of the record has {1 + len(others)} pages; expected one")
        yield Picture(page.pixels, page.dpi, view.position, view.dpi)


def as_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(h, w) or (h, w, 3) uint8 as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def png_url(pixels: npt.NDArray[np.uint8], *, longest_side: int | None = None) -> str:
    """Return an image as a PNG file in a ``data:`` URL, for HTML and SVG.

    Args:
        pixels: (h, w) or (h, w, 3) uint8.
        longest_side: pixels; a larger image is reduced to this size. None (default): any size.
    """
    if longest_side is not None:
        image = PIL.Image.fromarray(pixels)
        image.thumbnail((longest_side, longest_side))  # in place; never enlarges
        pixels = np.asarray(image)
    return f"data:image/png;base64,{base64.b64encode(as_png(pixels)).decode()}"


def _is_near(value: float, expected: float) -> bool:
    return abs(value - expected) <= _TOLERANCE * expected
