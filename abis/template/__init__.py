# SPDX-License-Identifier: Apache-2.0
"""Templates: the comparable features of one sample of one position. Frozen, checked when made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from abis.errors import TemplateError
from abis.template.alleles import LOCI, MAX_TENTHS, allele_in_tenths, allele_text, locus_named

__all__ = [
    "LEAST_LOCI",
    "MAX_IRIS_BITS",
    "MAX_MINUTIAE",
    "MAX_SIDE",
    "NO_QUALITY",
    "Embedding",
    "IrisCode",
    "MinutiaKind",
    "Minutiae",
    "Position",
    "StrProfile",
    "Template",
    "of_checked_fields",
    "several_fingers",
]

MAX_MINUTIAE = 255
"""The most minutiae a finger view can hold (ISO/IEC 19794-2:2005, 7.4.1.5: a one-byte count)."""

NO_QUALITY = 255
"""A minutia's quality was not reported by its extractor; reported qualities are 0 to 100."""

MAX_IRIS_BITS = 65536
"""The most bits of an iris code."""

LEAST_LOCI = 13
"""The fewest loci of a DNA profile: the core loci of CODIS until 2016. The most: :data:`abis.template.alleles.LOCI`."""

MAX_SIDE = 16383
"""The most pixels an image is wide or high: coordinates are 14-bit fields in every standard read here."""

_MOST_OF_A_FINGER = 90  # minutiae
_WIDEST_FINGER = 25.0  # mm

_LEAST_SIGNED = 16
"""From this many elements on, a vector of one sign is no chance: 1 in 2**15 at 16, and none at 512."""

_MAX_RESOLUTION = 65535  # pixels per centimetre: a 16-bit field in every standard read here


class Position(IntEnum):
    """Where on the body a sample was taken.

    Finger codes are those of ISO/IEC 19794-2:2005, table 2. Eye codes are 64 more than those of ISO/IEC 19794-6:2011.
    The others are our own.
    """

    UNKNOWN_FINGER = 0
    RIGHT_THUMB = 1
    RIGHT_INDEX = 2
    RIGHT_MIDDLE = 3
    RIGHT_RING = 4
    RIGHT_LITTLE = 5
    LEFT_THUMB = 6
    LEFT_INDEX = 7
    LEFT_MIDDLE = 8
    LEFT_RING = 9
    LEFT_LITTLE = 10
    FACE = 32
    UNKNOWN_EYE = 64
    RIGHT_EYE = 65
    LEFT_EYE = 66
    VOICE = 96
    DNA = 128

    @property
    def is_finger(self) -> bool:
        return self <= Position.LEFT_LITTLE

    @property
    def is_eye(self) -> bool:
        return Position.UNKNOWN_EYE <= self <= Position.LEFT_EYE

    @property
    def is_open(self) -> bool:
        """True for an unknown finger or eye, which may turn out to be another finger or eye."""
        return self in (Position.UNKNOWN_FINGER, Position.UNKNOWN_EYE)

    def is_comparable(self, other: Position) -> bool:
        """True where a template of this position may be compared with one of the other.

        Equal positions are comparable; an unknown finger is comparable with every finger, an unknown eye with
        every eye.
        """
        if self == other:
            return True
        if Position.UNKNOWN_FINGER in (self, other):
            return self.is_finger and other.is_finger
        return Position.UNKNOWN_EYE in (self, other) and self.is_eye and other.is_eye


