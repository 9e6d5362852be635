# SPDX-License-Identifier: Apache-2.0
"""Files that hold biometric data, or what was found in it, are their owner's alone; erasure finds all of them."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from people import everything, face, finger
from typer.testing import CliRunner

from abis.cli import app
from abis.cluster.manifest import ClusterManifest, Shard
from abis.formats import native
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.store.encryption import MasterKey
from abis.transfer.importing import import_records
from abis.transfer.sources import open_path


@pytest.fixture(autouse=True)
def _open_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process that forbids others nothing."""
    monkeypatch.setattr(Internals, "sizes", WorkSizes(save=1))
    before = os.umask(0)
    yield
    os.umask(before)


def readable_by_others(folder: Path) -> list[str]:
    """Files that another user could read, by their modes and those of the folders they are in."""
    paths = [folder, *folder.rglob("*")]
    return [
        str(path.relative_to(folder.parent)) for path in paths if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def run(*arguments: object) -> None:
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    assert done.exit_code in (0, 2), done.output


def test_no_other_user_can_read_what_abis_writes(tmp_path: Path) -> None:
    gallery_folder, out = tmp_path / "g", tmp_path / "out"
    cache = tmp_path / "cache"
    out.mkdir(mode=0o700)
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    (tmp_path / "in").mkdir()
    for person in (1, 2, 3):
        for number, template in enumerate(everything(person)):
            (tmp_path / "in" / f"s{person}_{number}.abis").write_bytes(native.write(template))
    (tmp_path / "in" / "bad_1.abis").write_bytes(b"bad")
    with Gallery.open(gallery_folder, cache=cache) as gallery:
        pattern = re.compile("(?P<subject>[^_]+)_(?P<encounter>.+)")
        import_records(open_path(tmp_path / "in", pattern=pattern), gallery.internals.store)
        gallery.enroll("again", everything(1, 1))
        gallery.deduplicate(threshold=0.0, checkpoint=out / "checkpoint")
        gallery.backup(out / "backup")
    run("deduplicate", gallery_folder, "-o", out / "pairs.json", "--threshold", 0)
    run("deduplicate", gallery_folder, "-o", out / "pairs.csv", "--threshold", 0, "--html", out / "pages")
    run("export", gallery_folder, out / "export")
    run("export", gallery_folder, out / "export.tar.gz")
    run("export", gallery_folder, out / "export.parquet")
    run("quarantine", "export", gallery_folder, out / "quarantine")
    run("subject", gallery_folder, "again", "--output", out / "subject.json")
    run("explain", tmp_path / "in" / "s1_0.abis", tmp_path / "in" / "s2_0.abis", "-o", out / "pair.svg")
    MasterKey.generate(out / "key")
    ClusterManifest("id", 0, (Shard("postgresql://user:password@host/db"),), (), 0).write(out)
    assert readable_by_others(gallery_folder) == []
    assert readable_by_others(out) == []
    assert readable_by_others(cache) == ["cache"], "the files are private, and the folder is as it was"
    assert len(list(out.rglob("*"))) > 15
    assert any(cache.glob("*.segment"))


def needles() -> list[bytes]:
    return [template.tobytes() for template in (face(7).vector,)]


def holds(folder: Path) -> bool:
    return any(
        needle in path.read_bytes() for path in folder.rglob("*") if path.is_file() for needle in needles()
    )


def test_erasure_reaches_the_cache_folders_of_other_processes(tmp_path: Path) -> None:
    caches = [tmp_path / "one", tmp_path / "two"]
    for cache in caches:
        with Gallery.open(tmp_path / "g", cache=cache) as gallery:
            if "erased" not in gallery:
                gallery.enroll("erased", [finger(7), face(7)])
                gallery.enroll("other", everything(1))
        assert holds(cache)
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.erase("erased")
    assert not any(map(holds, [*caches, tmp_path / "g"]))
    with Gallery.open(tmp_path / "g", cache=caches[0]) as gallery:
        assert gallery.identify(everything(1, 1))[0].subject_id == "other"


def test_a_process_that_loaded_before_an_erasure_writes_no_snapshot_of_before(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", cache=tmp_path / "one") as other:
        other.enroll("erased", [finger(7), face(7)])
        other.enroll("other", everything(1))
        view = other.internals.references.view()
        with Gallery.open(tmp_path / "g", load=False) as gallery:
            gallery.erase("erased")
        snapshots = other.internals.references._snapshots
        assert snapshots is not None
        snapshots.save(view.segments, view.mark.change, wait=True)  # as a process does that is behind
        assert not holds(tmp_path / "one")
    assert not holds(tmp_path / "one")


def test_a_snapshot_of_before_an_erasure_that_could_not_be_reached_is_not_used(tmp_path: Path) -> None:
    """The folder of another machine, or one that was not mounted."""
    with Gallery.open(tmp_path / "g", cache=tmp_path / "one") as gallery:
        gallery.enroll("erased", [finger(7), face(7)])
        gallery.enroll("other", everything(1))
    shutil.move(tmp_path / "one", tmp_path / "away")
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.erase("erased")
    assert holds(tmp_path / "away")
    with Gallery.open(tmp_path / "g", cache=tmp_path / "away") as gallery:
        assert gallery.identify(everything(1, 1))[0].subject_id == "other"
    assert not holds(tmp_path / "away")
