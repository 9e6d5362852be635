# SPDX-License-Identifier: Apache-2.0
"""The report: a valid page whose every number comes from the library."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from eyes import code
from people import face, finger
from shell import run

from abis.errors import AbisError
from abis.evaluation import (
    ErrorRates,
    ErrorVersusDiscard,
    Estimate,
    Findings,
    Scores,
    Summary,
    evaluate_folder,
    evaluate_scores,
    plot_cmc,
    plot_det,
    summarise,
)
from abis.evaluation.reliability import Reliability
from abis.evaluation.report import page, provenance, write_report
from abis.evaluation.report.plots import reliability
from abis.evaluation.report.provenance import digest
from abis.evaluation.report.words import interval, percent, sentences, threshold, wanted
from abis.evaluation.thresholds import promises
from abis.formats import Format, write
from abis.scoring.calibration import shipped

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """What a page is made of; every element closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: dict[str, list[dict[str, str | None]]] = {}
        self.tables: list[list[list[str]]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.setdefault(tag, []).append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)
        match tag:
            case "table":
                self.tables.append([])
            case "tr":
                self.tables[-1].append([])
            case "td" | "th":
                self.tables[-1][-1].append("")
            case "h1" | "h2" | "li" | "figcaption" | "dd":
                self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        for tag, texts in self.text.items():
            if tag in self.open:
                texts[-1] += data

    def table(self, first: str) -> list[list[str]]:
        """The rows under the head that begins with ``first``."""
        return next(table[1:] for table in self.tables if table[0][0] == first)


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Of six fingers, four impressions each; one file is damaged and one is not of the set."""
    folder = tmp_path_factory.mktemp("few <prints>")
    for person in range(6):
        for impression in range(4):
            record = write([finger(person, impression=impression)], Format.ISO_19794_2_2005)
            (folder / f"{person}_{impression}.fmr").write_bytes(record)
    (folder / "3_2.fmr").write_bytes(b"FMR\0 20\0 and no more")
    (folder / "notes.txt").write_text("& not a template")
    return evaluate_folder(folder).findings()


@pytest.fixture(scope="module")
def html(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("data") / "s.csv"
    file.write_text("x")
    return page(findings, provenance(["abis", "evaluate", "few <prints>"], [file], seed=7))


def test_quality_that_predicts_error_is_shown_where_templates_state_it(
    findings: Findings, html: str, tmp_path: Path
) -> None:
    assert findings.discard is None
    assert "Quality" not in Page(html).text["h2"]
    for person in range(8):
        for impression in range(5):
            template = replace(finger(person, impression=impression), finger_quality=50 + 9 * impression)
            (tmp_path / f"{person}_{impression}.abis").write_bytes(write([template], Format.NATIVE))
    found = evaluate_folder(tmp_path).findings()
    curve = found.discard
    assert curve is not None
    parsed = Page(page(found, provenance(["abis"], [], seed=0)))
    assert "Quality" in parsed.text["h2"]
    rows = parsed.table("discarded")
    assert rows[0] == ["0\xa0%", "50", "80", percent(float(curve.fnmr[0]))]
    assert [row[1] for row in rows] == ["50", "59"]  # 0 and 40 %: more than half is not shown
    assert rows[1][2] == "48"
    assert any(caption.startswith("Error versus discard.") for caption in parsed.text["figcaption"])
    assert sum("quality stated in the templates" in item for item in parsed.text["li"]) == 1
    assert found.figures()["error_versus_discard"] == [
        {
            "discarded_percent": pytest.approx(100 * discarded),
            "lowest_quality": quality,
            "fnmr_percent": pytest.approx(100 * rate),
        }
        for discarded, quality, rate in zip(
            curve.discarded[:2], curve.quality[:2], curve.fnmr[:2], strict=True
        )
    ]
    assert "Quality: without the lowest 10 %" in str(found)


@pytest.mark.parametrize(
    ("fnmr", "words"),
    [
        ([0.1, 0.01], "predicts error well"),
        ([0.1, 0.07], "predicts some errors"),
        ([0.1, 0.12], "hardly predicts"),
    ],
)
def test_how_well_quality_predicts_error_is_said(findings: Findings, fnmr: list[float], words: str) -> None:
    curve = ErrorVersusDiscard(np.array([0, 0.1]), np.array(fnmr), np.array([10.0, 20.0]), threshold=3.0)
    assert any(words in sentence for sentence in sentences(replace(findings, discard=curve)))


def test_report_stands_alone(html: str) -> None:
    parsed = Page(html)
    assert "script" not in parsed.attributes
    assert "link" not in parsed.attributes
    assert all(
        (image["src"] or "").startswith("data:image/svg+xml;base64,") for image in parsed.attributes["img"]
    )
    assert not re.search(r"(?:src|href)=\"(?!data:)", html)
    assert "url(" not in html
    assert parsed.attributes["html"] == [{"lang": "en"}]
    assert "<prints>" not in html  # names of files are escaped


def test_every_figure_can_be_read_and_heard(html: str) -> None:
    parsed = Page(html)
    images = parsed.attributes["img"]
    # DET, scores, thresholds, reliability, CMC, open set; ten mated and ten non-mated pairs.
    assert len(images) == len(parsed.text["figcaption"]) == 6 + 20
    assert all(len(image["alt"] or "") > 20 for image in images)
    assert all(len(caption) > 20 for caption in parsed.text["figcaption"])
    for image in images:
        svg = ElementTree.fromstring(base64.b64decode((image["src"] or "").partition(",")[2]))
        assert svg.tag.endswith("svg")
    plots = [base64.b64decode((i["src"] or "").partition(",")[2]).decode() for i in images[:6]]
    units = ("%", "log10 likelihood ratio", "rank")
    assert all(sum(text.count(unit) for unit in units) >= 2 for text in plots)  # both axes
    assert all(re.search(r"\d,?\d* (?:mated|searches)", caption) for caption in parsed.text["figcaption"][:6])


def test_ids_are_one_of_a_kind_and_tables_are_named(html: str) -> None:
    parsed = Page(html)
    ids = [a["id"] for attributes in parsed.attributes.values() for a in attributes if "id" in a]
    assert len(set(ids)) == len(ids)
    named = [a["aria-labelledby"] for a in parsed.attributes["table"] if "aria-labelledby" in a]
    assert len(named) == len(parsed.tables) - 1  # all but the provenance, whose rows have heads
    assert set(named) <= set(ids)


def cell(estimate: Estimate) -> str:
    return f"{percent(estimate.value)} {interval(estimate)}"


def test_numbers_in_the_tables_are_those_of_the_library(findings: Findings, html: str) -> None:
    parsed = Page(html)
    main = findings.main
    tables = [table[1:] for table in parsed.tables if table[0][0] == "FMR asked for"]
    assert len(tables) == len(findings.protocols) == 2
    for table, protocol in zip(tables, findings.protocols, strict=True):
        *rows, eer = table
        assert [row[1:] for row in rows] == [
            [threshold(row.threshold, findings), percent(row.fmr), cell(row.fnmr)]
            for row in protocol.summary.fnmr_at
        ]
        assert eer[-1] == cell(protocol.summary.eer)
    assert [row[:4] for row in parsed.table("asked for")] == [
        [
            str(claim.promise).replace(" %", "\xa0%"),
            threshold(claim.promise.threshold, findings),
            cell(claim.fmr),
            cell(claim.fnmr),
        ]
        for claim in main.claims
    ]
    found = findings.identification
    assert found is not None
    first, *rows = parsed.table("FPIR asked for")
    assert first[-1] == cell(found.rank_1)
    assert [row[1:] for row in rows] == [
        [threshold(row.threshold, findings), percent(row.fpir), cell(row.fnir)] for row in found.fnir_at
    ]
    assert parsed.text["dd"][0] == f"{percent(main.eer.value)}95\xa0%: {interval(main.eer)}"


def test_promises_for_other_gallery_sizes_grow_in_proportion(findings: Findings, html: str) -> None:
    rows = {row[0]: row[4:] for row in Page(html).table("asked for")}
    assert rows["FPIR 1\xa0% among 1,000,000"] == ["0.010\xa0%", "1.00\xa0%", "50.00\xa0%"]
    assert rows["FMR 1\xa0%"] == ["no bound"] * 3


def test_failures_are_listed(findings: Findings, html: str) -> None:
    assert Page(html).table("file") == [[failure.name, failure.reason] for failure in findings.failures]
    assert "1 other file was\nignored: notes.txt" in html
    assert any("1 file could not be read; 3 mated" in sentence for sentence in sentences(findings))


def test_provenance_says_what_was_run(html: str) -> None:
    rows = {row[0]: row[1] for table in Page(html).tables for row in table if len(row) == 2}
    assert rows["Command"] == "abis evaluate 'few <prints>'"
    assert "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881" in html  # of an x
    assert "abis" in rows["Software"]
    assert rows["Seed of the bootstrap"] == "7"


def test_digest_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("2")
    (tmp_path / "a").write_text("1")
    before = digest(tmp_path)
    (tmp_path / ".hidden").write_text("3")
    assert digest(tmp_path) == before
    sums = subprocess.run(["sha256sum", "a", "b"], cwd=tmp_path, capture_output=True, check=True)
    piped = subprocess.run(["sha256sum"], input=sums.stdout, capture_output=True, check=True)
    assert piped.stdout.decode().split()[0] == before
    (tmp_path / "a").write_text("2")
    assert digest(tmp_path) != before


def test_report_of_plain_scores_says_what_it_cannot_say(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    file = tmp_path / "scores.npz"
    mated = np.arange(400) % 4 == 0
    np.savez(file, score=generator.normal(size=400) + 3 * mated, mated=mated)
    found = evaluate_scores(file)
    path = tmp_path / "report.html"
    write_report(path, found, provenance([], [file], seed=0))
    html = path.read_text(encoding="utf-8")
    parsed = Page(html)
    assert len(parsed.attributes["img"]) == 3  # no reliability, no searches, no prints
    assert "scale of their own" in html
    assert any(
        "too narrow if a subject occurs in more than one comparison" in text for text in parsed.text["li"]
    )


def test_summary_tells_good_from_bad(findings: Findings) -> None:
    def text(**changes: object) -> str:
        return " ".join(sentences(replace(findings, **changes)))  # type: ignore[arg-type]

    assert "another calibration would hardly lower it" in text(cllr=findings.min_cllr)
    assert "before you rely on the scores" in text(cllr=findings.min_cllr + 0.2)
    assert "Every template could be read" not in text()
    assert "intervals are wide" in text()
    assert "intervals are wide" not in text(subjects=1000)


@pytest.mark.parametrize(
    ("rate", "shown"),
    [
        (0.0, "0"),
        (1.0, "100"),
        (0.5, "50.00"),
        (0.0012345, "0.12"),
        (0.00012345, "0.012"),
        (1.2e-7, "0.000012"),
    ],
)
def test_rates_show_the_digits_that_count(rate: float, shown: str) -> None:
    assert percent(rate) == f"{shown}\xa0%"


def test_rates_asked_for_are_short() -> None:
    assert [wanted(rate) for rate in (0.1, 0.01, 1e-6)] == ["10\xa0%", "1\xa0%", "0.0001\xa0%"]


def test_report_names_the_extra_it_needs() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from abis.errors import AbisError\n"
        "from abis.evaluation.plots import drawing\n"
        "try:\n    drawing().__enter__()\nexcept AbisError as error: print(error)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "pip install abis[report]" in output


# ------------------------------------------------------------------------------------------ reliability


def llrs(distance: float, *, scale: float = 1.0, count: int = 4000, subjects: int = 200) -> Summary:
    """Summary of scores of normal distributions, as likelihood ratios; at ``scale`` 1 they are calibrated."""
    generator = np.random.default_rng(0)
    probe = generator.integers(subjects, size=count).astype(np.int32)
    mated = np.arange(count) % 2 == 0
    reference = np.where(mated, probe, (probe + generator.integers(1, subjects, size=count)) % subjects)
    raw = generator.normal(size=count) + distance * mated
    llr = scale * (distance * raw - distance**2 / 2) / np.log(10)
    return summarise(Scores(llr, probe, reference.astype(np.int32)), promises=promises(shipped("embedding")))


def test_calibrated_scores_agree_with_what_is_observed() -> None:
    measured = llrs(2.0).reliability
    assert measured is not None
    assert (measured.mated + measured.non_mated).sum() == 4000
    assert (measured.lowest <= measured.highest).all()
    assert (measured.lowest[1:] > measured.highest[:-1]).all()
    both = np.isfinite(measured.observed)
    assert (measured.low[both] <= measured.observed[both]).all()
    assert (measured.observed[both] <= measured.high[both]).all()
    # Ideal claims: an interval of 95 % misses one bin in twenty.
    assert (measured.excess == 0).mean() >= 0.85


@pytest.mark.parametrize(("scale", "sign"), [(3.0, -1), (0.3, 1)])
def test_overstated_and_understated_evidence_is_told_apart(scale: float, sign: int) -> None:
    measured = llrs(2.0, scale=scale).reliability
    assert measured is not None
    high = measured.lowest > 0
    assert (sign * measured.excess[high] >= 0).all()
    assert (sign * measured.excess[high] > 0.3).any()
    low = measured.highest < 0
    assert (sign * measured.excess[low] <= 0).all()


def test_bins_of_one_kind_have_one_bound() -> None:
    measured = llrs(5.0).reliability
    assert measured is not None
    only_mated, only_non_mated = measured.non_mated == 0, measured.mated == 0
    assert only_mated.any()
    assert only_non_mated.any()
    assert np.isnan(measured.observed[only_mated | only_non_mated]).all()
    assert np.isposinf(measured.high[only_mated]).all()
    assert np.isneginf(measured.low[only_non_mated]).all()


def test_the_sentence_on_reliability_agrees_with_its_figure(findings: Findings) -> None:
    """A low Cllr alone does not make a calibration good: scores may be far from what is observed."""
    wrong = llrs(2.0, scale=3.0)
    assert wrong.reliability is not None
    protocols = (replace(findings.protocols[0], summary=wrong),)
    found = replace(findings, protocols=protocols, cllr=0.3, min_cllr=0.3, identification=None, discard=None)
    off = wrong.reliability.excess != 0
    (sentence,) = (text for text in sentences(found) if "bins of scores" in text)
    assert sentence.startswith(f"In {int((~off).sum())} of {len(off)} bins of scores")
    assert "weaker than claimed" in sentence
    figure = reliability(found, wrong.reliability)
    assert figure.svg.count("differs") >= 1
    right = llrs(2.0)
    assert right.reliability is not None
    agreed = only(right.reliability, right.reliability.excess == 0)
    summary = replace(right, reliability=agreed)
    found = replace(found, protocols=(replace(findings.protocols[0], summary=summary),))
    assert any("In each of" in text for text in sentences(found))
    assert "differs" not in reliability(found, agreed).svg


def only(measured: Reliability, chosen: npt.NDArray[np.bool_]) -> Reliability:
    """The chosen bins."""
    return Reliability(*(getattr(measured, field.name)[chosen] for field in fields(measured)))


# --------------------------------------------------------------------------------------- what the subjects are


def test_faces_are_people_and_irises_are_eyes(tmp_path: Path) -> None:
    for kind, template in (
        ("people", face),
        ("eyes", lambda eye, capture: code(eye, flips=0.1, capture=capture)),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        for person in range(4):
            for image in range(3):
                content = write([template(person, image)], Format.NATIVE)
                (folder / f"{person}_{image}.abis").write_bytes(content)
        found = evaluate_folder(folder).findings()
        assert found.unit == kind
        text = " ".join([*sentences(found), str(found), page(found, provenance([], [], seed=0))])
        assert f"of 4 {kind}" in text
        assert f"bootstrap over {kind}" in text
        assert "finger" not in text
        assert found.figures()[kind] == 4


# ----------------------------------------------------------------------------------------------- images


def test_images_stand_beside_the_worst_pairs(tmp_path: Path) -> None:
    """Also images that were extracted elsewhere: what counts is that the file is an image."""
    images = pytest.importorskip("abis.extraction.images", reason="needs abis[extraction]")
    folder = tmp_path / "portraits"
    folder.mkdir()
    templates = {}
    for person in range(3):
        for image in range(2):
            file = folder / f"{person}_{image}.png"
            file.write_bytes(images.as_png(np.full((600, 20), 40 * person + image, np.uint8)))
            templates[file] = face(person, image)
    found = evaluate_folder(folder, read=lambda file: (templates[file],)).findings()
    parsed = Page(page(found, provenance([], [], seed=0)))
    pictures = [image for image in parsed.attributes["img"] if "png" in (image["src"] or "")]
    assert len(pictures) == 2 * len(found.worst)
    assert {image["alt"] for image in pictures} >= {"Image of 0_0.", "Image of 2_1."}
    assert all(len(image["src"] or "") < 10_000 for image in pictures)
    (folder / "0_0.png").unlink()  # gone, or no image any more: the pair is listed in words
    parsed = Page(page(found, provenance([], [], seed=0)))
    assert any("0_0" in row[:2] for row in parsed.table("probe"))


# ---------------------------------------------------------------------------------------- plots, JSON, paper


def test_curves_of_several_systems_share_a_plot(findings: Findings) -> None:
    generator = np.random.default_rng(0)
    other = ErrorRates(np.sort(generator.normal(size=300) + 2), np.sort(generator.normal(size=900)))
    axes = plot_det([findings, other], names=["ours", "theirs"])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        f"ours, EER {100 * findings.main.eer.value:.2f} %",
        f"theirs, EER {100 * other.eer:.2f} %",
    ]
    assert axes.get_xlim() == (0.5 / 900, 1)
    assert plot_det([other], axes=axes) is axes
    assert findings.identification is not None
    axes = plot_cmc([findings, findings.identification], names=["a", "b"])
    assert len(axes.get_legend().get_texts()) == 2
    assert axes.get_ylim()[1] > 100
    with pytest.raises(ValueError, match="names is None; expected one name for each"):
        plot_det([other, other])
    with pytest.raises(ValueError, match="1 names for 2 systems"):
        plot_det([other, other], names=["a"])
    with pytest.raises(ValueError, match="no systems"):
        plot_cmc([])
    with pytest.raises(ValueError, match=r"has no 1:N searches"):
        plot_cmc([replace(findings, identification=None)])


def test_json_holds_the_points_of_the_curves(findings: Findings) -> None:
    figures: Any = json.loads(json.dumps(findings.figures(), allow_nan=False))
    det = figures["all_against_all"]["det"]
    curve = findings.main.rates.det()
    points = set(
        zip(curve.threshold.tolist(), (100 * curve.fmr).tolist(), (100 * curve.fnmr).tolist(), strict=True)
    )
    assert set(zip(*det.values(), strict=True)) <= points
    # Every FMR with few false matches is there, and the ends.
    few = {100 * count / findings.main.non_mated for count in range(1, 20)} & {point[1] for point in points}
    assert few <= set(det["fmr_percent"])
    main = findings.main
    assert det["fmr_percent"][0] == pytest.approx(100 * (1 - main.non_mated_failed / main.non_mated))
    assert figures["identification"]["det"].keys() == {"threshold", "fpir_percent", "fnir_percent"}
    bins = figures["all_against_all"]["reliability"]
    assert sum(one["mated"] for one in bins) == findings.main.mated - findings.main.mated_failed


def test_the_report_is_written_as_pdf_and_png(findings: Findings, tmp_path: Path) -> None:
    try:
        import weasyprint  # noqa: F401, PLC0415
    except (ImportError, OSError) as error:
        pytest.skip(f"no PDF: {error}")
    import PIL.Image  # noqa: PLC0415
    import pypdfium2  # noqa: PLC0415

    source = provenance(["abis", "evaluate"], [], seed=0)
    for name in ("report.pdf", "report.png"):
        write_report(tmp_path / name, findings, source)
    document = pypdfium2.PdfDocument(tmp_path / "report.pdf")
    text = "".join(document[number].get_textpage().get_text_bounded() for number in range(len(document)))
    assert "Evaluation of few <prints>" in text
    assert "FPIR among 50,000,000" in " ".join(text.split())
    assert f"{len(document)} / {len(document)}" in text  # numbers of pages
    with PIL.Image.open(tmp_path / "report.png") as picture:
        assert picture.size == (1191, len(document) * 1684)  # A4 at 144 dots an inch
    document.close()


def test_other_endings_are_refused_before_the_work(findings: Findings, tmp_path: Path) -> None:
    with pytest.raises(AbisError, match=r"report\.doc: the ending is '\.doc'; expected \.html, \.pdf, \.png"):
        write_report(tmp_path / "report.doc", findings, provenance([], [], seed=0))
    result = run("evaluate", tmp_path, "--report", tmp_path / "report.doc")
    assert result.exit_code == 2
    assert "the ending is '.doc'" in result.stderr
