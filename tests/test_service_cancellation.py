# SPDX-License-Identifier: Apache-2.0
"""A request that is cancelled stops its search: the caller is gone, or the time is over."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from people import face
from services import client_of, encounter_of, probe_of

from abis.errors import Cancelled
from abis.gallery import searching
from abis.parallel import cancellation
from abis.parallel.cancellation import check_cancelled
from abis.service import Settings
from abis.service.batching import Batcher
from abis.service.settings import Limits

WAIT_S = 60


class Search:
    """Stands in each search until that is cancelled."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)
        patch.setattr(searching, "check_cancelled", self._check)

    def _check(self) -> None:
        present = cancellation._present.get()
        assert present is not None
        self.begun.release()
        assert present._cancelled.wait(WAIT_S)
        self.ended.release()
        check_cancelled()


def settings(folder: Path, **limits: float) -> Settings:
    return Settings(str(folder), port=0, authentication=False, limits=Limits(**limits))  # type: ignore[arg-type]


def test_a_search_ends_when_its_caller_disconnects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(settings(tmp_path)) as client:
        assert client.post("/v1/persons/p/encounters/1", json=encounter_of([face(1)])).status_code == 200
        body = json.dumps(probe_of([face(1, 1)])).encode()
        with monkeypatch.context() as patch:
            search = Search(patch)
            head = f"POST /v1/identify/ALL?transactionId=t HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            with socket.create_connection(("127.0.0.1", client.base_url.port or 0)) as caller:
                caller.sendall(head.encode() + body)
                assert search.begun.acquire(timeout=WAIT_S)
            assert search.ended.acquire(timeout=WAIT_S)
        assert len(client.post("/v1/identify/ALL", json=probe_of([face(1, 1)])).json()) == 1


def test_a_search_ends_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with client_of(settings(tmp_path, seconds=0.2)) as client:
        with monkeypatch.context() as patch:
            search = Search(patch)
            answer = client.post("/v1/identify/ALL", json=probe_of([face(1, 1)]))
            assert search.ended.acquire(timeout=WAIT_S)
        assert answer.status_code == 503
        assert "0.2 s" in answer.json()["message"]
        assert answer.headers["Retry-After"]


def test_a_batch_is_cancelled_when_the_last_of_its_callers_is() -> None:
    begun = threading.Event()
    seen: list[bool] = []

    def work(_: str, items: Sequence[int]) -> Sequence[int]:
        begun.set()
        present = cancellation._present.get()
        assert present is not None
        if 0 in items:  # the first batch, in which nothing happens, gathers the second
            assert gathered.wait(WAIT_S)
            return items
        assert left.wait(WAIT_S)
        seen.append(present.is_cancelled)
        assert present._cancelled.wait(WAIT_S)
        check_cancelled()
        raise AssertionError

    gathered, left = threading.Event(), threading.Event()

    async def run() -> None:
        with ThreadPoolExecutor(1) as pool:
            batcher: Batcher[str, int, int] = Batcher(work, pool, 10)
            first = asyncio.create_task(batcher("a", 0))
            await asyncio.to_thread(begun.wait, WAIT_S)
            both = [asyncio.create_task(batcher("a", number)) for number in (1, 2)]
            while batcher.waiting < 2:
                await asyncio.sleep(0)
            begun.clear()
            gathered.set()
            assert await first == 0
            await asyncio.to_thread(begun.wait, WAIT_S)
            both[0].cancel()
            await asyncio.wait([both[0]])
            left.set()
            while not seen:
                await asyncio.sleep(0)
            assert seen == [False]
            both[1].cancel()
            for each in both:
                with pytest.raises(asyncio.CancelledError):
                    await each

    asyncio.run(run())


def test_an_item_that_fails_does_not_fail_the_others() -> None:
    def work(_: str, items: Sequence[int]) -> Sequence[int]:
        return [1 // item for item in items]

    async def run() -> list[object]:
        with ThreadPoolExecutor(1) as pool:
            batcher: Batcher[str, int, int] = Batcher(work, pool, 10)
            return await asyncio.gather(*(batcher("a", n) for n in (1, 0, 1)), return_exceptions=True)

    one, failed, other = asyncio.run(run())
    assert (one, other) == (1, 1)
    assert isinstance(failed, ZeroDivisionError)
    assert not isinstance(failed, Cancelled)
