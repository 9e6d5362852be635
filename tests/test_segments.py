# SPDX-License-Identifier: Apache-2.0
"""Immutable segments: they hold what was enrolled and not removed, however they were joined."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import LEFT, RIGHT, face, finger

from abis.comparison import raw_scores
from abis.comparison.kind import Kind
from abis.index.segments import Entry, Probe, Segment, appended
from abis.template import Position, Template

KINDS: list[Callable[[int], Template]] = [
    lambda person: finger(person, RIGHT),
    lambda person: finger(person, LEFT),
    lambda person: finger(person, RIGHT, stated=Position.UNKNOWN_FINGER),
    face,
    lambda person: face(person, model="another"),
    lambda person: face(person, dimension=16),
    lambda person: face(person, model=""),
    lambda person: finger(person, RIGHT, extractor="leader-0.1"),
]


@pytest.mark.parametrize(
    ("probe", "expected"), list(enumerate([{0, 2, 7}, {1, 2}, {0, 1, 2, 7}, {3}, {4}, {5}, {6}, {0, 2, 7}]))
)
def test_only_comparable_kinds_are_comparable(probe: int, expected: set[int]) -> None:
    mine = Kind.of(KINDS[probe](99))
    assert {n for n, make in enumerate(KINDS) if Kind.of(make(n)).is_comparable(mine)} == expected


Rows = list[tuple[int, int, float]]  # encounter, subject, raw score


def compared(segments: Sequence[Segment], probe: Template) -> Rows:
    """All that is present and of the probe's kind, with its score."""
    rows = []
    for segment in segments:
        for block in segment.blocks:
            if block.kind.is_comparable(Kind.of(probe)):
                slots = block.present_slots()
                scores = block.index.compare(Probe.of(probe).prepared, slots)
                owners = zip(block.encounters[slots].tolist(), block.subjects[slots].tolist(), strict=True)
                rows += [(e, s, float(r)) for (e, s), r in zip(owners, scores, strict=True)]
    return sorted(rows)


_OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("enroll"), st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=4)),
        st.tuples(st.just("remove"), st.lists(st.integers(1, 20), max_size=4)),
        st.tuples(st.just("pack"), st.just([0])),
    ),
    max_size=14,
)


@given(_OPERATIONS, st.sampled_from([2, 5, 12, 196_608]))
@settings(max_examples=60, deadline=None)
def test_segments_hold_what_was_enrolled_and_not_removed(operations, span: int) -> None:  # type: ignore[no-untyped-def]
    segments: tuple[Segment, ...] = ()
    model: dict[int, list[Template]] = {}  # by encounter; of subject 100 - encounter
    last_encounter = last_template = 0
    for operation, values in operations:
        if operation == "enroll":
            last_encounter += 1
            model[last_encounter] = [KINDS[kind](last_encounter) for kind in values]
            for template in model[last_encounter]:
                entry = Entry(100 - last_encounter, last_encounter, template)
                start = last_template // span * span
                after = max(segments[-1].last, start) if segments else start
                last_template += 1
                segments = appended(segments, Segment.of(after, last_template, [entry]), span=span)
        elif operation == "remove":
            before = compared(segments, face(3))
            removed = tuple(s.without(np.array(values, np.int64)) for s in segments)
            assert compared(segments, face(3)) == before  # the old ones are as they were
            segments = tuple(s for s in removed if s.present)
            for encounter in values:
                model.pop(encounter, None)
        else:
            segments = tuple(Segment.joined([segment]) for segment in segments)
    everything = [(encounter, t) for encounter, templates in model.items() for t in templates]
    assert sum(segment.present for segment in segments) == len(everything)
    spans = [(s.after, s.last) for s in segments]
    assert spans == sorted(spans)
    assert all(after // span == (last - 1) // span for after, last in spans)
    for full in range(last_template // span):  # what is full is in one piece
        assert sum(after // span == full for after, _ in spans) <= 1
    for make in KINDS:
        probe = make(3)
        mine = [(e, t) for e, t in everything if Kind.of(t).is_comparable(Kind.of(probe))]
        assert compared(segments, probe) == sorted((e, 100 - e, raw_scores(probe, [t])[0]) for e, t in mine)
        for wanted in ([], [97, 99], list(range(80, 100))):
            for block in (b for s in segments for b in s.blocks):
                slots = block.slots_of(np.array(wanted, np.int64))
                present = block.present_slots()
                np.testing.assert_array_equal(slots, present[np.isin(block.subjects[present], wanted)])


def test_small_segments_are_few() -> None:
    segments: tuple[Segment, ...] = ()
    most = 0
    for n in range(300):
        segments = appended(segments, Segment.of(n, n + 1, [Entry(n + 1, n + 1, face(n % 7))]), span=196_608)
        most = max(most, len(segments))
    assert most <= 10
    assert sum(map(len, segments)) == 300


def test_keys_take_four_bytes_while_they_fit() -> None:
    small, large = (Segment.of(0, 1, [Entry(key, key, face(1))]).blocks[0] for key in (2**32 - 1, 2**32))
    assert (small.subjects.itemsize, large.subjects.itemsize) == (4, 8)
    assert large.slots_of(np.array([2**32])).tolist() == [0]
    assert small.slots_of(np.array([2**32])).tolist() == []
