# SPDX-License-Identifier: Apache-2.0
"""Properties of the comparison that hold whatever its constants, through abis.comparison."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fingers import Finger, make_finger, make_impression, mated, scattered, seeds, strange
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracle.constants import C

from abis import _core
from abis.comparison import FingerReferences, cosine, explain, raw_scores
from abis.errors import TemplateError
from abis.template import Embedding, Minutiae, Position

Scores = npt.NDArray[np.float32]

any_template = st.one_of(scattered(), strange())
any_pair = st.one_of(mated(), st.tuples(any_template, any_template))
any_templates = st.lists(any_template, max_size=12)

CORE: Any = _core  # for calls that its types forbid

EMPTY = Minutiae(x=[], y=[], direction=[], width=1, height=1)


def packed(templates: list[Minutiae]) -> FingerReferences:
    references = FingerReferences()
    references.extend(templates)
    return references


def score(probe: Minutiae, reference: Minutiae) -> float:
    return float(packed([reference]).compare(probe)[0])


def changed(template: Minutiae, **columns: Any) -> Minutiae:
    names = ("x", "y", "direction", "kind", "quality", "width", "height", "resolution")
    return Minutiae(**{name: getattr(template, name) for name in names} | columns)


# --- One comparison -------------------------------------------------------------------------------


@settings(deadline=None)
@given(any_pair)
def test_symmetric_to_the_bit(pair: tuple[Minutiae, Minutiae]) -> None:
    probe, reference = pair
    assert score(probe, reference) == score(reference, probe)


@settings(deadline=None)
@given(any_pair, seeds)
def test_order_of_minutiae_is_nothing(pair: tuple[Minutiae, Minutiae], seed: int) -> None:
    probe, reference = pair
    order = np.random.default_rng(seed).permutation(len(probe))
    shuffled = changed(
        probe, **{name: getattr(probe, name)[order] for name in ("x", "y", "direction", "kind", "quality")}
    )
    assert score(shuffled, reference) == score(probe, reference)


@settings(deadline=None)
@given(any_pair)
def test_explains_the_score(pair: tuple[Minutiae, Minutiae]) -> None:
    explanation = explain(*pair)
    assert explanation.score == score(*pair)
    assert np.isfinite(list(explanation.terms.values())).all()
    for side, template in enumerate(pair):
        paired = explanation.pairs[:, side].tolist()
        assert len(set(paired)) == len(paired) == explanation.terms["pairs"]
        assert all(index < len(template) for index in paired)
    back = explain(*pair[::-1])
    assert back.terms == explanation.terms


@settings(deadline=None)
@given(any_pair, st.integers(0, 100), st.integers(0, 100))
def test_place_on_the_image_is_nothing(pair: tuple[Minutiae, Minutiae], right: int, down: int) -> None:
    probe, reference = pair
    assume(probe.resolution == (197, 197) and probe.width == 500)
    # Nothing is rounded below 650 pixels at 197 pixels/cm, which is not quite 500 dpi.
    moved = changed(probe, x=probe.x + right, y=probe.y + down, width=600, height=600)
    assert score(moved, reference) == score(probe, reference)


@settings(deadline=None)
@given(scattered(least=8), st.one_of(any_template, mated().map(lambda pair: pair[1])))
def test_nothing_is_more_alike_than_itself(template: Minutiae, other: Minutiae) -> None:
    assert score(template, template) >= score(template, other)


@settings(deadline=None)
@given(any_template)
def test_an_empty_template_compares_low(template: Minutiae) -> None:
    assert score(EMPTY, template) == score(EMPTY, EMPTY) < SAMPLE.mated.min()


class Sample:
    """Scores of clear prints: two of each finger, the second turned up to 20 degrees and moved."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.fingers = [make_finger(rng, int(n)) for n in rng.integers(30, 60, 40)]
        self.probes = [make_impression(finger, rng) for finger in self.fingers]
        self.references = [
            make_impression(finger, rng, turn=rng.uniform(-20, 20), shift=(rng.uniform(-40, 40), 0))
            for finger in self.fingers
        ]
        scores = score_matrix(self.probes, self.references)
        self.mated = np.diagonal(scores)
        self.non_mated = scores[~np.eye(len(scores), dtype=bool)]


