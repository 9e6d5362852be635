# SPDX-License-Identifier: Apache-2.0
"""The index of compact fingers: its properties, and its NumPy twin."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fingers import make_finger, make_impression, mated, scattered, strange
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.codes import coded, coded_probe, refined, screened, sifted, tells
from oracle.comparison import prepare

import abis
from abis.comparison import balance, raw_scores
from abis.evaluation.datasets import read_folder
from abis.index.finger_index import FingerIndex, ready
from abis.template import Minutiae
from abis.template.modality import FINGER

any_template = st.one_of(scattered(), strange())
any_pair = st.one_of(mated(), mated(turn=20), st.tuples(any_template, any_template))


def index_of(*templates: Minutiae) -> FingerIndex:
    index = FingerIndex()
    index.extend(templates)
    return index


def all_slots(index: FingerIndex) -> npt.NDArray[np.int64]:
    return np.arange(len(index), dtype=np.int64)


@settings(deadline=None, max_examples=60)
@given(any_template)
def test_what_is_kept_is_the_normalised_template_and_its_codes(template: Minutiae) -> None:
    kept = index_of(template).arrays()
    minutiae, codes = coded(template)
    for name in ("x", "y", "direction", "kind", "reliability"):
        np.testing.assert_array_equal(kept[name], getattr(minutiae, name), err_msg=name)
    np.testing.assert_array_equal(np.stack([kept["first"], kept["second"]], axis=1), codes)


@settings(deadline=None, max_examples=100)
@given(any_pair)
def test_evidence_agrees(pair: tuple[Minutiae, Minutiae]) -> None:
    probe, reference = pair
    index = index_of(reference)
    coded = coded_probe(probe)
    np.testing.assert_allclose(index.screen(probe), screened(coded, reference), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        index.sift(probe, all_slots(index)), sifted(coded, reference), rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        index.refine(probe, all_slots(index)), refined(coded, reference), rtol=1e-3, atol=1e-3
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(any_template, min_size=1, max_size=6), any_template)
def test_a_comparison_is_that_of_raw_scores_to_the_bit(references: list[Minutiae], probe: Minutiae) -> None:
    index = index_of(*references)
    np.testing.assert_array_equal(index.compare(probe, all_slots(index)), raw_scores(probe, references))


@settings(deadline=None, max_examples=60)
@given(st.lists(any_template, min_size=1, max_size=6), any_template)
def test_a_balance_is_that_of_the_templates_to_the_bit(references: list[Minutiae], probe: Minutiae) -> None:
    index = index_of(*references)
    found = index.balance(probe, all_slots(index))
    np.testing.assert_array_equal(found, balance(probe, references))
    content = [int(prepare(t)[0].reliability.sum()) for t in (probe, *references)]
    low, high = np.minimum(content[0], content[1:]), np.maximum(1, np.maximum(content[0], content[1:]))
    np.testing.assert_array_equal(found, np.minimum(1.0, 4 * low / high))
    other_way = np.concatenate([index_of(probe).balance(r, np.array([0])) for r in references])
    np.testing.assert_array_equal(found, other_way)
    index.remove(np.array([0]))
    assert index.balance(probe, np.array([0])) == 0
    with pytest.raises(IndexError):
        index.balance(probe, np.array([len(references)]))


def test_an_index_of_whole_chunks_takes_more() -> None:
    rng = np.random.default_rng(0)
    templates = [make_impression(make_finger(rng, 3 + n % 5)) for n in range(513)]
    whole = index_of(*templates)
    for first in (255, 256, 257, 512):
        index = index_of(*templates[:first])
        index.extend(templates[first:])
        for name, column in whole.arrays().items():
            np.testing.assert_array_equal(index.arrays()[name], column, err_msg=name)
        np.testing.assert_array_equal(index.screen(templates[0]), whole.screen(templates[0]))


def test_an_uncertain_minutia_takes_a_quarter_of_the_memory() -> None:
    rng = np.random.default_rng(3)
    made = [make_impression(make_finger(rng, 60)) for _ in range(512)]
    certain = [replace(t, quality=np.full(len(t), 90)) for t in made]
    half = [replace(t, quality=np.where(np.arange(len(t)) % 2, 90, 30)) for t in made]
    all_certain, half_certain = index_of(*certain), index_of(*half)
    saved = sum(len(t) // 2 for t in certain) * (23.25 - 6.25)
    assert 0.9 * saved < all_certain.memory_bytes - half_certain.memory_bytes < 1.1 * saved
    codes = np.stack([half_certain.arrays()[name] for name in ("first", "second")], axis=1)
    assert 0.45 < tells(codes).mean() < 0.55


def test_a_snapshot_is_of_use_only_where_the_same_minutiae_have_codes() -> None:
    """Its recipe is made from this template."""
    example = FINGER.example()
    assert isinstance(example, Minutiae)
    kept = index_of(example).arrays()
    telling = tells(np.stack([kept["first"], kept["second"]], axis=1))
    assert telling.any()
    assert not telling.all()


def test_a_mate_stands_out_however_it_is_turned() -> None:
    rng = np.random.default_rng(0)
    fingers = [make_finger(rng, 45) for _ in range(300)]
    index = index_of(*(make_impression(finger, rng) for finger in fingers))
    for mate, turn in enumerate(range(-180, 180, 24)):
        probe = make_impression(fingers[mate], rng, turn=turn)
        looks = [index.sift(probe, all_slots(index)), index.refine(probe, all_slots(index))]
        if abs(turn) < 50:
            looks.append(index.screen(probe))  # which looks no further
        for evidence in looks:
            assert np.argmax(evidence) == mate, turn


def test_real_mates_come_first(data: Path) -> None:
    samples = read_folder(data / "fingerprints" / "leader" / "fvc2002_db2_b").samples
    templates = [s.template for s in samples if isinstance(s.template, Minutiae)]
    fingers = np.array([s.finger for s in samples])
    index = index_of(*templates)
    for number in range(0, len(templates), 8):
        probe = templates[number]
        slots = all_slots(index)
        for evidence in (index.screen(probe), index.sift(probe, slots), index.refine(probe, slots)):
            best = np.argsort(-evidence)[:8]
            assert np.count_nonzero(fingers[best] == fingers[number]) >= 7, samples[number].name


def test_the_order_of_calls_is_the_order_of_slots() -> None:
    rng = np.random.default_rng(1)
    templates = [make_impression(make_finger(rng, n), rng) for n in rng.integers(0, 60, 2100)]  # some chunks
    once, twice = index_of(*templates), FingerIndex()
    assert twice.extend(templates[:700]) == range(700)
    assert twice.extend([]) == range(700, 700)
    assert twice.extend(templates[700:], threads=2) == range(700, 2100)
    assert once.memory_bytes > 0
    probe = templates[1500]
    np.testing.assert_array_equal(once.screen(probe), twice.screen(probe, threads=3))
    slots = np.array([2099, 3, 3, 1024, 1023], np.int64)
    np.testing.assert_array_equal(once.sift(probe, slots), twice.sift(ready(probe), slots, threads=2))
    np.testing.assert_array_equal(once.refine(probe, slots), twice.refine(probe, slots, threads=2))
    np.testing.assert_array_equal(once.refine(probe, all_slots(once))[slots], once.refine(probe, slots))
    np.testing.assert_array_equal(
        twice.compare(probe, slots, threads=2), raw_scores(probe, [templates[s] for s in slots])
    )


def test_nothing_is_left_of_what_is_removed() -> None:
    rng = np.random.default_rng(2)
    templates = [make_impression(make_finger(rng, 30), rng) for _ in range(4)]
    index = index_of(*templates)
    before = index.screen(templates[0])
    index.remove(np.array([2, 0, 2], np.int64))
    assert len(index) == 4
    evidence = index.screen(templates[0])
    assert np.isneginf(evidence[[0, 2]]).all()
    np.testing.assert_array_equal(evidence[[1, 3]], before[[1, 3]])
    np.testing.assert_array_equal(
        np.isneginf(index.refine(templates[0], all_slots(index))), np.isneginf(evidence)
    )
    np.testing.assert_array_equal(
        np.isneginf(index.sift(templates[0], all_slots(index))), np.isneginf(evidence)
    )
    np.testing.assert_array_equal(
        np.isnan(index.compare(templates[0], all_slots(index))), np.isneginf(evidence)
    )
    kept = index.arrays()
    owner = np.repeat(np.arange(4), kept["sizes"])
    for name in ("first", "second", "x", "y", "direction", "kind", "reliability"):
        assert not kept[name][np.isin(owner, (0, 2))].any(), name
    assert index.extend([templates[0]]) == range(4, 5)


def test_a_slot_that_is_not_there_is_refused() -> None:
    index = index_of(make_impression(make_finger(np.random.default_rng(3), 9)))
    probe = make_impression(make_finger(np.random.default_rng(3), 9))
    for bad in (-1, 1):
        slots = np.array([0, bad], np.int64)
        with pytest.raises(IndexError, match=f"slot {bad} of 1"):
            index.sift(probe, slots)
        with pytest.raises(IndexError, match=f"slot {bad} of 1"):
            index.refine(probe, slots)
        with pytest.raises(IndexError, match=f"slot {bad} of 1"):
            index.compare(probe, slots)
        with pytest.raises(IndexError, match=f"slot {bad} of 1"):
            index.remove(slots)
    with pytest.raises(TypeError, match=r"slots is int32 of shape \(1,\); expected int64"):
        index.refine(probe, np.zeros(1, np.int32))


def test_an_empty_index_answers() -> None:
    probe = make_impression(make_finger(np.random.default_rng(4), 9))
    none = np.empty(0, np.int64)
    for index in (FingerIndex(), FingerIndex.from_arrays(FingerIndex().arrays())):
        assert len(index) == len(index.screen(probe)) == len(index.refine(probe, none)) == 0
        assert len(index.compare(probe, none)) == 0


@settings(deadline=None, max_examples=30)
@given(st.lists(any_template, max_size=5), any_template, st.data())
def test_arrays_are_all_there_is(templates: list[Minutiae], probe: Minutiae, data: st.DataObject) -> None:
    index = index_of(*templates)
    if templates:
        index.remove(np.array(data.draw(st.lists(st.integers(0, len(templates) - 1))), np.int64))
    again = FingerIndex.from_arrays(index.arrays())
    assert again.arrays().keys() == index.arrays().keys()
    for name, column in index.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], column)
    np.testing.assert_array_equal(again.screen(probe), index.screen(probe))
    np.testing.assert_array_equal(
        again.compare(probe, all_slots(again)), index.compare(probe, all_slots(index))
    )


DAMAGE = {
    "sizes": (200, "sizes must add up to the number of minutiae"),
    "removed": (2, "removed must be 0 or 1"),
    "x": (-32768, "x must ascend in each slot"),
    "kind": (3, "kind must be 0 to 2"),
    "reliability": (101, "reliability must be 0 to 100"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_arrays_are_refused(name: str) -> None:
    value, message = DAMAGE[name]
    arrays = index_of(make_impression(make_finger(np.random.default_rng(5), 20))).arrays()
    FingerIndex.from_arrays(arrays)
    arrays[name][-1] = value
    with pytest.raises(ValueError, match=message):
        FingerIndex.from_arrays(arrays)


def test_arrays_of_another_shape_are_refused() -> None:
    rng = np.random.default_rng(6)
    arrays = index_of(*(make_impression(make_finger(rng, 20)) for _ in range(3))).arrays()
    for name, column in arrays.items():
        lacking = {key: value for key, value in arrays.items() if key != name}
        for wrong, message in (
            (column[:-1], "must be arrays of one length|must add up"),
            (column.astype(np.float32), f"{name} is float32"),
            (column[np.newaxis], f"{name} is .* of shape"),
            (np.repeat(column, 2)[::2], f"{name} is .*not C-contiguous"),
        ):
            with pytest.raises(ValueError, match=message):
                FingerIndex.from_arrays(lacking | {name: wrong})
        with pytest.raises(ValueError, match="columns are"):
            FingerIndex.from_arrays(lacking)


def test_no_content_is_shown() -> None:
    index = index_of(make_impression(make_finger(np.random.default_rng(7), 20)))
    assert "FingerIndex object" in repr(index)
    with pytest.raises(TypeError, match="a Embedding cannot be compared with fingers"):
        index.screen(abis.Embedding(vector=np.ones(4), model="m"))  # type: ignore[arg-type]
