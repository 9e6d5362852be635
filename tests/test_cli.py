# SPDX-License-Identifier: Apache-2.0
"""The command line as a user sees it: its output and its exit codes."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from people import LEFT, RIGHT, face, finger
from shell import run

from abis.formats import Format, native, write
from abis.gallery import Gallery
from abis.scoring.calibration import Calibration, shipped
from abis.scoring.matcher_fusion import ScoreFusion
from abis.template import Position


def save(path: Path, *templates: object) -> Path:
    """Fingers as an ISO record, anything else as abis stores it."""
    path.write_bytes(write(list(templates), Format.ISO_19794_2_2011))  # type: ignore[arg-type]
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people: two fingers each, and a face."""
    files = tmp_path / "files"
    files.mkdir()
    for person in range(3):
        save(files / f"P{person}_right.fmr", finger(person, RIGHT))
        save(files / f"P{person}_left.fmr", finger(person, LEFT))
        (files / f"P{person}_face.abis").write_bytes(native.write(face(person)))
    return files


@pytest.fixture
def gallery(tmp_path: Path, folder: Path) -> Path:
    """A gallery of them."""
    path = tmp_path / "gallery"
    assert run("enroll", path, folder).exit_code == 0
    return path


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """Another impression of person 1."""
    return save(tmp_path / "somebody.fmr", finger(1, RIGHT, 1))


# --- enroll -------------------------------------------------------------------------------------------


def test_enroll_groups_files_by_the_subject_in_their_names(gallery: Path) -> None:
    with Gallery.open(gallery) as opened:
        assert list(opened) == ["P0", "P1", "P2"]
        assert opened.info().templates == {RIGHT: 3, LEFT: 3, Position.FACE: 3}


def test_enroll_says_what_it_did(tmp_path: Path, folder: Path) -> None:
    result = run("enroll", tmp_path / "g", folder, "--json")
    assert json.loads(result.stdout) == {
        "enrolled": 3,
        "templates": 9,
        "skipped": 0,
        "failed": 0,
        "subjects": 3,
    }


def test_enroll_names_a_bad_file_and_goes_on(tmp_path: Path, folder: Path) -> None:
    bad = folder / "P1_right.fmr"
    bad.write_bytes(bad.read_bytes()[:30])
    result = run("enroll", tmp_path / "g", folder, folder / "absent.fmr")
    assert result.exit_code == 2
    assert f"P1 is not enrolled: {bad}: byte 8: record length is" in result.stderr
    assert "absent.fmr: No such file" in result.stderr
    with Gallery.open(tmp_path / "g") as opened:
        assert list(opened) == ["P0", "P2"]


def test_enroll_leaves_enrolled_subjects_alone(gallery: Path, folder: Path) -> None:
    save(folder / "P9_right.fmr", finger(9))
    again = run("enroll", gallery, folder)
    assert again.exit_code == 2
    assert again.stderr.count("enrolled already") == 3
    assert "1 enrolled" in again.stdout
    resumed = run("enroll", gallery, folder, "--skip-enrolled", "--json")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout)["skipped"] == 4


def test_enroll_takes_subject_encounter_and_position_from_options(tmp_path: Path) -> None:
    unknown = save(tmp_path / "scan-17.fmr", finger(5, stated=Position.UNKNOWN_FINGER))
    path = tmp_path / "g"
    options = ("--subject", "Q 7", "--encounter", "visit", "--position", "left-thumb")
    assert run("enroll", path, unknown, *options).exit_code == 0
    assert run("enroll", path, unknown, *options).exit_code == 2
    assert run("enroll", path, unknown, *options, "--skip-enrolled").exit_code == 0
    with Gallery.open(path) as opened:
        assert list(opened) == ["Q 7"]
        assert opened.info().templates == {Position.LEFT_THUMB: 1}


