# SPDX-License-Identifier: Apache-2.0
"""From the tables of an older abis to those of this one: forward only, all in the transaction given.

Each step spells out what it makes, and does not ask :mod:`abis.store.schema`, which will have moved on. The number
of the version and the checksum of table ``gallery`` are written behind the last step.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from abis.store.stored_form import Place, with_checksum

__all__ = ["MIGRATIONS"]

_PAGE = 10_000  # templates written again at once


_TABLES_OF_2 = """
ALTER TABLE gallery ADD COLUMN data_key INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN reseal_from BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN audit BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN audit_hash VARCHAR(64) DEFAULT '' NOT NULL;
ALTER TABLE subjects ADD COLUMN templates INTEGER DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN level SMALLINT DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN status SMALLINT DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN status_reason VARCHAR(255) DEFAULT '' NOT NULL;
ALTER TABLE subjects ADD COLUMN status_time BIGINT;
ALTER TABLE encounters ADD COLUMN enrolled BIGINT;
CREATE TABLE labels (
    subject KEY_TYPE NOT NULL,
    label VARCHAR(255) NOT NULL,
    PRIMARY KEY (subject, label),
    FOREIGN KEY(subject) REFERENCES subjects (key)
);
CREATE INDEX labels_by_label ON labels (label, subject);
CREATE TABLE data_keys (
    number INTEGER NOT NULL, wrapped BINARY_TYPE NOT NULL, made BIGINT NOT NULL, PRIMARY KEY (number)
);
CREATE TABLE audit (
    number KEY_TYPE NOT NULL,
    time BIGINT NOT NULL,
    actor VARCHAR(255) NOT NULL,
    purpose VARCHAR(255) NOT NULL,
    operation VARCHAR(32) NOT NULL,
    subject_id VARCHAR(255) NOT NULL,
    outcome TEXT NOT NULL,
    hash BINARY_TYPE NOT NULL,
    PRIMARY KEY (number)
);
CREATE TABLE kept (key KEY_TYPE NOT NULL, data BINARY_TYPE NOT NULL, PRIMARY KEY (key));
CREATE TABLE settings (name VARCHAR(255) NOT NULL, content TEXT NOT NULL, PRIMARY KEY (name));
UPDATE subjects SET templates = (
    SELECT count(*) FROM templates t JOIN encounters e ON t.encounter = e.key WHERE e.subject = subjects.key
)
"""


def _to_2(connection: sa.Connection) -> None:
    """Encryption, status, labels, audit; templates get checksums."""
    types = {
        "KEY": "INTEGER" if connection.dialect.name == "sqlite" else "BIGINT",
        "BINARY": sa.LargeBinary().compile(connection.dialect),
    }
    for statement in _TABLES_OF_2.split(";"):
        connection.exec_driver_sql(re.sub("KEY_TYPE|BINARY_TYPE", lambda t: types[t[0][:-5]], statement))
    page = sa.text(
        "SELECT t.key, t.encounter, t.position, s.subject_id, t.data FROM templates t "
        "JOIN encounters e ON t.encounter = e.key JOIN subjects s ON e.subject = s.key "
        f"WHERE t.key > :last ORDER BY t.key LIMIT {_PAGE}"
    )
    update = sa.text("UPDATE templates SET data = :data WHERE key = :key")
    last = 0
    while rows := connection.execute(page, {"last": last}).all():
        checked = [
            {"key": key, "data": with_checksum(bytes(data), Place(key, *place))} for key, *place, data in rows
        ]
        connection.execute(update, checked)
        last = rows[-1].key


_TABLES_OF_3 = """
ALTER TABLE gallery ADD COLUMN first_subject BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN calibrations BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN labels BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN next BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE subjects ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE encounters ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL;
CREATE TABLE label_totals (
    label VARCHAR(255)COLLATION NOT NULL, subjects BIGINT NOT NULL, keys BIGINT NOT NULL, PRIMARY KEY (label)
)
"""
_BY_BYTES_IN_3 = """
ALTER TABLE subjects ALTER COLUMN subject_id TYPE VARCHAR(255) COLLATE "C";
ALTER TABLE encounters ALTER COLUMN encounter_id TYPE VARCHAR(255) COLLATE "C";
ALTER TABLE labels ALTER COLUMN label TYPE VARCHAR(255) COLLATE "C"
"""


def _to_3(connection: sa.Connection) -> None:
    """Rows get checksums, subjects a chain in the order of their ids, labels totals."""
    is_sqlite = connection.dialect.name == "sqlite"
    tables = _TABLES_OF_3.replace("COLLATION", "" if is_sqlite else ' COLLATE "C"')
    for statement in (tables + ("" if is_sqlite else ";" + _BY_BYTES_IN_3)).split(";"):
        connection.exec_driver_sql(statement)
    totals: dict[str, tuple[int, int]] = {}
    own: dict[int, int] = {}
    for subject, label in connection.execute(sa.text("SELECT subject, label FROM labels")):
        count, keys = totals.get(label, (0, 0))
        totals[label] = count + 1, keys ^ subject
        own[subject] = own.get(subject, 0) ^ _crc(label)
    for label, (count, keys) in totals.items():
        values = {"label": label, "subjects": count, "keys": keys}
        connection.execute(sa.text("INSERT INTO label_totals VALUES (:label, :subjects, :keys)"), values)
    _chain_subjects(connection, own)
    page = sa.text(
        "SELECT key, subject, encounter_id, enrolled FROM encounters "
        f"WHERE key > :last ORDER BY key LIMIT {_PAGE}"
    )
    update = sa.text("UPDATE encounters SET checksum = :checksum WHERE key = :key")
    last = 0
    while rows := connection.execute(page, {"last": last}).all():
        connection.execute(update, [{"key": row.key, "checksum": _crc(*row)} for row in rows])
        last = rows[-1].key
    calibrations = 0
    for name, content in connection.execute(sa.text("SELECT name, content FROM settings")):
        if name.startswith("calibration:"):
            calibrations ^= _crc(name, content)
    connection.execute(sa.text("UPDATE gallery SET calibrations = :all"), {"all": calibrations})


def _chain_subjects(connection: sa.Connection, labels: Mapping[int, int]) -> None:
    """From the last subject to the first, as each has to know the next."""
    page = sa.text(
        "SELECT key, subject_id, templates, level, status, status_reason, status_time FROM subjects "
        f"WHERE subject_id < :before ORDER BY subject_id DESC LIMIT {_PAGE}"
    )
    update = sa.text(
        "UPDATE subjects SET labels = :labels, next = :next, checksum = :checksum WHERE key = :key"
    )
    before, following = chr(0x10FFFF) * 256, 0  # behind all that can be
    while rows := connection.execute(page, {"before": before}).all():
        values = []
        for row in rows:
            own = labels.get(row.key, 0)
            checksum = _crc(*row, own, following)
            values.append({"key": row.key, "labels": own, "next": following, "checksum": checksum})
            following = row.key
        connection.execute(update, values)
        before = rows[-1].subject_id
    connection.execute(sa.text("UPDATE gallery SET first_subject = :key"), {"key": following})


def _crc(*values: object) -> int:
    return zlib.crc32("\0".join(map(str, values)).encode(errors="surrogatepass"))


MIGRATIONS: Mapping[int, Callable[[sa.Connection], None]] = {1: _to_2, 2: _to_3}
"""What makes of each older schema version the next one."""
