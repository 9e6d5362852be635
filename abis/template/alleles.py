# SPDX-License-Identifier: Apache-2.0
"""Loci and alleles of DNA profiles (short tandem repeats, STR), and how frequent alleles are in a population.

An allele is a number of repeats. A microvariant such as 9.3 has nine whole repeats and three further bases. abis keeps
alleles in tenths, as whole numbers: 9.3 is 93.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TypeVar

from abis.errors import ArgumentError, TemplateError

__all__ = ["LOCI", "MAX_TENTHS", "AlleleFrequencies", "allele_in_tenths", "allele_text", "locus_named"]

LOCI = (
    *("CSF1PO", "FGA", "TH01", "TPOX", "VWA", "D3S1358", "D5S818", "D7S820", "D8S1179", "D13S317", "D16S539"),
    *("D18S51", "D21S11", "D1S1656", "D2S441", "D2S1338", "D10S1248", "D12S391", "D19S433", "D22S1045"),
    *("PENTA D", "PENTA E", "SE33", "D6S1043"),
)
"""The autosomal loci that abis compares: the 20 core loci of CODIS, and four more of the common kits.

The stored form of a profile names a locus by its place here, so the order never changes.
"""

MAX_TENTHS = 999
"""The largest allele is 99.9. The longest known alleles of these loci have some 55 repeats."""

_ALIASES = {"THO1": "TH01", "TP0X": "TPOX", "ACTBP2": "SE33", "PENTAD": "PENTA D", "PENTAE": "PENTA E"}
"""Other spellings. THO1 and TP0X, with letter and digit exchanged, are in the CODIS schema itself."""

_BY_KEY = {name.replace(" ", ""): name for name in LOCI} | _ALIASES
# Markers of sex: on X or Y, so their alleles do not follow the formulas of autosomal loci.
_IGNORED = re.compile(r"AMEL(OGENIN|X|Y|XY)?|DY[SF][0-9A-Z]+|YGATA[0-9A-Z]+|YINDEL|SRY")
_NOT_IN_KEY = re.compile(r"[\s_-]+")
_NUMBER = re.compile(r"[0-9]{1,2}(?:[.,][0-9]+)?")
_MOST_BASES = 4  # of an incomplete repeat of five
_TOLERANCE = Decimal("1e-4")  # of a float such as 9.3, which no binary number is exactly


def locus_named(name: str) -> str | None:
    """The locus with a name, spelt in any case, with or without spaces, hyphens and underscores.

    Args:
        name: such as ``vWA``, ``penta_d`` or ``d3s1358``.

    Returns:
        The name in :data:`LOCI`; None for amelogenin and markers of the Y chromosome, which are left out.

    Raises:
        TemplateError: the locus is unknown.

    >>> locus_named("penta_d"), locus_named("Amelogenin")
    ('PENTA D', None)
    """
    if not isinstance(name, str):
        raise TemplateError(f"locus {name!r} is not a name; expected text such as 'D3S1358'")
    key = _NOT_IN_KEY.sub("", name).upper()
    known = _BY_KEY.get(key)
    if known is None and not _IGNORED.fullmatch(key):
        raise TemplateError(f"unknown locus {name!r}; expected one of {', '.join(LOCI)}, or amelogenin")
    return known


def allele_in_tenths(value: object) -> int:
    """An allele in tenths of a repeat.

    Args:
        value: a number, or text in decimal digits with a point or a comma.

    Raises:
        TemplateError: the value is no number from 1 to 99.4 with at most one decimal, or the decimal is above 4: a
            repeat has at most five bases. So "7,9", which may mean two alleles, is refused.

    >>> allele_in_tenths(9.3), allele_in_tenths("9,3"), allele_in_tenths(15)
    (93, 93, 150)
    """
    text = "" if isinstance(value, bool) else str(value).strip()
    if _NUMBER.fullmatch(text):
        number = 10 * Decimal(text.replace(",", "."))
        tenths = number.to_integral_value()
        is_allele = 10 <= tenths <= MAX_TENTHS and tenths % 10 <= _MOST_BASES
        if is_allele and abs(number - tenths) < _TOLERANCE:
            return int(tenths)
    raise TemplateError(
        f"allele {value!r}; expected a number of repeats from 1 to 99 with at most one decimal, .1 to .4, such as 9.3. "
        "Leave out a locus with an allele off the ladder"
    )


def allele_text(tenths: int) -> str:
    """An allele as it is written: 93 is ``9.3``, 150 is ``15``."""
    whole, part = divmod(tenths, 10)
    return f"{whole}.{part}" if part else str(whole)


@dataclass(frozen=True, eq=False)
class AlleleFrequencies:
    """How frequent alleles are in a population: counts of a published table or of your own sample.

    Attributes:
        population: name of the population, 1 to 255 characters.
        people: number of people sampled, by locus.
        frequencies: the frequency of each allele by its tenths, by locus: above 0, at most 1. Alleles that were not
            seen are left out.

    Raises:
        ArgumentError: a rule is broken, or the frequencies of a locus do not sum to 1 within 0.03; the message names
            the locus.
    """

    population: str
    people: Mapping[str, int]
    frequencies: Mapping[str, Mapping[int, float]]

    def __post_init__(self) -> None:
        if not 1 <= len(self.population.strip()) <= 255:
            raise ArgumentError("population is empty or longer than 255 characters; expected its name")
        if not self.frequencies:
            raise ArgumentError("frequencies are of no locus; expected at least one")
        for locus, table in self.frequencies.items():
            if locus not in LOCI:
                raise ArgumentError(f"unknown locus {locus!r}; expected one of {', '.join(LOCI)}")
            if self.people.get(locus, 0) < 1:
                raise ArgumentError(
                    f"{locus}: number of people is missing; the floor of rare alleles needs it"
                )
            for allele, frequency in table.items():
                if not (0 < allele <= MAX_TENTHS and 0 < frequency <= 1):
                    raise ArgumentError(
                        f"{locus}: frequency of allele {allele_text(allele)} is {frequency}; expected 0 to 1"
                    )
            total = math.fsum(table.values())
            if abs(total - 1) > _SUM_TOLERANCE:
                raise ArgumentError(
                    f"{locus}: frequencies sum to {total:.4f}; expected 1 within {_SUM_TOLERANCE}"
                )
        fixed = {name: MappingProxyType(dict(sorted(own.items()))) for name, own in self.frequencies.items()}
        object.__setattr__(self, "frequencies", MappingProxyType(_in_order(fixed)))
        own_people = {name: int(self.people[name]) for name in self.frequencies}
        object.__setattr__(self, "people", MappingProxyType(_in_order(own_people)))

    @property
    def loci(self) -> tuple[str, ...]:
        """The loci that there are frequencies of, in the order of :data:`LOCI`."""
        return tuple(self.frequencies)

    def floor(self, locus: str) -> float:
        """The least frequency that is used: 5/(2N) of N people, at most 1 (NRC II 1996, chapter 5, rare alleles)."""
        return min(1.0, 5 / (2 * self.people[locus]))

    def frequency(self, locus: str, allele: int) -> float:
        """The frequency that likelihood ratios use: at least :meth:`floor`, also of an allele that was never seen.

        Args:
            locus: one of :attr:`loci`.
            allele: in tenths.
        """
        return max(self.floor(locus), self.frequencies[locus].get(allele, 0.0))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all content, in hexadecimal digits."""
        content = [
            self.population,
            *(
                f"{locus} {self.people[locus]} {' '.join(f'{a}:{f!r}' for a, f in table.items())}"
                for locus, table in self.frequencies.items()
            ),
        ]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AlleleFrequencies) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[object, ...]:  # a MappingProxyType cannot be pickled
        plain = {locus: dict(table) for locus, table in self.frequencies.items()}
        return AlleleFrequencies, (self.population, dict(self.people), plain)

    def __repr__(self) -> str:
        return f"AlleleFrequencies({self.population!r}, {len(self.frequencies)} loci)"


_SUM_TOLERANCE = 0.03  # published tables are rounded to three or four decimals, and may lack rare alleles


_Value = TypeVar("_Value")


def _in_order(by_locus: Mapping[str, _Value]) -> dict[str, _Value]:
    return {locus: by_locus[locus] for locus in LOCI if locus in by_locus}
