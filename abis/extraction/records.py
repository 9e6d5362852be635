# SPDX-License-Identifier: Apache-2.0
"""Image records of ISO/IEC 19794-4 (fingers), -5 (faces) and -6 (irises), editions of 2005 and 2011."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from abis.errors import FormatError
from abis.formats._cursor import Cursor
from abis.template import MAX_SIDE, Position

__all__ = ["FACE", "FINGER", "IRIS", "RecordView", "read"]

FINGER, FACE, IRIS = b"FIR\0", b"FAC\0", b"IIR\0"
"""What the records begin with."""

_INCH, _CENTIMETRE = 1, 2
_CM_PER_INCH = 2.54
_RAW, _PACKED = 0, 1  # compression algorithms (19794-4, 7.1.13); the others have files of their own format
_LANDMARK = 8  # bytes
_RAW_GREY = 2  # image format of an iris: a byte a pixel; others are files of their own format
_EYES = (Position.UNKNOWN_EYE, Position.RIGHT_EYE, Position.LEFT_EYE)  # by the code of both editions


@dataclass(frozen=True)
class RecordView:
    """One image of a record.

    Attributes:
        data: an image file, or where ``raw_size`` is given, a byte a pixel, row by row from the top.
        position: what is seen.
        dpi: pixels an inch, of fingers.
        raw_size: (width, height), of images that are not compressed.
    """

    data: bytes
    position: Position
    dpi: float | None = None
    raw_size: tuple[int, int] | None = None


def read(data: bytes) -> tuple[RecordView, ...]:
    """The images of a record, in their order; at least one.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data)
    kind = cursor.take(4, "format identifier")
    version = cursor.take(4, "version")
    match kind, version:
        case (b"FIR\0", b"010\0"):
            views = tuple(_fingers_2005(cursor))
        case (b"FIR\0", b"020\0"):
            views = tuple(_fingers_2011(cursor))
        case (b"FAC\0", b"010\0"):
            views = tuple(_faces_2005(cursor))
        case (b"FAC\0", b"030\0"):
            views = tuple(_faces_2011(cursor))
        case (b"IIR\0", b"010\0"):
            views = tuple(_irises_2005(cursor))
        case (b"IIR\0", b"020\0"):
            views = tuple(_irises_2011(cursor))
        case _:
            raise FormatError(
                f"image record {kind!r} of version {version!r}, which is not read here", offset=4
            )
    if not views:
        raise FormatError("the record holds no image")
    return views


