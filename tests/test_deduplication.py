# SPDX-License-Identifier: Apache-2.0
"""De-duplication: pairs, clusters, portions, and checkpoints."""

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import LEFT, RIGHT, finger, processes
from people import face as small_face

from abis.deduplication import Criterion, FoundPair, Tile, find_pairs
from abis.deduplication.checkpoint import AsOf, Checkpoint, Question
from abis.deduplication.clusters import Link, grouped
from abis.errors import DuplicateFound, StoreError
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.identification.screening import Cuts
from abis.index.segments import Entry, Segment
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import Calibrations
from abis.scoring.fusion import Evidence
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Position, Template


class Stop(BaseException):
    """A job is stopped."""


UNKNOWN = Position.UNKNOWN_FINGER


def face(person: int, impression: int = 0) -> Embedding:
    return small_face(person, impression, dimension=256)


def everything(person: int, impression: int = 0) -> list[Template]:
    return [finger(person, RIGHT, impression), finger(person, LEFT, impression), face(person, impression)]


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(tile=8, portion=3))


def some_people(gallery: Gallery, count: int = 20) -> None:
    """Subjects; 0, 5, 10 and 15 are enrolled again: whole, with another face, without a face, by the face alone."""
    gallery.enroll_many(Enrollment(f"p{n}", everything(n)) for n in range(count))
    gallery.enroll("again0", everything(0, 1))
    gallery.enroll("again5", [*everything(5, 1)[:2], face(500)])
    gallery.enroll("again10", everything(10, 1)[:2])
    gallery.enroll("again15", [face(15, 1)])


def named(pairs: Sequence[object]) -> set[tuple[str, str]]:
    return {(pair.subject_id, pair.other_id) for pair in pairs}  # type: ignore[attr-defined]


AGAIN = {(f"p{n}", f"again{n}") for n in (0, 5, 10, 15)}


# --------------------------------------------------------------------------------------------- pairs


@pytest.mark.usefixtures("small_portions")
def test_those_who_came_twice_are_found_whatever_they_came_with(gallery: Gallery) -> None:
    some_people(gallery)
    found = gallery.deduplicate(threshold=3.0)
    assert named(found) == AGAIN
    assert found.searched == found.gallery_size == 24
    assert [pair.score for pair in found] == sorted((pair.score for pair in found), reverse=True)
    assert [cluster.number for cluster in found.clusters] == [1, 2, 3, 4]
    assert "4 pairs in 4 clusters" in str(found)


@pytest.mark.usefixtures("small_portions")
def test_a_pair_has_the_score_of_a_search_and_of_a_verification(gallery: Gallery) -> None:
    some_people(gallery)
    gallery.enroll("p3", [finger(3, RIGHT, 2), face(3, 2)], encounter_id="later")
    gallery.enroll("again3", [finger(3, LEFT, 4, stated=UNKNOWN), finger(3, RIGHT, 5)])
    found = gallery.deduplicate(threshold=2.0, exact=True)
    assert ("p3", "again3") in named(found)
    for pair in found:
        later = [t.template for t in gallery.internals.store.references(pair.other_id)]
        (candidate,) = (c for c in gallery.identify(later, exact=True) if c.subject_id == pair.subject_id)
        assert (candidate.score, candidate.evidence) == (pair.score, pair.evidence)
        verified = gallery.verify(later, pair.subject_id)
        assert (verified.score, verified.evidence) == (pair.score, pair.evidence)


def test_known_positions_score_alike_whoever_is_the_probe() -> None:
    people = [everything(n, impression) for n in range(3) for impression in range(2)]
    tiles = [tile([templates], first=n) for n, templates in enumerate(people)]
    criterion = Criterion(6, threshold=-100.0, exact=True)
    for one in tiles:
        for other in tiles:
            there = find_pairs(one, other, criterion, Calibrations.of(), ordered=False)
            back = find_pairs(other, one, criterion, Calibrations.of(), ordered=False)
            assert [pair.score for pair in there] == [pair.score for pair in back]


@pytest.mark.usefixtures("small_portions")
def test_thresholds_are_those_of_a_search(gallery: Gallery) -> None:
    some_people(gallery)
    found = gallery.deduplicate(fpir=1e-3)
    assert found.fpir == 1e-3
    for pair in found:
        later = [t.template for t in gallery.internals.store.references(pair.other_id)]
        listed = gallery.identify(later, fpir=1e-3)
        assert pair.threshold in [c.threshold for c in listed if c.subject_id == pair.subject_id]


