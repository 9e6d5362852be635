# SPDX-License-Identifier: Apache-2.0
"""A client that takes little of the machine that it measures: prepared requests over keep-alive connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Load", "closed_loop", "open_loop", "request"]


@dataclass
class Load:
    """What came of some requests.

    Attributes:
        seconds: of all of them together.
        latencies: of each, seconds.
        statuses: how many of each.
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


def request(method: str, target: str, body: bytes = b"", headers: str = "") -> bytes:
    """A request as it goes over the wire."""
    head = (
        f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read an answer; returns its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
    )
    if length:
        await reader.readexactly(length)
    return int(head[9:12])


async def closed_loop(port: int, requests: Sequence[bytes], clients: int) -> Load:
    """As many clients, each with a connection of its own, send one request after the other."""
    load = Load()
    waiting = iter(requests)

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for each in waiting:
            begun = time.perf_counter()
            writer.write(each)
            load.statuses[await _answer(reader)] += 1
            load.latencies.append(time.perf_counter() - begun)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds = time.perf_counter() - begun
    return load


async def open_loop(
    port: int, requests: Sequence[bytes], rate: float, connections: int, dice: np.random.Generator
) -> Load:
    """Requests arrive at random (Poisson); one that finds no free connection waits, which its latency tells."""
    load = Load()
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))

    async def one(each: bytes, due: float) -> None:
        reader, writer = await free.get()
        writer.write(each)
        load.statuses[await _answer(reader)] += 1
        load.latencies.append(time.perf_counter() - due)
        free.put_nowait((reader, writer))

    begun = time.perf_counter()
    tasks = []
    due = begun
    for each, pause in zip(requests, dice.exponential(1 / rate, len(requests)), strict=True):
        due += pause
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        tasks.append(asyncio.create_task(one(each, due)))
    await asyncio.gather(*tasks)
    load.seconds = time.perf_counter() - begun
    while not free.empty():
        free.get_nowait()[1].close()
    return load
