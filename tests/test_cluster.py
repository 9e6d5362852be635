# SPDX-License-Identifier: Apache-2.0
"""A cluster of several Ray nodes on this machine gives the answers of one gallery, also while nodes are lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ray = pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")

from eyes import code
from people import everything, face, processes
from typer.testing import CliRunner, Result

from abis import AlreadyEnrolled, Claim, Enrollment, Gallery, NotEnrolled, Status, StoreError, TemplateError
from abis.cli import app
from abis.cluster import Cluster, Shard
from abis.cluster.placement import shard_of
from abis.comparison.dna import DnaModel
from abis.deduplication import Duplicates
from abis.errors import ShardUnavailable
from abis.formats import native
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import shipped
from abis.scoring.dna import DnaCalibration
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import Embedding, Position, StrProfile, Template

# Ray leaves sockets and processes to the end of the program, and the interpreter says so.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PEOPLE = 60
HERE, DISK = "here", "disk"  # resources: two nodes have the one, a third has the other
SHARDS = [Shard("a", HERE), Shard("b", HERE), Shard("c", DISK)]
HEALTH = {  # a dead machine is given up after two seconds; by default after half a minute
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
LOOPBACK = "127.0.0.2" if os.uname().sysname == "Linux" else "127.0.0.1"  # Ray replaces 127.0.0.1 on Linux


class Machines:
    """A Ray cluster whose nodes come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayCluster  # noqa: PLC0415 - slow

        self._common: dict[str, Any] = {"node_ip_address": LOOPBACK, "object_store_memory": 80 << 20}
        here = {"resources": {HERE: 1}, **self._common}
        head = {
            "num_cpus": 0,
            "include_dashboard": False,
            "include_log_monitor": False,
            "_system_config": HEALTH,
        }
        self._ray = RayCluster(initialize_head=True, head_node_args={**here, **head})
        self._ray.add_node(num_cpus=1, wait=False, **here)
        self.with_disk = self._node_with_disk()
        self._ray.wait_for_nodes()
        self.address: str = self._ray.address

    def _node_with_disk(self) -> Any:
        return self._ray.add_node(num_cpus=1, wait=False, resources={DISK: 1}, **self._common)

    def kill_disk(self) -> None:
        self._ray.remove_node(self.with_disk, allow_graceful=False)

    def bring_disk(self) -> None:
        self.with_disk = self._node_with_disk()
        self._ray.wait_for_nodes()

    def shut_down(self) -> None:
        ray.shutdown()
        self._ray.shutdown()


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    """Three nodes: the head, one, and one with a disk of its own."""
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        "RAY_worker_niceness": "0",  # instead of 15
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        running = Machines()
        # Workers import from where the driver is, before anything that is installed: not from the checkout.
        with contextlib.chdir(tmp_path_factory.mktemp("driver")):
            ray.init(address=running.address, log_to_driver=False, logging_level="error")
        yield running
        running.shut_down()


def eyes(person: int, capture: int = 0) -> list[Template]:
    return [
        code(2 * person + side, flips=0.1, capture=capture, position=position)
        for side, position in enumerate((Position.LEFT_EYE, Position.RIGHT_EYE))
    ]


FREQUENCIES = made_up_frequencies()
PROFILES = draw_profiles(FREQUENCIES, PEOPLE + 10)
CALIBRATIONS = (
    DnaCalibration.of(DnaModel(FREQUENCIES)),
    replace(shipped("embedding"), kind="voice-made-up"),
)


def dna_and_voice(person: int, capture: int = 0) -> list[Template]:
    vector = np.random.default_rng(person).standard_normal(64)
    vector += 0.3 * np.random.default_rng([person, capture]).standard_normal(64)
    return [
        StrProfile.of_alleles(PROFILES[person]),
        Embedding(vector=vector, model="made-up", position=Position.VOICE, quality=4.0 + capture),
    ]


def enrollments() -> Iterator[Enrollment]:
    for person in range(PEOPLE):
        labels = ["odd"] if person % 2 else []
        others = dna_and_voice(person) if person < 15 else []
        yield Enrollment(f"p{person:03}", [*everything(person), *eyes(person), *others], labels=labels)
    for person in range(0, PEOPLE, 7):
        yield Enrollment(f"p{person:03}", everything(person, 5), "later", level=2)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    """A gallery."""
    with Gallery.open(tmp_path_factory.mktemp("one") / "gallery") as gallery:
        gallery.enroll_many(enrollments())
        for calibration in CALIBRATIONS:
            gallery.calibrate(calibration)
        yield gallery


