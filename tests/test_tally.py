# SPDX-License-Identifier: Apache-2.0
"""What a first look says of everyone, added up by the core: against plain NumPy, whoever the references belong to."""

from typing import Any

import numpy as np
import pytest
from corners import sums
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from abis import _core

BYTES = 32  # of a code
SPAN = 700  # of subjects' keys: more than a stretch, and no multiple of one

Positions = list[list[tuple[NDArray[np.uint8], NDArray[Any], bool, NDArray[np.bool_] | None]]]


def drawn(rng: np.random.Generator, positions: int, different: int) -> Positions:
    """Blocks of codes for each position: runs of subjects or any, with some gone or none."""
    found: Positions = []
    for _ in range(positions):
        blocks = []
        for _ in range(rng.integers(0, 4)):
            n = int(rng.integers(1, 300))
            is_run = bool(rng.integers(2))
            subjects = (
                np.arange(n) + rng.integers(0, SPAN - n + 1) if is_run else rng.integers(0, SPAN, n)
            ).astype(np.uint32 if rng.integers(2) else np.int64)
            codes = rng.integers(0, 256, (different, BYTES), np.uint8)[rng.integers(0, different, n)]
            gone = rng.random(n) < 0.2 if rng.integers(2) else None
            blocks.append((codes, subjects, is_run, gone))
        found.append(blocks)
    return found


def together(codes: NDArray[np.uint8], rest: int = 0) -> NDArray[np.uint8]:
    """As the core takes them; ``rest`` fills the last ones up."""
    filled = np.full((-(-len(codes) // 16) * 16, codes.shape[1]), rest, np.uint8)
    filled[: len(codes)] = codes
    return np.ascontiguousarray(filled.reshape(-1, 16, codes.shape[1]).transpose(0, 2, 1))


def added_up(
    positions: Positions, corners: NDArray[np.uint8], says: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The evidence of each subject; -inf where there is none."""
    total = np.full(SPAN, -np.inf, np.float32)
    for blocks in positions:
        best = np.full(SPAN, -np.inf, np.float32)
        for codes, subjects, _, gone in blocks:
            evidence = says[sums(codes, corners)]
            left = np.ones(len(subjects), np.bool_) if gone is None else ~gone
            np.maximum.at(best, subjects[left], evidence[left])
        total = np.where(np.isneginf(total), best, total + np.where(np.isneginf(best), np.float32(0), best))
    return total


@given(
    seed=st.integers(0, 2**32),
    positions=st.integers(1, 3),
    different=st.sampled_from([2, 8, 512]),
    count=st.integers(0, 800),
    threads=st.integers(1, 3),
)
@settings(max_examples=120, deadline=None)
def test_the_largest_are_those_of_numpy(
    seed: int, positions: int, different: int, count: int, threads: int
) -> None:
    """With many equal ones, with subjects of several references, and whatever a sample of them says."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 128, (2, BYTES, 16), np.uint8)
    says = np.sort(rng.normal(size=2 * 127 * BYTES + 1)).astype(np.float32)
    tally = _core.Tally()
    for _ in range(2):  # its memory serves the next search
        asked = drawn(rng, positions, different)
        tally.begin(SPAN)
        for number, blocks in enumerate(asked, 1):
            tally.next_position()
            for codes, subjects, is_run, gone in blocks:
                tally.screen_embeddings(together(codes), corners, says, subjects, is_run, gone, threads)
            expected = added_up(asked[:number], corners, says)
            order = np.lexsort((np.arange(SPAN), -expected))
            order = order[expected[order] > -np.inf]
            np.testing.assert_array_equal(tally.largest(count, None), np.sort(order[:count]))
            among = np.flatnonzero(rng.random(2 * SPAN) < 0.3)
            chosen = order[np.isin(order, among)][:count]
            np.testing.assert_array_equal(tally.largest(count, among), np.sort(chosen))


@pytest.mark.parametrize("length", [32, 64, 256, 512])
@pytest.mark.parametrize("n", [1, 15, 16, 17, 100])
def test_a_look_is_the_value_of_the_corners_sum(n: int, length: int) -> None:
    """Told by who has the most: everyone's value is another, and what fills up the last codes is nobody's."""
    rng = np.random.default_rng(n)
    codes = rng.integers(0, 256, (n, length), np.uint8)
    corners = rng.integers(0, 128, (2, length, 16), np.uint8)
    corners[:, :, 3] = 127
    codes[n // 2] = 0x33  # the largest sum there can be
    says = rng.permutation(2 * 127 * length + 1).astype(np.float32)
    order = np.argsort(-says[sums(codes, corners)], kind="stable")
    tally = _core.Tally()
    tally.begin(n)
    tally.next_position()
    subjects = np.arange(n, dtype=np.uint32)
    tally.screen_embeddings(together(codes, rest=0x33), corners, says, subjects, True, None, 2)
    for count in range(1, n + 1):
        assert tally.largest(count, None).tolist() == sorted(order[:count].tolist())


def test_what_does_not_fit_is_refused() -> None:
    codes, corners = np.zeros((1, 32, 16), np.uint8), np.zeros((2, 32, 16), np.uint8)
    says = np.zeros(2 * 127 * 32 + 1, np.float32)
    subjects = np.array([5, 6, 7], np.uint32)
    tally = _core.Tally()
    tally.begin(7)
    with pytest.raises(RuntimeError, match="no position has begun"):
        tally.screen_embeddings(codes, corners, says, subjects, True, None, 1)
    tally.next_position()
    for is_run in (True, False):
        with pytest.raises(IndexError, match="not below the span"):
            tally.screen_embeddings(codes, corners, says, subjects, is_run, None, 1)
    for bad in (
        (codes.repeat(2, axis=0), corners, says, subjects, None),
        (codes[:, :, :8].copy(), corners, says, subjects, None),
        (codes[0], corners, says, subjects, None),
        (codes[:, :16].copy(), corners[:, :16].copy(), says[: 2 * 127 * 16 + 1], subjects, None),
        (codes, corners[:1], says, subjects, None),
        (codes, corners[:, :31].copy(), says, subjects, None),
        (codes, corners + np.uint8(128), says, subjects, None),
        (codes, corners, says[:-1], subjects, None),
        (codes, corners, says, subjects, np.zeros(2, np.bool_)),
    ):
        with pytest.raises(ValueError, match=r"expected|must be"):
            tally.screen_embeddings(*bad[:-1], False, bad[-1], 1)  # type: ignore[call-arg]
    assert tally.largest(5, None).size == 0
