# SPDX-License-Identifier: Apache-2.0
"""Entries of the audit log: actor, purpose, operation, subject and time, each with the hash of the entry before.

An entry never holds a template or a score. A changed, removed or inserted entry changes the hashes of all later
entries. The number and hash of a later entry, noted elsewhere, reveal it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import NamedTuple

from abis.answers import Answer
from abis.errors import ArgumentError
from abis.text import printable

__all__ = ["Actor", "AuditEntry", "acting", "actor", "chained"]

_MAX_NAME = 255


class Actor(NamedTuple):
    """Name of the actor, and purpose of its actions."""

    name: str
    purpose: str


_actor: ContextVar[Actor | None] = ContextVar("abis_actor", default=None)


@dataclass(frozen=True)
class AuditEntry(Answer):
    """One line of the audit log.

    Attributes:
        number: from 1, without gaps.
        time: UTC.
        actor: name given to :meth:`Gallery.acting`; empty if none was given.
        purpose: purpose given to :meth:`Gallery.acting`; empty if none was given.
        operation: "enroll", "verify", "erase", …
        subject_id: subject of the operation; empty if the operation concerns no single subject.
        outcome: outcome in words.
        hash: SHA-256 over the hash of the entry before and this one, hexadecimal.
    """

    number: int
    time: datetime
    actor: str
    purpose: str
    operation: str
    subject_id: str
    outcome: str
    hash: str

    def __str__(self) -> str:
        who = f"{self.actor or '-'} ({self.purpose or '-'})"
        what = f"{self.operation} {self.subject_id} {self.outcome}"
        return printable(f"{self.number:8} {self.time:%Y-%m-%d %H:%M:%S} {who}: {what}")


@contextmanager
def acting(name: str, purpose: str) -> Iterator[None]:
    """State the actor and the purpose of everything that this thread or task does in the ``with`` block."""
    for what, value in (("actor", name), ("purpose", purpose)):
        if not 1 <= len(value) <= _MAX_NAME or printable(value) != value:
            raise ArgumentError(
                f"{what} is {value!r}; expected text of 1 to {_MAX_NAME} characters, none of them a control character"
            )
    token = _actor.set(Actor(name, purpose))
    try:
        yield
    finally:
        _actor.reset(token)


def actor() -> Actor | None:
    """The present actor, or None."""
    return _actor.get()


def chained(before: bytes, fields: Sequence[int | str]) -> bytes:
    """The hash of an entry: SHA-256 over that of the one before it (none: empty) and its fields as JSON.

    The fields are number, time in microseconds, actor, purpose, operation, subject_id, outcome.
    """
    # As json.dumps(fields, separators=(",", ":")), a tenth of its time: an entry is made for each enrolment.
    text = ",".join([_quoted(field) if isinstance(field, str) else str(field) for field in fields])
    return hashlib.sha256(before + f"[{text}]".encode()).digest()
