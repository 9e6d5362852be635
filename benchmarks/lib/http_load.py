# SPDX-License-Identifier: Apache-2.0
"""A client that takes little of the machine that it measures: prepared requests over keep-alive connections.

A protocol of asyncio without streams or tasks: the next request leaves in the call that reads the answer before it.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

__all__ = ["Load", "closed_loop", "open_loop", "request", "run"]

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_T = TypeVar("_T")


@dataclass
class Load:
    """What came of some requests.

    Attributes:
        seconds: of all of them together.
        latencies: of each, seconds.
        statuses: how many of each; 0: the connection was closed without an answer.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Of the latencies."""
        return 1e3 * float(np.percentile(self.latencies, percent))


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run on an event loop that takes little time itself, where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - comes with the service on some systems
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def request(method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One connection, with one request under way at most.

    Args:
        answered: is called with the connection and the status of each answer.
    """

    def __init__(self, answered: Callable[[_Connection, int], None]) -> None:
        self._answered = answered
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self.due = 0.0  # when the request under way was to be sent

    @classmethod
    async def to(cls, port: int, answered: Callable[[_Connection, int], None]) -> _Connection:
        """A new connection to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: cls(answered), "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, content: bytes, due: float) -> None:
        assert self._transport is not None
        self.due = due
        self._transport.write(content)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data
        end = received.find(_END)
        if end < 0:
            return
        length = _LENGTH.search(received, 0, end)
        if len(received) < end + len(_END) + (int(length[1]) if length else 0):
            return
        self._received = b""
        self._answered(self, int(received[9:12]))

    def connection_lost(self, _error: Exception | None) -> None:
        if self.due:
            self._answered(self, 0)


async def closed_loop(port: int, requests: Sequence[bytes], clients: int) -> Load:
    """As many clients, each with a connection of its own, send one request after the other."""
    load = Load()
    waiting: Iterator[bytes] = iter(requests)
    done = asyncio.get_running_loop().create_future()
    at_work = 0

    def answered(connection: _Connection, status: int) -> None:
        nonlocal at_work
        load.statuses[status] += 1
        load.latencies.append(time.perf_counter() - connection.due)
        connection.due = 0.0
        at_work -= 1
        if status:
            send(connection)
        if not at_work and not done.done():
            done.set_result(None)

    def send(connection: _Connection) -> None:
        nonlocal at_work
        content = next(waiting, None)
        if content is not None:
            at_work += 1
            connection.send(content, time.perf_counter())

    connections = [await _Connection.to(port, answered) for _ in range(clients)]
    begun = time.perf_counter()
    for connection in connections:
        send(connection)
    await done
    load.seconds = time.perf_counter() - begun
    for connection in connections:
        connection.close()
    return load


async def open_loop(
    port: int, requests: Sequence[bytes], rate: float, connections: int, dice: np.random.Generator
) -> Load:
    """Requests arrive at random (Poisson); one that finds no free connection waits, which its latency tells."""
    load = Load()
    waiting: deque[tuple[bytes, float]] = deque()
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def answered(connection: _Connection, status: int) -> None:
        load.statuses[status] += 1
        load.latencies.append(time.perf_counter() - connection.due)
        connection.due = 0.0
        if len(load.latencies) == len(requests) and not done.done():
            done.set_result(None)
        if waiting:
            connection.send(*waiting.popleft())
        else:
            free.append(connection)

    free = [await _Connection.to(port, answered) for _ in range(connections)]
    everyone = list(free)

    def arrive(content: bytes, due: float) -> None:
        if free:
            free.pop().send(content, due)
        else:
            waiting.append((content, due))

    begun = time.perf_counter()
    offset = loop.time() - begun
    arrivals = begun + np.cumsum(dice.exponential(1 / rate, len(requests)))
    for content, due in zip(requests, arrivals.tolist(), strict=True):
        loop.call_at(due + offset, arrive, content, due)
    await done
    load.seconds = time.perf_counter() - begun
    for connection in everyone:
        connection.close()
    return load
