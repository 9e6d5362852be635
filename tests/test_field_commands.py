# SPDX-License-Identifier: Apache-2.0
"""Commands as people of the field use them: quietly, by pipes, page by page, and without harm by mistake."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from people import everything, face, finger
from shell import run
from typer.testing import CliRunner

from abis.cli import COMMANDS, app
from abis.formats import Format, native, read, write
from abis.gallery import Gallery
from abis.gallery.answer_policy import AnswerPolicy, Disclosure
from abis.store import Enrollment, Status
from abis.store.encryption import MasterKey


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Five people; number 1 is enrolled again as "again"."""
    path = tmp_path / "gallery"
    with Gallery.open(path) as opened:
        opened.enroll_many(
            Enrollment(f"s{n}", everything(n), labels=["even"] if n % 2 == 0 else ["odd"]) for n in range(5)
        )
        opened.enroll("again", everything(1, 1))
        opened.set_status("s3", Status.LOCKED, reason="lost")
    return path


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """Another impression of person 2."""
    path = tmp_path / "probe.fmr"
    path.write_bytes(write([finger(2, impression=2)], Format.ISO_19794_2_2011))
    return path


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A finger of a person who is not enrolled."""
    path = tmp_path / "stranger.fmr"
    path.write_bytes(write([finger(77)], Format.ISO_19794_2_2011))
    return path


def piped(content: bytes, *arguments: object) -> tuple[int, str]:
    """Run a command with this on standard input: its exit code and all that it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=content)
    return result.exit_code, result.output


# ------------------------------------------------------------------------------- quiet, exit codes, pipes


def test_every_command_can_be_quiet() -> None:
    for name in COMMANDS:
        printed = run(name, "--help").output
        assert "--quiet" in printed or "COMMAND" in printed, name


def test_quiet_commands_print_errors_only(gallery: Path, probe: Path, stranger: Path) -> None:
    assert run("identify", gallery, probe, "-q", code=0).output == ""
    assert run("--quiet", "verify", gallery, "s2", probe, code=0).output == ""
    assert run("verify", gallery, "s1", probe, "--quiet", code=1).output == ""
    assert run("enroll", gallery, stranger, "-q", code=0).output == ""
    assert run("info", gallery, "-q", code=0).output == ""
    assert "is not enrolled" in run("remove", gallery, "nobody", "--yes", "-q", code=2).output
    assert json.loads(run("identify", gallery, probe, "-q", "--json", code=0).stdout)["candidates"]
    assert "s2" in run("identify", gallery, probe, code=0).stdout, "the next command prints again"


def test_exit_codes_are_those_of_grep(gallery: Path, probe: Path, stranger: Path, tmp_path: Path) -> None:
    assert run("identify", gallery, probe, "--fpir", "1e-3").exit_code == 0
    assert run("identify", gallery, stranger, "--fpir", "1e-3").exit_code == 1
    assert run("identify", gallery, stranger, probe, "--fpir", "1e-3").exit_code == 0
    assert run("identify", gallery, tmp_path / "absent.fmr").exit_code == 2
    assert run("deduplicate", gallery).exit_code == 0
    assert run("remove", gallery, "again", "--yes").exit_code == 0
    assert run("deduplicate", gallery).exit_code == 1
    assert run("list", gallery, "--status", "terminated").exit_code == 1


def test_a_template_comes_through_a_pipe(gallery: Path, probe: Path, tmp_path: Path) -> None:
    content = probe.read_bytes()
    assert piped(content, "verify", gallery, "s2", "-")[0] == 0
    assert piped(content, "verify", gallery, "s1", "-")[0] == 1
    code, printed = piped(content, "identify", gallery, "-", "--json")
    assert json.loads(printed)["probe"] == "-"
    assert json.loads(printed)["candidates"][0]["subject_id"] == "s2"
    assert piped(content, "enroll", gallery, "-", "--subject", "piped")[0] == 0
    assert piped(content, "reenroll", gallery, "piped", "-")[0] == 0
    code, printed = piped(content, "enroll", gallery, "-")
    assert (code, "standard input has no name" in printed) == (2, True)
    code, printed = piped(b"", "verify", gallery, "s2", "-")
    assert (code, "standard input is empty" in printed) == (2, True)
    code, printed = piped(content, "verify", gallery, "s2", "-", "-")
    assert (code, "can be read once" in printed) == (2, True)
    code, printed = piped(content, "extract", "-", "-o", tmp_path / "out")
    assert (code, "0 images extracted; 1 template written" in printed) == (0, True)
    assert read(tmp_path / "out" / "stdin.abis") == read(content)


