# SPDX-License-Identifier: Apache-2.0
"""What a modality is: the table that says how templates of each class are named, compared and calibrated.

A new modality is a row here, an index in :mod:`abis.index.segments`, and a stored form in :mod:`abis.formats.native`;
docs/adding-a-modality.md walks through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.comparison.iris import iris_scores, iris_scores_of_pairs, packed
from abis.comparison.minutiae import (
    FingerReferences,
    balances,
    contents,
    cosine,
    cosines_of_pairs,
)
from abis.errors import TemplateError
from abis.template import Embedding, IrisCode, Minutiae, Position, Template

__all__ = [
    "FACE",
    "FINGER",
    "IRIS",
    "MODALITIES",
    "Modality",
    "balance",
    "modality_at",
    "modality_of",
    "quality_of",
    "raw_scores",
]

Scores = npt.NDArray[np.float32]
Compare = Callable[[Any, "npt.NDArray[np.int64] | None", int], Scores]
"""Function of a probe, slots of references (None for all) and a number of threads, that returns raw scores."""


@dataclass(frozen=True)
class Modality:
    """One row of the table. A field takes templates of the row's class only, which is why their types are open.

    Attributes:
        name: a word for messages.
        template: class of its templates.
        is_at: whether a position is one of its.
        calibration: what its calibrations are called: exactly so where ``model`` gives no name, else followed by "-"
            and the name of the model.
        model: name of what made a template, and a number that tells shapes apart; ("", 0) where templates of all
            extractors are compared with each other.
        packed: prepares references that one probe after the other is compared with.
        pairs: raw scores of as many probes and references, (n,) float32; balance, (n,) float64, or None.
        quality: what a template states of itself as a whole, larger is better, or None.
    """

    name: str
    template: type[Template]
    is_at: Callable[[Position], bool]
    calibration: str
    model: Callable[[Any], tuple[str, int]]
    packed: Callable[[Sequence[Any]], Compare]
    pairs: Callable[[Sequence[Any], Sequence[Any], int], tuple[Scores, npt.NDArray[np.float64] | None]]
    quality: Callable[[Any], float | None]


def _packed_fingers(references: Sequence[Minutiae]) -> Compare:
    prepared = FingerReferences()
    prepared.extend(references)
    return lambda probe, slots, threads: prepared.compare(probe, slots, threads=threads)


def _pairs_of_fingers(
    probes: Sequence[Minutiae], references: Sequence[Minutiae], threads: int
) -> tuple[Scores, npt.NDArray[np.float64]]:
    prepared = FingerReferences()
    first = np.array(prepared.extend(probes, threads=threads), np.int64)
    second = np.array(prepared.extend(references, threads=threads), np.int64)
    raw = prepared.compare_pairs(first, second, threads=threads)
    return raw, balances(contents(probes), contents(references))


def _vectors(embeddings: Sequence[Embedding]) -> npt.NDArray[np.float16]:
    return np.array([embedding.vector for embedding in embeddings], np.float16)


def _packed_embeddings(references: Sequence[Embedding]) -> Compare:
    vectors = _vectors(references)
    return lambda probe, slots, threads: cosine(probe, vectors, slots, threads=threads)


def _pairs_of_embeddings(
    probes: Sequence[Embedding], references: Sequence[Embedding], threads: int
) -> tuple[Scores, None]:
    rows = np.arange(len(probes))
    return cosines_of_pairs(_vectors(probes), _vectors(references), rows, rows, threads=threads), None


def _packed_irises(references: Sequence[IrisCode]) -> Compare:
    codes = packed(references)
    return lambda probe, slots, threads: iris_scores(probe, codes, slots, threads=threads)


def _pairs_of_irises(
    probes: Sequence[IrisCode], references: Sequence[IrisCode], threads: int
) -> tuple[Scores, None]:
    rows = np.arange(len(probes))
    shape = probes[0].columns, probes[0].rows * probes[0].planes
    codes = packed(probes), packed(references)
    return iris_scores_of_pairs(*codes, rows, rows, shape=shape, threads=threads), None


FINGER = Modality(
    name="finger",
    template=Minutiae,
    is_at=lambda position: position.is_finger,
    calibration="minutiae",
    model=lambda template: (template.extractor, 0),
    packed=_packed_fingers,
    pairs=_pairs_of_fingers,
    quality=lambda template: None if template.finger_quality is None else float(template.finger_quality),
)
FACE = Modality(
    name="embedding",
    template=Embedding,
    is_at=lambda position: position in (Position.FACE, Position.VOICE),
    calibration="embedding",
    model=lambda template: (template.model, len(template.vector)),
    packed=_packed_embeddings,
    pairs=_pairs_of_embeddings,
    quality=lambda template: template.quality,
)
IRIS = Modality(
    name="iris",
    template=IrisCode,
    is_at=lambda position: position.is_eye,
    calibration="iris",
    model=lambda template: (template.model, template.columns << 16 | template.rows * template.planes),
    packed=_packed_irises,
    pairs=_pairs_of_irises,
    quality=lambda template: template.quality,
)

MODALITIES: tuple[Modality, ...] = (FINGER, FACE, IRIS)
"""All there are."""


def modality_of(template: Template) -> Modality:
    """The row of a template.

    Raises:
        TypeError: it is no template.
    """
    for modality in MODALITIES:
        if isinstance(template, modality.template):
            return modality
    expected = ", ".join(modality.template.__name__ for modality in MODALITIES)
    raise TypeError(f"a {type(template).__name__} is no template; expected one of {expected}")


def modality_at(position: Position) -> Modality:
    """The row whose templates a position has."""
    return next(modality for modality in MODALITIES if modality.is_at(position))


def quality_of(template: Template) -> float | None:
    """The quality that a template states of itself as a whole, larger is better; None where it states none."""
    return modality_of(template).quality(template)


def raw_scores(probe: Template, references: Sequence[Template]) -> npt.NDArray[np.float32]:
    """Raw scores of one probe against references of the same kind.

    Args:
        probe: any template.
        references: templates that may be compared with the probe: of the same position, or one of the two of an
            unknown finger or eye; by the same model, where there are models.

    Returns:
        (len(references),) float32.

    Raises:
        TemplateError: naming the first reference that may not be compared with the probe.
    """
    for index, reference in enumerate(references):
        _check_comparable(probe, reference, index)
    if not references:
        return np.empty(0, np.float32)
    return modality_of(probe).packed(references)(probe, None, 0)


def balance(probe: Template, references: Sequence[Template]) -> npt.NDArray[np.float64] | None:
    """How alike a probe and its references are in content: what a low score of theirs says depends on it.

    Where one print shows little of what the other shows, mated ones score low too.

    Args:
        probe: any template.
        references: templates that it was compared with.

    Returns:
        (len(references),) float64 as :func:`abis.comparison.balances` gives; None where the probe is not of a finger.
    """
    if not isinstance(probe, Minutiae):
        return None
    return balances(contents([probe]), contents([r for r in references if isinstance(r, Minutiae)]))


def _check_comparable(probe: Template, reference: Template, index: int) -> None:
    if not probe.position.is_comparable(reference.position):
        raise TemplateError(
            f"reference {index} is of {reference.position.name}; the probe, of {probe.position.name}, "
            "is compared with its own position only"
        )
    modality = modality_of(probe)
    if modality is FINGER:  # minutiae of different extractors are comparable
        return
    own, other = modality.model(probe), modality.model(reference)
    if own[0] != other[0]:
        raise TemplateError(f"reference {index} is of model {other[0]!r}, the probe of {own[0]!r}")
    if own == other:
        return
    if isinstance(probe, Embedding):
        raise TemplateError(f"reference {index} has {other[1]} dimensions, the probe {own[1]}")
    raise TemplateError(f"reference {index} has codes of another shape than the probe")
