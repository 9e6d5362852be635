# SPDX-License-Identifier: Apache-2.0
"""From the tables of an older abis to those of this one: forward only, all in the transaction given.

Each step spells out what it makes, and does not ask :mod:`abis.store.schema`, which will have moved on.
"""

from __future__ import annotations

import re
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


MIGRATIONS: Mapping[int, Callable[[sa.Connection], None]] = {1: _to_2}
"""What makes of each older schema version the next one."""
