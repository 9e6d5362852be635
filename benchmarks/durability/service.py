# SPDX-License-Identifier: Apache-2.0
"""Does a service lose or repeat what it has acknowledged, when it, the broker or the database is killed?

Requests of all kinds are sent, half of them with a callback, while kill -9 meets the process in question
again and again. A client asks again until it has an answer, as clients do. At the end:

- every person whose enrolment was acknowledged is there, once, with one encounter;
- every task that was acknowledged has delivered its result, and no two results of a task differ;
- every message of MOSIP has its answer, and every person inserted is there.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import stomp

from abis.formats import Format
from abis.formats import write as write_record
from abis.gallery import Gallery
from benchmarks.lib.brokers import Broker, is_installed
from benchmarks.lib.common import DataMissingError, optional, options, print_table, write
from benchmarks.lib.local_http import LocalServer, ServerAnswer, ServerRequest
from benchmarks.lib.servers import programs, server
from benchmarks.scale.service import datum_of, finger, until_ready

PATIENCE_S = 300.0
_TOGETHER = 20  # messages of MOSIP under way


def main() -> None:
    """Kill each of the three, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--requests", type=int, default=1_000, metavar="N", help="of each run (1,000)")
    parser.add_argument("--kills", type=int, default=50, metavar="N", help="of each run (50)")
    parser.add_argument(
        "--parts", nargs="+", choices=_PARTS, default=list(_PARTS), help="what to kill (all three)"
    )
    parser.add_argument(
        "--runs", type=int, default=1, metavar="N", help="with new galleries and seeds, added up (1)"
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="run, of several that were begun (0)"
    )
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    if arguments.first and arguments.json is not None:
        figures |= json.loads(arguments.json.read_text())
    for name in arguments.parts:
        with optional(name, figures):
            for run in range(arguments.first, arguments.runs):
                found = _PARTS[name](arguments.requests, arguments.kills, arguments.seed + run)
                counted = {"runs": 1, "requests": arguments.requests} | dict(
                    zip(("kills", "lost", "repeated"), found, strict=True)
                )
                for what, count in counted.items():
                    figures[f"{name}_{what}"] = int(figures.get(f"{name}_{what}", 0)) + count
                write(arguments.json, figures, seed=arguments.seed)  # as far as it is
    columns = ("runs", "requests", "kills", "lost", "repeated")
    rows = [
        [name, *(str(figures[f"{name}_{what}"]) for what in columns)]
        for name in arguments.parts
        if f"{name}_runs" in figures
    ]
    print_table("kill -9", ["of the", "runs", "requests", "kills", "lost", "done twice"], rows)


class Callbacks:
    """Takes results of tasks."""

    def __init__(self) -> None:
        self.results: dict[str, list[bytes]] = defaultdict(list)
        self._server = LocalServer(self._take)
        self.url = self._server.url
        self.close = self._server.close

    def _take(self, request: ServerRequest) -> ServerAnswer:
        if len(request.body) < int(request.headers["Content-Length"]):
            return ServerAnswer(400)  # the service was killed while it sent
        self.results[request.query["taskId"]].append(request.body)
        return ServerAnswer()


class Process:
    """A command of abis in a process of its own."""

    def __init__(self, *command: str) -> None:
        self._command = [sys.executable, "-m", "abis", *command]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        """Kill it, and start it again."""
        self._process.kill()
        self._process.wait()
        self.start()

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


class Killer:
    """Kills at random moments, as often as wanted, spread over the requests.

    Args:
        kill: kills, and starts again.
        kills: wanted.
        requests: of the whole run.
        done: tells how many requests are done.
        dice: says when.
    """

    def __init__(
        self,
        kill: Callable[[], None],
        kills: int,
        requests: int,
        done: Callable[[], int],
        dice: np.random.Generator,
    ) -> None:
        self._kill = kill
        self._moments = sorted(dice.uniform(0, requests, kills).tolist())
        self._requests_done = done
        self.done = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for moment in self._moments:
            while self._requests_done() < moment:
                time.sleep(0.02)
            time.sleep(0.1 * (moment % 1))  # in the midst of what follows
            self._kill()
            self.done += 1

    def wait(self) -> None:
        """Until all kills are done."""
        self._thread.join()