def score_matrix(probes: list[Minutiae], references: list[Minutiae]) -> Scores:
    columns = packed(references)
    return np.array([columns.compare(probe) for probe in probes])


SAMPLE = Sample()


def test_mated_prints_score_above_non_mated() -> None:
    assert SAMPLE.mated.min() > SAMPLE.non_mated.max()


@pytest.mark.parametrize("turn", range(0, 360, 24))
def test_turning_both_prints_changes_little(turn: int) -> None:
    """Rounding coordinates and directions anew moves a mated score by a hundredth, rarely by a third."""
    rng = np.random.default_rng(turn)
    straight: list[float] = []
    turned: list[float] = []
    for finger in SAMPLE.fingers:
        seed, other_seed = rng.integers(2**32, size=2)
        for angle, scores in ((0, straight), (turn, turned)):
            probe = make_impression(finger, np.random.default_rng(seed), turn=angle)
            reference = make_impression(finger, np.random.default_rng(other_seed), turn=angle)
            scores.append(score(probe, reference))
    change = np.array(turned) / np.array(straight) - 1
    assert np.quantile(np.abs(change), 0.9) < 0.12
    assert np.abs(change).max() < 0.5


@pytest.mark.parametrize("turn", range(24, 360, 24))
def test_turning_one_print_costs_at_most_what_a_turn_is_worth_as_evidence(turn: int) -> None:
    rng = np.random.default_rng(turn)
    seeds_ = rng.integers(2**32, size=len(SAMPLE.fingers))
    straight, turned = (
        [
            score(probe, make_impression(finger, np.random.default_rng(seed), turn=angle))
            for probe, finger, seed in zip(SAMPLE.probes, SAMPLE.fingers, seeds_, strict=True)
        ]
        for angle in (0, turn)
    )
    cost = -C["kScoreOfRotation"] * min(turn / 360, 1 - turn / 360, C["kMostRotation"])
    change, rounding = np.array(turned) - np.array(straight), 0.1 * np.array(straight)
    assert ((-cost - rounding < change) & (change < rounding)).mean() > 0.9
    assert ((-cost - 5 * rounding < change) & (change < 5 * rounding)).all()
    assert min(turned) > SAMPLE.non_mated.max()  # the decision is the same


def test_half_overlapping_prints_score_above_non_mated() -> None:
    rng = np.random.default_rng(3)

    def part(finger: Finger, inside: npt.NDArray[np.bool_]) -> Minutiae:
        names = ("x", "y", "direction", "kind", "quality")
        return make_impression(replace(finger, **{n: getattr(finger, n)[inside] for n in names}), rng)

    left = [part(finger, finger.x < 293) for finger in SAMPLE.fingers]  # two thirds of the width each,
    right = [part(finger, finger.x > 207) for finger in SAMPLE.fingers]  # half of which overlaps
    scores = score_matrix(left, right)
    non_mated = scores[~np.eye(len(scores), dtype=bool)]
    assert (np.diagonal(scores) > non_mated.max()).mean() > 0.8
    assert (np.diagonal(scores) > np.quantile(non_mated, 0.99)).mean() > 0.95


# --- One probe, many references -------------------------------------------------------------------


@settings(deadline=None)
@given(any_template, any_templates, seeds)
def test_each_score_stands_for_its_own_slot(probe: Minutiae, templates: list[Minutiae], seed: int) -> None:
    references = packed(templates)
    full = references.compare(probe)
    assert full.dtype == np.float32
    np.testing.assert_array_equal(full, np.array([score(probe, t) for t in templates], np.float32))
    rng = np.random.default_rng(seed)
    slots = rng.integers(0, len(templates), 30) if templates else np.empty(0, np.int64)
    np.testing.assert_array_equal(references.compare(probe, slots), full[slots])
    order = rng.permutation(len(templates))
    np.testing.assert_array_equal(packed([templates[k] for k in order]).compare(probe), full[order])


