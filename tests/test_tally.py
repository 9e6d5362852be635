# SPDX-License-Identifier: Apache-2.0
"""Evidence of a first look, added up by subject: equal to plain NumPy for any owners of the references."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from abis import _core

SPAN = 700  # of subjects' keys: more than a stretch, and no multiple of one

Positions = list[list[tuple[NDArray[np.float32], NDArray[Any], bool, NDArray[np.bool_] | None]]]


def drawn(rng: np.random.Generator, positions: int, different: int) -> Positions:
    """Blocks of evidence for each position: subjects in a run or not, some of them removed or none."""
    values = rng.normal(size=different).astype(np.float32)
    found: Positions = []
    for _ in range(positions):
        blocks = []
        for _ in range(rng.integers(0, 4)):
            n = int(rng.integers(1, 300))
            is_run = bool(rng.integers(2))
            subjects = (
                np.arange(n) + rng.integers(0, SPAN - n + 1) if is_run else rng.integers(0, SPAN, n)
            ).astype(np.uint32 if rng.integers(2) else np.int64)
            evidence = values[rng.integers(0, different, n)]
            gone = rng.random(n) < 0.2 if rng.integers(2) else None
            blocks.append((evidence, subjects, is_run, gone))
        found.append(blocks)
    return found


def added_up(positions: Positions) -> NDArray[np.float32]:
    """The evidence of each subject; -inf where there is none."""
    total = np.full(SPAN, -np.inf, np.float32)
    for blocks in positions:
        best = np.full(SPAN, -np.inf, np.float32)
        for evidence, subjects, _, gone in blocks:
            left = np.ones(len(subjects), np.bool_) if gone is None else ~gone
            np.maximum.at(best, subjects[left], evidence[left])
        total = np.where(np.isneginf(total), best, total + np.where(np.isneginf(best), np.float32(0), best))
    return total


@given(
    seed=st.integers(0, 2**32),
    positions=st.integers(1, 3),
    different=st.sampled_from([2, 8, 512]),
    count=st.integers(0, 800),
)
@settings(max_examples=120, deadline=None)
def test_the_largest_are_those_of_numpy(seed: int, positions: int, different: int, count: int) -> None:
    """With many equal ones, with subjects of several references, and whatever a sample of them says."""
    rng = np.random.default_rng(seed)
    tally = _core.Tally()
    for _ in range(2):  # its memory serves the next search
        asked = drawn(rng, positions, different)
        tally.begin(SPAN)
        for number, blocks in enumerate(asked, 1):
            tally.next_position()
            for block in blocks:
                tally.add_evidence(*block)
            expected = added_up(asked[:number])
            order = np.lexsort((np.arange(SPAN), -expected))
            order = order[expected[order] > -np.inf]
            np.testing.assert_array_equal(tally.largest(count, None), np.sort(order[:count]))
            some = rng.integers(0, SPAN, 50)
            np.testing.assert_array_equal(tally.evidence_of(some), expected[some])
            among = np.flatnonzero(rng.random(2 * SPAN) < 0.3)
            chosen = order[np.isin(order, among)][:count]
            np.testing.assert_array_equal(tally.largest(count, among), np.sort(chosen))


def test_what_does_not_fit_is_refused() -> None:
    evidence = np.zeros(3, np.float32)
    subjects = np.array([5, 6, 7], np.uint32)
    tally = _core.Tally()
    tally.begin(7)
    with pytest.raises(RuntimeError, match="no position has begun"):
        tally.add_evidence(evidence, subjects, True, None)
    tally.next_position()
    for is_run in (True, False):
        with pytest.raises(IndexError, match="not below the span"):
            tally.add_evidence(evidence, subjects, is_run, None)
    for bad in (
        (evidence[:2], subjects, None),
        (evidence.reshape(3, 1), subjects, None),
        (evidence, subjects.reshape(3, 1), None),
        (evidence, subjects, np.zeros(2, np.bool_)),
    ):
        with pytest.raises(ValueError, match=r"expected|must be"):
            tally.add_evidence(bad[0], bad[1], False, bad[2])
    with pytest.raises(TypeError):
        tally.add_evidence(evidence.astype(np.float64), subjects, False, None)
    assert tally.largest(5, None).size == 0
    for beyond in (7, -1, 2**62):
        with pytest.raises(IndexError, match="not below the span"):
            tally.evidence_of(np.array([0, beyond]))
    with pytest.raises(ValueError, match="must be"):
        tally.evidence_of(np.zeros((1, 1), np.int64))
    assert np.isneginf(tally.evidence_of(np.arange(7))).all()
