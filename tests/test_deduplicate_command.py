# SPDX-License-Identifier: Apache-2.0
"""``abis deduplicate``: its files, its exit codes, interruption and resumption, and the page for adjudication."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import LEFT, RIGHT, finger, processes
from shell import run

from abis.deduplication import DuplicatePair, Duplicates, FoundPair, clustered, find_pairs, job
from abis.deduplication.decisions import DecidedPair, Decision, Decisions, merges
from abis.deduplication.page import adjudication_page
from abis.deduplication.writing import write_duplicates
from abis.errors import AbisError
from abis.gallery import Gallery
from abis.gallery.internals import Internals
from abis.index.sizes import WorkSizes
from abis.scoring.fusion import Evidence
from abis.store import Enrollment
from abis.template import Position, Template
from abis.template.modality import modality_at

NAMES = {1: "p1", 4: "Đặng; \"quoted\", 'too'", 7: "<script>alert(1)</script>&amp;"}
"""Of who comes again, and is then called the same with a star before it."""


def both(person: int, impression: int = 0) -> list[Template]:
    return [finger(person, RIGHT, impression), finger(person, LEFT, impression)]


def name(person: int) -> str:
    return NAMES.get(person, f"p{person}")


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Nine people; three are enrolled again, the last one with one finger only."""
    path = tmp_path / "gallery"
    with Gallery.open(path) as opened:
        opened.enroll_many(Enrollment(name(n), both(n), "<first>") for n in range(9))
        opened.enroll_many(Enrollment(f"*{name(n)}", both(n, 1)[: 1 if n == 7 else 2]) for n in NAMES)
    return path


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Internals, "sizes", WorkSizes(tile=8, portion=3))


def found(gallery: Path) -> Duplicates:
    with Gallery.open(gallery) as opened:
        return opened.deduplicate(threshold=3.0)


def command(gallery: Path, output: Path, *more: object) -> tuple[object, ...]:
    return ("deduplicate", gallery, "-o", output, "--threshold", 3, *more)


# ------------------------------------------------------------------------------------------- files


def read_json(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())["pairs"]
    return rows


def read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra abis[parquet] is not installed")
    rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return rows


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="") as stream:
        rows: list[dict[str, Any]] = list(csv.DictReader(stream))
    for row in rows:
        for column in ("cluster", "family", "other_family"):
            row[column] = int(row[column])
        for column in ("score", "threshold"):
            row[column] = float(row[column])
        row["weak"] = {"yes": True, "no": False}[row["weak"]]
        positions = [p.name for p in Position if p.name in row]
        row["evidence"] = {p: float(text) for p in positions if (text := row.pop(p))}
    return rows


READERS = {"json": read_json, "csv": read_csv, "parquet": read_parquet}


