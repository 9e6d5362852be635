# SPDX-License-Identifier: Apache-2.0
"""Snapshots: damage to their files costs time, and never a wrong answer."""

import hashlib
import json
import logging
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from people import everything, face, processes

from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index import segments, snapshots
from abis.index.references import References
from abis.index.sizes import WorkSizes
from abis.index.snapshots import SnapshotManifest, Snapshots
from abis.store import Enrollment
from abis.store.encryption import MasterKey
from abis.template import Template

PROBES: list[list[Template]] = [list(everything(3, 1)), list(everything(11, 1))[:1], [face(12, 1)]]


SMALL = WorkSizes(segment=12, save=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small galleries are worth files too, of several segments."""
    monkeypatch.setattr(Internals, "sizes", SMALL)


def crowd(first: int, last: int) -> Iterator[Enrollment]:
    return (Enrollment(f"s{person:04}", everything(person)) for person in range(first, last))


def answers(gallery: Gallery) -> list[object]:
    return [gallery.identify(probe, exact=exact) for probe in PROBES for exact in (False, True)]


def files(folder: Path) -> list[Path]:
    return sorted((folder / "derived").glob("*.segment"))


def prepared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many templates are prepared anew, from now on."""
    counts: list[int] = []
    original = segments.Segment.of

    def of(after: int, last: int, entries: object) -> segments.Segment:
        segment = original(after, last, entries)  # type: ignore[arg-type]
        counts.append(len(segment))
        return segment

    monkeypatch.setattr(segments.Segment, "of", staticmethod(of))
    snapshots.recipe()  # prepares an example once
    counts.clear()
    return counts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A closed gallery of 14 subjects with its files."""
    folder = tmp_path / "g"
    with Gallery.open(folder) as gallery:
        gallery.enroll_many(crowd(0, 14))
    assert len(files(folder)) == 4
    return folder


def test_what_is_in_files_is_not_prepared_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(folder, folder.parent / "other")
    shutil.rmtree(folder.parent / "other" / "derived")
    with Gallery.open(folder.parent / "other") as other:
        expected = answers(other)
    counts = prepared(monkeypatch)
    with Gallery.open(folder) as gallery:
        assert counts == []
        assert answers(gallery) == expected
        gallery.enroll("new", everything(50))
        assert sum(counts) == 3
    assert sum(counts) == 3
    with Gallery.open(folder) as gallery:
        assert sum(counts) == 3
        assert gallery.identify(everything(50, 1))[0].subject_id == "new"
    assert caplog.records == []


def test_only_the_tail_is_prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another process, which loads nothing, enrolls and removes meanwhile."""
    counts = prepared(monkeypatch)
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll_many(crowd(20, 23))
        gallery.remove("s0003")
        gallery.remove("s0021")
    assert counts == []
    with Gallery.open(folder) as gallery:
        assert sum(counts) == 6
        assert "s0003" not in {c.subject_id for c in gallery.identify(everything(3, 1), max_candidates=50)}
        assert gallery.identify(everything(22, 1))[0].subject_id == "s0022"
        assert gallery.info().subjects == 15


def test_what_is_removed_vanishes_from_the_files(folder: Path) -> None:
    with Gallery.open(folder) as gallery:
        needle = {t.position: t for t in everything(3)}
        face_bytes = needle[face(3).position].vector.tobytes()  # type: ignore[union-attr]
        assert any(face_bytes in file.read_bytes() for file in files(folder))
        before = {file.name for file in files(folder)}
        gallery.remove("s0003")
    after = {file.name for file in files(folder)}
    assert len(before & after) == 3  # the others were not written again
    assert not any(face_bytes in file.read_bytes() for file in (folder / "derived").iterdir())
    with Gallery.open(folder) as gallery:
        for name in list(gallery):
            gallery.remove(name)
    assert files(folder) == []


def damaged(path: Path, kind: str, at: float) -> None:
    data = bytearray(path.read_bytes())
    place = int(at * (len(data) - 1))
    if kind == "flip":
        data[place] ^= 0x41
    elif kind == "cut":
        del data[place:]
    elif kind == "zero":
        data[place : place + 64] = bytes(len(data[place : place + 64]))
    elif kind == "more":
        data[place:place] = b"more"
    path.write_bytes(data)
    if kind == "gone":
        path.unlink()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A gallery with files, and what it answers."""
    folder = tmp_path_factory.mktemp("sound") / "g"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Internals, "sizes", SMALL)
        with Gallery.open(folder) as gallery:
            gallery.enroll_many(crowd(0, 14))
            gallery.remove("s0005")
            return folder, answers(gallery)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_damage_is_found_and_made_good(sound: tuple[Path, list[object]], data: st.DataObject) -> None:
    """Every region of every file: heads, headers, lengths, arrays, digests."""
    original, expected = sound
    folder = original.parent / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(original, folder)
    victims = sorted(path for path in (folder / "derived").iterdir() if path.name != ".lock")
    victim = data.draw(st.sampled_from(victims), label="file")
    kind = data.draw(st.sampled_from(["flip", "cut", "zero", "more", "gone"]))
    before = victim.read_bytes()
    damaged(victim, kind, data.draw(st.one_of(st.floats(0, 0.05), st.floats(0, 1), st.floats(0.99, 1))))
    is_harmed = not victim.exists() or victim.read_bytes() != before
    with _log_lines() as lines, Gallery.open(folder) as gallery:
        assert answers(gallery) == expected
    if victim.name == "manifest.json" and kind == "gone":
        assert lines == []  # as a gallery that never had any
    else:
        assert [victim.name in line for line in lines] == [True] * is_harmed
    with _log_lines() as lines, Gallery.open(folder) as gallery:  # closing has written it again
        assert answers(gallery) == expected
    assert lines == []


class _log_lines(logging.Handler):  # noqa: N801
    """Gathers what the package logs."""

    def __enter__(self) -> list[str]:
        self.lines: list[str] = []
        logging.getLogger("abis").addHandler(self)
        return self.lines

    def __exit__(self, *_: object) -> None:
        logging.getLogger("abis").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_files_of_another_state_of_the_store_are_not_used(folder: Path) -> None:
    """A backup is put back and others are enrolled: their keys and change numbers are the same again."""
    backup = folder.parent / "backup.sqlite"
    shutil.copy(folder / "store.sqlite", backup)
    with Gallery.open(folder) as gallery:
        gallery.enroll_many(crowd(14, 18))
    for path in folder.glob("store.sqlite*"):
        path.unlink()
    shutil.copy(backup, folder / "store.sqlite")
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll_many(crowd(24, 28))
    with _log_lines() as lines, Gallery.open(folder) as gallery:
        assert gallery.identify(everything(25, 1))[0].subject_id == "s0025"
        assert gallery.identify(everything(25, 1))[0].score > 3
        assert gallery.identify(everything(15, 1))[0].score < 3
    assert len(lines) == 1
    assert lines[0].endswith(
        "manifest.json is rebuilt from the store: it belongs to another state of the store"
    )


def test_a_backup_taken_after_the_files_were_written_may_use_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, folder.parent / "copy")
    counts = prepared(monkeypatch)
    with Gallery.open(folder.parent / "copy") as gallery:
        assert len(gallery.identify(everything(3, 1))) == 10
    assert counts == []


@pytest.mark.parametrize(("change", "other"), [("version", 99), ("recipe", "99"), ("format", "another")])
def test_files_of_another_abis_are_not_used(folder: Path, change: str, other: object) -> None:
    path = folder / "derived" / "manifest.json"
    manifest = SnapshotManifest.from_json(path.read_bytes())
    path.write_bytes(msgspec.structs.replace(manifest, **{change: other}).to_json())
    with _log_lines() as lines, Gallery.open(folder) as gallery:
        assert gallery.identify(everything(3, 1))[0].subject_id == "s0003"
    assert [line.split(": it ")[1] for line in lines] == ["is of another version of abis"]


def test_a_manifest_of_an_earlier_abis_is_read() -> None:
    """As version 0.1 wrote it, by json.dumps."""
    file = {"name": "000000000000-000000000012-0a1b2c3d.segment", "after": 0, "last": 12, "present": 11}
    content = {
        "format": "abis snapshot",
        "version": 1,
        "recipe": snapshots.recipe(),
        "snapshot_id": "5f" * 16,
        "change": 14,
        "sealed_by": 0,
        "files": [file | {"digest": "ab" * 32}],
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    text = json.dumps(content | {"digest": digest}, indent=1)
    manifest = SnapshotManifest.from_json(text.encode())
    assert (manifest.change, manifest.last, manifest.files[0].present) == (14, 12, 11)
    assert json.loads(manifest.to_json()) == json.loads(text)


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Snapshots, "save", full)
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll_many(crowd(0, 14))
        assert gallery.identify(everything(3, 1))[0].subject_id == "s0003"
    assert "could not be tidied or saved" in caplog.text
    assert "No space left" in caplog.text


def test_an_encrypted_gallery_has_encrypted_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "_PIECE", 100)
    key = MasterKey(bytes(range(32)))
    with Gallery.open(tmp_path, key=key) as gallery:
        gallery.enroll_many(crowd(0, 14))
        expected = answers(gallery)
    assert_sealed(tmp_path)
    counts = prepared(monkeypatch)
    with Gallery.open(tmp_path, key=key) as gallery:
        assert answers(gallery) == expected
        before = {file.name for file in files(tmp_path)}
        gallery.rotate_data_key()
        gallery.reseal()
        assert not before & {file.name for file in files(tmp_path)}  # the old key is in no use any more
    assert_sealed(tmp_path)
    with Gallery.open(tmp_path, key=key) as gallery:
        assert answers(gallery) == expected
    assert counts == []


def test_files_are_sealed_when_a_gallery_is_encrypted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = MasterKey(bytes(range(32)))
    with pytest.raises(AssertionError):
        assert_sealed(folder)
    with Gallery.open(folder, load=False) as gallery:
        gallery.encrypt(key)
    assert_sealed(folder)
    counts = prepared(monkeypatch)
    with Gallery.open(folder, key=key) as gallery:
        assert gallery.identify(everything(3, 1))[0].subject_id == "s0003"
    assert counts == []


def assert_sealed(folder: Path) -> None:
    contents = [file.read_bytes() for file in files(folder)]
    assert len(contents) == 4
    for person in range(14):
        vector = face(person).vector.tobytes()
        for start in range(0, len(vector), 16):
            assert not any(vector[start : start + 16] in content for content in contents)
    assert not any(b"position" in content for content in contents)


def test_what_is_erased_is_in_no_file(folder: Path) -> None:
    """Also by a process that has loaded nothing, and at once."""
    needle = face(3).vector.tobytes()
    assert any(needle in file.read_bytes() for file in files(folder))
    with Gallery.open(folder, load=False) as gallery:
        gallery.erase("s0003")
        assert not any(needle in file.read_bytes() for file in (folder / "derived").iterdir())


def test_a_worn_segment_is_packed_anew_beside(tmp_path: Path) -> None:
    with Gallery.open(tmp_path) as gallery:
        gallery.enroll_many(crowd(0, 12))
        before = answers(gallery)
        memory = gallery.info().memory_bytes
        gallery.enroll_many(crowd(100, 108))
        for person in range(100, 108):
            gallery.remove(f"s{person:04}")
        gallery.internals.references._keeper.submit(lambda: None).result()  # what was to be done has been
        assert gallery.info().memory_bytes <= memory
        for person in range(8, 12):
            gallery.remove(f"s{person:04}")
        gallery.internals.references._keeper.submit(lambda: None).result()
        for person in range(8, 12):
            gallery.enroll(f"s{person:04}", everything(person))
        assert [a.candidates for a in answers(gallery)] == [b.candidates for b in before]  # type: ignore[attr-defined]
        view = gallery.internals.references.view()
        assert all(segment.present == len(segment) for segment in view.segments)


def test_a_cache_beside_a_database_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.sqlite"
    with Gallery.open(url, cache=tmp_path / "cache") as gallery:
        gallery.enroll_many(crowd(0, 14))
        expected = answers(gallery)
    assert len(list((tmp_path / "cache").glob("*.segment"))) == 4
    counts = prepared(monkeypatch)
    with Gallery.open(url, cache=tmp_path / "cache") as gallery:
        assert answers(gallery) == expected
    assert counts == []


# --------------------------------------------------------------------- processes, and their sudden end


def keep_busy(folder: Path, seed: int, acknowledge: Connection) -> None:
    """Enroll, remove and save without end."""
    Internals.sizes = replace(SMALL, save_beside=1)
    dice = random.Random(seed)
    number = 0
    while True:
        with Gallery.open(folder) as gallery:
            for _ in range(3):
                number += 1
                gallery.enroll(f"{seed}-{number}", everything(dice.randrange(30, 60)))
                if dice.random() < 0.4:
                    gallery.remove(f"{seed}-{number}")
            gallery.internals.references.scrub()
        acknowledge.send_bytes(b".")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_while_it_writes_nothing_is_wrong(tmp_path: Path) -> None:
    folder = tmp_path / "g"
    with Gallery.open(folder) as gallery:
        gallery.enroll_many(crowd(0, 14))
    context = processes()
    dice = random.Random(5)
    for round_ in range(int(os.environ.get("ABIS_CRASH_KILLS", "8"))):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=keep_busy, args=(folder, round_, there))
        process.start()
        there.close()
        for _ in range(dice.randrange(3)):
            here.recv_bytes()
        time.sleep(dice.expovariate(1 / 0.03))  # to be anywhere inside, not to wait for anything
        process.kill()
        process.join()
        shutil.rmtree(tmp_path / "plain", ignore_errors=True)
        shutil.copytree(folder, tmp_path / "plain", ignore=shutil.ignore_patterns("derived"))
        with Gallery.open(folder) as gallery, Gallery.open(tmp_path / "plain") as plain:
            assert answers(gallery) == answers(plain)
    left = [path.name for path in (folder / "derived").iterdir() if path.name.endswith(".new")]
    assert left == []


def test_processes_share_the_folder(tmp_path: Path) -> None:
    """Three enroll, remove and save, while this one opens and looks again and again."""
    folder = tmp_path / "g"
    with Gallery.open(folder) as gallery:
        gallery.enroll_many(crowd(0, 14))
    context = processes()
    workers = []
    for seed in range(3):
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=keep_busy, args=(folder, seed, there))
        process.start()
        workers.append((process, here))
    try:
        for round_ in range(6):
            workers[round_ % 3][1].recv_bytes()
            with Gallery.open(folder) as gallery:
                found = gallery.identify(everything(3, 1))
                assert found[0].subject_id == "s0003"
                assert len(gallery.identify(everything(5, 1), exact=True)) == 10
    finally:
        for process, _ in workers:
            process.kill()
            process.join()
    with sqlite3.connect(folder / "store.sqlite") as connection:
        (subjects,) = connection.execute("SELECT count(*) FROM subjects").fetchone()
    with Gallery.open(folder) as gallery:
        assert (
            sum(block.present for s in gallery.internals.references.view().segments for block in s.blocks)
            == 3 * subjects
        )


def test_references_close_twice(tmp_path: Path) -> None:
    gallery = Gallery.open(tmp_path)
    assert isinstance(gallery.internals.references, References)
    gallery.close()
    gallery.close()