@pytest.fixture(scope="module")
def many(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with the same people, who are never changed."""
    folder = tmp_path_factory.mktemp("many") / "cluster"
    with Cluster.create(folder, SHARDS) as cluster:
        assert cluster.enroll_many(enrollments()) == len(list(enrollments()))
        for calibration in CALIBRATIONS:
            cluster.calibrate(calibration)
        yield cluster


PROBES = [
    *(everything(person, 3) for person in (0, 7, 8, 21, PEOPLE + 1)),
    [face(3, 2)],
    [everything(4, 2)[0]],
    eyes(5, 1),
    [*everything(6, 1), eyes(6, 1)[1]],
    dna_and_voice(9, 1),
    dna_and_voice(10, 1)[:1],
    [*everything(11, 1), *dna_and_voice(11, 2)],
]


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("fpir", [None, 0.01])
def test_a_cluster_identifies_as_one_gallery(
    one: Gallery, many: Cluster, exact: bool, fpir: float | None
) -> None:
    expected = list(one.identify_many(PROBES, exact=exact, fpir=fpir, max_candidates=4))
    found = list(many.identify_many(PROBES, exact=exact, fpir=fpir, max_candidates=4))
    for mine, other in zip(found, expected, strict=True):
        assert not isinstance(mine, TemplateError)
        assert not isinstance(other, TemplateError)
        assert mine.candidates == other.candidates
        assert (mine.gallery_size, mine.comparable) == (other.gallery_size, other.comparable)
        assert (mine.answered, mine.is_partial) == ((0, 1, 2), False)
    assert many.identify(PROBES[0], exact=exact, fpir=fpir, max_candidates=4) == found[0]


def test_a_cluster_lists_equal_scores_as_one_gallery(one: Gallery, many: Cluster) -> None:
    nobody = [face(999)]
    for count in (1, 3, PEOPLE + 5):
        found = many.identify(nobody, max_candidates=count, exact=True)
        assert found.candidates == one.identify(nobody, max_candidates=count, exact=True).candidates


def test_shards_of_another_build_are_refused(many: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abis.cluster.cluster.version", lambda _: "0.2.0+g000000000")
    with pytest.raises(StoreError, match=r"shard 0 runs abis .*, this process 0\.2\.0\+g000000000"):
        many._check()


def test_labels_hold_in_all_shards(one: Gallery, many: Cluster) -> None:
    for labels in (["odd"], ["none"]):
        found = many.identify(PROBES[0], labels=labels, exact=True)
        assert found.candidates == one.identify(PROBES[0], labels=labels, exact=True).candidates


def test_a_cluster_verifies_as_one_gallery(one: Gallery, many: Cluster) -> None:
    claims = [
        Claim(f"p{claimed:03}", everything(person, 1)) for person in (0, 1, 2) for claimed in (0, 1, 2, 900)
    ]
    assert list(many.verify_many(claims)) == list(one.verify_many(claims))
    assert many.verify(everything(7, 1), "p007", fmr=1e-3) == one.verify(everything(7, 1), "p007", fmr=1e-3)
    with pytest.raises(NotEnrolled, match="'p900'"):
        many.verify(everything(7, 1), "p900")


def test_a_cluster_knows_who_is_in_it(one: Gallery, many: Cluster) -> None:
    assert sorted(many) == sorted(one)
    assert len(many) == len(one) == sum(shard.subjects for shard in many.shards())
    assert ("p003" in many, "p900" in many, 3 in many) == (True, False, False)
    mine, other = many.info(), one.info()
    assert (mine.subjects, mine.encounters, mine.templates) == (
        other.subjects,
        other.encounters,
        other.templates,
    )
    assert many.subject("p007").encounters[1].positions == one.subject("p007").encounters[1].positions


def test_models_that_cannot_be_compared_are_refused_as_by_one_gallery(one: Gallery, many: Cluster) -> None:
    other = [face(1, model="other")]
    with pytest.raises(TemplateError) as refused:
        one.identify(other)
    with pytest.raises(TemplateError) as also_refused:
        many.identify(other)
    assert str(also_refused.value) == str(refused.value)
    results = list(many.identify_many([other, PROBES[0], []]))
    assert [isinstance(result, TemplateError) for result in results] == [True, False, True]


def test_what_is_asked_wrongly_is_refused_as_by_one_gallery(many: Cluster) -> None:
    with pytest.raises(ValueError, match="share is 2"):
        many.identify(PROBES[0], share=2)
    with pytest.raises(ValueError, match="fpir is 7"):
        many.identify(PROBES[0], fpir=7)


def test_subjects_change_as_in_one_gallery(machines: Machines, tmp_path: Path) -> None:
    with Cluster.create(tmp_path, [Shard("a"), Shard("b")]) as cluster:
        names = [f"n{number}" for number in range(6)]
        assert {cluster.shard_of(name) for name in names} == {0, 1}
        for number, name in enumerate(names):
            cluster.enroll(name, everything(number))
        with pytest.raises(AlreadyEnrolled, match="'n3'"):
            cluster.enroll("n3", everything(3))
        cluster.set_status("n1", Status.LOCKED, reason="asked for")
        cluster.set_level("n1", 3)
        cluster.set_labels("n1", ["b", "a"])
        subject = cluster.subject("n1")
        assert (subject.status, subject.level, subject.labels) == (Status.LOCKED, 3, ("a", "b"))
        cluster.replace("n2", everything(99))
        assert cluster.identify(everything(99, 1), max_candidates=1)[0].subject_id == "n2"
        cluster.remove("n3")
        with pytest.raises(NotEnrolled, match="'n3'"):
            cluster.remove("n3")
        assert sorted(cluster) == [name for name in names if name != "n3"]
        before = cluster.identify(everything(4, 1), max_candidates=1)[0].score
        cluster.calibrate(shipped("minutiae-mindtct"))
        assert cluster.identify(everything(4, 1), max_candidates=1)[0].score != before
        assert cluster.verify(everything(4, 1), "n4").score == cluster.identify(everything(4, 1))[0].score
        os.kill(cluster.shards()[cluster.shard_of("n8")].process, signal.SIGKILL)
        cluster.enroll("n8", everything(8))
        cluster.enroll_many(Enrollment(f"m{n}", everything(n)) for n in range(4))
        assert Counter(cluster) == Counter(["n0", "n1", "n2", "n4", "n5", "n8", "m0", "m1", "m2", "m3"])


def test_a_killed_worker_comes_back_and_answers_what_it_was_asked(one: Gallery, many: Cluster) -> None:
    victim = many.shards()[0].process

    def probes() -> Iterator[Any]:
        for number in range(30):
            if number == 12:
                os.kill(victim, signal.SIGKILL)
            yield PROBES[number % len(PROBES)]

    expected = [one.identify(probe, exact=True).candidates for probe in PROBES]
    for number, result in enumerate(many.identify_many(probes(), exact=True)):
        assert not isinstance(result, TemplateError)
        assert result.candidates == expected[number % len(PROBES)]


def as_either_sees_it(found: Duplicates) -> dict[frozenset[str], Any]:
    """Pairs without who of the two is the probe: positions are known, so the score is the same."""
    return {
        frozenset((pair.subject_id, pair.other_id)): (pair.score, pair.threshold, pair.cluster, pair.is_weak)
        for pair in found
    }


def test_a_cluster_finds_the_duplicates_of_one_gallery_while_a_shard_is_killed(
    one: Gallery, many: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "sizes", WorkSizes(portion=8))  # several of them on the way
    victim = many.shards()[0].process
    killed: list[int] = []

    def progress(done: int, total: int) -> None:
        if not killed and 3 * done > total:
            os.kill(victim, signal.SIGKILL)
            killed.append(done)

    expected = one.deduplicate(threshold=-6.0, exact=True)
    found = many.deduplicate(threshold=-6.0, exact=True, progress=progress)
    assert killed
    assert len(expected) >= 5
    assert as_either_sees_it(found) == as_either_sees_it(expected)
    assert (found.gallery_size, found.searched) == (PEOPLE, PEOPLE)
    assert many.shards()[0].process != victim


@pytest.mark.slow
def test_a_dead_machine_is_missed_until_it_is_back(
    one: Gallery, many: Cluster, machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Cluster, "partial_patience_s", 2.0)
    probe = PROBES[0]
    expected = one.identify(probe, exact=True, max_candidates=PEOPLE).candidates
    process = many.shards()[2].process
    machines.kill_disk()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)  # which would live on for a moment
    partial = many.identify(probe, exact=True, max_candidates=PEOPLE, partial=True)
    assert partial.is_partial
    assert partial.answered == (0, 1)
    assert list(partial.missing or {}) == [2]
    assert "PARTIAL: shard 2 was not searched" in str(partial)
    in_reach = [c.subject_id for c in expected if shard_of(c.subject_id, 3) != 2]
    assert [c.subject_id for c in partial] == in_reach
    many._shards[2].patience = 0.5
    with pytest.raises(ShardUnavailable, match="shard 2 "):
        many.identify(probe)
    assert [bool(shard.fault) for shard in many.shards()] == [False, False, True]
    many._shards[2].patience = 60.0
    machines.bring_disk()
    assert many.identify(probe, exact=True, max_candidates=PEOPLE).candidates == expected


def test_commands_take_a_cluster_in_place_of_a_gallery(machines: Machines, tmp_path: Path) -> None:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    files = tmp_path / "files"
    files.mkdir()
    for person in range(2, 6):
        (files / f"P{person}_face.abis").write_bytes(native.write(face(person)))
    folder = tmp_path / "cluster"
    with Cluster.create(folder, [Shard("a"), Shard("b")]) as cluster:
        assert {cluster.shard_of(f"P{person}") for person in range(2, 6)} == {0, 1}
        assert run("cluster", "create", folder, "a", "b").exit_code == 2
        cluster.enroll("P2", [face(2)])
        result = run("enroll", folder, files, "--skip-enrolled", "--json")
        assert json.loads(result.stdout) == {
            "enrolled": 3,
            "templates": 3,
            "skipped": 1,
            "failed": 0,
            "subjects": 4,
        }
        result = run("enroll", folder, files, "--json")
        assert (json.loads(result.stdout)["failed"], result.exit_code) == (4, 2)
        found = json.loads(run("identify", folder, files / "P3_face.abis", "--exact", "--json").stdout)
        assert (found["candidates"][0]["subject_id"], found["gallery_size"]) == ("P3", 4)
        assert run("verify", folder, "P3", files / "P3_face.abis").exit_code == 0
        cluster.enroll("again", [face(3)])
        output = tmp_path / "duplicates.json"
        result = run("deduplicate", folder, "-o", output, "--threshold", 2)
        assert (result.exit_code, "--since" in result.stdout) == (0, False)
        pairs = json.loads(output.read_text())["pairs"]
        assert [{pair["subject_id"], pair["other_id"]} for pair in pairs] == [{"P3", "again"}]
        assert not list(tmp_path.glob("*.checkpoint"))
        cluster.remove("again")
        assert "1 removed" in run("remove", folder, "P3", "--yes").stdout
        assert json.loads(run("info", folder, "--json").stdout)["subjects"] == 3
        shards = [json.loads(line) for line in run("cluster", "info", folder, "--json").stdout.splitlines()]
        assert sum(shard["subjects"] for shard in shards) == 3
        result = run("check", folder)
        assert (result.exit_code, "does not work on a cluster" in result.stderr) == (2, True)


def reshard_and_die(folder: Path, shards: list[Shard], address: str, pages: int) -> None:
    os.chdir(folder.parent)  # as in `machines`

    def progress(*_: object) -> None:
        nonlocal pages
        pages -= 1
        if not pages:
            os.kill(os.getpid(), signal.SIGKILL)

    Cluster.reshard(folder, shards, address=address, progress=progress)


@pytest.mark.slow
def test_a_gallery_becomes_a_cluster_and_its_division_survives_being_killed(
    machines: Machines, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    with Gallery.open(alone) as gallery:
        for calibration in CALIBRATIONS:
            gallery.calibrate(calibration)
        gallery.enroll_many(enrollments())
        gallery.enroll_many(Enrollment(f"r{number:04}", [face(number)]) for number in range(700))
        gallery.set_status("p007", Status.LOCKED, reason="asked for")
        expected = [gallery.identify(probe, exact=True, fpir=0.1) for probe in PROBES]
        subjects = {name: gallery.subject(name) for name in gallery}
    folder = tmp_path / "cluster"
    first = Cluster.create(folder, [Shard(str(alone))])
    shards = [Shard(str(alone)), Shard("1"), Shard("2")]
    process = processes().Process(target=reshard_and_die, args=(folder, shards, machines.address, 1))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(StoreError, match="was stopped"):
        Cluster.open(folder)
    with pytest.raises(StoreError, match="expected the same shards"):
        Cluster.reshard(folder, [Shard("else")])
    Cluster.reshard(folder)
    with pytest.raises(StoreError, match="open it again"):
        first.identify(PROBES[0])
    with Cluster.open(folder) as cluster:
        assert {shard.number for shard in cluster.shards() if shard.subjects} == {0, 1, 2}
        assert [cluster.identify(probe, exact=True, fpir=0.1).candidates for probe in PROBES] == [
            result.candidates for result in expected
        ]
        assert Counter(cluster) == Counter(list(subjects))
        assert all(cluster.subject(name) == subjects[name] for name in ("p007", "p008", "r0003"))
        Cluster.reshard(folder, shards[:2])
    with Cluster.open(folder) as cluster:
        assert Counter(cluster) == Counter(list(subjects))