@pytest.mark.parametrize(("fpir", "threshold"), [(0.0, None), (1.5, None), (1e-3, 5.0), (None, float("nan"))])
def test_what_is_no_criterion_is_refused(gallery: Gallery, fpir: float, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        gallery.deduplicate(fpir=fpir, threshold=threshold)


def test_an_empty_gallery_has_no_duplicates(gallery: Gallery) -> None:
    assert len(gallery.deduplicate()) == 0
    gallery.enroll("alone", everything(1))
    assert str(gallery.deduplicate()).startswith("0 pairs in 0 clusters; 1 of 1 subjects")


@pytest.mark.usefixtures("small_portions")
def test_who_is_removed_is_in_no_pair(gallery: Gallery) -> None:
    some_people(gallery)
    gallery.remove("again5")
    gallery.remove("p10")
    assert named(gallery.deduplicate(threshold=3.0)) == {("p0", "again0"), ("p15", "again15")}


# ---------------------------------------------------------------------------------------- first looks


def tile(people: Sequence[Sequence[Template]], first: int = 0) -> Tile:
    entries = (Entry(first + n, first + n, t) for n, templates in enumerate(people) for t in templates)
    return Tile.of([Segment.of(0, 10**6, entries)])


def test_looks_lose_nothing_that_exact_comparison_lists() -> None:
    population = Population(seed=1)
    people = [t for _, t in population.encounters(range(80))]
    again = [t for _, t in population.encounters(range(80), impression=1)]
    exact = Criterion(80, fpir=1e-4, exact=True)
    looked = Criterion(100_000, fpir=1e-4 * 100_000 / 80)  # the same threshold, cuts of a large gallery
    assert not looked.passes_all
    calibrations = Calibrations.of()
    all_there_is = find_pairs(tile(again), tile(people), exact, calibrations, ordered=False)
    found = find_pairs(tile(again), tile(people), looked, calibrations, ordered=False)
    assert len(all_there_is) >= 78
    assert {(p.probe, p.reference) for p in found} <= {(p.probe, p.reference) for p in all_there_is}
    assert len(found) >= len(all_there_is) - 1


def test_portions_and_the_way_to_another_machine_change_nothing() -> None:
    population = Population(seed=2)
    people = [t for _, t in population.encounters(range(30))]
    again = [t for _, t in population.encounters(range(30), impression=1)]
    criterion = Criterion(5_000, fpir=1.0)
    calibrations = Calibrations.of()
    whole = find_pairs(tile(again), tile(people), criterion, calibrations, ordered=False)
    assert len(whole) >= 25
    parts = []
    for start in range(0, 30, 7):
        probes = pickle.loads(pickle.dumps(tile(again[start : start + 7], first=start)))
        parts += [
            pair
            for begin in range(0, 30, 16)
            for pair in find_pairs(
                probes, tile(people[begin : begin + 16], first=begin), criterion, calibrations, ordered=False
            )
        ]
    assert sorted(parts, key=lambda p: (p.probe, p.reference)) == whole


# --------------------------------------------------------------------------------- since, checkpoints


@pytest.mark.usefixtures("small_portions")
def test_new_against_all_finds_what_is_new_and_nothing_else(gallery: Gallery) -> None:
    some_people(gallery)
    before = gallery.deduplicate(threshold=3.0)
    gallery.enroll("late", everything(7, 2))
    gallery.enroll("p4", everything(12, 3), encounter_id="of somebody else")  # whose subject is an old one
    found = gallery.deduplicate(threshold=3.0, since=before.change)
    assert found.searched == 2
    assert named(found) == {("p7", "late"), ("p4", "p12")}
    everyone = gallery.deduplicate(threshold=3.0)
    assert named(everyone) == named(before) | named(found)
    assert {(p.score, p.evidence) for p in found} <= {(p.score, p.evidence) for p in everyone}
    assert len(gallery.deduplicate(threshold=3.0, since=found.change)) == 0


@pytest.mark.usefixtures("small_portions")
def test_a_job_that_was_stopped_goes_on_as_of_its_beginning(gallery: Gallery, tmp_path: Path) -> None:
    some_people(gallery)
    whole = gallery.deduplicate(threshold=3.0)
    path = tmp_path / "checkpoint"
    for stop in (1, 60, 150, 240):

        def watch(done: int, total: int, stop: int = stop) -> None:
            if done >= stop:
                raise Stop

        with pytest.raises(Stop):
            gallery.deduplicate(threshold=3.0, checkpoint=path, progress=watch)
        with path.open("ab") as stream:
            stream.write(b"[3,[[1,2,3.5,")  # a line cut short by a kill
    gallery.enroll("after the beginning", everything(1, 1))
    with pytest.raises(StoreError, match=r"threshold 3.0, now 4.0"):
        gallery.deduplicate(threshold=4.0, checkpoint=path)
    assert gallery.deduplicate(threshold=3.0, checkpoint=path) == whole
    path.unlink()
    assert len(gallery.deduplicate(threshold=3.0)) == 5


def test_what_is_no_checkpoint_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    for content in (
        b"something else\n",
        b'{"abis_deduplication":1}\n',
        b"[1]\n",
        HEAD.replace(b":1,", b":2,"),
        HEAD.replace(b'"exact":false', b'"exact":0'),
        HEAD.replace(b'"change":9', b'"change":-9'),
        HEAD + b'[0,[[5,3,"1.5",1.0,[]]]]\n',
        HEAD + b'[0,[[5,3,1.5,1.0,[[99,1.5,40.0,"3",1]]]]]\n',
    ):
        path = tmp_path / "checkpoint"
        path.write_bytes(content)
        with pytest.raises(StoreError, match="not the checkpoint"):
            gallery.deduplicate(checkpoint=path)
        assert path.read_bytes() == content


def test_a_checkpoint_of_an_earlier_abis_is_continued(tmp_path: Path) -> None:
    """As version 0.1 wrote it, by json.dumps."""
    path = tmp_path / "checkpoint"
    path.write_bytes(HEAD + b'[7,[[5,3,6.25,5.0,[[7,6.25,40.5,"3",7]]]]]\n')
    now = AsOf(20, 30, 40, 50)
    with Checkpoint(path, Question(1e-4, None, False, None), now) as checkpoint:
        assert checkpoint.as_of == AsOf(change=9, subjects=5, last_subject=5, last_encounter=6)
        (pair,) = checkpoint[7]
        evidence = Evidence(Position.LEFT_INDEX, 6.25, 40.5, "3", Position.LEFT_INDEX)
        assert pair == FoundPair(5, 3, 6.25, 5.0, (evidence,))
        checkpoint.add(8, [pair])
    with Checkpoint(path, Question(1e-4, None, False, None), now) as checkpoint:
        assert checkpoint[8] == checkpoint[7] == [pair]


HEAD = (
    b'{"abis_deduplication":1,"asked":{"fpir":0.0001,"threshold":null,"exact":false,"since":null},'
    b'"as_of":{"change":9,"subjects":5,"last_subject":5,"last_encounter":6}}\n'
)


# ------------------------------------------------------------------------------------------ clusters


def family(*members: int, score: float = 9.0) -> list[Link]:
    return [Link(a, b, score) for a in members for b in members if a < b]


def test_one_false_link_does_not_weld_two_families() -> None:
    links = [*family(1, 2, 3), *family(11, 12), Link(3, 11, 99.0)]
    (group,) = grouped(links)
    assert group.families == ((1, 2, 3), (11, 12))
    assert [links[n] for n in group.weak] == [Link(3, 11, 99.0)]


def test_a_family_may_lack_some_of_its_links() -> None:
    links = family(1, 2, 3, 4)
    del links[2]
    (group,) = grouped(links)
    assert group.families == ((1, 2, 3, 4),)
    assert not group.weak


def test_clusters_come_with_the_surest_first() -> None:
    groups = grouped([Link(1, 2, 5.0), Link(3, 4, 8.0), Link(4, 5, 6.0), Link(3, 5, 4.0)])
    assert [group.families for group in groups] == [((3, 4, 5),), ((1, 2),)]
    assert [group.links for group in groups] == [(1, 2, 3), (0,)]


some_links = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([5.0, 6.0, 7.0]))
    .filter(lambda link: link[0] != link[1])
    .map(lambda link: Link(*link)),
    max_size=25,
    unique_by=lambda link: frozenset(link[:2]),
)


