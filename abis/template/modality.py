# SPDX-License-Identifier: Apache-2.0
"""What a modality is: the one table that says how templates of each modality are stored, compared, searched and made.

A new modality is a row here. docs/adding-a-modality.md walks through it. A row names parts of packages above this one.
It imports them when they are first asked for, so a program loads only the parts that it uses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from abis.errors import NotCalibrated
from abis.template import Embedding, IrisCode, Minutiae, Position, StrProfile, Template
from abis.template.alleles import LOCI

if TYPE_CHECKING:
    import numpy.typing as npt

    from abis.comparison.comparators import Comparator
    from abis.comparison.explaining import Explained
    from abis.deduplication.looks import Looks
    from abis.extraction.extracting import ExtractionSettings
    from abis.extraction.images import Picture
    from abis.formats import Format
    from abis.formats.native import StoredForm
    from abis.index.segments import Index
    from abis.scoring.calibration import Calibration

__all__ = [
    "DNA",
    "FACE",
    "FINGER",
    "IRIS",
    "MODALITIES",
    "VOICE",
    "Modality",
    "is_template",
    "modality_at",
    "modality_of",
    "quality_of",
    "template_names",
]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One row of the table. A function takes templates of the row's class only, which is why arguments are open.

    Attributes:
        name: a word for messages; in capitals, the type that OSIA has for it.
        template: class of its templates.
        positions: where its samples are taken.
        calibration: what its calibrations are called: exactly so where ``model`` gives no name, else followed by "-"
            and the name of the model.
        model: name of what made a template, and a number that tells shapes apart. Templates of different names or
            numbers are not comparable, except where both numbers are 0.
        example: a template. By its prepared form, a snapshot shows whether this version of abis can use it.
        shape: the number of ``model`` in words.
        quality: what a template states of itself as a whole, larger is better, or None.
        stored_form: how templates become bytes and are read again (:mod:`abis.formats.native`).
        formats: the interchange formats that hold its templates, beside the stored form; the usual one first.
        comparator: raw scores (:mod:`abis.comparison.comparators`).
        uncalibrated: the calibration of a kind that has none of its own. Raises NotCalibrated, and says what to do,
            where there is none.
        index: class of the references in memory (:mod:`abis.index.segments`).
        looks: how pairs are looked at in de-duplication (:mod:`abis.deduplication.looks`).
        explained: why two templates have the score that they have (:mod:`abis.comparison.explaining`). None where
            there is nothing to tell.
        view: of an image, the grey picture that a drawing of a comparison shows: the image itself, or a part of it.
        extract: makes a template of an image and says what should be known about it (:mod:`abis.extraction`). None
            where there is no extraction from images.
    """

    name: str
    template: type[Template]
    positions: tuple[Position, ...]
    calibration: str
    example: Callable[[], Template]
    model: Callable[[Any], tuple[str, int]]
    shape: Callable[[int], str] = "{}-d".format
    quality: Callable[[Any], float | None]
    stored_form: Callable[[], StoredForm]
    formats: Callable[[], tuple[Format, ...]] = tuple
    comparator: Callable[[], Comparator]
    uncalibrated: Callable[[str], Calibration]
    index: Callable[[], type[Index]]
    looks: Callable[[], Looks]
    explained: Callable[[Any, Any], Explained] | None = None
    view: Callable[[Picture], npt.NDArray[np.uint8]] = lambda picture: picture.grey()
    extract: Callable[[Picture, Position, ExtractionSettings], tuple[Template, str]] | None = None


# ruff: noqa: PLC0415 - the parts of a row are imported when they are first asked for
def _shipped(name: str) -> Calibration:
    from abis.scoring.calibration import shipped

    return shipped(name)


_N = np.arange(40)  # for the examples


def _form_of_fingers() -> StoredForm:
    from abis.formats.native import MINUTIAE

    return MINUTIAE


def _formats_of_fingers() -> tuple[Format, ...]:
    from abis.formats import MINUTIAE_FORMATS

    return MINUTIAE_FORMATS


def _comparator_of_fingers() -> Comparator:
    from abis.comparison.comparators import FINGERS

    return FINGERS


