# SPDX-License-Identifier: Apache-2.0
"""Screening: evidence is added before the cut, and neither order, size nor threads change the result."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from people import LEFT, RIGHT, face, finger

from abis.comparison import FingerReferences, cosine, explain
from abis.identification.nearest import nearest
from abis.identification.screening import Cuts, Screening, look_together
from abis.index.embedding_index import EmbeddingIndex, EmbeddingProbe
from abis.index.segments import Entry, Probe, Segment
from abis.template import Position, Template


def enrolled(entries: list[Entry], sizes: list[int]) -> list[Segment]:
    """The entries cut into segments of these sizes, and of one for the rest."""
    segments, start = [], 0
    for size in [*sizes, len(entries)]:
        part = entries[start : start + size]
        if part:
            segments.append(Segment.of(start, start + len(part), part))
        start += size
    return segments


def picked(
    segments: list[Segment],
    probe: list[Template],
    *passing: int,
    among: NDArray[np.int64] | None = None,
    best: tuple[int, int, int] | None = None,
) -> list[int]:
    """The subjects to compare in full if none is found beyond doubt: those of the last portion.

    Others than the best need the evidence of mates, if a number of the best is given.
    """
    prepared = [Probe.of(template) for template in probe]
    first, second, third = passing
    cuts = Cuts(first, second, third)
    if best is not None:
        cuts = replace(cuts, best=best, by_evidence=True)
    *_, last = Screening(segments, prepared, cuts, span=2_000, among=among).shortlists()
    found: list[int] = last.tolist()
    return found


PEOPLE = [
    Entry(person, person, template)
    for person in range(1, 61)
    for template in (finger(person, RIGHT), finger(person, LEFT), face(person))
]


def test_evidence_adds_before_the_cut() -> None:
    """Somebody whose right finger, left finger and face each say a little passes; one look-alike does not."""
    alone = [Entry(s, s, face(s)) for s in range(100, 160)]  # these have only a face
    mate: list[Template] = [face(7, 1), finger(7, RIGHT, 1)]
    segments = enrolled(PEOPLE + alone, [])
    assert picked(segments, mate, 9, 5, 1) == [7]
    # Of two people, each of them half the probe, both are worth a look.
    assert set(picked(segments, [face(9, 1), finger(7, RIGHT, 1)], 9, 5, 2)) == {7, 9}


def test_the_best_of_several_references_counts_and_not_their_sum() -> None:
    several = [Entry(200, 200 + n, finger(300 + n, RIGHT)) for n in range(20)]  # no mate among twenty
    segments = enrolled([*PEOPLE, *several], [])
    assert picked(segments, [finger(7, RIGHT, 1)], 20, 10, 1) == [7]
    unknown = finger(7, LEFT, 1, stated=Position.UNKNOWN_FINGER)
    assert picked(segments, [unknown], 20, 10, 1) == [7]


def test_subjects_without_a_comparable_template_do_not_pass() -> None:
    entries = [Entry(1, 1, face(1)), Entry(2, 2, finger(2, LEFT)), Entry(3, 3, face(3, model="other"))]
    segments = enrolled(entries, [1])
    assert picked(segments, [face(1)], 100, 100, 100) == [1]
    assert picked(segments, [finger(1, RIGHT)], 100, 100, 100) == []
    assert picked(segments, [finger(1, RIGHT, stated=Position.UNKNOWN_FINGER), face(4)], 100, 100, 100) == [
        1,
        2,
    ]
    assert picked([], [face(1)], 100, 100, 100) == []


def test_removed_and_masked_subjects_do_not_pass() -> None:
    segments = [s.without(np.array([7, 8])) for s in enrolled(PEOPLE, [50, 31])]
    probe: list[Template] = [finger(7, RIGHT, 1), face(7, 1)]
    for first, second, third in ((100, 100, 100), (30, 20, 10)):
        found = picked(segments, probe, first, second, third)
        assert not {7, 8} & set(found)
        assert len(found) == min(third, 58)
    only = np.array([3, 7, 20, 21, 5_000])
    assert picked(segments, probe, 100, 100, 100, among=only) == [3, 20, 21]


def test_of_equal_evidence_the_first_enrolled_pass() -> None:
    segments = enrolled([Entry(s, s, finger(1)) for s in range(1, 31)], [7, 11])
    assert picked(segments, [finger(1, impression=1)], 20, 12, 5) == [1, 2, 3, 4, 5]


@given(
    sizes=st.lists(st.integers(1, 90), max_size=6),
    order=st.permutations(range(60)),
    person=st.integers(1, 60),
    cuts=st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70)),
    best=st.none() | st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70)),
    kept=st.lists(st.integers(0, 2), min_size=1, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_how_the_gallery_is_cut_changes_nothing(  # type: ignore[no-untyped-def]
    *, sizes, order, person, cuts, best, kept
) -> None:
    """Whatever the segments, and whatever order subjects came in: a slice, a scatter, a sort."""
    probe: list[Template] = [
        (finger(person, RIGHT, 1), finger(person, LEFT, 1), face(person, 1))[k] for k in kept
    ]
    shuffled = [Entry(e.subject, e.encounter, e.template) for n in order for e in PEOPLE[3 * n : 3 * n + 3]]
    expected = picked(enrolled(PEOPLE, []), probe, *cuts, best=best)
    assert picked(enrolled(PEOPLE, sizes), probe, *cuts, best=best) == expected
    assert picked(enrolled(shuffled, sizes), probe, *cuts, best=best) == expected
    assert min(*cuts, 60, *(best or cuts)) <= len(expected) <= min(*cuts, 60)


def test_only_the_best_pass_without_the_evidence_of_mates() -> None:
    """Whoever is among the best passes, whatever the evidence; beyond these, a subject needs some."""
    segments = enrolled(PEOPLE, [50])
    for person, best in ((7, (1, 1, 1)), (7, (60, 5, 2)), (5_000, (9, 6, 4)), (5_000, (60, 60, 60))):
        probe: list[Template] = [finger(person, RIGHT, 1)]
        rated = picked(segments, probe, 60, 60, 60, best=best)
        assert min(best) <= len(rated) <= 60
        assert person == 5_000 or person in rated
        assert len(rated) == 60 or best != (60, 60, 60)
    assert len(picked(segments, [finger(5_000, RIGHT, 1)], 60, 60, 60, best=(9, 6, 4))) < 60
    assert len(picked(segments, [finger(5_000, RIGHT, 1)], 60, 60, 60)) == 60


def test_the_first_portion_of_one_finger_has_few_of_the_best() -> None:
    segments = enrolled(PEOPLE, [50])
    prepared = [Probe.of(finger(7, RIGHT, 1))]
    cuts = Cuts(40, 30, 20, (9, 6, 3), by_evidence=True)
    few, all_of_them = [p.tolist() for p in Screening(segments, prepared, cuts, span=2_000).shortlists()]
    assert 7 in few
    assert 7 in all_of_them
    assert len(few) == 3
    assert set(few) <= set(all_of_them)


@given(
    seed=st.integers(0, 2**32),
    sizes=st.lists(st.integers(1, 60), max_size=5),
    count=st.integers(1, 130),
    asked=st.integers(0, 120),
    removed=st.integers(0, 80),
)
@settings(max_examples=60, deadline=None)
def test_the_nearest_subjects_are_those_of_all_estimates(
    seed: int, sizes: list[int], count: int, asked: int, removed: int
) -> None:
    """Subjects with several references, equal references, removed ones, a choice of subjects, small segments."""
    rng = np.random.default_rng(seed)
    entries = [
        Entry(int(subject), n, face(int(person)))
        for n, (subject, person) in enumerate(rng.integers(1, 60, (150, 2)))
    ]
    gone = rng.integers(0, 150, removed)
    among = None if asked == 0 else np.unique(rng.integers(1, 70, asked))
    segments = [s.without(gone) for s in enrolled(entries, sizes)]
    probe = EmbeddingProbe.of(face(7, 1))
    blocks = [block for segment in segments for block in segment.blocks]
    found = nearest([(probe, blocks)], count, among)
    best: dict[int, float] = {}
    index = EmbeddingIndex.of([entry.template for entry in entries])  # type: ignore[misc]
    for cosine_, slot in zip(*index.nearest(probe, len(index)), strict=True):
        subject = entries[slot].subject
        if slot not in gone and (among is None or subject in among):
            best[subject] = max(best.get(subject, -9.0), float(cosine_))
    order = sorted(best, key=lambda subject: (-best[subject], subject))[:count]
    assert found.subjects.tolist() == sorted(order)
    assert found.similarities.tolist() == [best[subject] for subject in sorted(order)]
    assert len(order) == (len(best) if found.is_all else count)


def test_a_face_outside_the_nearest_counts_no_more_than_the_last_of_them() -> None:
    """The mate by a finger passes though its face is another's; so does the mate by the face."""
    segments = enrolled(PEOPLE, [50, 31])
    probe: list[Template] = [finger(7, RIGHT, 1), face(9, 1)]
    assert set(picked(segments, probe, 2, 2, 2)) == {7, 9}