# ------------------------------------------------------------------------------------- list and search


def test_subjects_are_listed_page_by_page(gallery: Path) -> None:
    rows = [json.loads(line) for line in run("list", gallery, "--json", code=0).stdout.splitlines()]
    assert [row["subject_id"] for row in rows] == ["s0", "s1", "s2", "s3", "s4", "again"]
    assert rows[3] == {"subject_id": "s3", "status": "locked", "level": 0, "labels": ["odd"], "templates": 3}
    first = run("list", gallery, "--limit", "2", code=0).stdout.splitlines()
    assert [line.split()[0] for line in first] == ["subject", "s0", "s1"]
    after = run("list", gallery, "--after", "s1", "--limit", "2", code=0).stdout.splitlines()
    assert [line.split()[0] for line in after[1:]] == ["s2", "s3"]
    odd = run("list", gallery, "--label", "odd", "--status", "active", code=0).stdout.splitlines()
    assert [line.split()[0] for line in odd[1:]] == ["s1"]
    assert "'nobody' is not enrolled" in run("list", gallery, "--after", "nobody", code=2).stderr


def test_a_search_takes_labels_and_a_share(gallery: Path, probe: Path) -> None:
    def found(*options: str) -> list[str]:
        answer = json.loads(run("identify", gallery, probe, "--json", *options).stdout)
        return [candidate["subject_id"] for candidate in answer["candidates"]]

    assert found()[0] == "s2"
    assert set(found("--label", "odd")) == {"s1", "s3"}
    assert set(found("--label", "odd", "--label", "even", "--share", "1")) == {"s0", "s1", "s2", "s3", "s4"}
    assert run("identify", gallery, probe, "--share", "0").exit_code == 2


def test_a_limit_of_candidates_below_ten_is_no_error(gallery: Path, probe: Path) -> None:
    run("disclosure", gallery, "--max-candidates", "2", code=0)
    answer = json.loads(run("identify", gallery, probe, "--json", code=0).stdout)
    assert len(answer["candidates"]) == 2
    assert "returns at most 2" in run("identify", gallery, probe, "--max-candidates", "3", code=2).stderr


def test_under_decision_only_the_decision_is_printed(gallery: Path, probe: Path) -> None:
    with Gallery.open(gallery, load=False) as opened:
        opened.set_answer_policy(AnswerPolicy(Disclosure.DECISION))
    assert run("verify", gallery, "s2", probe, code=0).stdout == "match\n"
    assert run("verify", gallery, "s1", probe, code=1).stdout == "non-match\n"
    lines = run("identify", gallery, probe, "--fpir", "1e-3", code=0).stdout.splitlines()
    assert lines[1:] == ["rank  subject", "   1  s2", "6 subjects"]
    answer = json.loads(run("verify", gallery, "s2", probe, "--json", code=0).stdout)
    assert (answer["match"], answer["score"], answer["evidence"]) == (True, None, None)


def test_duplicates_are_printed(gallery: Path, tmp_path: Path) -> None:
    printed = run("deduplicate", gallery, code=0).stdout
    assert "s1" in printed
    assert "1 pair in 1 cluster" in printed
    found = json.loads(run("deduplicate", gallery, "--json", code=0).stdout)["found"]
    assert [(pair["subject_id"], pair["other_id"]) for pair in found] == [("s1", "again")]
    assert not list(tmp_path.rglob("*.checkpoint"))


# ----------------------------------------------------------------------------------------- uniqueness


