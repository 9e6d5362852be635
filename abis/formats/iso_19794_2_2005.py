# SPDX-License-Identifier: Apache-2.0
"""ISO/IEC 19794-2:2005, the finger minutiae record format of clause 7 (not the card formats of clause 8)."""

from __future__ import annotations

from collections.abc import Sequence

from abis.formats import _fmr, _one_image_size
from abis.formats._cursor import Cursor, Repairs
from abis.template import Minutiae

__all__ = ["read", "write"]

_VERSION = b" 20\0"


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all finger views in a record.

    Quality 0, of a minutia or of a view, is taken as "not reported". Capture equipment, view numbers,
    impression types, the reserved byte and extended data are not kept.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data, repairs)
    cursor.literal(_fmr.MAGIC, "format identifier")
    cursor.literal(_VERSION, "version")
    cursor.record_length(4)
    cursor.take(2, "capture equipment")
    return _one_image_size.read_views(cursor, _fmr.ISO_2005)


def write(templates: Sequence[Minutiae]) -> bytes:
    """One record of one view for each template, in the order given.

    Lost: directions are rounded to 1.40625 degrees; minutia quality 0 becomes 1 and a view quality of 0
    reads back as None, as 0 says "not reported". Impression type is written as live-scan plain.

    Raises:
        FormatError: the templates differ in image size or resolution, more than 16 are of one finger, or
            there is none.
    """
    views = b"\0\0" + _one_image_size.views_bytes(templates, _fmr.ISO_2005)  # no capture equipment named
    head = _fmr.MAGIC + _VERSION
    return head + (len(head) + 4 + len(views)).to_bytes(4, "big") + views