class MinutiaKind(IntEnum):
    """What a minutia is; codes of ISO/IEC 19794-2:2005, 7.4.2.2."""

    OTHER = 0
    ENDING = 1
    BIFURCATION = 2


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Minutiae:
    """The minutiae of one finger view.

    Coordinates count pixels from the top left corner of the image, x to the right and y downwards.
    Directions are degrees in [0, 360), anticlockwise from the positive x axis as seen on the image,
    pointing as ISO/IEC 19794-2:2005, 6.4 points them. The angle units of all supported formats
    (1.40625, 2 and 1 degrees) are exact in float32.

    Attributes:
        x: (n,) uint16, pixels, each below ``width``; n is 0 to 255.
        y: (n,) uint16, pixels, each below ``height``.
        direction: (n,) float32, degrees in [0, 360).
        kind: (n,) uint8, codes of :class:`MinutiaKind`; OTHER where not given.
        quality: (n,) uint8, 0 (worst) to 100, or :data:`NO_QUALITY`, as where not given.
        width: pixels, 1 to 16383.
        height: pixels, 1 to 16383.
        resolution: (x, y) in pixels per centimetre as the standards' headers state it; 197 is 500 dpi.
        position: the finger.
        finger_quality: quality of the whole view, 0 to 100, or None where not reported.
        extractor: name of the software that found the minutiae, at most 255 bytes of UTF-8; "" where
            unknown. Comparison and calibration use what is known of an extractor. Templates of different
            extractors are comparable.

    Arrays given are converted where that loses nothing, copied, and made read-only.

    Raises:
        TemplateError: naming the first minutia or field that breaks these rules.

    >>> Minutiae(x=[10, 60], y=[20, 80], direction=[90, 270], width=100, height=100)
    Minutiae(n=2, 100x100 at 197x197 px/cm, UNKNOWN_FINGER)
    """

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    direction: npt.NDArray[np.float32]
    kind: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint8]
    width: int
    height: int
    resolution: tuple[int, int]
    position: Position
    finger_quality: int | None
    extractor: str

    def __init__(
        self,
        *,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        direction: npt.ArrayLike,
        kind: npt.ArrayLike | None = None,
        quality: npt.ArrayLike | None = None,
        width: int,
        height: int,
        resolution: tuple[int, int] = (197, 197),
        position: Position = Position.UNKNOWN_FINGER,
        finger_quality: int | None = None,
        extractor: str = "",
    ) -> None:
        _check_range("width", width, 1, MAX_SIDE)
        _check_range("height", height, 1, MAX_SIDE)
        for axis, value in zip("xy", resolution, strict=True):
            _check_range(f"{axis} resolution in pixels/cm", value, 1, _MAX_RESOLUTION)
        position = Position(position)
        if not position.is_finger:
            raise TemplateError(f"position {position.name} is not a finger")
        if finger_quality is not None:
            _check_range("finger_quality", finger_quality, 0, 100)
        _check_name("extractor", extractor)

        x = _column("x", x, np.uint16)
        n = len(x)
        if n > MAX_MINUTIAE:
            raise TemplateError(f"{n} minutiae; a finger view holds at most {MAX_MINUTIAE}")
        columns = {
            "x": x,
            "y": _column("y", y, np.uint16),
            "direction": _column("direction", direction, np.float32),
            "kind": _column("kind", np.zeros(n, np.uint8) if kind is None else kind, np.uint8),
            "quality": _column(
                "quality", np.full(n, NO_QUALITY, np.uint8) if quality is None else quality, np.uint8
            ),
        }
        for name, column in columns.items():
            if len(column) != n:
                raise TemplateError(f"{name} has {len(column)} values for {n} minutiae")
        _check_each("x", x, x < width, f"outside width {width}")
        _check_each("y", columns["y"], columns["y"] < height, f"outside height {height}")
        angle = columns["direction"]
        _check_each("direction", angle, (angle >= 0) & (angle < 360), "outside [0, 360) degrees")
        _check_each("kind", columns["kind"], columns["kind"] <= 2, "is no MinutiaKind (0 to 2)")
        grade = columns["quality"]
        fault = f"is neither 0 to 100 nor {NO_QUALITY} (not reported)"
        _check_each("quality", grade, (grade <= 100) | (grade == NO_QUALITY), fault)

        for name, column in columns.items():
            object.__setattr__(self, name, column)
        object.__setattr__(self, "width", int(width))
        object.__setattr__(self, "height", int(height))
        object.__setattr__(self, "resolution", (int(resolution[0]), int(resolution[1])))
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "finger_quality", None if finger_quality is None else int(finger_quality))
        object.__setattr__(self, "extractor", extractor)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Check what was pickled as what is given: its arrays were writable, and may come from anywhere."""
        self.__init__(**state)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.x)

    def __bool__(self) -> bool:
        return True  # a template of no minutiae is still a template

    def at(self, position: Position) -> Self:
        """The same minutiae at another position. Raises TemplateError where that is not a finger."""
        return replace(self, position=position)

    def __repr__(self) -> str:  # never the content: templates stay out of logs
        return (
            f"Minutiae(n={len(self)}, {self.width}x{self.height} at "
            f"{self.resolution[0]}x{self.resolution[1]} px/cm, {self.position.name})"
        )

    def _identity(self) -> tuple[object, ...]:
        return (
            *(getattr(self, name).tobytes() for name in ("x", "y", "direction", "kind", "quality")),
            *(self.width, self.height, self.resolution, self.position, self.finger_quality, self.extractor),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Minutiae) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Embedding:
    """A vector that a network made of one sample; compared by cosine.

    Attributes:
        vector: (d,) float16, d = 1 to 65535, scaled to unit length and then rounded to float16: the
            precision it is stored in, so that a score is the same before and after enrolment.
        model: name of the network. Embeddings of different models are never compared.
        position: what was sampled.
        quality: the extractor's own measure, larger is better, or None.

    Raises:
        TemplateError: where the vector is not one-dimensional and finite, or is all zero; where its numbers are
            unsigned, or it has 16 or more of which none is positive or none is negative, for its angles to other
            vectors then say little; or where ``model`` is longer than 255 bytes of UTF-8.

    >>> Embedding(vector=[3.0, 4.0], model="demo").vector
    array([0.6, 0.8], dtype=float16)
    """

    vector: npt.NDArray[np.float16]
    model: str
    position: Position
    quality: float | None

    def __init__(
        self,
        *,
        vector: npt.ArrayLike,
        model: str,
        position: Position = Position.FACE,
        quality: float | None = None,
    ) -> None:
        position = Position(position)
        if position.is_finger:
            raise TemplateError(f"position {position.name}: fingers are compared by their minutiae")
        if position.is_eye:
            raise TemplateError(f"position {position.name}: eyes are compared by their iris codes")
        if position is Position.DNA:
            raise TemplateError("position DNA: DNA is compared by its profile of loci (StrProfile)")
        given = np.asarray(vector)
        if given.ndim != 1 or not 1 <= len(given) <= 65535 or given.dtype.kind not in "fiu":
            raise TemplateError(
                f"vector is {given.dtype} of shape {given.shape}; expected (d,) numbers, d = 1 to 65535"
            )
        if given.dtype.kind == "u":
            raise TemplateError(
                f"vector is {given.dtype}, unsigned numbers; if the network quantises, subtract its zero point"
            )
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            first = int(np.flatnonzero(~np.isfinite(values))[0])
            raise TemplateError(f"vector element {first} is {values[first]}")
        largest = np.abs(values).max()
        if largest == 0:
            raise TemplateError("vector is all zero: it has no direction")
        if len(values) >= _LEAST_SIGNED and ((values >= 0).all() or (values <= 0).all()):
            raise TemplateError(
                f"all {len(values)} elements of the vector are of one sign, as where a zero point has not been "
                "subtracted; expected an embedding to be compared by cosine"
            )
        if largest < 2.0**-900:  # among the least numbers there are, which have few digits
            values, largest = values * 2.0**900, largest * 2.0**900
        length = largest * np.sqrt(np.square(values / largest).sum())  # squares would overflow
        is_stored_form = given.dtype == np.float16 and abs(length - 1) < 2**-10
        unit = (values if is_stored_form else values / length).astype(np.float16)
        unit.flags.writeable = False
        _check_name("model", model)
        if quality is not None and not np.isfinite(quality):
            raise TemplateError(f"quality is {quality}")
        object.__setattr__(self, "vector", unit)
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "quality", None if quality is None else float(quality))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Check what was pickled as what is given: its array was writable, and may come from anywhere."""
        self.__init__(**state)  # type: ignore[misc]

    def at(self, position: Position) -> Self:
        """The same vector at another position. Raises TemplateError where that has no embeddings."""
        return replace(self, position=position)

    def __repr__(self) -> str:  # never the content: templates stay out of logs
        return f"Embedding(d={len(self.vector)}, model={self.model!r}, {self.position.name})"

    def _identity(self) -> tuple[object, ...]:
        return (self.vector.tobytes(), self.model, self.position, self.quality)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedding) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, init=False, eq=False, repr=False)
