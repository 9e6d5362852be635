# SPDX-License-Identifier: Apache-2.0
"""How templates of each modality are compared: what the rows of :mod:`abis.template.modality` name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from abis.comparison.dna import DnaModel, DnaProbe, packed_profiles, scores_of_pairs
from abis.comparison.iris import iris_scores, iris_scores_of_pairs, packed
from abis.comparison.minutiae import (
    FingerReferences,
    balances,
    contents,
    cosine,
    cosines_of_pairs,
)
from abis.comparison.voices import balances_of_speech, speech_ms
from abis.errors import NotCalibrated, TemplateError
from abis.template import Embedding, IrisCode, Minutiae, StrProfile, Template
from abis.template.modality import modality_of

if TYPE_CHECKING:
    from abis.scoring.calibration import Calibration

__all__ = ["EMBEDDINGS", "FINGERS", "IRISES", "PROFILES", "VOICES", "Comparator", "balance", "raw_scores"]

Scores = npt.NDArray[np.float32]
Compare = Callable[[Any, "npt.NDArray[np.int64] | None", int], Scores]
"""Function of a probe, slots of references (None for all) and a number of threads, that returns raw scores."""


class Comparator(NamedTuple):
    """How templates of a modality are compared. Scores must not depend on which of two templates is the probe.

    Attributes:
        packed: prepares references that one probe after the other is compared with.
        pairs: raw scores of as many probes and references, on a number of threads (0: one a core), (n,) float32.
        contents: how much content each template has, (n,) int64. A low score of templates with little content is
            weaker evidence. None: the evidence does not depend on content. See :func:`abis.comparison.balance`.
        of_contents: the balance of pairs, (n,) float64, from the contents of both.
        scored: the comparator under a calibration, where raw scores depend on it; None where they do not.
    """

    packed: Callable[[Sequence[Any]], Compare]
    pairs: Callable[[Sequence[Any], Sequence[Any], int], Scores]
    contents: Callable[[Sequence[Any]], npt.NDArray[np.int64]] | None = None
    of_contents: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float64]] = balances
    scored: Callable[[Calibration | None], Comparator] | None = None

    def under(self, calibration: Calibration | None) -> Comparator:
        """The comparator to use with a calibration. Raises NotCalibrated where one is needed, but None is given."""
        return self if self.scored is None else self.scored(calibration)

    def balances(self, probes: Sequence[Any], references: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        """The balance of each of as many pairs, or of one probe and all references; None without ``contents``."""
        if self.contents is None:
            return None
        return self.of_contents(self.contents(probes), self.contents(references))


def _packed_fingers(references: Sequence[Minutiae]) -> Compare:
    prepared = FingerReferences()
    prepared.extend(references)
    return lambda probe, slots, threads: prepared.compare(probe, slots, threads=threads)


def _pairs_of_fingers(probes: Sequence[Minutiae], references: Sequence[Minutiae], threads: int) -> Scores:
    own = {id(template): template for template in (*probes, *references)}  # each is prepared once
    prepared = FingerReferences()
    slot = dict(zip(own, prepared.extend(list(own.values()), threads=threads), strict=True))
    first, second = (
        np.array([slot[id(template)] for template in side], np.int64) for side in (probes, references)
    )
    return prepared.compare_pairs(first, second, threads=threads)


def _vectors(embeddings: Sequence[Embedding]) -> npt.NDArray[np.float16]:
    return np.array([embedding.vector for embedding in embeddings], np.float16)


def _packed_embeddings(references: Sequence[Embedding]) -> Compare:
    vectors = _vectors(references)
    return lambda probe, slots, threads: cosine(probe, vectors, slots, threads=threads)


def _pairs_of_embeddings(
    probes: Sequence[Embedding], references: Sequence[Embedding], threads: int
) -> Scores:
    rows = np.arange(len(probes))
    return cosines_of_pairs(_vectors(probes), _vectors(references), rows, rows, threads=threads)


def _packed_irises(references: Sequence[IrisCode]) -> Compare:
    codes = packed(references)
    return lambda probe, slots, threads: iris_scores(probe, codes, slots, threads=threads)


def _pairs_of_irises(probes: Sequence[IrisCode], references: Sequence[IrisCode], threads: int) -> Scores:
    rows = np.arange(len(probes))
    shape = probes[0].columns, probes[0].rows * probes[0].planes
    return iris_scores_of_pairs(packed(probes), packed(references), rows, rows, shape=shape, threads=threads)


FINGERS = Comparator(_packed_fingers, _pairs_of_fingers, contents)
EMBEDDINGS = Comparator(_packed_embeddings, _pairs_of_embeddings)


def _speech(voices: Sequence[Embedding]) -> npt.NDArray[np.int64]:
    return speech_ms([voice.quality for voice in voices])


def _packed_profiles(model: DnaModel, references: Sequence[StrProfile]) -> Compare:
    alleles = packed_profiles(references)
    return lambda probe, slots, threads: DnaProbe.of(probe, model).compare(alleles, slots)


def _pairs_of_profiles(
    model: DnaModel, probes: Sequence[StrProfile], references: Sequence[StrProfile], threads: int
) -> Scores:
    rows = np.arange(len(probes))
    return scores_of_pairs(packed_profiles(probes), packed_profiles(references), rows, rows, model)


def _profiles_under(calibration: Calibration | None) -> Comparator:
    if calibration is None:
        raise NotCalibrated("scores of DNA depend on allele frequencies; give the calibration that has them")
    model = calibration.basis
    return Comparator(partial(_packed_profiles, model), partial(_pairs_of_profiles, model))


def _without_frequencies(*_: Any) -> Any:
    return _profiles_under(None)


IRISES = Comparator(_packed_irises, _pairs_of_irises)
VOICES = Comparator(_packed_embeddings, _pairs_of_embeddings, _speech, balances_of_speech)
PROFILES = Comparator(_without_frequencies, _without_frequencies, scored=_profiles_under)


def raw_scores(
    probe: Template, references: Sequence[Template], *, calibration: Calibration | None = None
) -> Scores:
    """Raw scores of one probe against references of the same kind.

    Args:
        probe: any template.
        references: templates that may be compared with the probe: of the same position, or one of the two of an
            unknown finger or eye; by the same model, where there are models.
        calibration: of such templates. Raw scores of DNA depend on it, others do not.

    Returns:
        (len(references),) float32.

    Raises:
        NotCalibrated: the probe is of DNA, and no calibration is given.
        TemplateError: naming the first reference that may not be compared with the probe.
    """
    for index, reference in enumerate(references):
        _check_comparable(probe, reference, index)
    if not references:
        return np.empty(0, np.float32)
    return modality_of(probe).comparator().under(calibration).packed(references)(probe, None, 0)


def balance(probe: Template, references: Sequence[Template]) -> npt.NDArray[np.float64] | None:
    """The balances of a probe and its references, on which the evidence of a low score depends.

    If one print shows only a small part of what the other shows, mated prints have low scores as well.

    Args:
        probe: any template.
        references: templates that it was compared with.

    Returns:
        (len(references),) float64 as :func:`abis.comparison.balances` gives; None where the modality of the
        probe has none.
    """
    return modality_of(probe).comparator().balances([probe], references)


def _check_comparable(probe: Template, reference: Template, index: int) -> None:
    if not probe.position.is_comparable(reference.position):
        raise TemplateError(
            f"reference {index} is of {reference.position.name}; the probe, of {probe.position.name}, "
            "is compared with its own position only"
        )
    modality = modality_of(probe)
    (own, own_shape), (other, other_shape) = modality.model(probe), modality.model(reference)
    if not own_shape and not other_shape:  # templates of different models are comparable
        return
    if own != other:
        raise TemplateError(f"reference {index} is of model {other!r}, the probe of {own!r}")
    if own_shape != other_shape:
        raise TemplateError(
            f"reference {index} has the shape {modality.shape(other_shape)}, "
            f"the probe {modality.shape(own_shape)}"
        )
