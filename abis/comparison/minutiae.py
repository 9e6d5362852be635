# SPDX-License-Identifier: Apache-2.0
"""Raw scores of fingerprints and embeddings: one probe compared with many references, by the C++ core.

A higher raw score means more similarity, and has no other meaning; :mod:`abis.scoring.calibration` turns it into a
likelihood ratio. Raw scores are bit-identical on every CPU and for any number of threads. They do not change if probe
and reference are exchanged.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from abis import _core
from abis.errors import TemplateError
from abis.template import Embedding, Minutiae

__all__ = [
    "Explanation",
    "FingerReferences",
    "balances",
    "contents",
    "cosine",
    "cosines_of_pairs",
    "explain",
    "simd_level",
]


_ENOUGH = 4  # a greater content does not make a low score more likely (decision 16)
_MOST_THREADS = 4096  # more than the cores of any machine


class FingerReferences:
    """Minutiae references prepared for comparison, packed in memory.

    Slots are numbered from 0 in the order of :meth:`extend` and never used again. Any number of threads may
    call :meth:`compare` at once. No other call may run during :meth:`extend` or :meth:`remove`.
    """

    def __init__(self) -> None:
        self._core = _core.References()

    def __len__(self) -> int:
        """The number of slots, removed ones included."""
        return len(self._core)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return self._core.memory_bytes

    def extend(self, templates: Sequence[Minutiae], *, threads: int = 0) -> range:
        """Prepare templates, and return their slots. It takes about 20 microseconds of one core for each.

        Args:
            templates: templates to append.
            threads: how many to use; 0 is one a core.
        """
        if not templates:
            return range(len(self), len(self))
        first = self._core.append(*columns_of_many(templates), checked_threads(threads))
        return range(first, first + len(templates))

    def remove(self, slots: npt.NDArray[np.int64]) -> None:
        """Empty slots. Later templates use their memory.

        Args:
            slots: (m,) int64.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        self._core.remove(slots)

    def compare(
        self,
        probe: Minutiae,
        slots: npt.NDArray[np.int64] | None = None,
        *,
        cutoff: float = -math.inf,
        threads: int = 0,
    ) -> npt.NDArray[np.float32]:
        """Raw scores of the probe against references.

        Args:
            probe: one finger view.
            slots: (m,) int64, the references wanted; all of them where None.
            cutoff: scores below it are not computed, which saves most of the time. For such a reference, the result is
                a number below the cutoff that is at least its score. Other scores do not depend on the cutoff.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (m,) float32; NaN for a removed slot.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("slots", slots)
        return self._core.compare(*columns(probe), slots, float(cutoff), checked_threads(threads))

    def compare_pairs(
        self,
        probes: npt.NDArray[np.int64],
        references: npt.NDArray[np.int64],
        *,
        threads: int = 0,
    ) -> npt.NDArray[np.float32]:
        """Raw scores of pairs of slots: the same to the bit as :meth:`compare` gives.

        Args:
            probes: (m,) int64, slots.
            references: (m,) int64, slots.
            threads: how many to use; 0 is one a core. Ctrl-C stops them all.

        Returns:
            (m,) float32; NaN where a slot was removed.

        Raises:
            IndexError: where there is no such slot.
        """
        check_indices("probes", probes)
        check_indices("references", references)
        return self._core.compare_pairs(probes, references, checked_threads(threads))


def cosine(
    probe: Embedding,
    references: npt.NDArray[np.float16],
    rows: npt.NDArray[np.int64] | None = None,
    *,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """The cosine of the angle between the probe and each reference: the raw score of embeddings.

    Sums run in one fixed order, so that the result is the same to the bit on every CPU.

    Args:
        probe: a vector of d values.
        references: (n, d) float16, C-contiguous unit vectors of the same model as the probe's.
        rows: (m,) int64, the references wanted; all of them where None.
        threads: how many to use; 0 is one a core.

    Returns:
        (m,) float32 in [-1, 1] but for rounding.

    Raises:
        IndexError: where there is no such row.
    """
    check_array("references", references, np.float16, dimensions=2)
    if references.shape[1] != len(probe.vector):
        raise ValueError(f"references have {references.shape[1]} dimensions, the probe {len(probe.vector)}")
    check_indices("rows", rows)
    threads = checked_threads(threads)
    return _core.dot_products(probe.vector.view(np.uint16), references.view(np.uint16), rows, threads)


def cosines_of_pairs(
    probes: npt.NDArray[np.float16],
    references: npt.NDArray[np.float16],
    probe: npt.NDArray[np.int64],
    reference: npt.NDArray[np.int64],
    *,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """:func:`cosine` of some pairs, to the bit.

    Args:
        probes: (n, d) float16, C-contiguous unit vectors.
        references: (m, d) float16, C-contiguous unit vectors.
        probe: (p,) int64, rows of probes.
        reference: (p,) int64, rows of references.
        threads: how many to use; 0 is one a core. Ctrl-C stops them all.

    Returns:
        (p,) float32 in [-1, 1] but for rounding.

    Raises:
        IndexError: where there is no such row.
    """
    check_array("probes", probes, np.float16, dimensions=2)
    check_array("references", references, np.float16, dimensions=2)
    check_indices("probe", probe)
    check_indices("reference", reference)
    vectors = probes.view(np.uint16), references.view(np.uint16)
    return _core.dot_products_of_pairs(*vectors, probe, reference, checked_threads(threads))


def contents(templates: Sequence[Minutiae]) -> npt.NDArray[np.int64]:
    """Return the content of each finger: the sum of its minutiae's reliabilities, in percent of a reliable minutia.

    A minutia's reliability is its quality relative to the best twentieth of its own template, as the
    comparison takes it: extractors disagree on what a quality of 60 means.
    """
    if not templates:
        return np.empty(0, np.int64)
    sizes = np.array([len(t) for t in templates], np.int64)
    return _core.contents(np.concatenate([t.quality for t in templates]), sizes)


def balances(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the lesser content divided by a quarter of the greater, at most 1; 0 if both are 0."""
    return np.minimum(1.0, _ENOUGH * np.minimum(one, other) / np.maximum(1, np.maximum(one, other)))


