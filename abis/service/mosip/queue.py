# SPDX-License-Identifier: Apache-2.0
"""MOSIP's queue: STOMP 1.2 to ActiveMQ Classic or Artemis.

A message is acknowledged once the broker has confirmed that it has the answer. If the service or the broker dies before
that, the message is delivered again and gets the same answer. (A transaction over both would be neater, but Artemis has
no transactional acknowledgements.) An identification begins when all inserts and deletes that came before it are done.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing, suppress

import stomp
from stomp.exception import NotConnectedException, StompException
from stomp.utils import Frame

from abis.service.mosip.member import Member
from abis.service.mosip.messages import Asked, MessageKind, parsed
from abis.service.served import Served, open_served, signals_kept
from abis.service.settings import MosipSettings, Settings

__all__ = ["Queue", "serve"]

_log = logging.getLogger("abis.service.mosip")
_SUBSCRIPTION = "abis"
_HEARTBEAT_MS = 10_000
_LONGEST_WAIT_S = 5.0  # between two attempts to reach the broker
_CONFIRMED_S = 60.0  # that the broker has to confirm an answer
_ARTEMIS = "ActiveMQ-Artemis"  # begins the name that Artemis gives itself in its CONNECTED frame


class _Order:
    """Which messages must be done before another one begins. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Future[None], Asked | None] = {}

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, asked: Asked | None) -> tuple[Future[None], list[Future[None]]]:
        """A future to be set when the message is done, and those to wait for before it begins."""
        own: Future[None] = Future()
        with self._lock:
            before = [future for future, other in self._open.items() if _waits(asked, other)]
            self._open[own] = asked
        return own, before

    def leave(self, own: Future[None]) -> None:
        """The message is done."""
        with self._lock:
            del self._open[own]
        own.set_result(None)


def _waits(asked: Asked | None, other: Asked | None) -> bool:
    """Whether a message waits for another one that came before it."""
    if asked is None or other is None or not other.kind.is_change:
        return False
    if asked.kind is MessageKind.IDENTIFY:
        return True
    return asked.kind.is_change and asked.reference_id == other.reference_id


class Queue:
    """A member of MOSIP at its queue.

    Args:
        served: the gallery or cluster, open; the caller closes it.
        settings: of the service.

    Raises:
        SettingsError: the private key cannot be read.
    """

    def __init__(self, served: Served, settings: Settings) -> None:
        self._settings = settings.mosip
        self._order = _Order()
        self._member = Member(served, settings, lambda: len(self._order))
        self._pool = ThreadPoolExecutor(settings.mosip.workers, thread_name_prefix="abis-mosip")
        self._stopping = threading.Event()
        self.connected = threading.Event()

    def stop(self) -> None:
        """Have :meth:`run` end: messages that were begun are answered, the others go back to the broker."""
        self._stopping.set()
        self.connected.set()

    def run(self) -> None:
        """Answer messages until :meth:`stop`, over as many connections as it takes."""
        wait_s = 1.0
        try:
            while not self._stopping.is_set():
                try:
                    with _Connection(self._settings, self) as connection:
                        self.connected.set()
                        wait_s = 1.0
                        connection.last_until(self._stopping)
                except (StompException, OSError) as error:
                    _log.warning("the broker does not answer: %s", type(error).__name__)
                if not self._stopping.is_set():
                    self.connected.clear()
                    self._stopping.wait(wait_s)
                    wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._member.close()

    def submit(self, frame: Frame, connection: _Connection) -> Future[None]:
        """Work on a message as soon as those are done that it waits for."""
        body = frame.body if isinstance(frame.body, bytes) else frame.body.encode()
        asked = parsed(body)[1]
        own, before = self._order.enter(asked if isinstance(asked, Asked) else None)

        def work() -> None:
            try:
                wait(before)
                if connection.is_open:  # else the broker delivers it again
                    connection.reply(frame, self._member.answered(body))
            except (StompException, OSError) as error:
                _log.warning("an answer could not be sent: %s", type(error).__name__)
            except Exception:
                _log.exception("a message could not be answered")
            finally:
                self._order.leave(own)

        future = self._pool.submit(work)
        future.add_done_callback(lambda done: self._order.leave(own) if done.cancelled() else None)
        return future


