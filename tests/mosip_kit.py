# SPDX-License-Identifier: Apache-2.0
"""What stands around an ABIS in MOSIP: a data share that encrypts and asks for tokens, and the caller at the queue."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import stomp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import abis
from abis.service import Settings
from abis.service.mosip.queue import Queue
from abis.service.served import served_gallery
from benchmarks.lib.local_http import LocalServer, ServerAnswer, ServerRequest

KEY = rsa.generate_private_key(65537, 2048)
OTHER_KEY = rsa.generate_private_key(65537, 2048)
ANSWER_S = 60


def write_key(folder: Path) -> str:
    """The private key of the ABIS as a PEM file."""
    file = folder / "abis.pem"
    file.write_bytes(
        KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(file)


def encrypted(content: bytes, key: rsa.RSAPrivateKey = KEY, *, old: bool = False) -> bytes:
    """As MOSIP's data share encrypts since 1.2.0, or before."""
    aes = AESGCM.generate_key(256)
    wrapped = key.public_key().encrypt(aes, OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None))
    aad = secrets.token_bytes(32)
    if old:
        head, body = b"", AESGCM(aes).encrypt(aad, content, None) + aad
    else:
        head, body = b"VER_R2", aad + AESGCM(aes).encrypt(aad[:12], content, aad)
    whole = head + secrets.token_bytes(32) + wrapped + b"#KEY_SPLITTER#" + body
    return base64.urlsafe_b64encode(whole).rstrip(b"=")


class DataShareStub:
    """A server of encrypted documents.

    Attributes:
        url: of the server.
        tokens: that requests came with.
        issued: tokens that were given out.
    """

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.tokens: list[str] = []
        self.issued: list[str] = []
        self._server = LocalServer(self._answer)
        self.url = self._server.url
        self.close = self._server.close

    def _answer(self, request: ServerRequest) -> ServerAnswer:
        if request.method == "POST":
            self.issued.append(secrets.token_hex(8))
            return ServerAnswer(200, headers={"Set-Cookie": f"Authorization={self.issued[-1]}; Path=/"})
        cookie = request.headers.get("Cookie", "")
        self.tokens.append(cookie)
        if cookie.removeprefix("Authorization=") not in self.issued:
            return ServerAnswer(200, b'{"errors":[{"errorCode":"KER-ATH-401","message":"no token"}]}')
        if request.path.startswith("/expired/datashare/"):
            return ServerAnswer(200, b'{"errors":[{"errorCode":"DAT-SER-006","message":"expired"}]}')
        if request.path in self.documents:
            return ServerAnswer(200, self.documents[request.path])
        return ServerAnswer(404)

    def put(self, content: bytes) -> str:
        """Serve what is encrypted already; returns its URL."""
        path = f"/v1/datashare/{uuid.uuid4()}"
        self.documents[path] = content
        return self.url + path


class Caller(stomp.ConnectionListener):  # type: ignore[misc] # stomp.py has no types
    """Sends requests and waits for their answers.

    Attributes:
        answers: all that came, in their order.
        frames: the same as STOMP has them.
    """

    def __init__(self, port: int, inbound: str, outbound: str) -> None:
        self._inbound = inbound
        self._came = threading.Condition()
        self.answers: list[dict[str, Any]] = []
        self.frames: list[Any] = []
        self._stomp = stomp.Connection12([("127.0.0.1", port)], auto_decode=False, auto_content_length=False)
        self._stomp.set_listener("", self)
        self._stomp.connect(wait=True)
        self._stomp.subscribe(f"/queue/{outbound}", id="1", ack="auto")

    def on_message(self, frame: Any) -> None:
        with self._came:
            self.frames.append(frame)
            self.answers.append(json.loads(frame.body))
            self._came.notify_all()

    def send(self, message: dict[str, Any] | bytes, *, as_bytes: bool = False) -> None:
        """Send a request."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        headers = {"content-length": str(len(body))} if as_bytes else {}
        content = body if as_bytes else body.decode()
        self._stomp.send(f"/queue/{self._inbound}", content, headers=headers)

    def answers_to(self, request_id: str, count: int = 1) -> list[dict[str, Any]]:
        """The first answers to a request."""

        def found() -> list[dict[str, Any]]:
            return [each for each in self.answers if each["requestId"] == request_id]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, ANSWER_S), "no answer came"
            return found()

    def ask(self, message: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Send a request; returns its answer."""
        self.send(message, **how)
        return self.answers_to(message.get("requestId", ""))[0]

    def close(self) -> None:
        """End the connection."""
        self._stomp.disconnect()


@contextmanager
def caller(port: int, inbound: str, outbound: str) -> Iterator[Caller]:
    """A caller for the time of a ``with`` block."""
    calling = Caller(port, inbound, outbound)
    try:
        yield calling
    finally:
        calling.close()


def message(kind: str, **fields: Any) -> dict[str, Any]:
    """A request."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = {"id": f"mosip.abis.{kind}", "version": "1.1", "requestId": str(uuid.uuid4()), "requesttime": now}
    return {**head, **fields}


@contextmanager
def answering(gallery: abis.Gallery, settings: Settings) -> Iterator[None]:
    """A member that answers for the time of a ``with`` block."""
    queue = Queue(served_gallery(gallery, settings), settings)
    thread = threading.Thread(target=queue.run)
    thread.start()
    try:
        yield
    finally:
        queue.stop()
        thread.join()
