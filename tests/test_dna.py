# SPDX-License-Identifier: Apache-2.0
"""DNA profiles, their likelihood ratios, their index and their files."""

from __future__ import annotations

import math
import pickle
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import combinations_with_replacement
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import abis
from abis.comparison.dna import DnaModel, DnaProbe, Relationship, packed_profiles
from abis.errors import ArgumentError, FormatError, TemplateError
from abis.formats import codis, native
from abis.formats.str_tables import read_frequencies, read_profiles, write_profiles
from abis.index.dna_index import DnaIndex, PreparedProfile
from abis.scoring.dna import DnaCalibration, calibration_of_json
from abis.scoring.thresholds import highest_score, threshold_for_fmr
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import StrProfile
from abis.template.alleles import LOCI, AlleleFrequencies, allele_in_tenths, allele_text, locus_named

MANY = 10**9  # people: the floor of rare alleles is far below every frequency


def profile(changed: Mapping[str, object] | None = None, *, count: int = 15) -> StrProfile:
    """A profile of the first ``count`` loci, all 12/13 but for those given."""
    given = dict(changed or {})
    named = {locus_named(name) for name in given}
    return StrProfile(genotypes={locus: [12, 13] for locus in LOCI[:count] if locus not in named} | given)


def table(frequencies: Mapping[str, Mapping[float, float]], people: int = MANY) -> AlleleFrequencies:
    """Frequencies by locus and allele; what lacks to 1 has allele 99."""
    filled = {
        locus: {allele_in_tenths(a): f for a, f in own.items()}
        | ({990: rest} if (rest := 1 - sum(own.values())) > 1e-9 else {})
        for locus, own in frequencies.items()
    }
    return AlleleFrequencies("test", dict.fromkeys(filled, people), filled)


def exact_model(frequencies: AlleleFrequencies, *, theta: float = 0.0) -> DnaModel:
    return DnaModel(frequencies, theta=theta, drop_out=0, drop_in=0, mix_up=1e-12)


def llr(model: DnaModel, one: StrProfile, other: StrProfile) -> float:
    return float(DnaProbe.of(one, model).compare(packed_profiles([other]))[0])


# --- profiles ---------------------------------------------------------------------------------------------


def test_a_profile_takes_names_and_alleles_as_people_write_them() -> None:
    one = profile(
        {"th01": [9.3, "6"], "vWA": ["17"], "penta_d": ("9,3", 13), "AMEL": ["X", "Y"], "DYS391": [10]}
    )
    assert one.genotypes["TH01"] == ("6", "9.3")
    assert one.genotypes["VWA"] == ("17", "17")
    assert one.genotypes["PENTA D"] == ("9.3", "13")
    assert len(one) == 16
    assert "AMEL" not in one.genotypes
    assert one == profile({"TH01": [6, 9.3], "VWA": [17, 17.0], "PENTA D": [13, np.float32(9.3)]})
    assert one.position is abis.Position.DNA
    assert "9.3" not in repr(one)


@pytest.mark.parametrize(
    ("genotypes", "fault"),
    [
        ({"TH01": [6, 7, 9.3]}, "TH01 has 3 alleles"),
        ({"TH01": []}, "TH01 has 0 alleles"),
        ({"TH01": 9.3}, "expected one or two alleles"),
        ({"TH01": "6,9"}, "expected one or two alleles"),
        ({"TH01": [6, "OL"]}, "TH01: allele 'OL'"),
        ({"TH01": [0, 6]}, "TH01: allele 0"),
        ({"TH01": [-6, 6]}, "allele -6"),
        ({"TH01": [100, 6]}, "allele 100"),
        ({"TH01": [9.35, 6]}, r"allele 9\.35"),
        ({"TH01": [math.nan, 6]}, "allele nan"),
        ({"TH01": [math.inf, 6]}, "allele inf"),
        ({"TH01": [True, 6]}, "allele True"),
        ({"TH01": ["1_5", 6]}, "allele '1_5'"),
        ({"TH01": ["<8", 6]}, "allele '<8'"),
        ({"TH01": ["7,9"]}, "allele '7,9'"),  # two alleles, or one?
        ({"th01": [6, 7]}, "TH01 stands twice"),
        ({"D3S135": [6, 7]}, "unknown locus 'D3S135'"),
        ({7: [6, 7]}, "locus 7 is not a name"),
    ],
)
def test_an_impossible_profile_is_refused(genotypes: dict[str, object], fault: str) -> None:
    others = {locus: [12, 13] for locus in LOCI if locus != "TH01" or "th01" in genotypes}
    with pytest.raises(TemplateError, match=fault):
        StrProfile(genotypes=others | genotypes)


