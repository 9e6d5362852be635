# SPDX-License-Identifier: Apache-2.0
"""MOSIP's messages: what is asked, what is answered, and the reasons of failures.

A request is checked in the order that MOSIP's compliance kit relies on. All numbers are texts.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

import msgspec

__all__ = ["Asked", "Failure", "MessageKind", "Reason", "answer", "parsed"]


class Reason(IntEnum):
    """Why a request failed: the codes of MOSIP's ABIS specification."""

    INTERNAL = 1
    ABORTED = 2
    UNEXPECTED = 3
    INVALID_STRUCTURE = 4
    NO_REFERENCE_ID = 5
    NO_REQUEST_ID = 6
    NOT_FETCHED = 7
    NO_REFERENCE_URL = 8
    NO_REQUEST_TIME = 9
    REFERENCE_EXISTS = 10
    NO_DATA = 11
    REFERENCE_UNKNOWN = 12
    INVALID_VERSION = 13
    INVALID_ID = 14
    INVALID_REQUEST_TIME = 15
    INVALID_CBEFF = 16
    URL_EXPIRED = 17
    QUALITY = 18


class MessageKind(IntEnum):
    """The six messages."""

    INSERT = 0
    IDENTIFY = 1
    DELETE = 2
    PING = 3
    PENDING_JOBS = 4
    REFERENCE_COUNT = 5

    @property
    def is_change(self) -> bool:
        """Whether it changes the gallery."""
        return self in (MessageKind.INSERT, MessageKind.DELETE)


