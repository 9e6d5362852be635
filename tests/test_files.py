# SPDX-License-Identifier: Apache-2.0
"""Files appear under their name only when they are complete and on disk."""

import os
from pathlib import Path

import pytest

from abis.files import open_regular, private_stream, publish, read_regular, replacing, write_whole


def test_the_file_is_on_disk_before_its_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append("sync folder" if name == tmp_path else "sync file")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_whole(tmp_path / "a", b"content")
    assert events == ["sync file", "rename", "sync folder"]
    assert (tmp_path / "a").read_bytes() == b"content"
    events.clear()
    publish(tmp_path / "a", tmp_path / "b")
    assert events == ["sync file", "rename", "sync folder"]
    assert [file.name for file in tmp_path.iterdir()] == ["b"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_after_an_error_the_old_file_stays_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(os if fails == "fsync" else Path, fails, full)
    with pytest.raises(OSError, match="is full"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_while_writing_is_passed_on(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "a") as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_asked_for(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"", mode=0o600)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_only_regular_files_are_opened_where_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    with open_regular(tmp_path / "file") as stream:
        assert stream.read() == b"content"
    assert read_regular(tmp_path / "file", 7) == b"content"
    for refused in ("link", "pipe", "none", "."):
        with pytest.raises(OSError, match=r"symbolic|regular|No such"):
            open_regular(tmp_path / refused)
    with pytest.raises(OSError, match="more than 6 bytes"):
        read_regular(tmp_path / "file", 6)
    with pytest.raises(OSError, match="link"):
        private_stream(tmp_path / "link")