def test_enroll_takes_the_subject_by_a_pattern(tmp_path: Path) -> None:
    save(tmp_path / "right-index of 0042.fmr", finger(1))
    save(tmp_path / "whose.fmr", finger(2))
    pattern = r"\S+ of (?P<subject>\d+)"
    result = run("enroll", tmp_path / "g", *sorted(tmp_path.glob("*.fmr")), "--pattern", pattern)
    assert result.exit_code == 2
    assert "whose.fmr: the file name does not match" in result.stderr
    with Gallery.open(tmp_path / "g") as opened:
        assert list(opened) == ["0042"]


@pytest.mark.parametrize("pattern", ["(", "(?P<person>.*)"])
def test_a_pattern_that_is_none_is_refused(tmp_path: Path, folder: Path, pattern: str) -> None:
    result = run("enroll", tmp_path / "g", folder, "--pattern", pattern)
    assert result.exit_code == 2
    assert not (tmp_path / "g").exists()


def test_a_face_is_not_enrolled_as_a_finger(tmp_path: Path, folder: Path) -> None:
    result = run("enroll", tmp_path / "g", folder / "P0_face.abis", "--position", "left-thumb")
    assert result.exit_code == 2
    assert "P0_face.abis: position LEFT_THUMB: fingers are compared by their minutiae" in result.stderr


# --- identify -----------------------------------------------------------------------------------------


def test_identify_finds_the_subject(gallery: Path, probe: Path) -> None:
    result = run("identify", gallery, probe, "--max-candidates", 2)
    assert result.exit_code == 0
    assert re.search(r"^ +1  P1 .* RIGHT_INDEX", result.stdout, re.M)
    assert re.search(r"^ +2  P", result.stdout, re.M)
    assert not re.search(r"^ +3  P", result.stdout, re.M)


def test_identify_as_json(gallery: Path, probe: Path) -> None:
    result = json.loads(run("identify", gallery, probe, "--json", "--fpir", "0.1", "--exact").stdout)
    assert result["probe"] == str(probe)
    assert result["gallery_size"] == 3
    assert [candidate["subject_id"] for candidate in result["candidates"]] == ["P1"]
    assert result["candidates"][0]["evidence"][0]["position"] == "RIGHT_INDEX"


@pytest.mark.parametrize(
    ("together", "probes"), [((), 9), (("--together", "subject"), 3), (("--together", "all"), 1)]
)
def test_identify_takes_files_one_by_one_or_together(
    gallery: Path, folder: Path, together: tuple[str, ...], probes: int
) -> None:
    result = run("identify", gallery, folder, "--json", *together)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == probes