class Work:
    """Mixed requests, sent one after the other, each until it is answered.

    Attributes:
        done: requests that were answered.
        persons: ids of those whose enrolment was acknowledged.
        tasks: ids of those that were acknowledged.
    """

    def __init__(self) -> None:
        self.done = 0
        self.persons: list[str] = []
        self.tasks: list[str] = []


def _work(url: str, callbacks: Callbacks, work: Work, count: int) -> None:
    """Send mixed requests until they are answered."""
    persons, tasks = work.persons, work.tasks
    with httpx.Client(base_url=url, timeout=20) as client:
        for number in range(count):
            person = f"p{number}"
            encounter = {
                "status": "ACTIVE",
                "encounterType": "x",
                "galleries": ["A"],
                "biometricData": [datum_of(finger(number, 0))],
            }
            query = {"transactionId": str(number)}
            kind = number % 4
            if kind in (1, 3):
                query["callback"] = callbacks.url
            path = f"/v1/persons/{person}/encounters/1"
            message: dict[str, Any] = encounter
            if kind == 2 and persons:
                path, message = f"/v1/verify/ALL/{persons[-1]}", {"biometricData": encounter["biometricData"]}
            answer = _until_answered(client, path, query, message)
            if answer.status_code == 202:
                tasks.append(answer.json()["taskId"])
            if answer.status_code == 409 or (answer.status_code == 200 and kind != 2):
                persons.append(person)  # 409: the answer to the first asking was lost
            work.done += 1


def _until_answered(
    client: httpx.Client, path: str, query: dict[str, str], message: dict[str, Any]
) -> httpx.Response:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            answer = client.post(path, params=query, json=message)
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if answer.status_code not in (503, 429):
            return answer
        time.sleep(0.2)
    sys.exit("no answer")


