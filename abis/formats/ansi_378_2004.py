# SPDX-License-Identifier: Apache-2.0
"""ANSI/INCITS 378-2004, the finger minutiae format for data interchange."""

from __future__ import annotations

from collections.abc import Sequence

from abis.errors import FormatError
from abis.formats import _fmr, _one_image_size
from abis.formats._cursor import Cursor, Repairs
from abis.template import Minutiae

__all__ = ["read", "write"]

_VERSION = b" 20\0"
_MIN_LENGTH = 26

_EXAMPLE_VERSION = b"020\0"
_EXAMPLE = _fmr.ISO_2005  # the convention its directions follow
_FIRST_IMPOSSIBLE = 180 * _EXAMPLE.degree_unit  # unit 180 does not exist where a unit is 2 degrees


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all finger views in a record.

    Quality 0, of a minutia or of a view, is taken as "not reported". Product identifier, capture
    equipment, view numbers, impression types, the reserved byte and extended data are not kept.

    The example record printed in the standard's own annex contradicts the standard: its version is
    ``020`` and its directions count 1.40625 degrees instead of 2 (the edition of 2009 mended both). A
    record of that version is read so where a direction above 179 proves it, and refused where none does.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data, repairs)
    cursor.literal(_fmr.MAGIC, "format identifier")
    is_example = data[4:8] == _EXAMPLE_VERSION
    cursor.literal(_EXAMPLE_VERSION if is_example else _VERSION, "version")
    is_long = data[cursor.offset : cursor.offset + 2] == b"\0\0"
    cursor.record_length(6 if is_long else 2)
    cursor.take(4, "product identifier")
    cursor.take(2, "capture equipment")
    if not is_example:
        return _one_image_size.read_views(cursor, _fmr.ANSI_2004)
    templates = _one_image_size.read_views(cursor, _EXAMPLE)
    if not any((template.direction >= _FIRST_IMPOSSIBLE).any() for template in templates):
        raise FormatError(
            "version is 020, that of the standard's faulty example, and no direction is above 179 to tell "
            "whether they count 1.40625 or 2 degrees; expected version ' 20' for 2 degrees",
            offset=4,
        )
    return templates


def write(templates: Sequence[Minutiae]) -> bytes:
    """One record of one view for each template, in the order given.

    Lost: directions are rounded to 2 degrees; minutia quality 0 becomes 1 and a view quality of 0 reads
    back as None, as 0 says "not reported". Impression type is written as live-scan plain.

    Raises:
        FormatError: the templates differ in image size or resolution, more than 16 are of one finger, or
            there is none.
    """
    product = _fmr.UNKNOWN_VENDOR + b"\0\0"
    equipment = b"\0\0"
    views = product + equipment + _one_image_size.views_bytes(templates, _fmr.ANSI_2004)
    head = _fmr.MAGIC + _VERSION
    length = len(head) + 2 + len(views)
    if length < 2**16:
        return head + length.to_bytes(2, "big") + views
    return head + (length + 4).to_bytes(6, "big") + views


def is_length(length_field: bytes) -> bool:
    """True where the first four bytes of a record's length field cannot be those of ISO/IEC 19794-2:2005.

    The version of both standards is `` 20``. ISO has a length of four bytes, at least 24. ANSI has two
    bytes, at least 26, or, for 65536 and more, two of zero and then four (6.4.3).
    """
    short = int.from_bytes(length_field[:2], "big")
    return short >= _MIN_LENGTH or (len(length_field) == 4 and int.from_bytes(length_field, "big") < 24)
