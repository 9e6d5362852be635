# SPDX-License-Identifier: Apache-2.0
"""The gallery in memory: the right references, whose they are, and the nearest embeddings."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import LEFT, RIGHT, face, finger

from abis.comparison import cosine, raw_scores
from abis.screening import EmbeddingReferences, Kind, References
from abis.template import Embedding, Position, Template

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
    references = EmbeddingReferences(32)
    assert references.nearest(face(1), 3).size == 0
    references.extend([face(1)])
    references.remove(np.array([0]))
    assert references.nearest(face(1), 3).size == 0


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
        if isinstance(probe, Embedding):
            assert set(references.nearest(probe, 1000)) == {100 + e for e, _ in mine}
