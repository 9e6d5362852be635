# SPDX-License-Identifier: Apache-2.0
"""ANSI/NIST-ITL transactions in the traditional encoding (1-2000 to 1-2011, update 2015; annex B). Read only.

A transaction is a sequence of logical records, which its first, of type 1, lists. Records of types 3 to 8 have
binary fields of fixed sizes, all others tagged fields (``9.012:``) between separators, of which one numbered 999 holds
an image. Read here are the minutiae of type 9; :mod:`abis.extraction.transactions` finds the images.

A record of type 9 may describe one finger in several feature sets. The first of these is taken:

- M1 (fields 9.126 to 9.150), that of ANSI/INCITS 378, which also states resolution and size of the image;
- the extended feature set (9.300 to 9.399), in 1/100 mm from the top left corner;
- the standard set (9.005 to 9.012), in 1/100 mm from the bottom left corner, pointing as NIST's ``.xyt`` does;
- IAFIS (9.013 to 9.030), in 1/100 mm from the top left corner.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abis.errors import FormatError, TemplateError
from abis.formats._cursor import Repairs
from abis.template import MAX_MINUTIAE, MAX_SIDE, NO_QUALITY, Minutiae, MinutiaKind, Position

__all__ = ["IMAGE_FIELD", "LogicalRecord", "holds_minutiae", "is_transaction", "read", "read_records"]

IMAGE_FIELD = 999
"""Number of the field that holds the image of a tagged record."""

_FS, _GS, _RS, _US = b"\x1c", b"\x1d", b"\x1e", b"\x1f"
_BEGINNING = re.compile(rb"1\.0{1,2}1:")
_TAG = re.compile(rb"(\d{1,2})\.(\d{2,4}):")
_BINARY_TYPES = range(3, 9)
_MINUTIAE_TYPE = 9
_M1, _EFS, _STANDARD, _IAFIS = 137, 331, 12, 23  # fields that list the minutiae of each set
_M1_WIDTH, _M1_HEIGHT, _M1_UNIT, _M1_X_SCALE, _M1_Y_SCALE, _M1_FINGER = 128, 129, 130, 131, 132, 134
_EFS_REGION, _EFS_FINGER = 300, 302
_STANDARD_FINGER, _IAFIS_FINGER = 6, 14
_HUNDREDTHS = (1000, 1000)  # pixels per centimetre where a pixel is 1/100 mm
_CM_PER_INCH = 2.54
_HALF_TURN, _WHOLE_TURN = 180, 360
_M1_DEGREES = 2  # a unit of direction
_KINDS = {
    b"A": MinutiaKind.ENDING,
    b"E": MinutiaKind.ENDING,
    b"B": MinutiaKind.BIFURCATION,
    b"1": MinutiaKind.ENDING,
    b"2": MinutiaKind.BIFURCATION,
}
"""Letters of the standard set and of IAFIS and EFS, digits of M1; all others are of another or an unknown kind."""


@dataclass(frozen=True)
class LogicalRecord:
    """One record of a transaction.

    Attributes:
        kind: its type, 1 to 99.
        offset: byte of the transaction it begins at.
        data: all of its bytes.
        fields: of a tagged record, the content of each field by its number; empty for a binary one.
    """

    kind: int
    offset: int
    data: bytes
    fields: Mapping[int, bytes]

    def __repr__(self) -> str:  # never the content
        return f"LogicalRecord(type {self.kind}, {len(self.data)} bytes)"

    def number(self, field: int, *, high: int = MAX_SIDE) -> int:
        """The one number in a field, 0 to ``high``."""
        return _number(self, self.fields.get(field, b""), f"field {self.kind}.{field:03}", high)

    def fault(self, message: str) -> FormatError:
        return FormatError(f"ANSI/NIST-ITL record of type {self.kind}: {message}", offset=self.offset)


def is_transaction(data: bytes) -> bool:
    """Whether these bytes, or the first few of them, begin as a transaction does."""
    return _BEGINNING.match(data) is not None


def holds_minutiae(data: bytes) -> bool:
    """Whether a transaction holds a record of type 9; False also where it cannot be taken apart."""
    try:
        return any(record.kind == _MINUTIAE_TYPE for record in read_records(data, []))
    except FormatError:
        return False


def read(data: bytes, repairs: Repairs = None) -> tuple[Minutiae, ...]:
    """The templates of all records of type 9, in their order; at least one.

    Minutia qualities are kept from M1 alone: the scales of the other sets are not percentages. Coordinates in 1/100 mm
    are kept as pixels of that size. Ridge counts, cores, deltas and all other features are not kept.

    Args:
        data: the whole transaction.
        repairs: a list reads leniently: records with a wrong length are taken to the next separator, and records of
            palms or without minutiae are passed over; what was done is appended.

    Raises:
        FormatError: saying in which record what was found and what was expected.
    """
    templates = []
    records = read_records(data, repairs)
    for record in records:
        if record.kind != _MINUTIAE_TYPE:
            continue
        try:
            templates.append(_minutiae(record))
        except FormatError as error:
            if repairs is None:
                raise
            repairs.append(f"passed over: {error}")
    if not templates:
        kinds = ", ".join(sorted({str(record.kind) for record in records[1:]}, key=int)) or "none"
        raise FormatError(
            f"ANSI/NIST-ITL transaction without minutiae of a finger (types of its records: {kinds})"
        )
    return tuple(templates)


def read_records(data: bytes, repairs: Repairs = None) -> list[LogicalRecord]:
    """Take a transaction apart.

    Raises:
        FormatError: a record is cut short, or its length is not that of its content.
    """
    if not is_transaction(data):
        raise FormatError("begins with no record of type 1; expected '1.001:'", offset=0)
    first = _tagged(data, 0, 1, repairs)
    records = [first]
    offset = len(first.data)
    for kind in _listed(first):
        record = (_binary if kind in _BINARY_TYPES else _tagged)(data, offset, kind, repairs)
        records.append(record)
        offset += len(record.data)
    if offset < len(data):
        if repairs is None:
            raise FormatError(f"{len(data) - offset} bytes follow the last record", offset=offset)
        repairs.append(f"{len(data) - offset} bytes after the last record dropped")
    return records


def _listed(first: LogicalRecord) -> list[int]:
    """The types that field 1.003 lists, but that of the record it stands in."""
    kinds = [entry.partition(_US)[0] for entry in first.fields.get(3, b"").split(_RS)[1:]]
    return [_number(first, kind, "field 1.003", 99) for kind in kinds]


def _binary(data: bytes, offset: int, kind: int, repairs: Repairs) -> LogicalRecord:
    length = int.from_bytes(data[offset : offset + 4], "big")
    if not 4 < length <= len(data) - offset:
        left = len(data) - offset
        raise FormatError(
            f"length of the ANSI/NIST-ITL record of type {kind} is {length}; {left} bytes are left",
            offset=offset,
        )
    return LogicalRecord(kind, offset, data[offset : offset + length], {})


def _tagged(data: bytes, offset: int, kind: int, repairs: Repairs) -> LogicalRecord:
    tag = _TAG.match(data, offset)
    if tag is None or int(tag[1]) != kind or int(tag[2]) != 1:
        found = data[offset : offset + 8]
        raise FormatError(
            f"expected '{kind}.001:', the beginning of an ANSI/NIST-ITL record of type {kind}, not {found!r}",
            offset=offset,
        )
    stated = re.split(rb"[\x1c\x1d]", data[tag.end() : tag.end() + 16])[0]
    length = int(stated) if stated.isdigit() else 0
    end = offset + length
    if end > len(data) or data[end - 1 : end] != _FS:
        end = data.find(_FS, offset) + 1  # of a record without an image, in which any byte may stand
        if repairs is None or not end:
            shown = stated.decode("ascii", "backslashreplace")
            raise FormatError(
                f"length of the ANSI/NIST-ITL record of type {kind} is {shown}; no separator stands at its end",
                offset=offset,
            )
        repairs.append(f"length of the record of type {kind} taken as {end - offset}")
    content = data[offset:end]
    return LogicalRecord(kind, offset, content, dict(_fields(content, kind, offset)))


def _fields(content: bytes, kind: int, offset: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of each field; an image is the last, for any byte may stand in it."""
    place = 0
    while place < len(content) - 1:
        tag = _TAG.match(content, place)
        if tag is None:  # a tag of another record's type happens (NIST's type9-13.an2k), none at all does not
            raise FormatError(
                f"a field of the ANSI/NIST-ITL record of type {kind} begins with {content[place : place + 8]!r}",
                offset=offset + place,
            )
        is_image = int(tag[2]) == IMAGE_FIELD
        end = len(content) - 1 if is_image else content.find(_GS, place)
        end = len(content) - 1 if end < 0 else end
        yield int(tag[2]), content[tag.end() : end]
        place = end + 1


