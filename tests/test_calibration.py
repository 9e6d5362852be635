# SPDX-License-Identifier: Apache-2.0
"""Calibration: what a likelihood ratio promises, its files, its fit."""

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

from abis.calibration import (
    Calibration,
    Provenance,
    default_calibration,
    threshold_for_fmr,
    threshold_for_fpir,
)
from abis.errors import FormatError
from abis.evaluation import TrainingScores, cllr, fit, min_cllr
from abis.template import Embedding, Minutiae

PROVENANCE = Provenance(("a", "b"), 10, 100, "2025-01-31", "abis 0.1.0", "benchmarks/fit_calibration.py")

unhurried = settings(deadline=None)  # a busy machine is no failure; the first call compiles

calibrations = st.builds(
    Calibration,
    slope=st.floats(1e-3, 1e3),
    offset=st.floats(-50, 50),
    minimum=st.floats(-10, -0.1),
    maximum=st.floats(0.1, 20),
    provenance=st.just(PROVENANCE),
)
likelihood_ratios = hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(-20, 20))


def fitted(*training: TrainingScores) -> Calibration:
    return fit(training, date="2025-01-31", software="abis 0.1.0", script="here")


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
    calibration = Calibration(slope=2, offset=1, minimum=-100, maximum=100, provenance=PROVENANCE)
    np.testing.assert_allclose(
        calibration.llr(np.array([[0.0, 1], [-1, 3]])), np.array([[1.0, 3], [-1, 7]]), atol=2e-3
    )


def test_llr_of_no_score_is_none_and_of_extremes_are_the_limits() -> None:
    calibration = Calibration(slope=2, offset=1, minimum=-3, maximum=8, provenance=PROVENANCE)
    llr = calibration.llr([np.nan, -np.inf, np.inf])
    assert math.isnan(llr[0])
    np.testing.assert_allclose(llr[1:], [-3, 8], atol=0.01)


@pytest.mark.parametrize(
    ("field", "value"),
    [("slope", 0.0), ("slope", math.nan), ("offset", math.inf), ("minimum", 0.0), ("maximum", -1.0)],
)
def test_impossible_calibrations_are_refused(field: str, value: float) -> None:
    numbers = {"slope": 1.0, "offset": 0.0, "minimum": -1.0, "maximum": 1.0} | {field: value}
    with pytest.raises(ValueError, match=f"{field} is"):
        Calibration(**numbers, provenance=PROVENANCE)


# --- thresholds ------------------------------------------------------------------------------------------


@unhurried
@given(st.floats(1e-12, 1), st.integers(1, 10**9))
def test_thresholds_are_error_rates(rate: float, gallery_size: int) -> None:
    assert 10 ** -threshold_for_fmr(rate) == pytest.approx(rate)
    assert threshold_for_fpir(rate, gallery_size) == pytest.approx(
        threshold_for_fmr(rate) + math.log10(gallery_size)
    )


@pytest.mark.parametrize("rate", [0, -1, 1.1, math.nan])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="fmr is"):
        threshold_for_fmr(rate)
    with pytest.raises(ValueError, match="fpir is"):
        threshold_for_fpir(rate, 10)


def test_an_empty_gallery_has_no_threshold() -> None:
    with pytest.raises(ValueError, match="gallery_size is 0"):
        threshold_for_fpir(0.1, 0)


# --- fit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_fit_finds_the_true_likelihood_ratio(distance: float) -> None:
    training = normal_scores(distance, 20_000)
    calibration = fitted(training)
    raw = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(calibration.llr(raw), raw * distance / math.log(10), atol=0.06)
    # And keeps its promise on other data: at the threshold for an FMR, no more non-mated scores than that.
    fresh = normal_scores(distance, 20_000, seed=1)
    for fmr in (0.3, 0.1, 0.01):
        assert (calibration.llr(fresh.non_mated) >= threshold_for_fmr(fmr)).mean() <= 1.1 * fmr
        assert (calibration.llr(fresh.mated) <= -threshold_for_fmr(fmr)).mean() <= 1.1 * fmr


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
    text = Calibration(slope=2, offset=1, minimum=-3, maximum=8, provenance=PROVENANCE).to_json()
    content: dict[str, Any] = json.loads(text)
    return content


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in valid().items() if key != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        (json.dumps([]), "is list; expected an object"),
        (json.dumps(without("slope")), "has no 'slope'"),
        (json.dumps(valid() | {"slope": "2"}), "slope is '2'"),
        (json.dumps(valid() | {"slope": True}), "slope is True"),
        (json.dumps(valid() | {"slope": -2.0}), "slope is -2.0; expected above 0"),
        (json.dumps(valid() | {"slope": 10**400}), "calibration"),
        (json.dumps(valid() | {"offset": math.nan}), "offset is nan"),
        (json.dumps(valid() | {"slop": 2}), "unknown field 'slop'"),
        (json.dumps(valid() | {"version": 2}), "version 2; expected"),
        (json.dumps(valid() | {"format": "other"}), "format 'other'"),
        (json.dumps(valid() | {"provenance": {"data": []}}), "provenance has no 'mated'"),
        (json.dumps(valid() | {"provenance": valid()["provenance"] | {"data": [1]}}), "data holds"),
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


@pytest.mark.parametrize("kind", [Minutiae, Embedding])
def test_shipped_calibrations_are_sane(kind: type[Minutiae] | type[Embedding]) -> None:
    calibration = default_calibration(kind)
    assert calibration.minimum < -0.5
    assert calibration.maximum > 6
    assert calibration.provenance.non_mated > 10_000
    assert calibration.provenance.script == "benchmarks/fit_calibration.py"
