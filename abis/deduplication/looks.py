# SPDX-License-Identifier: Apache-2.0
"""How the pairs of two tiles are looked at, for each modality: what the rows of :mod:`abis.template.modality` name."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis.comparison import balances, cosines_of_pairs
from abis.comparison.dna import scores_of_pairs
from abis.comparison.iris import iris_scores_of_pairs
from abis.comparison.kind import Kind
from abis.comparison.voices import balances_of_speech
from abis.deduplication.finger_tile import FingerTile
from abis.deduplication.sketches import near, sketch
from abis.index.dna_index import DnaIndex, PreparedProfile
from abis.scoring.calibration import Calibration, Calibrations
from abis.template import StrProfile

__all__ = ["DnaLooks", "EmbeddingLooks", "FingerLooks", "IrisLooks", "Looks", "Side", "VoiceLooks"]

# What passes, and what is lost by it: benchmarks/scale/deduplication.py, docs/deduplication.md. Natural log units.
_FINGER_LESS, _FACE_LESS = 4.0, 12.5  # the first look must reach log(subjects) less this
_OF_FINGERS = 0.6  # evidence of poses is too high by this factor
_LN_OF_10 = math.log(10)

Rows = NDArray[np.int64]
Arrays = Mapping[str, NDArray[Any]]


class Side(NamedTuple):
    """The references of one kind of one tile.

    Attributes:
        kind: kind of all references.
        arrays: what :meth:`Looks.arrays` gave.
        prepared: what :meth:`Looks.prepared` made of them.
    """

    kind: Kind
    arrays: Arrays
    prepared: Any


class Looks(ABC):
    """The looks at pairs of templates of one modality. By default every pair is compared in full.

    A modality must implement :meth:`raw`, the raw scores of pairs. If it implements no more, the first and the second
    look compare in full, which misses no pair.
    """

    def arrays(self, index: Any, slots: Rows) -> dict[str, NDArray[Any]]:
        """Arrays of some slots of an index of the modality, to be compared here or on another machine."""
        return self.taken(index.arrays(), slots)

    def taken(self, arrays: Arrays, order: Rows) -> dict[str, NDArray[Any]]:
        """The arrays of the given references, in the given order."""
        return {name: column[order] for name, column in arrays.items()}

    def prepared(self, arrays: Arrays) -> Any:
        """What the other methods need of a side beside its arrays, made once."""
        return None

    def near(
        self,
        probe: Side,
        reference: Side,
        limits: Rows,
        size: int,
        calibrations: Calibrations,
        *,
        tables_of_probes: bool,
    ) -> tuple[Rows, Rows]:
        """The pairs that pass the first look.

        Args:
            probe: of the first subjects.
            reference: of the second subjects.
            limits: (probes,) how many of the references each probe is compared with.
            size: number of subjects in all.
            calibrations: of the kinds of both.
            tables_of_probes: make tables from the probes rather than from the references, if there are tables.

        Returns:
            (p,) int64 numbers of probes, ascending, and (p,) int64 numbers of references.
        """
        least = math.log(size) - _FACE_LESS
        found = [np.empty((2, 0), np.int64)]
        for number, limit in enumerate(limits.tolist()):
            first, rows = np.full(limit, number, np.int64), np.arange(limit, dtype=np.int64)
            enough = np.flatnonzero(self.evidence(probe, reference, first, rows, calibrations) >= least)
            found.append(np.stack([first[enough], rows[enough]]))
        first, second = np.concatenate(found, axis=1)
        return first, second

    def evidence(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibrations: Calibrations
    ) -> NDArray[np.float64]:
        """(p,) evidence of the second look at some pairs, natural log units."""
        calibration = calibrations.for_pair(probe.kind.calibrated_as, reference.kind.calibrated_as)
        raw, balance = self.raw(probe, reference, first, second, calibration)
        return np.asarray(_LN_OF_10 * calibration.llr(raw, balance))

    @abstractmethod
    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Raw scores of some pairs, and their balances, if the modality has them.

        Args:
            probe: of the first subjects.
            reference: of the second subjects.
            first: (p,) numbers of probes; quickest where equal ones follow each other.
            second: (p,) numbers of references.
            calibration: of the kinds of both; raw scores of DNA depend on it, others do not.
        """


