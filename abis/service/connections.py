# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 connections with limits, which end without losing a request when a server stops.

uvicorn leaves three things open that matter here:

- It waits forever for the headers of a request, and keeps any number of them. Here a connection has some seconds and
  some kilobytes for them.
- If a request is answered before its body has come, it reads the rest of the body, however long that takes. Here
  a connection has a moment for it.
- When a server stops, it closes a connection without a request at once, and a request that is on its way is lost. Here
  such a connection stays open for a moment; a request that comes is answered, and its answer says that the
  connection closes.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["BoundedProtocol"]

_GRACE_S = 2.0  # far longer than a request is on its way
_HEAD_BYTES = 64 * 1024  # of request line and headers
_CLOSE = (b"connection", b"close")
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """HTTP/1.1 for uvicorn.

    Attributes:
        head_s: seconds that a client has to send the headers of a request, from its first byte; of the first request,
            from the connection.
    """

    head_s: ClassVar[float] = 20.0
    _is_draining = False
    _is_in_head = True
    _is_in_body = False
    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None
    _rest_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Give the client some time to begin."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.head_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of the connection."""
        self._end_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, as long as it is not too much before a request begins."""
        super().data_received(data)
        if not self._is_in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > _HEAD_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        elif self._head_timer is None and self._head_bytes:
            self._head_timer = self.loop.call_later(self.head_s, self.transport.close)

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin with a request."""
        self._is_in_head, self._is_in_body = False, True
        self._head_bytes = 0
        self._end_timers()
        super().on_headers_complete()
        if self._is_draining and self.cycle is not None:
            self.cycle.keep_alive = False
            self.cycle.default_headers = [*self.cycle.default_headers, _CLOSE]

    def on_message_complete(self) -> None:
        """A whole request has come."""
        self._is_in_body = False
        self._end_timers()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered; the rest of its body has a moment to come."""
        super().on_response_complete()
        if self._is_in_body and not self.transport.is_closing():
            self._rest_timer = self.loop.call_later(_GRACE_S, self.transport.close)

    def shutdown(self) -> None:
        """End the connection once no request is at work or on its way."""
        self._is_draining = True
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr] # none came yet
            self.loop.call_later(_GRACE_S, super().shutdown)
        else:
            super().shutdown()

    def _end_timers(self) -> None:
        for timer in (self._head_timer, self._rest_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._rest_timer = None