def test_a_profile_has_13_to_24_loci() -> None:
    assert len(profile(count=13)) == 13
    assert len(profile(count=24)) == 24
    with pytest.raises(TemplateError, match="12 loci; expected 13 to 24"):
        profile(count=12)
    with pytest.raises(TemplateError, match="12 loci"):  # amelogenin is no locus
        StrProfile(genotypes={locus: [12] for locus in LOCI[:12]} | {"Amelogenin": ["X"]})


@pytest.mark.parametrize("genotypes", [None, [("TH01", [6])], "TH01 6"])
def test_a_profile_is_made_of_a_mapping(genotypes: Any) -> None:
    with pytest.raises(TemplateError, match="expected a mapping"):
        StrProfile(genotypes=genotypes)


@pytest.mark.parametrize(
    "name", ["Amelogenin", "AMEL", "amel x", "DYS391", "DYS389 II", "DYF387S1", "YGATAH4", "Y-indel"]
)
def test_markers_of_sex_are_left_out(name: str) -> None:
    assert locus_named(name) is None


@pytest.mark.parametrize(
    ("spelt", "name"), [("THO1", "TH01"), ("tp0x", "TPOX"), ("ActBP2", "SE33"), ("Penta-E", "PENTA E")]
)
def test_a_locus_has_other_spellings(spelt: str, name: str) -> None:
    assert locus_named(spelt) == name


@settings(deadline=None)
@given(st.integers(1, 99), st.integers(0, 4))
def test_an_allele_is_written_and_read(repeats: int, bases: int) -> None:
    tenths = 10 * repeats + bases
    assert allele_in_tenths(allele_text(tenths)) == tenths
    assert allele_in_tenths(tenths / 10) == tenths
    assert allele_in_tenths(float(np.float32(tenths / 10))) == tenths


def test_a_profile_cannot_be_forged() -> None:
    one = profile()
    assert pickle.loads(pickle.dumps(one)) == one
    assert native.read(native.write(one)) == one
    with pytest.raises(ValueError, match="read-only"):
        one.alleles[0, 0] = 5
    for place, pair, fault in (
        (0, (130, 120), "smaller first"),
        (0, (0, 120), "tenths"),
        (0, (120, 1000), "tenths"),
    ):
        alleles = one.alleles.copy()
        alleles[place] = pair
        with pytest.raises(TemplateError, match=fault):
            StrProfile.of_alleles(alleles)
    with pytest.raises(TemplateError, match="uint16 of shape"):
        StrProfile.of_alleles(one.alleles.astype(np.int64))


@settings(deadline=None)
@given(st.data())
def test_bytes_that_are_changed_are_a_profile_or_a_fault(data: st.DataObject) -> None:
    stored = bytearray(native.write(profile()))
    place = data.draw(st.integers(4, len(stored) - 1))
    stored[place] = data.draw(st.integers(0, 255))
    try:
        found = native.read(bytes(stored))
    except FormatError:
        return
    assert native.read(native.write(found)) == found


# --- likelihood ratios, by hand ---------------------------------------------------------------------------


def test_a_match_counts_as_two_published_locus_examples() -> None:
    """University of the West of England, Bristol, forensic statistics tutorial "DNA 06".

    D16 10/10 with p = 0.063; D8 11/13 with 0.069 and 0.333. The tutorial's answers are 0.0117, 0.0574 and a likelihood
    ratio of 1489. By the formulas at theta = 0.02 the second is 0.0572, and the ratio 1497: it rounds a little else.
    """
    model = exact_model(table({"D16S539": {10: 0.063}, "D8S1179": {11: 0.069, 13: 0.333}}), theta=0.02)
    homozygous = (0.04 + 0.98 * 0.063) * (0.06 + 0.98 * 0.063) / (1.02 * 1.04)
    heterozygous = 2 * (0.02 + 0.98 * 0.069) * (0.02 + 0.98 * 0.333) / (1.02 * 1.04)
    assert round(homozygous, 4) == 0.0117
    assert heterozygous == pytest.approx(0.0574, rel=0.005)
    assert model.match_probability("D16S539", (100, 100)) == pytest.approx(homozygous, rel=1e-12)
    assert model.match_probability("D8S1179", (110, 130)) == pytest.approx(heterozygous, rel=1e-12)
    one = profile({"D16S539": [10], "D8S1179": [11, 13]})
    assert 10 ** llr(model, one, one) == pytest.approx(1489, rel=0.01)