def _fingers_2005(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-4:2005, table 2 (general header) and table 4 (finger headers)."""
    cursor.record_length(6)
    cursor.take(4, "capture device and image acquisition level")
    fingers = cursor.unsigned(1, "number of fingers")
    unit = cursor.unsigned(1, "scale units", low=_INCH, high=_CENTIMETRE)
    cursor.take(4, "scan resolution")
    dpi = _resolution(cursor, unit)
    depth = cursor.unsigned(1, "pixel depth")
    compression = cursor.unsigned(1, "compression algorithm", high=5)
    cursor.take(2, "reserved field")
    for _ in range(fingers):
        views = 1
        done = 0
        while done < views:
            length = cursor.unsigned(4, "length of the finger data block", low=14)
            position = _finger(cursor)
            views = cursor.unsigned(1, "count of views", low=1)
            cursor.take(3, "view number, quality and impression type")
            size = _size(cursor)
            cursor.take(1, "reserved field")
            yield _finger_view(
                cursor,
                length - 14,
                position=position,
                dpi=dpi,
                depth=depth,
                compression=compression,
                size=size,
            )
            done += 1


def _fingers_2011(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-4:2011, clauses 8.2 (general header) and 8.3 (representation headers)."""
    cursor.record_length(4)
    representations = cursor.unsigned(2, "number of representations")
    certified = cursor.unsigned(1, "certification flag", high=1)
    cursor.take(1, "number of finger positions")
    for _ in range(representations):
        begin = cursor.offset
        length = cursor.unsigned(4, "representation length")
        _skip_capture(cursor, certified=bool(certified))
        position = _finger(cursor)
        cursor.take(1, "representation number")
        unit = cursor.unsigned(1, "scale units", low=_INCH, high=_CENTIMETRE)
        cursor.take(4, "scan resolution")
        dpi = _resolution(cursor, unit)
        depth = cursor.unsigned(1, "pixel depth")
        compression = cursor.unsigned(1, "compression algorithm", high=6)
        cursor.take(1, "impression type")
        size = _size(cursor)
        stored = cursor.unsigned(4, "image length")
        yield _finger_view(
            cursor,
            stored,
            position=position,
            dpi=dpi,
            depth=depth,
            compression=compression,
            size=size,
        )
        _skip_to(cursor, begin + length)


def _faces_2005(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-5:2005, table 2 (facial header) and clauses 5.5 to 5.8."""
    cursor.record_length(4)
    for _ in range(cursor.unsigned(2, "number of facial images")):
        begin = cursor.offset
        length = cursor.unsigned(4, "facial record data length")
        landmarks = cursor.unsigned(2, "number of feature points")
        cursor.take(14 + landmarks * _LANDMARK, "facial information and feature points")
        cursor.take(12, "image information")
        stored = begin + length - cursor.offset
        if stored < 1:
            raise cursor.fault(f"facial record data length is {length}, less than its own headers")
        yield RecordView(cursor.take(stored, "image"), Position.FACE)


def _faces_2011(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-5:2011, clauses 8.3 (general header) and 8.4 to 8.6 (representations)."""
    cursor.record_length(4)
    representations = cursor.unsigned(2, "number of representations")
    certified = cursor.unsigned(1, "certification flag", high=1)
    cursor.take(2, "temporal semantics")
    for _ in range(representations):
        begin = cursor.offset
        length = cursor.unsigned(4, "representation length")
        _skip_capture(cursor, certified=bool(certified))
        landmarks = cursor.unsigned(2, "number of landmark points")
        cursor.take(15 + landmarks * _LANDMARK, "facial information and landmark points")
        cursor.take(11, "image information")
        stored = cursor.unsigned(4, "image length", low=1)
        yield RecordView(cursor.take(stored, "image"), Position.FACE)
        _skip_to(cursor, begin + length)


def _irises_2005(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-6:2005, clause 6.5: the record header, then headers of eyes and of images."""
    cursor.record_length(4)
    cursor.take(2, "capture device")
    eyes = cursor.unsigned(1, "number of eyes")
    cursor.unsigned(2, "record header length", low=45, high=45)
    cursor.take(4, "image properties and iris diameter")
    raw = cursor.unsigned(2, "image format") == _RAW_GREY
    size = _size(cursor)
    depth = cursor.unsigned(1, "intensity depth")
    cursor.take(17, "image transformation and device")
    for _ in range(eyes):
        position = _eye(cursor)
        for _ in range(cursor.unsigned(2, "number of images")):
            cursor.take(7, "image number, quality and rotation")
            length = cursor.unsigned(4, "image length", low=1)
            yield _iris_view(cursor, length, position=position, depth=depth, raw=raw, size=size)


def _irises_2011(cursor: Cursor) -> Iterator[RecordView]:
    """ISO/IEC 19794-6:2011, clauses 7.3 (general header) and 7.4 (representation headers)."""
    cursor.record_length(4)
    representations = cursor.unsigned(2, "number of representations")
    certified = cursor.unsigned(1, "certification flag", high=1)
    cursor.take(1, "number of eyes")
    for _ in range(representations):
        begin = cursor.offset
        length = cursor.unsigned(4, "representation length")
        _skip_capture(cursor, certified=bool(certified))
        cursor.take(2, "representation number")
        position = _eye(cursor)
        cursor.take(1, "image type")
        raw = cursor.unsigned(1, "image format") == _RAW_GREY
        cursor.take(1, "image properties")
        size = _size(cursor)
        depth = cursor.unsigned(1, "bit depth")
        cursor.take(18, "range, roll angle, and places of the iris")
        stored = cursor.unsigned(4, "image length", low=1)
        yield _iris_view(cursor, stored, position=position, depth=depth, raw=raw, size=size)
        _skip_to(cursor, begin + length)


def _eye(cursor: Cursor) -> Position:
    return _EYES[cursor.unsigned(1, "eye label", high=2)]


def _iris_view(
    cursor: Cursor, length: int, *, position: Position, depth: int, raw: bool, size: tuple[int, int]
) -> RecordView:
    if not raw:
        return RecordView(cursor.take(length, "image"), position)
    if depth != 8:
        raise cursor.fault(f"pixels of {depth} bits without compression; expected 8")
    if length != size[0] * size[1]:
        raise cursor.fault(f"image of {length} bytes; expected {size[0]} x {size[1]}")
    return RecordView(cursor.take(length, "image"), position, raw_size=size)


def _skip_capture(cursor: Cursor, *, certified: bool) -> None:
    """Date, device, quality and certification: the same fields in all parts of the edition of 2011."""
    cursor.take(14, "capture date and capture device")
    cursor.take(5 * cursor.unsigned(1, "number of quality blocks"), "quality blocks")
    if certified:
        cursor.take(3 * cursor.unsigned(1, "number of certification blocks"), "certification blocks")


def _skip_to(cursor: Cursor, end: int) -> None:
    """Over what may follow an image: segmentation, annotations, three-dimensional data."""
    if end < cursor.offset:
        raise cursor.fault(f"representation ends at byte {end}, before its image does")
    cursor.take(end - cursor.offset, "extended data")


def _finger(cursor: Cursor) -> Position:
    code = cursor.unsigned(1, "finger position")
    if code > Position.LEFT_LITTLE:  # several fingers in one image, or a palm
        raise cursor.fault(f"position {code} is not that of one finger", back=1)
    return Position(code)


def _resolution(cursor: Cursor, unit: int) -> float:
    across = cursor.unsigned(2, "horizontal image resolution", low=1)
    down = cursor.unsigned(2, "vertical image resolution", low=1)
    if across != down:
        raise cursor.fault(f"image resolution is {across} by {down}; expected the same", back=4)
    return across * (_CM_PER_INCH if unit == _CENTIMETRE else 1.0)


def _size(cursor: Cursor) -> tuple[int, int]:
    width = cursor.unsigned(2, "horizontal line length", low=1, high=MAX_SIDE)
    return width, cursor.unsigned(2, "vertical line length", low=1, high=MAX_SIDE)


def _finger_view(
    cursor: Cursor,
    length: int,
    *,
    position: Position,
    dpi: float,
    depth: int,
    compression: int,
    size: tuple[int, int],
) -> RecordView:
    if compression not in (_RAW, _PACKED):
        return RecordView(cursor.take(length, "image"), position, dpi)
    if depth != 8:
        raise cursor.fault(f"pixels of {depth} bits without compression; expected 8")
    if length != size[0] * size[1]:
        raise cursor.fault(f"image of {length} bytes; expected {size[0]} x {size[1]}")
    return RecordView(cursor.take(length, "image"), position, dpi, raw_size=size)
