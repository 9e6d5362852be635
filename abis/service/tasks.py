# SPDX-License-Identifier: Apache-2.0
"""Works on the tasks of the outbox and sends their results to callers, beside the requests of the moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import msgspec
import sqlalchemy as sa

from abis.errors import StoreError
from abis.service.callers import Caller
from abis.service.messages import Error
from abis.service.operations import OPERATIONS, Call, OperationAnswer
from abis.service.outbox import AlreadyDone, Delivery, Outbox, Result, Task
from abis.service.refusals import Refusal, refusal_of
from abis.service.service import Service

__all__ = ["Tasks", "encoded"]

_log = logging.getLogger("abis.service")
_AT_ONCE = 4  # tasks at work, and results being sent
_LOOK_S = 1.0  # between two looks for tasks of other processes
_AGAIN_S = 2.0  # before a task is worked on again that the store had no answer for
_TIMEOUT_S = 20.0  # of a callback
_FORGET_S = 3_600.0
_OPERATIONS = {operation.name: operation for operation in OPERATIONS}
_UNNAMED = Caller("", "")
_T = TypeVar("_T")


def encoded(body: object) -> bytes:
    """The body of an answer as it is sent."""
    return body if isinstance(body, bytes) else msgspec.json.encode(body)


class Tasks:
    """The workers of a service's outboxes. For one event loop.

    Args:
        service: whose outboxes they are.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._new = asyncio.Event()
        self._stopping = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)

    def start(self) -> None:
        """Begin to work."""
        for part in self._service.served.parts:
            for step in (*[self._work] * _AT_ONCE, self._deliver, self._forget):
                self._loops.append(asyncio.create_task(self._repeat(partial(step, part.outbox))))

    async def stop(self) -> None:
        """Finish what was begun, and begin nothing new."""
        self._stopping.set()
        self._new.set()
        await asyncio.gather(*self._loops)
        await self._client.aclose()

    def wake(self) -> None:
        """There is a new task."""
        self._new.set()

    async def _repeat(self, step: Callable[[], Coroutine[Any, Any, float]]) -> None:
        """Do a step again and again; it says how many seconds there is nothing to do after it."""
        while not self._stopping.is_set():
            try:
                pause = await step()
            except StoreError:
                pause = _AGAIN_S
            except Exception:
                _log.exception("a step of the task queue failed")
                pause = _AGAIN_S
            if pause:
                self._new.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._new.wait(), pause)

    async def _work(self, outbox: Outbox) -> float:
        task = await self._in_thread(outbox.take)
        if task is None:
            return _LOOK_S
        await self._work_on(outbox, task)
        self._new.set()
        return 0.0

    async def _work_on(self, outbox: Outbox, task: Task) -> None:
        task_id, request = task

        def note(connection: sa.Connection, body: object) -> None:
            result = Result(204, b'"OK"') if body is None else Result(200, encoded(body))
            outbox.finish(connection, task_id, result)

        operation = _OPERATIONS[request.operation]
        accept = ""  # JSON, the only form in which OSIA declares results
        call = Call(operation, request.path, request.query, request.body, accept, request.caller, note)
        try:
            async with asyncio.timeout(self._service.settings.limits.seconds):
                answer = await operation.run(self._service, call, operation.prepare(self._service, call))
        except AlreadyDone:
            return
        except StoreError:
            await self._in_thread(lambda: outbox.put_back(task_id, seconds=_AGAIN_S))
            return
        except TimeoutError:
            answer = _refused(call, Refusal(500, "the task took too long"))
        except Exception as error:  # whatever it is, the caller is told
            refused = refusal_of(error)
            if refused.status == 500:
                _log.exception("a task failed", extra={"task_id": task_id})
            answer = _refused(call, refused)
        if operation.is_change and answer.status < 400:
            return  # the note was written with the change
        with suppress(AlreadyDone):
            result = Result(answer.status, encoded(answer.body))
            await self._in_thread(lambda: outbox.finish_alone(task_id, result))

    async def _deliver(self, outbox: Outbox) -> float:
        deliveries = await self._in_thread(lambda: outbox.take_deliveries(_AT_ONCE))
        await asyncio.gather(*(self._send(outbox, delivery) for delivery in deliveries))
        return 0.0 if deliveries else _LOOK_S

    async def _send(self, outbox: Outbox, delivery: Delivery) -> None:
        names = urlencode({"transactionId": delivery.transaction_id, "taskId": delivery.task_id})
        url = f"{delivery.callback}{'&' if '?' in delivery.callback else '?'}{names}"
        is_error = delivery.result.status >= 400
        media_type = "application/error+json" if is_error else "application/json"
        try:
            response = await self._client.post(
                url, content=delivery.result.body, headers={"Content-Type": media_type}
            )
        except (httpx.HTTPError, httpx.InvalidURL):
            taken = False
        else:
            taken = response.is_success
        if taken:
            await self._in_thread(lambda: outbox.delivered(delivery))
        else:
            await self._in_thread(lambda: outbox.not_delivered(delivery))

    async def _forget(self, outbox: Outbox) -> float:
        await self._in_thread(outbox.forget_old)
        return _FORGET_S

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await self._service.in_thread(_UNNAMED, work)


def _refused(call: Call, refused: Refusal) -> OperationAnswer:
    status = call.operation.status(refused.status)
    return OperationAnswer(status, Error(code=status, message=refused.message))
