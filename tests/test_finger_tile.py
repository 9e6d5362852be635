# SPDX-License-Identifier: Apache-2.0
"""Fingers compared many with many: the looks and scores of the index, and what `near` promises."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import oracle.tables
import pytest
from fingers import SHAPES, make_finger, make_impression, make_strange, mated, scattered, strange
from hypothesis import given, settings
from hypothesis import strategies as st

from abis.deduplication.finger_tile import FingerTile
from abis.index.finger_index import FingerIndex
from abis.template import Minutiae

EVERYTHING = -1e9

any_template = st.one_of(scattered(), strange())
any_pair = st.one_of(mated(), mated(turn=20), st.tuples(any_template, any_template))

Near = dict[tuple[int, int], float]


def fingers(impressions: int = 2, count: int = 6) -> list[Minutiae]:
    """Of some fingers several impressions each, then strange ones."""
    rng = np.random.default_rng(5)
    own = [make_finger(rng, size) for size in rng.integers(20, 60, count)]
    found = [make_impression(finger, rng) for finger in own for _ in range(impressions)]
    return found + [make_strange(shape, rng) for shape in SHAPES]


def index_of(templates: Sequence[Minutiae]) -> FingerIndex:
    index = FingerIndex()
    index.extend(templates)
    return index


def tile_of(templates: Sequence[Minutiae]) -> FingerTile:
    return FingerTile(index_of(templates).arrays())


def near(
    tile: FingerTile,
    probes: FingerTile,
    least: float,
    limits: npt.NDArray[np.int64] | None = None,
    *,
    threads: int = 1,
) -> Near:
    if limits is None:
        limits = np.full(len(probes), len(tile), np.int64)
    probe, reference, evidence = tile.near(probes, limits, least, threads=threads)
    pairs = list(zip(probe.tolist(), reference.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    return dict(zip(pairs, evidence.tolist(), strict=True))


@settings(deadline=None, max_examples=25)
@given(st.lists(any_template, min_size=1, max_size=4))
def test_evidence_and_scores_are_those_of_the_index_to_the_bit(templates: list[Minutiae]) -> None:
    index, tile = index_of(templates), tile_of(templates)
    slots = np.arange(len(templates), dtype=np.int64)
    for number, template in enumerate(templates):
        probe = np.full(len(slots), number, np.int64)
        np.testing.assert_array_equal(tile.refine(tile, probe, slots), index.refine(template, slots))
        np.testing.assert_array_equal(tile.compare(tile, probe, slots), index.compare(template, slots))


@settings(deadline=None, max_examples=20)
@given(st.lists(any_pair, min_size=1, max_size=3))
def test_near_agrees_with_a_look_at_all_pairs_of_minutiae(pairs: list[tuple[Minutiae, Minutiae]]) -> None:
    probes, references = zip(*pairs, strict=True)
    found = near(tile_of(references), tile_of(probes), EVERYTHING)
    expected = {
        (p, r): evidence
        for p, probe in enumerate(probes)
        for r, reference in enumerate(references)
        if (evidence := oracle.tables.near(probe, reference)) is not None
    }
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_near_finds_impressions_of_a_finger_and_tells_them_from_others() -> None:
    tile = tile_of(fingers())
    found = near(tile, tile, EVERYTHING)
    for finger in range(6):
        first, second = 2 * finger, 2 * finger + 1
        others = [e for (p, r), e in found.items() if p == first and r not in (first, second)]
        assert found[first, second] > max(others, default=EVERYTHING)


@pytest.mark.parametrize("least", [0.0, 2.0, 8.0])
def test_near_lists_what_reaches_the_least_and_no_more(least: float) -> None:
    tile = tile_of(fingers())
    found = near(tile, tile, EVERYTHING)
    assert near(tile, tile, least) == {pair: e for pair, e in found.items() if e >= least}


def test_near_looks_only_below_the_limits() -> None:
    tile = tile_of(fingers())
    found = near(tile, tile, 0.0)
    limits = np.arange(len(tile), dtype=np.int64)
    assert near(tile, tile, 0.0, limits) == {(p, r): e for (p, r), e in found.items() if r < p}


def test_whether_a_pair_is_near_depends_on_the_two_alone() -> None:
    templates = fingers(count=2)
    tile = tile_of(templates)
    found = near(tile, tile, EVERYTHING)
    alone = [tile_of([template]) for template in templates]
    for p, probe in enumerate(alone):
        for r, reference in enumerate(alone):
            assert near(reference, probe, EVERYTHING).get((0, 0)) == found.get((p, r))


def test_any_number_of_threads_finds_the_same() -> None:
    tile = tile_of(fingers(impressions=22))  # more than one block of probes
    assert near(tile, tile, 0.0, threads=3) == near(tile, tile, 0.0)


def test_a_part_of_the_probes_finds_its_part() -> None:
    tile = tile_of(fingers())
    found = near(tile, tile, 0.0)
    probe, reference, evidence = tile.near(tile, np.full(4, len(tile), np.int64), 0.0, first=3)
    rows = zip(zip(probe.tolist(), reference.tolist(), strict=True), evidence.tolist(), strict=True)
    assert dict(rows) == {(p, r): e for (p, r), e in found.items() if 3 <= p < 7}


def test_who_is_not_there_is_refused() -> None:
    tile = tile_of(fingers())
    for call in (tile.refine, tile.compare):
        for wrong in (-1, len(tile)):
            there, absent = np.zeros(1, np.int64), np.full(1, wrong, np.int64)
            with pytest.raises(IndexError):
                call(tile, absent, there)
            with pytest.raises(IndexError):
                call(tile, there, absent)


def test_a_tile_of_nothing_is_near_to_nothing() -> None:
    empty, tile = tile_of([]), tile_of(fingers())
    assert near(empty, tile, EVERYTHING) == {}
    assert near(tile, empty, EVERYTHING) == {}


def test_a_tile_takes_no_more_memory_than_it_needs() -> None:
    templates = fingers(count=40)
    minutiae = sum(map(len, templates))
    assert tile_of(templates).memory_bytes < 27 * minutiae + 8 * len(templates) + 500


def test_scores_of_many_pairs_are_those_of_each_alone() -> None:
    """In any order, some of them twice, of more probes than are prepared together."""
    templates = fingers(impressions=50)
    tile = tile_of(templates)
    rng = np.random.default_rng(3)
    probe, reference = rng.integers(0, len(tile), (2, 700))
    probe[:300] = np.arange(300) % len(tile)  # a run of each
    found = tile.compare(tile, probe, reference, threads=2)
    index = index_of(templates)
    for p in np.unique(probe):
        chosen = probe == p
        np.testing.assert_array_equal(found[chosen], index.compare(templates[p], reference[chosen]))
