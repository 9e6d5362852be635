# SPDX-License-Identifier: Apache-2.0
"""ISO/IEC 19794-2:2011 with Corrigendum 1, the finger minutiae record format (not the on-card formats)."""

from __future__ import annotations

from collections.abc import Sequence

from abis.formats import _fmr
from abis.formats._cursor import Cursor, Repairs
from abis.template import NO_QUALITY, Minutiae

__all__ = ["read", "write"]

_VERSION = b"030\0"
_CERTIFICATION_BLOCK_SIZE = 3
_NO_DATE = b"\xff" * 9
_NO_DEVICE = b"\0" * 5  # technology, vendor, type


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all finger views (the standard says representations) in a record.

    The view's quality is the first that its quality blocks report. A quality algorithm is kept where it stands
    for an extractor that abis knows. Capture dates and devices,
    certifications, view numbers, impression types, the ridge ending type and extended data are not kept.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data, repairs)
    cursor.literal(_fmr.MAGIC, "format identifier")
    cursor.literal(_VERSION, "version")
    cursor.record_length(4)
    count = cursor.unsigned(2, "number of finger views", low=1)
    is_certified = cursor.unsigned(1, "certification flag", high=1) == 1
    templates = tuple(_read_view(cursor, view, is_certified) for view in range(count))
    cursor.end()
    return templates


def write(templates: Sequence[Minutiae]) -> bytes:
    """One record of one view for each template, in the order given.

    Lost: directions are rounded to 1.40625 degrees. Impression type is written as live-scan plain. A view
    of which no minutia has a quality takes five bytes a minutia, six otherwise.

    Raises:
        FormatError: more than 16 templates are of one finger, or there is none.
    """
    views = [_view_bytes(template, number) for number, template in _fmr.numbered(templates)]
    head = _fmr.MAGIC + _VERSION
    body = len(views).to_bytes(2, "big") + b"\0" + b"".join(views)  # not certified
    return head + (len(head) + 4 + len(body)).to_bytes(4, "big") + body


def _read_view(cursor: Cursor, view: int, is_certified: bool) -> Minutiae:
    start = cursor.offset
    length = cursor.unsigned(4, "length of the view")
    cursor.take(len(_NO_DATE), "capture date and time")
    cursor.take(len(_NO_DEVICE), "capture device")
    finger_quality, extractor = _read_qualities(cursor)
    if is_certified:
        count = cursor.unsigned(1, "number of certifications")
        cursor.take(count * _CERTIFICATION_BLOCK_SIZE, "certifications")
    position = _fmr.read_position(cursor)
    cursor.take(1, "view number")
    resolution = _fmr.read_pair(cursor, "x resolution", "y resolution")
    cursor.take(1, "impression type")
    width, height = _fmr.read_pair(cursor, "image width", "image height")
    minutia_size = cursor.unsigned(1, "minutia size and ridge ending type") >> 4
    if minutia_size not in (_fmr.MINUTIA_SIZE - 1, _fmr.MINUTIA_SIZE):
        raise cursor.fault(f"minutia size is {minutia_size} bytes; expected 5 or 6", back=1)
    template = _fmr.read_minutiae(
        cursor,
        _fmr.ISO_2011,
        _fmr.ImageGeometry(width, height, resolution),
        view=view,
        position=position,
        finger_quality=finger_quality,
        count=cursor.unsigned(1, "number of minutiae"),
        minutia_size=minutia_size,
        extractor=extractor,
    )
    _fmr.skip_extended_data(cursor, view, is_last=False)
    taken = cursor.offset - start
    if taken != length and cursor.repairs is not None:
        cursor.repairs.append(f"view {view}: length {length} taken as {taken}")
    elif taken != length:
        raise cursor.fault(f"view {view} states a length of {length} bytes, but holds {taken}", back=taken)
    return template


def _read_qualities(cursor: Cursor) -> tuple[int | None, str]:
    """The first quality that is reported; and the first extractor that a quality algorithm stands for, or ""."""
    first = None
    extractor = ""
    for _ in range(cursor.unsigned(1, "number of quality blocks")):
        quality = _fmr.ISO_2011.read_view_quality(cursor)
        algorithm = _fmr.read_extractor(cursor)
        extractor = extractor or algorithm
        first = quality if first is None else first
    return first, extractor


def _view_bytes(template: Minutiae, number: int) -> bytes:
    has_quality = bool((template.quality != NO_QUALITY).any())
    minutia_size = _fmr.MINUTIA_SIZE if has_quality else _fmr.MINUTIA_SIZE - 1
    image = _fmr.ImageGeometry.of(template)
    body = (
        _NO_DATE
        + _NO_DEVICE
        + _quality_blocks(template)
        + bytes([template.position, number])
        + image.resolution_bytes()
        + b"\0"  # impression type: live-scan plain
        + image.size_bytes()
        + bytes([minutia_size << 4, len(template)])
        + _fmr.minutiae_bytes(template, _fmr.ISO_2011, minutia_size)
        + _fmr.NO_EXTENDED_DATA
    )
    return (4 + len(body)).to_bytes(4, "big") + body


def _quality_blocks(template: Minutiae) -> bytes:
    algorithm = _fmr.quality_algorithm_bytes(template.extractor)
    if template.finger_quality is None and not _fmr.is_known(template.extractor):
        return b"\0"
    return b"\1" + _fmr.ISO_2011.view_quality_byte(template) + algorithm
