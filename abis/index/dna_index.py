# SPDX-License-Identifier: Apache-2.0
"""DNA profiles packed for search, with an inverted index of the genotypes (pairs of alleles) of each locus.

Two profiles of one person differ at one locus at most, and two that differ at more all have the same, lowest score. So
of any three loci, such a reference has the probe's genotype, or was not typed, at two or more. The search takes the
three loci at which this is true of the fewest references, and compares only the references that two of the three lists
hold. It loses nothing: every other reference is known to have the lowest score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from abis.comparison.dna import DnaModel, DnaProbe, packed_profiles
from abis.scoring.calibration import Calibration
from abis.template import StrProfile
from abis.template.alleles import LOCI

__all__ = ["DnaIndex", "PreparedProfile"]

_LN_OF_10 = 2.302585092994046
_LOOKED_AT = 3  # loci: with two, one difference leaves one list; with more, lists grow and nothing is gained


class PreparedProfile(NamedTuple):
    """A probe as the methods of :class:`DnaIndex` take it."""

    probe: DnaProbe

    @classmethod
    def of(cls, template: StrProfile, model: DnaModel) -> Self:
        """Prepare a profile."""
        return cls(DnaProbe.of(template, model))

    def evidence_of(self, scores: NDArray[Any]) -> NDArray[np.float32]:
        """(m,) float32, natural log likelihood ratios of raw scores, which are log10 likelihood ratios."""
        return np.asarray(_LN_OF_10 * scores, np.float32)


class DnaIndex:
    """DNA profiles, slot by slot from 0. Immutable; safe to search from any number of threads.

    Takes 192 bytes a profile.

    Args:
        alleles: (n, 24, 2) uint16 as :func:`abis.comparison.dna.packed_profiles` makes them, n at least 1.
    """

    tells_nearest: ClassVar[bool] = True

    def __init__(self, alleles: NDArray[np.uint16]) -> None:
        self._alleles = np.ascontiguousarray(alleles)
        self._lists = [_Lists.of(self._alleles[:, place]) for place in range(len(LOCI))]

    @classmethod
    def of(cls, templates: Sequence[StrProfile]) -> Self:
        """An index of profiles, at least one, slot by slot in their order."""
        return cls(packed_profiles(tuple(templates)))

    @classmethod
    def joined(cls, parts: Sequence[tuple[Self, NDArray[np.int64]]]) -> Self:
        """An index of the given slots of other indexes, in their order."""
        return cls(np.concatenate([part._alleles[slots] for part, slots in parts]))

    @staticmethod
    def ready(template: StrProfile, calibration: Calibration) -> PreparedProfile:
        """Prepare a probe once for many indexes and calls."""
        return PreparedProfile.of(template, calibration.basis)

    def __len__(self) -> int:
        return len(self._alleles)

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        return self._alleles.nbytes + sum(one.memory_bytes for one in self._lists)

    @property
    def alleles(self) -> NDArray[np.uint16]:
        """(n, 24, 2) uint16, the alleles of each."""
        return self._alleles

    def possible(self, probe: PreparedProfile) -> NDArray[np.int64]:
        """Sorted slots of all references whose score may be above the lowest one, and of some others."""
        template = probe.probe.template
        lists = [self._lists[place].holding(template.alleles[place]) for place in probe.probe.loci]
        if len(lists) < _LOOKED_AT:
            return np.arange(len(self))
        lists.sort(key=lambda parts: sum(map(len, parts)))
        chosen = [part for parts in lists[:_LOOKED_AT] for part in parts]
        found = np.sort(np.concatenate([*chosen, np.empty(0, np.uint32)]))
        return np.unique(found[1:][found[1:] == found[:-1]]).astype(np.int64)

    def nearest(self, probe: PreparedProfile, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The references with the largest raw scores, exactly. Uses one thread.

        Args:
            probe: the probe.
            count: how many, at least 1; all where there are fewer.

        Returns:
            (m,) float64, raw scores, the largest first, and (m,) int64, their slots; of equal scores the first slots.
        """
        slots = self.possible(probe)
        scores = self.compare(probe, slots)
        lowest = probe.probe.lowest
        count = min(count, len(self))
        above = scores > lowest
        slots, scores = slots[above], scores[above]
        if len(slots) < count:  # the first of those that are known to have the lowest score
            is_above = np.zeros(len(self), np.bool_)
            is_above[slots] = True
            others = np.flatnonzero(~is_above[: count + len(slots)])[: count - len(slots)]
            slots = np.concatenate([slots, others])
            scores = np.concatenate([scores, np.full(len(others), lowest, np.float32)])
        order = np.lexsort((slots, -scores))[:count]
        return scores[order].astype(np.float64), slots[order]

    def sift(self, probe: PreparedProfile, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """The same as :meth:`refine`."""
        return self.refine(probe, slots)

    def refine(self, probe: PreparedProfile, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, natural log likelihood ratios of some slots."""
        return probe.evidence_of(self.compare(probe, slots))

    def compare(self, probe: PreparedProfile, slots: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """(m,) float32, raw scores of some slots, or of all: exactly :meth:`abis.comparison.dna.DnaProbe.compare`."""
        return probe.probe.compare(self._alleles, slots)

    def balance(self, probe: StrProfile, slots: NDArray[np.int64]) -> None:
        """DNA profiles have no balance: missing loci are in the score."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`from_arrays` needs to make the same index."""
        return {"alleles": self._alleles}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of.

        Raises:
            ValueError: if the arrays do not belong together.
        """
        alleles = arrays["alleles"]
        if alleles.dtype != np.uint16 or alleles.ndim != 3 or alleles.shape[1:] != (len(LOCI), 2):
            raise ValueError(
                f"alleles are {alleles.dtype} of shape {alleles.shape}; expected (n, {len(LOCI)}, 2) uint16"
            )
        if not len(alleles):
            raise ValueError("no profiles; expected at least one")
        return cls(alleles)


class _Lists(NamedTuple):
    """The slots of each genotype of a locus, one list after the other.

    Attributes:
        genotypes: (g,) uint32, ascending; 0 is that of references that were not typed.
        starts: (g + 1,) where the list of each begins in ``slots``.
        slots: (n,) uint32, ascending within a list.
    """

    genotypes: NDArray[np.uint32]
    starts: NDArray[np.int64]
    slots: NDArray[np.uint32]

    @classmethod
    def of(cls, alleles: NDArray[np.uint16]) -> Self:
        keys = _key(alleles)
        slots = np.argsort(keys, kind="stable").astype(np.uint32)
        genotypes, starts = np.unique(keys[slots], return_index=True)
        return cls(genotypes, np.append(starts, len(keys)), slots)

    @property
    def memory_bytes(self) -> int:
        return self.genotypes.nbytes + self.starts.nbytes + self.slots.nbytes

    def holding(self, alleles: NDArray[np.uint16]) -> list[NDArray[np.uint32]]:
        """The slots with a genotype, and those that were not typed."""
        found = []
        for wanted in (_key(alleles), np.uint32(0)):
            place = int(np.searchsorted(self.genotypes, wanted))
            if place < len(self.genotypes) and self.genotypes[place] == wanted:
                found.append(self.slots[self.starts[place] : self.starts[place + 1]])
        return found


def _key(alleles: NDArray[np.uint16]) -> NDArray[np.uint32]:
    """One number for the two alleles of (..., 2)."""
    return np.asarray(alleles[..., 0].astype(np.uint32) << np.uint32(16) | alleles[..., 1])
