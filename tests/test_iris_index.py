# SPDX-License-Identifier: Apache-2.0
"""The search for iris codes: the first look against its definition, and what it loses."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from eyes import code
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.comparison.iris import iris_scores, packed
from abis.comparison.kind import Kind
from abis.identification.nearest import nearest
from abis.index.iris_index import IrisIndex, IrisProbe, looked_at
from abis.index.segments import Block
from abis.synthetic import Population
from abis.template import IrisCode, Position

SHAPES = st.sampled_from([(8, 128, 2), (6, 128, 4), (4, 33, 2), (1, 1, 8), (16, 256, 4), (128, 5, 8)])


def similarity(probe: IrisCode, reference: IrisCode) -> float:
    """What the first look says, by its definition."""
    chosen = looked_at(probe.columns, probe.bits.shape[1])
    bits, mask = (part[:, chosen] for part in reference.unpacked())

    def score(turn: int) -> float:
        own, counting = (part[:, (chosen + turn) % probe.columns] for part in probe.unpacked())
        both = mask & counting
        n, different = int(both.sum()), int(((bits ^ own) & both).sum())
        return (n - 2 * different) / math.sqrt(max(1, n))

    coarse, others = (turns.tolist() for turns in IrisProbe.turns(probe.columns))
    best = max(map(score, coarse))
    return max([best, *map(score, others)]) if best >= 4 else best


@given(SHAPES, st.integers(0, 9), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_the_first_look_is_that_of_the_definition(
    shape: tuple[int, int, int], person: int, hidden: float, count: int
) -> None:
    codes = [code(k, shape=shape, hidden=hidden) for k in range(21)]
    probe = code(person, shape=shape, flips=0.1, capture=1, shift=1, hidden=0.2)
    similarities, slots = IrisIndex.of(codes).nearest(IrisProbe.of(probe), count)
    expected = np.array([similarity(probe, each) for each in codes])
    order = np.argsort(-expected.round(5), kind="stable")[:count]
    assert len(slots) == min(count, len(codes))
    assert expected[order] == pytest.approx(similarities, abs=1e-4)
    assert expected[slots] == pytest.approx(similarities, abs=1e-4)
    assert len(set(slots.tolist())) == len(slots)


def test_of_equal_ones_the_first_are_nearest() -> None:
    index = IrisIndex.of([code(1)] * 300)
    _, slots = index.nearest(IrisProbe.of(code(1)), 7)
    assert slots.tolist() == list(range(7))


@pytest.mark.parametrize("level", ["base", "avx2", "avx512bw", "avx512"])
def test_the_first_look_is_equal_on_every_cpu(level: str) -> None:
    program = (
        "from abis.index.iris_index import IrisIndex, IrisProbe\n"
        "from eyes import code\n"
        "index = IrisIndex.of([code(k) for k in range(77)])\n"
        "print(*(a.tobytes().hex() for a in index.nearest(IrisProbe.of(code(5, flips=0.2, capture=1)), 30)))"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), *sys.path]))
    found = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=os.environ | {"ABIS_SIMD": level, "PYTHONPATH": path},
        check=False,
    )
    if "this CPU has" in found.stderr:
        pytest.skip(f"this CPU has no {level}")
    index = IrisIndex.of([code(k) for k in range(77)])
    expected = index.nearest(IrisProbe.of(code(5, flips=0.2, capture=1)), 30)
    assert found.stdout.split() == [each.tobytes().hex() for each in expected], found.stderr


def test_what_is_found_does_not_depend_on_segments_and_removals() -> None:
    codes = [code(k) for k in range(60)]
    kind = Kind.of(codes[0])
    probe = IrisProbe.of(code(7, flips=0.1, capture=1))

    def block(numbers: list[int], gone: list[int]) -> Block:
        keys = np.array(numbers, np.uint32)
        return Block(
            kind, IrisIndex.of([codes[n] for n in numbers]), keys, keys, np.isin(keys, gone) if gone else None
        )

    whole = nearest([(probe, [block([n for n in range(60) if n not in (7, 9)], [])])], 5, None)
    parts = nearest([(probe, [block(list(range(25)), [7, 9]), block(list(range(25, 60)), [])])], 5, None)
    assert whole.subjects.tolist() == parts.subjects.tolist()
    assert whole.similarities.tolist() == parts.similarities.tolist()


def test_an_index_is_joined_and_kept() -> None:
    codes = [code(k) for k in range(30)]
    whole = IrisIndex.of(codes)
    probe = IrisProbe.of(code(3, flips=0.1, capture=1))
    joined = IrisIndex.joined(
        [(IrisIndex.of(codes[:9]), np.arange(9)), (whole, np.arange(9, 30, dtype=np.int64))]
    )
    again = IrisIndex.from_arrays(whole.arrays())
    for index in (joined, again):
        assert [each.tolist() for each in index.nearest(probe, 30)] == [
            each.tolist() for each in whole.nearest(probe, 30)
        ]
        assert (index.codes == whole.codes).all()
    assert whole.memory_bytes == 30 * 2 * 256 + 32 * 2 * 64


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.zeros((0, 2, 256), np.uint8)},
        {"codes": np.zeros((3, 2, 256), np.int8)},
        {"codes": np.zeros((3, 1, 256), np.uint8)},
        {"shape": np.array([128], np.uint16)},
        {"shape": np.array([0, 2], np.uint16)},
        {"shape": np.array([128, 3], np.uint16)},
        {"shape": np.array([64, 2], np.uint16)},
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change: dict[str, np.ndarray]) -> None:
    arrays = IrisIndex.of([code(1)]).arrays()
    with pytest.raises(ValueError, match="shape"):
        IrisIndex.from_arrays(arrays | change)


def test_mates_among_synthetic_eyes_are_near() -> None:
    eyes, probes = 3_000, 60
    population = Population(seed=3)
    codes = [
        IrisCode.of_packed(bits=bits, mask=mask, shape=(6, 128, 4), model="m", position=Position.LEFT_EYE)
        for impression, count in ((0, eyes), (1, probes))
        for bits, mask in zip(
            *population.iris_columns(range(count), Position.LEFT_EYE, impression), strict=True
        )
    ]
    index, again = IrisIndex.of(codes[:eyes]), codes[eyes:]
    every = packed(codes[:eyes])
    ranked_first = [n for n in range(probes) if iris_scores(again[n], every).argmax() == n]
    assert len(ranked_first) > 0.9 * probes
    found = [n for n in ranked_first if n in index.nearest(IrisProbe.of(again[n]), 60)[1]]
    assert len(found) >= 0.95 * len(ranked_first)
