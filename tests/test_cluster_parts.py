# SPDX-License-Identifier: Apache-2.0
"""The parts of a cluster without Ray: placement of subjects, partial galleries, requests that take effect once."""

from __future__ import annotations

import inspect
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")

from hypothesis import given
from hypothesis import strategies as st
from people import everything, face

from abis import AlreadyEnrolled, Enrollment, Gallery, NotEnrolled, Status, StoreError
from abis.cluster import Cluster, pairs
from abis.cluster.calls import ShardClient
from abis.cluster.manifest import ClusterManifest, Shard
from abis.cluster.messages import CallHeader, Keys, Refused, ShardPopulation, plain_enrollment
from abis.cluster.placement import shard_of
from abis.cluster.shard import ShardWorker
from abis.deduplication import Duplicates
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import shipped
from abis.store import Store, once, parts
from abis.store.parts import Part

PART = Part("whole", 0, 2, 1)
ASKED = CallHeader(1, None, False)


@given(st.text(min_size=1, max_size=30), st.integers(1, 200))
def test_more_shards_move_subjects_to_new_shards_only(subject_id: str, shards: int) -> None:
    before, after = shard_of(subject_id, shards), shard_of(subject_id, shards + 1)
    assert 0 <= before < shards
    assert after in (before, shards)


def test_shards_hold_about_as_many_each() -> None:
    counts = Counter(shard_of(f"{number:012}", 7) for number in range(7_000))
    assert sorted(counts) == list(range(7))
    assert all(850 < count < 1_150 for count in counts.values())  # 5 standard deviations


def test_subjects_stay_where_earlier_versions_put_them() -> None:
    names = ["", "a", "079203001234", "Đặng", "x" * 255]
    assert [shard_of(name, 1_000) for name in names] == [472, 379, 991, 958, 680]


