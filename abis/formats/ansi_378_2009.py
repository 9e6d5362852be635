# SPDX-License-Identifier: Apache-2.0
"""ANSI/INCITS 378-2009, the finger minutiae format for data interchange, second edition."""

from __future__ import annotations

from collections.abc import Sequence

from abis.formats import _fmr
from abis.formats._cursor import Cursor, Repairs
from abis.template import Minutiae

__all__ = ["read", "write"]

_VERSION = b"030\0"
_HEADER_SIZE = 21


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all finger views in a record.

    Product identifier, capture equipment, view numbers, impression types, the reserved byte and extended data
    are not kept; a quality algorithm is kept where it stands for an extractor that abis knows. Records of the
    draft of 2007 are read too: they have a capture equipment field of two bytes instead of three, so that their
    reserved zero stands where the published standard has the number of views, which is never zero.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    return read_version(data, _VERSION, repairs)


def write(templates: Sequence[Minutiae]) -> bytes:
    """One record of one view for each template, in the order given.

    Lost: directions are rounded to 2 degrees. Impression type is written as live-scan plain.

    Raises:
        FormatError: more than 16 templates are of one finger, or there is none.
    """
    return write_version(templates, _VERSION)


def read_version(data: bytes, version: bytes, repairs: Repairs) -> tuple[Minutiae, ...]:
    """The record's templates; the amendment of 2009 differs only in its version."""
    cursor = Cursor(data, repairs)
    cursor.literal(_fmr.MAGIC, "format identifier")
    cursor.literal(version, "version")
    cursor.record_length(4)
    cursor.take(4, "product identifier")
    is_draft = data[_HEADER_SIZE - 2 : _HEADER_SIZE - 1] == b"\0" and len(data) > _HEADER_SIZE
    cursor.take(2 if is_draft else 3, "capture equipment")
    count = cursor.unsigned(1, "number of finger views", low=1)
    cursor.take(1, "reserved byte")
    templates = tuple(_read_view(cursor, view, is_last=view == count - 1) for view in range(count))
    cursor.end()
    return templates


def write_version(templates: Sequence[Minutiae], version: bytes) -> bytes:
    """What :func:`read_version` reads."""
    views = [_view_bytes(template, number) for number, template in _fmr.numbered(templates)]
    head = _fmr.MAGIC + version
    product = _fmr.UNKNOWN_VENDOR + b"\0\0"
    equipment = b"\0\0\0"
    body = product + equipment + bytes([len(views), 0]) + b"".join(views)
    return head + (len(head) + 4 + len(body)).to_bytes(4, "big") + body


def _read_view(cursor: Cursor, view: int, *, is_last: bool) -> Minutiae:
    position = _fmr.read_position(cursor)
    cursor.take(2, "view number and impression type")
    finger_quality = _fmr.ANSI_2009.read_view_quality(cursor)
    extractor = _fmr.read_extractor(cursor)
    image = _fmr.ImageGeometry.read(cursor)
    count = cursor.unsigned(1, "number of minutiae")
    template = _fmr.read_minutiae(
        cursor,
        _fmr.ANSI_2009,
        image,
        view=view,
        position=position,
        finger_quality=finger_quality,
        count=count,
        extractor=extractor,
    )
    _fmr.skip_extended_data(cursor, view, is_last=is_last)
    return template


def _view_bytes(template: Minutiae, number: int) -> bytes:
    image = _fmr.ImageGeometry.of(template)
    header = (
        bytes([template.position, number, 0])  # impression type 0: live-scan plain
        + _fmr.ANSI_2009.view_quality_byte(template)
        + _fmr.quality_algorithm_bytes(template.extractor)
        + image.size_bytes()
        + image.resolution_bytes()
        + bytes([len(template)])
    )
    return header + _fmr.minutiae_bytes(template, _fmr.ANSI_2009) + _fmr.NO_EXTENDED_DATA
