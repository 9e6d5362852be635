# SPDX-License-Identifier: Apache-2.0
"""The commands for operators of a gallery."""

import base64
import json
from pathlib import Path

import pytest
from people import everything, face
from shell import run

from abis import AnswerPolicy, Disclosure
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


def test_check_compact_and_backup(gallery: str) -> None:
    assert run("check", gallery, code=0).stdout == "g: 4 subjects, 12 templates: all is well.\n"
    assert run("compact", gallery, code=0).stdout.startswith("g is compact: ")
    assert run("backup", gallery, "copy", code=0).stdout == "copy is a copy of g.\n"
    assert json.loads(run("check", "copy", "--json", code=0).stdout) == {"faults": [], "subjects": 4}
    assert "there is a gallery in it already" in run("backup", gallery, "copy", code=2).stderr
    with Gallery.open("copy", load=False) as copy, copy._store.writing() as transaction:
        transaction.state.subjects = 5
    found = run("check", "copy", code=2).stdout
    assert "subjects: 4 rows, but the counter says 5: restore a backup\n" in found
    assert "1 fault." in found


ANY_RATE = {"fmr": None, "fpir": None}


def test_the_answer_policy_is_printed_and_set(gallery: str) -> None:
    default = {
        "disclosure": "full",
        "max_candidates": 1_000_000,
        "failures": None,
        "pause_s": 900.0,
    } | ANY_RATE
    assert json.loads(run("disclosure", gallery, "--json", code=0).stdout) == default
    told = run(
        "disclosure", gallery, "--level", "decision", "--max-candidates", "5", "--failures", "3", code=0
    )
    assert told.stdout.splitlines() == [
        "disclosure: decision",
        "candidates of a search, at most: 5",
        "failed verifications in a row before a pause: 3",
        "first pause: 900 seconds",
        "false match rate of verifications: any",
        "false positive identification rate of searches: any",
    ]
    set_ = {"disclosure": "decision", "max_candidates": 5, "failures": 3, "pause_s": 60.0} | ANY_RATE
    assert json.loads(run("disclosure", gallery, "--pause", "60", "--json", code=0).stdout) == set_
    with Gallery.open(gallery, load=False) as opened:
        assert opened.answer_policy == AnswerPolicy(Disclosure.DECISION, 5, 3, 60.0)
        assert opened.verify(everything(1, 1), "s1").evidence == ()
    assert run("disclosure", gallery, "--failures", "0", code=0).stdout.splitlines()[2].endswith(": no limit")
    refused = run("disclosure", gallery, "--max-candidates", "0", "--level", "full", code=2)
    assert "max_candidates is 0; expected 1 to 1,000,000" in refused.stderr
    assert json.loads(run("disclosure", gallery, "--json", code=0).stdout)["disclosure"] == "decision"
    rates = json.loads(run("disclosure", gallery, "--fmr", "1e-6", "--fpir", "1e-3", "--json", code=0).stdout)
    assert (rates["fmr"], rates["fpir"]) == (1e-6, 1e-3)
    assert json.loads(run("disclosure", gallery, "--fmr", "any", "--json", code=0).stdout)["fmr"] is None