@pytest.mark.parametrize(
    ("text", "shard"),
    [
        ("shard-0", Shard("shard-0")),
        ("/data/a@disk", Shard("/data/a", "disk")),
        ("/data/a@b/c", Shard("/data/a@b/c")),
        ("postgresql+psycopg://abis:pw@db/s1", Shard("postgresql+psycopg://abis:pw@db/s1")),
        ("postgresql+psycopg://abis:pw@db/s1@near", Shard("postgresql+psycopg://abis:pw@db/s1", "near")),
    ],
)
def test_a_shard_is_told_by_its_place_and_perhaps_a_resource(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard
    assert "pw" not in str(shard)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = ClusterManifest("id", 3, (Shard("a"), Shard("b", "disk")), (Shard("a"),), 12)
    manifest.write(tmp_path)
    assert ClusterManifest.read(tmp_path) == manifest
    file = tmp_path / "cluster.json"
    for content, fault in (
        ("{", "cluster.json: not a cluster's manifest: Input data was truncated"),
        ("[]", "not a cluster's manifest"),
        (file.read_text().replace("blake2b", "md5"), "hash 'md5"),
        (file.read_text().replace('"version": 3', '"version": null'), "not a cluster's manifest"),
    ):
        file.write_text(content)
        with pytest.raises(StoreError, match=fault):
            ClusterManifest.read(tmp_path)


def test_old_requests_are_forgotten(database: str) -> None:
    store = Store(database)
    old, new = f"{1:020d}:old", once.new_request()
    for request in (old, new):
        with store.writing() as transaction:
            once.note(transaction.connection, request)
    assert (once.is_done(store, old), once.is_done(store, new)) == (False, True)
    store.close()


def test_whole_subjects_change_stores(tmp_path: Path, database: str) -> None:
    with Gallery.open(tmp_path / "gallery") as gallery, Gallery.open(database) as other:
        gallery.enroll_many(
            [Enrollment("p", everything(1), labels=["x"], level=2), Enrollment("q", [face(2)])]
        )
        gallery.enroll("p", [face(1, 2)], encounter_id="later")
        gallery.set_status("p", Status.LOCKED, reason="asked for")
        wholes = parts.give(gallery.internals.store, ["q", "p", "nobody"])
        assert [whole.subject_id for whole in wholes] == ["p", "q"]
        assert parts.take(other.internals.store, wholes) == 2
        assert parts.take(other.internals.store, wholes) == 0
        assert parts.give(other.internals.store, ["p", "q"]) == wholes
        assert other.subject("p") == gallery.subject("p")
        parts.drop(gallery.internals.store, ["p", "nobody"])
        assert list(gallery) == ["q"]
        assert gallery.check() == other.check() == []
        other.set_level("p", 5)
        with pytest.raises(AlreadyEnrolled, match="'p' is enrolled here already, with other content"):
            parts.take(other.internals.store, wholes)


def test_who_goes_leaves_the_rest_whole(tmp_path: Path) -> None:
    names = [f"{number * 37 % 50:02}" for number in range(50)]
    with Gallery.open(tmp_path / "gallery") as gallery:
        gallery.enroll_many(Enrollment(name, [face(int(name))], labels=[name[0]]) for name in names)
        for gone in (["00", "01", "02", "25"], ["49"], names[7:31], names):
            parts.drop(gallery.internals.store, gone)
            names = [name for name in names if name not in gone]
            assert list(gallery) == names
            assert gallery.check() == []


def worker(folder: Path, *, number: int = 0) -> ShardWorker:
    return ShardWorker(str(folder), number, "whole")


def test_a_shard_serves_what_it_is_and_nothing_else(tmp_path: Path) -> None:
    own = worker(tmp_path)
    assert "no gallery there" in str(refused(own.subjects(ASKED)))
    assert list(tmp_path.iterdir()) == []
    assert own.become(ASKED, PART, False) == 0
    assert own.subjects(ASKED) == 0
    assert "expected shard 1 of" in str(refused(worker(tmp_path, number=1).subjects(ASKED)))
    assert "open it again" in str(refused(own.subjects(ASKED._replace(version=2))))
    assert "open it again" in str(refused(own.take(ASKED, [])))  # no re-sharding is under way
    with Gallery.open(tmp_path) as gallery:
        parts.set_part(gallery.internals.store, Part("whole", 0, 2, 1, moving=True))
    enrollment = plain_enrollment(Enrollment("p", [face(1)]))
    assert "open it again" in str(refused(own.enroll(ASKED, [enrollment], once.new_request())))
    assert own.take(ASKED, []) == 0


def test_a_gallery_with_subjects_becomes_a_part_only_when_it_is_adopted(tmp_path: Path) -> None:
    with Gallery.open(tmp_path) as gallery:
        gallery.enroll("p", [face(1)])
    assert "holds 1 subjects; expected an empty gallery" in str(
        refused(worker(tmp_path).become(ASKED, PART, False))
    )
    assert worker(tmp_path).become(ASKED, PART, True) == 1


def test_who_asks_again_to_remove_is_not_told_that_it_is_done(tmp_path: Path) -> None:
    own = worker(tmp_path)
    own.become(ASKED, PART, False)
    own.enroll(ASKED, [plain_enrollment(Enrollment("p", [face(1)]))], once.new_request())
    assert own.remove(ASKED, "p", None) is None
    assert own.remove(ASKED._replace(again=True), "p", None) is None
    assert isinstance(refused(own.remove(ASKED, "p", None)), NotEnrolled)


class Directly:
    """A shard that is asked without Ray; what it is asked and answers is pickled as on the way."""

    def __init__(self, own: ShardWorker, number: int) -> None:
        self.worker, self.number = own, number
        self.most = self.waiting = 0

    def ask(self, method: Any, *args: Any) -> Any:
        return Answer(self, method, pickle.dumps(args))


class Answer:
    def __init__(self, shard: Directly, method: Any, args: bytes) -> None:
        self.shard, self.method, self.args = shard, method, args
        shard.waiting += 1
        shard.most = max(shard.most, shard.waiting)

    def result(self) -> Any:
        self.shard.waiting -= 1
        answer = getattr(self.shard.worker, self.method.__name__)(ASKED, *pickle.loads(self.args))
        if isinstance(answer, Refused):
            raise answer.error
        return pickle.loads(pickle.dumps(answer))

    def cancel(self) -> None:
        self.shard.waiting -= 1


def shards(folder: Path, count: int, enrollments: Sequence[Enrollment]) -> list[Directly]:
    workers = [worker(folder / str(number), number=number) for number in range(count)]
    for number, own in enumerate(workers):
        own.become(ASKED, Part("whole", number, count, 1), False)
        mine = [plain_enrollment(e) for e in enrollments if shard_of(e.subject_id, count) == number]
        own.enroll(ASKED, mine, once.new_request())
    return [Directly(own, number) for number, own in enumerate(workers)]


def deduplicated(shards: Sequence[Directly], **asked: Any) -> Duplicates:
    options = {
        "fpir": None,
        "threshold": None,
        "exact": False,
        "progress": None,
        "sizes": WorkSizes(),
        **asked,
    }
    return pairs.deduplicate(cast("Sequence[ShardClient]", shards), **options)


def duplicates(strangers: int = 150, twice: int = 40) -> Iterator[Enrollment]:
    for person in range(strangers):
        yield Enrollment(f"s{person:03}", everything(person))
    for person in range(twice):
        yield Enrollment(f"t{person:03}", everything(person, 1)[person % 2 :])


def without_order(found: Duplicates) -> dict[frozenset[str], Any]:
    """Pairs as either subject sees them."""
    return {
        frozenset((pair.subject_id, pair.other_id)): (
            pair.score,
            pair.threshold,
            pair.cluster,
            pair.is_weak,
            [(e.position, e.score, e.raw) for e in pair.evidence],
        )
        for pair in found
    }


@pytest.mark.parametrize("count", [1, 3, 4])
def test_shards_find_the_duplicates_of_one_gallery(tmp_path: Path, count: int) -> None:
    sizes = WorkSizes(tile=32, portion=12)  # several of both in each shard
    enrollments = list(duplicates())
    with Gallery.open(tmp_path / "one") as gallery:
        gallery.enroll_many(enrollments)
        expected = gallery.deduplicate(fpir=1e-3)
    asked = shards(tmp_path, count, enrollments)
    seen: list[tuple[int, int]] = []
    found = deduplicated(asked, fpir=1e-3, progress=lambda *of: seen.append(of), sizes=sizes)
    assert len(expected) >= 40
    assert without_order(found) == without_order(expected)
    assert [one.families for one in found.clusters] == [one.families for one in expected.clusters]
    assert (found.gallery_size, found.searched, found.fpir) == (190, 190, 1e-3)
    across = {shard_of(p.subject_id, count) == shard_of(p.other_id, count) for p in found}
    assert across == ({True} if count == 1 else {True, False})
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1]
    assert all(shard.most <= 3 * count for shard in asked)
    assert all(shard.waiting == 0 for shard in asked)