def test_enroll_refuses_duplicates_when_asked(gallery: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for name, person in (("again2_face", 2), ("new1_face", 60), ("new2_face", 61), ("new3_face", 60)):
        (folder / f"{name}.abis").write_bytes(native.write(face(person, 1)))
    result = run("enroll", gallery, folder, "--unique", "--fpir", "1e-2", code=2)
    assert "subject 'again2' is not enrolled: it seems to be 's2'" in result.stderr
    assert "subject 'new3' is not enrolled: it seems to be 'new1'" in result.stderr
    assert "2 enrolled, of 2 templates; 2 failed" in result.stdout


def test_enroll_and_import_refuse_what_they_cannot_check(gallery: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "late1_face.abis").write_bytes(native.write(face(80, model="other")))
    refused = run("enroll", gallery, folder, "--unique", code=2)
    assert "6 of 6 subjects could not be compared" in refused.stderr
    imported = json.loads(run("import", folder, gallery, "--unique", "--workers", 0, "--json", code=2).stdout)
    assert (imported["enrolled"], imported["quarantined"]) == (0, 1)
    listed = run("quarantine", "list", gallery, code=0).stdout
    assert "may be a duplicate: 6 of 6 subjects could not be compared" in listed
    assert "to enroll it, give its number" in run("quarantine", "retry", gallery, code=2).stderr
    told = ("--unique", "--min-coverage", "0")
    assert run("enroll", gallery, folder, *told, code=0).exit_code == 0
    (folder / "late2_face.abis").write_bytes(native.write(face(81, model="third")))
    (folder / "late1_face.abis").unlink()
    done = json.loads(run("import", folder, gallery, *told, "--workers", 0, "--json", code=0).stdout)
    assert done["enrolled"] == 1
    info = json.loads(run("info", gallery, "--json", code=0).stdout)
    assert info["kinds"]["FACE by 'other' (32-d)"] == 1
    assert info["coverage"]["compared"] == 0
    assert "cannot be compared with all others" in run("info", gallery, code=0).stdout


# --------------------------------------------------------------------------------- nothing by mistake


@pytest.mark.parametrize("command", [("remove", "s1", "s2"), ("erase", "s1", "s2")])
def test_removal_is_confirmed(gallery: Path, command: tuple[str, ...]) -> None:
    name, *subjects = command
    code, printed = piped(b"", name, gallery, *subjects)
    assert (code, "give --yes" in printed) == (2, True)
    code, printed = piped(b"n\n", name, gallery, *subjects)
    assert (code, "2 subjects" in printed, "nothing is removed" in printed) == (2, True, True)
    would = run(name, gallery, *subjects, "nobody", "--dry-run", code=2)
    assert would.stdout.count("1 encounter, 3 templates would be removed") == 2
    with Gallery.open(gallery, load=False) as opened:
        assert len(opened) == 6
    assert piped(b"y\n", name, gallery, subjects[0])[0] == 0
    run(name, gallery, subjects[1], "--yes", code=0)
    with Gallery.open(gallery, load=False) as opened:
        assert list(opened) == ["s0", "s3", "s4", "again"]


def test_expiry_of_the_future_is_refused(gallery: Path) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    refused = run("expire", gallery, "--before", f"{tomorrow:%Y-%m-%d}", "--yes", code=2)
    assert "is in the future" in refused.stderr
    old = run("expire", gallery, "--before", "2001-01-31", "--dry-run", code=0).stdout
    assert old.startswith("0 encounters and 0 records in quarantine would be removed")
    with Gallery.open(gallery, load=False) as opened:
        assert len(opened) == 6
        with pytest.raises(ValueError, match="is in the future"):
            opened.remove_older_than(tomorrow)


@pytest.mark.parametrize(
    "command",
    [
        ("info",),
        ("list",),
        ("check",),
        ("subject", "s1"),
        ("identify", "probe.fmr"),
        ("deduplicate",),
        ("export", "out"),
        ("disclosure",),
        ("audit", "show"),
    ],
)
def test_readers_never_create_a_gallery(tmp_path: Path, command: tuple[str, ...]) -> None:
    name, *more = command
    first = [name, *more[:1]] if name == "audit" else [name]
    result = run(*first, tmp_path / "typo", *more[len(first) - 1 :], code=2)
    assert "there is no gallery here" in result.stderr
    assert not (tmp_path / "typo").exists()


def test_an_emptied_gallery_is_said_to_be_empty(gallery: Path, tmp_path: Path) -> None:
    run("remove", gallery, "s0", "s1", "s2", "s3", "s4", "again", "--yes", code=0)
    printed = run("check", gallery, code=0).stdout
    assert "all is well" not in printed
    assert "the gallery is empty, after 12 changes" in printed
    (gallery / "store.sqlite").write_bytes(b"")
    for wal in gallery.glob("store.sqlite-*"):
        wal.unlink()
    assert "the database is empty" in run("check", gallery, code=2).stderr


def test_names_of_outputs_are_checked_before_the_work(gallery: Path, probe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in (
        ("deduplicate", gallery, "-o", tmp_path / "a.xls"),
        ("deduplicate", gallery, "-o", tmp_path / "absent" / "a.csv"),
        ("deduplicate", gallery, "-o", tmp_path / "a.csv", "--html", tmp_path / "a.txt"),
        ("export", gallery, tmp_path / "a.foo"),
        ("export", gallery, tmp_path / "file" / "out"),
        ("extract", probe, "-o", tmp_path / "file"),
        ("explain", probe, probe, "-o", tmp_path / "a.png"),
        ("evaluate", tmp_path, "--report", tmp_path / "a.txt"),
        ("calibrate", "minutiae", "-o", tmp_path / "absent" / "a.json"),
        ("subject", gallery, "s1", "-o", tmp_path / "absent" / "a.json"),
        ("size", "--subjects", "1000", "--figure", tmp_path / "a.txt"),
        ("backup", gallery, tmp_path / "file" / "copy"),
    ):
        before = sorted(tmp_path.rglob("*"))
        result = run(*command, code=2)
        assert "Traceback" not in result.output, command
        after = [
            path for path in sorted(tmp_path.rglob("*")) if path not in before and "derived" not in str(path)
        ]
        assert [path.name for path in after if not path.name.startswith("store.sqlite-")] == [], command


def test_a_key_for_a_plain_gallery_is_said_so(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MasterKey.generate(tmp_path / "key")
    monkeypatch.setenv("ABIS_KEY_FILE", str(tmp_path / "key"))
    message = run("info", gallery, code=2).stderr.replace("\n", "")
    assert "is not encrypted, but a master key was given, MasterKey(" in message
    assert "unset ABIS_KEY and ABIS_KEY_FILE" in message


def test_templates_are_extracted_into_other_formats(probe: Path, tmp_path: Path) -> None:
    for name, ending in (("xyt", "xyt"), ("iso-19794-2-2005", "fmr"), ("ansi-378-2004", "fmr")):
        folder = tmp_path / name
        run("extract", probe, "-o", folder, "--format", name, code=0)
        (template,) = read(folder / f"probe.{ending}")
        assert len(template) == len(finger(2, impression=2))  # type: ignore[arg-type]
        assert "1 was already" in run("extract", probe, "-o", folder, "--format", name, code=0).stdout


# ------------------------------------------------------------------------------------- names of files


def test_folders_and_names_of_people_mean_the_same_everywhere(tmp_path: Path) -> None:
    """Five Davids are five people, for enrolment, import and evaluation."""
    flat, folders = tmp_path / "flat", tmp_path / "folders"
    flat.mkdir()
    for number, name in enumerate(
        ("David_Beckham", "David_Bowie", "David_Hume", "David_Lean", "David_Lynch")
    ):
        (folders / name).mkdir(parents=True)
        for shot in (1, 2):
            content = native.write(face(number, shot))
            (flat / f"{name}_{shot:04}.abis").write_bytes(content)
            (folders / name / f"{shot}.abis").write_bytes(content)
    for source in (flat, folders):
        run("enroll", tmp_path / f"enrolled-{source.name}", source, code=0)
        run("import", source, tmp_path / f"imported-{source.name}", "--workers", 0, code=0)
        for way in ("enrolled", "imported"):
            with Gallery.open(tmp_path / f"{way}-{source.name}", load=False) as opened:
                assert len(opened) == 5, (way, source.name)
                assert "David_Bowie" in opened
        figures = json.loads(run("evaluate", source, "--json", code=0).stdout)
        assert figures["people"] == 5
        assert figures["all_against_all"]["mated"] == 5
        assert any("5 mated comparisons" in warning for warning in figures["warnings"])


def test_evaluate_says_what_is_not_there(tmp_path: Path) -> None:
    assert "there is no such file or folder" in run("evaluate", tmp_path / "nofolder", code=2).stderr


def test_negative_scores_are_written_as_numbers(tmp_path: Path) -> None:
    """A raw score below zero was escaped as a formula, and the file could not be read back."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for person in range(6):
        for shot in (1, 2):
            (folder / f"p{person}_{shot}.abis").write_bytes(native.write(face(person, shot)))
    run("evaluate", folder, "--scores", tmp_path / "scores.csv", "--all-pairs", code=0)
    assert "'" not in (tmp_path / "scores.csv").read_text()
    run("evaluate", tmp_path / "scores.csv", code=0)


def test_few_scores_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("score,mated\n3,1\n1,0\n2,0\n")
    printed = run("evaluate", path, code=0).stdout
    assert (
        "Warning: 1 mated comparison only; an error rate below 100 % cannot be distinguished from 0"
        in printed
    )


def test_a_calibration_that_reaches_nothing_is_warned_of(tmp_path: Path) -> None:
    """Scores whose ranges overlap so much that no score supports a rate of 1 in a million."""
    rows = ["raw,mated"] + [f"{n % 10},{int(n % 10 > 7)}" for n in range(400)]
    rows += [f"{n % 10},{int(n % 3 == 0)}" for n in range(400)]
    path = tmp_path / "scores.csv"
    path.write_text("\n".join(rows) + "\n")
    result = run("calibrate", path, "--kind", "embedding-weak", "-o", tmp_path / "weak.json", code=0)
    assert "cannot be reached" in result.stderr
