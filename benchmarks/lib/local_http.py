# SPDX-License-Identifier: Apache-2.0
"""An HTTP server on this machine that answers by a function: the other side of a service in tests and benchmarks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

__all__ = ["LocalServer", "ServerAnswer", "ServerRequest"]


@dataclass(frozen=True)
class ServerRequest:
    """A request.

    Attributes:
        method: "GET" or "POST".
        path: path of the URL, without its query.
        query: first value of each name in the query.
        headers: headers; names in any case.
        body: content; empty if there is none.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes


@dataclass(frozen=True)
class ServerAnswer:
    """An answer.

    Attributes:
        status: HTTP status.
        body: content.
        headers: headers beside the length of the content.
    """

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class LocalServer:
    """Answers each request on a thread of its own, until it is closed.

    Attributes:
        url: URL of the server, with a free port of this machine.
    """

    def __init__(self, answer: Callable[[ServerRequest], ServerAnswer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self._answer()

            def _answer(self) -> None:
                address = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(address.query).items()}
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answered = answer(ServerRequest(self.command, address.path, query, self.headers, body))
                self.send_response(answered.status)
                for name, value in (
                    {"Content-Length": str(len(answered.body))} | dict(answered.headers)
                ).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answered.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