def test_without_theta_a_match_is_the_product_rule() -> None:
    """TH01 6/9.3 with 0.2 and 0.3 (2pq = 0.12), TPOX 8 with 0.5 (p squared = 0.25), FGA 22/24: 2 * 0.1 * 0.2 = 0.04."""
    model = exact_model(table({"TH01": {6: 0.2, 9.3: 0.3}, "TPOX": {8: 0.5}, "FGA": {22: 0.1, 24: 0.2}}))
    one = profile({"TH01": [6, 9.3], "TPOX": [8], "FGA": [24, 22]})
    assert llr(model, one, one) == pytest.approx(-math.log10(0.12 * 0.25 * 0.04), abs=1e-6)
    contributions = {evidence.locus: evidence.llr for evidence in model.explain(one, one)}
    assert contributions["TPOX"] == pytest.approx(math.log10(4), abs=1e-12)
    assert contributions["VWA"] == 0  # no frequencies


def test_a_rare_allele_counts_as_seen_five_times() -> None:
    """NRC II, chapter 5: of 200 people, 400 alleles, the least frequency is 5/400 = 0.0125."""
    model = exact_model(table({"TH01": {6: 0.2, 7: 0.001}}, people=200))
    assert model.match_probability("TH01", (60, 70)) == pytest.approx(2 * 0.2 * 0.0125)
    assert model.match_probability("TH01", (60, 113)) == pytest.approx(2 * 0.2 * 0.0125)  # never seen
    assert model.match_probability("TH01", (113, 113)) == pytest.approx(0.0125**2)
    assert AlleleFrequencies("two people", {"TH01": 2}, {"TH01": {60: 1.0}}).floor("TH01") == 1


def _sampled(
    alleles: Sequence[str], frequency: Mapping[str, Fraction], theta: Fraction, seen: Sequence[str] = ()
) -> Fraction:
    """The chance of alleles, one after the other, by the sampling formula of Balding and Nichols (1994)."""
    chance, known = Fraction(1), list(seen)
    for allele in alleles:
        chance *= (known.count(allele) * theta + (1 - theta) * frequency[allele]) / (
            1 + (len(known) - 1) * theta
        )
        known.append(allele)
    return chance


SHARES = {"a": Fraction(1, 10), "b": Fraction(3, 10), "c": Fraction(6, 10)}
NUMBERS = {"a": 8.0, "b": 9.3, "c": 11.0}
GENOTYPES = list(combinations_with_replacement("abc", 2))


def _sorted(genotype: tuple[str, ...]) -> tuple[str, str]:
    one, other = sorted(genotype)
    return one, other


def _unordered(genotype: tuple[str, str]) -> int:
    return 1 if genotype[0] == genotype[1] else 2


@pytest.mark.parametrize("theta", [Fraction(0), Fraction(1, 100), Fraction(3, 100), Fraction(1, 4)])
def test_match_probabilities_are_those_of_the_sampling_formula(theta: Fraction) -> None:
    model = exact_model(
        table({"TH01": {NUMBERS[a]: float(f) for a, f in SHARES.items()}}), theta=float(theta)
    )
    for genotype in GENOTYPES:
        expected = _unordered(genotype) * _sampled(genotype, SHARES, theta, genotype)
        tenths = tuple(allele_in_tenths(NUMBERS[a]) for a in genotype)
        assert model.match_probability("TH01", (tenths[0], tenths[1])) == pytest.approx(
            float(expected), rel=1e-7
        )


