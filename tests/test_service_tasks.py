# SPDX-License-Identifier: Apache-2.0
"""Callbacks: tasks that are done once, and results that arrive."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from people import everything
from services import client_of, data_of, encounter_of, probe_of

import abis
from abis.service import Settings
from abis.service.callers import Caller
from abis.service.outbox import AlreadyDone, Outbox, Request, Result
from abis.service.tables import create, tasks
from abis.store.schema import kept
from benchmarks.lib.local_http import LocalServer, ServerAnswer, ServerRequest

WAIT_S = 30


class Platform:
    """A system that takes results.

    Attributes:
        url: that results are to be sent to.
        results: (task id, transaction id, content type, body) of those that came.
        refused: how many results are refused first.
    """

    def __init__(self) -> None:
        self.results: list[tuple[str, str, str, Any]] = []
        self.refused = 0
        self._came = threading.Condition()
        self._server = LocalServer(self._take)
        self.url = self._server.url
        self.close = self._server.close

    def _take(self, request: ServerRequest) -> ServerAnswer:
        with self._came:
            if self.refused:
                self.refused -= 1
                return ServerAnswer(500)
            row = request.query["taskId"], request.query["transactionId"], request.headers["Content-Type"]
            self.results.append((*row, json.loads(request.body)))
            self._came.notify_all()
            return ServerAnswer()

    def result_of(self, task_id: str, count: int = 1) -> tuple[str, str, str, Any]:
        """The last result of a task, once ``count`` results have come."""

        def found() -> list[tuple[str, str, str, Any]]:
            return [each for each in self.results if each[0] == task_id]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, WAIT_S), "no result came"
            return found()[-1]


@pytest.fixture
def platform() -> Iterator[Platform]:
    running = Platform()
    yield running
    running.close()


@pytest.fixture
def client(platform: Platform, tmp_path: Path) -> Iterator[httpx.Client]:
    with client_of(settings(tmp_path, platform)) as client:
        yield client


def settings(folder: Path, platform: Platform) -> Settings:
    return Settings(str(folder / "gallery"), port=0, authentication=False, callback_origins=(platform.url,))


def asynchronous(client: httpx.Client, platform: Platform, method: str, path: str, **how: Any) -> str:
    query = {"transactionId": "t7", "callback": f"{platform.url}/results?x=1"}
    answer = client.request(method, path, params=query, **how)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["taskId"])


def status(client: httpx.Client, task_id: str) -> str:
    return str(client.get(f"/v1/tasks/{task_id}/status").json())


def test_results_of_all_kinds_are_sent_to_the_callback(client: httpx.Client, platform: Platform) -> None:
    task = asynchronous(
        client, platform, "POST", "/v1/persons/p/encounters/1", json=encounter_of(everything(1), "A")
    )
    expected = (task, "t7", "application/json", {"personId": "p", "encounterId": "1"})
    assert platform.result_of(task) == expected
    task = asynchronous(client, platform, "POST", "/v1/identify/A", json=probe_of(everything(1, 1)))
    (candidate,) = platform.result_of(task)[3]
    assert candidate["personId"] == "p"
    task = asynchronous(
        client, platform, "POST", "/v1/verify/A/p", json={"biometricData": data_of(everything(1, 1))}
    )
    assert platform.result_of(task)[3]["decision"] is True
    task = asynchronous(client, platform, "DELETE", "/v1/persons/p")
    assert platform.result_of(task)[2:] == ("application/json", "OK")
    task = asynchronous(client, platform, "DELETE", "/v1/persons/p")
    kind, error = platform.result_of(task)[2:]
    assert (kind, error["code"]) == ("application/error+json", 404)


def test_a_message_is_checked_before_a_task_is_made_of_it(client: httpx.Client, platform: Platform) -> None:
    query = {"transactionId": "t", "callback": platform.url}
    for path, message in (
        ("/v1/persons", {}),
        ("/v1/identify/ALL", {"filter": {}}),
        ("/v1/verify/ALL/p", {"biometricData": [], "x": 1}),
    ):
        assert client.post(path, params=query, json=message).status_code == 400
    for callback in ("http://127.0.0.1:1/", "http://localhost", "ftp://x", "x", ""):
        answer = client.get("/v1/galleries", params={"transactionId": "t", "callback": callback})
        assert answer.status_code == 403


def test_a_result_is_sent_again_until_it_is_taken(client: httpx.Client, platform: Platform) -> None:
    platform.refused = 2
    task = asynchronous(client, platform, "GET", "/v1/galleries")
    assert platform.result_of(task)[3] == []
    assert platform.refused == 0


def test_a_result_is_redelivered_on_request(client: httpx.Client, platform: Platform) -> None:
    task = asynchronous(client, platform, "POST", "/v1/persons", json=encounter_of(everything(1)))
    first = platform.result_of(task)
    assert client.post(f"/v1/tasks/{task}/redeliver").status_code == 204
    assert platform.result_of(task, 2) == first
    assert len(client.get("/v1/galleries/ALL").json()) == 1
    for path in ("status", "redeliver"):
        method = "GET" if path == "status" else "POST"
        assert client.request(method, f"/v1/tasks/unknown/{path}").status_code == 404


def test_tasks_outlive_the_service(platform: Platform, tmp_path: Path) -> None:
    """A task that was noted by a process that died is done by the next one, and no other one beside it."""
    given = settings(tmp_path, platform)
    with abis.Gallery.open(given.gallery) as gallery:
        outbox = outbox_of(gallery, given)
        task = submit(outbox, platform, "createEncounterNoIds", body=json.dumps(encounter_of(everything(1))))
    with client_of(given) as client:
        ids = platform.result_of(task)[3]
        assert client.get("/v1/galleries/ALL").json() == [ids]
        assert status(client, task) in ("RESPONSE_SCHEDULED", "COMPLETED")


# ------------------------------------------------------------------------------------------- the outbox


def outbox_of(gallery: abis.Gallery, given: Settings) -> Outbox:
    create(gallery.internals.store)
    return Outbox(gallery.internals.store, given)


def submit(outbox: Outbox, platform: Platform, operation: str, *, body: str = "", priority: int = 0) -> str:
    request = Request(operation, {}, {}, body.encode(), Caller("", ""))
    task_id = str(uuid.uuid4())
    outbox.submit(task_id, request, callback=platform.url, transaction_id="t", priority=priority)
    return task_id


@pytest.fixture
def outbox(platform: Platform, database: str, tmp_path: Path) -> Iterator[Outbox]:
    with abis.Gallery.open(database, load=False, cache=tmp_path) as gallery:
        yield outbox_of(gallery, settings(tmp_path, platform))


def test_tasks_are_taken_by_priority_and_then_by_age(outbox: Outbox, platform: Platform) -> None:
    given = [submit(outbox, platform, "readGalleries", priority=p) for p in (0, 5, 9, 5)]
    taken = [task.task_id for task in iter(outbox.take, None)]
    assert taken == [given[2], given[1], given[3], given[0]]


def test_a_task_has_one_result(outbox: Outbox, platform: Platform) -> None:
    task_id = submit(outbox, platform, "readGalleries")
    outbox.finish_alone(task_id, Result(200, b"1"))
    with pytest.raises(AlreadyDone):
        outbox.finish_alone(task_id, Result(200, b"2"))
    assert outbox.take() is None
    (delivery,) = outbox.take_deliveries(9)
    assert delivery.result == Result(200, b"1")
    assert outbox.take_deliveries(9) == []  # one process sends it at a time
    outbox.redeliver(task_id)
    outbox.delivered(delivery)  # too late: the caller wants it once more
    assert outbox.status(task_id) == "RESPONSE_SCHEDULED"
    (delivery,) = outbox.take_deliveries(9)
    outbox.delivered(delivery)
    assert outbox.status(task_id) == "COMPLETED"


def test_a_result_that_is_never_taken_waits_for_a_redelivery(outbox: Outbox, platform: Platform) -> None:
    task_id = submit(outbox, platform, "readGalleries")
    outbox.finish_alone(task_id, Result(200, b"1"))
    for _ in range(12):
        with outbox._store.writing() as transaction:  # the pause is over
            transaction.connection.execute(tasks.update().values(due=0))
        (delivery,) = outbox.take_deliveries(9)
        outbox.not_delivered(delivery)
    assert outbox.status(task_id) == "RESPONSE_ERROR"
    assert outbox.take_deliveries(9) == []
    outbox.redeliver(task_id)
    assert outbox.status(task_id) == "RESPONSE_SCHEDULED"
    assert [each.task_id for each in outbox.take_deliveries(9)] == [task_id]


def test_a_task_that_processes_die_of_is_given_up(outbox: Outbox, platform: Platform) -> None:
    task_id = submit(outbox, platform, "readGalleries")
    store = outbox._store
    for _ in range(5):
        assert outbox.take() is not None
        with store.writing() as transaction:  # the process died, and the time it had is over
            transaction.connection.execute(tasks.update().values(due=0))
    assert outbox.take() is None
    (delivery,) = outbox.take_deliveries(9)
    assert delivery.result.status == 500
    assert delivery.task_id == task_id


def test_tasks_of_long_ago_are_forgotten_with_all_that_was_kept_of_them(
    outbox: Outbox, platform: Platform
) -> None:
    for done in (True, False):
        task_id = submit(outbox, platform, "readGalleries")
        if done:
            outbox.finish_alone(task_id, Result(200, b"1"))
            outbox.delivered(outbox.take_deliveries(9)[0])
    with outbox._store.writing() as transaction:
        transaction.connection.execute(tasks.update().values(number=0))
    outbox.forget_old()
    with outbox._store.reading() as connection:
        assert [row.state for row in connection.execute(sa.select(tasks))] == ["PENDING"]
        assert connection.scalar(sa.select(sa.func.count()).select_from(kept)) == 1
