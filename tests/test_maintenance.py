# SPDX-License-Identifier: Apache-2.0
"""Maintenance: checks report faults, backups are galleries, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from people import everything, face

from abis.errors import StoreError
from abis.files import publish
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import shipped
from abis.store import Enrollment, maintenance
from abis.store.encryption import MasterKey

KEY = MasterKey(bytes(range(32)))


@pytest.fixture(params=[None, KEY], ids=["plain", "encrypted"])
def gallery(request: pytest.FixtureRequest, database: str) -> Iterator[Gallery]:
    with Gallery.open(database, load=False, key=request.param) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(6))
        gallery.enroll("s1", [face(1, 1)], encounter_id="2")
        gallery.remove("s2")
        gallery.set_labels("s3", ["north"])
        gallery.calibrate(shipped("minutiae"))
        yield gallery


def test_a_sound_gallery_has_no_faults(gallery: Gallery) -> None:
    seen: list[tuple[int, int]] = []
    assert gallery.check(progress=lambda done, total: seen.append((done, total))) == []
    assert seen == [(16, 16)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE gallery SET subjects = 17", "subjects: 5 rows, but the counter says 17"),
        ("UPDATE gallery SET templates = 0", "templates: 16 rows, but the counter says 0"),
        (
            "UPDATE gallery SET last_encounter = 3",
            "encounters: key 7 was given, but the last one is said to be 3",
        ),
        (
            "UPDATE subjects SET templates = 9 WHERE subject_id = 's3'",
            "subject 's3': 3 templates, but should have 9",
        ),
        ("DELETE FROM templates WHERE key = 1", "subject 's0': 2 templates, but should have 3"),
        ("DELETE FROM templates WHERE encounter = 7", "encounter 7 has no template"),
        (
            "DELETE FROM changes WHERE number = 8",
            "log of changes: 7 rows, the last is 7, but the counter says 8",
        ),
        (
            "UPDATE changes SET operation = 2 WHERE number = 4",
            "encounter 4 is there, but the log says it was removed",
        ),
        ("UPDATE changes SET operation = 1 WHERE number = 8", "leaves 8 encounters, but there are 6"),
        ("UPDATE templates SET position = 4 WHERE key = 1", "subject 's0': template 1 is damaged"),
        ("UPDATE subjects SET level = 2 WHERE subject_id = 's3'", "row 4 of table subjects is damaged"),
        ("UPDATE subjects SET next = 0 WHERE subject_id = 's3'", "'s4' does not follow on 's3' in the chain"),
        ("UPDATE encounters SET encounter_id = 'x' WHERE key = 1", "row 1 of table encounters is damaged"),
        ("DELETE FROM labels WHERE subject = 4", "subject 's3': its labels are not those that were given"),
        ("UPDATE labels SET label = 'south'", "label 'north': its subjects are not those that were counted"),
        ("DELETE FROM settings", "the gallery's settings"),
        ("UPDATE audit SET outcome = '' WHERE number = 2", "audit log: entry 2 was changed"),
    ],
)
def test_what_is_wrong_is_said(gallery: Gallery, database: str, statement: str, message: str) -> None:
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
    faults = gallery.check()
    assert any(message in fault.what for fault in faults), faults
    assert all(fault.advice and fault.advice in str(fault) for fault in faults)


def test_verification_notices_that_templates_are_missing(gallery: Gallery, database: str) -> None:
    engine = sa.create_engine(database)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM templates WHERE key = 1")
    engine.dispose()
    with pytest.raises(StoreError, match="subject 's0' has 3 templates, but 2 are found"):
        gallery.verify(everything(0), "s0")


def test_compacted_a_gallery_is_smaller_and_the_same(gallery: Gallery) -> None:
    gallery.enroll_many(Enrollment(f"more{n}", everything(n)) for n in range(300))
    for n in range(300):
        gallery.remove(f"more{n}")
    before = gallery.info().disk_bytes
    gallery.compact()
    after = gallery.info().disk_bytes
    assert (before is None) == (after is None)
    assert before is None or after is None or after < before / 2
    assert gallery.check() == []
    assert list(gallery) == ["s0", "s1", "s3", "s4", "s5"]


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_backup_is_a_gallery_as_of_its_moment(
    tmp_path: Path, key: MasterKey | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(backup=5))
    with Gallery.open(tmp_path / "g", load=False, key=key) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n)) for n in range(50))
        steps: list[tuple[int, int]] = []

        def meanwhile(done: int, total: int) -> None:
            steps.append((done, total))
            if len(steps) < 5:
                gallery.enroll(f"new{len(steps)}", everything(100))

        gallery.backup(tmp_path / "copy", progress=meanwhile)
        assert len(gallery) == 54
        with pytest.raises(StoreError, match="there is a gallery in it already"):
            gallery.backup(tmp_path / "copy")
    assert len(steps) > 4
    assert steps[-1][0] == steps[-1][1]
    assert [file.name for file in (tmp_path / "copy").iterdir()] == ["store.sqlite"]
    with Gallery.open(tmp_path / "copy", key=key) as copy:
        assert list(copy) == [f"s{n}" for n in range(50)]
        assert copy.check() == []
        assert copy.identify(everything(3, 1))[0].subject_id == "s3"


def test_a_backup_of_a_server_is_the_servers(postgresql) -> None:  # type: ignore[no-untyped-def]
    with (
        Gallery.open(postgresql.new_database()) as gallery,
        pytest.raises(StoreError, match="a server keeps it: use pg_dump"),
    ):
        gallery.backup("/tmp/nowhere")


@pytest.mark.parametrize("fails", ["connect", "publish"])
def test_a_backup_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "note").write_text("of the operator")

    def full(*arguments: Path) -> None:
        if fails == "publish":
            publish(*arguments)  # in place, but the folder cannot be synced
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(maintenance, "publish", full)
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("a", [face(1)])
        for folder in (tmp_path / "new", tmp_path / "kept"):
            with pytest.raises(StoreError, match="No space left"):
                gallery.backup(folder)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["note"]


def test_a_backup_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with Gallery.open(tmp_path / "g") as gallery, pytest.raises(StoreError, match=r"file: File exists"):
        gallery.backup(tmp_path / "file")
