# SPDX-License-Identifier: Apache-2.0
"""The form abis stores templates in: compact, versioned, and lossless for every template there can be.

The layout is documented byte by byte in docs/formats.md; a change to it needs a new version number here,
and readers of all earlier ones.
"""

from __future__ import annotations

import math
import struct
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError, TemplateError
from abis.formats._cursor import Cursor
from abis.template import Embedding, Minutiae, Position, Template

__all__ = ["MAGIC", "read", "write"]

MAGIC = b"\xabIS"
"""What the stored form begins with. The first byte is no ASCII, so that no text begins so."""

_VERSION = 1


class _Content(IntEnum):
    MINUTIAE = 1  # directions in units of 1/32 degree
    MINUTIAE_WITH_FLOAT_DIRECTIONS = 2  # where a direction is no multiple of that
    EMBEDDING = 3


_UNITS_PER_DEGREE = 32  # 1.40625, 2 and 1 degrees, the units of the interchange formats, are 45, 64 and 32
_MINUTIA_FIELDS = [("kind_x", ">u2"), ("y", ">u2"), ("quality", "u1")]
_MINUTIA = np.dtype([*_MINUTIA_FIELDS, ("direction", ">u2")])
_MINUTIA_WITH_FLOAT_DIRECTION = np.dtype([*_MINUTIA_FIELDS, ("direction", ">f4")])
_NO_FINGER_QUALITY = 255

_MINUTIAE_HEADER = struct.Struct(">BHHHHBB")  # position, width, height, x and y resolution, quality, count
_EMBEDDING_HEADER = struct.Struct(">BdH")  # position, quality, dimension


def read(data: bytes) -> Template:
    """The template that :func:`write` was given.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data)
    cursor.literal(MAGIC, "magic number")
    version = cursor.unsigned(1, "version")
    if version != _VERSION:
        message = f"stored form of version {version}; this abis reads version {_VERSION}"
        raise cursor.fault(message, back=1)
    content = _Content(cursor.unsigned(1, "content", low=min(_Content), high=max(_Content)))
    try:
        return _read_embedding(cursor) if content == _Content.EMBEDDING else _read_minutiae(cursor, content)
    except TemplateError as error:
        raise FormatError(str(error), offset=len(MAGIC) + 2) from None


def write(template: Template) -> bytes:
    """The stored form: 16 bytes and 7 a minutia, or 16 bytes, the model's name and 2 a dimension.

    Minutiae of which a direction is no multiple of 1/32 degree take 9 bytes each, to lose nothing.
    """
    head = MAGIC + bytes([_VERSION])
    return head + (
        _minutiae_bytes(template) if isinstance(template, Minutiae) else _embedding_bytes(template)
    )


def _read_minutiae(cursor: Cursor, content: _Content) -> Minutiae:
    header = cursor.take(_MINUTIAE_HEADER.size, "header of the minutiae")
    position, width, height, x_resolution, y_resolution, quality, count = _MINUTIAE_HEADER.unpack(header)
    is_float = content == _Content.MINUTIAE_WITH_FLOAT_DIRECTIONS
    record = _MINUTIA_WITH_FLOAT_DIRECTION if is_float else _MINUTIA
    fields = np.frombuffer(cursor.take(count * record.itemsize, f"{count} minutiae"), record)
    cursor.end()
    direction = fields["direction"].astype(np.float32)
    return Minutiae(
        x=fields["kind_x"] & 0x3FFF,
        y=fields["y"],
        direction=direction if is_float else direction / _UNITS_PER_DEGREE,
        kind=fields["kind_x"] >> 14,
        quality=fields["quality"],
        width=width,
        height=height,
        resolution=(x_resolution, y_resolution),
        position=_position(position),
        finger_quality=None if quality == _NO_FINGER_QUALITY else quality,
    )


def _minutiae_bytes(template: Minutiae) -> bytes:
    units = _exact_units(template.direction)
    fields = np.empty(len(template), _MINUTIA_WITH_FLOAT_DIRECTION if units is None else _MINUTIA)
    fields["kind_x"] = template.kind.astype(np.uint16) << 14 | template.x
    fields["y"] = template.y
    fields["quality"] = template.quality
    fields["direction"] = template.direction if units is None else units
    content = _Content.MINUTIAE if units is not None else _Content.MINUTIAE_WITH_FLOAT_DIRECTIONS
    quality = _NO_FINGER_QUALITY if template.finger_quality is None else template.finger_quality
    header = _MINUTIAE_HEADER.pack(
        template.position, template.width, template.height, *template.resolution, quality, len(template)
    )
    return bytes([content]) + header + fields.tobytes()


def _exact_units(direction: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16] | None:
    """Directions as whole units, or None where that would change a bit of one (also of -0.0)."""
    units = np.rint(direction * _UNITS_PER_DEGREE).astype(np.uint16)
    restored = units.astype(np.float32) / _UNITS_PER_DEGREE
    return units if restored.tobytes() == direction.tobytes() else None


def _read_embedding(cursor: Cursor) -> Embedding:
    header = cursor.take(_EMBEDDING_HEADER.size, "header of the embedding")
    position, quality, dimension = _EMBEDDING_HEADER.unpack(header)
    name = cursor.take(cursor.unsigned(1, "length of the model's name"), "model's name")
    try:
        model = name.decode()
    except UnicodeDecodeError as error:
        raise cursor.fault(f"model's name is no UTF-8: {error.reason}", back=len(name)) from None
    stored = np.frombuffer(cursor.take(dimension * 2, f"{dimension} elements"), ">f2").astype(np.float16)
    cursor.end()
    embedding = Embedding(
        vector=stored,
        model=model,
        position=_position(position),
        quality=None if math.isnan(quality) else quality,
    )
    if embedding.vector.tobytes() != stored.tobytes():
        raise TemplateError("vector is not of unit length, as all stored ones are")
    return embedding


def _embedding_bytes(template: Embedding) -> bytes:
    name = template.model.encode()
    quality = math.nan if template.quality is None else template.quality
    header = _EMBEDDING_HEADER.pack(template.position, quality, len(template.vector))
    return b"".join(
        [
            bytes([_Content.EMBEDDING]),
            header,
            bytes([len(name)]),
            name,
            template.vector.astype(">f2").tobytes(),
        ]
    )


def _position(code: int) -> Position:
    try:
        return Position(code)
    except ValueError:
        raise TemplateError(f"position is {code}, which is none") from None