@pytest.mark.parametrize("theta", [Fraction(0), Fraction(1, 100), Fraction(1, 4)])
def test_one_drop_out_or_drop_in_is_as_likely_as_its_enumeration_says(theta: Fraction) -> None:
    """Every way to lose or gain one allele is listed with exact fractions, and compared with the closed form."""
    out, into = Fraction(1, 50), Fraction(1, 80)
    joint: dict[tuple[tuple[str, str], tuple[str, str]], Fraction] = {}

    def add(one: tuple[str, ...], other: tuple[str, ...], chance: Fraction) -> None:
        for pair in ((one, other), (other, one)):  # either of the two profiles has the fault
            key = _sorted(pair[0]), _sorted(pair[1])
            joint[key] = joint.get(key, Fraction(0)) + chance / 2

    for genotype in GENOTYPES:
        true = _unordered(genotype) * _sampled(genotype, SHARES, theta)
        add(genotype, genotype, true * (1 - out - into))
        if genotype[0] != genotype[1]:
            for lost in genotype:
                kept = next(a for a in genotype if a != lost)
                add(genotype, (kept, kept), true * out / 2)
        else:
            for gained, share in SHARES.items():
                if gained != genotype[0]:
                    add(genotype, (genotype[0], gained), true * into * share)
    frequencies = table({"TH01": {NUMBERS[a]: float(f) for a, f in SHARES.items()}})
    model = DnaModel(frequencies, theta=float(theta), drop_out=float(out), drop_in=float(into), mix_up=1e-12)
    mean = Fraction(0)
    for one in GENOTYPES:
        for other in GENOTYPES:
            unrelated = _unordered(one) * _sampled(one, SHARES, theta)
            unrelated *= _unordered(other) * _sampled(other, SHARES, theta, one)
            expected = joint.get((one, other), Fraction(0)) / unrelated
            mean += joint.get((one, other), Fraction(0))
            found = 10 ** llr(
                model, *(profile({"TH01": [NUMBERS[a] for a in genotype]}) for genotype in (one, other))
            )
            assert found == pytest.approx(float(expected), rel=1e-5, abs=1e-11)
    assert (
        0.9 < mean <= 1
    )  # the mean likelihood ratio of unrelated people, on which Markov's inequality stands


def test_more_than_one_difference_says_no_more_than_that_samples_may_be_mixed_up() -> None:
    model = DnaModel(made_up_frequencies(), mix_up=1e-3)
    one = profile(count=24)
    dropped = profile({"TH01": [12]}, count=24)
    assert 0 < llr(model, one, dropped) < llr(model, one, one)
    for other in (
        profile({"TH01": [12], "TPOX": [12]}, count=24),  # two drop-outs
        profile({"TH01": [12, 14]}, count=24),  # one lost and one gained
        profile({"TH01": [20]}, count=24),
        profile({locus: [20] for locus in LOCI}, count=24),
    ):
        assert llr(model, one, other) == pytest.approx(-3, abs=1e-6)
    strict = DnaModel(made_up_frequencies(), drop_out=0, drop_in=0)
    assert llr(strict, one, dropped) == pytest.approx(-3, abs=1e-6)


def test_loci_that_one_profile_lacks_say_nothing() -> None:
    model = DnaModel(made_up_frequencies())
    long, short = profile(count=24), profile(count=13)
    assert llr(model, long, short) == llr(model, short, long) == llr(model, short, short)
    nothing = StrProfile(genotypes={locus: [12, 13] for locus in LOCI[11:]})
    own = exact_model(table({LOCI[0]: {12: 0.5, 13: 0.5}}))
    assert llr(own, long, nothing) == pytest.approx(0, abs=1e-9)


# --- relatives, by published tables -----------------------------------------------------------------------

P, Q, R = 0.1, 0.3, 0.2
RELATED: dict[str, dict[float, float]] = {"TH01": {6: P, 7: Q, 8: R}}

# C. Brenner, dna-view.com/sibfmla.htm: full siblings : half siblings : unrelated.
SIBLINGS = [
    ([6, 7], [6, 7], (1 + P + Q + 2 * P * Q, P + Q + 4 * P * Q, 8 * P * Q)),
    ([6], [6], ((1 + P) ** 2, 2 * P * (1 + P), (2 * P) ** 2)),
    ([6], [6, 7], (1 + P, 1 + 2 * P, 4 * P)),
    ([6, 7], [6, 8], (1 + 2 * P, 1 + 4 * P, 8 * P)),
    ([6, 7], [8], (1, 2, 4)),
]


@pytest.mark.parametrize(("one", "other", "shares"), SIBLINGS)
def test_siblings_follow_the_published_proportions(
    one: list[float], other: list[float], shares: tuple[float, float, float]
) -> None:
    model = exact_model(table(RELATED))
    first, second = profile({"TH01": one}), profile({"TH01": other})
    for relationship, share in (
        (Relationship.FULL_SIBLINGS, shares[0]),
        (Relationship.HALF_SIBLINGS, shares[1]),
    ):
        found = model.relative_llr(first, second, relationship, mutation=0)
        assert found == pytest.approx(math.log10(share / shares[2]), abs=1e-6)
        assert found == model.relative_llr(second, first, relationship, mutation=0)


