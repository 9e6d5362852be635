# SPDX-License-Identifier: Apache-2.0
"""The part that ISO/IEC 19794-2:2005 and ANSI/INCITS 378-2004 share: views of one image size.

Both state width, height and resolution once, in the header, for all finger views.
"""

from __future__ import annotations

from collections.abc import Sequence

from abis.errors import FormatError
from abis.formats import _fmr
from abis.formats._cursor import Cursor
from abis.template import Minutiae


def read_views(cursor: Cursor, convention: _fmr.Convention) -> tuple[Minutiae, ...]:
    """All the views, the cursor being at the image width in the header."""
    image = _fmr.ImageGeometry.read(cursor)
    count = cursor.unsigned(1, "number of finger views", low=1)
    cursor.take(1, "reserved byte")
    templates = tuple(
        _read_view(cursor, convention, image, view, is_last=view == count - 1) for view in range(count)
    )
    cursor.end()
    return templates


def _read_view(
    cursor: Cursor, convention: _fmr.Convention, image: _fmr.ImageGeometry, view: int, *, is_last: bool
) -> Minutiae:
    position = _fmr.read_position(cursor)
    cursor.take(1, "view number and impression type")
    finger_quality = convention.read_view_quality(cursor)
    count = cursor.unsigned(1, "number of minutiae")
    template = _fmr.read_minutiae(
        cursor, convention, image, view=view, position=position, finger_quality=finger_quality, count=count
    )
    _fmr.skip_extended_data(cursor, view, is_last=is_last)
    return template


def views_bytes(templates: Sequence[Minutiae], convention: _fmr.Convention) -> bytes:
    """What :func:`read_views` reads."""
    views = [_view_bytes(template, number, convention) for number, template in _fmr.numbered(templates)]
    image = _fmr.ImageGeometry.of(templates[0])
    for index, template in enumerate(templates):
        if _fmr.ImageGeometry.of(template) != image:
            raise FormatError(
                f"template {index} is {_fmr.ImageGeometry.of(template)}, but template 0 is {image}; "
                "the record has one size and resolution for all its views"
            )
    return image.size_bytes() + image.resolution_bytes() + bytes([len(views), 0]) + b"".join(views)


def _view_bytes(template: Minutiae, number: int, convention: _fmr.Convention) -> bytes:
    header = (
        bytes([template.position, number << 4])  # impression type 0: live-scan plain
        + convention.view_quality_byte(template)
        + bytes([len(template)])
    )
    return header + _fmr.minutiae_bytes(template, convention) + _fmr.NO_EXTENDED_DATA