def _index_of_fingers() -> type[Index]:
    from abis.index.finger_index import FingerIndex

    return FingerIndex


def _looks_at_fingers() -> Looks:
    from abis.deduplication.looks import FingerLooks

    return FingerLooks()


def _explained_fingers(probe: Minutiae, reference: Minutiae) -> Explained:
    from abis.comparison.explaining import explained_fingers

    return explained_fingers(probe, reference)


def _finger_of(picture: Picture, position: Position, settings: ExtractionSettings) -> tuple[Template, str]:
    from abis.extraction.extracting import finger_of

    return finger_of(picture, position, settings)


FINGER = Modality(
    name="finger",
    template=Minutiae,
    positions=tuple(position for position in Position if position.is_finger),
    calibration="minutiae",
    example=lambda: Minutiae(
        x=_N * 37 % 300,
        y=_N * 91 % 400,
        direction=_N * 53 % 360,
        quality=_N * 29 % 101,
        width=300,
        height=400,
    ),
    model=lambda template: (template.extractor, 0),
    quality=lambda template: None if template.finger_quality is None else float(template.finger_quality),
    stored_form=_form_of_fingers,
    formats=_formats_of_fingers,
    comparator=_comparator_of_fingers,
    uncalibrated=lambda _: _shipped("minutiae"),
    index=_index_of_fingers,
    looks=_looks_at_fingers,
    explained=_explained_fingers,
    extract=_finger_of,
)


def _form_of_embeddings() -> StoredForm:
    from abis.formats.native import EMBEDDING

    return EMBEDDING


def _comparator_of_embeddings() -> Comparator:
    from abis.comparison.comparators import EMBEDDINGS

    return EMBEDDINGS


def _index_of_embeddings() -> type[Index]:
    from abis.index.embedding_index import EmbeddingIndex

    return EmbeddingIndex


def _looks_at_embeddings() -> Looks:
    from abis.deduplication.looks import EmbeddingLooks

    return EmbeddingLooks()


def _face_of(picture: Picture, _: Position, settings: ExtractionSettings) -> tuple[Template, str]:
    from abis.extraction.extracting import face_of

    return face_of(picture, settings)


FACE = Modality(
    name="face",
    template=Embedding,
    positions=(Position.FACE,),
    calibration="embedding",
    example=lambda: Embedding(vector=_N % 7 - 2.5, model=""),
    model=lambda template: (template.model, len(template.vector)),
    quality=lambda template: template.quality,
    stored_form=_form_of_embeddings,
    comparator=_comparator_of_embeddings,
    uncalibrated=lambda _: _shipped("embedding"),
    index=_index_of_embeddings,
    looks=_looks_at_embeddings,
    extract=_face_of,
)


def _comparator_of_voices() -> Comparator:
    from abis.comparison.comparators import VOICES

    return VOICES


def _index_of_voices() -> type[Index]:
    from abis.index.voice_index import VoiceIndex

    return VoiceIndex


def _looks_at_voices() -> Looks:
    from abis.deduplication.looks import VoiceLooks

    return VoiceLooks()


def _no_calibration_of_voices(kind: str) -> Calibration:
    raise NotCalibrated(
        f"there is no calibration {kind!r}, and abis ships none for voices: fit one to scores of your own recordings, "
        f"`abis calibrate SCORES --kind {kind} --gallery GALLERY` (docs/voice.md)"
    )


VOICE = Modality(
    name="voice",
    template=Embedding,
    positions=(Position.VOICE,),
    calibration="voice",
    example=lambda: Embedding(vector=_N % 7 - 2.5, model="", position=Position.VOICE, quality=3.5),
    model=lambda template: (template.model, len(template.vector)),
    quality=lambda template: template.quality,
    stored_form=_form_of_embeddings,
    comparator=_comparator_of_voices,
    uncalibrated=_no_calibration_of_voices,
    index=_index_of_voices,
    looks=_looks_at_voices,
)


def _form_of_profiles() -> StoredForm:
    from abis.formats.native import STR_PROFILE

    return STR_PROFILE