@dataclass(frozen=True)
class Explanation:
    """The result of one fingerprint comparison in detail.

    Attributes:
        score: the raw score.
        pairs: (k, 2) uint8, indices of minutiae of probe and reference that were paired.
        terms: the parts of the score by name; ``cpp/fingerprint/evidence.h`` defines names and units.
    """

    score: float
    pairs: npt.NDArray[np.uint8]
    terms: dict[str, float]


def explain(probe: Minutiae, reference: Minutiae) -> Explanation:
    """Compare two fingers, and return the parts of the score and the paired minutiae.

    Raises:
        TemplateError: their positions may not be compared.
    """
    if not probe.position.is_comparable(reference.position):
        raise TemplateError(
            f"reference 0 is of {reference.position.name}; the probe, of {probe.position.name}, "
            "is compared with its own position only"
        )
    found = _core.compare_in_detail(*columns(probe), *columns(reference))
    return Explanation(score=found["score"], pairs=found["pairs"], terms=found["terms"])


def simd_level() -> str:
    """The SIMD level in use: base, avx2, avx512bw or avx512. The environment variable ABIS_SIMD may lower it."""
    return _core.simd_level()


def columns(
    minutiae: Minutiae,
) -> tuple[
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint16],
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.uint8],
    int,
    int,
]:
    """Return the columns of a template, as the core takes them."""
    if not isinstance(minutiae, Minutiae):
        raise TypeError(f"a {type(minutiae).__name__} cannot be compared with fingers; expected Minutiae")
    m = minutiae
    return (m.x, m.y, m.direction, m.kind, m.quality, *m.resolution)


def columns_of_many(
    templates: Sequence[Minutiae],
) -> tuple[
    npt.NDArray[np.uint16],
    npt.NDArray[np.uint16],
    npt.NDArray[np.float32],
    npt.NDArray[np.uint8],
    npt.NDArray[np.uint8],
    npt.NDArray[np.int64],
    npt.NDArray[np.int32],
]:
    """Return the columns, sizes and resolutions of templates, as the core takes them."""
    return (
        np.concatenate([t.x for t in templates]),
        np.concatenate([t.y for t in templates]),
        np.concatenate([t.direction for t in templates]),
        np.concatenate([t.kind for t in templates]),
        np.concatenate([t.quality for t in templates]),
        np.array([len(t) for t in templates], np.int64),
        np.array([t.resolution for t in templates], np.int32).reshape(-1, 2),
    )


# Types are checked here: the core's own TypeError prints all arguments, a template's content among them.


def check_indices(name: str, indices: npt.NDArray[np.int64] | None) -> None:
    if indices is not None:
        check_array(name, indices, np.int64, dimensions=1)


def check_array(name: str, array: npt.NDArray[Any], dtype: npt.DTypeLike, *, dimensions: int) -> None:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} is a {type(array).__name__}; expected an array")
    flags = array.flags
    if array.dtype != dtype or array.ndim != dimensions or not (flags.c_contiguous and flags.aligned):
        strided = "" if flags.c_contiguous else ", not C-contiguous"
        strided += "" if flags.aligned else ", not aligned"
        raise TypeError(
            f"{name} is {array.dtype} of shape {array.shape}{strided}; "
            f"expected {np.dtype(dtype)} of {dimensions} dimension{'s'[: dimensions - 1]}, C-contiguous"
        )


def checked_threads(threads: int) -> int:
    if not 0 <= operator.index(threads) <= _MOST_THREADS:
        raise ValueError(f"threads is {threads}; expected 0 (one a core) to {_MOST_THREADS}")
    return operator.index(threads)
