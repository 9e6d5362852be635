# SPDX-License-Identifier: Apache-2.0
"""Error versus discard, compared with plain counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import face, finger

from abis.evaluation import error_versus_discard
from abis.evaluation.discard import discard_of
from abis.evaluation.scores import FAILED
from abis.template import Embedding, Template
from abis.template.modality import quality_of


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


def embeddings(*quality: float | None) -> list[Template | None]:
    return [Embedding(vector=[1.0, 0.0], model="m", quality=q) for q in quality]


def test_quality_is_what_the_template_states() -> None:
    assert quality_of(replace(finger(0), finger_quality=70)) == 70
    assert quality_of(replace(finger(0), finger_quality=None)) is None
    assert quality_of(embeddings(21.5)[0] or face(0)) == 21.5
    assert quality_of(face(0)) is None


def test_a_comparison_is_of_the_lower_quality_of_its_two_and_a_failed_one_of_the_lowest() -> None:
    templates = [None, *embeddings(10, 30, 20)]
    probe = np.array([1, 2, 3] * 30 + [0])
    reference = np.array([2, 3, 1] * 30 + [2])
    score = np.append(np.array([0.0, 5, 6] * 30) + np.arange(90) / 100, FAILED)
    found = discard_of(templates, probe, reference, score)
    assert found is not None
    assert found.quality.tolist() == [-np.inf, 10, 20]
    assert found.discarded.tolist() == pytest.approx([0, 1 / 91, 61 / 91])
    assert found.fnmr.tolist() == pytest.approx([10 / 91, 9 / 90, 0])


def test_there_is_no_curve_where_there_is_nothing_to_say() -> None:
    probe, reference = np.zeros(60, np.int64), np.arange(1, 61)
    score = np.arange(60.0)
    assert discard_of(embeddings(*range(61)), probe, reference, score) is None, "all of the same quality"
    some = embeddings(99, *range(60))
    assert discard_of(some, probe, reference, score) is not None
    assert discard_of([*some[:-1], face(0)], probe, reference, score) is None, "one states none"
    assert discard_of(some, probe[:49], reference[:49], score[:49]) is None, "few"
    assert discard_of(some, probe, reference, np.where(score < 6, FAILED, score)) is None, "a tenth failed"