def _comparator_of_profiles() -> Comparator:
    from abis.comparison.comparators import PROFILES

    return PROFILES


def _index_of_profiles() -> type[Index]:
    from abis.index.dna_index import DnaIndex

    return DnaIndex


def _looks_at_profiles() -> Looks:
    from abis.deduplication.looks import DnaLooks

    return DnaLooks()


def _no_frequencies(_: str) -> Calibration:
    raise NotCalibrated(
        "there are no allele frequencies, and abis ships none: add those of your population, "
        "`abis dna frequencies GALLERY TABLE` (docs/dna.md)"
    )


DNA = Modality(
    name="dna",
    template=StrProfile,
    positions=(Position.DNA,),
    calibration="dna",
    example=lambda: StrProfile(genotypes={locus: [6 + n % 7, 9.3 + n % 5] for n, locus in enumerate(LOCI)}),
    model=lambda template: ("", 0),
    quality=lambda template: float(len(template)),
    stored_form=_form_of_profiles,
    comparator=_comparator_of_profiles,
    uncalibrated=_no_frequencies,
    index=_index_of_profiles,
    looks=_looks_at_profiles,
)


def _form_of_irises() -> StoredForm:
    from abis.formats.native import IRIS

    return IRIS


def _comparator_of_irises() -> Comparator:
    from abis.comparison.comparators import IRISES

    return IRISES


def _index_of_irises() -> type[Index]:
    from abis.index.iris_index import IrisIndex

    return IrisIndex


def _looks_at_irises() -> Looks:
    from abis.deduplication.looks import IrisLooks

    return IrisLooks()


def _explained_irises(probe: IrisCode, reference: IrisCode) -> Explained:
    from abis.comparison.explaining import explained_irises

    return explained_irises(probe, reference)


def _unrolled(picture: Picture) -> npt.NDArray[np.uint8]:
    from abis.extraction.iris import unrolled

    return unrolled(picture.grey())


def _iris_of(picture: Picture, position: Position, _: ExtractionSettings) -> tuple[Template, str]:
    from abis.extraction.extracting import iris_of

    return iris_of(picture, position)


_COLUMN_BITS = 0xFFFF  # of the number of a code's shape: the columns stand above them
IRIS = Modality(
    name="iris",
    template=IrisCode,
    positions=(Position.UNKNOWN_EYE, Position.RIGHT_EYE, Position.LEFT_EYE),
    calibration="iris",
    example=lambda: IrisCode(bits=(_N % 7 < 3).reshape(2, 5, 4), model=""),
    model=lambda template: (template.model, template.columns << 16 | template.rows * template.planes),
    shape=lambda number: f"{number >> 16} columns of {number & _COLUMN_BITS} bits",
    quality=lambda template: template.quality,
    stored_form=_form_of_irises,
    comparator=_comparator_of_irises,
    uncalibrated=lambda _: _shipped("iris"),
    index=_index_of_irises,
    looks=_looks_at_irises,
    explained=_explained_irises,
    view=_unrolled,
    extract=_iris_of,
)

MODALITIES: tuple[Modality, ...] = (FINGER, FACE, IRIS, VOICE, DNA)
"""All there are."""


def modality_of(template: Template) -> Modality:
    """The row of a template.

    Raises:
        TypeError: it is no template.
    """
    for modality in MODALITIES:
        if isinstance(template, modality.template) and template.position in modality.positions:
            return modality
    raise TypeError(f"a {type(template).__name__} is not a template; expected {template_names()}")


def is_template(thing: object) -> bool:
    """Whether something is a template of a modality of the table."""
    return isinstance(thing, tuple(modality.template for modality in MODALITIES))


def modality_at(position: Position) -> Modality:
    """The row whose templates a position has."""
    return next(modality for modality in MODALITIES if position in modality.positions)


def template_names() -> str:
    """The classes of templates, for messages."""
    return " or ".join(dict.fromkeys(modality.template.__name__ for modality in MODALITIES))


def quality_of(template: Template) -> float | None:
    """The quality that a template states of itself as a whole, larger is better; None where it states none."""
    return modality_of(template).quality(template)
