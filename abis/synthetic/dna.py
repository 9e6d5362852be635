# SPDX-License-Identifier: Apache-2.0
"""Made-up allele frequencies and DNA profiles, for tests, measurements and demonstrations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abis.template.alleles import LOCI, AlleleFrequencies

__all__ = ["draw_profiles", "made_up_frequencies"]

_FIRST_ALLELE = 60  # tenths
_MICROVARIANT = 3  # of one locus in four, an allele has three further bases, as TH01 9.3 has


def made_up_frequencies(*, seed: int = 0, people: int = 1_000) -> AlleleFrequencies:
    """A table of 24 loci with 7 to 18 alleles each, about as informative as those of real kits.

    Args:
        seed: of the random numbers.
        people: number of people that the table pretends to be of.
    """
    random = np.random.default_rng([seed, 1])
    frequencies = {}
    for number, locus in enumerate(LOCI):
        count = int(random.integers(7, 19))
        alleles = _FIRST_ALLELE + 10 * np.arange(count)
        if number % 4 == 2:
            alleles[count // 2] += _MICROVARIANT
        share = np.maximum(random.dirichlet(np.full(count, 1.5)), 1e-4)
        frequencies[locus] = dict(zip(alleles.tolist(), (share / share.sum()).tolist(), strict=True))
    return AlleleFrequencies("made up", dict.fromkeys(LOCI, people), frequencies)


def draw_profiles(frequencies: AlleleFrequencies, count: int, *, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Profiles of unrelated people, both alleles of a locus drawn independently.

    Args:
        frequencies: of all 24 loci.
        count: number of people.
        seed: of the random numbers.

    Returns:
        (count, 24, 2) uint16, as the attribute ``alleles`` of :class:`abis.StrProfile` has them.
    """
    random = np.random.default_rng([seed, 2])
    alleles = np.empty((count, len(LOCI), 2), np.uint16)
    for place, locus in enumerate(LOCI):
        table = frequencies.frequencies[locus]
        share = np.array(list(table.values()))
        names = np.array(list(table), np.uint16)
        alleles[:, place] = np.sort(
            names[random.choice(len(names), (count, 2), p=share / share.sum())], axis=1
        )
    return alleles
