# SPDX-License-Identifier: Apache-2.0
"""HTTP: routes, limits, tokens and errors around the operations. An ASGI application.

``/health/live``, ``/health/ready`` and ``/metrics`` need no token and name no person.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from abis.errors import AbisError
from abis.service import metrics
from abis.service.authentication import Authentication
from abis.service.callers import Caller
from abis.service.messages import Error, TaskId
from abis.service.operations import OPERATIONS, Call, OperationAnswer, OsiaOperation
from abis.service.outbox import Request
from abis.service.refusals import Refusal, refusal_of
from abis.service.served import Served, open_served, signals_kept
from abis.service.service import Service
from abis.service.settings import Settings
from abis.service.tasks import Tasks, encoded

__all__ = ["Application"]

_log = logging.getLogger("abis.service")
_tracer = trace.get_tracer("abis.service")
_traces = TraceContextTextMapPropagator()
_Scope: TypeAlias = MutableMapping[str, Any]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_Headers: TypeAlias = Mapping[bytes, str]
_AGAIN_S = 2.0  # between two attempts to load the references
_FIRST_LOOK_S = 0.05  # after the start of a request: the first check that its caller is still there


class _Route(NamedTuple):
    segments: tuple[str | None, ...]  # None: any
    operations: dict[str, OsiaOperation]


class Disconnected(Exception):  # noqa: N818 - reads as the sentence it says
    """The caller disconnected before the answer."""


class _Running:
    """What lives from the server's start to its end."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self.served = served
        self.service = Service(served, settings)
        self.tasks = Tasks(self.service)
        self.tasks.start()
        self._stopping = asyncio.Event()
        self._loading = asyncio.create_task(self._load())

    @classmethod
    async def start(cls, settings: Settings) -> _Running:
        return cls(await asyncio.to_thread(open_served, settings), settings)

    async def _load(self) -> None:
        """Load the references, however long the store does not answer."""
        while self.service.settings.identification and not self._stopping.is_set():
            try:
                await asyncio.to_thread(self.served.load)
            except AbisError as error:
                _log.warning("references cannot be loaded: %s", type(error).__name__)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), _AGAIN_S)
            else:
                return

    async def stop(self) -> None:
        self._stopping.set()
        await self.tasks.stop()
        await asyncio.wait([self._loading])
        await asyncio.to_thread(self.service.close)
        await asyncio.to_thread(self.served.close)


async def _live(_service: Service) -> OperationAnswer:
    return OperationAnswer(200, {"status": "live"})


async def _ready(service: Service) -> OperationAnswer:
    """The store answers, and where this process identifies, its references are loaded."""
    behind = await service.in_thread(Caller("", ""), lambda: service.served.changes_behind)
    if service.settings.identification and not service.served.is_loaded:
        return OperationAnswer(503, {"status": "references are being loaded"})
    return OperationAnswer(200, {"status": "ready", "referencesBehind": behind})


async def _metrics(service: Service) -> OperationAnswer:
    text = await service.in_thread(Caller("", ""), lambda: metrics.text(service.served))
    return OperationAnswer(200, text, metrics.MEDIA_TYPE)


_ABOUT: dict[str, Callable[[Service], Awaitable[OperationAnswer]]] = {
    "/health/live": _live,
    "/health/ready": _ready,
    "/metrics": _metrics,
}


