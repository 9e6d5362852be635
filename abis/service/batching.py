# SPDX-License-Identifier: Apache-2.0
"""Requests that wait at the same time are worked on together.

While one batch is at work, requests gather for the next one: at low load each is alone and waits for nothing, at
high load many share a read of the store and a transaction of the audit log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

__all__ = ["Batcher"]

_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Batcher(Generic[_Key, _Item, _Result]):
    """Hands items of one key to a function together. For one event loop.

    Args:
        work: takes a key and items, returns a result for each; called in a thread.
        executor: of the threads.
        most: the most items of one call.
    """

    def __init__(
        self, work: Callable[[_Key, Sequence[_Item]], Sequence[_Result]], executor: Executor, most: int
    ) -> None:
        self._work = work
        self._executor = executor
        self._most = most
        self._waiting: dict[_Key, deque[tuple[_Item, asyncio.Future[_Result]]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, key: _Key, item: _Item) -> _Result:
        """The result of an item. An item whose caller was cancelled before its batch began is left out."""
        future: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque([(item, future)])
            task = asyncio.create_task(self._run(key))
            self._running.add(task)  # the loop itself does not keep tasks alive
            task.add_done_callback(self._running.discard)
        else:
            waiting.append((item, future))
        return await future

    @property
    def waiting(self) -> int:
        """Items that no batch has begun with."""
        return sum(map(len, self._waiting.values()))

    async def _run(self, key: _Key) -> None:
        waiting = self._waiting[key]
        while waiting:
            batch = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
            await self._work_on(key, [each for each in batch if not each[1].done()])
        del self._waiting[key]

    async def _work_on(self, key: _Key, batch: list[tuple[_Item, asyncio.Future[_Result]]]) -> None:
        if not batch:
            return
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._work, key, [item for item, _ in batch])
        except Exception as error:
            if len(batch) == 1:
                _set(batch[0][1], error=error)
                return
            for each in batch:  # one of them is at fault; the others are not to suffer for it
                await self._work_on(key, [each])
            return
        for (_, future), result in zip(batch, results, strict=True):
            _set(future, result=result)


def _set(
    future: asyncio.Future[_Result], *, result: _Result | None = None, error: Exception | None = None
) -> None:
    if future.done():  # its caller was cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)  # type: ignore[arg-type] # one of the two is given
