# SPDX-License-Identifier: Apache-2.0
"""The images of an ANSI/NIST-ITL transaction: fingers of types 4, 13 and 14, faces of type 10."""

from __future__ import annotations

from collections.abc import Iterator

from abis.errors import FormatError
from abis.extraction.records import RecordView
from abis.formats.ansi_nist import IMAGE_FIELD, LogicalRecord, read_records
from abis.template import Position

__all__ = ["read"]

_WIDTH, _HEIGHT, _UNIT, _X_SCALE, _Y_SCALE, _COMPRESSION, _DEPTH, _FINGER = range(6, 14)  # fields
_FACE_KIND = 3  # field of type 10: FACE, SCAR, MARK, ...
_PER_INCH, _PER_CM = 1, 2  # scale units; 0 is none
_RAW = ("0", "NONE")
_RESOLUTION = 12  # field of type 1: that of images of type 4, pixels per millimetre
_STANDARD_DPI = 500.0
_MM_PER_INCH, _CM_PER_INCH = 25.4, 2.54
_HEADER = 18  # bytes of a record of type 4 before its image
_LAST_FINGER = Position.LEFT_LITTLE
_OTHER_FINGERS = {
    11: Position.RIGHT_THUMB,  # plain
    12: Position.LEFT_THUMB,
    16: Position.UNKNOWN_FINGER,  # an extra digit, right
    17: Position.UNKNOWN_FINGER,  # left
    19: Position.UNKNOWN_FINGER,  # a part of a finger
}
"""Codes of one finger beside those of ISO/IEC 19794 (ANSI/NIST-ITL 1-2011, table 8)."""


def read(data: bytes) -> tuple[RecordView, ...]:
    """The images in a transaction, in their order; at least one. Palms, scars, signatures and irises are left out.

    Raises:
        FormatError: saying in which record what was found and what was expected; also where an image shows several
            fingers, or there is none of a finger or a face.
    """
    records = read_records(data, [])
    views = tuple(view for record in records[1:] for view in _views(record, records[0]))
    if not views:
        kinds = ", ".join(sorted({str(record.kind) for record in records[1:]}, key=int)) or "none"
        raise FormatError(
            f"ANSI/NIST-ITL transaction without images of fingers or faces (types of its records: {kinds})"
        )
    return views


def _views(record: LogicalRecord, first: LogicalRecord) -> Iterator[RecordView]:
    match record.kind:
        case 4:
            yield _binary_view(record, first)
        case 13 | 14:
            yield _tagged_view(record, _finger(record, _code(record.fields.get(_FINGER, b"0"))))
        case 10 if record.fields.get(_FACE_KIND) == b"FACE":
            yield _tagged_view(record, Position.FACE)


def _binary_view(record: LogicalRecord, first: LogicalRecord) -> RecordView:
    """Type 4: length, IDC, impression, six positions, resolution, width, height, compression, image."""
    if len(record.data) <= _HEADER:
        raise record.fault(f"{len(record.data)} bytes; expected an image after {_HEADER}")
    size = int.from_bytes(record.data[13:15], "big"), int.from_bytes(record.data[15:17], "big")
    per_mm = _decimal(first.fields.get(_RESOLUTION, b""))
    dpi = per_mm * _MM_PER_INCH if per_mm >= 10 else _STANDARD_DPI
    image = record.data[_HEADER:]
    position = _finger(record, record.data[6])
    return _view(record, image, position, dpi=dpi, size=size, is_raw=record.data[17] == 0)


def _tagged_view(record: LogicalRecord, position: Position) -> RecordView:
    image = record.fields.get(IMAGE_FIELD, b"")
    if not image:
        raise record.fault(f"it has no image in field {record.kind}.{IMAGE_FIELD}")
    dpi = None
    unit = record.number(_UNIT) if _UNIT in record.fields else 0
    if unit in (_PER_INCH, _PER_CM) and position is not Position.FACE:
        across, down = record.number(_X_SCALE), record.number(_Y_SCALE)
        if across != down:
            raise record.fault(f"image resolution is {across} by {down}; expected the same")
        dpi = across * (_CM_PER_INCH if unit == _PER_CM else 1.0)
    size = record.number(_WIDTH), record.number(_HEIGHT)
    compression = record.fields.get(_COMPRESSION, b"").decode("ascii", "replace")
    is_raw = compression in _RAW
    if is_raw and record.fields.get(_DEPTH, b"8") != b"8":
        raise record.fault("pixels of another depth than 8 bits without compression")
    return _view(record, image, position, dpi=dpi, size=size, is_raw=is_raw)


def _view(
    record: LogicalRecord,
    image: bytes,
    position: Position,
    *,
    dpi: float | None,
    size: tuple[int, int],
    is_raw: bool,
) -> RecordView:
    if not is_raw:
        return RecordView(image, position, dpi)
    if position is Position.FACE:
        raise record.fault("a face without compression; expected JPEG or JPEG 2000")
    if len(image) != size[0] * size[1]:
        raise record.fault(f"image of {len(image)} bytes; expected {size[0]} x {size[1]}")
    return RecordView(image, position, dpi, raw_size=size)


def _finger(record: LogicalRecord, code: int) -> Position:
    if code in _OTHER_FINGERS:
        return _OTHER_FINGERS[code]
    if code > _LAST_FINGER:
        raise record.fault(f"position {code} is not that of one finger; cut the image apart")
    return Position(code)


def _code(field: bytes) -> int:
    """The first of the positions in a field; a number that is none where there is none."""
    text = field.replace(b"\x1f", b"\x1e").partition(b"\x1e")[0]
    return int(text) if text.isdigit() and len(text) <= 3 else 255


def _decimal(field: bytes) -> float:
    try:
        return float(field)
    except ValueError:
        return 0.0
