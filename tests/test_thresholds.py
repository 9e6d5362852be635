# SPDX-License-Identifier: Apache-2.0
"""Thresholds: no more non-mated scores reach them than the rate asked for, whatever was compared."""

import hashlib
import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.scoring.calibration import Calibration, NonMated, Provenance, shipped
from abis.scoring.fusion import alternatives
from abis.scoring.thresholds import fmr_at, threshold_for_fmr, threshold_for_fpir

PROVENANCE = Provenance(("a",), 10, 100, "2025-01-31", "abis 0.1.0", "here")
FINGER, FACE, UNKNOWN = shipped("minutiae"), shipped("embedding-w600k_mbf"), shipped("embedding")

ways = st.lists(st.lists(st.sampled_from([FINGER, FACE, UNKNOWN]), max_size=3), max_size=4)
unhurried = settings(deadline=None, max_examples=50)


def spread(*rates: float, kind: str = "minutiae", start: int = 0) -> Calibration:
    table = NonMated(start, rates, rates, 1.0, 100)
    return Calibration(kind, 1.0, 0.0, -1.0, None, 9.0, table, PROVENANCE)


def drawn(calibration: Calibration, n: int, seed: int) -> npt.NDArray[np.float64]:
    """Scores as unlucky as its rates allow: each at the upper end of its step."""
    assert calibration.non_mated is not None
    table = calibration.non_mated
    uniform = np.random.default_rng(seed).random(n)
    steps = table.start + np.searchsorted(-table.table[0], -uniform, side="right")
    return np.asarray(np.nextafter(steps / 64, -np.inf))


def test_one_comparison_is_looked_up() -> None:
    one = spread(1.0, 0.5, 0.25, 0.125)
    assert threshold_for_fmr(0.25, [[one]]) == 2 / 64
    assert threshold_for_fmr(0.24, [[one]]) == 3 / 64
    assert threshold_for_fmr(0.1, [[one]]) == 4 / 64  # past the last: no score reaches it
    assert fmr_at(2 / 64, [[one]]) == 0.25
    assert (fmr_at(-1, [[one]]), fmr_at(1, [[one]])) == (1, 0)


def test_two_positions_worked_out_by_hand() -> None:
    # Each is 1 with a chance of 1/2, or 2, after rounding up: their sum is 2, 3, 4 with chances 1/4, 1/2, 1/4.
    one = spread(1.0, 0.5)
    assert [fmr_at(k / 64, [[one], [one]]) for k in (2, 3, 4, 5)] == [1, 0.75, 0.25, 0]


def test_alternatives_are_allowed_their_sum() -> None:
    one = spread(1.0, 0.25, 0.125)
    assert [fmr_at(k / 64, [[one, one]]) for k in (0, 1, 2)] == [1, 0.5, 0.25]


def test_an_unmeasured_model_has_the_bound_of_markov() -> None:
    for compared in ([[UNKNOWN]], [[UNKNOWN] * 9], [[UNKNOWN], [UNKNOWN]]):
        assert threshold_for_fmr(1e-6, compared) == 6.0


@unhurried
@given(ways, st.floats(1e-9, 1))
def test_a_threshold_has_no_more_than_its_rate_and_the_step_below_has(
    compared: list[list[Calibration]], rate: float
) -> None:
    threshold = threshold_for_fmr(rate, compared)
    assert fmr_at(threshold, compared) <= rate or not any(compared)
    if any(compared):
        assert fmr_at(threshold - 1 / 64, compared) > rate or rate == 1


@unhurried
@given(ways, st.randoms(use_true_random=False))
def test_the_order_of_what_was_compared_does_not_matter(compared: list[list[Calibration]], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = random.sample([random.sample(part, len(part)) for part in compared], len(compared))
    assert threshold_for_fmr(1e-5, compared) == threshold_for_fmr(1e-5, shuffled)


@unhurried
@given(st.floats(1e-6, 1), st.integers(1, 10**6))
def test_a_gallery_shares_its_rate_among_its_subjects(rate: float, size: int) -> None:
    assert threshold_for_fpir(rate, size, [[FINGER]]) == threshold_for_fmr(rate / size, [[FINGER]])


@pytest.mark.parametrize(
    "compared",
    [[[FINGER], [FINGER]], [[FINGER] * 3, [FACE]], [[FINGER], [FINGER], [FINGER], [FACE, FACE]]],
)
def test_strangers_reach_thresholds_no_more_often_than_promised(compared: list[list[Calibration]]) -> None:
    n = 200_000
    total = np.zeros(n)
    for place, part in enumerate(compared):
        llr = np.concatenate([drawn(c, n, seed=10 * place + k) for k, c in enumerate(part)])
        total += alternatives(np.tile(np.arange(n), len(part)), llr, n)
    for rate in (0.1, 1e-2, 1e-3, 1e-4):
        reached = int((total >= threshold_for_fmr(rate, compared)).sum())
        assert reached <= n * rate + 3 * math.sqrt(n * rate)
        if all(len(part) == 1 for part in compared):  # and not much less often, where nothing is bounded
            assert reached >= 0.7 * n * rate - 3 * math.sqrt(n * rate)


@pytest.mark.parametrize("rate", [0, -1, 1.1, math.nan])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="fmr is"):
        threshold_for_fmr(rate, [[FINGER]])
    with pytest.raises(ValueError, match="fpir is"):
        threshold_for_fpir(rate, 10, [[FINGER]])


def test_an_empty_gallery_has_no_threshold() -> None:
    with pytest.raises(ValueError, match="gallery_size is 0"):
        threshold_for_fpir(0.1, 0, [[FINGER]])


def test_rates_of_sums_have_the_same_bits_everywhere() -> None:
    """Of a table that is no fit, so that this digest changes with the arithmetic alone."""
    table = [1.0, *(0.9 / (1 + k) ** 3 for k in range(500))]
    one, other = spread(*table, start=-100), spread(*table[:300], kind="embedding-a", start=7)
    rates = [fmr_at(k / 64, [[one], [one, other], [other]]) for k in range(-200, 1400)]
    digest = hashlib.sha256(np.array(rates, "<f8").tobytes()).hexdigest()
    assert digest == "12908086ce29f6eb319e18864daa0aa614538b07a8b127106b98f85b15040694"


def test_limits_are_at_or_above_rates_and_hold_for_sums() -> None:
    threshold = threshold_for_fmr(1e-6, [[FINGER], [FACE]])
    likely, limit = (fmr_at(threshold, [[FINGER], [FACE]], limit=limit) for limit in (False, True))
    assert likely <= 1e-6
    assert likely <= limit < 100 * likely