class _Connection(stomp.ConnectionListener):  # type: ignore[misc] # stomp.py has no types
    """One connection to the broker, from connect to disconnect."""

    def __init__(self, settings: MosipSettings, queue: Queue) -> None:
        self._settings = settings
        self._queue = queue
        self._lost = threading.Event()
        self._closing = threading.Event()
        self._confirmed: dict[str, threading.Event] = {}
        self._is_artemis = False
        self._work: set[Future[None]] = set()
        self._stomp = stomp.Connection12(
            [(settings.host, settings.port)],
            heartbeats=(_HEARTBEAT_MS, _HEARTBEAT_MS),
            reconnect_attempts_max=1,
            auto_decode=False,
            auto_content_length=False,
        )
        self._stomp.set_listener("abis", self)

    @property
    def is_open(self) -> bool:
        """Whether answers can be sent."""
        return not self._lost.is_set()

    def __enter__(self) -> _Connection:
        settings = self._settings
        self._stomp.connect(settings.user or None, settings.password or None, wait=True)
        headers = {"subscription-type": "ANYCAST"}
        if not self._is_artemis:
            headers = {
                "activemq.prefetchSize": str(2 * settings.workers),
                "activemq.exclusive": "true",  # of several services one answers, so that the order holds
            }
        self._stomp.subscribe(
            self._destination(settings.inbound), id=_SUBSCRIPTION, ack="client-individual", headers=headers
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        wait(self._begun())  # the broker would deliver them again, were the subscription to end before
        with suppress(StompException, OSError):
            self._stomp.disconnect()
        self._lost.set()

    def last_until(self, stopping: threading.Event) -> None:
        """Wait until the connection is lost, or the service is to stop."""
        while not stopping.is_set() and not self._lost.wait(0.2):
            pass

    def on_message(self, frame: Frame) -> None:
        """Take a message; one that comes too late goes back to the broker."""
        if self._closing.is_set():
            return
        future = self._queue.submit(frame, self)
        self._work.add(future)
        future.add_done_callback(self._work.discard)

    def on_connected(self, frame: Frame) -> None:
        """Take note of which broker it is."""
        self._is_artemis = str(frame.headers.get("server", "")).startswith(_ARTEMIS)

    def on_receipt(self, frame: Frame) -> None:
        """Take note that the broker has an answer."""
        confirmed = self._confirmed.get(frame.headers["receipt-id"])
        if confirmed is not None:
            confirmed.set()

    def on_error(self, frame: Frame) -> None:
        """Log what the broker refuses; it closes the connection."""
        _log.warning("the broker refuses: %s", str(frame.headers.get("message", ""))[:200])

    def on_disconnected(self) -> None:
        """Take note that the connection is lost."""
        self._lost.set()
        for confirmed in list(self._confirmed.values()):
            confirmed.set()

    def reply(self, frame: Frame, body: bytes) -> None:
        """Send an answer, and acknowledge its message once the broker has it.

        Raises:
            StompException: the connection was lost before; the broker delivers the message again.
        """
        is_bytes = "content-length" in frame.headers
        if self._settings.message_format != "as-received":
            is_bytes = self._settings.message_format == "byte"
        headers = {"content-length": str(len(body))} if is_bytes else {}
        if self._is_artemis:
            headers["destination-type"] = "ANYCAST"
        receipt = str(uuid.uuid4())
        confirmed = self._confirmed[receipt] = threading.Event()
        try:
            self._stomp.send(
                self._destination(self._settings.outbound),
                body if is_bytes else body.decode(),
                content_type="application/json",
                headers={**headers, "persistent": "true", "receipt": receipt},
            )
            if self._lost.is_set() or not confirmed.wait(_CONFIRMED_S) or self._lost.is_set():
                raise NotConnectedException("the broker has not confirmed an answer")
            self._stomp.ack(frame.headers["ack"])
        finally:
            del self._confirmed[receipt]

    def _destination(self, name: str) -> str:
        """A queue as the broker calls it: to Artemis the prefix of Classic would be a part of the name."""
        return name if name.startswith("/") or self._is_artemis else f"/queue/{name}"

    def _begun(self) -> Iterable[Future[None]]:
        """Messages at work; those that none has begun with go back to the broker."""
        return [future for future in list(self._work) if not future.cancel()]


def serve(settings: Settings, stopping: threading.Event) -> None:
    """Answer MOSIP's messages until an event is set.

    Raises:
        StoreError: the gallery cannot be opened.
        SettingsError: the private key cannot be read.
    """
    with signals_kept():
        opened = open_served(settings)
    with closing(opened) as served:
        served.load()
        queue = Queue(served, settings)
        thread = threading.Thread(target=queue.run, name="abis-mosip-queue")
        thread.start()
        stopping.wait()
        queue.stop()
        thread.join()
