# SPDX-License-Identifier: Apache-2.0
"""The gallery in memory: the right references, whose they are, and which are nearest."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import LEFT, RIGHT, face, finger

from abis import comparison
from abis.comparison import FingerReferences, cosine, explain, raw_scores
from abis.kind import Kind
from abis.screening import EmbeddingReferences, References
from abis.template import Position, Template

KINDS: list[Callable[[int], Template]] = [
    lambda person: finger(person, RIGHT),
    lambda person: finger(person, LEFT),
    lambda person: finger(person, RIGHT, stated=Position.UNKNOWN_FINGER),
    face,
    lambda person: face(person, model="another"),
    lambda person: face(person, dimension=16),
    lambda person: face(person, model=""),
]


def test_embeddings_are_compared_on_their_stored_precision() -> None:
    people = [face(person) for person in range(50)]
    references = EmbeddingReferences(32)
    assert references.extend(people[:20]) == range(20)
    assert references.extend(people[20:]) == range(20, 50)
    probe = face(7, 1)
    expected = cosine(probe, np.stack([t.vector for t in people]))
    np.testing.assert_array_equal(references.compare(probe), expected)
    np.testing.assert_array_equal(references.compare(probe, np.array([7, 3])), expected[[7, 3]])
    assert len(references) == 50


def test_the_nearest_are_the_nearest_and_never_removed_ones() -> None:
    references = EmbeddingReferences(32)
    references.extend([face(person) for person in range(300)])
    probe = face(7, 1)
    order = np.argsort(-references.compare(probe))
    assert set(references.nearest(probe, 10)) == set(order[:10])
    references.remove(order[:5])
    references.extend([face(person) for person in range(300, 320)])
    left = np.setdiff1d(np.arange(320), order[:5])
    order = left[np.argsort(-references.compare(probe, left))]
    assert set(references.nearest(probe, 10)) == set(order[:10])
    assert set(references.nearest(probe, 1000)) == set(left)


def test_nothing_is_nearest_where_there_is_nothing() -> None:
    kinds: list[tuple[Any, Template]] = [(EmbeddingReferences(32), face(1)), (FingerReferences(), finger(1))]
    for references, probe in kinds:
        assert references.nearest(probe, 3).size == 0
        references.extend([probe])
        assert references.nearest(probe, 0).size == 0
        references.remove(np.array([0]))
        assert references.nearest(probe, 3).size == 0


def test_the_nearest_fingers_are_those_that_score() -> None:
    """Scores from the cutoff up are exact, so what reaches it is nearest, and no removed slot ever is."""
    references = FingerReferences()
    references.extend([finger(person % 100, impression=person // 100) for person in range(400)])
    for removed in ([], [107, 3], range(100, 400)):
        references.remove(np.array(removed, np.int64))
        for person in (7, 50, 250):  # the last has no mate
            probe = finger(person, impression=5)
            scores = references.compare(probe)
            reach = np.flatnonzero(scores >= comparison._SCREENING_CUTOFF)
            assert set(reach) <= set(references.nearest(probe, max(len(reach), 1)))
            present = np.flatnonzero(~np.isnan(scores))
            for count in (1, 10, 99, 100, 1000):
                nearest = references.nearest(probe, count)
                assert len(nearest) == min(count, len(present))
                assert set(nearest) <= set(present)
                assert set(nearest) <= set(references.nearest(probe, count + 1))


def test_of_equally_near_fingers_the_earlier_are_taken() -> None:
    references = FingerReferences()
    references.extend([finger(1)] * 20)
    np.testing.assert_array_equal(references.nearest(finger(1, impression=1), 5), np.arange(5))


def leaks(error: Exception) -> bool:
    return "array(" in str(error)


@pytest.mark.parametrize(
    ("slots", "said"),
    [
        (
            np.array([0], np.int32),
            r"slots is int32 of shape \(1,\); expected int64 of 1 dimension, C-contiguous",
        ),
        (np.array([[0]]), r"slots is int64 of shape \(1, 1\); expected"),
        (np.arange(4)[::2], r"slots is int64 of shape \(2,\), not C-contiguous; expected"),
        ([0], "slots is a list; expected an array"),
    ],
)
def test_slots_of_another_type_are_named_and_no_template_is_shown(slots: Any, said: str) -> None:
    """The core's own message would print the probe."""
    references = FingerReferences()
    references.extend([finger(1)])
    for call in (lambda: references.compare(finger(1), slots), lambda: references.remove(slots)):
        with pytest.raises(TypeError, match=said) as caught:
            call()
        assert not leaks(caught.value)
    said = said.replace("slots", "rows")
    with pytest.raises(TypeError, match=said) as caught:
        cosine(face(1), np.stack([face(1).vector]), slots)
    assert not leaks(caught.value)


