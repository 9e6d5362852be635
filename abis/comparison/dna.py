# SPDX-License-Identifier: Apache-2.0
"""Compare DNA profiles: the log10 likelihood ratio of one person against two unrelated people, or relatives.

A DNA profile needs no fitted calibration: the likelihood ratio follows from the frequencies of alleles. Formulas and
sources are in docs/dna.md. In short, for two single-source profiles:

- A locus with equal genotypes counts 1 / P, with P of equations 4.10a and 4.10b of National Research Council, "The
  Evaluation of Forensic DNA Evidence", 1996 (NRC II), after Balding and Nichols, "DNA profile match probability
  calculation", Forensic Science International 64, 1994. ``theta`` is the coancestry coefficient.
- At one locus of a pair of profiles, an allele may have dropped out or dropped in.
- With two or more such differences, or one that is no drop-out or drop-in, two profiles are not of one person. Samples
  may have been mixed up, which limits this evidence: the likelihood ratio is at least ``mix_up``.

The score is the same to the bit whichever of the two profiles is the probe, and on every CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abis.comparison.exact import log10, power_of_10
from abis.errors import ArgumentError
from abis.template import StrProfile
from abis.template.alleles import LOCI, AlleleFrequencies

__all__ = ["DnaModel", "DnaProbe", "LocusEvidence", "Relationship", "packed_profiles", "scores_of_pairs"]

Alleles = npt.NDArray[np.uint16]
_AT_ONCE = 65_536  # profiles compared at a time: some 6 MB
_EXCLUDED = 2  # differing loci from which on two profiles are not of one person


class Relationship(Enum):
    """How two people are related, by the chance that they share 0, 1 or 2 alleles of a locus by descent.

    The value has these chances (Cotterman's k0, k1, k2), and the number of meioses between the two shared alleles.
    """

    PARENT_CHILD = ((0.0, 1.0, 0.0), 1)
    FULL_SIBLINGS = ((0.25, 0.5, 0.25), 2)
    HALF_SIBLINGS = ((0.5, 0.5, 0.0), 2)


class LocusEvidence(NamedTuple):
    """The likelihood ratio of one locus, and how the genotypes differ.

    Attributes:
        locus: name of the locus.
        difference: "" for equal genotypes; ``drop-out or drop-in`` where one allele more or less explains the
            difference; ``different`` otherwise; ``no frequencies`` where the table lacks the locus.
        llr: log10 likelihood ratio of the locus; -inf where different, 0 without frequencies.
    """

    locus: str
    difference: str
    llr: float


@dataclass(frozen=True)
class DnaModel:
    """Frequencies and rates that a likelihood ratio of DNA depends on.

    Attributes:
        frequencies: of alleles in the population of the people who are compared.
        theta: coancestry coefficient, 0 or more and below 1. NRC II, recommendation 4.2: 0.01 for general populations
            of the USA, 0.03 for small isolated ones.
        drop_out: chance that an allele of a heterozygous locus is missing in one of two profiles.
        drop_in: chance that an allele is added at a homozygous locus in one of two profiles.
        mix_up: chance that one of the two samples is of another person than its label says. Set it to the rate that
            your programme has measured.

    Raises:
        ArgumentError: a rate is out of its range.
    """

    frequencies: AlleleFrequencies
    theta: float = 0.01
    drop_out: float = 1e-3
    drop_in: float = 1e-3
    mix_up: float = 1e-3

    def __post_init__(self) -> None:
        for name, least, most in (
            ("theta", 0.0, 0.5),
            ("drop_out", 0.0, 0.25),
            ("drop_in", 0.0, 0.25),
            ("mix_up", 1e-12, 0.5),
        ):
            if not least <= (value := getattr(self, name)) <= most:
                raise ArgumentError(f"{name} is {value}; expected {least:g} to {most:g}")

    @property
    def lowest(self) -> float:
        """The lowest log10 likelihood ratio: that of profiles that differ too much to be of one person."""
        return float(log10(np.array(self.mix_up)))

    @cached_property
    def highest(self) -> float:
        """A bound that no log10 likelihood ratio exceeds: the rarest genotypes at all loci."""
        total = 0.0
        for locus in self.frequencies.loci:
            rarest = self.frequencies.floor(locus)
            least = min(self._match_probability(rarest, rarest), self._match_probability(rarest, None))
            total -= float(log10(np.array(least)))
        return total

    def match_probability(self, locus: str, alleles: tuple[int, int]) -> float:
        """The chance that an unrelated person has a genotype that was seen once: NRC II, 4.10a and 4.10b.

        Args:
            locus: one that the table has.
            alleles: in tenths; equal where homozygous.
        """
        one, other = (self.frequencies.frequency(locus, allele) for allele in alleles)
        return self._match_probability(one, None if alleles[0] == alleles[1] else other)

    def explain(self, probe: StrProfile, reference: StrProfile) -> tuple[LocusEvidence, ...]:
        """The evidence of each locus that both profiles have, in the order of :data:`abis.template.alleles.LOCI`.

        If at most one locus differs, the sum over the loci is the score, except for the small effect of ``mix_up``.
        """
        found = []
        prepared = DnaProbe.of(probe, self)
        for place, locus in enumerate(LOCI):
            own, other = probe.alleles[place], reference.alleles[place]
            if not own[1] or not other[1]:
                continue
            if locus not in self.frequencies.frequencies:
                found.append(LocusEvidence(locus, "no frequencies", 0.0))
            elif (own == other).all():
                found.append(LocusEvidence(locus, "", float(prepared.equal[place])))
            else:
                llr = float(prepared.difference(place, other[np.newaxis])[0])
                kind = "drop-out or drop-in" if llr > -np.inf else "different"
                found.append(LocusEvidence(locus, kind, llr))
        return tuple(found)

    def relative_llr(
        self, probe: StrProfile, reference: StrProfile, relationship: Relationship, *, mutation: float = 0.002
    ) -> float:
        """The log10 likelihood ratio of two related people against two unrelated ones.

        It is evidence of a relationship, not of one person: never add it to a score. Loci are taken as independent;
        vWA and D12S391 are linked, which has a small effect for siblings.

        Args:
            probe: one profile.
            reference: the other; the order does not matter.
            relationship: of the two.
            mutation: chance of a mutation in a meiosis; a mutated allele is taken as drawn from the population.

        Raises:
            ArgumentError: the mutation rate is not from 0 to 0.1.
        """
        if not 0 <= mutation <= 0.1:
            raise ArgumentError(f"mutation is {mutation}; expected 0 to 0.1")
        (_, one, two), meioses = relationship.value
        kept = (1 - mutation) ** meioses  # the chance that an allele by descent is still the same
        one, two = one * kept + two * 2 * kept * (1 - kept), two * kept * kept
        none = 1 - one - two
        ratios = [1.0]
        for place, locus in enumerate(LOCI):
            own, other = (tuple(p.alleles[place].tolist()) for p in (probe, reference))
            if own[1] and other[1] and locus in self.frequencies.frequencies:
                ratios.append(self._related(locus, (min(own, other), max(own, other)), (none, one, two)))
        if min(ratios) <= 0:
            return -np.inf
        return float(log10(np.array(ratios)).sum())

    def _match_probability(self, one: float, other: float | None) -> float:
        """P of a genotype of two alleles of these frequencies, given the same once; None: homozygous."""
        t, rest = self.theta, 1 - self.theta
        if other is None:
            found = (2 * t + rest * one) * (3 * t + rest * one)
        else:
            found = 2 * (t + rest * one) * (t + rest * other)
        return min(1.0, found / self._denominator)  # above 1 only by the floor of a very small sample

    def _event_ratio(self, shared: float) -> float:
        """The likelihood ratio of a homozygous and a heterozygous genotype that share an allele of this frequency.

        Of one person, one of four alleles was lost, or one of the two profiles gained one. Frequencies of the other
        allele cancel; docs/dna.md has the derivation.
        """
        t, rest = self.theta, 1 - self.theta
        out = self._denominator / (4 * (t + rest * shared) * (2 * t + rest * shared))
        into = self._denominator / (4 * rest * (2 * t + rest * shared))
        return self.drop_out * out + self.drop_in * into

    @property
    def _denominator(self) -> float:
        return (1 + self.theta) * (1 + 2 * self.theta)

    def _drawn(self, locus: str, allele: int, seen: tuple[int, ...]) -> float:
        """The chance that the next allele of a subpopulation is this one, after ``seen`` (Balding and Nichols)."""
        frequency = self.frequencies.frequency(locus, allele)
        t = self.theta
        return (seen.count(allele) * t + (1 - t) * frequency) / (1 + (len(seen) - 1) * t)

    def _related(
        self, locus: str, pair: tuple[tuple[int, ...], tuple[int, ...]], shared: tuple[float, float, float]
    ) -> float:
        """The likelihood ratio of a locus: P(other | one) by the number of alleles shared by descent."""
        (one, other), (none, single, both) = pair, shared
        first, second = other
        unrelated = self._drawn(locus, first, one) * self._drawn(locus, second, (*one, first))
        if first != second:
            unrelated *= 2
        sharing_one = 0.0
        for allele in one:
            if allele == first:
                sharing_one += self._drawn(locus, second, one) / 2
            if allele == second != first:
                sharing_one += self._drawn(locus, first, one) / 2
        return none + single * sharing_one / unrelated + both * (one == other) / unrelated


class DnaProbe(NamedTuple):
    """A profile prepared for comparison with many.

    Attributes:
        template: the profile.
        model: what the likelihood ratio depends on.
        loci: (m,) places in LOCI that the profile and the table have.
        equal: (24,) float64, log10 likelihood ratio of an equal genotype at each locus; 0 at the others.
    """

    template: StrProfile
    model: DnaModel
    loci: npt.NDArray[np.int64]
    equal: npt.NDArray[np.float64]

    @classmethod
    def of(cls, template: StrProfile, model: DnaModel) -> DnaProbe:
        """Prepare a profile."""
        known = [
            place
            for place, locus in enumerate(LOCI)
            if template.alleles[place, 1] and locus in model.frequencies.frequencies
        ]
        chance = np.ones(len(LOCI))
        for place in known:
            low, high = template.alleles[place].tolist()
            chance[place] = model.match_probability(LOCI[place], (low, high))
        equal = -log10(chance)
        equal[known] += log10(np.array(1 - model.drop_out - model.drop_in))
        return cls(template, model, np.array(known, np.int64), equal)

    @property
    def lowest(self) -> float:
        """The raw score of profiles that are not of one person: the model's lowest, as float32 rounds it."""
        return float(np.float32(_possibly_mixed_up(np.array([-np.inf]), self.model.mix_up)[0]))

    def compare(
        self, references: Alleles, rows: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.float32]:
        """(m,) float32, log10 likelihood ratios with some rows of references, or with all.

        Args:
            references: (n, 24, 2) uint16 as :func:`packed_profiles` makes them.
            rows: (m,) int64.
        """
        count = len(references) if rows is None else len(rows)
        scores = np.empty(count, np.float32)
        for start in range(0, count, _AT_ONCE):
            end = min(count, start + _AT_ONCE)
            some = references[start:end] if rows is None else references[rows[start:end]]
            scores[start:end] = self._compared(some)
        return scores

    def difference(self, place: int, others: Alleles) -> npt.NDArray[np.float64]:
        """(n,) float64, log10 likelihood ratio of a locus at which genotypes (n, 2) differ from the probe's.

        -inf unless one of the two is homozygous, with an allele that the other has.
        """
        own = self.template.alleles[place]
        model, locus = self.model, LOCI[place]
        found = np.full(len(others), -np.inf)
        is_single = others[:, 0] == others[:, 1]
        for allele in sorted(set(own.tolist())):
            if own[0] == own[1]:
                fits = ~is_single & (others == allele).any(axis=1)
            else:
                fits = is_single & (others[:, 0] == allele)
            if fits.any() and (ratio := model._event_ratio(model.frequencies.frequency(locus, allele))) > 0:
                found[fits] = log10(np.array(ratio))
        return found

    def _compared(self, references: Alleles) -> npt.NDArray[np.float64]:
        rows = np.arange(len(references))
        different = np.zeros(len(references), np.uint8)
        for place in self.loci:  # most references are out after a few loci
            other = references[rows, place]
            different += (other[:, 1] != 0) & (other != self.template.alleles[place]).any(axis=1)
            stays = different < _EXCLUDED
            rows, different = rows[stays], different[stays]
        total = np.zeros(len(rows))
        for place in self.loci:  # always in this order: a sum depends on it
            other = references[rows, place]
            is_typed = other[:, 1] != 0
            is_equal = (other == self.template.alleles[place]).all(axis=1)
            total[is_equal] += self.equal[place]
            differs = np.flatnonzero(is_typed & ~is_equal)
            total[differs] += self.difference(int(place), other[differs])
        scores = np.full(len(references), -np.inf)
        scores[rows] = total
        return _possibly_mixed_up(scores, self.model.mix_up)


def packed_profiles(profiles: Sequence[StrProfile]) -> Alleles:
    """(n, 24, 2) uint16: the alleles of profiles, as :meth:`DnaProbe.compare` takes them."""
    return np.array([profile.alleles for profile in profiles], np.uint16).reshape(-1, len(LOCI), 2)


def scores_of_pairs(
    probes: Alleles,
    references: Alleles,
    probe: npt.NDArray[np.int64],
    reference: npt.NDArray[np.int64],
    model: DnaModel,
) -> npt.NDArray[np.float32]:
    """Scores of some pairs, equal to those of :meth:`DnaProbe.compare`. Quickest where equal probes follow each other.

    Args:
        probes: (n, 24, 2) uint16 as :func:`packed_profiles` makes them.
        references: (m, 24, 2) uint16.
        probe: (p,) int64, rows of probes.
        reference: (p,) int64, rows of references.
        model: what the scores depend on.

    Returns:
        (p,) float32.
    """
    scores = np.empty(len(probe), np.float32)
    starts = np.flatnonzero(np.diff(probe, prepend=-1))
    for start, end in zip(starts, np.append(starts[1:], len(probe)), strict=True):
        own = DnaProbe.of(StrProfile.of_alleles(probes[probe[start]]), model)
        scores[start:end] = own.compare(references, reference[start:end])
    return scores


def _possibly_mixed_up(llr: npt.NDArray[np.float64], chance: float) -> npt.NDArray[np.float64]:
    """log10((1 - chance) 10**llr + chance): if samples were mixed up, the two profiles are no evidence."""
    right, wrong = log10(np.array([1 - chance, chance]))
    own = llr + right
    largest = np.maximum(own, wrong)
    lesser = np.minimum(own, wrong)
    return np.asarray(largest + log10(1 + power_of_10(np.where(np.isinf(lesser), -400.0, lesser - largest))))
