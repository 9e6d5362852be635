# SPDX-License-Identifier: Apache-2.0
"""A STOMP 1.2 broker that differs from ActiveMQ Classic where Artemis does, after its user manual, chapter STOMP.

- A destination is an address by itself: "/queue/a" is not the queue "a".
- SEND and SUBSCRIBE reach the queue only with ``destination-type`` and ``subscription-type`` ANYCAST. Without them the
  message goes to those who are subscribed at that moment.
- An ACK frame with a ``transaction`` header is ignored.
- Frames of Classic's own (``activemq.prefetchSize``) mean nothing.
- A heart-beat interval is at least 500 ms.
"""

from __future__ import annotations

import socket
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Artemis", "Message"]

WAIT_S = 60


@dataclass
class Message:
    """A message of a queue.

    Attributes:
        body: of it.
        is_bytes: whether it is a byte message of JMS: its frame then has a content-length.
        deliveries: how often it was sent to a subscriber.
    """

    body: bytes
    is_bytes: bool = False
    deliveries: int = 0


@dataclass
class _Subscriber:
    connection: socket.socket
    name: str
    unacknowledged: dict[str, Message] = field(default_factory=dict)


class Artemis:
    """The broker, in threads.

    Attributes:
        port: that it listens at.
        heart_beats: what clients asked for.
        lose_next: close the connection when the next message arrives for a queue, before it is confirmed or kept.
        lose_next_acknowledgement: close the connection in place of taking the next ACK.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[str, deque[Message]] = defaultdict(deque)
        self._subscribers: defaultdict[str, list[_Subscriber]] = defaultdict(list)
        self._ids = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self.port: int = self._listening.getsockname()[1]
        self.heart_beats: list[str] = []
        self.lose_next = False
        self.lose_next_acknowledgement = False
        self._threads[0].start()

    def put(self, queue: str, message: Message) -> None:
        """Put a message into a queue, as a JMS client does."""
        with self._changed:
            self._queues[queue].append(message)
            self._deliver(queue)

    def messages(self, queue: str, count: int) -> list[Message]:
        """The messages of a queue without subscribers, once there are ``count``."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._queues[queue]) >= count, WAIT_S), "no answer"
            return list(self._queues[queue])

    def wait_until_acknowledged(self, queue: str) -> None:
        """Wait until a queue is empty and its subscriber has acknowledged all of it."""

        def is_done() -> bool:
            own = self._subscribers[queue]
            return not self._queues[queue] and bool(own) and not any(each.unacknowledged for each in own)

        with self._changed:
            assert self._changed.wait_for(is_done, WAIT_S), "not acknowledged"

    def close(self) -> None:
        """End all connections and threads."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._connections):
            _end(connection)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while (frame := _read(stream)) is not None:
                    with self._changed:
                        self._take(connection, *frame)
                        self._changed.notify_all()
            except (OSError, ValueError):
                pass
            with self._changed:  # what is not acknowledged goes back, to the head
                for queue, subscribers in self._subscribers.items():
                    for gone in [each for each in subscribers if each.connection is connection]:
                        subscribers.remove(gone)
                        self._queues[queue].extendleft(reversed(gone.unacknowledged.values()))
                    self._deliver(queue)
                self._changed.notify_all()

    def _take(self, connection: socket.socket, command: str, headers: dict[str, str], body: bytes) -> None:
        match command:
            case "CONNECT" | "STOMP":
                asked = headers.get("heart-beat", "0,0")
                self.heart_beats.append(asked)
                name = "ActiveMQ-Artemis/2.31.2 ActiveMQ Artemis Messaging Engine"
                _write(connection, "CONNECTED", {"version": "1.2", "server": name, "heart-beat": "0,0"})
            case "SUBSCRIBE":
                if headers.get("subscription-type") == "ANYCAST":
                    queue = headers["destination"]
                    self._subscribers[queue].append(_Subscriber(connection, headers["id"]))
                    self._deliver(queue)
            case "SEND":
                if self.lose_next:
                    self.lose_next = False
                    raise ValueError("lost")
                if headers.get("destination-type") == "ANYCAST":
                    self._queues[headers["destination"]].append(Message(body, "content-length" in headers))
                    self._deliver(headers["destination"])
            case "ACK" if "transaction" not in headers:
                if self.lose_next_acknowledgement:
                    self.lose_next_acknowledgement = False
                    raise ValueError("lost")
                for subscribers in self._subscribers.values():
                    for subscriber in subscribers:
                        subscriber.unacknowledged.pop(headers["id"], None)
        if "receipt" in headers:
            _write(connection, "RECEIPT", {"receipt-id": headers["receipt"]})
        if command == "DISCONNECT":
            raise ValueError("the client ends")

    def _deliver(self, queue: str) -> None:
        while self._subscribers[queue] and self._queues[queue]:
            subscriber = self._subscribers[queue][0]
            message = self._queues[queue].popleft()
            message.deliveries += 1
            self._ids += 1
            identity = str(self._ids)
            subscriber.unacknowledged[identity] = message
            headers = {
                "subscription": subscriber.name,
                "destination": queue,
                "message-id": identity,
                "ack": identity,
                "redelivered": str(message.deliveries > 1).lower(),
            }
            if message.is_bytes:
                headers["content-length"] = str(len(message.body))
            _write(subscriber.connection, "MESSAGE", headers, message.body)
        self._changed.notify_all()


def _read(stream: Any) -> tuple[str, dict[str, str], bytes] | None:
    """The next frame of a client; None at the end."""
    command = b"\n"
    while command in (b"\n", b"\r\n"):  # heart-beats
        command = stream.readline()
    if not command:
        return None
    headers: dict[str, str] = {}
    while (line := stream.readline().rstrip(b"\r\n")) != b"":
        name, _, value = line.decode().partition(":")
        value = value.replace("\\c", ":").replace("\\n", "\n").replace("\\\\", "\\")
        headers.setdefault(name.replace("\\c", ":"), value)
    if "content-length" in headers:
        body = stream.read(int(headers["content-length"]))
        stream.read(1)
    else:
        body = b""
        while (byte := stream.read(1)) not in (b"\0", b""):
            body += byte
    return command.decode().strip(), headers, body


def _write(connection: socket.socket, command: str, headers: dict[str, str], body: bytes = b"") -> None:
    lines = [command, *(f"{name}:{value.replace(':', chr(92) + 'c')}" for name, value in headers.items())]
    try:
        connection.sendall("\n".join(lines).encode() + b"\n\n" + body + b"\0")
    except OSError:
        return  # it is gone, as its thread will find out


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
