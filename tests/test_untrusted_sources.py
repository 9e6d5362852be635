# SPDX-License-Identifier: Apache-2.0
"""Import sources by an attacker: nothing outside of them is read; nothing in them stops the run or fills the disk."""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import socket
import tarfile
from pathlib import Path

import pytest
from people import everything, face, finger
from typer.testing import CliRunner

from abis.cli import app
from abis.errors import FormatError
from abis.formats import native
from abis.gallery import Gallery
from abis.store import Store
from abis.store.import_journal import Journal
from abis.store.records import MAX_TEMPLATES, MAX_TEMPLATES_OF_SUBJECT
from abis.transfer.importing import import_records
from abis.transfer.sources import open_path
from abis.transfer.sources.files import LARGEST_FILE, RefusedFileError, read_inside
from abis.transfer.sources.query import QuerySource

NAMES = re.compile(r"(?P<subject>[^_]+)_(?P<encounter>.+)")
TEMPLATE = native.write(finger(1))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


def manifest(folder: Path, paths: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject_id", "path"])
        rows.writerows((f"s{n}", path) for n, path in enumerate(paths))
    return folder / "m.csv"


def kept(store: Store) -> list[tuple[object, str, bytes | str | None]]:
    """Subject, reason and first content of what is in quarantine."""
    return [
        (one.record.subject_id, one.reason, one.record.samples[0].content)
        for one in Journal(store).quarantine()
    ]


def test_a_manifest_reads_inside_its_folder_only(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "good.abis").write_bytes(TEMPLATE)
    (folder / "inner").mkdir()
    (folder / "inner" / "good.abis").write_bytes(TEMPLATE)
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "away").symlink_to(tmp_path)
    (folder / "large").write_bytes(bytes(LARGEST_FILE + 1))
    os.mkfifo(folder / "pipe")
    bad = {
        "../secret": "is outside",
        "inner/../../secret": "is outside",
        str(tmp_path / "secret"): "is outside",
        "/proc/self/environ": "is outside",
        "/dev/zero": "is outside",
        "link": "leads over a link",
        "away/secret": "leads over a link",
        "pipe": "is no regular file",
        "inner": "Is a directory",
        "large": "bytes; a template record has at most",
        "absent": "No such file",
    }
    good = ["good.abis", "inner/good.abis", str(folder / "good.abis")]
    report = import_records(open_path(manifest(folder, [*good, *bad]), pattern=NAMES), store)
    assert (report.enrolled, report.quarantined) == (len(good), len(bad))
    for (_, reason, content), (path, expected) in zip(kept(store), bad.items(), strict=True):
        assert content is None, "nothing of it is kept"
        assert path in reason
        assert expected in reason


def test_other_folders_are_read_where_they_are_asked_for(store: Store, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "t.abis").write_bytes(TEMPLATE)
    path = manifest(tmp_path / "in", ["t.abis", str(tmp_path / "files" / "t.abis"), "../in/m.csv"])
    report = import_records(open_path(path, pattern=NAMES, files=tmp_path / "files"), store)
    assert (report.enrolled, report.quarantined) == (2, 1)