class IrisCode:
    """The texture of one iris as bits, and which of them count.

    Columns are angles around the pupil, rows circles from the pupil outwards, planes the bits of one place. Two codes
    are compared at several rotations, so the bits of one column stand together: 8 of them in a byte, from the lowest
    bit up, row by row and within a row plane by plane.

    Attributes:
        bits: (columns, rows * planes / 8) uint8, 0 where the mask is 0.
        mask: the same shape, 1 for each bit that counts.
        rows, planes: of the code; rows * planes is a multiple of 8.
        model: name of what made the code. Codes of different models or shapes are never compared.
        position: the eye.
        quality: the extractor's own measure, larger is better, or None.

    Args:
        bits: (rows, columns, planes) bool.
        mask: the same shape; all bits count where it is None.
        model, position, quality: see above.

    Raises:
        TemplateError: where shapes do not fit each other, or there are more than 65536 bits.

    >>> import numpy as np
    >>> IrisCode(bits=np.eye(8, 16, dtype=bool)[..., np.newaxis], model="demo", position=Position.LEFT_EYE)
    IrisCode(8x16x1, model='demo', LEFT_EYE)
    """

    bits: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    rows: int
    planes: int
    model: str
    position: Position
    quality: float | None

    def __init__(
        self,
        *,
        bits: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        model: str,
        position: Position = Position.UNKNOWN_EYE,
        quality: float | None = None,
    ) -> None:
        given = np.asarray(bits)
        counting = np.ones(given.shape, np.bool_) if mask is None else np.asarray(mask)
        for name, array in (("bits", given), ("mask", counting)):
            if array.ndim != 3 or array.dtype != np.bool_:
                raise TemplateError(
                    f"{name} is {array.dtype} of shape {array.shape}; expected (rows, columns, planes) bool"
                )
        if given.shape != counting.shape:
            raise TemplateError(f"mask is of shape {counting.shape}, bits are of shape {given.shape}")
        self._set(
            _packed(given & counting),
            _packed(counting),
            given.shape,
            model=model,
            position=position,
            quality=quality,
        )

    @classmethod
    def of_packed(
        cls,
        *,
        bits: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.uint8],
        shape: tuple[int, int, int],
        model: str,
        position: Position = Position.UNKNOWN_EYE,
        quality: float | None = None,
    ) -> Self:
        """A code from what its attributes ``bits`` and ``mask`` were; ``shape`` is (rows, columns, planes).

        Raises:
            TemplateError: where they do not fit each other, or a bit is 1 that does not count.
        """
        code = object.__new__(cls)
        code._set(bits.copy(), mask.copy(), shape, model=model, position=position, quality=quality)
        return code

    def _set(
        self,
        bits: npt.NDArray[np.uint8],
        mask: npt.NDArray[np.uint8],
        shape: tuple[int, int, int],
        *,
        model: str,
        position: Position,
        quality: float | None,
    ) -> None:
        rows, columns, planes = shape
        if min(shape) < 1 or rows * planes % 8 or rows * columns * planes > MAX_IRIS_BITS:
            raise TemplateError(
                f"code of {rows} rows x {columns} columns x {planes} planes; expected rows * planes to be a "
                f"multiple of 8, and at most {MAX_IRIS_BITS} bits"
            )
        for name, array in (("bits", bits), ("mask", mask)):
            if array.shape != (columns, rows * planes // 8) or array.dtype != np.uint8:
                raise TemplateError(
                    f"{name} is {array.dtype} of shape {array.shape}; expected uint8 of shape "
                    f"{(columns, rows * planes // 8)}"
                )
        if (bits & ~mask).any():
            raise TemplateError("a bit is 1 that the mask says does not count")
        position = Position(position)
        if not position.is_eye:
            raise TemplateError(f"position {position.name} is not an eye")
        _check_name("model", model)
        if quality is not None and not np.isfinite(quality):
            raise TemplateError(f"quality is {quality}")
        bits.flags.writeable = mask.flags.writeable = False
        object.__setattr__(self, "bits", bits)
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "rows", int(rows))
        object.__setattr__(self, "planes", int(planes))
        object.__setattr__(self, "model", model)
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "quality", None if quality is None else float(quality))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Check what was pickled as what is given: its arrays were writable, and may come from anywhere."""
        bits, mask, rows, planes = (state.pop(name) for name in ("bits", "mask", "rows", "planes"))
        self._set(bits.copy(), mask.copy(), (rows, len(bits), planes), **state)

    def at(self, position: Position) -> Self:
        """The same code at another position. Raises TemplateError where that is not an eye."""
        return type(self).of_packed(
            bits=self.bits,
            mask=self.mask,
            shape=self.shape,
            model=self.model,
            position=position,
            quality=self.quality,
        )

    @property
    def columns(self) -> int:
        return len(self.bits)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(rows, columns, planes)."""
        return self.rows, self.columns, self.planes

    def unpacked(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Bits and mask, (rows, columns, planes) bool each."""
        return _unpacked(self.bits, self.shape), _unpacked(self.mask, self.shape)

    def __repr__(self) -> str:  # never the content: templates stay out of logs
        rows, columns, planes = self.shape
        return f"IrisCode({rows}x{columns}x{planes}, model={self.model!r}, {self.position.name})"

    def _identity(self) -> tuple[object, ...]:
        return (
            *(self.bits.tobytes(), self.mask.tobytes(), self.shape),
            *(self.model, self.position, self.quality),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IrisCode) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


@dataclass(frozen=True, init=False, eq=False, repr=False)
class StrProfile:
    """A single-source DNA profile: one or two alleles at each of 13 to 24 autosomal loci.

    A locus with one allele is homozygous. Leave out a locus of which you do not know whether an allele has dropped out.

    Attributes:
        alleles: (24, 2) uint16, read-only: the alleles of each locus of :data:`abis.template.alleles.LOCI` in tenths of
            a repeat, the smaller one first; twice the same where homozygous; 0 where the locus was not typed.
        position: always ``Position.DNA``.

    Args:
        genotypes: the alleles by the name of the locus. Names are taken in any case, with or without spaces, hyphens
            and underscores. Alleles are numbers or text, such as 9.3 or "9,3". Amelogenin and markers of the Y
            chromosome are left out.

    Raises:
        TemplateError: naming the first locus that is unknown, stands twice, or has no, more than two or impossible
            alleles; or where there are fewer than 13 loci.

    >>> from abis.template.alleles import LOCI
    >>> StrProfile(genotypes={locus: [12, 13.2] for locus in LOCI[:15]} | {"amelogenin": ["X", "Y"]})
    StrProfile(15 loci)
    """

    alleles: npt.NDArray[np.uint16]
    position: Position

    def __init__(self, *, genotypes: Mapping[str, Any]) -> None:
        if not isinstance(genotypes, Mapping):
            raise TemplateError(
                f"genotypes is a {type(genotypes).__name__}; expected a mapping from loci to alleles"
            )
        alleles = np.zeros((len(LOCI), 2), np.uint16)
        spelt: dict[str, str] = {}
        for name, given in genotypes.items():
            locus = locus_named(name)
            if locus is None:
                continue
            if locus in spelt:
                raise TemplateError(f"locus {locus} stands twice, as {spelt[locus]!r} and as {name!r}")
            spelt[locus] = name
            alleles[LOCI.index(locus)] = _genotype(locus, given)
        self._set(alleles)

    @classmethod
    def of_alleles(cls, alleles: npt.NDArray[np.uint16]) -> Self:
        """A profile from what its attribute ``alleles`` was.

        Raises:
            TemplateError: the array is none that a profile can have.
        """
        profile = object.__new__(cls)
        profile._set(np.array(alleles))
        return profile

    def _set(self, alleles: npt.NDArray[np.uint16]) -> None:
        if alleles.shape != (len(LOCI), 2) or alleles.dtype != np.uint16:
            raise TemplateError(
                f"alleles are {alleles.dtype} of shape {alleles.shape}; expected uint16 of shape {(len(LOCI), 2)}"
            )
        for locus, (low, high) in zip(LOCI, alleles.tolist(), strict=True):
            if (high and not 10 <= low <= high <= MAX_TENTHS) or low > high:
                raise TemplateError(
                    f"locus {locus} has alleles {low} and {high} tenths; expected 10 to {MAX_TENTHS}, the smaller first"
                )
        count = int(np.count_nonzero(alleles[:, 1]))
        if count < LEAST_LOCI:
            raise TemplateError(f"{count} loci; expected {LEAST_LOCI} to {len(LOCI)} of {', '.join(LOCI)}")
        alleles.flags.writeable = False
        object.__setattr__(self, "alleles", alleles)
        object.__setattr__(self, "position", Position.DNA)

    def at(self, position: Position) -> Self:
        """The profile itself. Raises TemplateError where the position is another than ``Position.DNA``."""
        if position is not Position.DNA:
            raise TemplateError(f"position {position.name} has no DNA profiles")
        return self

    @property
    def genotypes(self) -> dict[str, tuple[str, str]]:
        """The two alleles of each typed locus as text, such as ``("9", "9.3")``; equal where homozygous."""
        return {
            locus: (allele_text(low), allele_text(high))
            for locus, (low, high) in zip(LOCI, self.alleles.tolist(), strict=True)
            if high
        }

    def __len__(self) -> int:
        """Number of typed loci."""
        return int(np.count_nonzero(self.alleles[:, 1]))

    def __reduce__(self) -> tuple[Any, ...]:  # what was pickled is checked, as what is given
        return StrProfile.of_alleles, (np.array(self.alleles),)

    def __repr__(self) -> str:  # never the content: templates stay out of logs
        return f"StrProfile({len(self)} loci)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StrProfile) and self.alleles.tobytes() == other.alleles.tobytes()

    def __hash__(self) -> int:
        return hash(self.alleles.tobytes())


def _genotype(locus: str, given: Any) -> tuple[int, int]:
    """The two alleles of a locus, in tenths and in order."""
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise TemplateError(f"locus {locus} has {given!r}; expected one or two alleles, such as [9, 9.3]")
    values = list(given)
    if not 1 <= len(values) <= 2:
        more = (
            "; more are of several people or a rare duplication: leave the locus out"
            if len(values) > 2
            else ""
        )
        raise TemplateError(f"locus {locus} has {len(values)} alleles; expected one or two{more}")
    try:
        tenths = sorted(map(allele_in_tenths, values))
    except TemplateError as error:
        raise TemplateError(f"locus {locus}: {error}") from None
    return tenths[0], tenths[-1]


def _packed(bits: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """(columns, rows * planes / 8, rounded up) uint8 of (rows, columns, planes) bool."""
    by_column = bits.transpose(1, 0, 2).reshape(bits.shape[1], -1)
    return np.packbits(by_column, axis=1, bitorder="little")


def _unpacked(packed: npt.NDArray[np.uint8], shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    rows, columns, planes = shape
    bits = np.unpackbits(packed, axis=1, bitorder="little").view(np.bool_)
    return np.ascontiguousarray(bits.reshape(columns, rows, planes).transpose(1, 0, 2))


Template: TypeAlias = Minutiae | Embedding | IrisCode | StrProfile
"""Anything that can be enrolled or presented as a probe."""


_T = TypeVar("_T", Minutiae, Embedding, IrisCode)


def several_fingers(template: Template) -> str:
    """Words that a template is probably of several fingers at once (a slap); empty where it is of one.

    One finger shows at most some 90 minutiae, on at most 25 mm across.
    """
    if not isinstance(template, Minutiae) or len(template) <= _MOST_OF_A_FINGER:
        return ""
    width = 10 * template.width / template.resolution[0]
    if width <= _WIDEST_FINGER:
        return ""
    return (
        f"{len(template)} minutiae on {width:.0f} mm: probably several fingers in one image; cut them apart"
    )


def of_checked_fields(kind: type[_T], fields: dict[str, object]) -> _T:
    """A template made without checks: only for readers that make all of them on many templates at once.

    Args:
        kind: Minutiae or Embedding.
        fields: all attributes, of the types stated there; arrays read-only.
    """
    template = object.__new__(kind)
    template.__dict__.update(fields)
    return template


def _column(name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """A read-only copy of one per-minutia column in its own dtype, refused where that loses a value."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "fiub":
        raise TemplateError(f"{name} is {given.dtype} of shape {given.shape}; expected (n,) numbers")
    column = given.copy() if given.dtype == dtype else _converted(name, given, np.dtype(dtype))
    if column.dtype.kind == "f":
        column += 0  # -0.0 is 0.0
    column.flags.writeable = False
    return column


def _converted(name: str, given: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """The column in another dtype; whole numbers must stay what they are."""
    if given.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            column = given.astype(dtype)
    else:
        column = given.astype(dtype)
    if dtype.kind == "u":
        _check_each(name, given, column == given, f"does not fit uint{8 * dtype.itemsize}")
    return column


def _check_each(name: str, values: npt.NDArray[Any], good: npt.NDArray[np.bool_], fault: str) -> None:
    if np.count_nonzero(good) < len(good):  # a tenth of the time that all() takes
        first = int(np.flatnonzero(~good)[0])
        raise TemplateError(f"minutia {first}: {name}={values[first]} {fault}")


def _check_name(what: str, name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise TemplateError(f"{what} name is not Unicode text: {error.reason}") from None
    if size > 255:
        raise TemplateError(f"{what} name has {size} bytes; expected at most 255")


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high or value != int(value):
        raise TemplateError(f"{name} is {value}; expected a whole number from {low} to {high}")
