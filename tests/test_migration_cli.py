# SPDX-License-Identifier: Apache-2.0
"""``abis import``, ``abis export`` and ``abis quarantine`` as a user sees them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from people import everything, finger
from shell import run
from test_cli import save
from test_migration import People, save_csv, save_database, save_folder

from abis.gallery import Gallery

PEOPLE: People = {f"P{n}": everything(n) for n in range(3)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save_csv(tmp_path / "legacy.csv", PEOPLE)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Three people, and two records that cannot be enrolled."""
    return save_csv(tmp_path / "legacy.csv", PEOPLE, ["Võ", "", "nose", "AAAA"], ["", "", "", "Zm9v"])


def test_import_reports(tmp_path: Path, source: Path) -> None:
    result = run("import", source, tmp_path / "g", "--workers", 0)
    assert result.exit_code == 0, result.stderr
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[0] != " ")
    assert lines["source"] == str(source)
    assert lines["reconciled"] == "yes"
    assert "  enrolled       3, of 9 templates\n" in result.stdout
    again = run("import", source, tmp_path / "g", "--workers", 0, "--json")
    assert again.exit_code == 0
    report = json.loads(again.stdout)
    assert (report["read"], report["enrolled"], report["already_there"]) == (3, 0, 3)
    assert report["sha256"] in result.stdout


def test_import_takes_a_query_a_gallery_and_names_by_a_pattern(tmp_path: Path) -> None:
    url, query = save_database(tmp_path / "legacy.db", PEOPLE)
    assert run("import", url, tmp_path / "a", "--query", query, "--workers", 0).exit_code == 0
    assert run("import", tmp_path / "a", tmp_path / "b", "--workers", 0).exit_code == 0
    folder = save_folder(tmp_path / "files", PEOPLE)
    pattern = r"P/(?P<subject>\w+)_\d"
    assert run("import", folder, tmp_path / "b", "--pattern", pattern, "--workers", 0).exit_code == 0
    with Gallery.open(tmp_path / "b", load=False) as opened:
        assert list(opened) == ["P0", "P1", "P2"]