def _faults(gallery: str, persons: list[str], tasks: list[str], callbacks: Callbacks) -> tuple[int, int]:
    """How much of what was acknowledged is lost, and how much was done twice."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and any(task not in callbacks.results for task in tasks):
        time.sleep(0.5)
    lost = sum(task not in callbacks.results for task in tasks)
    repeated = sum(len(set(callbacks.results[task])) > 1 for task in tasks)
    with Gallery.open(gallery, load=False) as opened:
        everyone = list(opened)
        lost += len(set(persons) - set(everyone))
        repeated += sum(len(opened.subject(person).encounters) != 1 for person in everyone)
        lost += len(opened.check())
    created = [json.loads(callbacks.results[task][0]) for task in tasks if callbacks.results.get(task)]
    lost += sum("personId" in each and each["personId"] not in set(everyone) for each in created)
    return lost, repeated


def _served(
    gallery: str, count: int, kills: int, seed: int, kill: Callable[[Process], None]
) -> tuple[int, int, int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    callbacks = Callbacks()
    os.environ["ABIS_SERVICE_LIMITS__SECONDS"] = "5"  # after which another process takes a task
    process = Process(
        "serve",
        gallery,
        "--no-auth",
        "--port",
        str(port),
        "--settings",
        _settings({"callback_origins": [callbacks.url]}),
    )
    try:
        until_ready(port)  # a service that starts while there is no database ends
        work, dice = Work(), np.random.default_rng(seed)
        killer = Killer(lambda: kill(process), kills, count, lambda: work.done, dice)
        _work(f"http://127.0.0.1:{port}", callbacks, work, count)
        killer.wait()
        lost, repeated = _faults(gallery, work.persons, work.tasks, callbacks)
    finally:
        process.end()
        callbacks.close()
    return killer.done, lost, repeated


def _settings(settings: dict[str, list[str]]) -> str:
    file = Path(tempfile.mkdtemp(prefix="abis-kill-"), "service.toml")
    file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    return str(file)


def _kill_service(count: int, kills: int, seed: int) -> tuple[int, int, int]:
    with tempfile.TemporaryDirectory() as folder:
        return _served(f"{folder}/gallery", count, kills, seed, Process.kill)


def _kill_database(count: int, kills: int, seed: int) -> tuple[int, int, int]:
    if programs() is None:
        raise DataMissingError("no PostgreSQL (Debian: apt-get install postgresql)")
    with server(durable=True) as running:

        def kill(_process: Process) -> None:
            running.crash()

        return _served(running.new_database(), count, kills, seed, kill)


# ------------------------------------------------------------------------------------------------- MOSIP


class _Answers(stomp.ConnectionListener):  # type: ignore[misc] # stomp.py has no types
    """Answers by request id."""

    def __init__(self) -> None:
        self.of: dict[str, list[str]] = defaultdict(list)

    def on_message(self, frame: Any) -> None:
        answer = json.loads(frame.body)
        self.of[answer["requestId"]].append(answer["returnValue"] + answer.get("failureReason", ""))


def _kill_broker(count: int, kills: int, seed: int) -> tuple[int, int, int]:
    if not is_installed():
        raise DataMissingError("no ActiveMQ (Debian: apt-get install activemq)")
    documents = LocalServer(_document)
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder), persistent=True)
        broker.start()
        gallery = f"{folder}/gallery"
        Gallery.open(gallery).close()
        os.environ["ABIS_SERVICE_MOSIP__ORIGINS"] = documents.url
        member = Process("mosip", gallery, "--broker", f"127.0.0.1:{broker.port}")

        def kill() -> None:
            broker.kill()
            broker.start()

        answers = _Answers()
        dice = np.random.default_rng(seed)
        killer = Killer(kill, kills, count, lambda: len(answers.of), dice)
        try:
            for begin in range(0, count, _TOGETHER):
                numbers = range(begin, min(begin + _TOGETHER, count))
                _exchange(broker, [_insert(number, documents) for number in numbers], answers)
            killer.wait()
            _exchange(broker, [], answers)
        finally:
            member.end()
            broker.kill(signal.SIGTERM)
            documents.close()
        with Gallery.open(gallery, load=False) as opened:
            enrolled = set(opened)
        lost = sum(f"r{n}" not in answers.of or f"R{n}" not in enrolled for n in range(count))
        repeated = sum(len(set(answers.of[f"r{n}"])) > 1 for n in range(count))
        return killer.done, lost, repeated


def _exchange(broker: Broker, requests: list[dict[str, str]], answers: _Answers) -> None:
    """Send requests and have their answers, over as many connections as it takes."""
    open_ones = {each["requestId"]: each for each in requests}
    deadline = time.monotonic() + PATIENCE_S
    while open_ones and time.monotonic() < deadline:
        connection = stomp.Connection12([("127.0.0.1", broker.port)], auto_content_length=False)
        connection.set_listener("", answers)
        try:
            connection.connect(wait=True)
            connection.subscribe("/queue/abis1-to-mosip", id="1", ack="auto")
            for each in open_ones.values():
                connection.send("/queue/mosip-to-abis1", json.dumps(each), headers={"persistent": "true"})
            for _ in range(100):
                open_ones = {name: each for name, each in open_ones.items() if name not in answers.of}
                if not open_ones or not connection.is_connected():
                    break
                time.sleep(0.1)
            connection.disconnect()
        except (stomp.exception.StompException, OSError):
            time.sleep(0.2)


def _insert(number: int, documents: LocalServer) -> dict[str, str]:
    return {
        "id": "mosip.abis.insert",
        "version": "1.1",
        "requestId": f"r{number}",
        "requesttime": "2026-01-01T00:00:00.000Z",
        "referenceId": f"R{number}",
        "referenceURL": f"{documents.url}/{number}",
    }


def _document(request: ServerRequest) -> ServerAnswer:
    """Answer as a data share without encryption: the document of each number is a person."""
    record = write_record([finger(int(request.path[1:]), 0)], Format.ISO_19794_2_2005)
    text = base64.urlsafe_b64encode(record).decode()
    body = (
        '<BIR xmlns="http://standards.iso.org/iso-iec/19785/-3/ed-2/"><BIR><BDBInfo><Type>Finger</Type>'
        f"<Subtype>Right IndexFinger</Subtype></BDBInfo><BDB>{text}</BDB></BIR></BIR>"
    )
    return ServerAnswer(200, body.encode())


_PARTS = {"service": _kill_service, "database": _kill_database, "broker": _kill_broker}


if __name__ == "__main__":
    main()