def test_the_first_look_of_shards_is_that_of_one_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("abis.deduplication.pairing._ALL_PASS", 10)
    enrollments = list(duplicates(60, 20))
    with Gallery.open(tmp_path / "one") as gallery:
        gallery.enroll_many(enrollments)
        expected = gallery.deduplicate(threshold=4.0)
    found = deduplicated(shards(tmp_path, 3, enrollments), threshold=4.0)
    assert found.coverage == expected.coverage
    assert len(expected) >= 15
    assert without_order(found) == without_order(expected)


@given(st.integers(1, 40))
def test_of_two_shards_one_is_sent_the_others_subjects(count: int) -> None:
    sent = [pairs.senders(holder, count) for holder in range(count)]
    met = [tuple(sorted((holder, one))) for holder, own in enumerate(sent) for one in own]
    assert sorted(met) == list(combinations(range(count), 2))
    assert max(map(len, sent)) - min(map(len, sent)) <= 1


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5))
def test_portions_hold_every_pair_once(sizes: list[int]) -> None:
    populations = [ShardPopulation(size, size, 99, 1, "", {}) for size in sizes]
    met: Counter[frozenset[tuple[int, int]]] = Counter()
    small = WorkSizes(tile=8, portion=3)
    work = [p for holder in range(len(sizes)) for p in pairs.portions(holder, populations, small)]
    for portion in work:
        own = [
            frozenset([(portion.sender, probe), (portion.holder, reference)])
            for probe in range(portion.probes.first, portion.probes.last + 1)
            for reference in range(portion.references.first, portion.references.last + 1)
            if portion.sender != portion.holder or reference < probe
        ]
        assert portion.weight == len(own)
        met.update(own)
    everyone = [(number, key) for number, size in enumerate(sizes) for key in range(1, size + 1)]
    assert met == Counter(map(frozenset, combinations(everyone, 2)))