@settings(deadline=None, max_examples=50)
@given(some_links, st.randoms(use_true_random=False))
def test_clusters_are_what_hangs_together_in_any_order(links: list[Link], random: object) -> None:
    groups = grouped(links)
    for group in groups:
        members = [subject for family in group.families for subject in family]
        home = {subject: number for number, own in enumerate(group.families) for subject in own}
        assert len(set(members)) == len(members)
        assert {s for n in group.links for s in links[n][:2]} == set(members)
        assert group.weak == {n for n in group.links if home[links[n].first] != home[links[n].second]}
    assert sorted(n for group in groups for n in group.links) == list(range(len(links)))
    subjects = [{s for family in group.families for s in family} for group in groups]
    assert sum(map(len, subjects)) == len(set().union(*subjects)) if subjects else not links
    shuffled = links.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = grouped(shuffled)
    assert [g.families for g in again] == [g.families for g in groups]
    assert [[shuffled[n] for n in g.links] for g in again] == [[links[n] for n in g.links] for g in groups]


def test_a_tile_is_what_its_segments_hold() -> None:
    people = [everything(n) for n in range(6)]
    cut = tile(people).between(2, 4)
    assert cut.subjects.tolist() == [2, 3, 4]
    same = tile(people[2:5], first=2)
    for mine, theirs in zip(cut.parts, same.parts, strict=True):
        assert mine.kind == theirs.kind
        for name, column in mine.arrays.items():
            np.testing.assert_array_equal(column, theirs.arrays[name])