def _minutiae(record: LogicalRecord) -> Minutiae:
    for field, read_set in ((_M1, _m1), (_EFS, _efs), (_STANDARD, _standard), (_IAFIS, _iafis)):
        if record.fields.get(field):
            rows = [entry.split(_US) for entry in record.fields[field].split(_RS)]
            if len(rows) > MAX_MINUTIAE:
                raise record.fault(f"{len(rows)} minutiae; a template holds at most {MAX_MINUTIAE}")
            try:
                return read_set(record, rows)
            except TemplateError as error:
                raise record.fault(str(error)) from None
    raise record.fault("it lists no minutiae in fields 9.137, 9.331, 9.012 or 9.023")


def _m1(record: LogicalRecord, rows: Sequence[Sequence[bytes]]) -> Minutiae:
    """Number, x, y, direction in 2 degrees, kind, quality: as in ANSI/INCITS 378."""
    x, y, angle = (_column(record, rows, place) for place in (1, 2, 3))
    quality = [int(row[5]) if len(row) > 5 and row[5].isdigit() else NO_QUALITY for row in rows]
    is_per_cm = record.number(_M1_UNIT) == 2
    resolution = [
        stated if is_per_cm else round(stated / _CM_PER_INCH)
        for stated in (record.number(field, high=65535) for field in (_M1_X_SCALE, _M1_Y_SCALE))
    ]
    return Minutiae(
        x=x,
        y=y,
        direction=[value * _M1_DEGREES for value in angle],
        kind=[_KINDS.get(row[4] if len(row) > 4 else b"", MinutiaKind.OTHER) for row in rows],
        quality=[value if value <= 100 else NO_QUALITY for value in quality],
        width=record.number(_M1_WIDTH),
        height=record.number(_M1_HEIGHT),
        resolution=(resolution[0], resolution[1]),
        position=_finger(record, _M1_FINGER),
    )