def test_a_person_under_two_names_waits_in_quarantine(tmp_path: Path) -> None:
    source = save_csv(tmp_path / "legacy.csv", {**PEOPLE, "P9": everything(1, 1)})
    gallery = tmp_path / "g"
    result = run("import", source, gallery, "--workers", 0, "--unique", "--fpir", "1e-3")
    assert result.exit_code == 2
    assert "  enrolled       3, of 9 templates\n" in result.stdout
    assert "reconciled       yes\n" in result.stdout
    listed = run("quarantine", "list", gallery).stdout
    assert listed.startswith("1  P9  line 11: is a duplicate of subject 'P1', score ")
    retried = run("quarantine", "retry", gallery)
    assert (retried.exit_code, retried.stdout) == (2, "0 records are enrolled and out of quarantine.\n")
    assert "to enroll it, give its number" in retried.stderr
    assert run("quarantine", "retry", gallery, 1).exit_code == 0
    assert run("quarantine", "list", gallery).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.csv",), "absent.csv: No such file or directory"),
        (("sqlite:///absent.db", "--query", "SELECT 1 FROM prints"), "no such table: prints"),
        (("nonsense://x", "--query", "SELECT 1"), "cannot use the database URL"),
        ((".", "--pattern", "("), "is not a regular expression"),
    ],
)
def test_import_says_what_is_wrong_with_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("import", arguments[0], "g", *arguments[1:])
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_is_refused_is_listed_exported_and_retried(tmp_path: Path, damaged: Path) -> None:
    gallery = tmp_path / "g"
    result = run("import", damaged, gallery, "--workers", 0)
    assert result.exit_code == 2
    assert f"2 records are in quarantine; see abis quarantine list {gallery}" in result.stderr

    listed = run("quarantine", "list", gallery)
    assert listed.stdout.splitlines() == [
        "1  Võ  line 11: byte 0: begins with b'\\xaa\\xaa', as no supported format does",
        "2    line 12: subject_id has 0 characters; expected 1 to 255",
    ]
    first, _ = map(json.loads, run("quarantine", "list", gallery, "--json").stdout.splitlines())
    assert (first["subject_id"], first["places"], first["bytes"]) == ("Võ", ["line 11"], 4)

    assert run("quarantine", "export", gallery, tmp_path / "q").exit_code == 0
    assert (tmp_path / "q" / "000000002_000.txt").read_bytes() == b"Zm9v"
    rows = (tmp_path / "q" / "quarantine.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1].startswith("1,Võ,,nose,000000001_000.txt,line 11,")
    assert run("quarantine", "export", gallery, tmp_path / "q").exit_code == 2  # replaces nothing

    retried = run("quarantine", "retry", gallery, 2, 7)
    assert retried.exit_code == 2
    assert retried.stdout == "0 records are enrolled and out of quarantine.\n"
    assert "error: record 7 is not in quarantine" in retried.stderr
    assert len(run("quarantine", "list", gallery).stdout.splitlines()) == 2


def test_retry_enrolls_what_no_longer_conflicts(tmp_path: Path, source: Path) -> None:
    gallery = tmp_path / "g"
    save(tmp_path / "P1_right.fmr", finger(8))
    assert run("enroll", gallery, tmp_path / "P1_right.fmr").exit_code == 0
    assert run("import", source, gallery, "--workers", 0).exit_code == 2
    assert run("remove", gallery, "P1", "--yes").exit_code == 0
    assert run("quarantine", "retry", gallery).exit_code == 0
    assert run("quarantine", "list", gallery).stdout == ""
    with Gallery.open(gallery, load=False) as opened:
        assert set(opened) == {"P0", "P1", "P2"}


def test_a_mismatch_ends_with_an_error(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abis.store.Store.enrolled_between", lambda *_: 0)
    result = run("import", source, tmp_path / "g", "--workers", 0)
    assert result.exit_code == 2
    assert "the records do not add up" in result.stderr
    assert "batch 1: 3 enrolled, but the log of changes has 0" in result.stdout


def test_export_says_what_it_wrote(tmp_path: Path, source: Path) -> None:
    run("import", source, tmp_path / "g", "--workers", 0)
    result = run("export", tmp_path / "g", tmp_path / "out.parquet")
    assert result.stdout == f"9 templates of 3 subjects, 3 encounters, are in {tmp_path / 'out.parquet'}.\n"
    assert run("import", tmp_path / "out.parquet", tmp_path / "h", "--workers", 0).exit_code == 0
    assert run("export", tmp_path / "g", tmp_path / "out.parquet").exit_code == 2
    as_iso = run("export", tmp_path / "g", tmp_path / "iso", "--format", "iso-19794-2-2005", "--json")
    assert json.loads(as_iso.stdout) == {"subjects": 3, "encounters": 3, "templates": 9, "refused": 0}
    assert len(list((tmp_path / "iso").rglob("*.fmr"))) == 6
    assert run("export", tmp_path / "g", tmp_path / "x", "--format", "bmp").exit_code == 2
    assert run("export", tmp_path / "absent", tmp_path / "x").exit_code == 2


SLOW = """
from abis.cli import app
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.transfer import importing
Internals.sizes, write = WorkSizes(batch=1), importing._write
def told(*arguments, **more):
    write(*arguments, **more)
    print("written", flush=True)
importing._write = told
if __name__ == "__main__":
    app()
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_a_real_ctrl_c_leaves_what_can_be_gone_on_with(tmp_path: Path) -> None:
    some = [everything(n) for n in range(10)]
    source = save_csv(tmp_path / "legacy.csv", {f"P{n}": some[n % 10] for n in range(2000)})
    (tmp_path / "slow.py").write_text(SLOW)
    arguments = ("import", source, tmp_path / "g", "--workers", 2)
    command = [sys.executable, str(tmp_path / "slow.py"), *map(str, arguments)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers too
        _, errors = process.communicate()
    assert process.returncode == 130
    assert (
        errors
        == f"interrupted; {tmp_path / 'g'} keeps what is imported; to go on, run the same command again\n"
    )
    report = json.loads(run("import", source, tmp_path / "g", "--workers", 0, "--json").stdout)
    assert 0 < report["resumed"] < 2000
    assert (report["read"], report["enrolled"]) == (2000, 2000)


def test_an_exported_folder_comes_back_by_its_manifest(tmp_path: Path) -> None:
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll("A", [finger(1)])
        gallery.enroll("A", [finger(1, impression=1)], encounter_id="later")
        gallery.enroll("B", [finger(2)])
    assert run("export", tmp_path / "g", tmp_path / "out").exit_code == 0
    assert run("import", tmp_path / "out", tmp_path / "other", "--workers", 0).exit_code == 0
    with Gallery.open(tmp_path / "other", load=False) as other:
        assert list(other) == ["A", "B"]
        assert len(other.subject("A").encounters) == 2
