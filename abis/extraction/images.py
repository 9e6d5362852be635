# SPDX-License-Identifier: Apache-2.0
"""Image files and image records: bytes to pixels.

Pillow reads TIFF, PNG, BMP, JPEG and JPEG 2000, its plugin wsq reads WSQ. Records of ISO/IEC 19794-4 and -5 are
taken apart in :mod:`abis.extraction.records`.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import wsq  # noqa: F401 - adds WSQ to what Pillow reads

from abis.errors import ExtractionError
from abis.extraction import records
from abis.template import MAX_SIDE, Position

__all__ = ["Image", "as_png", "read_images"]

_FORMATS = ("TIFF", "PNG", "BMP", "JPEG", "JPEG2000", "WSQ")
_STANDARD_DPI = 500.0
_LEAST_STATED_DPI = 300.0  # scanners' and editors' 72, 96 and 1 say nothing about a finger


@dataclass(frozen=True, eq=False)
class Image:
    """One picture.

    Attributes:
        pixels: (h, w) or, in colour, (h, w, 3) uint8, red first.
        dpi: pixels an inch, where a record or the file states it.
        position: what is seen, where a record states it.
        is_record: whether dpi and position come from a record of ISO/IEC 19794, which is to be trusted.
    """

    pixels: npt.NDArray[np.uint8]
    dpi: float | None = None
    position: Position | None = None
    is_record: bool = False

    def __repr__(self) -> str:  # never the content
        height, width = self.pixels.shape[:2]
        return f"Image({width}x{height}, {self.position.name if self.position is not None else '?'})"

    def grey(self) -> npt.NDArray[np.uint8]:
        """(h, w) uint8."""
        if self.pixels.ndim == 2:
            return self.pixels
        return np.asarray(PIL.Image.fromarray(self.pixels).convert("L"))

    def colour(self) -> npt.NDArray[np.uint8]:
        """(h, w, 3) uint8, red first; three equal ones where the image is grey."""
        return self.pixels if self.pixels.ndim == 3 else np.repeat(self.pixels[..., np.newaxis], 3, axis=2)

    def finger_dpi(self) -> float:
        """Pixels an inch of a finger image whose resolution the caller did not state.

        A record's own; else 500, that of all common sensors. Tags of plain files are often wrong: one that says
        something else is no answer but a question.

        Raises:
            ExtractionError: the file's tag says something else.
        """
        if self.dpi is None or (not self.is_record and self.dpi < _LEAST_STATED_DPI):
            return _STANDARD_DPI
        if not self.is_record and not math.isclose(self.dpi, _STANDARD_DPI, rel_tol=0.01):
            raise ExtractionError(
                f"its tag says {self.dpi:.0f} dpi, which may be wrong; state the resolution"
            )
        return self.dpi


def read_images(data: bytes) -> tuple[Image, ...]:
    """The images of a file or record: one, or the several views of an ISO/IEC 19794 record; at least one.

    Raises:
        ExtractionError: the bytes are no image that can be read.
        FormatError: an image record is not as its standard says.
    """
    if not data.startswith((records.FINGER, records.FACE)):
        return (_decode(data),)
    found = []
    for view in records.read(data):
        if view.raw_size is not None:
            width, height = view.raw_size
            pixels = np.frombuffer(view.data, np.uint8).reshape(height, width)
        else:
            pixels = _decode(view.data).pixels
        found.append(Image(pixels, dpi=view.dpi, position=view.position, is_record=True))
    return tuple(found)


def as_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """(h, w) or (h, w, 3) uint8 as a PNG file."""
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _decode(data: bytes) -> Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
                dpi = opened.info.get("dpi")
                upright = PIL.ImageOps.exif_transpose(opened)
                pixels = _pixels(upright)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError):
        raise ExtractionError("the image is too large to be one of a finger or a face") from None
    except Exception as error:  # decoders meet broken files with exceptions of all kinds
        raise ExtractionError(f"not an image that can be read: {_first_line(error)}") from None
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise ExtractionError(f"the image is {width}x{height}; at most {MAX_SIDE} pixels a side")
    return Image(pixels, dpi=_square(dpi))


def _pixels(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits a pixel
        return (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
    is_grey = image.mode in {"1", "L", "LA", "La"}
    return np.asarray(image.convert("L" if is_grey else "RGB"))


def _square(dpi: object) -> float | None:
    """The resolution of a tag that has the same for both axes."""
    match dpi:
        case (SupportsFloat() as x, SupportsFloat() as y):
            try:
                across, down = float(x), float(y)
            except (ValueError, ZeroDivisionError):
                return None
            return across if math.isfinite(across) and across == down and across > 0 else None
        case _:
            return None


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return "of no known format" if "cannot identify image file" in text else text or type(error).__name__
