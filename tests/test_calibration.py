# SPDX-License-Identifier: Apache-2.0
"""Calibration: the meaning of likelihood ratios, the files of calibrations, and their fit."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from abis.comparison import balance, raw_scores
from abis.errors import FormatError
from abis.evaluation import NonMatedScores, TrainingScores, cllr, fit, min_cllr
from abis.scoring.calibration import (
    STEPS_A_DECADE,
    Calibration,
    Calibrations,
    NonMated,
    Provenance,
    bent_line,
    compare,
    kind_of,
    shipped,
    shipped_names,
)
from abis.scoring.thresholds import threshold_for_fmr
from abis.template import Embedding, Minutiae

PROVENANCE = Provenance(
    ("a", "b"), 10, 100, "2025-01-31", "abis 0.1.0", "benchmarks/fitting/fit_calibration.py"
)

SPREAD = NonMated(start=-64, rates=(1.0, 0.5, 0.125), limits=(1.0, 0.75, 0.25), counted=0.125, pairs=8)

unhurried = settings(deadline=None)  # a busy machine is no failure; the first call compiles

calibrations = st.builds(
    Calibration,
    kind=st.sampled_from(["minutiae", "embedding-a"]),
    slope=st.floats(1e-3, 1e3),
    offset=st.floats(-50, 50),
    minimum=st.floats(-10, -0.1),
    equal_minimum=st.none() | st.floats(-10, -0.1),
    maximum=st.floats(0.1, 20),
    non_mated=st.sampled_from([None, SPREAD]),
    provenance=st.just(PROVENANCE),
)
likelihood_ratios = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-20, 20))


def fitted(*training: TrainingScores) -> Calibration:
    return fit(training, kind="minutiae", date="2025-01-31", software="abis 0.1.0", script="here")


def plain(
    *,
    slope: float,
    offset: float,
    minimum: float,
    maximum: float,
    equal_minimum: float | None = None,
    non_mated: NonMated | None = None,
) -> Calibration:
    return Calibration("minutiae", slope, offset, minimum, equal_minimum, maximum, non_mated, PROVENANCE)


def normal_scores(distance: float, n: int, seed: int = 0) -> TrainingScores:
    """Mated N(d/2, 1), non-mated N(-d/2, 1): the log odds are exactly d * raw."""
    generator = np.random.default_rng(seed)
    mated, non_mated = generator.normal(distance / 2, size=n), generator.normal(-distance / 2, size=n)
    return TrainingScores(f"normal {distance}", mated, non_mated)


# --- the curve -------------------------------------------------------------------------------------------


@unhurried
@given(calibrations, hnp.arrays(np.float32, 20, elements=st.floats(-100, 100, width=32)))
def test_llr_keeps_the_order_of_raw_scores(calibration: Calibration, raw: npt.NDArray[np.float32]) -> None:
    assert (np.diff(calibration.llr(np.sort(raw))) >= 0).all()


@unhurried
@given(calibrations, st.integers(-30, 30))
def test_llr_grows_with_every_step_of_a_decade(calibration: Calibration, decade: int) -> None:
    raw = (np.array([decade, decade + 1]) - calibration.offset) / calibration.slope
    low, high = calibration.llr(raw)
    assert low < high


@unhurried
@given(calibrations, st.floats(-1e30, 1e30))
def test_llr_stays_between_its_limits(calibration: Calibration, raw: float) -> None:
    # The upper bend starts a little below a line that ends far below it: by no more than the bend itself.
    bend = math.log10(2)
    assert calibration.minimum - bend <= calibration.llr(raw) <= calibration.maximum


def test_llr_in_the_middle_is_the_line() -> None:
    calibration = plain(slope=2, offset=1, minimum=-100, maximum=100)
    np.testing.assert_allclose(
        calibration.llr(np.array([[0.0, 1], [-1, 3]])), np.array([[1.0, 3], [-1, 7]]), atol=2e-3
    )


def test_llr_of_no_score_is_none_and_of_extremes_are_the_limits() -> None:
    calibration = plain(slope=2, offset=1, minimum=-3, maximum=8)
    llr = calibration.llr([np.nan, -np.inf, np.inf])
    assert math.isnan(llr[0])
    np.testing.assert_allclose(llr[1:], [-3, 8], atol=0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("slope", 0.0), ("slope", math.nan), ("offset", math.inf), ("minimum", 0.0), ("maximum", -1.0)),
        *(("equal_minimum", 0.0), ("equal_minimum", math.nan)),
    ],
)
def test_impossible_calibrations_are_refused(field: str, value: float) -> None:
    numbers = {"slope": 1.0, "offset": 0.0, "minimum": -1.0, "maximum": 1.0} | {field: value}
    with pytest.raises(ValueError, match=f"{field} is"):
        plain(**numbers, non_mated=None)


@pytest.mark.parametrize(
    ("rates", "counted"),
    [((), 1.0), ((0.9, 0.1), 1.0), ((1.0, 0.1, 0.2), 1.0), ((1.0, 0.0), 1.0), ((1.0,), 0.0)],
)
def test_impossible_rates_of_non_mated_scores_are_refused(rates: tuple[float, ...], counted: float) -> None:
    with pytest.raises(ValueError, match="non_mated"):
        NonMated(0, rates, rates, counted, 10)


@pytest.mark.parametrize("limits", [(1.0,), (1.0, 0.05), (1.0, math.nan)])
def test_impossible_limits_are_refused(limits: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="limits"):
        NonMated(0, (1.0, 0.1), limits, 1.0, 10)


def test_equal_calibrations_are_one_key() -> None:
    one, other = (Calibration.from_json(json.dumps(valid())) for _ in range(2))
    assert one == other
    assert len({one, other}) == 1


# --- which calibration -----------------------------------------------------------------------------------


def face(model: str) -> Embedding:
    return Embedding(vector=[0.6, 0.8], model=model)


def dots(n: int, seed: int, *, extractor: str = "") -> Minutiae:
    generator = np.random.default_rng(seed)
    x, y, direction = generator.integers(0, (200, 200, 360), (n, 3)).T
    return Minutiae(x=x, y=y, direction=direction, width=200, height=200, extractor=extractor)


def test_own_calibrations_come_before_shipped_ones() -> None:
    mine = plain(slope=1, offset=0, minimum=-1, maximum=9)
    calibrations = Calibrations.of([mine])
    assert calibrations.for_template(dots(5, 0)) is mine
    assert calibrations.for_template(face("w600k_mbf")) is shipped("embedding-w600k_mbf")
    assert calibrations.for_template(face("nobody's")) is shipped("embedding")
    assert shipped("embedding").non_mated is None  # nothing was counted for an unmeasured model


def test_minutiae_of_an_extractor_have_its_calibration_and_those_of_two_the_common_one() -> None:
    known, unknown, other = (dots(9, 0, extractor=e) for e in ("leader-0.1", "", "another's"))
    own = shipped("minutiae-leader-0.1")
    calibrations = Calibrations.of()
    assert own.kind == kind_of(known) == "minutiae-leader-0.1"
    assert calibrations.for_template(known) is calibrations.for_templates([known, known]) is own
    assert calibrations.for_template(other) is shipped("minutiae")
    assert calibrations.for_templates([known, unknown]) is shipped("minutiae")
    mine = plain(slope=1, offset=0, minimum=-1, maximum=9)  # of "minutiae"
    assert Calibrations.of([mine]).for_template(known) is own
    assert Calibrations.of([mine]).for_template(other) is mine
    assert Calibrations.of([mine]).for_pair(kind_of(known), kind_of(other)) is mine
    with pytest.raises(ValueError, match="no templates"):
        calibrations.for_templates([])


def test_each_comparison_is_scored_by_the_calibration_of_its_two_templates() -> None:
    probe, old, new = dots(30, 0, extractor="leader-0.1"), dots(30, 1), dots(30, 1, extractor="leader-0.1")
    raw, alike = raw_scores(probe, [old, new]), balance(probe, [old, new])
    assert alike is not None
    expected = [
        shipped(name).llr(raw[n], alike[n]) for n, name in enumerate(("minutiae", "minutiae-leader-0.1"))
    ]
    assert compare(probe, [old, new]).tolist() == expected


def test_a_low_score_says_less_the_less_of_one_print_the_other_shows() -> None:
    calibration = plain(slope=2, offset=0, minimum=-2, equal_minimum=-3, maximum=8)
    balance = np.linspace(0, 1, 11)
    llr = calibration.llr(np.full(11, -20.0), balance)
    np.testing.assert_allclose(llr, -3 * balance, atol=0.01)
    assert (np.diff(llr) < 0).all()
    assert calibration.llr(-20.0) == pytest.approx(-2, abs=0.01)  # nothing known but the score
    high = calibration.llr(np.full(11, 2.0), balance)
    np.testing.assert_allclose(high, 4, atol=0.05)  # high scores say what they said
    without = plain(slope=2, offset=0, minimum=-2, maximum=8)
    assert without.llr(-1.0, np.array(0.5)) == without.llr(-1.0)


def test_few_minutiae_beside_many_are_hardly_evidence_against() -> None:
    full = dots(40, 0)
    for seed in range(10):
        few, many = dots(3, seed + 1), dots(40, seed + 1)
        assert compare(few, [full])[0] > compare(many, [full])[0]
        assert compare(few, [full])[0] == compare(full, [few])[0] > -0.6


def test_what_is_not_shipped_is_named() -> None:
    with pytest.raises(KeyError, match="no calibration 'eyes' is shipped; there are embedding, "):
        shipped("eyes")


@pytest.mark.parametrize("n", range(1, 6))
def test_few_minutiae_cannot_give_a_million_to_one(n: int) -> None:
    for seed in range(30):
        template = dots(n, seed)
        assert compare(template, [template])[0] < 6
        assert shipped("minutiae-leader").llr(1.2 * n) < 6


# --- fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_fit_finds_the_true_likelihood_ratio(distance: float) -> None:
    training = normal_scores(distance, 20_000)
    calibration = fitted(training)
    raw = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(calibration.llr(raw), raw * distance / math.log(10), atol=0.06)
    # And keeps its promise on other data: at the threshold for an FMR, that share of non-mated scores.
    fresh = normal_scores(distance, 20_000, seed=1)
    for fmr in (0.3, 0.1, 0.01):
        threshold = threshold_for_fmr(fmr, [[calibration]])
        assert (calibration.llr(fresh.non_mated) >= threshold).mean() == pytest.approx(fmr, rel=0.2)
        assert (calibration.llr(fresh.mated) <= math.log10(fmr)).mean() <= 1.1 * fmr  # Markov's inequality


def test_fit_is_a_likelihood_ratio_whatever_the_numbers_of_each_kind() -> None:
    training = normal_scores(2.0, 40_000)
    few = TrainingScores("few", training.mated[:2000], training.non_mated)
    np.testing.assert_allclose(fitted(training).llr([-1, 0, 1]), fitted(few).llr([-1, 0, 1]), atol=0.1)


def test_fit_finds_the_floor_that_failing_mates_make() -> None:
    # One mated score in fifty is drawn as a non-mated one: a low score is 50 times rarer among mates.
    training = normal_scores(6.0, 50_000)
    mated = training.mated.copy()
    mated[::50] = normal_scores(6.0, 1000, seed=2).non_mated
    calibration = fitted(TrainingScores("failing", mated, training.non_mated))
    assert calibration.minimum == pytest.approx(-math.log10(50), abs=0.15)


def test_fit_finds_the_floor_by_balance() -> None:
    """Of mates with a balance of b, 10**(-2 b) score like strangers."""
    training = normal_scores(6.0, 60_000)
    balance = np.random.default_rng(3).uniform(0, 1, 60_000)
    fails = np.random.default_rng(4).random(60_000) < 10 ** (-2 * balance)
    mated = np.where(fails, normal_scores(6.0, 60_000, seed=2).non_mated, training.mated)
    calibration = fitted(TrainingScores("failing", mated, training.non_mated, None, balance, balance))
    assert calibration.equal_minimum == pytest.approx(-2, abs=0.1)
    llr = calibration.llr(mated, balance), calibration.llr(training.non_mated, balance)
    assert cllr(*llr) < cllr(calibration.llr(mated), calibration.llr(training.non_mated)) - 0.01
    # And thresholds hold for both.
    for fmr in (0.3, 0.03, 0.003):
        threshold = threshold_for_fmr(fmr, [[calibration]])
        assert (llr[1] >= threshold).mean() <= fmr
        assert (calibration.llr(training.non_mated) >= threshold).mean() <= fmr


def test_balances_that_cannot_be_are_refused() -> None:
    one = np.ones(1)
    for wrong in (None, np.ones(2), np.array([1.5]), np.array([np.nan])):
        with pytest.raises(ValueError, match="balances of"):
            TrainingScores("wrong", one, one, None, one, wrong)


@unhurried
@given(st.integers(0, 2**32), st.floats(0.1, 8), st.integers(5, 100))
def test_fit_never_misleads_on_its_own_data(seed: int, distance: float, n: int) -> None:
    training = normal_scores(distance, n, seed)
    if training.mated.mean() <= training.non_mated.mean():
        with pytest.raises(ValueError, match="not higher"):
            fitted(training)
        return
    calibration = fitted(training)
    llr = calibration.llr(training.mated), calibration.llr(training.non_mated)
    assert min_cllr(*llr) - 1e-9 <= cllr(*llr) <= 1 + 1e-3


def test_separated_scores_give_finite_modest_ratios() -> None:
    calibration = fitted(TrainingScores("apart", np.array([5.0, 6, 7]), np.array([0.0, 1, 2, 3])))
    assert calibration.maximum == 2  # 2 * log10 of no fewer than ten scores
    assert 0 < calibration.llr(6.0) < 2
    assert -1 <= calibration.minimum < 0


def test_sets_weigh_the_same() -> None:
    large = TrainingScores("large", *(np.tile(part, 50) for part in _parts(normal_scores(2.0, 400))))
    small = TrainingScores("small", *(part + 3 for part in _parts(normal_scores(2.0, 400, seed=1))))
    tiled = TrainingScores("tiled", *(np.tile(part, 50) for part in _parts(small)))
    np.testing.assert_allclose(
        fitted(large, small).llr([0.0, 3]), fitted(large, tiled).llr([0.0, 3]), atol=0.05
    )


def _parts(training: TrainingScores) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return training.mated, training.non_mated


def test_units_of_the_raw_score_do_not_matter() -> None:
    training = normal_scores(2.0, 5000)
    scaled = TrainingScores("scaled", training.mated * 1e4 + 7, training.non_mated * 1e4 + 7)
    raw = np.linspace(-4, 4, 9)
    np.testing.assert_allclose(fitted(scaled).llr(raw * 1e4 + 7), fitted(training).llr(raw), atol=1e-4)


def test_many_scores_are_fitted_as_exactly_as_few() -> None:
    few = normal_scores(2.0, 8000)
    many = TrainingScores("many", np.tile(few.mated, 5), np.tile(few.non_mated, 5))
    raw = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(fitted(many).llr(raw), fitted(few).llr(raw), atol=5e-3)


@pytest.mark.parametrize("mated", [[], [math.nan], [math.inf]])
def test_training_scores_are_checked(mated: list[float]) -> None:
    with pytest.raises(ValueError, match="x: mated scores"):
        TrainingScores("x", np.array(mated, float), np.zeros(3))


# --- Cllr ------------------------------------------------------------------------------------------------


def test_cllr_worked_out_by_hand() -> None:
    # Mated LR 3: log2(1 + 1/3); non-mated LR 1/3: log2(1 + 1/3). The mean of the two is log2(4/3).
    third = math.log10(3)
    assert cllr(np.array([third]), np.array([-third])) == pytest.approx(math.log2(4 / 3))
    # Wrong way round: log2(1 + 3) = 2 bits.
    assert cllr(np.array([-third]), np.array([third])) == pytest.approx(2)


def test_min_cllr_worked_out_by_hand() -> None:
    # Of mated {1, 3} and non-mated {0, 2}, PAV pools {1, 2} at a posterior of 1/2 and is certain of the
    # rest: half of the weight at 1 bit.
    assert min_cllr(np.array([1.0, 3]), np.array([0.0, 2])) == pytest.approx(1 / 2)
    assert min_cllr(np.array([1.0]), np.array([0.0])) == 0
    assert min_cllr(np.array([0.0]), np.array([1.0])) == pytest.approx(1)


@unhurried
@given(likelihood_ratios, likelihood_ratios)
def test_min_cllr_is_a_bound_and_ignores_calibration(
    mated: npt.NDArray[np.float64], non_mated: npt.NDArray[np.float64]
) -> None:
    least = min_cllr(mated, non_mated)
    assert -1e-9 <= least <= 1 + 1e-9
    assert least <= cllr(mated, non_mated) + 1e-9
    rank = np.unique(np.concatenate([mated, non_mated]), return_inverse=True)[1].astype(np.float64)
    assert least == pytest.approx(min_cllr(rank[: len(mated)], rank[len(mated) :]), abs=1e-9)


# --- files -----------------------------------------------------------------------------------------------


@unhurried
@given(calibrations)
def test_files_round_trip_to_the_bit(calibration: Calibration) -> None:
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_saved_and_loaded(tmp_path: Path) -> None:
    calibration = fitted(normal_scores(2.0, 100))
    calibration.save(tmp_path / "my.calibration")
    assert Calibration.load(tmp_path / "my.calibration") == calibration


def valid() -> dict[str, Any]:
    text = plain(slope=2, offset=1, minimum=-3, maximum=8, non_mated=SPREAD).to_json()
    content: dict[str, Any] = json.loads(text)
    return content


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in valid().items() if key != name}


def test_files_of_version_2_are_read_and_score_as_they_did() -> None:
    old = without("equal_minimum") | {"version": 2}
    del old["non_mated"]["limits"]
    calibration = Calibration.from_json(json.dumps(old))
    assert calibration.equal_minimum is None
    assert calibration.non_mated is not None
    assert calibration.non_mated.limits == calibration.non_mated.rates == SPREAD.rates
    raw = np.linspace(-9, 9, 99)
    np.testing.assert_array_equal(calibration.llr(raw, np.full(99, 0.3)), bent_line(raw, 2.0, 1.0, -3.0, 8.0))
    assert Calibration.from_json(calibration.to_json()) == calibration


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "truncated; expected the output of `abis calibrate`"),
        ("[" * 100_000, "expected the output of"),
        ('"\\ud800"', "expected the output of"),
        (json.dumps([]), "Expected `object`, got `array`"),
        (json.dumps(without("slope")), "missing required field `slope`"),
        (json.dumps(valid() | {"slope": "2"}), r"Expected `float`, got `str` - at `\$\.slope`"),
        (json.dumps(valid() | {"slope": True}), r"Expected `float`, got `bool` - at `\$\.slope`"),
        (json.dumps(valid() | {"slope": -2.0}), "slope is -2.0; expected above 0"),
        (json.dumps(valid() | {"slope": 10**400}), "slope"),
        (json.dumps(valid() | {"offset": math.nan}), "malformed"),
        (json.dumps(valid() | {"slop": 2}), "unknown field `slop`"),
        (json.dumps(valid() | {"version": 1}), "version 1; expected 'abis calibration', version 2 or 3"),
        (json.dumps(valid() | {"format": "other"}), "format 'other'"),
        (json.dumps(without("kind")), "missing required field `kind`"),
        (json.dumps(without("equal_minimum")), "missing required field `equal_minimum`"),
        (json.dumps(valid() | {"non_mated": {"start": 0}}), r"missing required field .* at `\$\.non_mated`"),
        (json.dumps(valid() | {"non_mated": valid()["non_mated"] | {"rates": ["1"]}}), "non_mated.rates"),
        (json.dumps(valid() | {"non_mated": valid()["non_mated"] | {"rates": [0.5]}}), "do not fall from 1"),
        (json.dumps(valid() | {"non_mated": valid()["non_mated"] | {"limits": [1.0]}}), "limits do not fall"),
        (json.dumps(valid() | {"provenance": {"data": []}}), "missing required field `mated`"),
        (json.dumps(valid() | {"provenance": valid()["provenance"] | {"data": [1]}}), "provenance.data"),
    ],
)
def test_bad_files_say_what_is_wrong(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.calibration"
    path.write_text(content)
    with pytest.raises(FormatError, match=message) as error:
        Calibration.load(path)
    assert "bad.calibration" in str(error.value)


@unhurried
@given(st.text())
def test_any_text_is_a_calibration_or_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        Calibration.from_json(text)


@pytest.mark.parametrize("name", sorted(shipped_names()))
def test_shipped_calibrations_are_sane(name: str) -> None:
    calibration = shipped(name)
    assert name.startswith(calibration.kind)
    assert calibration.minimum < -0.5
    assert calibration.maximum > 6
    assert calibration.provenance.non_mated > 10_000
    assert calibration.provenance.script.startswith("benchmarks/")


# --- rates of non-mated scores ---------------------------------------------------------------------------


def rate_at(calibration: Calibration, llr: float, *, limit: bool = False) -> float:
    assert calibration.non_mated is not None
    table = calibration.non_mated.limits if limit else calibration.non_mated.rates
    return table[round(llr * STEPS_A_DECADE) - calibration.non_mated.start]


def test_rates_are_counted_as_far_as_there_are_scores() -> None:
    training = normal_scores(2.0, 50_000)
    calibration = fitted(training)
    assert calibration.non_mated is not None
    assert calibration.non_mated.counted == pytest.approx(20 / 50_000)
    llr = calibration.llr(training.non_mated)
    for threshold in (-1.0, 0.0, 1.0):
        assert rate_at(calibration, threshold) == pytest.approx((llr >= threshold).mean(), rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_beyond_the_data_the_true_rate_lies_within_the_limit(seed: int) -> None:
    """Exponential scores, whose tail is known: 10**-t of them exceed t * ln(10)."""
    generator = np.random.default_rng(seed)
    n = 20_000
    training = TrainingScores("exponential", generator.normal(12, 3, n), generator.exponential(1.0, n))
    calibration = fitted(training)
    for decades in (4, 5, 6, 7):
        llr = float(calibration.llr(decades * math.log(10)))
        assert rate_at(calibration, llr, limit=True) >= 0.8 * 10.0**-decades
        assert rate_at(calibration, llr) <= rate_at(calibration, llr, limit=True)
    assert 0.3e-4 < rate_at(calibration, float(calibration.llr(4 * math.log(10)))) < 3e-4


def test_scores_of_few_subjects_bear_out_less() -> None:
    generator = np.random.default_rng(0)
    n = 20_000
    subjects = generator.integers(0, 12, (n, 2))
    # Two subjects in twelve look alike to everybody.
    raw = generator.normal(0, 1, n) + 0.8 * np.isin(subjects, (3, 7)).sum(axis=1)
    mated = generator.normal(9, 2, n)
    known, unknown = (fitted(TrainingScores("few", mated, raw, given)) for given in (subjects, None))
    assert rate_at(known, 5.0, limit=True) > 1.2 * rate_at(unknown, 5.0, limit=True)


def test_of_several_populations_the_worst_counts() -> None:
    training = normal_scores(3.0, 5000)
    better = training.non_mated - 1
    both = fit(
        [training],
        kind="minutiae",
        non_mated=[NonMatedScores([part], part) for part in (better, training.non_mated)],
        date="",
        software="",
        script="",
    )
    alone = fitted(training)
    assert both.non_mated is not None
    assert alone.non_mated is not None
    assert both.non_mated.rates[:100] == alone.non_mated.rates[:100]


def test_equal_scores_make_no_tail() -> None:
    with pytest.raises(ValueError, match="all equal"):
        fitted(TrainingScores("flat", np.linspace(2, 3, 9), np.ones(100)))
    coarse = np.repeat(np.arange(9.0), 200)
    assert fitted(TrainingScores("coarse", coarse + 5, coarse)).non_mated is not None
