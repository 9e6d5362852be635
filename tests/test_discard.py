# SPDX-License-Identifier: Apache-2.0
"""Error versus discard, held against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.evaluation import error_versus_discard


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
)
def test_error_versus_discard_is_counting(pairs: list[tuple[int, int]], fnmr: float) -> None:
    score, quality = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    curve = error_versus_discard(score, quality, fnmr=fnmr)
    assert curve.quality.tolist() == sorted(set(quality.tolist()))
    for lowest, discarded, rate in zip(curve.quality, curve.discarded, curve.fnmr, strict=True):
        kept = quality >= lowest
        assert discarded == pytest.approx(1 - kept.mean())
        assert rate == pytest.approx((score[kept] < curve.threshold).mean())
        assert curve.at(discarded + 1e-9) == rate


def test_error_versus_discard_of_a_perfect_and_a_useless_measure() -> None:
    score = np.arange(100.0)
    perfect = error_versus_discard(score, score, fnmr=0.1)
    assert perfect.at(0) == pytest.approx(0.1)
    assert perfect.at(0.1) == 0
    useless = error_versus_discard(score, np.zeros(100), fnmr=0.1)
    assert useless.fnmr.tolist() == [0.1]
    failed = error_versus_discard(np.array([-np.inf, 1, 2]), np.array([-np.inf, 1, 1]), fnmr=0.3)
    assert failed.fnmr.tolist() == [pytest.approx(1 / 3), 0]


def test_error_versus_discard_refuses_what_it_cannot_count() -> None:
    for score, quality, fnmr in (
        ([1.0], [], 0.1),
        ([], [], 0.1),
        ([1.0], [1.0], 0.0),
        ([np.nan], [1.0], 0.1),
    ):
        with pytest.raises(ValueError, match="expected"):
            error_versus_discard(np.array(score, np.float64), np.array(quality, np.float64), fnmr=fnmr)