def test_identify_names_a_bad_file_and_goes_on(gallery: Path, probe: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.fmr"
    bad.write_bytes(b"FMR\0 20\0rubbish")
    result = run("identify", gallery, bad, probe)
    assert result.exit_code == 2
    assert f"error: {bad}: byte " in result.stderr
    assert "P1" in result.stdout


def test_identify_refuses_another_model(gallery: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.abis"
    other.write_bytes(native.write(face(1, model="other")))
    result = run("identify", gallery, other)
    assert result.exit_code == 2
    assert f"error: {other}: the probe has FACE by 'other'" in result.stderr


# --- verify, remove, info -----------------------------------------------------------------------------


def test_verify_answers_by_its_exit_code(gallery: Path, probe: Path) -> None:
    match = run("verify", gallery, "P1", probe, "--fmr", "1e-3")
    assert (match.exit_code, match.stdout.split(":")[0]) == (0, "match")
    non_match = run("verify", gallery, "P2", probe, "--fmr", "1e-3")
    assert (non_match.exit_code, non_match.stdout.split(":")[0]) == (1, "non-match")
    unknown = run("verify", gallery, "P7", probe)
    assert (unknown.exit_code, unknown.stderr) == (2, "error: subject 'P7' is not enrolled\n")
    assert json.loads(run("verify", gallery, "P2", probe, "--json").stdout)["match"] is False


@pytest.mark.parametrize("rate", ["0", "-1", "1.5", "nan", "one"])
def test_a_rate_that_is_none_is_refused(gallery: Path, probe: Path, rate: str) -> None:
    result = run("verify", gallery, "P1", probe, f"--fmr={rate}")
    assert result.exit_code == 2
    assert "rate" in result.stderr


def test_remove(gallery: Path) -> None:
    result = run("remove", gallery, "P0", "P7", "P2", "--yes")
    assert result.exit_code == 2
    assert result.stderr == "error: subject 'P7' is not enrolled\n"
    with Gallery.open(gallery) as opened:
        assert list(opened) == ["P1"]


def test_info(gallery: Path) -> None:
    found = json.loads(run("info", gallery, "--json").stdout)
    assert (found["subjects"], found["templates"]["FACE"]) == (3, 3)
    assert re.search(r"subjects\s*│\s*3 ", run("info", gallery).stdout)


@pytest.mark.parametrize(
    "command", [("info",), ("identify", "a.fmr"), ("verify", "P1", "a.fmr"), ("remove", "P1")]
)
def test_only_enroll_makes_a_gallery(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "a.fmr").write_bytes(write([finger(1)], Format.ISO_19794_2_2011))
    files = [tmp_path / word if word.endswith(".fmr") else word for word in command[1:]]
    result = run(command[0], tmp_path / "nothing", *files)
    assert result.exit_code == 2
    assert "there is no gallery here" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_what_is_no_gallery_is_said_without_a_traceback(folder: Path) -> None:
    result = run("info", folder)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {folder}: not a gallery")


# --- evaluate, explain, demo --------------------------------------------------------------------------


@pytest.fixture
def impressions(tmp_path: Path) -> Path:
    """Three fingers, three impressions each."""
    files = tmp_path / "impressions"
    files.mkdir()
    for person in range(3):
        for impression in range(3):
            save(files / f"{person}_{impression}.fmr", finger(person, RIGHT, impression))
    return files


@pytest.mark.parametrize(("options", "pairs"), [((), 9 + 3), (("--all-pairs",), 36)])
def test_evaluate_writes_scores(
    impressions: Path, tmp_path: Path, options: tuple[str, ...], pairs: int
) -> None:
    scores = tmp_path / "scores.csv"
    result = run("evaluate", impressions, "--scores", scores, *options)
    assert result.exit_code == 0
    assert "EER" in result.stdout
    with scores.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == pairs
    assert rows[0].keys() == {"probe", "reference", "mated", "score", "raw", "balance"}
    assert all((row["probe"][0] == row["reference"][0]) == (row["mated"] == "1") for row in rows)


def test_evaluate_reports_a_bad_file(impressions: Path) -> None:
    (impressions / "0_0.fmr").write_bytes(b"FMR\0")
    result = run("evaluate", impressions, "--json")
    assert result.exit_code == 2
    found = json.loads(result.stdout)
    assert [failure["name"] for failure in found["failures"]] == ["0_0"]
    assert found["all_against_all"]["mated_failed"] == 2


def test_evaluate_takes_other_names(impressions: Path) -> None:
    for file in impressions.iterdir():
        file.rename(file.with_name(f"i{file.stem[2]}-f{file.stem[0]}.fmr"))
    assert run("evaluate", impressions).exit_code == 2
    assert run("evaluate", impressions, "--pattern", r"i(?P<impression>.)-f(?P<finger>.)").exit_code == 0


def test_evaluate_reads_what_it_wrote_and_reports(impressions: Path, tmp_path: Path) -> None:
    scores, report = tmp_path / "scores.csv", tmp_path / "report.html"
    first = run("evaluate", impressions, "--scores", scores, "--all-pairs", "--report", report, "--json")
    assert first.exit_code == 0
    assert "<h1>Evaluation of impressions</h1>" in report.read_text()
    again = run("evaluate", scores, "--json")
    assert again.exit_code == 0
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert after["score_file"]["eer_percent"] == before["all_against_all"]["eer_percent"]
    assert after["cllr_bits"] == pytest.approx(before["cllr_bits"])
    assert before["identification"]["gallery_size"] == 3
    assert [pair["mated"] for pair in before["worst_pairs"]] == [True] * 9 + [False] * 10


def test_evaluate_searches_one_folder_in_another(impressions: Path, tmp_path: Path) -> None:
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for person in range(2):
        (impressions / f"{person}_0.fmr").rename(gallery / f"{person}_0.fmr")
    result = run("evaluate", impressions, "--gallery", gallery)
    assert result.exit_code == 0
    assert "4 mated searches in 2 fingers, 3 non-mated" in result.stdout


# ------------------------------------------------------------------------------------ calibrate, fuse


@pytest.fixture
def score_file(tmp_path: Path) -> Path:
    """40 people, everybody against everybody: three matchers, the last of which sometimes fails."""
    random = np.random.default_rng(0)
    path = tmp_path / "scores.csv"
    lines = ["probe_subject,reference_subject,score,face,finger"]
    for probe in range(40):
        for reference in range(40):
            mean = 4.0 * (probe == reference)
            score, one, other = random.normal(mean, 1.0, 3)
            lines.append(
                f"{probe},{reference},{score},{5 + one},{-1 if random.random() < 0.1 else 6 + other}"
            )
    path.write_text("\n".join(lines) + "\n")
    return path


def test_calibrate_fits_and_a_gallery_takes_it(score_file: Path, gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "my.calibration"
    result = run("calibrate", score_file, "-o", output, "--gallery", gallery)
    assert result.exit_code == 0, result.output
    assert "40 mated and 1,560 non-mated scores" in result.stdout
    mine = Calibration.load(output)
    assert (mine.kind, mine.provenance.script) == ("minutiae", "abis calibrate")
    with Gallery.open(gallery, load=False) as opened:
        assert opened.calibration(finger(1)) == mine
    assert run("calibrate", "minutiae-leader", "--gallery", gallery).exit_code == 0
    assert run("calibrate", output, "--gallery", gallery).exit_code == 0
    with Gallery.open(gallery, load=False) as opened:
        assert opened.calibration(finger(1)) == mine


def test_calibrate_is_of_a_kind(score_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "my.calibration"
    assert run("calibrate", score_file, "-o", output, "--kind", "embedding-mine").exit_code == 0
    assert Calibration.load(output).kind == "embedding-mine"
    assert run("calibrate", score_file, "--kind", "eyes").exit_code == 2
    nothing = run("calibrate", "nothing-of-the-kind")
    assert nothing.exit_code == 2
    assert "minutiae-leader" in nothing.stderr


def test_fuse_learns_and_applies(score_file: Path, tmp_path: Path) -> None:
    fusion, fused = tmp_path / "fusion.json", tmp_path / "fused.csv"
    result = run("fuse", score_file, "--columns", "face,finger", "-o", fusion)
    assert result.exit_code == 0, result.output
    assert all(method in result.stdout for method in ("sum", "logistic", "density", "taken"))
    assert run("fuse", score_file, "--fusion", fusion, "-o", fused).exit_code == 0
    with fused.open(newline="") as file:
        rows = list(csv.DictReader(file))
    mated = [float(row["score"]) for row in rows if row["probe_subject"] == row["reference_subject"]]
    strange = [float(row["score"]) for row in rows if row["probe_subject"] != row["reference_subject"]]
    assert len(mated) + len(strange) == 1600
    assert sum(score > 0 for score in mated) > 35
    assert sum(score > 0 for score in strange) < 100


def test_fuse_weighs_by_quality(score_file: Path, tmp_path: Path) -> None:
    fusion, fused = tmp_path / "fusion.json", tmp_path / "fused.csv"
    options = ("--columns", "face,finger", "--qualities", "score,", "--method", "quality")
    result = run("fuse", score_file, *options, "-o", fusion)
    assert result.exit_code == 0, result.output
    assert "quality, taken" in result.stdout
    first, second = ScoreFusion.load(fusion).inputs
    assert first.quality is not None
    assert (first.quality.name, second.quality) == ("score", None)
    assert run("fuse", score_file, "--fusion", fusion, "-o", fused).exit_code == 0


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--columns", "face", "--fusion", "x"),
        ("--columns", "face", "--method", "magic"),
        ("--columns", "face,finger", "--qualities", "score"),
        ("--fusion", "x", "--qualities", "score"),
    ],
)
def test_fuse_wants_to_learn_or_to_apply(score_file: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    assert run("fuse", score_file, *options, "-o", tmp_path / "x").exit_code == 2


def test_evaluate_calibrates_scores(tmp_path: Path) -> None:
    scores, calibration = tmp_path / "scores.csv", tmp_path / "my.calibration"
    scores.write_text("score,mated\n" + "".join(f"{i % 10},{int(i % 10 > 6)}\n" for i in range(100)))
    shipped("minutiae").save(calibration)
    assert "not calibrated" in run("evaluate", scores).stdout
    assert "Cllr" in run("evaluate", scores, "--calibration", calibration).stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--all-pairs",), "--scores FILE"),
        (("--pairs", "x"), "--pairs is for a file of embeddings"),
        (("--calibration", "x"), "x: there is no such file or folder"),
        (("--gallery", "x", "--scores", "y"), "--scores is for one folder"),
    ],
)
def test_evaluate_refuses_options_that_do_not_fit(
    impressions: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("evaluate", impressions, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_evaluate_needs_data_it_knows(tmp_path: Path) -> None:
    assert run("evaluate", tmp_path / "nothing").exit_code == 2
    (tmp_path / "notes.txt").write_text("score")
    assert "neither a folder nor a file that ends in" in " ".join(
        run("evaluate", tmp_path / "notes.txt").stderr.replace("│", " ").split()
    )


def test_explain_draws_the_paired_minutiae(impressions: Path, tmp_path: Path) -> None:
    drawing = tmp_path / "a <pair>.svg"
    files = (impressions / "0_0.fmr", impressions / "0_1.fmr")
    result = run("explain", *files, "--output", drawing, "--json")
    assert result.exit_code == 0
    pairs = json.loads(result.stdout)["pairs"]
    assert len(pairs) > 10
    svg = ElementTree.parse(drawing).getroot()
    links, marks = svg.findall("{*}g")
    assert len(links) == len(pairs)
    assert len(marks) == len(finger(0, RIGHT, 0)) + len(finger(0, RIGHT, 1))
    colours = [link.get("stroke") for link in links]
    assert sorted(m.get("stroke", "") for m in marks if m.get("stroke") in colours) == sorted(2 * colours)  # type: ignore[type-var]


def test_explain_needs_fingers(folder: Path) -> None:
    result = run("explain", folder / "P0_face.abis", folder / "P0_right.fmr")
    assert result.exit_code == 2
    assert "expected one of finger, iris" in result.stderr


def test_demo() -> None:
    result = run("demo", "--subjects", 20, "--seed", 3)
    assert result.exit_code == 0
    for words in ("20", "1:N among", "1:1: 1 in", "two fingers + face", "seconds"):
        assert words in result.stdout


# --- Ctrl-C -------------------------------------------------------------------------------------------


def interrupting(after: int) -> Callable[[object, object], object]:
    """In place of Gallery.enroll_many: the first ``after`` calls work, the next one is interrupted as by Ctrl-C."""
    original, calls = Gallery.enroll_many, 0

    def enroll_many(self: object, enrollments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > after:
            raise KeyboardInterrupt
        return original(self, enrollments)  # type: ignore[arg-type]

    return enroll_many


def test_ctrl_c_says_what_was_kept(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abis.cli.enrolment.BATCH", 1)
    monkeypatch.setattr(Gallery, "enroll_many", interrupting(after=2))
    result = run("enroll", tmp_path / "g", folder)
    assert result.exit_code == 130
    assert "keeps the 2 subjects enrolled in it" in result.stderr
    monkeypatch.undo()
    assert run("enroll", tmp_path / "g", folder, "--skip-enrolled").exit_code == 0
    with Gallery.open(tmp_path / "g") as opened:
        assert list(opened) == ["P0", "P1", "P2"]


def test_a_real_ctrl_c_ends_the_demo() -> None:
    command = [sys.executable, "-c", "from abis.cli import app; app(['demo'])"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Generating")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in errors
