# SPDX-License-Identifier: Apache-2.0
"""Learnt fusion: missing scores are no evidence, higher scores never count against, and files lose nothing."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.errors import FormatError
from abis.evaluation import best_fusion, cllr, learn_fusion, try_fusions
from abis.evaluation.score_fusion import METHODS as ALL_METHODS
from abis.evaluation.score_fusion import FusionTrial
from abis.scoring.matcher_fusion import ScoreFusion, ScoreInput

Floats = npt.NDArray[np.float64]
METHODS = ALL_METHODS[:-1]  # those that need no qualities


def population(
    people: int = 60, seed: int = 0
) -> tuple[dict[str, Floats], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Two independent matchers and a third that repeats the first; everybody against everybody."""
    random = np.random.default_rng(seed)
    probe, reference = (side.ravel() for side in np.indices((people, people)))
    mated = probe == reference
    one, other = (random.normal(3.0 * mated, 1.0) for _ in range(2))
    return {"one": one, "other": other, "echo": one + random.normal(0, 0.1, len(one))}, probe, reference


SCORES, PROBE, REFERENCE = population()
MATED = PROBE == REFERENCE
FUSIONS = {method: learn_fusion(SCORES, MATED, method=method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.sampled_from(sorted(SCORES)))
@settings(deadline=None)
def test_more_likeness_is_never_evidence_against(method: str, raw: list[float], name: str) -> None:
    fused = FUSIONS[method]({name: np.sort(raw)})
    assert (np.diff(fused) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_two_matchers_are_better_than_one(method: str) -> None:
    pair = {name: SCORES[name] for name in ("one", "other")}
    fused = learn_fusion(pair, MATED, method=method)(pair)
    for own in pair.values():
        assert (fused[MATED][:, np.newaxis] <= fused[~MATED]).mean() < (
            own[MATED][:, np.newaxis] <= own[~MATED]
        ).mean()


def test_what_is_missing_says_nothing() -> None:
    fusion = FUSIONS["sum"]
    alone = fusion({"one": [1.0, 2.0]})
    np.testing.assert_array_equal(fusion({"one": [1.0, 2.0], "other": [np.nan, np.nan]}), alone)
    assert np.isnan(fusion({"one": [np.nan], "other": [np.nan]}))[0]


def test_a_matcher_that_repeats_another_counts_for_less() -> None:
    weight = {one.name: one.weight for one in FUSIONS["logistic"].inputs}
    assert weight["one"] + weight["echo"] < 1.6  # and not 2
    assert weight["other"] > 0.7


def test_no_single_score_claims_more_than_there_were_scores_to_show() -> None:
    highest = FUSIONS["density"]({"one": [1e9]})[0]
    assert highest <= np.log10(2 * len(MATED) * 513)
    assert highest == FUSIONS["density"]({"one": [SCORES["one"].max()]})[0]


def test_trials_are_of_subjects_not_learnt_from() -> None:
    trials = try_fusions(SCORES, PROBE, REFERENCE)
    assert [trial.method for trial in trials] == list(METHODS)
    assert all(0 < trial.cllr < 0.5 and 0 <= trial.eer < 0.2 for trial in trials)
    # Adding an echo as if it were independent overstates the evidence.
    assert trials[0].cllr > trials[1].cllr


def test_of_equally_good_methods_the_simplest_is_taken() -> None:
    trials = [
        FusionTrial(method, 0.1, 0.01, fnmr) for method, fnmr in zip(METHODS, (0.2, 0.1, 0.1), strict=True)
    ]
    assert best_fusion(trials) == "logistic"


@pytest.mark.parametrize("method", METHODS)
def test_files_round_trip_to_the_bit(method: str, tmp_path: Path) -> None:
    FUSIONS[method].save(tmp_path / "fusion.json")
    assert ScoreFusion.load(tmp_path / "fusion.json") == FUSIONS[method]


@given(st.text() | st.sampled_from(["[]", "{}", '{"format": "abis fusion", "version": 1}']))
def test_any_other_text_is_a_format_error(text: str) -> None:
    with pytest.raises(FormatError):
        ScoreFusion.from_json(text)


def test_bad_files_are_named(tmp_path: Path) -> None:
    content = json.loads(FUSIONS["sum"].to_json())
    content["inputs"][0]["raw"][0] = 1e9
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=r"bad\.json: fusion: one: knots do not ascend"):
        ScoreFusion.load(path)


def test_unknown_matchers_and_missing_kinds_are_refused() -> None:
    with pytest.raises(
        ValueError, match="the fusion was not learnt from scores of eyes; expected one, other, echo"
    ):
        FUSIONS["sum"]({"eyes": [1.0]})
    with pytest.raises(ValueError, match="one: no scores of mated comparisons"):
        learn_fusion({"one": SCORES["one"][~MATED]}, MATED[~MATED])
    with pytest.raises(ValueError, match="weight is -1"):
        ScoreInput("x", (0.0, 1.0), (0.0, 1.0), weight=-1, missing=0)


# --- qualities --------------------------------------------------------------------------------------------


def smudged(seed: int) -> tuple[dict[str, Floats], npt.NDArray[np.bool_], dict[str, Floats]]:
    """Two matchers; the first sees nothing where the quality is low."""
    random = np.random.default_rng(seed)
    mated = np.arange(4000) < 1000
    quality = random.uniform(0, 100, 4000)
    one = random.normal(4.0 * mated * (quality > 50), 1.0)
    return {"one": one, "other": random.normal(2.0 * mated, 1.0)}, mated, {"one": quality}


def test_weights_follow_quality_where_it_tells() -> None:
    scores, mated, qualities = smudged(0)
    plain = learn_fusion(scores, mated, method="logistic")
    aware = learn_fusion(scores, mated, method="quality", qualities=qualities)
    assert aware.inputs[0].quality is not None
    assert aware.inputs[0].quality.slope > 0
    assert aware.inputs[1].quality is None
    fresh, truth, theirs = smudged(1)
    fused = plain(fresh), aware(fresh, theirs)
    assert cllr(fused[1][truth], fused[1][~truth]) < cllr(fused[0][truth], fused[0][~truth]) - 0.02


BY_QUALITY = learn_fusion(*smudged(0)[:2], method="quality", qualities=smudged(0)[2])


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=20), st.floats(-1e3, 1e3) | st.just(np.nan))
@settings(deadline=None)
def test_more_likeness_is_never_evidence_against_whatever_the_quality(
    raw: list[float], quality: float
) -> None:
    fused = BY_QUALITY({"one": np.sort(raw)}, {"one": np.full(len(raw), quality)})
    assert (np.diff(fused) >= 0).all()


def test_an_unknown_quality_changes_nothing() -> None:
    scores, mated, qualities = smudged(0)
    fusion = learn_fusion(scores, mated, method="quality", qualities=qualities)
    unknown = {"one": np.full(len(mated), np.nan)}
    np.testing.assert_array_equal(fusion(scores), fusion(scores, unknown))
    with pytest.raises(ValueError, match="no qualities"):
        learn_fusion(scores, mated, method="quality", qualities=unknown)
    again = ScoreFusion.from_json(fusion.to_json())
    np.testing.assert_array_equal(again(scores, qualities), fusion(scores, qualities))


def test_fusions_of_version_1_are_read() -> None:
    old = json.loads(FUSIONS["sum"].to_json()) | {"version": 1}
    for one in old["inputs"]:
        del one["quality"]
    assert ScoreFusion.from_json(json.dumps(old)) == FUSIONS["sum"]
