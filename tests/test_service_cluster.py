# SPDX-License-Identifier: Apache-2.0
"""A cluster is served as a gallery is: OSIA's operations, tasks, MOSIP's messages."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")

from artemis import Artemis, Message
from mosip_kit import message
from people import everything
from services import client_of, data_of, encounter_of, probe_of
from test_service_processes import command
from test_service_tasks import Platform, asynchronous

import abis
from abis.cluster import Cluster, Shard
from abis.cluster.placement import shard_of
from abis.service import Settings
from abis.service.mosip.queue import Queue
from abis.service.served import Served, open_served
from abis.service.settings import MosipSettings

# Ray leaves sockets and processes to the end of the program, and the interpreter says so.
pytestmark = [
    pytest.mark.slow,  # which starts Ray
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PEOPLE = [f"p{n}" for n in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cluster of two shards, which this process serves."""
    folder = tmp_path_factory.mktemp("cluster") / "cluster"
    with Cluster.create(folder, [Shard("a"), Shard("b")]):
        yield folder


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    running = Platform()
    yield running
    running.close()


@pytest.fixture(scope="module")
def client(folder: Path, platform: Platform) -> Iterator[httpx.Client]:
    settings = Settings(str(folder), port=0, authentication=False, callback_origins=(platform.url,))
    with client_of(settings) as client:
        for number, person in enumerate(PEOPLE):
            gallery = "even" if number % 2 == 0 else "odd"
            body = encounter_of(everything(number), gallery, biographicData={"number": number})
            assert client.post(f"/v1/persons/{person}/encounters/1", json=body).status_code == 200
        yield client


def test_persons_are_in_their_shards(client: httpx.Client, folder: Path) -> None:
    assert {shard_of(person, 2) for person in PEOPLE} == {0, 1}
    for number, name in enumerate("ab"):
        with abis.Gallery.open(folder / name, load=False) as gallery:
            assert set(gallery) & set(PEOPLE) == {p for p in PEOPLE if shard_of(p, 2) == number}


def test_searches_and_verifications_find_persons_of_all_shards(client: httpx.Client) -> None:
    for number, person in enumerate(PEOPLE):
        probe = probe_of(everything(number, 1))
        (candidate,) = client.post("/v1/identify/ALL", json=probe).json()
        assert candidate["personId"] == person
        gallery = "even" if number % 2 == 0 else "odd"
        assert client.post(f"/v1/identify/{gallery}", json=probe).json() == [candidate]
        other = client.post("/v1/identify/even" if gallery == "odd" else "/v1/identify/odd", json=probe)
        assert other.json() == []
        claim = {"biometricData": data_of(everything(number, 1))}
        assert client.post(f"/v1/verify/{gallery}/{person}", json=claim).json()["decision"] is True
        assert client.post(f"/v1/verify/ALL/{PEOPLE[number - 1]}", json=claim).json()["decision"] is False
    one = probe_of(everything(3, 1), number=4)
    assert client.post("/v1/identify/ALL", json=one).json() == []
    assert client.post("/v1/verify/ALL/unknown", json=claim).status_code == 404
    assert client.post("/v1/identify/unknown", json=one).status_code == 404


def test_galleries_are_those_of_all_shards_page_by_page(client: httpx.Client) -> None:
    assert client.get("/v1/galleries").json() == ["even", "odd"]
    whole = client.get("/v1/galleries/even").json()
    assert {each["personId"] for each in whole} == set(PEOPLE[::2])
    for size in (1, 2, 3):
        pages: list[dict[str, str]] = []
        while page := client.get("/v1/galleries/even", params={"offset": len(pages), "limit": size}).json():
            assert len(page) <= size
            pages += page
        assert pages == whole
    assert client.get("/v1/galleries/even", params={"offset": 99}).json() == []


def test_persons_of_one_shard_are_merged_those_of_two_are_not(client: httpx.Client) -> None:
    mine = [name for name in (f"m{n}" for n in range(50)) if shard_of(name, 2) == 0][:2]
    other = next(name for name in (f"m{n}" for n in range(50)) if shard_of(name, 2) == 1)
    for encounter, name in enumerate((*mine, other)):
        body = encounter_of(everything(30, encounter), "merged")
        client.post(f"/v1/persons/{name}/encounters/{encounter}", json=body)
    refused = client.post(f"/v1/persons/{mine[0]}/merge/{other}")
    assert refused.status_code == 400
    assert "shards" in refused.json()["message"]
    assert client.post(f"/v1/persons/{mine[0]}/merge/{mine[1]}").status_code == 204
    assert len(client.get(f"/v1/persons/{mine[0]}/encounters").json()) == 2
    for name in (mine[0], other):
        assert client.delete(f"/v1/persons/{name}").status_code == 204


