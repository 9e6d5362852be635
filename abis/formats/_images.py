# SPDX-License-Identifier: Apache-2.0
"""What images and sound files begin with; :mod:`abis.extraction` makes templates of them."""

from __future__ import annotations

__all__ = ["LONGEST_BEGINNING", "is_image", "is_sound"]

_BEGINNINGS = (
    *(b"II*\0", b"MM\0*"),  # TIFF
    b"\x89PNG\r\n\x1a\n",
    b"BM",
    b"\xff\xd8\xff",  # JPEG
    *(b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),  # JPEG 2000: file, codestream
    b"\xff\xa0\xff",  # WSQ
    *(b"GIF87a", b"GIF89a"),
    *(b"P%d%c" % (kind, space) for kind in range(1, 7) for space in b" \n\r\t"),  # PBM, PGM, PPM
    *(b"FIR\0", b"FAC\0", b"IIR\0"),  # ISO/IEC 19794-4, -5 and -6
)
_RIFF, _WEBP = b"RIFF", b"WEBP"  # with the file's size between
LONGEST_BEGINNING = 12


def is_image(data: bytes) -> bool:
    """Whether these bytes, or the first few of them, begin as an image or image record does.

    TIFF, PNG, BMP, JPEG, JPEG 2000, WSQ, PGM and its kin, WebP, GIF, and records of ISO/IEC 19794-4 (fingers), -5
    (faces) and -6 (irises).

    >>> is_image(b"BM...")
    True
    """
    return data.startswith(_BEGINNINGS) or (data.startswith(_RIFF) and data[8:12] == _WEBP)


def is_sound(data: bytes) -> bool:
    """Whether these bytes, or the first few of them, begin as a WAV or FLAC file does.

    >>> is_sound(b"fLaC...")
    True
    """
    return data.startswith(b"fLaC") or (data[:4] in (_RIFF, b"RF64") and data[8:12] == b"WAVE")