# BMC Genetics 3:23 (2002), table 1: P(genotypes | parent and child) and P(genotypes | unrelated).
PARENTS = [
    ([6], [6], P**3, P**4),
    ([6], [6, 7], 2 * P**2 * Q, 4 * P**3 * Q),
    ([6, 7], [6, 7], P * Q * (P + Q), 4 * P**2 * Q**2),
    ([6, 7], [6, 8], 2 * P * Q * R, 8 * P**2 * Q * R),
]


@pytest.mark.parametrize(("one", "other", "related", "unrelated"), PARENTS)
def test_parent_and_child_follow_the_published_table(
    one: list[float], other: list[float], related: float, unrelated: float
) -> None:
    model = exact_model(table(RELATED))
    found = model.relative_llr(
        profile({"TH01": one}), profile({"TH01": other}), Relationship.PARENT_CHILD, mutation=0
    )
    assert found == pytest.approx(math.log10(related / unrelated), abs=1e-6)


def test_a_parent_shares_an_allele_of_each_locus_but_for_a_mutation() -> None:
    model = exact_model(table(RELATED))
    first, second = profile({"TH01": [6]}), profile({"TH01": [7, 8]})
    assert model.relative_llr(first, second, Relationship.PARENT_CHILD, mutation=0) == -np.inf
    found = model.relative_llr(first, second, Relationship.PARENT_CHILD, mutation=0.002)
    assert found == pytest.approx(math.log10(0.002), abs=1e-9)
    with pytest.raises(ArgumentError, match=r"mutation is 0\.5"):
        model.relative_llr(first, second, Relationship.PARENT_CHILD, mutation=0.5)


@pytest.mark.parametrize("relationship", Relationship)
@pytest.mark.parametrize("theta", [0.0, 0.03])
def test_the_mean_ratio_of_relatives_over_unrelated_people_is_one(
    relationship: Relationship, theta: float
) -> None:
    shares = {allele: float(f) for allele, f in SHARES.items()}
    model = exact_model(table({"TH01": {NUMBERS[a]: f for a, f in shares.items()}}), theta=theta)
    exact = Fraction(theta).limit_denominator(1000)
    mean = 0.0
    for one in GENOTYPES:
        for other in GENOTYPES:
            chance = _unordered(one) * _unordered(other) * _sampled([*one, *other], SHARES, exact)
            first, second = (profile({"TH01": [NUMBERS[a] for a in genotype]}) for genotype in (one, other))
            mean += float(chance) * 10 ** model.relative_llr(first, second, relationship)
    assert mean == pytest.approx(1, abs=1e-6)


# --- scores are the same from both sides, and search loses nothing -----------------------------------------


def _family(seed: int, count: int, alleles: int) -> npt.NDArray[np.uint16]:
    """Profiles of few alleles, some copied with a change, some loci not typed."""
    random = np.random.default_rng(seed)
    found = np.sort(random.integers(0, alleles, (count, len(LOCI), 2)) * 10 + 60, axis=2).astype(np.uint16)
    for row in range(1, count):
        if random.random() < 0.6:
            found[row] = found[random.integers(row)]
            for place in random.choice(len(LOCI), random.integers(0, 3), replace=False):
                found[row, place] = random.choice([found[row, place, 0], 60 + 10 * alleles])
    found.sort(axis=2)
    for row in range(count):
        found[row, random.choice(len(LOCI), random.integers(0, 12), replace=False)] = 0
    return found


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32), count=st.integers(1, 60), alleles=st.integers(1, 6), wanted=st.integers(1, 70)
)
def test_the_index_finds_what_comparing_all_finds(seed: int, count: int, alleles: int, wanted: int) -> None:
    rows = _family(seed, count + 1, alleles)
    model = DnaModel(made_up_frequencies())
    probe = PreparedProfile.of(StrProfile.of_alleles(rows[0]), model)
    index = DnaIndex.of([StrProfile.of_alleles(row) for row in rows[1:]])
    every = index.compare(probe)
    scores, slots = index.nearest(probe, wanted)
    order = np.lexsort((np.arange(count), -every))[:wanted]
    np.testing.assert_array_equal(slots, order)
    np.testing.assert_array_equal(scores, every[order].astype(np.float64))
    np.testing.assert_array_equal(index.compare(probe, slots), every[slots])
    again = DnaIndex.from_arrays(index.arrays())
    np.testing.assert_array_equal(again.nearest(probe, wanted)[1], slots)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), alleles=st.integers(1, 6))
