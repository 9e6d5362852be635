# SPDX-License-Identifier: Apache-2.0
"""Connections and callers that do not mean well, or come at a bad moment."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from people import face
from services import client_of, encounter_of

from abis.service import Settings, authentication
from abis.service.authentication import Authentication
from abis.service.refusals import Refusal
from abis.service.settings import Limits

HEAD = "POST /v1/persons?transactionId=t HTTP/1.1\r\nHost: x\r\n"


@contextmanager
def connected(client: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=60) as connection:
        yield connection


def until_closed(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    received = b""
    try:
        while part := connection.recv(65_536):
            received += part
    except ConnectionResetError:
        pass
    return received


def flooded(connection: socket.socket, start: bytes, part: bytes) -> bytes:
    """Send a part again and again until the server closes the connection; returns what it sends."""
    connection.sendall(start)
    for _ in range(100_000):
        try:
            connection.sendall(part)
        except OSError:
            return until_closed(connection)
    pytest.fail("the server takes everything")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    limits = Limits(receive_seconds=0.5, body_bytes=200_000)
    folder = tmp_path_factory.mktemp("service")
    settings = Settings(str(folder / "gallery"), port=0, authentication=False, limits=limits)
    with client_of(settings) as client:
        yield client


# ----------------------------------------------------------------------------------------- connections


@pytest.mark.parametrize("start", ["", "POST /v1/per", HEAD, HEAD + "X: "])
def test_a_connection_whose_headers_do_not_come_is_closed(client: httpx.Client, start: str) -> None:
    with connected(client) as connection:
        connection.sendall(start.encode())
        assert until_closed(connection) == b""
    assert client.get("/health/live").status_code == 200


def test_so_is_one_that_has_had_an_answer_before(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD.encode())
        assert until_closed(connection).count(b"HTTP/1.1 200") == 1


def test_a_flood_of_headers_is_refused(client: httpx.Client) -> None:
    with connected(client) as connection:
        received = flooded(connection, b"GET / HTTP/1.1\r\n", b"X: " + b"y" * 1_000 + b"\r\n")
    assert not received or received.startswith(b"HTTP/1.1 431")
    assert client.get("/health/live").status_code == 200


def test_a_body_that_comes_slowly_or_without_end_is_refused(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall((HEAD + "Content-Length: 100\r\n\r\n{").encode())
        assert b" 408 " in connection.recv(65_536)
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    with connected(client) as connection:
        start = HEAD + "Transfer-Encoding: chunked\r\n\r\n"
        received = flooded(connection, start.encode(), chunk)
    assert not received or b" 413 " in received
    assert client.get("/health/live").status_code == 200


def test_an_upgrade_is_not_followed(client: httpx.Client) -> None:
    with connected(client) as connection:
        connection.sendall(
            b"GET /v1/galleries?transactionId=t HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "path", ["../../metrics", "..%2F..%2Fmetrics", "%2e%2e/%2e%2e/metrics", "//metrics", "p/./encounters"]
)
def test_paths_are_taken_as_they_are(client: httpx.Client, path: str) -> None:
    with connected(client) as connection:
        connection.sendall(f"GET /v1/persons/{path}?transactionId=t HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert connection.recv(65_536).split(b" ", 2)[1] in (b"404", b"405")


# ------------------------------------------------------------------------------------------ bad moments


def test_an_encounter_that_many_enroll_at_once_is_enrolled_once(client: httpx.Client) -> None:
    together = threading.Barrier(8, timeout=60)
    statuses: Counter[tuple[str, int]] = Counter()

    def enroll(number: int) -> None:
        with httpx.Client(base_url=client.base_url, params={"transactionId": "t"}, timeout=60) as own:
            for encounter in ("same", f"own-{number}"):
                together.wait()
                path = f"/v1/persons/crowd/encounters/{encounter}"
                answer = own.post(path, json=encounter_of([face(1, number)], "A"))
                statuses[encounter.partition("-")[0], answer.status_code] += 1

    threads = [threading.Thread(target=enroll, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == {("same", 200): 1, ("same", 409): 7, ("own", 200): 8}
    found = client.get("/v1/persons/crowd/encounters").json()
    assert sorted(each["encounterId"] for each in found) == ["own-" + str(n) for n in range(8)] + ["same"]


class KeyServer:
    """Serves a key set.

    Attributes:
        keys: by their ids.
        asked: how often the set was asked for.
        is_down: answer 500.
    """

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.asked = 0
        self.is_down = False
        own = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                own.asked += 1
                keys = [
                    {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": name, "alg": "ES256"}
                    for name, key in own.keys.items()
                ]
                self.send_response(500 if own.is_down else 200)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": keys}).encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def token(self, name: str) -> str:
        payload = {"sub": "x", "exp": time.time() + 3_600, "scope": "abis.verify"}
        return "Bearer " + jwt.encode(payload, self.keys[name], "ES256", headers={"kid": name})

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def key_server() -> Iterator[KeyServer]:
    running = KeyServer()
    running.keys["1"] = ec.generate_private_key(ec.SECP256R1())
    yield running
    running.close()


def status(checker: Authentication, bearer: str) -> int:
    try:
        checker.caller(bearer, "abis.verify")
    except Refusal as refused:
        return refused.status
    return 200


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Seconds that pass for the keys."""
    passed = [0.0]
    monotonic = time.monotonic

    class Clock:
        time = staticmethod(time.time)

        @staticmethod
        def monotonic() -> float:
            return monotonic() + passed[0]

    monkeypatch.setattr(authentication, "time", Clock)
    return passed


def test_keys_are_rotated(key_server: KeyServer, clock: list[float]) -> None:
    checker = Authentication(Settings("g", jwks=key_server.url))
    old = key_server.token("1")
    assert status(checker, old) == 200
    key_server.keys["2"] = ec.generate_private_key(ec.SECP256R1())
    assert status(checker, key_server.token("2")) == 401  # the keys were read a moment ago
    clock[0] += 10
    assert status(checker, key_server.token("2")) == 200
    del key_server.keys["1"]
    assert status(checker, old) == 200
    clock[0] += 400
    assert not checker.knows(old)
    assert status(checker, old) == 401  # withdrawn, which takes up to five minutes
    assert status(checker, key_server.token("2")) == 200


def test_without_the_key_server_the_keys_there_are_hold(key_server: KeyServer, clock: list[float]) -> None:
    checker = Authentication(Settings("g", jwks=key_server.url))
    bearer = key_server.token("1")
    assert status(checker, bearer) == 200
    key_server.is_down = True
    for _ in range(3):
        clock[0] += 400
        before = key_server.asked
        assert status(checker, bearer) == 200
        assert [status(checker, key_server.token("1")) for _ in range(20)] == 20 * [200]
        assert key_server.asked == before + 1  # no later request waits for it again


def test_unknown_keys_do_not_make_the_service_ask_again_and_again(key_server: KeyServer) -> None:
    checker = Authentication(Settings("g", jwks=key_server.url))
    key_server.keys["unknown"] = ec.generate_private_key(ec.SECP256R1())
    bearers = [key_server.token("unknown") for _ in range(50)]
    assert {status(checker, bearer) for bearer in bearers} == {401}
    assert key_server.asked == 1
