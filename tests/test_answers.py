# SPDX-License-Identifier: Apache-2.0
"""Results as dictionaries, JSON, rows and tables; and what is said where an argument or a file cannot be."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from people import everything, face
from typer.testing import CliRunner

from abis import AnswerPolicy, Claim, Enrollment, Gallery, IrisCode, Position
from abis.answers import Answer
from abis.cli import app
from abis.comparison.coverage import Coverage
from abis.errors import (
    AbisError,
    ArgumentError,
    DuplicateFound,
    NotEnrolled,
    StoreError,
    TemplateError,
)
from abis.evaluation.score_files import read_scores
from abis.evaluation.scores import FAILED
from abis.formats import iso_19794_2_2005, native
from abis.scoring.calibration import shipped
from abis.scoring.thresholds import threshold_for_fmr
from abis.store import Status
from abis.template import Minutiae
from abis.verification.policy import Policy


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "g") as gallery:
        gallery.enroll_many(Enrollment(f"<s{n}>", everything(n)) for n in range(4))
        gallery.enroll("<s2> again", everything(2, 1))
        yield gallery


def test_results_are_dictionaries_rows_and_tables(gallery: Gallery) -> None:
    gallery.set_status("<s2>", Status.LOCKED, reason="lost")
    found = gallery.identify(everything(2, 1), max_candidates=3)
    assert json.loads(found.to_json()) == found.to_dict()
    first = found.to_dict()["candidates"][0]
    assert first["rank"] == 1
    assert {c["status"] for c in found.to_dict()["candidates"]} >= {"active", "locked"}
    assert "RIGHT_INDEX" in {part["position"] for part in first["evidence"]}
    rows = found.rows()
    assert [row["subject_id"] for row in rows] == [c.subject_id for c in found]
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["face"] in [e.score for e in found[0].evidence]
    html = found._repr_html_()
    assert html.count("<tr>") == 1 + len(found)
    assert "&lt;s2&gt;" in html
    assert "<s2>" not in html
    assert len(repr(found)) < 120


def test_a_verification_names_its_claim(gallery: Gallery) -> None:
    (result,) = gallery.verify_many([Claim("<s1>", everything(1, 1))])
    assert result.to_dict()["subject_id"] == "<s1>"
    assert result.to_dict()["match"] is True
    assert result.to_dict()["outcome"] == "match"
    assert repr(result).startswith("Verification('<s1>': match, score ")
    assert len(result.rows()) == 1


def test_duplicates_and_info_are_tables(gallery: Gallery) -> None:
    found = gallery.deduplicate()
    assert [row["other_id"] for row in found.rows()] == [pair.other_id for pair in found]
    assert len(repr(found)) < 200
    assert gallery.info().to_dict()["templates"]["FACE"] == 5
    assert gallery.info().rows()[0]["templates_face"] == 5


@pytest.mark.parametrize(
    "act",
    [
        lambda g: g.enroll("", everything(9)),
        lambda g: g.enroll("a" * 300, everything(9)),
        lambda g: g.verify([face(1)], ""),
        lambda g: g.verify([face(1)], "<s1>", fmr=0),
        lambda g: g.identify([face(1)], fpir=2),
        lambda g: g.identify([face(1)], max_candidates=0),
        lambda g: g.deduplicate(since=-1),
        lambda g: g.set_status("<s1>", Status.LOCKED, reason=""),
        lambda g: g.merge("<s1>", "<s1>"),
        lambda g: Policy(level=10),
        lambda g: Policy(fmr="x"),  # type: ignore[arg-type]
        lambda g: Policy(level=1.5),  # type: ignore[arg-type]
        lambda g: g.enroll(5, everything(9)),
        lambda g: g.enroll("new", everything(9)[0]),
        lambda g: g.enroll("new", 5),
        lambda g: g.enroll("new", everything(9), labels="north"),
        lambda g: g.enroll("new", everything(9), level=2.5),
        lambda g: g.enroll("new", everything(9), unique=True, min_coverage=2),
        lambda g: g.enroll("new", everything(9), unique=True, fpir="x"),
        lambda g: g.verify([face(1)], "<s1>", fmr="x"),
        lambda g: g.verify([face(1)], "<s1>", fmr=math.nan),
        lambda g: g.verify([face(1)], "<s1>", policy="x"),
        lambda g: g.verify([face(1)], 5),
        lambda g: list(g.verify_many([("<s1>", [face(1)])])),
        lambda g: g.identify([face(1)], max_candidates=2.5),
        lambda g: g.identify([face(1)], fpir="x"),
        lambda g: g.identify([face(1)], share="x"),
        lambda g: g.identify([face(1)], labels="north"),
        lambda g: g.deduplicate(threshold="x"),
        lambda g: g.deduplicate(fpir=1e-3, threshold=3.0),
        lambda g: g.import_records(5),
        lambda g: g.set_answer_policy(AnswerPolicy(disclosure="all")),  # type: ignore[arg-type]
        lambda g: g.set_answer_policy(AnswerPolicy(pause_s="x")),  # type: ignore[arg-type]
        lambda g: g.remove_older_than(datetime(2001, 1, 1)),
        lambda g: threshold_for_fmr("x", []),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_cannot_be_are_errors_of_abis(
    gallery: Gallery, act: Callable[[Gallery], object]
) -> None:
    with pytest.raises(ArgumentError) as caught:
        act(gallery)
    assert isinstance(caught.value, AbisError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda g: g.verify([face(1)], "gone"), NotEnrolled),
        (lambda g: g.remove("gone"), NotEnrolled),
        (lambda g: g.remove("gone", encounter_id="2"), NotEnrolled),
        (lambda g: g.subject("gone"), NotEnrolled),
        (lambda g: g.erase("gone"), NotEnrolled),
        (lambda g: g.set_level("gone", 3), NotEnrolled),
        (lambda g: g.replace("gone", everything(9)), NotEnrolled),
        (lambda g: g.merge("gone", "<s1>"), NotEnrolled),
        (lambda g: g.export_subject("gone"), NotEnrolled),
        (lambda g: g.enroll("gone", []), TemplateError),
        (lambda g: Claim("gone", []), TemplateError),
        (lambda g: g.enroll("gone", everything(9), encounter_id=""), ArgumentError),
        (lambda g: g.enroll("gone", [face(1, model="x")], unique=True), TemplateError),
        (lambda g: g.enroll("gone", everything(1, 1), unique=True), DuplicateFound),
    ],
)
def test_errors_name_their_subject(
    gallery: Gallery, act: Callable[[Gallery], object], error: type[AbisError]
) -> None:
    with pytest.raises(error) as caught:
        act(gallery)
    assert caught.value.subject_id == "gone"
    assert pickle.loads(pickle.dumps(caught.value)).subject_id == "gone"


def test_errors_about_enrolled_subjects_name_them(gallery: Gallery) -> None:
    for act in (
        lambda: gallery.enroll("<s1>", everything(9)),
        lambda: gallery.enroll("<s1>", everything(9), encounter_id="1"),
        lambda: gallery.remove("<s1>", encounter_id="7"),
        lambda: gallery.enroll_many([Enrollment("new", everything(9)), Enrollment("<s1>", everything(9))]),
    ):
        with pytest.raises(AbisError) as caught:
            act()
        assert caught.value.subject_id == "<s1>"
    with pytest.raises(AbisError) as caught:
        gallery.deduplicate(fpir=0)
    assert caught.value.subject_id is None


def test_a_path_is_imported(gallery: Gallery, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    (folder / "new_face.abis").write_bytes(native.write(face(9)))
    for source in (str(folder), folder):
        report = gallery.import_records(source)
        assert report.read == 1
        assert report.to_dict()["read"] == 1
    assert "new" in gallery
    with pytest.raises(OSError, match="absent"):
        gallery.import_records(tmp_path / "absent")


def test_all_results_are_tables_with_short_texts(gallery: Gallery, tmp_path: Path) -> None:
    eye = IrisCode(bits=np.ones((2, 4, 4), bool), model="m", position=Position.LEFT_EYE)
    gallery.enroll("eye", [eye])
    found = gallery.identify([eye])
    results: list[Answer] = [
        found,
        found[0],
        found[0].evidence[0],
        gallery.verify([eye], "eye"),
        gallery.identify([face(1, model="x"), eye]).coverage or Coverage(0, 0),
        gallery.info(),
        gallery.deduplicate(),
        gallery.deduplicate().clusters[0],
        gallery.subject("eye"),
        next(gallery.subjects()),
        next(gallery.audit_log()),
        gallery.export_subject("eye"),
        gallery.export_records(tmp_path / "out"),
        gallery.erase("eye"),
    ]
    for result in results:
        name = type(result).__name__
        assert json.loads(result.to_json()) == result.to_dict(), name
        assert result.rows(), name
        assert result._repr_html_().startswith("<table>"), name
        assert len(repr(result)) < 700, (name, repr(result))
        assert "left_eye" not in result.to_json(), "positions are named as they are"
    assert results[0].rows()[0]["left_eye"] == found[0].evidence[0].score
    templates = results[-3].to_dict()["templates"]
    assert templates == [["1", repr(eye)]], "templates do not leave in tables"


def test_what_comes_of_an_image_is_a_table() -> None:
    extracting = pytest.importorskip("abis.extraction.extracting", exc_type=ImportError)
    found = extracting.Extraction((face(1),), note="turned")
    assert found.to_dict() == {"templates": [repr(face(1))], "reason": None, "note": "turned"}
    assert found._repr_html_().startswith("<table>")


def test_a_gallery_is_created_only_when_asked(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreError, match="there is no gallery here"):
            Gallery.open(tmp_path / "typo", **options)  # type: ignore[arg-type]
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match="there is no gallery here"):
        Gallery.open(tmp_path / "empty", create=False)
    with pytest.raises(StoreError, match="the database is empty"):
        Gallery.open(f"sqlite:///{tmp_path / 'empty' / 'typo.sqlite'}", create=False)
    assert not (tmp_path / "typo").exists()


def test_a_gallery_opened_for_reading_does_not_change(gallery: Gallery, tmp_path: Path) -> None:
    gallery.save()
    place = tmp_path / "g"
    gallery.close()

    def content() -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    before = content()
    with Gallery.open(place, read_only=True) as opened:
        assert opened.identify(everything(1, 1))[0].subject_id == "<s1>"
        assert opened.verify(everything(1, 1), "<s1>")
        assert opened.check() == []
        for act in (
            lambda: opened.enroll("new", everything(9)),
            lambda: opened.remove("<s1>"),
            lambda: opened.erase("<s1>"),
            lambda: opened.set_level("<s1>", 1),
            opened.compact,
            lambda: opened.calibrate(shipped("minutiae")),
        ):
            with pytest.raises(StoreError, match="is open for reading only"):
                act()
        with opened.acting("m.tran", purpose="test"), pytest.raises(StoreError, match="reading only"):
            opened.identify(everything(1))
    assert content() == before


def test_commands_never_end_as_a_non_match_does_where_they_fail(gallery: Gallery, tmp_path: Path) -> None:
    record = tmp_path / "a.fmr"
    record.write_bytes(iso_19794_2_2005.write([t for t in everything(1)[:1] if isinstance(t, Minutiae)]))
    place = str(tmp_path / "g")
    for subject in ("", "a" * 300):
        assert CliRunner().invoke(app, ["verify", place, subject, str(record)]).exit_code == 2


def test_a_manifest_in_utf_16_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("subject_id,template\n", encoding="utf-16")
    run = CliRunner().invoke(app, ["import", str(tmp_path / "a.csv"), str(tmp_path / "new")])
    assert run.exit_code == 2
    assert "is in UTF-16; expected UTF-8" in " ".join(run.output.split())
    assert not (tmp_path / "new").exists()


def test_an_import_reads_leniently_and_says_so(cases: Path, tmp_path: Path) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    for name in ("template", "padded_zero", "padded_rubbish", "length_too_large"):
        (folder / f"{name.replace('_', '-')}.iso").write_bytes((cases / f"{name}.iso").read_bytes())
    for source, subjects in ((folder, 4), (cases / "encodings.csv", 6)):
        place = str(tmp_path / f"g-{source.stem}")
        run = CliRunner().invoke(app, ["import", str(source), place, "--workers", "0", "--json"])
        assert run.exit_code == 0
        report = json.loads(run.stdout)
        assert report["enrolled"] == subjects
        assert len(report["repairs"]) == (3 if source is folder else 0)


@pytest.mark.parametrize("score", ["nan", "-inf", ""])
def test_a_score_file_without_scores_is_refused(tmp_path: Path, score: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(f"score,mated\n{score},1\n{score},0\n{score},0\n")
    with pytest.raises(AbisError, match="none of its 3 comparisons has a score"):
        read_scores(path)


def test_failed_comparisons_alone_have_a_place_in_the_bootstrap() -> None:
    """The place of a failed score was looked up in a cell that is not a number, and the process died."""
    from abis.evaluation.bootstrap import _place, _table  # noqa: PLC0415

    failed = np.full(3, FAILED)
    threshold = np.array([FAILED, np.inf])
    bins = np.full(3, 9, np.uint16)
    _place(bins, failed, threshold, *_table(threshold))
    assert bins.tolist() == [0, 0, 0]


def test_folders_and_patterns_name_subjects_and_positions(tmp_path: Path) -> None:
    record = iso_19794_2_2005.write([t for t in everything(1)[:1] if isinstance(t, Minutiae)])
    unknown = bytearray(record)
    unknown[24] = 0  # the finger position of the only view
    photos = tmp_path / "photos"
    for subject in ("David_A", "David_B"):
        (photos / subject).mkdir(parents=True)
        (photos / subject / "left_index.fmr").write_bytes(unknown)
    (photos / "David_C_right_thumb.fmr").write_bytes(unknown)
    assert CliRunner().invoke(app, ["enroll", str(tmp_path / "g"), str(photos)]).exit_code == 0
    with Gallery.open(tmp_path / "g") as gallery:
        assert set(gallery) == {"David_A", "David_B", "David_C"}
        assert {p.name: n for p, n in gallery.info().templates.items() if n} == {
            "LEFT_INDEX": 2,
            "RIGHT_THUMB": 1,
        }
    pattern = "(?P<position>[^-]+)-(?P<subject>.*)"
    (tmp_path / "right_index-77.fmr").write_bytes(unknown)
    arguments = ["enroll", str(tmp_path / "h"), str(tmp_path / "right_index-77.fmr"), "--pattern", pattern]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    with Gallery.open(tmp_path / "h") as gallery:
        assert {p.name for p, n in gallery.info().templates.items() if n} == {"RIGHT_INDEX"}


def test_many_faces_of_one_subject_are_asked_about(tmp_path: Path) -> None:
    from abis.formats import native  # noqa: PLC0415

    for n in range(11):
        (tmp_path / f"David_{n}.abis").write_bytes(native.write(face(n)))
    run = CliRunner().invoke(app, ["enroll", str(tmp_path / "g"), *map(str, sorted(tmp_path.glob("*.abis")))])
    assert "David: 11 faces; if they are of several people" in " ".join(run.output.split())