class Failure(Exception):  # noqa: N818 - the word of the specification
    """A request fails for a reason that its caller is told."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason.name}: {detail}" if detail else reason.name)
        self.reason = reason


@dataclass(frozen=True, repr=False)
class Asked:
    """A request that is as it should be.

    Attributes:
        kind: of the message.
        request_id: that the answer repeats.
        reference_id: of a person; empty where the kind has none.
        reference_url: of the data share; empty: none.
        gallery: reference ids to search among; None: all.
        max_results: the most candidates; None: not stated.
        fpir: false positive identification rate; None: not stated.
    """

    kind: MessageKind
    request_id: str
    reference_id: str = ""
    reference_url: str = ""
    gallery: tuple[str, ...] | None = None
    max_results: int | None = None
    fpir: float | None = None


_KINDS = {
    "mosip.abis.insert": MessageKind.INSERT,
    "mosip.abis.identify": MessageKind.IDENTIFY,
    "mosip.abis.delete": MessageKind.DELETE,
    "mosip.abis.ping": MessageKind.PING,
    "mosip.abis.pendingJobs": MessageKind.PENDING_JOBS,
    "mosip.abis.referenceCount": MessageKind.REFERENCE_COUNT,
}
_WITH_REFERENCE = (MessageKind.INSERT, MessageKind.IDENTIFY, MessageKind.DELETE)
_VERSION = re.compile(r"[0-9]+\.[0-9]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_URLS = ("referenceURL", "referenceUrl")  # insert and identify differ in MOSIP's own messages
_COMMON = {"id", "version", "ver", "requestId", "requesttime"}  # "ver": pendingJobs in MOSIP's kit
_MAX_ID = 255


def parsed(body: bytes) -> tuple[dict[str, Any], Asked | Failure]:
    """A request, or why it is refused; with the fields that any answer repeats.

    Args:
        body: of the message; bytes before the JSON object are left out.
    """
    start = body.find(b"{")
    try:
        fields = msgspec.json.decode(body[max(start, 0) :].rstrip(b"\0"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}, Failure(Reason.INVALID_STRUCTURE, "not JSON")
    if not isinstance(fields, dict):
        return {}, Failure(Reason.INVALID_STRUCTURE, "not a JSON object")
    repeated = {name: fields[name] for name in ("id", "requestId") if isinstance(fields.get(name), str)}
    try:
        return repeated, _asked(fields)
    except Failure as failure:
        return repeated, failure


def _asked(fields: dict[str, Any]) -> Asked:
    name = fields.get("id")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise Failure(Reason.INVALID_ID)
    version = fields.get("version", fields.get("ver"))
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise Failure(Reason.INVALID_VERSION)
    request_id = _text(fields, "requestId", Reason.NO_REQUEST_ID)
    time = _text(fields, "requesttime", Reason.NO_REQUEST_TIME)
    if not _is_time(time):
        raise Failure(Reason.INVALID_REQUEST_TIME)
    known = set(_COMMON)
    reference_id = url = ""
    if kind in _WITH_REFERENCE:
        known.add("referenceId")
        reference_id = _text(fields, "referenceId", Reason.NO_REFERENCE_ID)
    if kind in (MessageKind.INSERT, MessageKind.IDENTIFY):
        known.update(_URLS)
        given = next((fields[each] for each in _URLS if each in fields), "")
        url = given if isinstance(given, str) else ""
        if kind is MessageKind.INSERT and not url:
            raise Failure(Reason.NO_REFERENCE_URL)
    if kind is MessageKind.IDENTIFY:
        known.update(("flags", "gallery"))
    if unknown := sorted(fields.keys() - known):
        raise Failure(Reason.INVALID_STRUCTURE, f"unknown key {unknown[0]!r}")
    if len(reference_id) > _MAX_ID or "\0" in reference_id:
        raise Failure(Reason.INVALID_STRUCTURE, "referenceId is not text of 1 to 255 characters")
    most, fpir = _flags(fields.get("flags"))
    return Asked(kind, request_id, reference_id, url, _gallery(fields.get("gallery")), most, fpir)


def _text(fields: dict[str, Any], name: str, reason: Reason) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise Failure(reason)
    return value


def _is_time(text: str) -> bool:
    if not _TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(f"{text[:19]}+00:00")
    except ValueError:
        return False
    return True


def _flags(flags: Any) -> tuple[int | None, float | None]:
    """maxResults, and targetFPIR, which is stated as -10 log10."""
    if flags is None or flags == "":
        return None, None
    if not isinstance(flags, dict):
        raise Failure(Reason.INVALID_STRUCTURE, "flags is not an object")
    most = _number(flags.get("maxResults"), "maxResults")
    target = _number(flags.get("targetFPIR"), "targetFPIR")
    if most is not None and not 1 <= most <= 100_000:
        raise Failure(Reason.INVALID_STRUCTURE, "maxResults is not 1 to 100000")
    if target is not None and not 0 < target <= 200:
        raise Failure(Reason.INVALID_STRUCTURE, "targetFPIR is not above 0 and at most 200")
    return None if most is None else int(most), None if target is None else 10 ** (-target / 10)


def _number(value: Any, name: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Failure(Reason.INVALID_STRUCTURE, f"{name} is not a number")
    return number


def _gallery(gallery: Any) -> tuple[str, ...] | None:
    if gallery is None:
        return None
    if not isinstance(gallery, dict):
        raise Failure(Reason.INVALID_STRUCTURE, "gallery is not an object")
    rows = gallery.get("referenceIds")
    if not rows:
        return None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("referenceId"), str) and row["referenceId"]
        for row in rows
    ):
        raise Failure(Reason.INVALID_STRUCTURE, "gallery.referenceIds is not a list of referenceId")
    return tuple(dict.fromkeys(row["referenceId"] for row in rows))


def answer(repeated: dict[str, Any], failure: Failure | None = None, **fields: Any) -> bytes:
    """An answer as JSON.

    Args:
        repeated: id and requestId of the request.
        failure: why it failed; None: it did not.
        fields: what the message answers beside.
    """
    outcome: dict[str, Any] = {"returnValue": "1", **fields}
    if failure is not None:
        outcome = {"returnValue": "2", "failureReason": str(int(failure.reason))}
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {"id": "", "requestId": "", **repeated, "responsetime": now, **outcome}
    return msgspec.json.encode(message)
