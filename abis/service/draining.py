# SPDX-License-Identifier: Apache-2.0
"""Connections that end without losing a request, when a server stops.

uvicorn closes a connection without a request at once. A request that is on its way then is lost. Here such a
connection stays open for a moment; a request that comes is answered, and its answer says that the connection closes.
"""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["DrainingProtocol"]

_GRACE_S = 2.0  # far longer than a request is on its way
_CLOSE = (b"connection", b"close")


class DrainingProtocol(HttpToolsProtocol):
    """HTTP/1.1 for uvicorn."""

    _is_draining = False

    def on_headers_complete(self) -> None:
        """Begin with a request."""
        super().on_headers_complete()
        if self._is_draining and self.cycle is not None:
            self.cycle.keep_alive = False
            self.cycle.default_headers = [*self.cycle.default_headers, _CLOSE]

    def shutdown(self) -> None:
        """End the connection once no request is at work or on its way."""
        self._is_draining = True
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr] # none came yet
            self.loop.call_later(_GRACE_S, super().shutdown)
        else:
            super().shutdown()
