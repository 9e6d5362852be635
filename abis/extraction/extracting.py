# SPDX-License-Identifier: Apache-2.0
"""One image or sound file to its templates, or to the reason why there are none."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from abis.answers import Answer
from abis.errors import ExtractionError, FormatError
from abis.extraction.faces import extract_embedding
from abis.extraction.fingers import extract_minutiae, pixels_to_search
from abis.extraction.images import Picture, iterate_images
from abis.extraction.iris import extract_iris
from abis.extraction.isolation import decode_sound_isolated
from abis.extraction.voices import extract_voice
from abis.formats import is_sound
from abis.formats.inputs import Input, as_bytes
from abis.template import Position, Template, several_fingers
from abis.template.modality import modality_at
from abis.template.superposition import superimposed

__all__ = ["Extraction", "ExtractionNote", "ExtractionSettings", "extract", "extract_all"]


_MOST_PIXELS = 2**24  # of all finger images of a file together, at 500 dpi: some thirty rolled prints
_TIME_S = 60.0  # that the images of one file may take together: some hundred fingers


class ExtractionNote(UserWarning):
    """What should be known about a template that was made, such as that it is of one of several faces."""


@dataclass(frozen=True)
class ExtractionSettings:
    """What the caller knows about an image.

    Attributes:
        position: what it shows; None leaves that to records of ISO/IEC 19794, which state it.
        dpi: pixels an inch of finger images; None takes a record's own, else 500.
        face_model: ONNX file of another face network than SFace.
        allow_poor: make templates of poor portraits too, with a note.
        voice_model: ONNX file of the speaker model for recordings; there is no default.

    Raises:
        TypeError: the position is not a :class:`abis.Position`.
    """

    position: Position | None = None
    dpi: float | None = None
    face_model: Path | None = None
    allow_poor: bool = False
    voice_model: Path | None = None

    def __post_init__(self) -> None:
        if self.position is not None and not isinstance(self.position, Position):
            raise TypeError(
                f"position is {self.position!r}; expected an abis.Position, such as Position.FACE"
            )


@dataclass(frozen=True)
class Extraction(Answer):
    """What came of one image file.

    Attributes:
        templates: one an image; empty where one of them failed.
        reason: why there are none, or None.
        note: what should be known about the templates, or "".
    """

    templates: tuple[Template, ...]
    reason: str | None = None
    note: str = ""

    def __bool__(self) -> bool:
        """Whether there are templates."""
        return self.reason is None


def extract(
    image: Input,
    *,
    position: Position | None = None,
    dpi: float | None = None,
    face_model: Path | None = None,
    allow_poor: bool = False,
    voice_model: Path | None = None,
) -> Template:
    """The template of an image: minutiae of a finger, the embedding of a face, the code of an iris; or of a recording.

    About 0.3 s a finger or an iris and 0.05 s a face on one core; the first one takes longer. A voice takes what its
    model takes.

    Args:
        image: the bytes of an image file (TIFF, PNG, BMP, JPEG, JPEG 2000, WSQ, PGM, WebP or GIF), of a record of
            ISO/IEC 19794-4, -5 or -6, or of a recording of one speaker (WAV or FLAC); a path or a file object to read
            them from.
        position: what it shows: a finger, Position.FACE, or an eye in near-infrared light. Need not be given for
            records, which state it, and recordings.
        dpi: pixels an inch of a finger image. By default what a record states, else 500; a file whose tag says
            something else needs it stated.
        face_model: an ONNX file that embeds aligned faces as ArcFace's networks of InsightFace do; by default
            SFace of OpenCV Zoo.
        allow_poor: make a template of a poor portrait too, with a note. By default such a portrait is refused: the
            embeddings of strangers' poor portraits are alike.
        voice_model: an ONNX file of a speaker model, for recordings: see docs/voice.md. abis ships none.

    Raises:
        ExtractionError: saying why no template could be made.
        FormatError: a record is not as its standard says.
        TypeError: the image or the position is of another type.
        OSError: the file cannot be read.

    Warns:
        ExtractionNote: what should be known about the template, such as that there are several faces, of which the
            large central one was taken.
    """
    content = as_bytes(image)
    settings = ExtractionSettings(position, dpi, face_model, allow_poor, voice_model)
    if is_sound(content):
        template, note = _extract_sound(content, settings)
    else:
        first, *others = islice(iterate_images(content), 2)
        if others:
            raise ExtractionError("the file holds several images; expected one (extract_many takes several)")
        template, note = _extract_one(first, settings)
    if note:
        warnings.warn(note, ExtractionNote, stacklevel=2)
    return template


def extract_all(image: bytes, settings: ExtractionSettings) -> Extraction:
    """The templates of all images of a file or record, or of a recording; a failure is an outcome."""
    try:
        made: list[tuple[Template, str]] = []
        if is_sound(image):
            template, note = _extract_sound(image, settings)
            return Extraction((template,), note=note)
        end = time.monotonic() + _TIME_S
        pixels = 0.0
        for each in iterate_images(image):
            pixels += _finger_pixels(each, settings)
            if pixels > _MOST_PIXELS:
                raise ExtractionError(
                    f"the finger images of the file have more than {_MOST_PIXELS:,} pixels at 500 dpi; "
                    f"{len(made)} of them were read"
                )
            if time.monotonic() > end:
                raise ExtractionError(
                    f"the file takes more than {_TIME_S:.0f} seconds; {len(made)} of its images were read"
                )
            made.append(_extract_one(each, settings))
    except (ExtractionError, FormatError) as error:
        return Extraction((), reason=str(error))
    return Extraction(
        tuple(template for template, _ in made), note="; ".join(note for _, note in made if note)
    )


def _extract_sound(data: bytes, settings: ExtractionSettings) -> tuple[Template, str]:
    if settings.position not in (None, Position.VOICE):
        raise ExtractionError(f"{settings.position.name} is not in a recording; expected a voice")
    if settings.voice_model is None:
        raise ExtractionError(
            "no speaker model is stated, and abis ships none; state the ONNX file of one (voice_model, --voice-model)"
        )
    return extract_voice(decode_sound_isolated(data), model=settings.voice_model)


def _finger_pixels(image: Picture, settings: ExtractionSettings) -> float:
    """Pixels at 500 dpi, if the image is one of a finger."""
    position = image.position if settings.position is None else settings.position
    if position is None or not position.is_finger:
        return 0.0
    dpi = image.finger_dpi()[0] if settings.dpi is None else settings.dpi
    height, width = image.pixels.shape[:2]
    return pixels_to_search(width, height, dpi) if dpi > 0 else 0.0


def _extract_one(image: Picture, settings: ExtractionSettings) -> tuple[Template, str]:
    position = image.position if settings.position is None else settings.position
    if position is None:
        raise ExtractionError("an image does not say what it shows; state its position")
    modality = modality_at(position)
    if modality.extract is None:
        raise ExtractionError(f"a {modality.name} is not in an image; expected a finger, a face or an eye")
    return modality.extract(image, position, settings)


def finger_of(image: Picture, position: Position, settings: ExtractionSettings) -> tuple[Template, str]:
    """The minutiae of a finger, and a note or "". Raises ExtractionError where there is no finger."""
    dpi, note = image.finger_dpi() if settings.dpi is None else (settings.dpi, "")
    template = extract_minutiae(image.grey(), dpi=dpi, position=position)
    return template, "; ".join(filter(None, (note, several_fingers(template), superimposed(template))))


def face_of(image: Picture, settings: ExtractionSettings) -> tuple[Template, str]:
    """The embedding of a face, and a note or "". Raises ExtractionError where there is no usable face."""
    return extract_embedding(image.colour(), model=settings.face_model, allow_poor=settings.allow_poor)


def iris_of(image: Picture, position: Position) -> tuple[Template, str]:
    """The code of an iris, without a note. Raises ExtractionError where there is no usable iris."""
    return extract_iris(image.grey(), position=position), ""