class FingerLooks(Looks):
    """Fingers: hashing of codes, then the pose on which fingers agree."""

    def taken(self, arrays: Arrays, order: Rows) -> dict[str, NDArray[Any]]:
        """The arrays of the given fingers; some have a row a finger, the others a row a minutia."""
        sizes = arrays["sizes"].astype(np.int64)
        begins = np.cumsum(sizes) - sizes
        own = sizes[order]
        rows = np.arange(own.sum()) + np.repeat(begins[order] - np.cumsum(own) + own, own)
        return {
            name: column[order if name in ("sizes", "removed") else rows] for name, column in arrays.items()
        }

    def prepared(self, arrays: Arrays) -> tuple[FingerTile, Rows]:
        """The tile of the fingers, and :func:`abis.comparison.contents` of each."""
        sums = np.concatenate([[0], np.cumsum(arrays["reliability"], dtype=np.int64)])
        ends = np.cumsum(arrays["sizes"], dtype=np.int64)
        return FingerTile(arrays), np.asarray(np.diff(sums[ends], prepend=0))

    def near(
        self,
        probe: Side,
        reference: Side,
        limits: Rows,
        size: int,
        calibrations: Calibrations,
        *,
        tables_of_probes: bool,
    ) -> tuple[Rows, Rows]:
        """The pairs of fingers with enough similar minutiae."""
        least = math.log(size) - _FINGER_LESS
        (probes, _), (references, _) = probe.prepared, reference.prepared
        if tables_of_probes:
            every = np.full(len(references), len(probes), np.int64)
            second, first, _ = probes.near(references, every, least)
        else:
            first, second, _ = references.near(probes, limits, least)
        return first, second

    def evidence(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibrations: Calibrations
    ) -> NDArray[np.float64]:
        """(p,) evidence of the poses on which pairs agree, natural log units."""
        (probes, _), (references, _) = probe.prepared, reference.prepared
        refined: NDArray[np.float32] = references.refine(probes, first, second)
        return _OF_FINGERS * refined.astype(np.float64)

    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], NDArray[np.float64] | None]:
        """Raw scores and balances."""
        (probes, own), (references, their) = probe.prepared, reference.prepared
        return references.compare(probes, first, second), balances(own[first], their[second])


class EmbeddingLooks(Looks):
    """Embeddings: first their sketches, then their cosines."""

    def arrays(self, index: Any, slots: Rows) -> dict[str, NDArray[Any]]:
        """(n, d) vectors and (n, b) sketches."""
        vectors = index.vectors[slots]
        return {"vectors": vectors, "sketches": sketch(vectors)}

    def near(
        self,
        probe: Side,
        reference: Side,
        limits: Rows,
        size: int,
        calibrations: Calibrations,
        *,
        tables_of_probes: bool,
    ) -> tuple[Rows, Rows]:
        """The pairs with near sketches."""
        sketches = probe.arrays["sketches"], reference.arrays["sketches"][: limits.max()]
        first, second = near(*sketches, math.log(size) - _FACE_LESS)
        below = second < limits[first]
        return first[below], second[below]

    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], None]:
        """Cosines."""
        return cosines_of_pairs(probe.arrays["vectors"], reference.arrays["vectors"], first, second), None


class IrisLooks(Looks):
    """Iris codes: every pair is compared in full."""

    def arrays(self, index: Any, slots: Rows) -> dict[str, NDArray[Any]]:
        """(n, 2, b) codes."""
        return {"codes": index.codes[slots]}

    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], None]:
        """Masked Hamming distances on the scale of :mod:`abis.comparison.iris`."""
        shape = probe.kind.dimension >> 16, probe.kind.dimension & 0xFFFF
        codes = probe.arrays["codes"], reference.arrays["codes"]
        return iris_scores_of_pairs(*codes, first, second, shape=shape), None


class VoiceLooks(Looks):
    """Voices: every pair is compared in full, because the evidence of a sketch depends on the model and the speech."""

    def arrays(self, index: Any, slots: Rows) -> dict[str, NDArray[Any]]:
        """(n, d) vectors and (n,) milliseconds of speech."""
        return {"vectors": index.vectors[slots], "speech": index.speech[slots]}

    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Cosines and balances."""
        cosines = cosines_of_pairs(probe.arrays["vectors"], reference.arrays["vectors"], first, second)
        return cosines, balances_of_speech(probe.arrays["speech"][first], reference.arrays["speech"][second])


class DnaLooks(Looks):
    """DNA: the first look by the lists of genotypes, as in a search, which misses no pair."""

    def arrays(self, index: Any, slots: Rows) -> dict[str, NDArray[Any]]:
        """(n, 24, 2) alleles."""
        return {"alleles": index.alleles[slots]}

    def prepared(self, arrays: Arrays) -> DnaIndex:
        """An index of the profiles."""
        return DnaIndex(arrays["alleles"])

    def near(
        self,
        probe: Side,
        reference: Side,
        limits: Rows,
        size: int,
        calibrations: Calibrations,
        *,
        tables_of_probes: bool,
    ) -> tuple[Rows, Rows]:
        """The pairs that may be of one person and say enough."""
        least = math.log(size) - _FACE_LESS
        model = calibrations.for_kind(probe.kind.calibrated_as).basis
        found = [np.empty((2, 0), np.int64)]
        for number, limit in enumerate(limits.tolist()):
            own = PreparedProfile.of(StrProfile.of_alleles(probe.arrays["alleles"][number]), model)
            slots = reference.prepared.possible(own)
            slots = slots[slots < limit]
            slots = slots[reference.prepared.refine(own, slots) >= least]
            found.append(np.stack([np.full(len(slots), number, np.int64), slots]))
        first, second = np.concatenate(found, axis=1)
        return first, second

    def raw(
        self, probe: Side, reference: Side, first: Rows, second: Rows, calibration: Calibration
    ) -> tuple[NDArray[np.float32], None]:
        """Log10 likelihood ratios."""
        alleles = probe.arrays["alleles"], reference.arrays["alleles"]
        return scores_of_pairs(*alleles, first, second, calibration.basis), None
