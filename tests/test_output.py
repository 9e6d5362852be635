# SPDX-License-Identifier: Apache-2.0
"""Nothing that comes from a gallery or a file acts on a terminal, a log, or a spreadsheet."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from people import face
from shell import run

import abis.cli
from abis.gallery import Gallery
from abis.store import Status, Store, StoredEnrollment
from abis.store.stored_form import encoded
from abis.text import SafeCsv, has_control_characters, json_line, printable_lines, unescaped_cell

EVIL = "a\x1b]0;title\x07\x1b[2J\r\n[red]b\x9b2J\u202e\u2028c"
"""An escape sequence, a title, a line break, markup of Rich, and a turn of the text's direction."""

HARMLESS = {"\n"}


def acts(text: str) -> bool:
    """Whether a text holds a character that a terminal would act on."""
    return any(not c.isprintable() and c not in HARMLESS for c in text)


@pytest.fixture
def old_gallery(tmp_path: Path) -> str:
    """A gallery of an abis before 0.2, which took control characters in ids."""
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    with store.writing() as transaction:
        transaction.enroll([StoredEnrollment(EVIL, EVIL, encoded([face(1)]), [EVIL])])
        transaction.enroll([StoredEnrollment("[/red]", None, encoded([face(2)]))])
        transaction.set_status(transaction.key_of(EVIL), Status.LOCKED, EVIL, transaction.now)
    store.close()
    return str(tmp_path)


@pytest.mark.parametrize("as_json", [[], ["--json"]])
def test_commands_print_ids_escaped(old_gallery: str, tmp_path: Path, as_json: list[str]) -> None:
    from abis.formats import native  # noqa: PLC0415

    probe = tmp_path / "probe.abis"
    probe.write_bytes(native.write(face(1)))
    for command in (
        ["identify", old_gallery, probe],
        ["subject", old_gallery, EVIL],
        ["audit", "show", old_gallery],
        ["check", old_gallery],
        ["verify", old_gallery, EVIL, probe],
        ["info", old_gallery],
    ):
        result = run(*command, *as_json)
        assert result.exit_code in (0, 3), result.output
        assert not acts(result.output), (command, result.output)
        assert "\nb" not in result.output
    assert not acts(run("erase", old_gallery, EVIL).output)


def test_errors_name_ids_and_files_escaped(old_gallery: str, tmp_path: Path) -> None:
    for command in (
        ["subject", old_gallery, "\x1b[2J none"],
        ["remove", old_gallery, "\x1b[2J none"],
        ["identify", old_gallery, tmp_path / "\x1b[2J none"],
        ["info", str(tmp_path / "\x1b[2J none")],
    ):
        result = run(*command)
        assert result.exit_code == 2
        assert not acts(result.output), (command, result.output)


def test_only_one_module_prints() -> None:
    """All others print by it, so that what they print is escaped."""
    folder = Path(abis.cli.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"print", "typer.echo", "sys.stdout.write"} or path.name == "console.py", (
                    path
                )
                assert not name.endswith("Console") or path.name == "console.py", path


def test_only_one_class_writes_csv() -> None:
    folder = Path(abis.__file__).parent
    found = [path for path in folder.rglob("*.py") if re.search("csv.writer|DictWriter", path.read_text())]
    assert [path.name for path in found] == ["text.py"]


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_every_text_comes_back_from_csv_and_none_is_a_formula(cells: list[str]) -> None:
    stream = io.StringIO(newline="")
    SafeCsv(stream).row(cells)
    (row,) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)
    assert [unescaped_cell(cell) for cell in row] == cells


def test_numbers_are_passed_on_where_asked_for() -> None:
    stream = io.StringIO()
    SafeCsv(stream, numbers=True).row(["-3.20", "+1e-5", "-1+1", "-a", -3.5, None])
    assert stream.getvalue() == "-3.20,+1e-5,'-1+1,'-a,-3.5,\n"


@given(st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=3))
def test_json_is_printable_and_reads_back(value: dict[str, str]) -> None:
    line = json_line(value)
    assert json.loads(line) == value
    assert not has_control_characters(line)


def test_lines_stay_lines() -> None:
    assert printable_lines("a\nb\x1b\r\u2029") == "a\nb\\x1b\\r\\u2029"


def test_fused_scores_hold_no_formula(tmp_path: Path) -> None:
    source = tmp_path / "scores.csv"
    rows = ["name,mated,one,two"]
    for n in range(200):
        mated = n % 2
        rows.append(f"=1+{n},{mated},{mated * 3 + (n % 7) / 7:.3f},{mated * 2 - (n % 5) / 5:.3f}")
    source.write_text("\n".join(rows) + "\n")
    fusion, fused = tmp_path / "fusion.json", tmp_path / "fused.csv"
    result = run("fuse", source, "--columns", "one,two", "-o", fusion)
    if result.exit_code:
        pytest.skip(f"fusion of this table is refused: {result.output}")
    run("fuse", source, "--fusion", fusion, "-o", fused, code=0)
    with fused.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [unescaped_cell(row["name"]) for row in written] == [f"=1+{n}" for n in range(200)]
    assert all(row["name"].startswith("'=") for row in written)
    assert {row["two"] for row in written} == {line.split(",")[3] for line in rows[1:]}


def test_logs_of_the_service_hold_no_control_character() -> None:
    logs = pytest.importorskip("abis.service.logs")
    record = logging.LogRecord("abis", logging.INFO, "", 0, "caller %s", (EVIL,), None)
    line = logs._Json().format(record)
    assert json.loads(line)["message"] == f"caller {EVIL}"
    assert not acts(line)


def test_a_gallery_in_a_folder_with_markup_in_its_name_is_shown(tmp_path: Path) -> None:
    folder = tmp_path / "[red]"
    with Gallery.open(folder, load=False) as gallery:
        gallery.enroll("a", [face(1)])
    assert "[red]" in run("info", folder, code=0).output
