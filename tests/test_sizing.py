# SPDX-License-Identifier: Apache-2.0
"""Sizing: the constants, the plans that follow from them, and the command."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from abis.cli import app
from abis.errors import AbisError
from abis.sizing import (
    Demand,
    Distribution,
    Layout,
    Machine,
    Measurements,
    MeasurementSource,
    PerSubject,
    Plan,
    figures,
    plan,
    written,
)
from abis.sizing.measurements import KINDS
from abis.sizing.planning import BUSY, MEMORY
from abis.sizing.words import duration, size
from benchmarks.scale import sizing

SHIPPED = Measurements.load()
EVEN = Distribution.of_percentiles([0, 50, 99, 100], [0.7, 1.0, 1.3, 2.0])
MEASURED = Measurements(  # made up
    subjects=(10_000, 100_000, 1_000_000),
    median_s={
        "one_finger": (0.012, 0.03, 0.2),
        "two_fingers": (0.02, 0.05, 0.35),
        "face": (0.003, 0.005, 0.03),
        "two_fingers_face": (0.022, 0.055, 0.38),
    },
    spread=dict.fromkeys(KINDS, EVEN),
    jitter=dict.fromkeys(KINDS, Distribution.of_percentiles([0, 50, 100], [0.9, 1.0, 1.3])),
    busy_cores=2,
    busy_slowdown=1.1,
    memory_bytes=PerSubject(10, 900, 1_100),
    store_bytes=PerSubject(200, 300, 1_400),
    derived_bytes=PerSubject(10, 900, 1_100),
    enroll_s=PerSubject(2e-5, 5e-5, 5e-5),
    open_s=1e-5,
    build_s=1.5e-4,
    verify=EVEN.times(2e-3),
    verify_cpu_s=5e-4,
    log_bytes=100,
    import_s=1.5e-4,
    import_cores=2,
    sources=(MeasurementSource("scale.py", 1_000_000, "some CPU", 2, "avx512", "abis 0.1.0", "2026-11-28"),),
)
NATION = Demand(subjects=50_000_000, searches_per_second=10, verifications_per_second=100)


@pytest.fixture(scope="module")
def content() -> dict[str, object]:
    found: dict[str, object] = json.loads(sizing.OUTPUT.read_text())
    return found


@cache
def planned(demand: Demand, machine: Machine | None = None) -> Plan:
    return plan(demand, machine, MEASURED)


def test_the_constants_that_are_shipped_are_those_measured(content: dict[str, object]) -> None:
    made = sizing.constants(*(sizing.read(sizing.RESULTS / f"{name}.json") for name in sizing.SCRIPTS))
    assert content == json.loads(json.dumps(made)), "python benchmarks/scale/sizing.py"


def test_figures_of_galleries_of_some_kinds_tell_what_each_part_takes() -> None:
    subject, finger, face = 100, 800, 1_100
    found = sizing.amounts(subject + finger, subject + face, subject + 2 * finger + face, whole=3_080)
    assert found == pytest.approx({"subject": 110, "finger": 880, "face": 1_210})


@pytest.mark.parametrize("subjects", SHIPPED.subjects)
def test_what_was_measured_comes_out_as_it_was_measured(subjects: int) -> None:
    at = MEASURED.subjects.index(subjects)
    for kind, shown in (
        ("one_finger", (1, 0)),
        ("two_fingers", (2, 0)),
        ("face", (0, 1)),
        ("two_fingers_face", (2, 1)),
    ):
        assert MEASURED.search_s(subjects, *shown) == pytest.approx(MEASURED.median_s[kind][at])
        assert MEASURED.kind(*shown) == kind


def test_time_and_bytes_grow_with_subjects_and_fingers() -> None:
    sizes = (1, 10_000, 50_000, 100_000, 1_000_000, 10_000_000)
    for fingers, faces in ((1, 0), (2, 0), (0, 1), (2, 1), (10, 1), (4, 0)):
        times = [MEASURED.search_s(n, fingers, faces) for n in sizes]
        assert times == sorted(times)
    assert MEASURED.search_s(10**6, 10, 1) > MEASURED.search_s(10**6, 4, 1) > MEASURED.search_s(10**6, 2, 1)
    assert PerSubject(1.0, 10.0, 100.0).of(2, 1) == 121


def test_beyond_the_largest_size_measured_the_last_line_goes_on() -> None:
    few, many = MEASURED.subjects[-2:]
    first, last = (MEASURED.search_s(n, 2, 1) for n in (few, many))
    assert MEASURED.search_s(2 * many - few, 2, 1) == pytest.approx(2 * last - first)


@pytest.mark.parametrize(
    "demand",
    [
        NATION,
        Demand(subjects=1),
        Demand(subjects=16_000_000, fingers=10, faces=1, searches_per_second=2, enrolments_per_second=2),
        Demand(subjects=100_000, fingers=0, searches_per_second=500, percentile=95, latency=0.5),
        Demand(subjects=5_000_000, fingers=1, faces=0, copies=2),
        Demand(subjects=50_000_000, searches_per_second=0, verifications_per_second=2_000),
    ],
    ids=str,
)
def test_a_plan_does_what_is_asked_with_one_machine_lost(demand: Demand) -> None:
    found = plan(demand, measured=MEASURED)
    layout = found.layout
    assert layout.machines >= 2
    assert layout.copies >= demand.copies
    assert found.one_lost.machines == layout.machines - 1
    assert found.whole.busy <= found.one_lost.busy <= BUSY
    assert found.one_lost.memory_bytes <= MEMORY * 1e9 * layout.machine.memory_gb
    assert found.one_lost.latency_s[demand.percentile] <= demand.latency
    assert found.whole.latency_s[50.0] < found.whole.latency_s[95.0] < found.whole.latency_s[99.0]
    assert layout.shards * layout.copies <= layout.machines * layout.search_cores
    assert layout.search_cores + layout.other_cores == layout.machine.cores
    if demand.verifications_per_second:
        served = (layout.machines - 1) * layout.other_cores
        assert demand.verifications_per_second * MEASURED.verify.mean <= BUSY * served


def test_one_machine_less_would_not_do() -> None:
    found = planned(NATION)
    for copies in (1, 2, 3):
        less = Layout(NATION, found.layout.machine, MEASURED, found.layout.machines - 1, copies)
        remaining = less.machines - 1
        busy = less.busy(remaining, NATION.all_searches_per_second)
        assert busy > BUSY or not less.has_room(remaining) or not less.is_quick(remaining)


def test_more_of_anything_takes_no_fewer_machines() -> None:
    machines = planned(NATION).layout.machines
    for more in (
        replace(NATION, searches_per_second=20),
        replace(NATION, fingers=4),
        replace(NATION, subjects=100_000_000),
        replace(NATION, enrolments_per_second=5),
        replace(NATION, latency=0.9 * planned(NATION).one_lost.latency_s[99.0]),
    ):
        assert planned(more).layout.machines > machines
    assert planned(NATION, Machine(cores=64, memory_gb=512)).layout.machines < machines


def test_small_memory_asks_for_more_machines() -> None:
    quiet = replace(NATION, searches_per_second=0.01, verifications_per_second=0, latency=100.0)
    needed = quiet.subjects * MEASURED.memory_bytes.of(2, 1)
    found = planned(quiet, Machine(cores=4, memory_gb=16)).layout.machines
    assert found == 1 + math.ceil(needed / (MEMORY * 16e9))


def test_what_cannot_be_is_an_error_that_says_so() -> None:
    with pytest.raises(
        AbisError, match=r"0.0001 s for 99 % of the searches cannot be met: they take 0\.\d+ s"
    ):
        planned(replace(NATION, latency=1e-4))
    with pytest.raises(AbisError, match="more than 10,000 machines"):
        planned(replace(NATION, subjects=10**11), Machine(memory_gb=1))
    for field, value in (("subjects", 0), ("fingers", 11), ("faces", 2), ("percentile", 100), ("latency", 0)):
        with pytest.raises(ValueError, match=f"{field} is {value}"):
            replace(NATION, **{field: value})
    with pytest.raises(ValueError, match="neither fingers nor faces"):
        Demand(subjects=1, fingers=0, faces=0)
    with pytest.raises(ValueError, match="cores is 1"):
        Machine(cores=1)


def test_what_is_beyond_the_measured_is_said() -> None:
    small = replace(
        MEASURED, subjects=(10_000, 20_000), median_s={k: v[:2] for k, v in MEASURED.median_s.items()}
    )
    for measured, demand, text in (
        (MEASURED, NATION, "lies between those of measured sizes"),
        (small, replace(NATION, latency=100, searches_per_second=0.001), "is larger than the measured ones"),
        (MEASURED, Demand(subjects=1_000), "is smaller than the measured ones"),
        (MEASURED, replace(NATION, fingers=10), "10 fingers and a face were not measured"),
    ):
        found = written(plan(demand, measured=measured))
        assert text in found
        for source in measured.sources:
            assert source.cpu in found
            assert source.date in found
    assert "were not measured" not in written(planned(NATION))


def test_a_file_of_constants_is_checked(tmp_path: Path, content: dict[str, object]) -> None:
    file = tmp_path / "own.json"
    file.write_text(json.dumps(content))
    assert Measurements.load(file).sources == SHIPPED.sources
    for change, message in (
        ({"version": 9}, "Invalid enum value 9"),
        ({"percent": [1, 2]}, "expected to ascend from 0 to 100"),
        ({"open_s": "soon"}, "Expected `float`, got `str`"),
        ({"search": {**content["search"], "subjects": [5]}}, "expected two or more"),  # type: ignore[dict-item]
    ):
        file.write_text(json.dumps({**content, **change}))
        with pytest.raises(AbisError, match=f"own.json: .*{message}"):
            Measurements.load(file)
    file.write_text(json.dumps({k: v for k, v in content.items() if k != "verify_s"}))
    with pytest.raises(
        AbisError,
        match=r"missing required field `verify_s`; expected the output of benchmarks/scale/sizing\.py",
    ):
        Measurements.load(file)
    file.write_text("no JSON")
    with pytest.raises(AbisError, match=r"own\.json: "):
        Measurements.load(file)


def test_the_command() -> None:
    asked = Demand(subjects=5_000_000, searches_per_second=2, verifications_per_second=100)
    command = ["size", "--subjects", "5_000_000", "--searches-per-second", "2"]
    command += ["--verifications-per-second", "100"]
    found = CliRunner().invoke(app, command)
    assert found.exit_code == 0
    assert found.output == written(plan(asked)) + "\n"
    for word in (
        "machines",
        "RAM",
        "disk",
        "one lost",
        "search, p99",
        "verification, p99",
        "Measured:",
        "Assumptions",
    ):
        assert word in found.output
    as_json = CliRunner().invoke(app, [*command, "--json"])
    assert json.loads(as_json.output) == json.loads(json.dumps(figures(plan(asked))))
    own = CliRunner().invoke(app, [*command, "--measured", str(sizing.OUTPUT)])
    assert own.output == found.output
    wrong = CliRunner().invoke(app, ["size", "--subjects", "0"])
    assert wrong.exit_code == 2
    assert "subjects is 0; expected 1 to 100,000,000,000" in wrong.output


def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra abis[report] is not installed")
    picture = tmp_path / "latency.svg"
    found = CliRunner().invoke(app, ["size", "--subjects", "1000000", "--figure", str(picture)])
    assert found.exit_code == 0
    assert "<svg" in picture.read_text()
    wrong = CliRunner().invoke(app, ["size", "--subjects", "1000000", "--figure", str(tmp_path / "a.xyz")])
    assert wrong.exit_code == 2
    assert "a.xyz" in wrong.output


def test_sizes_and_durations_are_for_people() -> None:
    assert [size(b) for b in (12, 1_500, 2_340_000, 139e9, 1e12)] == [
        "12 B",
        "1.5 kB",
        "2.34 MB",
        "139 GB",
        "1 TB",
    ]
    found = [duration(s) for s in (0.0123, 1.5, 61.0, 150.0, 7_300.0, 1e6, math.inf)]
    assert found == ["12.3 ms", "1.50 s", "61.0 s", "2.5 min", "2.0 h", "11.6 days", "unlimited"]
