# SPDX-License-Identifier: Apache-2.0
"""The form abis stores templates in: compact, versioned, and lossless for every template there can be.

The layout is documented byte by byte in docs/formats.md; a change to it needs a new version number here,
and readers of all earlier ones.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError, TemplateError
from abis.formats._cursor import Cursor
from abis.template import (
    Embedding,
    IrisCode,
    Minutiae,
    Position,
    StrProfile,
    Template,
    modality,
    of_checked_fields,
)
from abis.template.alleles import LOCI

__all__ = ["EMBEDDING", "IRIS", "MAGIC", "MINUTIAE", "STR_PROFILE", "StoredForm", "read", "write"]

MAGIC = b"\xabIS"
"""What the stored form begins with. The first byte is no ASCII, so that no text begins so."""

VERSION = 1
HEADER_AT = len(MAGIC) + 2  # after the version and the content


class Content(IntEnum):
    MINUTIAE = 1  # directions in units of 1/32 degree
    MINUTIAE_WITH_FLOAT_DIRECTIONS = 2  # where a direction is no multiple of that
    EMBEDDING = 3
    IRIS = 4
    MINUTIAE_OF_EXTRACTOR = 5  # as MINUTIAE, the extractor's name after them
    MINUTIAE_OF_EXTRACTOR_WITH_FLOAT_DIRECTIONS = 6
    STR_PROFILE = 7

    @property
    def names_extractor(self) -> bool:
        """Whether the name of an extractor follows the minutiae."""
        return self in (
            Content.MINUTIAE_OF_EXTRACTOR,
            Content.MINUTIAE_OF_EXTRACTOR_WITH_FLOAT_DIRECTIONS,
        )


_UNITS_PER_DEGREE = 32  # 1.40625, 2 and 1 degrees, the units of the interchange formats, are 45, 64 and 32
_MINUTIA_FIELDS = [("kind_x", ">u2"), ("y", ">u2"), ("quality", "u1")]
MINUTIA_OF: dict[int, np.dtype[np.void]] = {
    Content.MINUTIAE: np.dtype([*_MINUTIA_FIELDS, ("direction", ">u2")]),
    Content.MINUTIAE_WITH_FLOAT_DIRECTIONS: np.dtype([*_MINUTIA_FIELDS, ("direction", ">f4")]),
}
MINUTIA_OF[Content.MINUTIAE_OF_EXTRACTOR] = MINUTIA_OF[Content.MINUTIAE]
MINUTIA_OF[Content.MINUTIAE_OF_EXTRACTOR_WITH_FLOAT_DIRECTIONS] = MINUTIA_OF[
    Content.MINUTIAE_WITH_FLOAT_DIRECTIONS
]
_NO_FINGER_QUALITY = 255
_LENGTH_TOLERANCE = 2**-10  # of a unit vector, after rounding to float16


class MinutiaColumns(NamedTuple):
    """The fields of minutiae in the dtypes that :class:`abis.template.Minutiae` has them in."""

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    direction: npt.NDArray[np.float32]
    kind: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, fields: npt.NDArray[np.void]) -> MinutiaColumns:
        """Decode an array of one of the dtypes in ``MINUTIA_OF``."""
        kind_x = fields["kind_x"].astype(np.uint16)
        direction = fields["direction"].astype(np.float32)
        if fields.dtype == MINUTIA_OF[Content.MINUTIAE]:
            direction /= _UNITS_PER_DEGREE
        return cls(
            x=kind_x & np.uint16(0x3FFF),
            y=fields["y"].astype(np.uint16),
            direction=direction + 0,  # -0.0 is 0.0
            kind=(kind_x >> 14).astype(np.uint8),
            quality=fields["quality"].copy(),
        )


class StoredForm(NamedTuple):
    """How templates of a modality are written: what a row of :mod:`abis.template.modality` names.

    Attributes:
        contents: the content numbers of these templates (docs/formats.md).
        read: makes a template of what follows such a number. Raises TemplateError where the fields break its rules.
        write: the number and what follows, the position first.
    """

    contents: tuple[int, ...]
    read: Callable[[Cursor, int], Template]
    write: Callable[[Any], bytes]


MINUTIAE_HEADER = struct.Struct(">BHHHHBB")  # position, width, height, x and y resolution, quality, count
IRIS_HEADER = struct.Struct(">BdHHH")  # position, quality, rows, columns, planes
STR_LOCUS = struct.Struct(">BHH")  # place in abis.template.alleles.LOCI, the two alleles in tenths
EMBEDDING_HEADER = struct.Struct(">BdH")  # position, quality, dimension


def read(data: bytes) -> Template:
    """The template that :func:`write` was given.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
    """
    cursor = Cursor(data)
    cursor.literal(MAGIC, "magic number")
    version = cursor.unsigned(1, "version")
    if version != VERSION:
        message = f"stored form of version {version}; this abis reads version {VERSION}"
        raise cursor.fault(message, back=1)
    content = cursor.unsigned(1, "content")
    forms = [each.stored_form() for each in modality.MODALITIES]
    form = next((form for form in forms if content in form.contents), None)
    if form is None:
        known = sorted({content for form in forms for content in form.contents})
        raise cursor.fault(f"content is {content}; expected one of {', '.join(map(str, known))}", back=1)
    try:
        return form.read(cursor, content)
    except TemplateError as error:
        raise FormatError(str(error), offset=HEADER_AT) from None


def write(template: Template) -> bytes:
    """The stored form: 16 bytes and 7 a minutia, or 16 bytes, the model's name and 2 a dimension.

    The name of a known extractor takes its length and one byte more.
    Minutiae of which a direction is no multiple of 1/32 degree take 9 bytes each, to lose nothing.
    """
    return MAGIC + bytes([VERSION]) + modality.modality_of(template).stored_form().write(template)


def _read_minutiae(cursor: Cursor, number: int) -> Minutiae:
    content = Content(number)
    header = cursor.take(MINUTIAE_HEADER.size, "header of the minutiae")
    position, width, height, x_resolution, y_resolution, quality, count = MINUTIAE_HEADER.unpack(header)
    record = MINUTIA_OF[content]
    fields = np.frombuffer(cursor.take(count * record.itemsize, f"{count} minutiae"), record)
    extractor = _read_name(cursor, "extractor's name") if content.names_extractor else ""
    cursor.end()
    if content.names_extractor and not extractor:
        raise TemplateError("the extractor's name is empty, though the content says that there is one")
    columns = MinutiaColumns.of(fields)
    return Minutiae(
        x=columns.x,
        y=columns.y,
        direction=columns.direction,
        kind=columns.kind,
        quality=columns.quality,
        width=width,
        height=height,
        resolution=(x_resolution, y_resolution),
        position=_position(position),
        finger_quality=None if quality == _NO_FINGER_QUALITY else quality,
        extractor=extractor,
    )


def _minutiae_bytes(template: Minutiae) -> bytes:
    units = _exact_units(template.direction)
    if template.extractor:
        exact, rounded = Content.MINUTIAE_OF_EXTRACTOR_WITH_FLOAT_DIRECTIONS, Content.MINUTIAE_OF_EXTRACTOR
    else:
        exact, rounded = Content.MINUTIAE_WITH_FLOAT_DIRECTIONS, Content.MINUTIAE
    content = exact if units is None else rounded
    fields = np.empty(len(template), MINUTIA_OF[content])
    fields["kind_x"] = template.kind.astype(np.uint16) << 14 | template.x
    fields["y"] = template.y
    fields["quality"] = template.quality
    fields["direction"] = template.direction if units is None else units
    quality = _NO_FINGER_QUALITY if template.finger_quality is None else template.finger_quality
    header = MINUTIAE_HEADER.pack(
        template.position, template.width, template.height, *template.resolution, quality, len(template)
    )
    name = _name_bytes(template.extractor) if template.extractor else b""
    return bytes([content]) + header + fields.tobytes() + name


def _exact_units(direction: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16] | None:
    """Directions as whole units, or None where that would change a bit of one (also of -0.0)."""
    units = np.rint(direction * _UNITS_PER_DEGREE).astype(np.uint16)
    restored = units.astype(np.float32) / _UNITS_PER_DEGREE
    return units if restored.tobytes() == direction.tobytes() else None


def _read_embedding(cursor: Cursor, _: int) -> Embedding:
    header = cursor.take(EMBEDDING_HEADER.size, "header of the embedding")
    position, quality, dimension = EMBEDDING_HEADER.unpack(header)
    model = _read_name(cursor, "model's name")
    stored = np.frombuffer(cursor.take(dimension * 2, f"{dimension} elements"), ">f2").astype(np.float16)
    cursor.end()
    place = _position(position)
    if modality.modality_at(place).template is not Embedding:
        raise TemplateError(f"position {place.name} has no embeddings")
    if math.isinf(quality):
        raise TemplateError(f"quality is {quality}")
    if not np.isfinite(stored).all():
        first = int(np.flatnonzero(~np.isfinite(stored))[0])
        raise TemplateError(f"vector element {first} is {stored[first]}")
    length = float(np.linalg.norm(stored.astype(np.float64)))
    if abs(length - 1) >= _LENGTH_TOLERANCE:
        raise TemplateError(f"vector is of length {length:g}; expected unit length, as all stored ones have")
    stored.flags.writeable = False
    return of_checked_fields(
        Embedding,
        {
            "vector": stored,
            "model": model,
            "position": place,
            "quality": None if math.isnan(quality) else quality,
        },
    )


def _embedding_bytes(template: Embedding) -> bytes:
    quality = math.nan if template.quality is None else template.quality
    header = EMBEDDING_HEADER.pack(template.position, quality, len(template.vector))
    return b"".join(
        [
            bytes([Content.EMBEDDING]),
            header,
            _name_bytes(template.model),
            template.vector.astype(">f2").tobytes(),
        ]
    )


def _read_name(cursor: Cursor, what: str) -> str:
    name = cursor.take(cursor.unsigned(1, f"length of the {what}"), what)
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise cursor.fault(f"{what} is no UTF-8: {error.reason}", back=len(name)) from None


def _name_bytes(name: str) -> bytes:
    encoded = name.encode()
    return bytes([len(encoded)]) + encoded


def _read_iris(cursor: Cursor, _: int) -> IrisCode:
    header = cursor.take(IRIS_HEADER.size, "header of the iris code")
    position, quality, rows, columns, planes = IRIS_HEADER.unpack(header)
    model = _read_name(cursor, "model's name")
    each = rows * planes // 8
    bits, mask = (
        np.frombuffer(cursor.take(columns * each, f"{columns * each} bytes of {what}"), np.uint8)
        for what in ("bits", "mask")
    )
    cursor.end()
    return IrisCode.of_packed(
        bits=bits.reshape(columns, each),
        mask=mask.reshape(columns, each),
        shape=(rows, columns, planes),
        model=model,
        position=_position(position),
        quality=None if math.isnan(quality) else quality,
    )


def _iris_bytes(template: IrisCode) -> bytes:
    quality = math.nan if template.quality is None else template.quality
    return b"".join(
        [
            bytes([Content.IRIS]),
            IRIS_HEADER.pack(template.position, quality, *template.shape),
            _name_bytes(template.model),
            template.bits.tobytes(),
            template.mask.tobytes(),
        ]
    )


def _read_profile(cursor: Cursor, _: int) -> StrProfile:
    position, count = cursor.take(2, "header of the DNA profile")
    if position != Position.DNA:
        raise TemplateError(f"position is {position}; expected {int(Position.DNA)} of a DNA profile")
    alleles = np.zeros((len(LOCI), 2), np.uint16)
    last = -1
    fields = cursor.take(count * STR_LOCUS.size, f"{count} loci")
    for place, low, high in STR_LOCUS.iter_unpack(fields):
        if not last < place < len(LOCI):
            raise TemplateError(
                f"locus {place} after {last}; expected them in order, and at most {len(LOCI) - 1}"
            )
        if not low:
            raise TemplateError(f"locus {LOCI[place]} has no alleles, though it is listed")
        alleles[place] = low, high
        last = place
    cursor.end()
    return StrProfile.of_alleles(alleles)


def _profile_bytes(template: StrProfile) -> bytes:
    loci = [(place, low, high) for place, (low, high) in enumerate(template.alleles.tolist()) if high]
    return b"".join(
        [
            bytes([Content.STR_PROFILE, template.position, len(loci)]),
            *(STR_LOCUS.pack(*fields) for fields in loci),
        ]
    )


MINUTIAE = StoredForm(tuple(MINUTIA_OF), _read_minutiae, _minutiae_bytes)
EMBEDDING = StoredForm((Content.EMBEDDING,), _read_embedding, _embedding_bytes)
IRIS = StoredForm((Content.IRIS,), _read_iris, _iris_bytes)
STR_PROFILE = StoredForm((Content.STR_PROFILE,), _read_profile, _profile_bytes)


def _position(code: int) -> Position:
    try:
        return Position(code)
    except ValueError:
        raise TemplateError(f"position is {code}, which is none") from None
