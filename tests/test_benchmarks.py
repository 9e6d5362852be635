# SPDX-License-Identifier: Apache-2.0
"""A benchmark without its data leaves out that part, writes its figures, and exits with 0."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import MutableMapping
from pathlib import Path

import pytest

from benchmarks.lib.common import ROOT, DataMissingError, optional, public_data, write
from benchmarks.lib.servers import server

WITHOUT_DATA = {
    "accuracy.calibration": ["--sizes"],
    "accuracy.check_leader": ["--pyfing", "missing.json"],
    "accuracy.extraction": [],
    "accuracy.fusion": [],
    "accuracy.impressions": [],
    "accuracy.indexing": [],
    "accuracy.public": [],
    "accuracy.tail": ["--references", "2000", "--probes", "400"],
    "accuracy.turned": [],
    "fitting.fit_calibration": [],
    "fitting.fit_comparator": [],
    "scale.cluster": ["--folder", "folder"],
    "scale.cuts": ["--folder", "folder", "--subjects", "10"],
    "scale.deduplication": ["--folder", "folder", "--parts", "lfw", "fvc"],
    "scale.scale": ["--folder", "folder", "--subjects", "10"],
    "speed.comparator": [],
    "speed.faces": [],
    "speed.finger_index": [],
}
"""Scripts that need public data, and arguments with which the rest of them takes little time."""


NEEDS = {
    "accuracy.calibration": "wsq",
    "accuracy.check_leader": "wsq",
    "accuracy.extraction": "wsq",
    "accuracy.indexing": "wsq",
    "accuracy.impressions": "wsq",
    "accuracy.tail": "wsq",
    "fitting.fit_calibration": "wsq",
    "fitting.fit_comparator": "wsq",
    "scale.cluster": "ray",
    "scale.scale": "wsq",
    "speed.finger_index": "wsq",
}
"""A package of the extra of abis that a script needs: extraction or cluster."""

SLOW = {"accuracy.tail": pytest.mark.slow}  # its synthetic part needs no data


@pytest.mark.parametrize("script", [pytest.param(name, marks=SLOW.get(name, ())) for name in WITHOUT_DATA])
def test_a_benchmark_without_its_data_still_writes_its_figures(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if script in NEEDS:
        pytest.importorskip(NEEDS[script], reason="an extra of abis is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABIS_DATA", str(tmp_path / "missing"))
    monkeypatch.setattr(sys, "argv", [script, "--json", "figures.json", *WITHOUT_DATA[script]])
    importlib.import_module(f"benchmarks.{script}").main()
    figures = json.loads(Path("figures.json").read_text())
    assert figures["software"].startswith("abis ")
    assert [name for name in figures if name.startswith("left_out_")]
    assert "left out: public data" in capsys.readouterr().err


def test_a_part_without_its_data_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures: MutableMapping[str, float | int | str] = {}
    with optional("faces", figures):
        raise DataMissingError("no faces")
    with optional("fingers", figures):
        figures["fingers"] = 10
    write(tmp_path / "figures.json", figures, seed=3)
    assert "faces left out: no faces" in capsys.readouterr().err
    written = json.loads((tmp_path / "figures.json").read_text())
    assert (written["left_out_faces"], written["fingers"], written["seed"]) == ("no faces", 10, 3)


def test_other_errors_end_a_benchmark() -> None:
    with pytest.raises(FileNotFoundError), optional("faces", {}):
        raise FileNotFoundError("broken")


def test_missing_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABIS_DATA", str(tmp_path))
    assert public_data() == tmp_path
    with pytest.raises(DataMissingError, match=r"scores/bssr1_set1 does not exist; set ABIS_DATA"):
        public_data("scores", "bssr1_set1")


def test_a_missing_database_server_is_missing_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.lib.servers.programs", lambda: None)
    with pytest.raises(DataMissingError, match="no PostgreSQL server"), server():
        pass


SCRIPTS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for path in (ROOT / "benchmarks").glob("[!l]*/*.py")
    if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_benchmark_says_what_it_does(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = pytest.importorskip(script, reason="an extra of abis is not installed", exc_type=ImportError)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert re.search(r"--(json|output) [A-Z]+", capsys.readouterr().out)


@pytest.mark.parametrize("call", [["benchmarks/scale/queueing.py"], ["-m", "benchmarks.scale.queueing"]])
def test_a_benchmark_runs_by_its_path_and_as_a_module(call: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, *call, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