def test_the_order_of_two_profiles_does_not_matter(seed: int, alleles: int) -> None:
    one, other = (StrProfile.of_alleles(row) for row in _family(seed, 2, alleles))
    model = DnaModel(made_up_frequencies())
    assert llr(model, one, other) == llr(model, other, one)
    assert model.lowest - 1e-6 <= llr(model, one, other) <= model.highest
    for relationship in Relationship:
        assert model.relative_llr(one, other, relationship) == model.relative_llr(other, one, relationship)
    parts = model.explain(one, other)
    assert [(p.locus, p.llr) for p in parts] == [(p.locus, p.llr) for p in model.explain(other, one)]
    if sum(bool(p.difference) for p in parts) <= 1 and min((p.llr for p in parts), default=0) > -np.inf:
        assert llr(model, one, other) == pytest.approx(sum(p.llr for p in parts), abs=2e-3)


def test_strangers_rarely_reach_a_threshold_and_copies_always_do() -> None:
    """The threshold of an FMR of 1e-2 by Markov's inequality, on 40,000 pairs of unrelated synthetic people."""
    frequencies = made_up_frequencies()
    model = DnaModel(frequencies)
    calibration = DnaCalibration.of(model)
    threshold = threshold_for_fmr(1e-6, [[calibration]])
    assert threshold == 6
    rows = draw_profiles(frequencies, 200)
    for number in range(0, 200, 10):
        scores = DnaProbe.of(StrProfile.of_alleles(rows[number]), model).compare(rows)
        assert scores[number] > 15
        assert (np.delete(scores, number) < 0).all()
    assert highest_score([[calibration]]) > 20


@pytest.mark.parametrize(
    ("rates", "fault"),
    [
        ({"theta": -0.1}, "theta is -0.1"),
        ({"drop_out": 0.5}, "drop_out"),
        ({"mix_up": 0}, "mix_up"),
        ({"theta": math.nan}, "theta"),
    ],
)
def test_a_model_with_impossible_rates_is_refused(rates: dict[str, float], fault: str) -> None:
    with pytest.raises(ArgumentError, match=fault):
        DnaModel(made_up_frequencies(), **rates)


def test_a_calibration_is_kept_as_json() -> None:
    calibration = DnaCalibration.of(DnaModel(made_up_frequencies(people=321), theta=0.03))
    again = calibration_of_json(calibration.to_json())
    assert again == calibration
    assert hash(again) == hash(calibration)
    assert again != DnaCalibration.of(DnaModel(made_up_frequencies(people=321), theta=0.02))
    np.testing.assert_array_equal(again.llr(np.array([1.5, -3], np.float32)), [1.5, -3])
    for text in ("{", '{"format": "abis dna calibration"}', calibration.to_json().replace("TH01", "TH0l")):
        with pytest.raises(FormatError):
            DnaCalibration.from_json(text)


# --- files ------------------------------------------------------------------------------------------------

WIDE = "sample;TH01;vWA;Amelogenin;note\n" + "p1;6/9,3;17;X/Y;first\n"


def _loci(count: int) -> str:
    return ";".join(LOCI[5 : 5 + count])


def _row(count: int) -> str:
    return ";".join(["12/13"] * count)