class Application:
    """OSIA's interface over HTTP. Opens the gallery when the server starts, closes it when that ends.

    Args:
        settings: of the service.

    Raises:
        SettingsError: there are no keys to check tokens with, or they cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        settings.check_http()
        self._settings = settings
        self._limits = settings.limits
        self._authentication = Authentication(settings)
        self._routes = _routes()
        self._running: _Running | None = None
        self._at_work = 0
        self._of_caller: Counter[str] = Counter()

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request, or begin and end with the server."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            answer, headers = await self._answered(scope, receive)
        except Disconnected:
            return
        await _respond(send, answer, headers)

    @property
    def _service(self) -> Service:
        if self._running is None:
            raise Refusal(503, "the service is starting")
        return self._running.service

    async def _lifespan(self, receive: _Receive, send: _Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    with signals_kept():
                        self._running = await _Running.start(self._settings)
                except AbisError as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._running is not None:
                    await self._running.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _answered(self, scope: _Scope, receive: _Receive) -> tuple[OperationAnswer, dict[str, str]]:
        if scope["method"] == "GET" and (about := _ABOUT.get(scope["path"])) is not None:
            try:
                return await about(self._service), {}
            except AbisError:
                return OperationAnswer(503, {"status": "the store does not answer"}), {}
        operation: OsiaOperation | None = None
        headers: dict[str, str]
        begun = time.perf_counter()
        given = {name: value.decode("latin-1") for name, value in scope["headers"]}
        with _tracer.start_as_current_span("osia", context=_trace(given), kind=SpanKind.SERVER) as span:
            try:
                operation, path = self._found(scope)
                span.update_name(operation.name)
                answer, headers = await self._operated(operation, path, scope, given, receive), {}
            except Disconnected:
                raise
            except Exception as error:  # whatever it is, the caller is told
                answer, headers = self._refused(operation, error)
            name = "unknown" if operation is None else operation.name
            seconds = time.perf_counter() - begun
            metrics.observed(name, answer.status, seconds)
            self._log(name, answer, seconds, scope)
        return answer, headers

    def _refused(
        self, operation: OsiaOperation | None, error: Exception
    ) -> tuple[OperationAnswer, dict[str, str]]:
        refused = refusal_of(error)
        status = refused.status if operation is None else operation.status(refused.status)
        if status == 500:
            _log.exception("an operation failed")
        return OperationAnswer(status, Error(code=status, message=refused.message)), refused.headers

    def _log(self, operation: str, answer: OperationAnswer, seconds: float, scope: _Scope) -> None:
        if not _log.isEnabledFor(logging.INFO):
            return
        fields: dict[str, object] = {
            "operation": operation,
            "status": answer.status,
            "seconds": round(seconds, 6),
        }
        if self._settings.log_ids:
            fields["person_id"] = unquote(scope["path"])
            if isinstance(answer.body, Error):
                fields["reason"] = answer.body.message
        _log.info("request", extra=fields)

    def _found(self, scope: _Scope) -> tuple[OsiaOperation, dict[str, str]]:
        """The operation that is called, and the parameters in its path."""
        raw: bytes = scope.get("raw_path") or scope["path"].encode()
        try:
            segments = [unquote_to_bytes(part).decode() for part in raw.partition(b"?")[0].split(b"/")[1:]]
        except UnicodeDecodeError:
            raise Refusal(400, "the path is not UTF-8") from None
        for route in self._routes.get(_shape(segments), ()):
            if all(
                fixed is None or fixed == given for fixed, given in zip(route.segments, segments, strict=True)
            ):
                operation = route.operations.get(scope["method"])
                if operation is None:
                    allowed = ", ".join(sorted(route.operations))
                    raise Refusal(405, f"expected one of the methods {allowed}", {"Allow": allowed})
                return operation, {
                    name: segments[place] for place, name in enumerate(operation.parameters) if name
                }
        raise Refusal(404, "there is no such path")

    async def _operated(
        self,
        operation: OsiaOperation,
        path: dict[str, str],
        scope: _Scope,
        headers: _Headers,
        receive: _Receive,
    ) -> OperationAnswer:
        if self._at_work >= self._limits.requests:
            raise Refusal(503, "too many requests are at work; send the request again")
        self._at_work += 1
        try:
            caller = await self._caller(headers.get(b"authorization"), operation.scope)
            if self._of_caller[caller.name] >= self._limits.requests_per_caller:
                raise Refusal(429, "too many requests of this caller are at work; send the request again")
            self._of_caller[caller.name] += 1
            try:
                query = _query(scope["query_string"])
                body = await self._body(operation, headers, receive)
                call = Call(operation, path, query, body, headers.get(b"accept", ""), caller)
                return await self._run(call, receive)
            finally:
                self._of_caller[caller.name] -= 1
                if not self._of_caller[caller.name]:
                    del self._of_caller[caller.name]
        finally:
            self._at_work -= 1

    async def _caller(self, authorization: str | None, scope: str) -> Caller:
        if self._authentication.knows(authorization):
            return self._authentication.caller(authorization, scope)
        return await asyncio.to_thread(self._authentication.caller, authorization, scope)

    async def _body(self, operation: OsiaOperation, headers: _Headers, receive: _Receive) -> bytes:
        if operation.has_body:
            kind = headers.get(b"content-type", "application/json").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise Refusal(415, f"content type {kind[:40]!r}; expected application/json")
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self._limits.body_bytes:
            raise Refusal(413, f"the body is larger than {self._limits.body_bytes} bytes")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.receive_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > self._limits.body_bytes:
                        raise Refusal(413, f"the body is larger than {self._limits.body_bytes} bytes")
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {self._limits.receive_seconds:g} s") from None
        return bytes(body) if operation.has_body else b""

    async def _run(self, call: Call, receive: _Receive) -> OperationAnswer:
        transaction_id = call.query.get("transactionId")
        if transaction_id is None:
            raise Refusal(400, "transactionId: missing; expected the id of the transaction")
        priority = call.integer("priority", 0, 0, 9)
        callback = call.query.get("callback")
        if callback is not None and call.operation.may_call_back:
            return await self._submitted(call, callback, transaction_id, priority)
        prepared = call.operation.prepare(self._service, call)
        watch = _Watch(receive, self._limits.seconds)
        try:
            return await call.operation.run(self._service, call, prepared)
        except asyncio.CancelledError:
            watch.raise_reason()
            raise
        finally:
            watch.end()

    async def _submitted(
        self, call: Call, callback: str, transaction_id: str, priority: int
    ) -> OperationAnswer:
        """Note a task, once its message and query are checked."""
        call.operation.prepare(self._service, call)
        path = dict(call.path)
        if call.operation.name == "createEncounterNoIds":
            path["personId"] = str(uuid.uuid4())  # however often the task is begun
        task_id = self._service.served.new_task_id(path.get("personId", path.get("personIdTarget")))
        outbox = self._service.served.part_of_task(task_id).outbox
        request = Request(
            call.operation.name,
            path,
            {n: v for n, v in call.query.items() if n not in ("transactionId", "callback", "priority")},
            call.body,
            call.caller,
        )
        await self._service.in_thread(
            call.caller,
            lambda: outbox.submit(
                task_id, request, callback=callback, transaction_id=transaction_id, priority=priority
            ),
        )
        if self._running is not None:
            self._running.tasks.wake()
        return OperationAnswer(202, TaskId(task_id=task_id))


class _Watch:
    """Cancels the present task if its caller disconnects or it takes too long.

    Most requests are answered before the watch looks for the first time, so that it costs them one timer.

    Args:
        receive: of the request, whose body has been read.
        seconds: that the task may take.
    """

    def __init__(self, receive: _Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._task = asyncio.current_task()
        self._reason: Exception | None = None
        self._looking: asyncio.Task[None] | None = None
        first = min(_FIRST_LOOK_S, seconds)
        self._timer = asyncio.get_running_loop().call_later(first, self._begin)

    def raise_reason(self) -> None:
        """Raise why the task was cancelled, if this watch cancelled it."""
        if self._reason is not None:
            assert self._task is not None
            self._task.uncancel()
            raise self._reason

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _begin(self) -> None:
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._seconds - min(_FIRST_LOOK_S, self._seconds)):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
            self._reason = Disconnected()
        except TimeoutError:
            self._reason = Refusal(503, f"the request took longer than {self._seconds:g} s")
        if self._task is not None:
            self._task.cancel()


def _trace(headers: _Headers) -> Context | None:
    """The trace that a request belongs to."""
    if b"traceparent" not in headers:
        return None
    return _traces.extract({name.decode("latin-1"): value for name, value in headers.items()})


def _query(text: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError:
        raise Refusal(400, "the query cannot be read") from None
    query = dict(pairs)
    if len(query) < len(pairs):
        raise Refusal(400, "a parameter of the query is given twice")
    return query


def _shape(segments: Sequence[str | None]) -> tuple[int, str | None]:
    """What tells most paths apart: how many segments there are, and the second."""
    return len(segments), segments[1] if len(segments) > 1 else None


def _routes() -> dict[tuple[int, str | None], list[_Route]]:
    """Paths and what may be done there, by their shape; fixed ones before those with parameters."""
    found: dict[tuple[str | None, ...], dict[str, OsiaOperation]] = {}
    for operation in OPERATIONS:
        segments = tuple(None if s.startswith("{") else s for s in operation.path.split("/")[1:])
        found.setdefault(segments, {})[operation.method] = operation
    routes: dict[tuple[int, str | None], list[_Route]] = {}
    for segments, operations in sorted(found.items(), key=lambda each: [s is None for s in each[0]]):
        routes.setdefault(_shape(segments), []).append(_Route(segments, operations))
    return routes


async def _respond(send: _Send, answer: OperationAnswer, headers: dict[str, str]) -> None:
    fields = [(b"cache-control", b"no-store")]
    fields += [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    body = b""
    if answer.body is not None:
        body = encoded(answer.body)
        fields.append((b"content-type", answer.media_type.encode()))
        fields.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})
