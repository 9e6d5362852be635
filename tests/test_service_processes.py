# SPDX-License-Identifier: Apache-2.0
"""Several processes over one gallery, and what becomes of requests when they are restarted."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from people import everything, face
from services import client_of, data_of, encounter_of, probe_of
from typer.testing import CliRunner

import abis
from abis.cli import app
from abis.service import Settings

READY_S = 120


@contextmanager
def command(gallery: str, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client]]:
    """``abis serve`` in processes of its own, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "abis", "serve", gallery, "--no-auth", "--port", str(port), *flags],
        stderr=subprocess.PIPE,
    )
    lines: list[bytes] = []
    started = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if b"startup complete" in line:
                started.set()
        started.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert started.wait(READY_S)
        assert process.poll() is None, b"".join(lines)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", params={"transactionId": "t"}, timeout=60
        ) as client:
            yield process, client
    finally:
        process.terminate()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["close", "keep-alive"])
def test_processes_are_replaced_one_by_one_without_a_failed_request(tmp_path: Path, kind: str) -> None:
    with command(str(tmp_path / "gallery"), "--processes", "2") as (process, client):
        enrolled = client.post("/v1/persons/p/encounters/1", json=encounter_of([face(1)]))
        assert enrolled.status_code == 200
        claim = {"biometricData": data_of([face(1, 1)])}
        statuses: list[int] = []
        done = threading.Event()

        faults: list[Exception] = []

        def ask() -> None:
            port = client.base_url.port
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)  # no retries of its own
            try:
                while not done.is_set() or len(statuses) < 50:
                    connection.request(
                        "POST",
                        "/v1/verify/ALL/p?transactionId=t",
                        json.dumps(claim),
                        {"Content-Type": "application/json", "Connection": kind},
                    )
                    with connection.getresponse() as response:
                        response.read()
                        statuses.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                faults.append(error)
            finally:
                connection.close()

        asking = threading.Thread(target=ask)
        asking.start()
        before = _workers(process.pid)
        os.kill(process.pid, signal.SIGHUP)
        limit = threading.Event()
        for _ in range(10 * READY_S):
            if not before & _workers(process.pid):
                break
            limit.wait(0.1)  # a condition of another process, which does not notify this one
        done.set()
        asking.join()
        assert not before & _workers(process.pid)
        assert faults == []
        assert set(statuses) == {200}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_service_that_is_stopped_by_sigterm_ends_with_success(tmp_path: Path, processes: str) -> None:
    with command(str(tmp_path / "gallery"), "--processes", processes) as (process, client):
        assert client.get("/health/live").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(READY_S) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "GALLERY (setting gallery) is missing"),
        (["g"], "no keys to check tokens with: give --jwks"),
        (
            ["g", "--no-auth", "--host", "0.0.0.0"],
            "--host (setting host) is 0.0.0.0 and authentication is off",
        ),
        (["g", "--no-auth", "--port", "70000"], "Invalid value for '--port'"),
        (["g", "--no-auth", "--processes", "0"], "Invalid value for '--processes'"),
        (
            ["g", "--no-auth", "--tls-key", "x"],
            "only one of --tls-cert (setting tls_certificate) and --tls-key",
        ),
        (["g", "--no-auth", "--disclosure", "some"], "Invalid value for '--disclosure'"),
        (["file", "--no-auth"], "file"),
    ],
)
def test_a_service_that_cannot_start_says_which_flag_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"no folder")
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert isinstance(result.exception, abis.AbisError | SystemExit)
    assert message in str(result.exception) + result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "GALLERY (setting gallery) is missing"),
        (["g", "--workers", "0"], "Invalid value for '--workers'"),
        (["g", "--broker", "host:x"], "--broker is 'host:x'; expected HOST:PORT"),
        (["g", "--broker", "host:0"], "the port of --broker (setting mosip.port) is 0"),
    ],
)
def test_so_does_a_member_of_mosip(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["mosip", *arguments])
    assert message in str(result.exception) + result.output


def _workers(parent: int) -> set[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("no list of child processes on this system")
    found = set()
    for child in map(int, children.read_text().split()):
        arguments = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in arguments:
            found.add(child)
    return found


def test_two_services_see_what_the_other_writes(database: str) -> None:
    given: dict[str, Any] = {"port": 0, "authentication": False}
    with (
        client_of(Settings(database, **given)) as identifies,
        client_of(Settings(database, identification=False, **given)) as verifies,
    ):
        assert (
            verifies.post("/v1/persons/p/encounters/1", json=encounter_of(everything(1))).status_code == 200
        )
        probe = probe_of(everything(1, 1))
        (candidate,) = identifies.post("/v1/identify/ALL", json=probe).json()
        assert candidate["personId"] == "p"
        refused = verifies.post("/v1/identify/ALL", json=probe)
        assert refused.status_code == 403
        assert verifies.get("/health/ready").status_code == 200
        assert identifies.delete("/v1/persons/p").status_code == 204
        answer = verifies.post("/v1/verify/ALL/p", json={"biometricData": data_of(everything(1, 1))})
        assert answer.status_code == 404


def test_what_is_kept_of_an_encounter_goes_with_it_whoever_removes_it(database: str, tmp_path: Path) -> None:
    with client_of(Settings(database, port=0, authentication=False)) as client:
        for person in (1, 2, 3):
            message = encounter_of(everything(person), "A", biographicData={"name": "secret"})
            assert client.post(f"/v1/persons/p{person}/encounters/1", json=message).status_code == 200
    with abis.Gallery.open(database, load=False, cache=tmp_path) as gallery:
        gallery.erase("p1")
        gallery.remove("p2", encounter_id="1")
        with gallery.internals.store.reading() as connection:
            rows = connection.exec_driver_sql("SELECT count(*) FROM kept").scalar()
            own = connection.exec_driver_sql("SELECT count(*) FROM service_encounters").scalar()
        assert (rows, own) == (1, 1)
        assert gallery.check() == []
