# SPDX-License-Identifier: Apache-2.0
"""The commands of those who run a gallery."""

import base64
import json
from pathlib import Path

import pytest
from people import everything, face
from typer.testing import CliRunner, Result

from abis.cli import app
from abis.formats import native
from abis.gallery import Gallery
from abis.store import Enrollment


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ABIS_ACTOR", "m.tran")
    monkeypatch.chdir(tmp_path)
    with Gallery.open("g", load=False) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", everything(n), labels=["north"]) for n in range(4))
    return "g"


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    return result


def test_check_compact_and_backup(gallery: str) -> None:
    assert run("check", gallery).stdout == "g: 4 subjects, 12 templates: all is well.\n"
    assert run("compact", gallery).stdout.startswith("g is compact: ")
    assert run("backup", gallery, "copy").stdout == "copy is a copy of g.\n"
    assert json.loads(run("check", "copy", "--json").stdout) == {"faults": [], "subjects": 4}
    assert "there is a gallery in it already" in run("backup", gallery, "copy", code=2).stderr
    with Gallery.open("copy", load=False) as copy, copy._store.writing() as transaction:
        transaction.state.subjects = 5
    found = run("check", "copy", code=2).stdout
    assert "subjects: 4 rows, but the counter says 5: restore a backup\n" in found
    assert "1 faults" in found


def test_the_life_of_a_subject(gallery: str, tmp_path: Path) -> None:
    assert run("status", gallery, "s1", "locked", "--reason", "card lost").stdout == "s1 is locked.\n"
    shown = run("subject", gallery, "s1").stdout
    assert shown.startswith("s1: locked since 2")
    assert "card lost\nlevel 0; labels: north\nencounter 1, 2" in shown
    known = json.loads(run("subject", gallery, "s1", "--json").stdout)
    assert (known["status"], known["reason"], known["labels"]) == ("locked", "card lost", ["north"])
    probe = tmp_path / "s1_face.abis"
    probe.write_bytes(native.write(face(1, 1)))
    assert run("verify", gallery, "s1", str(probe), code=1).stdout == "locked\n"
    assert run("identify", gallery, str(probe)).stdout.splitlines()[2].endswith("locked")
    assert run("label", gallery, "s1", "south", "north", "--level", "2").stdout == (
        "s1: level 2; labels: north, south\n"
    )
    assert run("label", gallery, "s1").stdout == "s1: level 2; labels: north, south\n"
    assert run("merge", gallery, "s2", "s0").stdout == "encounter 1 of s2 is encounter s2:1 of s0.\n"
    with Gallery.open(gallery, load=False) as opened:
        opened.enroll("s1", [face(1, 2)], encounter_id="2")
    assert run("move", gallery, "2", "s1", "s0").stdout == "encounter 2 of s1 is of s0 now.\n"
    run("subject", gallery, "s3", "--output", "s3.json")
    assert Path("s3.json").stat().st_mode & 0o077 == 0
    export = json.loads(Path("s3.json").read_text())
    assert [base64.b64decode(t["template"]) for t in export["templates"]] == list(
        map(native.write, everything(3))
    )
    assert [e["operation"] for e in export["log"]] == ["enroll", "export"]
    erased = run("erase", gallery, "s3", "s9", code=2)
    assert erased.stdout.startswith("s3 erased 2")
    assert "subject 's9' is not enrolled" in erased.stderr
    assert (
        run("expire", gallery, "--before", "2001-01-31").stdout
        == "0 encounters removed. g holds 2 subjects.\n"
    )


def test_the_log_is_shown_and_verified(gallery: str) -> None:
    run("status", gallery, "s1", "terminated", "--reason", "dead")
    shown = run("audit", "show", gallery, "--subject", "s1").stdout.splitlines()
    assert shown[0].endswith("- (-): enroll s1 encounter 1")
    assert shown[1].endswith("m.tran (command line): set_status s1 terminated: dead")
    last = json.loads(run("audit", "show", gallery, "--after", "4", "--json").stdout)
    assert (last["number"], last["subject_id"]) == (5, "s1")
    verified = run("audit", "verify", gallery).stdout
    anchor = f"5:{last['hash']}"
    assert verified == f"g: 5 entries, none changed. Last one: {anchor}\n"
    run("audit", "verify", gallery, "--anchor", anchor)
    assert (
        "the log was written anew"
        in run("audit", "verify", gallery, "--anchor", f"4:{last['hash']}", code=2).stderr
    )
    assert "expected a number, a colon" in run("audit", "verify", gallery, "--anchor", "x", code=2).stderr


def test_keys_are_made_used_and_rotated(gallery: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no master key" in run("keys", "encrypt", gallery, code=2).stderr
    run("keys", "new", "master.key")
    monkeypatch.setenv("ABIS_KEY_FILE", "master.key")
    assert "is not encrypted, but a master key was given" in run("info", gallery, code=2).stderr
    assert run("keys", "encrypt", gallery).stdout == "g is encrypted: 12 templates sealed.\n"
    assert run("check", gallery).stdout.endswith("all is well.\n")
    assert run("keys", "rotate", gallery).stdout == "g: 12 templates sealed by a new data key.\n"
    assert run("keys", "reseal", gallery).stdout == "g: 0 templates sealed by the newest data key.\n"
    run("keys", "new", "new.key")
    run("keys", "master", gallery, "new.key")
    assert "does not open the data key" in run("check", gallery, code=2).stderr
    monkeypatch.setenv("ABIS_KEY_FILE", "new.key")
    assert run("check", gallery).stdout.endswith("all is well.\n")
    monkeypatch.delenv("ABIS_KEY_FILE")
    assert "is encrypted; give its master key" in run("check", gallery, code=2).stderr
