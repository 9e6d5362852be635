# SPDX-License-Identifier: Apache-2.0
"""Image files to pixels: the only place where the bytes of an untrusted image reach a decoder.

Pillow decodes TIFF, PNG, BMP, JPEG, JPEG 2000, PGM, WebP and GIF; its plugin ``wsq`` decodes WSQ.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageOps
import PIL.ImageSequence
import wsq  # noqa: F401 - adds WSQ to what Pillow reads

from abis.errors import ExtractionError
from abis.template import MAX_SIDE

__all__ = ["MOST_BYTES", "DecodedPage", "decode_pages"]

_FORMATS = ("TIFF", "PNG", "BMP", "JPEG", "JPEG2000", "PPM", "WEBP", "GIF", "WSQ")
_MOST_PIXELS = 2**28  # of all pages of a file together: 256 MiB in grey
_MOST_PAGES = 256  # of a file: more are no ten-print card, and take long, however small
MOST_BYTES = 3 * _MOST_PIXELS + 2**20
"""Bytes that the pages of a file take at most, in colour, with their description."""

_DEPTHS = (8, 10, 12, 14, 16, 24, 32)  # bits a grey pixel that cameras and scanners deliver

_ONE_BYTE = 255  # the largest grey value that takes one byte
_GAP = rb"(?:\s|#[^\n]*\n)+"
_NETPBM = re.compile(
    rb"P(?:4%(gap)s(\d{1,5})%(gap)s(\d{1,5})|([56])%(gap)s(\d{1,5})%(gap)s(\d{1,5})%(gap)s(\d{1,5}))\s"
    % {b"gap": _GAP}
)
"""Beginning of a binary PBM, or of a PGM or PPM with its largest value; https://netpbm.sourceforge.net/doc/pgm.html."""

_WSQ_START = b"\xff\xa0"
_WSQ_COMMENT, _WSQ_BLOCK = 0xA8, 0xA3  # markers of WSQ Gray-Scale Fingerprint Image Compression 3.1, table 11
_WSQ_PPI = re.compile(rb"^PPI[ \t]+(\d{1,5})\s*$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class DecodedPage:
    """One page or frame of an image file.

    Attributes:
        pixels: (h, w) or, in colour, (h, w, 3) uint8, red first; upright where EXIF says how the camera was held.
        dpi: (x, y) pixels an inch that the file states; None where it states none, or no usable number.
    """

    pixels: npt.NDArray[np.uint8]
    dpi: tuple[float, float] | None


def decode_pages(data: bytes) -> tuple[DecodedPage, ...]:
    """All pages of a TIFF file, all frames of an animation, else the one image of a file.

    Grey images of more than 8 bits a pixel are scaled by the depth of their content: of 16 bits where the brightest
    pixel is at most 1023, ten are used.

    Raises:
        ExtractionError: the bytes are not an image that can be decoded, or the image is too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            pages = tuple(_decoded(data))
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning, MemoryError):
        raise ExtractionError("the image is too large to be one of a finger or a face") from None
    except ExtractionError:
        raise
    except Exception as error:  # decoders meet broken files with exceptions of all kinds
        raise ExtractionError(f"not an image that can be read: {_first_line(error)}") from None
    return pages


def _decoded(data: bytes) -> Iterator[DecodedPage]:
    """The pages of a file; of Netpbm's formats, whose files may hold several images one after the other, each image."""
    pixels = 0
    while data:
        data, own = _further_netpbm(data), data
        for page in _decoded_file(own, pixels):
            yield page
            pixels += page.pixels.shape[0] * page.pixels.shape[1]


def _further_netpbm(data: bytes) -> bytes:
    """What follows the first image of a binary Netpbm file and begins as another one; empty where nothing does."""
    header = _NETPBM.match(data)
    if header is None:
        return b""
    if header[3] is None:  # PBM: eight pixels a byte
        size = (int(header[1]) + 7) // 8 * int(header[2])
    else:
        size = int(header[4]) * int(header[5]) * (3 if header[3] == b"6" else 1)
        size *= 2 if int(header[6]) > _ONE_BYTE else 1
    rest = data[header.end() + size :].lstrip()
    return rest if _NETPBM.match(rest) else b""


def _decoded_file(data: bytes, pixels: int) -> Iterator[DecodedPage]:
    stated = _wsq_resolution(data)
    with PIL.Image.open(io.BytesIO(data), formats=_FORMATS) as opened:
        for number, page in enumerate(PIL.ImageSequence.Iterator(opened), start=1):
            if number > _MOST_PAGES:
                raise ExtractionError(f"the image has more than {_MOST_PAGES} pages or frames")
            width, height = page.size
            if max(width, height) > MAX_SIDE:
                raise ExtractionError(f"the image is {width}x{height}; at most {MAX_SIDE} pixels a side")
            pixels += width * height
            if pixels > _MOST_PIXELS:
                raise ExtractionError(
                    f"the first {number} pages of the image have {pixels:,} pixels; at most {_MOST_PIXELS:,}"
                )
            dpi = stated or _resolution(page.info.get("dpi"))
            yield DecodedPage(_pixels(PIL.ImageOps.exif_transpose(page)), dpi)


def _pixels(image: PIL.Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(np.asarray(image))
    is_grey = image.mode in {"1", "L", "LA", "La"}
    return np.asarray(image.convert("L" if is_grey else "RGB"))


def _scaled(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    """Grey values of any depth as 8 bits, by the depth that the brightest of them needs."""
    grey = values.astype(np.float64)
    if not np.isfinite(grey).all() or grey.min() < 0:
        raise ExtractionError("the image has grey values that are negative or not finite")
    brightest = float(grey.max())
    if values.dtype.kind == "f" and brightest <= 1:
        return np.rint(grey * 255).astype(np.uint8)
    depth = next((depth for depth in _DEPTHS if brightest < 2**depth), None)
    if depth is None:
        raise ExtractionError(f"the image has a grey value of {brightest:g}; at most {2 ** _DEPTHS[-1] - 1}")
    scaled: npt.NDArray[np.uint8] = (grey / 2 ** (depth - 8)).astype(np.uint8)
    return scaled


def _resolution(stated: object) -> tuple[float, float] | None:
    match stated:
        case (SupportsFloat() as x, SupportsFloat() as y):
            try:
                across, down = float(x), float(y)
            except (ValueError, ZeroDivisionError):
                return None
            usable = math.isfinite(across) and math.isfinite(down) and across > 0 and down > 0
            return (across, down) if usable else None
        case _:
            return None


def _wsq_resolution(data: bytes) -> tuple[float, float] | None:
    """What the NISTCOM comment of a WSQ file states; the plugin leaves it out."""
    if not data.startswith(_WSQ_START):
        return None
    place = len(_WSQ_START)
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _WSQ_BLOCK:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        segment = data[place + 4 : place + 2 + length]
        if data[place + 1] == _WSQ_COMMENT and (found := _WSQ_PPI.search(segment)):
            ppi = float(found[1])
            return (ppi, ppi) if ppi > 0 else None
        place += 2 + length
    return None


def _first_line(error: BaseException) -> str:
    text = str(error).partition("\n")[0]
    return "of no known format" if "cannot identify image file" in text else text or type(error).__name__