def test_the_richest_finger_and_the_face_look_first() -> None:
    segments = enrolled(PEOPLE, [50])
    right, left = finger(7, RIGHT, 1), finger(8, LEFT, 1)
    poor = type(left)(
        x=left.x[:9], y=left.y[:9], direction=left.direction[:9], width=300, height=400, position=LEFT
    )

    def portions(*probe: Template) -> list[list[int]]:
        prepared = [Probe.of(template) for template in probe]
        return [p.tolist() for p in Screening(segments, prepared, Cuts(3, 3, 1), span=2_000).shortlists()]

    assert portions(poor, right) == [[7], [7]]  # of the first look by the poor one alone there is none
    assert portions(right, face(7, 1)) == portions(right) == portions(face(7, 1)) == [[7]]
    assert len(portions(right, left, face(9, 1))) == 2
    unknown = finger(7, RIGHT, 1, stated=Position.UNKNOWN_FINGER)
    assert portions(unknown, finger(7, RIGHT, 2, stated=Position.UNKNOWN_FINGER)) == [[7]]  # one position


def test_a_poor_probe_looks_at_more() -> None:
    good, poor = finger(1), finger(2)
    poor = type(poor)(x=poor.x[:8], y=poor.y[:8], direction=poor.direction[:8], width=300, height=400)
    probes: list[list[Template]] = [[good], [poor], [good, poor], [poor, face(1)], [face(1)]]
    good_one, poor_one, both, with_face, only_face = (
        Cuts.at(0.03, probe=probe, subjects=1_000_000, wanted=1) for probe in probes
    )
    assert good_one == Cuts(30_000, 2_250, 150, (1_000, 300, 20), by_evidence=True)
    assert both == replace(good_one, first=15_000, second=1_125, third=100)  # each of two positions
    assert with_face == replace(both, by_evidence=False)
    assert poor_one == Cuts(240_000, 18_000, 1_200, (8_000, 800, 20), by_evidence=True)
    assert (only_face.first, only_face.second, only_face.third) == (1_600, 1_600, 1_600)
    assert good_one.of_first_portion() == replace(good_one, first=1_000, second=300, third=20)
    assert Cuts(300, 200, 15).of_first_portion() == Cuts(300, 200, 15)
    wider = Cuts.at(0.06, probe=[good], subjects=1_000_000, wanted=1)
    assert wider == Cuts(60_000, 4_500, 300, (2_000, 300, 20), by_evidence=True)
    for probe in probes:
        assert Cuts.at(1.0, probe=probe, subjects=50_000, wanted=1).first >= 50_000
    all_of_them = Cuts.at(1.0, probe=[poor], subjects=50_000, wanted=1)
    assert all_of_them == Cuts(50_000, 3_750, 250, (1_666, 300, 20))
    few = Cuts.at(0.03, probe=[good], subjects=1_000, wanted=50)
    assert few == Cuts(1_000, 500, 500, (1_000, 300, 100), by_evidence=True)


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