def test_a_table_of_people_is_read_and_written() -> None:
    people = {"079": profile({"TH01": [6, 9.3], "VWA": [17]}), "=1": profile(count=24)}
    found = list(read_profiles(write_profiles(people)))
    assert [(row.sample, row.profile, row.fault) for row in found] == [(k, v, "") for k, v in people.items()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_table_has_any_delimiter(delimiter: str, mark: str) -> None:
    decimal = "." if delimiter == "," else ","
    text = f"{mark}Sample Name;th01;{_loci(13)};AMEL;note\np 1;6/9{decimal}3;{_row(13)};X/Y;any\np 2;6;{_row(13)};X;\n"
    first, second = read_profiles(text.replace(";", delimiter).encode())
    assert first.sample == "p 1"
    assert first.profile is not None
    assert second.profile is not None
    assert first.profile.genotypes["TH01"] == ("6", "9.3")
    assert second.profile.genotypes["TH01"] == ("6", "6")


@pytest.mark.parametrize("cell", ["6/9.3", "6, 9.3", "6 9.3", "6|9.3", " 6 / 9.3 "])
def test_alleles_are_separated_in_several_ways(cell: str) -> None:
    text = f"id;TH01;{_loci(13)}\nx;{cell};{_row(13)}\n"
    (row,) = read_profiles(text.encode())
    assert row.profile is not None, row.fault
    assert row.profile.genotypes["TH01"] == ("6", "9.3")


def test_a_locus_may_have_two_columns() -> None:
    text = f"id,TH01 1,TH01 2,vWA_1,vWA_2,FGA,FGA,{','.join(LOCI[5:17])}\nx,6,9.3,17,,22,24{',12/13' * 12}\n"
    (row,) = read_profiles(text.encode())
    assert row.fault == ""
    assert row.profile is not None
    assert {locus: row.profile.genotypes[locus] for locus in ("TH01", "VWA", "FGA")} == {
        "TH01": ("6", "9.3"),
        "VWA": ("17", "17"),
        "FGA": ("22", "24"),
    }


def test_a_table_of_loci_is_read() -> None:
    lines = ["Sample Name\tMarker\tDye\tAllele 1\tAllele 2\tAllele 3\tHeight 1"]
    lines += [f"p1\t{locus}\tB\t12\t13\t\t900" for locus in LOCI[:13]]
    lines += ["p1\tAMEL\tB\tX\tY\t\t900", "p2\tD3S1358\tB\t15\t\t\t900"]
    first, second = read_profiles("\n".join(lines).encode())
    assert first.profile == profile(count=13)
    assert second.sample == "p2"
    assert "1 loci" in second.fault


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"sample;{_loci(13)};TH01\nx;{_row(13)};6/7/8\n", "TH01 has 3 alleles"),
        (f"sample;{_loci(13)};TH01\nx;{_row(13)};OL\n", "allele 'OL'"),
        (f"sample;{_loci(13)};TH01;th01\nx;{_row(13)};6/7;6/7\n", "TH01 stands twice"),
        (f"sample;{_loci(11)}\nx;{_row(11)}\n", "11 loci; expected 13 to 24"),
        (f"sample;{_loci(13)};TH01\nx;{_row(13)};6/7;8;9\n", "cells; expected 15"),
        (f"sample,{_loci(13)},TH01\nx,{_row(13)},6/9,3\n".replace(";", ","), "a comma"),
    ],
)
def test_a_faulty_row_says_what_is_wrong(text: str, fault: str) -> None:
    (row,) = read_profiles(text.encode())
    assert row.profile is None
    assert fault in row.fault
    assert row.place == "line 2"
    with pytest.raises(FormatError, match="line 2"):
        abis.read(text.encode())


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "empty"),
        (b"\xff\xfea\0b\0", "not UTF-8"),
        (b"sample,note\nx,y\n", "no column is named after a locus"),
        (b"sample,D3S135,TH01\nx,6/7,6/7\n", "unknown locus 'D3S135'"),
        (b"sample,TH01,TH01,TH01\nx,6,7,8\n", "TH01 has 3 columns"),
        (b"sample,marker\nx,TH01\n", "none of alleles"),
    ],
)
def test_a_faulty_table_says_what_is_wrong(data: bytes, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        list(read_profiles(data))


def test_a_duplicated_locus_in_a_table_of_loci_is_a_fault() -> None:
    lines = ["sample,marker,allele 1,allele 2", *(f"x,{locus},12,13" for locus in LOCI[:13]), "x,TH01,12,13"]
    (row,) = read_profiles("\n".join(lines).encode())
    assert "TH01 stands twice" in row.fault
    lines[-1] = "x,THO1,12,13"
    (row,) = read_profiles("\n".join(lines).encode())
    assert "TH01 stands twice" in row.fault


def test_a_table_of_one_sample_is_a_record() -> None:
    one = profile()
    assert abis.read(write_profiles({"a": one})) == (one,)
    with pytest.raises(FormatError, match="2 samples; expected one"):
        abis.read(write_profiles({"a": one, "b": one}))


FREQUENCIES = (
    "Population,Test\nAllele,TH01,vWA,AMEL\nN,200,100,\n6,0.25,,\n9.3,0.75,,\n17,,0.4,\n18,0,0.6,\nX,,,0.5\n"
)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_frequencies_are_read(delimiter: str) -> None:
    text = FREQUENCIES.replace(",", delimiter)
    if delimiter != ",":
        text = text.replace(".", ",")
    found = read_frequencies(text.encode())
    assert found.population == "Test"
    assert dict(found.people) == {"TH01": 200, "VWA": 100}
    assert {k: dict(v) for k, v in found.frequencies.items()} == {
        "TH01": {60: 0.25, 93: 0.75},
        "VWA": {170: 0.4, 180: 0.6},
    }
    assert read_frequencies(text.encode(), population="Other", people=50).floor("VWA") == 0.05
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("Population,Test\n", "", "population is not named"),
        ("N,200,100,\n", "", "no number of people"),
        ("N,200,100,", "N,200,0,", "line 3: number of people '0'"),
        ("6,0.25", "6,25", "not per cent"),
        ("6,0.25", "6,x", "frequency 'x' is not a number"),
        ("6,0.25", "6,nan", "no number of|0 to 1|is not a number|sum"),
        ("9.3,0.75", "6,0.75", "line 5: TH01: allele 6 stands twice"),
        ("9.3,0.75", "9.3,0.5", "TH01: frequencies sum to 0.75"),
        ("TH01,vWA", "TH01,tho1", "TH01 has 2 columns"),
        ("TH01,vWA", "TH01,D3S135", "unknown locus"),
        ("Allele,", "Alele,", "the first column is called 'Alele'"),
        ("9.3,", "OL,", "line 5: allele 'OL'"),
    ],
)
def test_faulty_frequencies_say_what_is_wrong(old: str, new: str, fault: str) -> None:
    with pytest.raises(FormatError, match=fault):
        read_frequencies(FREQUENCIES.replace(old, new, 1).encode())


