# SPDX-License-Identifier: Apache-2.0
"""A database put back as it was earlier is whole; what was noted in a second place tells."""

from __future__ import annotations

import json
import logging
import shutil
import stat
from pathlib import Path

import pytest
from people import face

from abis.gallery import Gallery
from abis.store.encryption import MasterKey
from benchmarks.lib.local_http import LocalServer, ServerAnswer, ServerRequest


@pytest.fixture
def anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABIS_ANCHORS", str(tmp_path / "anchors"))
    return tmp_path / "anchors"


def faults(folder: Path) -> list[str]:
    with Gallery.open(folder, load=False) as gallery:
        return [str(fault) for fault in gallery.check()]


def test_a_rollback_is_found_by_check(tmp_path: Path, anchors: Path) -> None:
    folder = tmp_path / "g"
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll("a", [face(1)])
    shutil.copytree(folder, tmp_path / "earlier")
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll("b", [face(2)])
    assert faults(folder) == []
    (file,) = anchors.glob("*.anchors")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(anchors.stat().st_mode) == 0o700
    assert len(file.read_text().splitlines()) == 2, "one for each process that wrote; none for one that read"
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "earlier", folder)
    (fault,) = faults(folder)
    assert "the database is older than it was on" in fault
    assert str(file) in fault
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll("c", [face(3)])
        gallery.enroll("d", [face(3)])
    (fault,) = faults(folder)
    assert "entry 2 of the audit log is not what it was" in fault
    assert faults(tmp_path / "earlier") == [], "a copy in another place is no rollback"
    file.unlink()
    assert faults(folder) == []


def test_anchors_stay_after_an_encryption_and_rotations(tmp_path: Path, anchors: Path) -> None:
    key = MasterKey(bytes(range(32)))
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("a", [face(1)])
        gallery.encrypt(key)
    with Gallery.open(tmp_path / "g", load=False, key=key) as gallery:
        gallery.rotate_data_key()
    with Gallery.open(tmp_path / "g", load=False, key=key) as gallery:
        assert gallery.check() == []
    assert len(list(anchors.glob("*.anchors"))) == 1


def test_anchors_go_to_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[dict[str, object]] = []

    def take(request: ServerRequest) -> ServerAnswer:
        taken.append(json.loads(request.body))
        return ServerAnswer()

    server = LocalServer(take)
    monkeypatch.setenv("ABIS_ANCHORS", f"{server.url}/anchors")
    try:
        with Gallery.open(tmp_path / "g", load=False) as gallery:
            gallery.enroll("a", [face(1)])
    finally:
        server.close()
    assert [(one["change"], one["audit"]) for one in taken] == [(1, 1)]


def test_an_anchor_that_cannot_be_written_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ABIS_ANCHORS", str(tmp_path / "file" / "anchors"))
    with caplog.at_level(logging.WARNING), Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("a", [face(1)])
    assert "no anchor" in caplog.text
    assert faults(tmp_path / "g") == []


def test_a_file_of_anchors_that_was_altered_is_a_fault(tmp_path: Path, anchors: Path) -> None:
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("a", [face(1)])
    (file,) = anchors.glob("*.anchors")
    file.write_text("{}\n")
    assert "cannot be read" in faults(tmp_path / "g")[0]