def _efs(record: LogicalRecord, rows: Sequence[Sequence[bytes]]) -> Minutiae:
    """X, y, direction in degrees, kind."""
    x, y, angle = (_column(record, rows, place) for place in (0, 1, 2))
    region = record.fields.get(_EFS_REGION, b"").split(_US)
    width, height = (
        _number(record, part, "field 9.300", MAX_SIDE)
        for part in (region if len(region) > 1 else (b"", b""))[:2]
    )
    return _in_hundredths(
        x,
        y,
        angle,
        [row[3] if len(row) > 3 else b"" for row in rows],
        position=_finger(record, _EFS_FINGER),
        size=(width, height),
    )


def _standard(record: LogicalRecord, rows: Sequence[Sequence[bytes]]) -> Minutiae:
    """Number, x and y and direction as eleven digits, quality, kind; y from the bottom."""
    x, y, angle = _eleven_digits(record, rows)
    top = max(y)
    return _in_hundredths(
        x,
        [top - value for value in y],
        [value + _HALF_TURN for value in angle],
        [row[3] if len(row) > 3 else b"" for row in rows],
        position=_finger(record, _STANDARD_FINGER),
    )


def _iafis(record: LogicalRecord, rows: Sequence[Sequence[bytes]]) -> Minutiae:
    """The same; y from the top, and directions pointing as those of ISO/IEC 19794-2 do."""
    x, y, angle = _eleven_digits(record, rows)
    kinds = [row[3] if len(row) > 3 else b"" for row in rows]
    return _in_hundredths(x, y, angle, kinds, position=_finger(record, _IAFIS_FINGER))


def _in_hundredths(
    x: Sequence[int],
    y: Sequence[int],
    angle: Sequence[int],
    kinds: Sequence[bytes],
    *,
    position: Position,
    size: tuple[int, int] = (1, 1),
) -> Minutiae:
    """A template whose pixels are 1/100 mm, of an image at least as large as ``size`` and the minutiae ask for."""
    return Minutiae(
        x=x,
        y=y,
        direction=[np.float32(value % _WHOLE_TURN) for value in angle],
        kind=[_KINDS.get(kind, MinutiaKind.OTHER) for kind in kinds],
        width=max(size[0], max(x) + 1),
        height=max(size[1], max(y) + 1),
        resolution=_HUNDREDTHS,
        position=position,
    )


def _eleven_digits(
    record: LogicalRecord, rows: Sequence[Sequence[bytes]]
) -> tuple[list[int], list[int], list[int]]:
    x, y, angle = [], [], []
    for row in rows:
        if len(row) < 2 or not row[1].isdigit() or len(row[1]) != 11:
            raise record.fault("a minutia's place and direction are not eleven digits")
        x.append(int(row[1][:4]))
        y.append(int(row[1][4:8]))
        angle.append(int(row[1][8:]))
    return x, y, angle


def _column(record: LogicalRecord, rows: Sequence[Sequence[bytes]], place: int) -> list[int]:
    return [
        _number(record, row[place] if len(row) > place else b"", "a minutia's place or direction", MAX_SIDE)
        for row in rows
    ]


def _finger(record: LogicalRecord, field: int) -> Position:
    """The one finger that a field names first; unknown where it is absent, or names several."""
    entries = record.fields.get(field, b"").split(_RS)
    code = _number(record, entries[0].partition(_US)[0] or b"0", f"field 9.{field:03}", 999)
    if code > Position.LEFT_LITTLE:
        raise record.fault(f"position {code} is not that of one finger")
    return Position(code) if len(entries) == 1 else Position.UNKNOWN_FINGER


def _number(record: LogicalRecord, text: bytes, name: str, high: int) -> int:
    if not text.isdigit() or len(text) > 6 or int(text) > high:
        shown = text[:16].decode("ascii", "backslashreplace")
        raise record.fault(f"{name} is {shown!r}; expected a whole number up to {high}")
    return int(text)
