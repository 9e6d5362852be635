# SPDX-License-Identifier: Apache-2.0
"""What the finger minutiae records of ISO/IEC 19794-2 and ANSI/INCITS 378 have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError, TemplateError
from abis.formats._cursor import Cursor
from abis.template import NO_QUALITY, Minutiae, MinutiaKind, Position

MAGIC = b"FMR\0"
"""The format identifier that begins the records of all these standards."""

UNKNOWN_VENDOR = b"\x01\x03"
"""Registered with IBIA for records whose vendor is not given; 0 is not allowed."""

UNKNOWN_QUALITY_ALGORITHM = b"\0\1"
"""Registered by that vendor for qualities whose algorithm is not given."""

_LEADER = "leader-0.1"
_QUALITY_ALGORITHM_OF = {_LEADER: UNKNOWN_VENDOR + b"\x4c\x01"}
"""Vendor and algorithm that stand for an extractor whose qualities abis knows. The second is not registered: abis has
no vendor number. Other software takes it as the unknown algorithm of an unknown vendor, as before."""
_EXTRACTOR_OF = {algorithm: extractor for extractor, algorithm in _QUALITY_ALGORITHM_OF.items()}

MINUTIA_SIZE = 6
"""Bytes of a minutia: kind and x, y, direction, quality. ISO/IEC 19794-2:2011 may leave out the last."""

NO_EXTENDED_DATA = b"\0\0"
"""What ends a view that has none: their length."""

MINUTIA = np.dtype([("kind_x", ">u2"), ("y", ">u2"), ("direction", "u1"), ("quality", "u1")])
_MINUTIA_WITHOUT_QUALITY = np.dtype(MINUTIA.descr[:-1])
_MINUTIA_OF_SIZE = {MINUTIA_SIZE: MINUTIA, MINUTIA_SIZE - 1: _MINUTIA_WITHOUT_QUALITY}

_WHOLE_TURN, _BEST_QUALITY = 360, 100
_NOT_REPORTED = 254  # a quality, since 2009, and 255 is one that could not be computed; before, 0 is both
_EXTENDED_LENGTH_TOLERANCE = 2  # bytes; see skip_extended_data
_MAX_VIEWS_OF_A_FINGER = 16  # the view number is a 4-bit field, or said to be 0 to 15


@dataclass(frozen=True)
class Convention:
    """How a standard counts directions and says that a quality is unknown.

    Attributes:
        degree_unit: degrees per unit of direction.
        zero_is_unknown: True where quality 0 says "not reported"; elsewhere 0 is the worst and 254 says it.
    """

    degree_unit: float
    zero_is_unknown: bool

    def degrees(self, units: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        degrees: npt.NDArray[np.float32] = np.multiply(units, self.degree_unit, dtype=np.float32)
        return degrees

    def units(self, degrees: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """The nearest units; exact for directions that were read from this convention."""
        whole_turn = round(360 / self.degree_unit)
        units = np.rint(degrees / np.float32(self.degree_unit)).astype(np.uint16)
        return np.where(units == whole_turn, 0, units).astype(np.uint8)

    def known_qualities(self, stated: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What a template says where the record states this; out of range stays out of range."""
        unknown = stated >= _NOT_REPORTED
        if self.zero_is_unknown:
            unknown |= stated == 0
        return np.where(unknown, np.uint8(NO_QUALITY), stated)

    def stated_qualities(self, known: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """What a record states; the worst quality becomes 1 where 0 would say "not reported"."""
        unknown = np.uint8(0 if self.zero_is_unknown else _NOT_REPORTED)
        worst = np.uint8(1 if self.zero_is_unknown else 0)
        return np.where(known == NO_QUALITY, unknown, np.maximum(known, worst))

    def read_view_quality(self, cursor: Cursor) -> int | None:
        stated = cursor.unsigned(1, "finger quality")
        if stated >= _NOT_REPORTED or (self.zero_is_unknown and stated == 0):
            return None
        if stated > _BEST_QUALITY and cursor.repairs is not None:
            cursor.repairs.append(f"finger quality {stated} taken as not reported")
            return None
        if stated > _BEST_QUALITY:
            expected = "expected 0 to 100, or 254 or 255 where it is not known"
            raise cursor.fault(f"finger quality is {stated}; {expected}", back=1)
        return stated

    def view_quality_byte(self, template: Minutiae) -> bytes:
        if template.finger_quality is None:
            return bytes([0 if self.zero_is_unknown else _NOT_REPORTED])
        return bytes([template.finger_quality])


ISO_2005 = Convention(degree_unit=360 / 256, zero_is_unknown=True)
ISO_2011 = Convention(degree_unit=360 / 256, zero_is_unknown=False)
ANSI_2004 = Convention(degree_unit=2, zero_is_unknown=True)
ANSI_2009 = Convention(degree_unit=2, zero_is_unknown=False)


@dataclass(frozen=True)
class ImageGeometry:
    """Size in pixels, and resolution in pixels per centimetre, of the image the minutiae were found in."""

    width: int
    height: int
    resolution: tuple[int, int]

    @staticmethod
    def read(cursor: Cursor) -> ImageGeometry:
        width, height = read_pair(cursor, "image width", "image height")
        return ImageGeometry(width, height, read_pair(cursor, "x resolution", "y resolution"))

    @staticmethod
    def of(template: Minutiae) -> ImageGeometry:
        return ImageGeometry(template.width, template.height, template.resolution)

    def size_bytes(self) -> bytes:
        return self.width.to_bytes(2, "big") + self.height.to_bytes(2, "big")

    def resolution_bytes(self) -> bytes:
        return self.resolution[0].to_bytes(2, "big") + self.resolution[1].to_bytes(2, "big")

    def __str__(self) -> str:
        return f"{self.width}x{self.height} at {self.resolution[0]}x{self.resolution[1]} px/cm"


def read_extractor(cursor: Cursor) -> str:
    """The extractor that a quality algorithm's vendor and number stand for; "" where that is unknown."""
    return _EXTRACTOR_OF.get(bytes(cursor.take(4, "quality algorithm")), "")


def is_known(extractor: str) -> bool:
    """Whether records that have quality algorithms keep the extractor's name."""
    return extractor in _QUALITY_ALGORITHM_OF


def quality_algorithm_bytes(extractor: str) -> bytes:
    """Vendor and number of the quality algorithm, by which :func:`read_extractor` finds a known extractor again."""
    return _QUALITY_ALGORITHM_OF.get(extractor, UNKNOWN_VENDOR + UNKNOWN_QUALITY_ALGORITHM)


def read_pair(cursor: Cursor, x_name: str, y_name: str) -> tuple[int, int]:
    return cursor.unsigned(2, x_name), cursor.unsigned(2, y_name)


def read_position(cursor: Cursor) -> Position:
    """The finger; codes of several fingers at once and of palms are refused."""
    return Position(cursor.unsigned(1, "finger position", high=Position.LEFT_LITTLE))


def read_minutiae(
    cursor: Cursor,
    convention: Convention,
    image: ImageGeometry,
    *,
    view: int,
    position: Position,
    finger_quality: int | None,
    count: int,
    minutia_size: int = MINUTIA_SIZE,
    extractor: str = "",
) -> Minutiae:
    """The template of one finger view, the cursor being at its first minutia."""
    start = cursor.offset
    records = cursor.take(count * minutia_size, f"view {view}: its {count} minutiae")
    fields = np.frombuffer(records, _MINUTIA_OF_SIZE[minutia_size])
    has_quality = minutia_size == MINUTIA_SIZE
    columns: dict[str, npt.NDArray[Any]] = {
        "x": fields["kind_x"] & 0x3FFF,
        "y": fields["y"],  # two reserved bits on top, zero in every file seen: set, y is beyond any height
        "direction": convention.degrees(fields["direction"]),
        "kind": fields["kind_x"] >> 14,
        "quality": convention.known_qualities(fields["quality"])
        if has_quality
        else np.full(count, NO_QUALITY, np.uint8),
    }
    if cursor.repairs is not None:
        columns = _repaired(columns, image, view, cursor.repairs)
    try:
        return Minutiae(
            **columns,
            width=image.width,
            height=image.height,
            resolution=image.resolution,
            position=position,
            finger_quality=finger_quality,
            extractor=extractor,
        )
    except TemplateError as error:
        raise FormatError(f"view {view}: {error}", offset=start) from None


def _repaired(
    columns: dict[str, npt.NDArray[Any]], image: ImageGeometry, view: int, repairs: list[str]
) -> dict[str, npt.NDArray[Any]]:
    """The minutiae that can be; qualities that cannot become ones that are not reported."""
    possible = (
        (columns["x"] < image.width)
        & (columns["y"] < image.height)
        & (columns["direction"] < _WHOLE_TURN)
        & (columns["kind"] <= max(MinutiaKind))
    )
    if dropped := int((~possible).sum()):
        repairs.append(
            f"view {view}: {dropped} of {len(possible)} minutiae dropped: outside the image, or impossible"
        )
    quality = columns["quality"]
    if unknown := int(((quality > _BEST_QUALITY) & (quality != NO_QUALITY) & possible).sum()):
        repairs.append(f"view {view}: {unknown} impossible qualities taken as not reported")
    columns["quality"] = np.where(quality > _BEST_QUALITY, np.uint8(NO_QUALITY), quality)
    return {name: column[possible] for name, column in columns.items()}


def minutiae_bytes(template: Minutiae, convention: Convention, minutia_size: int = MINUTIA_SIZE) -> bytes:
    """The minutiae as a view's records of them; directions are rounded to the convention's unit."""
    fields = np.empty(len(template), _MINUTIA_OF_SIZE[minutia_size])
    fields["kind_x"] = template.kind.astype(np.uint16) << 14 | template.x
    fields["y"] = template.y
    fields["direction"] = convention.units(template.direction)
    if minutia_size == MINUTIA_SIZE:
        fields["quality"] = convention.stated_qualities(template.quality)
    return fields.tobytes()


def skip_extended_data(cursor: Cursor, view: int, *, is_last: bool) -> None:
    """Step over a view's ridge counts, cores, deltas and vendors' data, checking only the total length.

    What is inside is not looked at: real records disagree on whether the length of an area includes
    its own four bytes, and no template depends on it. The extended data of a record's last view may be
    one or two bytes shorter or longer than stated, as in NIST's examples: too few to be another view.
    """
    if is_last and cursor.left < len(NO_EXTENDED_DATA) and cursor.repairs is not None:
        cursor.repairs.append(f"view {view}: the length of its extended data is missing, taken as none")
        cursor.take(cursor.left, "extended data length")
        return
    length = cursor.unsigned(2, "extended data length")
    if is_last and length and abs(length - cursor.left) <= _EXTENDED_LENGTH_TOLERANCE:
        length = cursor.left
    if is_last and length > cursor.left and cursor.repairs is not None:
        cursor.repairs.append(
            f"view {view}: extended data of {length} bytes, of which {cursor.left} are there"
        )
        length = cursor.left
    cursor.take(length, f"view {view}: its extended data")


def numbered(templates: Sequence[Minutiae]) -> Iterator[tuple[int, Minutiae]]:
    """Each template with its view number: how many before it are of the same finger.

    Raises:
        FormatError: there are none, or more of a finger than view numbers.
    """
    if not templates:
        raise FormatError("no templates to write; a record holds at least one finger view")
    seen: Counter[Position] = Counter()
    for index, template in enumerate(templates):
        number = seen[template.position]
        if number == _MAX_VIEWS_OF_A_FINGER:
            raise FormatError(
                f"template {index} is view {number + 1} of {template.position.name}; "
                f"a record holds at most {_MAX_VIEWS_OF_A_FINGER} of a finger"
            )
        seen[template.position] += 1
        yield number, template
