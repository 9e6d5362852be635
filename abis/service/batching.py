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

from abis.parallel.cancellation import Cancellation

__all__ = ["Batcher"]

_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Callers:
    """The callers that wait for a batch in progress. When the last of them is gone, the work is cancelled."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.cancellation = Cancellation()

    def leave(self) -> None:
        """A caller was cancelled."""
        self._count -= 1
        if not self._count:
            self.cancellation.cancel()


class _Waiting(Generic[_Item, _Result]):
    """An item, the result that its caller waits for, and from when it is worked on the callers of its batch."""

    __slots__ = ("callers", "item", "result")

    def __init__(self, item: _Item, result: asyncio.Future[_Result]) -> None:
        self.item = item
        self.result = result
        self.callers: _Callers | None = None


class Batcher(Generic[_Key, _Item, _Result]):
    """Hands items of one key to a function together. For one event loop.

    Args:
        work: takes a key and items, returns a result for each; called in a thread. Its searches are cancelled when all
            callers of the batch are.
        executor: of the threads.
        most: the most items of one call.
    """

    def __init__(
        self, work: Callable[[_Key, Sequence[_Item]], Sequence[_Result]], executor: Executor, most: int
    ) -> None:
        self._work = work
        self._executor = executor
        self._most = most
        self._waiting: dict[_Key, deque[_Waiting[_Item, _Result]]] = {}
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, key: _Key, item: _Item) -> _Result:
        """The result of an item. An item whose caller was cancelled before its batch began is left out."""
        asked: _Waiting[_Item, _Result] = _Waiting(item, asyncio.get_running_loop().create_future())
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = deque([asked])
            task = asyncio.create_task(self._run(key))
            self._running.add(task)  # the loop itself does not keep tasks alive
            task.add_done_callback(self._running.discard)
        else:
            waiting.append(asked)
        try:
            return await asked.result
        except asyncio.CancelledError:
            if asked.callers is not None:
                asked.callers.leave()
            raise

    @property
    def waiting(self) -> int:
        """Items that no batch has begun with."""
        return sum(map(len, self._waiting.values()))

    async def _run(self, key: _Key) -> None:
        waiting = self._waiting[key]
        while waiting:
            batch = [waiting.popleft() for _ in range(min(self._most, len(waiting)))]
            await self._work_on(key, batch)
        del self._waiting[key]

    async def _work_on(self, key: _Key, given: Sequence[_Waiting[_Item, _Result]]) -> None:
        batch = [each for each in given if not each.result.done()]  # else its caller was cancelled
        if not batch:
            return
        callers = _Callers(len(batch))
        for each in batch:
            each.callers = callers
        items = [each.item for each in batch]
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._covered, callers, key, items)
        except Exception as error:
            if len(batch) > 1:
                for each in batch:  # one of them is at fault; the others must not fail with it
                    await self._work_on(key, [each])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        for each, result in zip(batch, results, strict=True):
            if not each.result.done():
                each.result.set_result(result)

    def _covered(self, callers: _Callers, key: _Key, items: Sequence[_Item]) -> Sequence[_Result]:
        with callers.cancellation.covering():
            return self._work(key, items)
