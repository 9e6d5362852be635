# SPDX-License-Identifier: Apache-2.0
"""Tasks in the gallery's own database: what is asked for, what came of it, whether the caller has it.

A task's result is written in the transaction that does what the task asks for, so it is done once, however often a
process dies over it. A result is sent until the caller takes it; it may arrive more than once, always with the same
task id.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from abis.service.callers import Caller
from abis.service.fetching import origin_of
from abis.service.messages import Error
from abis.service.refusals import Refusal
from abis.service.settings import Settings
from abis.service.tables import tasks
from abis.store import Store
from abis.store.kept import drop, keep, kept
from abis.store.records import microseconds

__all__ = ["AlreadyDone", "Delivery", "Outbox", "Request", "Result", "Task"]

_SECOND = 1_000_000  # microseconds
_GRACE_S = 10.0  # beyond the time that a task may take, before another process takes it
_LONGEST_WAIT_S = 3_600.0  # between two attempts to send a result
_SENDING_S = 30.0  # that a process has to send a result

PENDING, SCHEDULED, RETRY, ERROR, COMPLETED = (
    "PENDING",
    "RESPONSE_SCHEDULED",
    "RESPONSE_RETRY",
    "RESPONSE_ERROR",
    "COMPLETED",
)


class AlreadyDone(Exception):  # noqa: N818 - reads as the sentence it says
    """Another process has done the task; what this one was about to do is undone."""


class Request(msgspec.Struct, frozen=True):
    """What a task is to do: a call of an operation."""

    operation: str
    path: dict[str, str]
    query: dict[str, str]
    body: bytes
    caller: Caller


class Result(NamedTuple):
    """What came of a task: an HTTP status and the body that is sent to the callback."""

    status: int
    body: bytes


class Task(NamedTuple):
    """A task that this process has taken."""

    task_id: str
    request: Request


class Delivery(NamedTuple):
    """A result that this process has taken to send, until a time in microseconds."""

    task_id: str
    transaction_id: str
    callback: str
    attempts: int
    until: int
    result: Result


_WORKED_ON = 5  # times that a task is begun with, before it is given up
_GIVEN_UP = Result(500, msgspec.json.encode(Error(code=500, message="the task could not be finished")))


class Outbox:
    """The tasks of a gallery. Safe for threads and processes.

    Args:
        store: of the gallery.
        settings: of the service.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._origins = {origin_of(origin) for origin in settings.callback_origins} - {None}
        self._lease = round((settings.limits.seconds + _GRACE_S) * _SECOND)
        self._attempts = settings.callback_attempts
        self._kept = round(settings.task_days * 86_400 * _SECOND)

    # --------------------------------------------------------------------------------------- of callers

    def submit(
        self, task_id: str, request: Request, *, callback: str, transaction_id: str, priority: int
    ) -> None:
        """Note a task; returns once the note is on disk.

        Raises:
            Refusal: 403 where results may not be sent there.
        """
        if origin_of(callback) not in self._origins:
            raise Refusal(403, "callback: its origin is not among those that this service sends results to")
        with self._writing() as connection:
            connection.execute(
                tasks.insert().values(
                    task_id=task_id,
                    number=_now(),
                    priority=priority,
                    state=PENDING,
                    transaction_id=transaction_id,
                    callback=callback,
                    request=keep(connection, self._store.cipher, msgspec.msgpack.encode(request)),
                    attempts=0,
                    due=0,
                )
            )

    def status(self, task_id: str) -> str:
        """The state of a task, in OSIA's words.

        Raises:
            Refusal: 404 where there is no such task.
        """
        with self._store.reading() as connection:
            state = connection.scalar(sa.select(tasks.c.state).where(tasks.c.task_id == task_id))
        if state is None:
            raise Refusal(404, f"there is no task {task_id!r}")
        return str(state)

    def redeliver(self, task_id: str) -> None:
        """Have a result sent again.

        Raises:
            Refusal: 404 where there is no such task.
        """
        self.status(task_id)
        with self._writing() as connection:
            connection.execute(
                tasks.update()
                .where(tasks.c.task_id == task_id, tasks.c.state != PENDING)
                .values(state=SCHEDULED, attempts=0, due=0)
            )

    # --------------------------------------------------------------------------------------- of workers

    def take(self) -> Task | None:
        """A task to work on: of those that wait, the one of the highest priority that came first."""
        if not self._is_any_due(PENDING):
            return None
        with self._writing() as connection:
            now = _now()
            row = connection.execute(
                sa.select(tasks)
                .where(tasks.c.state == PENDING, tasks.c.due <= now)
                .order_by(tasks.c.priority.desc(), tasks.c.number)
                .limit(1)
            ).one_or_none()
            if row is None:
                return None
            if row.attempts == _WORKED_ON:  # it may be what processes die of
                self.finish(connection, row.task_id, _GIVEN_UP)
                return None
            connection.execute(
                tasks.update()
                .where(tasks.c.task_id == row.task_id)
                .values(due=now + self._lease, attempts=row.attempts + 1)
            )
            content = kept(connection, self._store.cipher, row.request)
        return Task(row.task_id, msgspec.msgpack.decode(content, type=Request))

    def put_back(self, task_id: str, *, seconds: float = 0.0) -> None:
        """Have a task that was taken worked on later, as if it had never been begun with."""
        with self._writing() as connection:
            due = _now() + round(seconds * _SECOND)
            connection.execute(
                tasks.update()
                .where(tasks.c.task_id == task_id, tasks.c.state == PENDING)
                .values(due=due, attempts=0)
            )

    def finish(self, connection: sa.Connection, task_id: str, result: Result) -> None:
        """Write the result of a task, in the transaction that does what it asks for.

        Raises:
            AlreadyDone: there is one already; the transaction is to end without effect.
        """
        mine = tasks.c.task_id == task_id
        row = connection.execute(sa.select(tasks.c.state, tasks.c.request).where(mine)).one_or_none()
        if row is None or row.state != PENDING:
            raise AlreadyDone
        drop(connection, [row.request])
        key = keep(connection, self._store.cipher, result.body)
        connection.execute(
            tasks.update()
            .where(mine)
            .values(state=SCHEDULED, request=None, result=key, status=result.status, attempts=0, due=0)
        )

    def finish_alone(self, task_id: str, result: Result) -> None:
        """Write the result of a task that has changed nothing.

        Raises:
            AlreadyDone: there is one already.
        """
        with self._writing() as connection:
            self.finish(connection, task_id, result)

    def take_deliveries(self, most: int) -> list[Delivery]:
        """Results to send, the oldest first."""
        if not self._is_any_due(SCHEDULED, RETRY):
            return []
        with self._writing() as connection:
            now = _now()
            rows = connection.execute(
                sa.select(tasks)
                .where(tasks.c.state.in_((SCHEDULED, RETRY)), tasks.c.due <= now)
                .order_by(tasks.c.due, tasks.c.number)
                .limit(most)
            ).all()
            if not rows:
                return []
            until = now + round(_SENDING_S * _SECOND)
            taken = tasks.c.task_id.in_([row.task_id for row in rows])
            connection.execute(tasks.update().where(taken).values(due=until))
            return [
                Delivery(
                    row.task_id,
                    row.transaction_id,
                    row.callback,
                    row.attempts,
                    until,
                    Result(row.status, kept(connection, self._store.cipher, row.result)),
                )
                for row in rows
            ]

    def delivered(self, delivery: Delivery) -> None:
        """Note that the caller has taken a result, where it is not to be sent again meanwhile."""
        with self._writing() as connection:
            connection.execute(tasks.update().where(*_still(delivery)).values(state=COMPLETED))

    def not_delivered(self, delivery: Delivery) -> None:
        """Note that the caller has not taken a result, and when to try again: twice as long each time."""
        attempts = delivery.attempts + 1
        wait = min(2.0 ** (attempts - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.25)
        with self._writing() as connection:
            connection.execute(
                tasks.update()
                .where(*_still(delivery))
                .values(
                    state=ERROR if attempts >= self._attempts else RETRY,
                    attempts=attempts,
                    due=_now() + round(wait * _SECOND),
                )
            )

    def forget_old(self) -> None:
        """Remove tasks that ended long ago, with their results."""
        with self._writing() as connection:
            rows = connection.execute(
                sa.select(tasks.c.task_id, tasks.c.result).where(
                    tasks.c.state.in_((COMPLETED, ERROR)), tasks.c.number < _now() - self._kept
                )
            ).all()
            drop(connection, [row.result for row in rows if row.result is not None])
            for row in rows:
                connection.execute(tasks.delete().where(tasks.c.task_id == row.task_id))

    def depth(self) -> dict[str, int]:
        """How many tasks there are, by state."""
        query = sa.select(tasks.c.state, sa.func.count().label("number")).group_by(tasks.c.state)
        with self._store.reading() as connection:
            return {row.state: row.number for row in connection.execute(query)}

    def _is_any_due(self, *states: str) -> bool:
        """Whether there is something to do, by a read: most looks find nothing, and hold up no writer."""
        query = sa.select(tasks.c.task_id).where(tasks.c.state.in_(states), tasks.c.due <= _now()).limit(1)
        with self._store.reading() as connection:
            return connection.scalar(query) is not None

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._store.writing() as transaction:
            yield transaction.connection


def _still(delivery: Delivery) -> tuple[sa.ColumnElement[bool], ...]:
    """The task of a delivery, where no one has taken or redelivered it since."""
    return tasks.c.task_id == delivery.task_id, tasks.c.due == delivery.until


def _now() -> int:
    return microseconds(datetime.now(UTC))