@pytest.fixture(params=sorted(READERS))
def ending(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow", reason="the extra abis[parquet] is not installed")
    return str(request.param)


def test_a_file_says_what_was_found(gallery: Path, tmp_path: Path, ending: str) -> None:
    output = tmp_path / f"duplicates.{ending}"
    result = run(*command(gallery, output))
    assert (result.exit_code, result.stdout.startswith("3 pairs in 3 clusters; 12 of 12 ")) == (0, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name, "gallery"]
    assert_file_of(found(gallery), output)
    content = output.read_bytes()
    assert run(*command(gallery, output)).exit_code == 0
    assert output.read_bytes() == content


def assert_file_of(expected: Duplicates, path: Path) -> None:
    rows = READERS[path.suffix[1:]](path)
    assert [(row["subject_id"], row["other_id"]) for row in rows] == [
        (pair.subject_id, pair.other_id) for pair in expected
    ]
    for row, pair in zip(rows, expected, strict=True):
        assert (row["score"], row["threshold"], row["weak"]) == (pair.score, pair.threshold, pair.is_weak)
        assert row["cluster"] == pair.cluster
        assert (row["family"] != row["other_family"]) == pair.is_weak
        if isinstance(row["evidence"], dict):
            assert row["evidence"] == {e.position.name: e.score for e in pair.evidence}
        else:
            assert [tuple(one.values()) for one in row["evidence"]] == [
                (e.position.name, e.score, e.raw, e.encounter_id, e.reference_position.name)
                for e in pair.evidence
            ]


def chain() -> Duplicates:
    """Two families of three that one pair welds, and nothing else."""
    evidence = (Evidence(Position.RIGHT_INDEX, 0.1 + 0.2, 1 / 3, "e\n1", Position.UNKNOWN_FINGER),)
    links = [(a, b) for family in ((1, 2, 3), (4, 5, 6)) for a in family for b in family if a < b]
    pairs = [FoundPair(b, a, 9.0 + a / 7, 3.0, evidence) for a, b in [*links, (3, 4)]]
    clusters = clustered(pairs, {number: f'"s{number}",\n' for number in range(7)})
    return Duplicates(clusters, gallery_size=6, searched=6, fpir=None, change=1)


def nothing() -> Duplicates:
    return Duplicates((), gallery_size=0, searched=0, fpir=1e-4, change=0)


@pytest.mark.parametrize("made", [chain, nothing])
def test_every_figure_comes_back_from_a_file(
    tmp_path: Path, ending: str, made: Callable[[], Duplicates]
) -> None:
    path = tmp_path / f"any.{ending.upper()}"
    write_duplicates(made(), path)
    assert_file_of(made(), path.rename(tmp_path / f"any.{ending}"))


def test_the_command_speaks_json(gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "duplicates.csv"
    said = json.loads(run(*command(gallery, output, "--json")).stdout)
    assert said == {
        "pairs": 3,
        "clusters": 3,
        "subjects": 12,
        "searched": 12,
        "change": found(gallery).change,
        "not_compared": 0,
        "output": str(output),
    }


# ------------------------------------------------------------------------------- exit codes and stops


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["gallery", "-o", "x.txt"], "expected a name that ends in"),
        (["gallery", "-o", "x.csv", "--fpir", "1e-3", "--threshold", "3"], "not both"),
        (["gallery", "-o", "x.csv", "--fpir", "7"], "fpir"),
        (["gallery", "-o", "absent/x.csv"], "cannot be written"),
        (["absent", "-o", "x.csv"], "there is no gallery here"),
    ],
)
def test_what_cannot_be_done_is_said_and_ends_with_2(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], complaint: str
) -> None:
    monkeypatch.chdir(gallery.parent)
    monkeypatch.setenv("COLUMNS", "200")
    result = run("deduplicate", *arguments)
    assert (result.exit_code, complaint in result.stderr) == (2, True), result.stderr
    assert [path.name for path in gallery.parent.iterdir()] == ["gallery"]