@pytest.mark.parametrize("threads", [-1, 2**40, 1.5, "2", None])
def test_no_other_argument_shows_a_template_either(threads: Any) -> None:
    references = FingerReferences()
    stacked = np.stack([face(1).vector])
    for call in (
        lambda: references.compare(finger(1), threads=threads),
        lambda: references.extend([finger(1)], threads=threads),
        lambda: cosine(face(1), stacked, threads=threads),
        lambda: references.compare(finger(1), cutoff="none"),  # type: ignore[arg-type]
        lambda: references.compare(face(1)),  # type: ignore[arg-type]
        lambda: explain(face(1), finger(1)),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert not leaks(caught.value)
    assert len(references) == 0


@pytest.mark.parametrize(
    ("references", "said"),
    [
        (
            np.zeros((2, 32), np.float32),
            r"references is float32 of shape \(2, 32\); expected float16 of 2 dim",
        ),
        (np.zeros(32, np.float16), r"references is float16 of shape \(32,\); expected"),
        (np.zeros((32, 2), np.float16).T, "not C-contiguous; expected"),
        (np.zeros((2, 31), np.float16), "references have 31 dimensions, the probe 32"),
    ],
)
def test_vectors_of_another_type_are_named_and_none_is_shown(references: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said) as caught:
        cosine(face(1), references)
    assert not leaks(caught.value)


def test_memory_grows_by_little_more_than_it_must() -> None:
    references = EmbeddingReferences(32)
    for person in range(200):
        references.extend([face(person)])
        assert len(references) * 64 <= references.memory_bytes <= (len(references) * 9 // 8) * 64


@pytest.mark.parametrize(
    ("probe", "expected"), list(enumerate([{0, 2}, {1, 2}, {0, 1, 2}, {3}, {4}, {5}, {6}]))
)
def test_only_comparable_kinds_are_compared(probe: int, expected: set[int]) -> None:
    references = References()
    references.extend((number + 1, number + 1, make(number)) for number, make in enumerate(KINDS))
    template = KINDS[probe](99)
    compared = {int(key) - 1 for scores in references.compare(template) for key in scores.subject}
    assert compared == expected
    assert references.comparable(template) == len(expected)


_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enroll"), st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=4)),
        st.tuples(st.just("remove"), st.lists(st.integers(1, 20), max_size=4)),
    ),
    max_size=12,
)


@given(_OPERATIONS)
@settings(max_examples=60)
def test_references_hold_what_was_enrolled_and_not_removed(operations) -> None:  # type: ignore[no-untyped-def]
    references = References()
    model: dict[int, list[Template]] = {}  # by encounter; subject 100 + encounter
    last = 0
    for operation, values in operations:
        if operation == "enroll":
            last += 1
            model[last] = [KINDS[kind](last) for kind in values]
            references.extend((100 + last, last, t) for t in model[last])
        else:
            references.remove(values)
            for encounter in values:
                model.pop(encounter, None)
    everything = [(encounter, t) for encounter, templates in model.items() for t in templates]
    assert references.present == len(everything)
    assert references.kinds == {Kind.of(t) for _, t in everything}
    for make in KINDS:
        probe = make(3)
        mine = [(e, t) for e, t in everything if Kind.of(t).is_comparable(Kind.of(probe))]
        expected = sorted((e, 100 + e, t.position, raw_scores(probe, [t])[0]) for e, t in mine)
        for among in (None, np.arange(references.subject_span) > 0):
            assert expected == sorted(
                (encounter, subject, scores.position, raw)
                for scores in references.compare(probe, among)
                for encounter, subject, raw in zip(scores.encounter, scores.subject, scores.raw, strict=True)
            )
        some = np.arange(references.subject_span) % 2 == 1
        odd = {int(key) for scores in references.compare(probe, some) for key in scores.subject}
        assert odd == {100 + e for e, _ in mine if e % 2 == 1}
        assert set(references.nearest(probe, 1000)) == {100 + e for e, _ in mine}
