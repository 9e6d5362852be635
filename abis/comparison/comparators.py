# SPDX-License-Identifier: Apache-2.0
"""How templates of each modality are compared: what the rows of :mod:`abis.template.modality` name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
from abis.template import Embedding, IrisCode, Minutiae, Template
from abis.template.modality import modality_of

__all__ = ["EMBEDDINGS", "FINGERS", "IRISES", "Comparator", "balance", "raw_scores"]

Scores = npt.NDArray[np.float32]
Compare = Callable[[Any, "npt.NDArray[np.int64] | None", int], Scores]
"""Function of a probe, slots of references (None for all) and a number of threads, that returns raw scores."""


class Comparator(NamedTuple):
    """How templates of a modality are compared. Scores must not depend on which of two templates is the probe.

    Attributes:
        packed: prepares references that one probe after the other is compared with.
        pairs: raw scores of as many probes and references, on a number of threads (0: one a core), (n,) float32.
        contents: what each template shows, (n,) int64, where a low score says less about two that show little; None
            where it says the same of all. See :func:`abis.comparison.balance`.
    """

    packed: Callable[[Sequence[Any]], Compare]
    pairs: Callable[[Sequence[Any], Sequence[Any], int], Scores]
    contents: Callable[[Sequence[Any]], npt.NDArray[np.int64]] | None = None

    def balances(self, probes: Sequence[Any], references: Sequence[Any]) -> npt.NDArray[np.float64] | None:
        """The balance of each of as many pairs, or of one probe and all references; None without ``contents``."""
        return None if self.contents is None else balances(self.contents(probes), self.contents(references))


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
IRISES = Comparator(_packed_irises, _pairs_of_irises)


def raw_scores(probe: Template, references: Sequence[Template]) -> Scores:
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
    return modality_of(probe).comparator().packed(references)(probe, None, 0)


def balance(probe: Template, references: Sequence[Template]) -> npt.NDArray[np.float64] | None:
    """How alike a probe and its references are in content: what a low score of theirs says depends on it.

    Where one print shows little of what the other shows, mated ones score low too.

    Args:
        probe: any template.
        references: templates that it was compared with.

    Returns:
        (len(references),) float64 as :func:`abis.comparison.balances` gives; None where the probe is not of a finger.
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