HEADER = codis.Header("VA0000000", "VA1111111", "analyst", datetime(2026, 1, 2, 3, 4, 5))


def test_a_codis_message_is_read_and_written() -> None:
    people = {"S-1": profile({"TH01": [6, 9.3], "VWA": [17], "Penta D": [9, 13]}), "S-2": profile()}
    data = codis.write(people, HEADER)
    found = codis.read(data)
    assert [(row.sample, row.profile, row.fault) for row in found] == [(k, v, "") for k, v in people.items()]
    assert abis.read(codis.write({"S-1": people["S-1"]}, HEADER)) == (people["S-1"],)
    with pytest.raises(FormatError, match="2 samples"):
        abis.read(data)


def test_a_codis_message_has_the_order_of_the_schema() -> None:
    """``CMF-2017.xsd`` of OSIRIS (National Center for Biotechnology Information): sequences and namespace."""
    root = ElementTree.fromstring(codis.write({"S-1": profile({"VWA": [17]})}, HEADER))
    space = "{urn:CODISImportFile-schema}"
    assert root.tag == f"{space}CODISImportFile"
    assert [child.tag.removeprefix(space) for child in root] == [
        *("HEADERVERSION", "MESSAGETYPE", "DESTINATIONORI", "SOURCELAB", "SUBMITBYUSERID", "SUBMITDATETIME"),
        "SPECIMEN",
    ]
    specimen = root.find(f"{space}SPECIMEN")
    assert specimen is not None
    assert [child.tag.removeprefix(space) for child in specimen][:3] == [
        "SPECIMENID",
        "SPECIMENCATEGORY",
        "LOCUS",
    ]
    locus = next(one for one in specimen.iter(f"{space}LOCUS") if one.findtext(f"{space}LOCUSNAME") == "vWA")
    assert [child.tag.removeprefix(space) for child in locus] == [
        "LOCUSNAME",
        "READINGBY",
        "READINGDATETIME",
        "ALLELE",
    ]
    assert root.findtext(f"{space}SUBMITDATETIME") == "2026-01-02T03:04:05"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"<CODISImportFile>", "no well-formed XML"),
        (b"<!DOCTYPE a><CODISImportFile/>", "document type"),
        (b"<other>CODISImportFile</other>", "root element"),
        (b"<CODISImportFile/>", "no SPECIMEN"),
    ],
)
def test_a_faulty_codis_message_says_what_is_wrong(data: bytes, fault: str) -> None:
    assert codis.is_cmf(data)
    with pytest.raises(FormatError, match=fault):
        codis.read(data)


def test_a_codis_message_refuses_what_the_schema_cannot_hold() -> None:
    with pytest.raises(FormatError, match="D6S1043"):
        codis.write({"S-1": profile(count=24)}, HEADER)
    with pytest.raises(FormatError, match="SPECIMENID"):
        codis.write({"S" * 25: profile()}, HEADER)
    with pytest.raises(FormatError, match="no profiles"):
        codis.write({}, HEADER)


def test_a_faulty_specimen_does_not_hide_the_others() -> None:
    data = codis.write({"S-1": profile({"TH01": [6, 9.3]}), "S-2": profile()}, HEADER)
    one, other = codis.read(data.replace(b">9.3<", b">OL<", 1))
    assert "allele 'OL'" in one.fault
    assert other.profile == profile()