def test_a_policy_asks_for_more_than_a_score(gallery: str, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.mkdir()
    for number, template in enumerate(everything(1, 1)[1:]):
        (probe / f"{number}.abis").write_bytes(native.write(template))
    asked = ["--level", "2", "--fingers", "1", "--face-fmr", "1e-3", "--needs-liveness", "--fmr", "1e-3"]

    def verify(*more: str, code: int) -> dict[str, str]:
        found: dict[str, str] = json.loads(
            run("verify", gallery, "s1", str(probe), "--json", *more, code=code).stdout
        )
        return found

    assert verify(*asked, code=5)["reason"] == "assurance level 0, expected 2 or more"
    run("label", gallery, "s1", "--level", "2")
    assert verify(*asked, code=5)["reason"] == "no liveness verdict"
    assert verify(*asked, "--liveness", "failed", code=5)["outcome"] == "refused"
    assert verify(*asked, "--liveness", "passed", code=0)["outcome"] == "match"
    assert "expected 2 or more" in verify("--fingers", "2", "--fmr", "1e-3", code=5)["reason"]
    run("status", gallery, "s1", "terminated", "--reason", "died")
    assert verify(code=4) | {"threshold": 0} == {
        "subject_id": "s1",
        "match": False,
        "outcome": "terminated",
        "reason": "",
        "score": 0.0,
        "threshold": 0,
        "evidence": [],
    }


def test_a_subject_is_enrolled_anew(gallery: str, tmp_path: Path) -> None:
    new, damaged = tmp_path / "new.abis", tmp_path / "damaged.abis"
    new.write_bytes(native.write(face(7)))
    damaged.write_bytes(native.write(face(8))[:-1])
    run("status", gallery, "s1", "locked", "--reason", "card lost")
    run("label", gallery, "s1", "south", "--level", "2")
    before = run("subject", gallery, "s1", code=0).stdout
    run("reenroll", gallery, "s1", str(new), str(damaged), code=2)
    assert run("subject", gallery, "s1", code=0).stdout == before
    said = run("reenroll", gallery, "s1", str(new), "--encounter", "renewal", code=0).stdout
    assert said == "s1 is enrolled anew: encounter renewal, of 1 template.\n"
    known = json.loads(run("subject", gallery, "s1", "--json", code=0).stdout)
    assert (known["status"], known["reason"], known["level"]) == ("locked", "card lost", 2)
    assert known["labels"] == ["south"]
    with Gallery.open(gallery) as opened:
        (template,) = opened.export_subject("s1").templates
        assert (template[0], native.write(template[1])) == ("renewal", native.write(face(7)))
        assert [e.operation for e in opened.audit_log(subject_id="s1")][-3:] == [
            "set_labels",
            "set_level",
            "replace",
        ]
        assert opened.identify([face(7, 1)])[0].subject_id == "s1"
    assert run("check", gallery, code=0).stdout.endswith("all is well.\n")
    assert "'s9' is not enrolled" in run("reenroll", gallery, "s9", str(new), code=2).stderr


def test_the_life_of_a_subject(gallery: str, tmp_path: Path) -> None:
    assert run("status", gallery, "s1", "locked", "--reason", "card lost", code=0).stdout == "s1 is locked.\n"
    shown = run("subject", gallery, "s1", code=0).stdout
    assert shown.startswith("s1: locked since 2")
    assert "card lost\nlevel 0; labels: north\nencounter 1, 2" in shown
    known = json.loads(run("subject", gallery, "s1", "--json", code=0).stdout)
    assert (known["status"], known["reason"], known["labels"]) == ("locked", "card lost", ["north"])
    probe = tmp_path / "s1_face.abis"
    probe.write_bytes(native.write(face(1, 1)))
    assert run("verify", gallery, "s1", str(probe), code=3).stdout == "locked\n"
    assert run("identify", gallery, str(probe), code=0).stdout.splitlines()[2].endswith("locked")
    assert run("label", gallery, "s1", "south", "north", "--level", "2", code=0).stdout == (
        "s1: level 2; labels: north, south\n"
    )
    assert run("label", gallery, "s1", code=0).stdout == "s1: level 2; labels: north, south\n"
    assert run("merge", gallery, "s2", "s0", code=0).stdout == "encounter 1 of s2 is encounter s2:1 of s0.\n"
    with Gallery.open(gallery, load=False) as opened:
        opened.enroll("s1", [face(1, 2)], encounter_id="2")
    assert (
        run("move", gallery, "2", "s1", "s0", code=0).stdout
        == "encounter 2 of s1 is now an encounter of s0.\n"
    )
    run("subject", gallery, "s3", "--output", "s3.json")
    assert Path("s3.json").stat().st_mode & 0o077 == 0
    export = json.loads(Path("s3.json").read_text())
    assert [base64.b64decode(t["template"]) for t in export["templates"]] == list(
        map(native.write, everything(3))
    )
    assert [e["operation"] for e in export["log"]] == ["enroll", "export"]
    erased = run("erase", gallery, "s3", "s9", "--yes", code=2)
    assert erased.stdout.startswith("s3 erased 2")
    proof = erased.stdout.split()[-1]
    run("audit", "verify", gallery, "--anchor", proof)
    assert (
        json.loads(
            run("audit", "show", gallery, "--subject", "s3", "--json", code=0).stdout.splitlines()[-1]
        )["hash"]
        == proof.partition(":")[2]
    )
    assert "File exists" in run("subject", gallery, "s0", "--output", "s3.json", code=2).stderr
    assert "subject 's9' is not enrolled" in erased.stderr
    assert (
        run("expire", gallery, "--before", "2001-01-31", "--yes", code=0).stdout
        == "0 encounters and 0 records in quarantine removed. g holds 2 subjects.\n"
    )


def test_the_log_is_shown_and_verified(gallery: str) -> None:
    run("status", gallery, "s1", "terminated", "--reason", "dead")
    shown = run("audit", "show", gallery, "--subject", "s1", code=0).stdout.splitlines()
    assert shown[0].endswith("- (-): enroll s1 encounter 1")
    assert shown[1].endswith("m.tran (command line): set_status s1 terminated: dead")
    last = json.loads(run("audit", "show", gallery, "--after", "4", "--json", code=0).stdout)
    assert (last["number"], last["subject_id"]) == (5, "s1")
    verified = run("audit", "verify", gallery, code=0).stdout
    anchor = f"5:{last['hash']}"
    assert verified == f"g: 5 entries, none changed. Last entry: {anchor}\n"
    run("audit", "verify", gallery, "--anchor", anchor)
    assert (
        "the log was rewritten"
        in run("audit", "verify", gallery, "--anchor", f"4:{last['hash']}", code=2).stderr
    )
    assert "expected a number, a colon" in run("audit", "verify", gallery, "--anchor", "x", code=2).stderr


def test_keys_are_made_used_and_rotated(gallery: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no master key" in run("keys", "encrypt", gallery, code=2).stderr
    run("keys", "new", "master.key")
    monkeypatch.setenv("ABIS_KEY_FILE", "master.key")
    assert "is not encrypted, but a master key was given" in run("info", gallery, code=2).stderr
    assert run("keys", "encrypt", gallery, code=0).stdout == "g is encrypted: 12 templates sealed.\n"
    assert run("check", gallery, code=0).stdout.endswith("all is well.\n")
    assert run("keys", "rotate", gallery, code=0).stdout == "g: 12 templates sealed by a new data key.\n"
    assert run("keys", "reseal", gallery, code=0).stdout == "g: 0 templates sealed by the newest data key.\n"
    run("keys", "new", "new.key")
    run("keys", "master", gallery, "new.key")
    assert "does not open the data key" in run("check", gallery, code=2).stderr
    monkeypatch.setenv("ABIS_KEY_FILE", "new.key")
    assert run("check", gallery, code=0).stdout.endswith("all is well.\n")
    monkeypatch.delenv("ABIS_KEY_FILE")
    assert "is encrypted; give its master key" in run("check", gallery, code=2).stderr
