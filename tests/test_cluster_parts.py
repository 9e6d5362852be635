# SPDX-License-Identifier: Apache-2.0
"""What a cluster is made of: where subjects belong, parts of a whole, requests that count once. No Ray runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")

from hypothesis import given
from hypothesis import strategies as st
from people import everything, face

from abis import AlreadyEnrolled, Enrollment, Gallery, NotEnrolled, Status, StoreError
from abis.cluster.manifest import Manifest, Shard
from abis.cluster.messages import Asked, Refused, plain_enrollment
from abis.cluster.placement import shard_of
from abis.cluster.shard import ShardWorker
from abis.store import Store, once, parts
from abis.store.parts import Part

PART = Part("whole", 0, 2, 1)
ASKED = Asked(1, None, False)


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
    manifest = Manifest("id", 3, (Shard("a"), Shard("b", "disk")), (Shard("a"),), 12)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    file = tmp_path / "cluster.json"
    for content, fault in (
        ("{", "cluster.json: Expecting"),
        ("[]", "not a cluster's manifest"),
        (file.read_text().replace("blake2b", "md5"), "hash 'md5"),
        (file.read_text().replace('"version": 3', '"version": null'), "not a cluster's manifest"),
    ):
        file.write_text(content)
        with pytest.raises(StoreError, match=fault):
            Manifest.read(tmp_path)


def test_a_request_counts_once(tmp_path: Path) -> None:
    person = [Enrollment("p", everything(1))]
    with Gallery.open(tmp_path / "gallery") as gallery:
        first, second = once.new_request(), once.new_request()
        assert gallery.enroll_once(person, first)
        assert not gallery.enroll_once(person, first)
        with pytest.raises(AlreadyEnrolled):
            gallery.enroll_once(person, second)
        assert len(gallery) == 1
        gallery.remove("p")
        assert not gallery.enroll_once(person, first)  # what has been removed since does not come back
        assert gallery.enroll_once(person, second)
        assert gallery.identify(everything(1, 1))[0].subject_id == "p"


def test_old_requests_are_forgotten(database: str) -> None:
    store = Store(database)
    old, new = f"{1:020d}:old", once.new_request()
    for request in (old, new):
        with store.transaction() as connection:
            once.note(connection, request)
    assert (once.is_done(store, old), once.is_done(store, new)) == (False, True)
    store.close()


def test_whole_subjects_change_stores(tmp_path: Path, database: str) -> None:
    with Gallery.open(tmp_path / "gallery") as gallery, Gallery.open(database) as other:
        gallery.enroll_many(
            [Enrollment("p", everything(1), labels=["x"], level=2), Enrollment("q", [face(2)])]
        )
        gallery.enroll("p", [face(1, 2)], encounter_id="later")
        gallery.set_status("p", Status.LOCKED, reason="asked for")
        wholes = parts.give(gallery.store, ["q", "p", "nobody"])
        assert [whole.subject_id for whole in wholes] == ["p", "q"]
        assert parts.take(other.store, wholes) == 2
        assert parts.take(other.store, wholes) == 0
        assert parts.give(other.store, ["p", "q"]) == wholes
        assert other.subject("p") == gallery.subject("p")
        parts.drop(gallery.store, ["p", "nobody"])
        assert list(gallery) == ["q"]
        assert gallery.check() == other.check() == []
        other.set_level("p", 5)
        with pytest.raises(AlreadyEnrolled, match="'p' is enrolled here already, with other content"):
            parts.take(other.store, wholes)


def test_who_goes_leaves_the_rest_whole(tmp_path: Path) -> None:
    names = [f"{number * 37 % 50:02}" for number in range(50)]
    with Gallery.open(tmp_path / "gallery") as gallery:
        gallery.enroll_many(Enrollment(name, [face(int(name))], labels=[name[0]]) for name in names)
        for gone in (["00", "01", "02", "25"], ["49"], names[7:31], names):
            parts.drop(gallery.store, gone)
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
    assert "open it again" in str(refused(own.take(ASKED, [])))  # nobody is moving
    with Gallery.open(tmp_path) as gallery:
        parts.set_part(gallery.store, Part("whole", 0, 2, 1, moving=True))
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


def refused(answer: object) -> Exception:
    assert isinstance(answer, Refused)
    return answer.error
