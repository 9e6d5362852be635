# SPDX-License-Identifier: Apache-2.0
"""Between OSIA's biometric data and templates: which format, which position, which bytes."""

from __future__ import annotations

import base64
import binascii
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
from msgspec import UNSET

from abis import formats
from abis.errors import FormatError
from abis.formats import (
    Format,
    ansi_378_2004,
    ansi_378_2009,
    iso_19794_2_2005,
    iso_19794_2_2011,
    iso_19794_2_cards,
    native,
)
from abis.service.messages import BiometricComputedData, BiometricData, BiometricSubType, BiometricType
from abis.service.refusals import Refusal
from abis.template import Embedding, IrisCode, Minutiae, Position, Template
from abis.template.modality import modality_at, modality_of

__all__ = [
    "BiometricSample",
    "computed",
    "decoded",
    "format_name",
    "placed",
    "position_of",
    "sample_of",
    "subtype_of",
    "template_text",
    "templates_of",
    "type_of",
]

_POSITIONS: dict[str, Position] = {
    "UNKNOWN": Position.UNKNOWN_FINGER,
    **{
        position.name: position
        for position in Position
        if Position.RIGHT_THUMB <= position <= Position.LEFT_LITTLE
    },
}
_FACES = ("UNKNOWN", "PORTRAIT")
_EYES = {
    "UNKNOWN": Position.UNKNOWN_EYE,
    "EYE_UNDEF": Position.UNKNOWN_EYE,
    "EYE_RIGHT": Position.RIGHT_EYE,
    "EYE_LEFT": Position.LEFT_EYE,
}
_SUBTYPES: dict[Position, BiometricSubType] = {
    Position.UNKNOWN_FINGER: "UNKNOWN",
    Position.FACE: "PORTRAIT",
    Position.UNKNOWN_EYE: "EYE_UNDEF",
    Position.RIGHT_EYE: "EYE_RIGHT",
    Position.LEFT_EYE: "EYE_LEFT",
    Position.VOICE: "UNKNOWN",
    Position.DNA: "UNKNOWN",
}
_FORMATS = {
    "ISO_19794_2": Format.ISO_19794_2_2005,
    "ISO_19794_2_2011": Format.ISO_19794_2_2011,
    "ISO_19794_2_NS": Format.ISO_19794_2_CARD_NORMAL,
    "ISO_19794_2_CS": Format.ISO_19794_2_CARD_COMPACT,
    "ANSI_378": Format.ANSI_378_2004,
    "ANSI_378_2009": Format.ANSI_378_2009,
    "ABIS": Format.NATIVE,
}
_READERS: dict[str, Callable[[bytes], tuple[Template, ...]]] = {
    "ISO_19794_2": iso_19794_2_2005.read,
    "ISO_19794_2_2011": iso_19794_2_2011.read,
    "ISO_19794_2_NS": iso_19794_2_cards.read_normal,
    "ISO_19794_2_CS": iso_19794_2_cards.read_compact,
    "ANSI_378": ansi_378_2004.read,
    "ANSI_378_2009": ansi_378_2009.read,
    "ABIS": lambda content: (native.read(content),),
}
_FLOATS: dict[str, np.dtype[Any]] = {
    "EMBEDDING_FLOAT16": np.dtype("<f2"),
    "EMBEDDING_FLOAT32": np.dtype("<f4"),
}


@dataclasses.dataclass(frozen=True, repr=False)
class BiometricSample:
    """The bytes of one biometric datum, fetched and decoded.

    Attributes:
        data: what OSIA says of them.
        content: an image, or a record of templates.
        is_image: which of both.
    """

    data: BiometricData
    content: bytes
    is_image: bool


def sample_of(data: BiometricData, fetch: Callable[[str], bytes]) -> BiometricSample:
    """Take the bytes out of a datum, or fetch them.

    Args:
        data: of a request.
        fetch: gives what is at a URL.

    Raises:
        Refusal: where there is none, more than one, or one that cannot be read.
    """
    data.check_plain()
    given = {
        name: value
        for name, value in (
            ("template", data.template),
            ("templateRef", data.template_ref),
            ("image", data.image),
            ("imageRef", data.image_ref),
        )
        if value is not UNSET
    }
    # A message that was read from here and comes back may hold a template beside the image's reference.
    for name, value in given.items():
        assert isinstance(value, str)
        is_reference = name.endswith("Ref")
        try:
            content = fetch(value) if is_reference else decoded(value)
        except Refusal as error:
            raise Refusal(error.status, f"{name}: {error.message}", error.headers) from None
        except FormatError as error:
            raise Refusal(400, f"{name}: {error}") from None
        return BiometricSample(data, content, is_image=name.startswith("image"))
    raise Refusal(400, "no template, templateRef, image or imageRef; expected one of them")


def decoded(text: str) -> bytes:
    """Base64 in either alphabet (RFC 4648, 4 and 5), padded or not.

    Raises:
        FormatError: where it is not.
    """
    try:
        standard = text.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
        content = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"not base64: {error}") from None
    if not content:
        raise FormatError("empty; expected base64")
    return content