# ------------------------------------------------------------------------------- one person, one identity


def test_an_enrolled_person_is_not_enrolled_again(gallery: Gallery) -> None:
    gallery.enroll_many((Enrollment(f"p{n}", everything(n)) for n in range(10)), unique=True)
    with pytest.raises(DuplicateFound, match="'again' is not enrolled: it seems to be 'p4'") as caught:
        gallery.enroll("again", everything(4, 1), unique=True)
    assert caught.value.candidates == gallery.identify(everything(4, 1), fpir=1e-4).candidates
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    gallery.enroll("p4", everything(4, 1), encounter_id="a further encounter", unique=True)
    gallery.enroll("somebody else", everything(11), unique=True)
    assert len(gallery) == 11


def test_a_further_encounter_of_another_person_is_refused(
    gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search goes on after the subject itself is found.

    Another subject may have only the finger that is searched last.
    """
    monkeypatch.setattr(Cuts, "least", (20, 10, 10))
    gallery.enroll_many(Enrollment(f"p{n:03}", everything(n)) for n in range(100))
    probe = sorted((finger(4, RIGHT, 1), finger(4, LEFT, 1)), key=len)
    gallery.enroll("p004 again", [finger(4, probe[0].position, 2)])
    assert [c.subject_id for c in gallery.identify(probe, fpir=1e-4)] == ["p004"]
    with pytest.raises(DuplicateFound, match="it seems to be 'p004 again'"):
        gallery.enroll("p004", probe, encounter_id="a further encounter", unique=True)


def test_two_enrollments_of_one_person_in_a_batch_are_refused(gallery: Gallery) -> None:
    batch = [*(Enrollment(f"p{n}", everything(n)) for n in range(5)), Enrollment("again", everything(2, 1))]
    with pytest.raises(DuplicateFound, match="'again' is not enrolled: it seems to be 'p2'"):
        gallery.enroll_many(batch, unique=True)
    assert len(gallery) == 0
    batch[-1] = Enrollment("p2", everything(2, 1), "a further encounter")
    gallery.enroll_many(batch, unique=True)
    assert len(gallery) == 5


COPIES = 6


def test_of_copies_enrolled_at_once_by_threads_one_is_enrolled(gallery: Gallery) -> None:
    gallery.enroll_many(Enrollment(f"p{n}", everything(n)) for n in range(5))
    for person in (20, 21):
        barrier = threading.Barrier(COPIES)

        def copy(number: int, barrier: threading.Barrier = barrier, person: int = person) -> bool:
            barrier.wait()
            return enrolled_unique(gallery, person, number)

        with ThreadPoolExecutor(COPIES) as pool:
            assert sum(pool.map(copy, range(COPIES))) == 1
    assert len(gallery) == 7


def test_of_copies_enrolled_at_once_by_processes_one_is_enrolled(tmp_path: Path) -> None:
    folder = tmp_path / "citizens.abis"
    with Gallery.open(folder) as gallery:
        gallery.enroll_many(Enrollment(f"p{n}", everything(n)) for n in range(5))
        context = processes()
        barrier, results = context.Barrier(3), context.SimpleQueue()
        others = [context.Process(target=enroll_copies, args=(folder, k, barrier, results)) for k in range(3)]
        for other in others:
            other.start()
        for other in others:
            other.join()
        outcomes = [results.get() for _ in others]
        assert [sum(own) for own in zip(*outcomes, strict=True)] == [1] * 4
        assert len(gallery) == 9
        assert len(gallery.deduplicate(fpir=1e-4)) == 0


def enroll_copies(folder: Path, number: int, barrier: Any, results: Any) -> None:
    with Gallery.open(folder) as gallery:
        outcome = []
        for person in range(30, 34):
            barrier.wait()
            outcome.append(enrolled_unique(gallery, person, number))
        results.put(outcome)


def enrolled_unique(gallery: Gallery, person: int, number: int) -> bool:
    try:
        gallery.enroll(f"{person}, copy {number}", everything(person, number), unique=True)
    except DuplicateFound:
        return False
    return True
