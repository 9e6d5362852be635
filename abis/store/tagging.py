# SPDX-License-Identifier: Apache-2.0
"""Give every row of a gallery of schema version 4 its tag: when it is migrated, and when it is encrypted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from abis.store.records import State
from abis.store.tags import RowTags

__all__ = ["quarantine_share", "quarantine_tag", "tag_all"]

_PAGE = 5_000  # subjects whose rows are written again at once
_DECIDING = (
    "calibration:",
    "part",
    "disclosure",
    "quarantine",
)  # prefixes of the names of settings in the total of the gallery's row
_SUBJECT = "key, subject_id, templates, level, status, status_reason, status_time, labels, next, encounters"
_QUARANTINE = 'key, "import", reason, subject_id, encounter_id, "end", fault, labels'


def tag_all(connection: sa.Connection, state: State, tags: RowTags, kept: Callable[[int], bytes]) -> None:
    """Write the tags of all rows but that of table ``gallery``.

    Args:
        connection: in a writing transaction.
        state: the counters; ``content`` and ``settings`` are computed again.
        tags: of the gallery from now on.
        kept: gives the bytes of table ``kept`` by their key.
    """
    state.content = state.settings = 0
    for subjects in _pages(connection):
        first, last = subjects[0]["key"], subjects[-1]["key"]
        encounters = _tag_encounters(connection, tags, first, last)
        labels: dict[int, int] = {}
        between = sa.text("SELECT subject, label FROM labels WHERE subject BETWEEN :first AND :last")
        for subject, label in connection.execute(between, {"first": first, "last": last}):
            labels[subject] = labels.get(subject, 0) ^ tags.of("labels", (subject, label))[1]
        for row in subjects:
            row["labels"], row["encounters"] = labels.get(row["key"], 0), encounters.get(row["key"], 0)
            row["checksum"], share = tags.of("subjects", row.values())
            state.content ^= share
        update = "UPDATE subjects SET labels = :labels, encounters = :encounters, checksum = :checksum WHERE key = :key"
        connection.execute(sa.text(update), subjects)
    for label, count, keys in connection.execute(
        sa.text("SELECT label, subjects, keys FROM label_totals")
    ).all():
        tag, _ = tags.of("label_totals", (label, count, keys))
        update = "UPDATE label_totals SET checksum = :tag WHERE label = :label"
        connection.execute(sa.text(update), {"tag": tag, "label": label})
    if sa.inspect(connection).has_table("quarantine"):
        shares = _tag_quarantine(connection, tags, kept)
        connection.execute(sa.text("DELETE FROM settings WHERE name = 'quarantine'"))
        insert = "INSERT INTO settings (name, content, checksum) VALUES ('quarantine', :content, 0)"
        connection.execute(sa.text(insert), {"content": str(shares)})
    for name, content in connection.execute(sa.text("SELECT name, content FROM settings")).all():
        tag, share = tags.of("settings", (name, content))
        if name.startswith(_DECIDING):
            state.settings ^= share
        update = "UPDATE settings SET checksum = :tag WHERE name = :name"
        connection.execute(sa.text(update), {"tag": tag, "name": name})
    for own in connection.execute(sa.text("SELECT subject, failures, until FROM attempts")).all():
        tag, _ = tags.of("attempts", own)
        update = "UPDATE attempts SET checksum = :tag WHERE subject = :subject"
        connection.execute(sa.text(update), {"tag": tag, "subject": own.subject})


def quarantine_tag(tags: RowTags, row: Sequence[object], samples: Sequence[tuple[Any, ...]]) -> int:
    """The tag of a record in quarantine.

    Args:
        tags: of the gallery.
        row: the columns of table ``quarantine`` but for ``sha256`` and ``checksum``.
        samples: (number, place, position, is_text, the bytes) of each sample.
    """
    own: list[object] = []
    for *head, is_text, data in samples:
        own += [*head, None if is_text is None else int(bool(is_text)), hashlib.sha256(data).hexdigest()]
    return tags.of("quarantine", (*row, *own))[0]


def quarantine_share(tags: RowTags, key: int, tag: int) -> int:
    """The share of a record in quarantine, of its key and tag."""
    return tags.of("quarantined", (key, tag))[1]


def _pages(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    page = sa.text(f"SELECT {_SUBJECT} FROM subjects WHERE key > :last ORDER BY key LIMIT {_PAGE}")
    last = 0
    while rows := connection.execute(page, {"last": last}).mappings().all():
        yield [dict(row) for row in rows]
        last = rows[-1]["key"]


def _tag_encounters(connection: sa.Connection, tags: RowTags, first: int, last: int) -> Mapping[int, int]:
    """Tag the encounters of some subjects; returns their shares by subject."""
    query = (
        "SELECT key, subject, encounter_id, enrolled FROM encounters WHERE subject BETWEEN :first AND :last"
    )
    shares: dict[int, int] = {}
    values = []
    for row in connection.execute(sa.text(query), {"first": first, "last": last}).all():
        tag, share = tags.of("encounters", row)
        shares[row.subject] = shares.get(row.subject, 0) ^ share
        values.append({"key": row.key, "tag": tag})
    if values:
        connection.execute(sa.text("UPDATE encounters SET checksum = :tag WHERE key = :key"), values)
    return shares


def _tag_quarantine(connection: sa.Connection, tags: RowTags, kept: Callable[[int], bytes]) -> int:
    """Tag the records in quarantine; returns their shares, by XOR."""
    shares = 0
    query = sa.text(
        "SELECT number, place, position, is_text, kept FROM quarantined_samples WHERE record = :key ORDER BY number"
    )
    for row in connection.execute(sa.text(f"SELECT {_QUARANTINE} FROM quarantine")).all():
        own = [(*head, kept(at)) for *head, at in connection.execute(query, {"key": row.key})]
        update = sa.text("UPDATE quarantine SET checksum = :tag WHERE key = :key")
        tag = quarantine_tag(tags, row, own)
        shares ^= quarantine_share(tags, row.key, tag)
        connection.execute(update, {"tag": tag, "key": row.key})
    return shares