def test_probes_that_look_together_find_what_each_finds_alone() -> None:
    """Of fingers and faces, one position twice or none comparable, over segments that have lost some references."""
    segments = [s.without(np.arange(5, 60, 7)) for s in enrolled(PEOPLE, [50, 31])]
    probes: list[list[Template]] = [
        [finger(7, RIGHT, 1)],
        [finger(8, LEFT, 1), face(8, 1)],
        [finger(9, RIGHT, 1), finger(9, LEFT, 1), face(10, 1)],
        [finger(11, RIGHT, 1), finger(12, RIGHT, 1)],
        [finger(13, RIGHT, 1, stated=Position.UNKNOWN_FINGER)],
        [finger(14, RIGHT, 1, stated=Position.LEFT_THUMB)],
        [finger(15, RIGHT, 1), face(15, 1, model="another")],
    ]
    among = np.arange(1, 50)

    def screening(probe: list[Template]) -> Screening:
        prepared = [Probe.of(template) for template in probe]
        return Screening(segments, prepared, Cuts(20, 9, 5), span=2_000, among=among)

    alone = [[portion.tolist() for portion in screening(probe).shortlists()] for probe in probes]
    for _ in range(2):  # with the tallies of other searches, too
        begun = [screening(probe) for probe in probes]
        look_together(begun)
        assert [[portion.tolist() for portion in one.shortlists()] for one in begun] == alone
