# SPDX-License-Identifier: Apache-2.0
"""The card formats of ISO/IEC 19794-2:2005, clause 8: minutiae for comparison on a card, without a header.

Normal size takes 5 bytes a minutia: kind and x (2 and 14 bits), y (16 bits), both in 1/100 mm, direction in 1.40625
degrees. Compact size takes 3: x and y (8 bits each) in 1/10 mm, kind and direction (2 and 6 bits) in 5.625 degrees.
Both are read bare, or inside the biometric data template of ISO/IEC 7816-11 and 19785-3 (tags 7F2E and 81 or 5F2E).
Nothing in the bytes tells the two sizes apart for sure, so :func:`abis.read` does not read them: say which it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError, TemplateError
from abis.template import MAX_MINUTIAE, Minutiae, Position

__all__ = ["read_compact", "read_normal", "write_compact", "write_normal"]

_NORMAL = np.dtype([("kind_x", ">u2"), ("y", ">u2"), ("direction", "u1")])
_COMPACT = np.dtype([("x", "u1"), ("y", "u1"), ("kind_direction", "u1")])
_NORMAL_DEGREES, _COMPACT_DEGREES = 360 / 256, 360 / 64
_NORMAL_PER_CM, _COMPACT_PER_CM = 1000, 100  # pixels of 1/100 mm and of 1/10 mm
_TEMPLATE, _DATA_TAGS = b"\x7f\x2e", (b"\x81", b"\x82", b"\x5f\x2e")


def read_normal(data: bytes, *, position: Position = Position.UNKNOWN_FINGER) -> tuple[Minutiae, ...]:
    """The one template in minutiae of normal size, as one whose pixels are 1/100 mm.

    Args:
        data: the minutiae, bare or in a biometric data template.
        position: the finger, which the format does not name.

    Raises:
        FormatError: the size is no multiple of 5 bytes, or a minutia is impossible.
    """
    fields = _records(data, _NORMAL)
    return _template(
        x=fields["kind_x"] & 0x3FFF,
        y=fields["y"],
        direction=fields["direction"] * np.float32(_NORMAL_DEGREES),
        kind=fields["kind_x"] >> 14,
        per_cm=_NORMAL_PER_CM,
        position=position,
    )


def read_compact(data: bytes, *, position: Position = Position.UNKNOWN_FINGER) -> tuple[Minutiae, ...]:
    """The one template in minutiae of compact size, as one whose pixels are 1/10 mm.

    Args:
        data: the minutiae, bare or in a biometric data template.
        position: the finger, which the format does not name.

    Raises:
        FormatError: the size is no multiple of 3 bytes, or a minutia is impossible.
    """
    fields = _records(data, _COMPACT)
    return _template(
        x=fields["x"],
        y=fields["y"],
        direction=(fields["kind_direction"] & 0x3F) * np.float32(_COMPACT_DEGREES),
        kind=fields["kind_direction"] >> 6,
        per_cm=_COMPACT_PER_CM,
        position=position,
    )


def write_normal(templates: Sequence[Minutiae]) -> bytes:
    """One template as bare minutiae of normal size, in the order given.

    Lost: image size, resolution, finger and all qualities; places are rounded to 1/100 mm, directions to 1.40625
    degrees.

    Raises:
        FormatError: there is not exactly one template, or it is larger than 163 mm.
    """
    template = _one(templates)
    x, y = _places(template, _NORMAL_PER_CM, 0x3FFF)
    fields = np.empty(len(template), _NORMAL)
    fields["kind_x"] = template.kind.astype(np.uint16) << 14 | x
    fields["y"] = y
    fields["direction"] = _units(template, _NORMAL_DEGREES)
    return fields.tobytes()


def write_compact(templates: Sequence[Minutiae]) -> bytes:
    """One template as bare minutiae of compact size, in the order given.

    Lost: image size, resolution, finger and all qualities; places are rounded to 1/10 mm, directions to 5.625 degrees.

    Raises:
        FormatError: there is not exactly one template, or it is larger than 25.5 mm.
    """
    template = _one(templates)
    x, y = _places(template, _COMPACT_PER_CM, 0xFF)
    fields = np.empty(len(template), _COMPACT)
    fields["x"], fields["y"] = x, y
    fields["kind_direction"] = template.kind << 6 | _units(template, _COMPACT_DEGREES)
    return fields.tobytes()


def _records(data: bytes, record: np.dtype[np.void]) -> npt.NDArray[np.void]:
    content = _unwrapped(data)
    if len(content) % record.itemsize:
        raise FormatError(f"{len(content)} bytes are no multiple of the {record.itemsize} of a minutia")
    if len(content) > MAX_MINUTIAE * record.itemsize:
        raise FormatError(
            f"{len(content) // record.itemsize} minutiae; a template holds at most {MAX_MINUTIAE}"
        )
    return np.frombuffer(content, record)


def _unwrapped(data: bytes) -> bytes:
    """The content of a biometric data template; bytes that are none as they are."""
    if not data.startswith(_TEMPLATE):
        return data
    inner = _value(data, len(_TEMPLATE))
    for tag in _DATA_TAGS:
        if inner.startswith(tag):
            return _value(inner, len(tag))
    raise FormatError(
        f"biometric data template holds tag {inner[:1].hex()}; expected 81, 82 or 5F2E", offset=2
    )


def _value(data: bytes, place: int) -> bytes:
    """The value of a TLV object whose length field begins at ``place`` (BER, up to two bytes of length)."""
    first = data[place] if place < len(data) else 0
    more = first - 0x80 if first in (0x81, 0x82) else 0
    length = int.from_bytes(data[place + 1 : place + 1 + more], "big") if more else first
    begin = place + 1 + more
    if begin + length > len(data):
        raise FormatError(f"a length of {length} bytes, but {len(data) - begin} are left", offset=place)
    return data[begin : begin + length]


def _template(
    *,
    x: npt.NDArray[np.integer[Any]],
    y: npt.NDArray[np.integer[Any]],
    direction: npt.NDArray[np.float32],
    kind: npt.NDArray[np.integer[Any]],
    per_cm: int,
    position: Position,
) -> tuple[Minutiae, ...]:
    try:
        return (
            Minutiae(
                x=x,
                y=y,
                direction=direction,
                kind=kind,
                width=int(x.max(initial=0)) + 1,
                height=int(y.max(initial=0)) + 1,
                resolution=(per_cm, per_cm),
                position=position,
            ),
        )
    except TemplateError as error:
        raise FormatError(str(error), offset=0) from None


def _one(templates: Sequence[Minutiae]) -> Minutiae:
    if len(templates) != 1:
        raise FormatError(f"{len(templates)} templates to write; a card format holds exactly one")
    return templates[0]


def _places(
    template: Minutiae, per_cm: int, highest: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    places = []
    for name, values, resolution in zip("xy", (template.x, template.y), template.resolution, strict=True):
        scaled = np.rint(values * (per_cm / resolution)).astype(np.int64)
        if len(scaled) and scaled.max() > highest:
            far = 10 * scaled.max() / per_cm
            raise FormatError(
                f"a minutia at {name} = {far:.1f} mm; the format reaches to {10 * highest / per_cm:g} mm"
            )
        places.append(scaled.astype(np.uint16))
    return places[0], places[1]


def _units(template: Minutiae, degrees: float) -> npt.NDArray[np.uint8]:
    whole_turn = round(360 / degrees)
    units: npt.NDArray[np.int64] = np.rint(template.direction / np.float32(degrees)).astype(np.int64)
    return np.asarray(units % whole_turn, np.uint8)