@settings(deadline=None)
@given(any_template, any_templates, st.floats(-10, 30))
def test_a_cutoff_leaves_the_scores_above_it(
    probe: Minutiae, templates: list[Minutiae], cutoff: float
) -> None:
    references = packed([probe, *templates])
    full, cut = references.compare(probe), references.compare(probe, cutoff=cutoff)
    wanted = full >= np.float32(cutoff)
    np.testing.assert_array_equal(cut[wanted], full[wanted])
    assert (full <= cut)[~wanted].all()
    assert (cut < np.float32(cutoff))[~wanted].all()


@settings(deadline=None)
@given(any_template, any_templates.filter(len), st.data())
def test_slots_are_emptied_and_memory_is_used_again(
    probe: Minutiae, templates: list[Minutiae], data: st.DataObject
) -> None:
    references, expected = packed(templates), dict(enumerate(templates))
    for _ in range(data.draw(st.integers(1, 4))):
        slots = data.draw(st.lists(st.integers(0, len(references) - 1), max_size=8))  # some empty already
        references.remove(np.array(slots, np.int64))
        expected = {slot: template for slot, template in expected.items() if slot not in slots}
        added = data.draw(st.lists(st.sampled_from([*templates, EMPTY]), max_size=4))
        expected |= dict(zip(references.extend(added), added, strict=True))
    scores = references.compare(probe)
    for slot in range(len(references)):
        if slot in expected:
            assert scores[slot] == score(probe, expected[slot])
        else:
            assert np.isnan(scores[slot])


def test_memory_is_what_the_references_need() -> None:
    template = make_impression(make_finger(np.random.default_rng(0), 40))
    n = 10_000
    words = _core.prepare(*columns(template))["cylinders"].shape[1]
    needed = n * len(template) * (8 * words + 9)  # cylinder; its bits, x, y; direction, kind, reliability
    assert packed([]).memory_bytes < 4096
    references = packed([template] * n)
    held = references.memory_bytes
    assert needed <= held <= 1.1 * needed + (16 << 20)  # in pieces of 16 MiB
    references.remove(np.arange(n))
    references.extend([template] * n)
    assert references.memory_bytes < held + n * 32  # the tables of slots alone grow


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_python_may_compare_at_once(threads: int) -> None:
    references = packed(SAMPLE.references * 4)
    expected = [references.compare(probe, threads=1) for probe in SAMPLE.probes]
    with ThreadPoolExecutor(5) as pool:
        found = pool.map(lambda probe: references.compare(probe, threads=threads), SAMPLE.probes)
    np.testing.assert_array_equal(list(found), expected)


INTERRUPTED = """
import os, signal, sys, threading
import numpy as np
from abis import _core

# No thread is made to give way: another one runs while this one is in the core, or not at all.
sys.setswitchinterval(3600)
begun, progress = threading.Event(), []

def interrupt():
    begun.wait()
    progress.extend(range(1000))
    os.kill(os.getpid(), signal.SIGINT)

def columns(n):
    return (np.zeros(n, np.uint16), np.zeros(n, np.uint16), np.zeros(n, np.float32), np.zeros(n, np.uint8),
            np.zeros(n, np.uint8))

def append(references, templates, minutiae):
    counts, resolutions = np.full(templates, minutiae), np.full((templates, 2), 197, np.int32)
    given = (*columns(templates * minutiae), counts, resolutions, 2)
    return lambda: references.append(*given)

references = _core.References()
append(references, 3, 100)()
probe = (*columns(100), 197, 197)
before = references.compare(*probe, None, -np.inf, 1)
if sys.argv[1] == "compare":
    slots = np.zeros(1_000_000, np.int64)
    work = lambda: references.compare(*probe, slots, -np.inf, 2)
elif sys.argv[1] == "append":
    work = append(references, 100_000, 255)
else:
    row, which = np.zeros(65535, np.uint16), np.zeros(60_000_000, np.int64)
    work = lambda: _core.dot_products(row, row[None], which, 1)
thread = threading.Thread(target=interrupt)
thread.start()
try:
    begun.set()
    work()
except KeyboardInterrupt:
    thread.join()
    assert len(progress) == 1000
    assert len(references) == 3
    assert (references.compare(*probe, None, -np.inf, 1) == before).all()
    print("interrupted")
"""


