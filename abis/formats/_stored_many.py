# SPDX-License-Identifier: Apache-2.0
"""Many records of any formats into the stored form at once: what a migration's time goes into.

Records of the stored form, and those of ISO/IEC 19794-2:2005 with one view and no extended data, which is what
most legacy systems hold, are checked and converted as columns. All others, and whatever a check finds fault
with, take the ordinary way through :func:`abis.formats.read`: nothing is accepted that it would refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError
from abis.formats import _fmr, ansi_378_2004, native, read
from abis.formats._native_many import read_many
from abis.template import MAX_SIDE, NO_QUALITY, MinutiaKind, Position

__all__ = ["StoredForms", "at_position", "stored_forms"]

StoredForms = Sequence[tuple[int, bytes]]
"""The templates of a record as (position, :func:`native.write`)."""

_ISO_2005 = _fmr.MAGIC + b" 20\0"
_HEAD = np.dtype(  # of a record and its only view; clauses 7.3 and 7.4.1
    [
        *(("before", "V14"), ("width", ">u2"), ("height", ">u2"), ("resolution_x", ">u2")),
        *(("resolution_y", ">u2"), ("after", "V2"), ("position", "u1"), ("number_and_type", "u1")),
        *(("quality", "u1"), ("count", "u1")),
    ]
)
_LENGTH = struct.Struct(">I")
_VIEWS_AT, _COUNT_AT = 22, _HEAD.itemsize - 1
_STORED_HEAD = np.dtype(
    [
        *(("before", f"V{native.HEADER_AT}"), ("position", "u1"), ("width", ">u2"), ("height", ">u2")),
        *(("resolution_x", ">u2"), ("resolution_y", ">u2"), ("quality", "u1"), ("count", "u1")),
    ]
)
_MINUTIAE = native.MAGIC + bytes([native.VERSION, native.Content.MINUTIAE])
_OF_EXTRACTOR = native.MAGIC + bytes([native.VERSION, native.Content.MINUTIAE_OF_EXTRACTOR])
_EMBEDDING = native.MAGIC + bytes([native.VERSION, native.Content.EMBEDDING])
_QUALITY = slice(native.HEADER_AT + 1, native.HEADER_AT + 9)  # of an embedding
_NO_QUALITY = struct.pack(">d", float("nan"))
_STORED_UNITS = 45  # 1/32 degrees in 360/256 degrees


def stored_forms(records: Sequence[bytes], notes: list[tuple[int, str]]) -> list[StoredForms | FormatError]:
    """Of each record its templates as :func:`native.write` gives them, or why :func:`abis.formats.read` does not.

    Records are read leniently; (number of the record, what was done) is appended to ``notes``.
    """
    quick: dict[int, tuple[int, bytes]] = {}
    for belongs, convert in ((_is_stored, _of_stored), (_is_plain_iso_2005, _of_iso_2005)):
        numbers = [number for number, record in enumerate(records) if belongs(record)]
        converted = convert([records[number] for number in numbers]) if numbers else []
        quick.update((n, one) for n, one in zip(numbers, converted, strict=True) if one is not None)
    return [[quick[n]] if n in quick else _of_any(n, record, notes) for n, record in enumerate(records)]


def at_position(stored: bytes, position: Position) -> bytes:
    """The same stored form at another position, the first field of all contents."""
    return stored[: native.HEADER_AT] + bytes([position]) + stored[native.HEADER_AT + 1 :]


def _of_any(number: int, record: bytes, notes: list[tuple[int, str]]) -> StoredForms | FormatError:
    try:
        found = read(record, lenient=True)
    except FormatError as error:
        return error
    notes += [(number, note) for note in found.notes]
    return [(int(template.position), native.write(template)) for template in found]


def _is_stored(record: bytes) -> bool:
    """A stored form that would be written again with the same bytes, if it is valid."""
    if record.startswith(_EMBEDDING):
        quality = record[_QUALITY]
        return quality == _NO_QUALITY or quality[:2] < b"\x7f\xf0" or b"\x80" <= quality[:2] < b"\xff\xf0"
    return record.startswith((_MINUTIAE, _OF_EXTRACTOR))


def _of_stored(records: Sequence[bytes]) -> Sequence[tuple[int, bytes] | None]:
    try:
        templates = read_many(records)
    except FormatError:
        return [None] * len(records)  # one of them is faulty: each by itself
    return [(int(t.position), record) for t, record in zip(templates, records, strict=True)]


def _is_plain_iso_2005(record: bytes) -> bool:
    size = len(record)
    return (
        record.startswith(_ISO_2005)
        and size > _HEAD.itemsize
        and not ansi_378_2004.is_length(record[8:12])
        and record[8:12] == _LENGTH.pack(size)
        and record[_VIEWS_AT] == 1
        and size == _HEAD.itemsize + _fmr.MINUTIA_SIZE * record[_COUNT_AT] + len(_fmr.NO_EXTENDED_DATA)
        and record.endswith(_fmr.NO_EXTENDED_DATA)
    )


def _of_iso_2005(records: Sequence[bytes]) -> Sequence[tuple[int, bytes] | None]:
    """None for those that break a rule of Minutiae."""
    heads = np.frombuffer(b"".join([record[: _HEAD.itemsize] for record in records]), _HEAD)
    end = -len(_fmr.NO_EXTENDED_DATA)
    minutiae = np.frombuffer(b"".join([record[_HEAD.itemsize : end] for record in records]), _fmr.MINUTIA)
    count = heads["count"].astype(np.int64)
    finger_quality = _fmr.ISO_2005.known_qualities(heads["quality"])
    quality = _fmr.ISO_2005.known_qualities(minutiae["quality"])
    is_good = (
        _is_side(heads["width"])
        & _is_side(heads["height"])
        & (heads["resolution_x"] > 0)
        & (heads["resolution_y"] > 0)
        & (heads["position"] <= Position.LEFT_LITTLE)
        & _is_quality(finger_quality)
    )
    is_good_minutia = (
        ((minutiae["kind_x"] & 0x3FFF) < np.repeat(heads["width"], count))
        & (minutiae["y"] < np.repeat(heads["height"], count))
        & (minutiae["kind_x"] >> 14 <= max(MinutiaKind))
        & _is_quality(quality)
    )
    owner = np.repeat(np.arange(len(records)), count)
    is_good[owner[~is_good_minutia]] = False

    stored_heads = np.empty(len(records), _STORED_HEAD)
    stored_heads["before"] = np.void(_MINUTIAE)
    for name in ("position", "width", "height", "resolution_x", "resolution_y", "count"):
        stored_heads[name] = heads[name]
    stored_heads["quality"] = finger_quality
    stored = np.empty(len(minutiae), native.MINUTIA_OF[native.Content.MINUTIAE])
    stored["kind_x"] = minutiae["kind_x"]
    stored["y"] = minutiae["y"]
    stored["quality"] = quality
    stored["direction"] = minutiae["direction"].astype(np.uint16) * _STORED_UNITS

    head_bytes, minutia_bytes = stored_heads.tobytes(), stored.tobytes()
    ends = np.cumsum(count) * stored.itemsize
    converted: list[tuple[int, bytes] | None] = []
    begin = at = 0
    for good, position, end in zip(is_good.tolist(), heads["position"].tolist(), ends.tolist(), strict=True):
        data = head_bytes[at : at + _STORED_HEAD.itemsize] + minutia_bytes[begin:end]
        converted.append((position, data) if good else None)
        begin, at = end, at + _STORED_HEAD.itemsize
    return converted


def _is_side(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.bool_]:
    within: npt.NDArray[np.bool_] = (pixels >= 1) & (pixels <= MAX_SIDE)
    return within


def _is_quality(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    known: npt.NDArray[np.bool_] = (values <= 100) | (values == NO_QUALITY)
    return known
