# SPDX-License-Identifier: Apache-2.0
"""Fusion: alternatives are averaged, independent evidence adds, and nothing else affects the score."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from abis.scoring.calibration import shipped
from abis.scoring.fusion import Comparisons, alternatives, compared_by, explain, fuse
from abis.template import Position

LLR = st.floats(-30, 30)
PAIRS = st.lists(st.tuples(st.integers(0, 4), LLR), max_size=40)
COUNT = 5
CALIBRATION = shipped("minutiae")


def columns(pairs: list[tuple[int, float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    return np.array([s for s, _ in pairs], np.int64), np.array([v for _, v in pairs], np.float64)


def comparisons(
    position: Position,
    subjects: list[int],
    llr: list[float],
    *,
    reference_position: Position | None = None,
    encounters: list[int] | None = None,
) -> Comparisons:
    return Comparisons(
        position=position,
        reference_position=position if reference_position is None else reference_position,
        subject=np.array(subjects, np.int64),
        encounter=np.array(encounters or range(len(subjects)), np.int64),
        raw=np.array(llr, np.float32),
        llr=np.array(llr, np.float64),
        calibration=CALIBRATION,
    )


@given(PAIRS)
def test_alternatives_are_the_mean_of_likelihood_ratios(pairs: list[tuple[int, float]]) -> None:
    mean = alternatives(*columns(pairs), COUNT)
    for subject in range(COUNT):
        own = [llr for s, llr in pairs if s == subject]
        if own:
            assert mean[subject] == pytest.approx(
                np.log10(np.mean(10.0 ** np.array(own))), abs=1e-13, rel=1e-13
            )
        else:
            assert np.isnan(mean[subject])


@given(PAIRS, st.randoms())
def test_alternatives_do_not_depend_on_order_or_on_others(pairs: list[tuple[int, float]], random) -> None:  # type: ignore[no-untyped-def]
    mean = alternatives(*columns(pairs), COUNT)
    shuffled = random.sample(pairs, len(pairs))
    assert np.array_equal(mean, alternatives(*columns(shuffled), COUNT), equal_nan=True)
    for subject in range(COUNT):
        own = [(0, llr) for s, llr in pairs if s == subject]
        alone = alternatives(*columns(own), 1)
        assert np.array_equal(alone, mean[subject : subject + 1], equal_nan=True)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_alternatives_stay_within_their_bounds_however_extreme(llr: list[float]) -> None:
    mean = alternatives(np.zeros(len(llr), np.int64), np.array(llr), 1)[0]
    slack = 1e-9 * (1 + abs(max(llr)))
    assert max(llr) - np.log10(len(llr)) - slack <= mean <= max(llr) + slack


def test_positions_add_and_what_is_missing_is_no_evidence() -> None:
    fingers = comparisons(Position.RIGHT_INDEX, [0, 1], [3.0, -2.0])
    faces = comparisons(Position.FACE, [0, 2], [4.0, 1.5])
    np.testing.assert_array_equal(fuse([fingers, faces], 4), [7.0, -2.0, 1.5, np.nan])
    np.testing.assert_array_equal(fuse([], 2), [np.nan, np.nan])


def test_two_probes_of_one_position_are_alternatives() -> None:
    one = comparisons(Position.RIGHT_INDEX, [0], [3.0])
    other = comparisons(Position.RIGHT_INDEX, [0], [5.0])
    assert fuse([one, other], 1)[0] == pytest.approx(np.log10((1e3 + 1e5) / 2))


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(Position)), st.sampled_from(sorted(Position)), PAIRS), max_size=6
    )
)
def test_the_evidence_adds_up_to_the_score(
    groups: list[tuple[Position, Position, list[tuple[int, float]]]],
) -> None:
    parts = [
        comparisons(probe, [s for s, _ in pairs], [v for _, v in pairs], reference_position=reference)
        for probe, reference, pairs in groups
    ]
    scores = fuse(parts, COUNT)
    names = {key: f"encounter {key}" for key in range(40)}
    for subject in range(COUNT):
        evidence = explain(parts, subject, names)
        assert explain(parts[::-1], subject, names) == evidence
        if evidence:
            assert sum(e.score for e in evidence) == scores[subject]
        else:
            assert np.isnan(scores[subject])
        assert [e.position for e in evidence] == sorted({e.position for e in evidence})


def test_subjects_are_told_apart_by_what_they_were_compared_by() -> None:
    parts = [
        comparisons(Position.LEFT_INDEX, [4], [1.0]),
        comparisons(Position.RIGHT_INDEX, [1, 4, 4, 9], [1.0] * 4),
        comparisons(Position.RIGHT_INDEX, [9], [1.0], reference_position=Position.UNKNOWN_FINGER),
    ]
    ways, way = compared_by(parts, np.array([1, 4, 9]))
    sizes = [sorted(len(position) for position in ways[k]) for k in way]
    assert sizes == [[1], [1, 2], [2]]
    assert {c for compared in ways for position in compared for c in position} == {CALIBRATION}
    assert compared_by([], np.array([0]))[0] == [[]]


def test_evidence_names_the_best_reference() -> None:
    unknown = Position.UNKNOWN_FINGER
    parts = [
        comparisons(unknown, [0, 1, 0], [1.0, 9.0, 6.0], reference_position=Position.LEFT_RING),
        comparisons(unknown, [0], [2.0], reference_position=Position.LEFT_THUMB, encounters=[7]),
    ]
    (evidence,) = explain(parts, 0, {0: "a", 1: "b", 2: "c", 7: "d"})
    assert (evidence.raw, evidence.encounter_id) == (6.0, "c")
    assert evidence.reference_position == Position.LEFT_RING
    assert str(evidence) == "UNKNOWN_FINGER 5.5 (LEFT_RING)"


def test_fused_scores_of_non_mated_subjects_keep_their_promise() -> None:
    """P(LLR >= t | non-mated) <= 10**-t, for alternatives and sums of calibrated LLRs alike."""
    n, sigma = 200_000, 1.2  # a log10 LR that is normal and calibrated: mean -ln(10) sigma^2 / 2
    random = np.random.default_rng(1)
    subjects = np.arange(n)

    def part(position: Position) -> Comparisons:
        llr = random.normal(-np.log(10) * sigma**2 / 2, sigma, n)
        return Comparisons(position, position, subjects, subjects, llr.astype(np.float32), llr, CALIBRATION)

    right = [part(Position.RIGHT_INDEX) for _ in range(5)]
    scores = fuse([*right, part(Position.LEFT_INDEX), part(Position.FACE)], n)
    for threshold in (0.5, 1.0, 2.0, 3.0):
        allowed = n * 10**-threshold
        assert (scores >= threshold).sum() <= allowed + 3 * np.sqrt(allowed)


_BITS = """
import hashlib, numpy as np
from abis.scoring.fusion import alternatives
random = np.random.default_rng(3)
mean = alternatives(random.integers(0, 300, 1000), random.normal(0, 5, 1000), 300)
print(hashlib.sha256(mean.tobytes()).hexdigest())
"""


def test_the_bits_do_not_depend_on_the_cpu() -> None:
    """NumPy's SIMD kernels switched off one after the other give the same bits."""
    found = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    digests = set()
    for disabled in ([], [name for name in found if name.startswith(("AVX512", "X86_V4"))], found):
        environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(disabled)}
        command = [sys.executable, "-W", "ignore", "-c", _BITS]
        digests.add(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    assert len(digests) == 1