def test_a_query_reads_no_files(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.abis").write_bytes(TEMPLATE)
    monkeypatch.chdir(tmp_path)
    query = "SELECT 'a' AS subject_id, 't.abis' AS path"
    assert import_records(QuerySource("sqlite://", query), store).quarantined == 1
    assert import_records(QuerySource("sqlite://", query, tmp_path), store).enrolled == 1


def test_links_pipes_and_sockets_in_a_folder_are_not_read(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a_1.abis").write_bytes(TEMPLATE)
    (tmp_path / "secret").write_bytes(TEMPLATE)
    (folder / "b_1.abis").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "c_1.abis")
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(folder)
        listener.bind("d_1.abis")
    report = import_records(open_path(folder, pattern=NAMES), store)
    assert (report.enrolled, report.quarantined) == (1, 3)
    assert [content for *_, content in kept(store)] == [None] * 3


def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f").write_bytes(b"x")
    (tmp_path / "in" / "sub").symlink_to(tmp_path / "out", target_is_directory=True)
    with pytest.raises(RefusedFileError, match="leads over a link"):
        read_inside(tmp_path / "in", "sub/f")


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    return info.tobuf() + content + bytes(-len(content) % tarfile.BLOCKSIZE)


def test_a_header_of_gigabytes_is_passed_over(store: Store, tmp_path: Path) -> None:
    """Tarfile reads a pax header and a long name into memory, however long."""
    huge = 2**26
    for number, kind in enumerate((tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)):
        path = tmp_path / f"{number}.tar"
        with path.open("wb") as file:
            file.write(member("a_1.abis", TEMPLATE))
            info = tarfile.TarInfo("header")
            info.size, info.type = huge, kind
            file.write(info.tobuf())
            file.seek(huge, os.SEEK_CUR)
            file.write(member("b_1.abis", TEMPLATE) + bytes(2 * tarfile.BLOCKSIZE))
        into = Store(f"sqlite:///{tmp_path}/{number}.sqlite")
        report = import_records(open_path(path, pattern=NAMES), into)
        assert (report.enrolled, report.quarantined, report.complete) == (2, 1, True)
        into.close()


def test_an_archive_that_unpacks_without_end_is_stopped_and_the_database_stays_small(
    store: Store, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb") as file:
        for number in range(120):
            file.write(member(f"s{number}_1.abis", bytes(2**20)))
        file.write(bytes(2 * tarfile.BLOCKSIZE))
    assert path.stat().st_size < 2**18
    with pytest.raises(FormatError, match="unpacks to more than 50 times its size"):
        import_records(open_path(path, pattern=NAMES), store)
    assert store.state().subjects == 0
    size = store.disk_bytes()
    assert size is not None
    assert size < 2**23, "what is refused is kept packed"


def test_many_templates_of_one_subject_are_refused_record_by_record(store: Store, tmp_path: Path) -> None:
    """Each search would compare with all of them."""
    path = tmp_path / "m.tar"
    each = native.write(face(1))
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:

        def add(subject: str, encounter: str, count: int) -> None:
            for number in range(count):
                info = tarfile.TarInfo(f"{subject}/{encounter}/{number}")
                info.size = len(each)
                info.pax_headers = {"ABIS.subject_id": subject, "ABIS.encounter_id": encounter}
                archive.addfile(info, io.BytesIO(each))

        add("a", "1", MAX_TEMPLATES + 1)
        for encounter in range(2 + MAX_TEMPLATES_OF_SUBJECT // MAX_TEMPLATES):
            add("b", str(encounter), MAX_TEMPLATES)
        add("c", "1", 1)
    report = import_records(open_path(path, pattern=NAMES), store)
    assert report.quarantined == 3
    assert report.mismatches == ()
    assert len(store.references("b")) == MAX_TEMPLATES_OF_SUBJECT
    assert len(store.references("c")) == 1


def test_ids_with_control_characters_stay_out(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with (folder / "m.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject_id", "path"])
        rows.writerows((name, "t.abis") for name in ("good", "a\x1b[2J", "b\nc", "d\u202ee"))
    (folder / "t.abis").write_bytes(TEMPLATE)
    report = import_records(open_path(folder / "m.csv", pattern=NAMES), store)
    assert (report.enrolled, report.quarantined) == (1, 3)
    assert all(reason.isprintable() for _, reason, _ in kept(store))


FORMULAS = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "'=1", "''-1", "'s-Gravenhage"]


def test_no_csv_file_holds_a_formula_and_every_id_comes_back(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        for name in FORMULAS:
            gallery.enroll(name, everything(1), encounter_id=name)
    out = tmp_path / "out"
    for command in (
        ["deduplicate", tmp_path / "g", "-o", tmp_path / "pairs.csv", "--threshold", 0],
        ["export", tmp_path / "g", out],
    ):
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.output
    for path in (tmp_path / "pairs.csv", out / "manifest.csv"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        ids = [
            row[name] for row in rows for name in ("subject_id", "other_id", "encounter_id") if name in row
        ]
        assert len(ids) >= len(FORMULAS)
        assert not any(one.startswith(("=", "+", "-", "@")) for one in ids)
    with Gallery.open(tmp_path / "again", load=False) as again:
        import_records(open_path(out / "manifest.csv", pattern=NAMES), again._store)
        assert sorted(again) == sorted(FORMULAS)
        assert all(again.subject(name).encounters[0].encounter_id == name for name in FORMULAS)


def test_an_exported_quarantine_holds_no_formula(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g", load=False) as gallery:
        gallery.enroll("other", everything(1))
        folder = tmp_path / "in"
        folder.mkdir()
        (folder / '=HYPERLINK("x")_1.abis').write_bytes(b"bad")
        import_records(open_path(folder, pattern=NAMES), gallery._store)
    done = CliRunner().invoke(app, ["quarantine", "export", str(tmp_path / "g"), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "quarantine.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(cell.startswith("'=HYPERLINK") for cell in cells)
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in cells)