def test_who_came_or_went_since_is_no_duplicate(tmp_path: Path) -> None:
    enrollments = [Enrollment(f"s{n}", everything(n)) for n in range(6)]
    first, *_ = asked = shards(tmp_path, 2, [*enrollments, Enrollment("t1", everything(1, 1))])
    assert [{p.subject_id, p.other_id} for p in deduplicated(asked, fpir=1e-3)] == [{"s1", "t1"}]
    as_of = first.ask(ShardWorker.population).result()
    name = next(f"n{n}" for n in range(99) if shard_of(f"n{n}", 2) == 0)
    first.worker.enroll(ASKED, [plain_enrollment(Enrollment(name, everything(3)))], once.new_request())
    keys = Keys(1, as_of.last_subject + 9, as_of.last_encounter)
    assert len(first.ask(ShardWorker.tile, keys).result().subjects) == as_of.subjects
    asked[shard_of("t1", 2)].worker.remove(ASKED, "t1", None)
    assert "s1" not in {name for p in deduplicated(asked, fpir=1e-3) for name in (p.subject_id, p.other_id)}


def test_shards_with_other_calibrations_are_not_compared(tmp_path: Path) -> None:
    asked = shards(tmp_path, 2, [])
    asked[0].worker.calibrate(ASKED, shipped("minutiae-mindtct").to_json())
    with pytest.raises(StoreError, match="different calibrations"):
        deduplicated(asked, fpir=1e-3)


def test_a_tile_does_not_print_templates(tmp_path: Path) -> None:
    (own,) = shards(tmp_path, 1, [Enrollment("p", everything(1))])
    tile = own.ask(ShardWorker.tile, Keys(1, 9, 9)).result()
    assert tile.parts
    assert "array" not in repr(tile) + repr(tile.parts[0])


ONLY_A_GALLERY = {
    "enroll": {
        "unique",
        "fpir",
        "min_coverage",
    },  # no search of all and enrolment in one are in one transaction
    "enroll_many": {"unique", "fpir", "min_coverage"},
    "identify": {"gallery_size"},  # which is how a shard is asked
    "identify_many": {"gallery_size"},
}
ONLY_A_CLUSTER = {"identify": {"partial"}, "identify_many": {"partial"}}
SUBJECTS = [
    "calibrate",
    "deduplicate",
    "enroll",
    "enroll_many",
    "identify",
    "identify_many",
    "merge",
    "move",
    "remove",
]
SUBJECTS += ["replace", "set_labels", "set_level", "set_status", "subject", "verify", "verify_many"]


@pytest.mark.parametrize("method", SUBJECTS)
def test_a_cluster_is_asked_as_a_gallery_is(method: str) -> None:
    mine, other = (inspect.signature(getattr(of, method)).parameters for of in (Cluster, Gallery))
    assert mine.keys() - other.keys() == ONLY_A_CLUSTER.get(method, set())
    assert other.keys() - mine.keys() == ONLY_A_GALLERY.get(method, set())
    common = [name for name in other if name in mine]
    assert [name for name in mine if name in other] == common
    assert [mine[name] for name in common] == [other[name] for name in common]


def test_a_cluster_does_not_hide_a_gallery(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", load=False):
        pass
    with pytest.raises(StoreError, match="is a gallery, which a cluster's manifest there would hide"):
        Cluster.create(tmp_path / "g", [Shard.parse("s0")])
    assert not (tmp_path / "g" / "cluster.json").exists()


def test_a_cluster_says_why_it_refuses(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, ClusterManifest("id", 1, ()), [], owns_ray=False)
    with pytest.raises(ValueError, match="counts its own changes"):
        cluster.deduplicate(since=3)
    with pytest.raises(ValueError, match="keys of one gallery"):
        cluster.deduplicate(checkpoint=tmp_path / "file")
    with pytest.raises(StoreError, match="merge 'p' into 'q' in a cluster"):
        cluster.merge("p", "q")
    with pytest.raises(StoreError, match="move encounter '1' of 'p' to 'q'"):
        cluster.move("1", "p", "q")


def refused(answer: object) -> Exception:
    assert isinstance(answer, Refused)
    return answer.error