@pytest.mark.parametrize("what", ["compare", "append", "dot_products"])
def test_the_gil_is_released_and_ctrl_c_honoured(what: str) -> None:
    """In minutes of work, far more than the timeout allows, another thread runs, and then SIGINT ends it."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, what], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted\n", "", 0)


# --- What is refused ------------------------------------------------------------------------------


def columns(m: Minutiae) -> tuple[Any, ...]:
    return (m.x, m.y, m.direction, m.kind, m.quality, *m.resolution)


ONE = Minutiae(x=[1, 2, 3], y=[4, 5, 6], direction=[7, 8, 9], width=9, height=9)


@pytest.mark.parametrize("slots", [[3], [-1], [0, 1, 2, 3], [2**62]])
def test_a_slot_that_is_not_there(slots: list[int]) -> None:
    references = packed([ONE] * 3)
    with pytest.raises(IndexError, match="of 3"):
        references.compare(ONE, np.array(slots))
    with pytest.raises(IndexError, match="of 3"):
        references.remove(np.array(slots))
    assert not np.isnan(references.compare(ONE)).any()  # none of them was removed


@pytest.mark.parametrize("place", range(5))
def test_a_column_of_another_type_or_stride_is_refused(place: int) -> None:
    good = columns(ONE)
    for bad in (good[place].astype(np.float64), good[place][::-1], good[place].tolist(), None):
        probe = (*good[:place], bad, *good[place + 1 :])
        with pytest.raises(TypeError):
            CORE.References().compare(*probe, None, 0, 1)
        with pytest.raises(TypeError):
            CORE.compare_in_detail(*probe, *good)
        with pytest.raises(TypeError):
            CORE.prepare(*probe)
        with pytest.raises(TypeError):
            CORE.References().append(*probe[:5], np.array([3]), np.full((1, 2), 197, np.int32), 1)


@pytest.mark.parametrize("place", range(5))
def test_columns_of_different_lengths_are_refused(place: int) -> None:
    good = columns(ONE)
    for bad in (good[place][:2], good[place][None]):
        with pytest.raises(ValueError, match="one length"):
            CORE.References().compare(*good[:place], bad, *good[place + 1 :], None, 0, 1)


def test_slots_of_another_type_or_shape_are_refused() -> None:
    references = packed([ONE] * 3)
    for slots in (np.zeros(2, np.int32), np.zeros(4, np.int64)[::2], np.zeros(2)):
        with pytest.raises(TypeError):
            references.compare(ONE, slots)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            references.remove(slots)  # type: ignore[arg-type]
    for slots in (np.zeros((1, 1), np.int64), np.zeros((), np.int64)):
        with pytest.raises(ValueError, match="slots"):
            CORE.References().compare(*columns(ONE), slots, 0, 1)


@pytest.mark.parametrize(
    ("counts", "resolutions"),
    [
        ([2], [[197, 197]]),
        ([4], [[197, 197]]),
        ([-1, 4], [[197, 197]] * 2),
        ([3, 2**62], [[197, 197]] * 2),
        ([[3]], [[197, 197]]),
        ([3], [[197, 197]] * 2),
        ([3], [[197, 197, 197]]),
        ([3], [[0, 197]]),
        ([3], [[197, -1]]),
    ],
)
def test_counts_and_resolutions_that_make_no_sense_are_refused(
    counts: list[int], resolutions: list[list[int]]
) -> None:
    references = CORE.References()
    with pytest.raises(ValueError, match=r"counts|minutiae|resolution"):
        references.append(*columns(ONE)[:5], np.array(counts), np.array(resolutions, np.int32), 1)
    assert len(references) == 0


def test_too_many_minutiae_are_refused() -> None:
    x, y, direction, kind, quality, *resolution = columns(ONE)
    many = [np.resize(column, 256) for column in (x, y, direction, kind, quality)]
    with pytest.raises(ValueError, match="255"):
        CORE.References().compare(*many, *resolution, None, 0, 1)


# --- Embeddings -----------------------------------------------------------------------------------


def embeddings(rng: np.random.Generator, n: int, dimension: int) -> list[Embedding]:
    return [Embedding(vector=row, model="m") for row in rng.normal(size=(n, dimension))]


@settings(deadline=None)
@given(seeds, st.integers(1, 600), st.integers(0, 20))
def test_cosine_is_the_dot_product_of_unit_vectors(seed: int, dimension: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    probe, *references = embeddings(rng, n + 1, dimension)
    matrix = np.array([r.vector for r in references], np.float16).reshape(n, dimension)
    found = cosine(probe, matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, matrix.astype(np.float32) @ probe.vector.astype(np.float32), atol=1e-5)
    assert (np.abs(found) < 1.002).all()  # vectors are rounded to float16
    rows = rng.integers(0, max(n, 1), 7 if n else 0)
    np.testing.assert_array_equal(cosine(probe, matrix, rows, threads=2), found[rows])
    np.testing.assert_array_equal([cosine(r, probe.vector[None])[0] for r in references], found)


@settings(deadline=None)
@given(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=70))
def test_every_float16_is_read_as_numpy_reads_it(bits: list[int]) -> None:
    halves = np.array(bits, np.uint16)
    assume(np.isfinite(halves.view(np.float16)).all())
    one = np.array([0x3C00], np.uint16)
    found = CORE.dot_products(one, halves[:, None], None, 1)
    np.testing.assert_array_equal(found, halves.view(np.float16).astype(np.float32))


def test_cosine_refuses_what_does_not_fit() -> None:
    (probe,) = embeddings(np.random.default_rng(0), 1, 8)
    matrix = np.tile(probe.vector, (3, 1))
    with pytest.raises(IndexError, match="3 of 3"):
        cosine(probe, matrix, np.array([0, 3]))
    with pytest.raises(ValueError, match="7 dimensions"):
        cosine(probe, matrix[:, :7].copy())
    with pytest.raises(ValueError, match=r"\(n, d\)"):
        CORE.dot_products(probe.vector.view(np.uint16), matrix[:, :7].copy().view(np.uint16), None, 1)
    with pytest.raises(TypeError):
        cosine(probe, matrix[:, ::-1])
    with pytest.raises(TypeError):
        cosine(probe, matrix, np.zeros(1, np.int32))


# --- Templates ------------------------------------------------------------------------------------


def test_raw_scores_of_both_kinds() -> None:
    probe, *references = embeddings(np.random.default_rng(0), 4, 16)
    np.testing.assert_array_equal(
        raw_scores(probe, references), [cosine(probe, r.vector[None])[0] for r in references]
    )
    finger, fingers = SAMPLE.probes[0], SAMPLE.references
    np.testing.assert_array_equal(raw_scores(finger, fingers), packed(fingers).compare(finger))
    assert raw_scores(probe, []).shape == raw_scores(finger, []).shape == (0,)


def test_raw_scores_name_what_may_not_be_compared() -> None:
    a, b = embeddings(np.random.default_rng(0), 2, 16)
    right = changed(ONE, position=Position.RIGHT_INDEX)
    left = changed(ONE, position=Position.LEFT_INDEX)
    assert raw_scores(right, [ONE, right]).shape == (2,)
    for probe, reference, fault in (
        (right, left, "LEFT_INDEX"),
        (right, a, "FACE"),
        (a, right, "RIGHT_INDEX"),
        (a, Embedding(vector=b.vector, model="other"), "other"),
        (a, Embedding(vector=b.vector[:9], model="m"), "9-d"),
    ):
        with pytest.raises(TemplateError, match=f"reference 1 .*{fault}"):
            raw_scores(probe, [probe, reference])
    with pytest.raises(TemplateError, match="LEFT_INDEX"):
        explain(right, left)