def test_parquet_without_pyarrow_is_refused_before_the_work(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    result = run(*command(gallery, tmp_path / "x.parquet"))
    assert (result.exit_code, "pip install abis[parquet]" in result.stderr) == (2, True)


def test_since_looks_at_what_is_new(gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "new.json"
    result = run(*command(gallery, output))
    before = result.stdout.split("--since ")[1].split()[0]
    with Gallery.open(gallery) as opened:
        opened.enroll("late", both(2, 1))
    assert run(*command(gallery, output, "--since", before)).exit_code == 0
    assert [(row["subject_id"], row["other_id"]) for row in read_json(output)] == [("p2", "late")]
    assert json.loads(output.read_text())["searched"] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_job_that_is_stopped_goes_on_with_the_same_command(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    output, page = tmp_path / "duplicates.json", tmp_path / "page.html"
    assert run(*command(gallery, output, "--html", page)).exit_code == 0
    whole = output.read_bytes(), page.read_bytes()
    output.unlink()
    page.unlink()
    with monkeypatch.context() as patch:
        stop_after(2, number, patch.setattr)
        result = run(*command(gallery, output, "--html", page))
    assert (result.exit_code, "run the same command again" in result.stderr) == (code, True)
    assert not output.exists()
    assert (tmp_path / "duplicates.json.checkpoint").exists()
    result = run(*command(gallery, output, "--html", page))
    assert (result.exit_code, "going on with the job" in result.stderr) == (0, True)
    assert (output.read_bytes(), page.read_bytes()) == whole
    assert not (tmp_path / "duplicates.json.checkpoint").exists()


def stop_after(portions: int, number: int, replace: Callable[[object, str, object], None]) -> None:
    """Have the process send itself a signal once the given number of portions is done."""

    def then_stop(*args: Any, **options: Any) -> list[FoundPair]:
        nonlocal portions
        if portions == 0:
            os.kill(os.getpid(), number)
        portions -= 1
        return find_pairs(*args, **options)

    replace(job, "find_pairs", then_stop)


def deduplicate_and_die(gallery: Path, output: Path, portions: int) -> None:
    Internals.sizes = WorkSizes(tile=8, portion=3)
    stop_after(portions, signal.SIGKILL, setattr)
    run(*command(gallery, output))


def test_a_job_that_is_killed_goes_on_with_the_same_command(gallery: Path, tmp_path: Path) -> None:
    output = tmp_path / "duplicates.csv"
    assert run(*command(gallery, output)).exit_code == 0
    whole = output.read_bytes()
    output.unlink()
    for portions in (1, 2):
        process = processes().Process(target=deduplicate_and_die, args=(gallery, output, portions))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not output.exists()
    assert run(*command(gallery, output)).exit_code == 0
    assert output.read_bytes() == whole


def test_another_question_is_refused_while_a_job_is_unfinished(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "duplicates.json"
    with monkeypatch.context() as patch:
        stop_after(1, signal.SIGINT, patch.setattr)
        assert run(*command(gallery, output)).exit_code == 130
    result = run("deduplicate", gallery, "-o", output, "--threshold", 4)
    assert (result.exit_code, "threshold 3.0, now 4.0" in result.stderr) == (2, True)


# ------------------------------------------------------------------------------------------ the page


class Page(HTMLParser):
    """What of a page matters here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


@pytest.fixture
def page(gallery: Path, tmp_path: Path) -> str:
    path = tmp_path / "page.html"
    assert run(*command(gallery, tmp_path / "x.csv", "--html", path)).exit_code == 0
    return path.read_text()


def test_the_page_stands_alone_and_is_well_formed(page: str) -> None:
    read = Page(page)
    assert read.open == []
    assert read.tags.count("script") == 1
    assert not {"link", "img", "iframe", "image", "use", "object"} & set(read.tags)
    names = {name for name, _ in read.attributes}
    assert not {"src", "href", "xlink:href", "action"} & names
    assert not {name for name in names if name.startswith("on")}
    assert "url(" not in page
    assert "@import" not in page


def test_names_are_shown_as_they_are_and_mean_nothing(page: str) -> None:
    text = " ".join(Page(page).text)
    for person in NAMES:
        assert name(person) in text
        assert f"*{name(person)}" in text
    assert page.count("<script") == 1  # the page's own


def decide(page: str, decisions: Callable[[str, str], str | None], path: Path) -> Path:
    """Save what the page's script saves when these choices are clicked."""
    articles = [dict(own) for tag, own in zip_tags(page) if tag == "article"]
    choices = [dict(own)["value"] for tag, own in zip_tags(page) if tag == "input"]
    assert choices == ["one person", "two people", "cannot say"] * len(articles)
    pairs = [
        {"subject_id": own["data-subject"], "other_id": own["data-other"], "decision": decision}
        for own in articles
        if (decision := decisions(str(own["data-subject"]), str(own["data-other"]))) is not None
    ]
    (change,) = re.findall(r"change: (\d+), pairs: decided\(\)", page)
    path.write_text(json.dumps({"abis_decisions": 1, "change": int(change), "pairs": pairs}))
    return path


def zip_tags(page: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    found: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    Tags().feed(page)
    return found


def test_each_pair_has_choices_of_its_own(page: str) -> None:
    names = [dict(own)["name"] for tag, own in zip_tags(page) if tag == "input"]
    assert len(set(names)) == page.count("<article")
    assert all(names.count(name) == 3 for name in names)


def test_decisions_are_merged_and_not_listed_again(gallery: Path, page: str, tmp_path: Path) -> None:
    apart = name(4)
    saved = decide(
        page, lambda one, _: "two people" if one == apart else "one person", tmp_path / "decisions.json"
    )
    for _ in range(2):  # the second finds nothing left to do
        result = run("merge", gallery, "--from", saved)
        assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.count("merged already") == 2
    with Gallery.open(gallery) as opened:
        assert set(opened) == {name(n) for n in range(9)} | {f"*{apart}"}
        assert len(opened.subject(name(1)).encounters) == 2
    output = tmp_path / "again.json"
    assert run(*command(gallery, output)).exit_code == 0
    assert [(row["subject_id"], row["other_id"]) for row in read_json(output)] == [(apart, f"*{apart}")]
    assert run(*command(gallery, output, "--decided", saved)).exit_code == 0
    assert read_json(output) == []


def test_decisions_that_contradict_each_other_merge_nothing(gallery: Path, tmp_path: Path) -> None:
    one, two = Decision.ONE_PERSON, Decision.TWO_PEOPLE
    pairs = [DecidedPair("p0", "p2", one), DecidedPair("p3", "p2", one), DecidedPair("p0", "p3", two)]
    path = tmp_path / "decisions.json"
    path.write_bytes(msgspec.json.encode(Decisions(1, 5, tuple(pairs))))
    result = run("merge", gallery, "--from", path)
    assert (result.exit_code, "'p0' and 'p3' were decided to be two people" in result.stderr) == (2, True)
    with Gallery.open(gallery) as opened:
        assert len(opened) == 12


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from(Decision)), max_size=20))
def test_merges_make_one_subject_of_each_person(drawn: list[tuple[int, int, Decision]]) -> None:
    pairs = [DecidedPair(str(a), str(b), decision) for a, b, decision in drawn if a != b]
    links = [{p.subject_id, p.other_id} for p in pairs if p.decision == Decision.ONE_PERSON]
    people: list[set[str]] = []
    for link in links:
        joined = [person for person in people if person & link]
        people = [person for person in people if not person & link] + [link.union(*joined)]
    apart = [p for p in pairs if p.decision == Decision.TWO_PEOPLE]
    if any({p.subject_id, p.other_id} <= person for p in apart for person in people):
        with pytest.raises(AbisError, match="change a decision"):
            merges(pairs)
        return
    found = merges(pairs)
    assert len(found) == sum(len(person) - 1 for person in people)
    for person in people:
        targets = {target for source, target in found if source in person}
        assert len(targets) == 1
        assert targets | {source for source, _ in found if source in person} == person


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"abis_decisions":2,"change":1,"pairs":[]}',
        b'{"abis_decisions":1,"change":1,"pairs":[{"subject_id":"a","other_id":"b","decision":"maybe"}]}',
        b'{"abis_decisions":1,"change":1,"pairs":[{"subject_id":"a","other_id":"","decision":"one person"}]}',
        b'{"abis_decisions":1,"change":1,"pairs":[],"more":1}',
    ],
)
def test_what_is_no_file_of_decisions_is_refused(gallery: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "decisions.json"
    path.write_bytes(content)
    for arguments in (
        ("merge", gallery, "--from", path),
        (*command(gallery, tmp_path / "a.csv"), "--decided", path),
    ):
        result = run(*arguments)
        assert (result.exit_code, "not a file of decisions" in result.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [(), ("a",), ("a", "b", "--from", "decisions.json")])
def test_merge_takes_two_subjects_or_a_file(gallery: Path, arguments: tuple[str, ...]) -> None:
    result = run("merge", gallery, *arguments)
    assert (result.exit_code, "--from FILE" in result.stderr) == (2, True)


def drawn(pair: DuplicatePair, gallery: Gallery) -> Iterator[str]:
    """The titles of its drawings."""
    probes = [own.template for own in gallery.internals.store.references(pair.other_id)]
    for e in pair.evidence:
        (probe,) = (t for t in probes if t.position == e.position)
        (reference,) = (
            own.template
            for own in gallery.internals.store.references(pair.subject_id)
            if own.template.position == e.reference_position
        )
        explained = modality_at(e.position).explained
        assert explained is not None
        summary = explained(reference, probe).summary
        assert "minutiae paired" in summary
        yield f"{e.position.name.replace('_', ' ').lower()}: {summary}"


def test_the_page_draws_what_spoke_for_each_pair(gallery: Path, page: str) -> None:
    with Gallery.open(gallery) as opened:
        pairs = opened.deduplicate(threshold=3.0)
        titles = [title for pair in pairs for title in drawn(pair, opened)]
    assert len(titles) == 5
    assert Page(page).tags.count("svg") == 5
    at = 0
    for title in titles:  # in this order
        at = page.index(title, at) + 1
    for pair in pairs:
        assert f'<th class="n">{pair.score:.1f}</th>' in page


def test_the_page_says_what_it_leaves_out_and_what_is_weak(gallery: Path) -> None:
    with Gallery.open(gallery) as opened:
        whole = adjudication_page(chain(), opened.internals.store, title="<&>")
        cut = adjudication_page(chain(), opened.internals.store, title="<&>", most=2)
    assert (whole.count("<article"), cut.count("<article")) == (7, 2)
    assert "5 further pairs are not on this page" in cut
    assert "further pairs" not in whole
    assert whole.count("weak: connects two groups") == 1
    assert "<title>&lt;&amp;&gt;</title>" in whole
    assert "<svg" not in whole  # who is gone by now is not drawn


# ---------------------------------------------------------------------------------------- clusters


@pytest.mark.parametrize("more", [("--since", 3), ("--html", "page.html")])
def test_what_a_cluster_cannot_give_is_refused(tmp_path: Path, more: tuple[object, ...]) -> None:
    (tmp_path / "cluster.json").write_text("{}")
    result = run(*command(tmp_path, tmp_path / "x.csv", *more))
    assert (
        result.exit_code,
        f"{more[0]} does not work on a cluster" in result.stderr.replace("\n", " "),
    ) == (2, True)