def test_tasks_are_in_the_shard_of_their_person(client: httpx.Client, platform: Platform) -> None:
    for person in ("t1", "t2", "t3", "t4"):
        path = f"/v1/persons/{person}/encounters/1"
        task = asynchronous(client, platform, "POST", path, json=encounter_of(everything(40)))
        assert shard_of(task, 2) == shard_of(person, 2)
        assert platform.result_of(task)[3] == {"personId": person, "encounterId": "1"}
        assert client.get(f"/v1/tasks/{task}/status").json() in ("RESPONSE_SCHEDULED", "COMPLETED")
        assert client.post(f"/v1/tasks/{task}/redeliver").status_code == 204
        platform.result_of(task, 2)
        client.delete(f"/v1/persons/{person}")
    task = asynchronous(client, platform, "POST", "/v1/persons", json=encounter_of(everything(41)))
    created = platform.result_of(task)[3]["personId"]
    assert shard_of(task, 2) == shard_of(created, 2)
    assert client.delete(f"/v1/persons/{created}").status_code == 204


def test_health_and_metrics_are_of_all_shards(client: httpx.Client) -> None:
    assert client.get("/health/ready").json() == {"status": "ready", "referencesBehind": 0}
    assert f"abis_gallery_subjects {float(len(PEOPLE))}" in client.get("/metrics").text


def test_mosips_messages_are_answered(client: httpx.Client, folder: Path) -> None:
    broker = Artemis()
    settings = Settings(str(folder), mosip=MosipSettings(port=broker.port))
    served: Served = open_served(settings)
    queue = Queue(served, settings)
    thread = threading.Thread(target=queue.run)
    thread.start()
    try:
        among = {"referenceIds": [{"referenceId": name} for name in PEOPLE]}
        body = encounter_of(everything(2, 3))
        assert client.post("/v1/persons/twin/encounters/1", json=body).status_code == 200
        asked = [
            message("referenceCount"),
            message("identify", referenceId="twin", referenceURL=""),
            message("identify", referenceId="twin", referenceURL="", gallery=among),
            message("delete", referenceId="twin"),
        ]
        for each in asked:
            broker.put("mosip-to-abis1", Message(json.dumps(each).encode()))
        answers = {
            a["requestId"]: a for a in (json.loads(m.body) for m in broker.messages("abis1-to-mosip", 4))
        }
        count, everyone, some, gone = (answers[each["requestId"]] for each in asked)
        assert count["count"] in ("8", "9")  # the deletion need not wait for it
        assert {each["returnValue"] for each in (everyone, some, gone)} == {"1"}
        for found in (everyone, some):
            assert [each["referenceId"] for each in found["candidateList"]["candidates"]] == ["p2"]
    finally:
        queue.stop()
        thread.join()
        for part in served.parts:
            part.gallery.close()
        broker.close()


def test_the_command_serves_a_cluster_until_sigterm(tmp_path: Path) -> None:
    created = subprocess.run(
        [sys.executable, "-m", "abis", "cluster", "create", "citizens", "a", "b"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert created.returncode == 0, created.stderr
    with command(str(tmp_path / "citizens")) as (process, served):
        body = encounter_of(everything(1))
        assert served.post("/v1/persons/p/encounters/1", json=body).status_code == 200
        (candidate,) = served.post("/v1/identify/ALL", json=probe_of(everything(1, 1))).json()
        assert candidate["personId"] == "p"
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0


def test_a_cluster_that_is_divided_anew_is_refused(client: httpx.Client, folder: Path) -> None:
    # The last test: the service is not usable any more.
    Cluster.reshard(folder, [Shard("a"), Shard("b"), Shard("c")])
    assert client.get("/v1/persons/p0/encounters").status_code == 503
    body = encounter_of(everything(50))
    assert client.post("/v1/persons/late/encounters/1", json=body).status_code == 503
    settings = Settings(str(folder), port=0, authentication=False)
    with client_of(settings) as again:
        (candidate,) = again.post("/v1/identify/ALL", json=probe_of(everything(5, 1))).json()
        assert candidate["personId"] == "p5"
