# SPDX-License-Identifier: Apache-2.0
"""Anchors: notes of a gallery's state, written to a second place outside its database.

An attacker can replace a database by an older copy of itself. The copy and its audit log are consistent, so nothing in
them shows the replacement. An anchor does: it holds the number and hash of an entry of the audit log, which chains all
entries before it. ``abis check`` compares the audit log with the anchors.

The environment variable ``ABIS_ANCHORS`` names the place: a folder; ``syslog:``; a URL of http or https that takes a
JSON document by POST; or ``off``. By default it is ``abis/anchors`` in the user's state folder (``XDG_STATE_HOME``,
else ``~/.local/state``). A place on another machine with another administrator protects better.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import syslog
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from abis.files import private_folder, private_stream
from abis.store import schema
from abis.store.queries import select_in
from abis.store.records import Fault, State
from abis.text import printable

__all__ = ["Anchor", "anchor_file", "faults_of_anchors", "write_anchor"]

_log = logging.getLogger("abis")

_TIMEOUT_S = 5.0
_COMPARED = 10_000  # number of anchors kept in a file, the latest ones


@dataclass(frozen=True)
class Anchor:
    """The state of a gallery at a time.

    Attributes:
        time: when the anchor was written, UTC, ISO 8601.
        gallery_id: of the gallery.
        database: file or URL, without its password.
        change: number of the last change.
        audit: number of the last entry of the audit log.
        audit_hash: its hash, hexadecimal.
    """

    time: str
    gallery_id: str
    database: str
    change: int
    audit: int
    audit_hash: str


def write_anchor(database: str, state: State) -> None:
    """Write an anchor to the second place. A failure is logged as a warning; the caller goes on."""
    place = _place()
    if place is None:
        return
    now = datetime.now(UTC).isoformat(timespec="seconds")
    anchor = Anchor(now, state.gallery_id, database, state.change, state.audit, state.audit_hash)
    text = json.dumps(asdict(anchor))
    try:
        if isinstance(place, Path):
            _append(place / _name(state.gallery_id, database), text)
        elif place == "syslog:":
            syslog.syslog(syslog.LOG_NOTICE, f"abis anchor {text}")
        else:
            request = urllib.request.Request(
                place, text.encode(), {"Content-Type": "application/json"}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
                pass
    except (OSError, ValueError) as error:
        _log.warning("no anchor of %s is written to %s: %s", *map(printable, (database, place, error)))


def anchor_file(database: str, gallery_id: str) -> Path | None:
    """The file of a gallery's anchors; None if anchors do not go to a folder."""
    place = _place()
    return place / _name(gallery_id, database) if isinstance(place, Path) else None


def faults_of_anchors(connection: sa.Connection, database: str, state: State) -> Iterator[Fault]:
    """Compare the audit log with the anchors in their file."""
    file = anchor_file(database, state.gallery_id)
    if file is None or not file.exists():
        return
    advice = f"if a backup was put back on purpose, remove {file}; else ask who had access to the database"
    try:
        anchors = [Anchor(**json.loads(line)) for line in file.read_text().splitlines()[-_COMPARED:]]
    except (OSError, ValueError, TypeError) as error:
        yield Fault(f"anchors: {file} cannot be read: {error}", "remove it, once you know why")
        return
    columns = schema.audit.c
    query = sa.select(columns.number, columns.hash)
    numbers = {anchor.audit for anchor in anchors}
    hashes = {row.number: row.hash.hex() for row in select_in(connection, query, columns.number, numbers)}
    for anchor in anchors:
        if anchor.audit > state.audit or anchor.change > state.change:
            yield Fault(
                f"the database is older than it was on {anchor.time}: it ended with entry {anchor.audit} of the audit "
                f"log, now with {state.audit}",
                advice,
            )
            return
        if anchor.audit and hashes.get(anchor.audit) != anchor.audit_hash:
            yield Fault(f"entry {anchor.audit} of the audit log is not what it was on {anchor.time}", advice)
            return


def _place() -> Path | str | None:
    stated = os.environ.get("ABIS_ANCHORS")
    if stated == "off":
        return None
    if stated and (stated == "syslog:" or stated.startswith(("http://", "https://"))):
        return stated
    if stated:
        return Path(stated)
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "abis" / "anchors"
    except RuntimeError:  # a user without a home
        return None


def _name(gallery_id: str, database: str) -> str:
    """The name of the file of anchors: by gallery id and database, since a copy of a gallery has the same id."""
    return f"{gallery_id}-{hashlib.sha256(_resolved(database).encode()).hexdigest()[:16]}.anchors"


def _resolved(database: str) -> str:
    return database if "://" in database else str(Path(database).resolve())


def _append(file: Path, text: str) -> None:
    private_folder(file.parent)
    with private_stream(file) as stream:
        stream.seek(0, os.SEEK_END)
        stream.write(f"{text}\n".encode())
        stream.flush()
        os.fsync(stream.fileno())
