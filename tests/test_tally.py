# SPDX-License-Identifier: Apache-2.0
"""What a first look says of everyone, added up by the core: against plain NumPy, whoever the references belong to."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from abis import _core

BITS = 512
SPAN = 700  # of subjects' keys: more than a stretch, and no multiple of one

Positions = list[list[tuple[NDArray[np.uint8], NDArray[Any], bool, NDArray[np.bool_] | None]]]


def drawn(rng: np.random.Generator, positions: int, levels: int) -> Positions:
    """Blocks of sketches for each position: runs of subjects or any, with some gone or none."""
    found: Positions = []
    for _ in range(positions):
        blocks = []
        for _ in range(rng.integers(0, 4)):
            n = int(rng.integers(1, 300))
            is_run = bool(rng.integers(2))
            subjects = (
                np.arange(n) + rng.integers(0, SPAN - n + 1) if is_run else rng.integers(0, SPAN, n)
            ).astype(np.uint32 if rng.integers(2) else np.int64)
            bits = np.repeat(rng.random((n, levels)) < 0.5, BITS // levels, axis=1)
            gone = rng.random(n) < 0.2 if rng.integers(2) else None
            blocks.append((np.packbits(bits, axis=1), subjects, is_run, gone))
        found.append(blocks)
    return found


def added_up(
    positions: Positions, probe: NDArray[np.uint8], says: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The evidence of each subject; -inf where there is none."""
    total = np.full(SPAN, -np.inf, np.float32)
    for blocks in positions:
        best = np.full(SPAN, -np.inf, np.float32)
        for sketches, subjects, _, gone in blocks:
            evidence = says[np.unpackbits(sketches ^ probe, axis=1).sum(axis=1)]
            left = np.ones(len(subjects), np.bool_) if gone is None else ~gone
            np.maximum.at(best, subjects[left], evidence[left])
        total = np.where(np.isneginf(total), best, total + np.where(np.isneginf(best), np.float32(0), best))
    return total


@given(
    seed=st.integers(0, 2**32),
    positions=st.integers(1, 3),
    levels=st.sampled_from([2, 8, 512]),
    count=st.integers(0, 800),
    threads=st.integers(1, 3),
)
@settings(max_examples=120, deadline=None)
def test_the_largest_are_those_of_numpy(
    seed: int, positions: int, levels: int, count: int, threads: int
) -> None:
    """With many equal ones, with subjects of several references, and whatever a sample of them says."""
    rng = np.random.default_rng(seed)
    probe = rng.integers(0, 256, BITS // 8, np.uint8)
    says = np.sort(rng.normal(size=BITS + 1)).astype(np.float32)[::-1].copy()
    tally = _core.Tally()
    for _ in range(2):  # its memory serves the next search
        asked = drawn(rng, positions, levels)
        tally.begin(SPAN)
        for number, blocks in enumerate(asked, 1):
            tally.next_position()
            for sketches, subjects, is_run, gone in blocks:
                tally.screen_sketches(sketches, probe, says, subjects, is_run, gone, threads)
            expected = added_up(asked[:number], probe, says)
            order = np.lexsort((np.arange(SPAN), -expected))
            order = order[expected[order] > -np.inf]
            np.testing.assert_array_equal(tally.largest(count, None), np.sort(order[:count]))
            among = np.flatnonzero(rng.random(2 * SPAN) < 0.3)
            chosen = order[np.isin(order, among)][:count]
            np.testing.assert_array_equal(tally.largest(count, among), np.sort(chosen))


@pytest.mark.parametrize("bits", [512, 1024])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_a_look_is_the_table_by_differing_bits(bits: int, n: int) -> None:
    rng = np.random.default_rng(n)
    sketches = rng.integers(0, 256, (n, bits // 8), np.uint8)
    probe = rng.integers(0, 256, bits // 8, np.uint8)
    if n > 1:
        sketches[0], sketches[1] = probe, ~probe  # no bit differs, and every one
    says = rng.normal(size=bits + 1).astype(np.float32)
    expected = says[np.unpackbits(sketches ^ probe, axis=1).sum(axis=1, dtype=np.int64)]
    np.testing.assert_array_equal(_core.look_at_sketches(probe, sketches, says, None, 2), expected)
    slots = rng.integers(0, max(n, 1), 3 * n)
    np.testing.assert_array_equal(
        _core.look_at_sketches(probe, sketches, says, slots, 2), expected[slots] if n else expected
    )
    with pytest.raises(IndexError):
        _core.look_at_sketches(probe, sketches, says, np.array([n]), 1)


def test_what_does_not_fit_is_refused() -> None:
    sketches, probe = np.zeros((3, 64), np.uint8), np.zeros(64, np.uint8)
    says = np.zeros(513, np.float32)
    subjects = np.array([5, 6, 7], np.uint32)
    tally = _core.Tally()
    tally.begin(7)
    with pytest.raises(RuntimeError, match="no position has begun"):
        tally.screen_sketches(sketches, probe, says, subjects, True, None, 1)
    tally.next_position()
    for is_run in (True, False):
        with pytest.raises(IndexError, match="not below the span"):
            tally.screen_sketches(sketches, probe, says, subjects, is_run, None, 1)
    for bad in (
        (sketches[:2], probe, says, subjects, None),
        (sketches, probe[:-1], says, subjects, None),
        (sketches[:, :32].copy(), probe[:32], says[:257], subjects, None),
        (sketches, probe, says[:-1], subjects, None),
        (sketches, probe, says, subjects, np.zeros(2, np.bool_)),
    ):
        with pytest.raises(ValueError, match=r"expected|must be|a sketch has"):
            tally.screen_sketches(*bad[:4], False, bad[4], 1)
    assert tally.largest(5, None).size == 0