def templates_of(sample: BiometricSample) -> tuple[Template, ...]:
    """The templates of a sample that is a record of them.

    Raises:
        FormatError: the content is not what ``templateFormat`` says, or of another position than stated.
        Refusal: the format or the type is not supported.
    """
    data, content = sample.data, sample.content
    position = position_of(data)
    name = "" if data.template_format is UNSET else data.template_format
    if name in _FLOATS:
        return (_embedding(data, content, _FLOATS[name], position),)
    if name and name not in _FORMATS:
        raise Refusal(
            400,
            f"templateFormat: {name!r} is not supported; expected one of {', '.join((*_FORMATS, *_FLOATS))}",
        )
    found = _READERS[name](content) if name else formats.read(content)
    return tuple(placed(template, position) for template in found)


def position_of(data: BiometricData) -> Position | None:
    """The position that a datum states; None where its template must say which finger it is.

    Raises:
        Refusal: the engine has no such position.
    """
    subtype = None if data.biometric_sub_type is UNSET else data.biometric_sub_type
    match data.biometric_type:
        case "FINGER" if subtype is None:
            return None
        case "FINGER" if subtype in _POSITIONS:
            return _POSITIONS[subtype]
        case "FACE" if subtype is None or subtype in _FACES:
            return Position.FACE
        case "IRIS" if subtype is None:
            return None
        case "IRIS" if subtype in _EYES:
            return _EYES[subtype]
        case "UNKNOWN" if subtype in (None, "UNKNOWN"):  # voices and DNA, whose records say what they are
            return None
    described = data.biometric_type if subtype is None else f"{data.biometric_type} {subtype}"
    raise Refusal(
        400,
        f"biometricType: {described} is not supported by this engine; expected one finger, a face or one eye",
    )


def type_of(position: Position) -> BiometricType:
    """OSIA's biometric type of a position."""
    name = modality_at(position).name.upper()  # the names of rows are OSIA's, which has no voices and no DNA
    return name if name in get_args(BiometricType) else "UNKNOWN"  # type: ignore[return-value]


def subtype_of(position: Position) -> BiometricSubType:
    """OSIA's biometric sub type of a position."""
    return _SUBTYPES.get(position) or position.name  # type: ignore[return-value] # the names of ISO's fingers are OSIA's


def computed(template: Template, wanted: str | None) -> BiometricComputedData:
    """A template as OSIA reads it back.

    Args:
        template: of the store.
        wanted: ``templateFormat``; None takes ISO_19794_2 for minutiae and ABIS for embeddings.

    Raises:
        Refusal: the format is unknown, or cannot hold the template.
    """
    name = wanted or format_name(template)
    quality = template.finger_quality if isinstance(template, Minutiae) else None
    return BiometricComputedData(
        biometric_type=type_of(template.position),
        biometric_sub_type=subtype_of(template.position),
        template=template_text([template], name),
        template_format=name,
        quality=UNSET if quality is None else quality,
        quality_format=UNSET if quality is None else "ISO_19794",
        algorithm=template.model if isinstance(template, Embedding | IrisCode) else UNSET,
    )


def format_name(template: Template) -> str:
    """OSIA's name of the usual format of a template."""
    usual = next(iter(modality_of(template).formats()), Format.NATIVE)
    return next(name for name, known in _FORMATS.items() if known is usual)


def template_text(templates: Sequence[Template], name: str) -> str:
    """Templates as base64 of a record of the format that OSIA calls so.

    Raises:
        Refusal: the format is unknown, or cannot hold these templates.
    """
    if name in _FLOATS and len(templates) == 1 and isinstance(templates[0], Embedding):
        return base64.b64encode(templates[0].vector.astype(_FLOATS[name]).tobytes()).decode()
    if name not in _FORMATS:
        raise Refusal(400, f"templateFormat: {name!r} is not supported for these templates")
    try:
        return base64.b64encode(formats.write(templates, _FORMATS[name])).decode()
    except FormatError as error:
        raise Refusal(400, f"templateFormat: {error}") from None


def placed(template: Template, position: Position | None) -> Template:
    """The template at the position stated, where its record leaves that open."""
    if position is None or template.position == position:
        return template
    if template.position.is_comparable(position):  # one of them leaves the finger or the eye open
        return template.at(position) if template.position.is_open else template
    raise FormatError(f"the template is of {template.position.name}, but {position.name} is stated")


def _embedding(
    data: BiometricData, content: bytes, dtype: np.dtype[np.floating], position: Position | None
) -> Embedding:
    if data.algorithm is UNSET or not data.algorithm:
        raise Refusal(400, "algorithm: missing; expected the name of the model that made the embedding")
    if len(content) % dtype.itemsize:
        raise FormatError(f"{len(content)} bytes; expected a multiple of {dtype.itemsize}")
    vector = np.frombuffer(content, dtype)
    return Embedding(
        vector=vector, model=data.algorithm, position=Position.FACE if position is None else position
    )
