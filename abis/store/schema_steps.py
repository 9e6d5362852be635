# SPDX-License-Identifier: Apache-2.0
"""Migrate the tables of an older abis to those of this one, in one transaction.

Each step contains its own SQL and does not use :mod:`abis.store.schema`, which describes the latest tables only.
"""

from __future__ import annotations

import re
import secrets
import struct
import zlib
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store.encryption import (
    AUTHENTICATION_KEY,
    SEALED,
    Cipher,
    KeyRing,
    KeyService,
    opened,
    wrapping_context,
)
from abis.store.records import State
from abis.store.rows import state_row
from abis.store.stored_form import Place, with_checksum
from abis.store.tagging import tag_all
from abis.store.tags import RowTags

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


def _to_2(connection: sa.Connection, key: KeyService | None) -> None:
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


def _to_3(connection: sa.Connection, key: KeyService | None) -> None:
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
    """Chain the subjects, from the last to the first, because each row holds the key of the next."""
    page = sa.text(
        "SELECT key, subject_id, templates, level, status, status_reason, status_time FROM subjects "
        f"WHERE subject_id < :before ORDER BY subject_id DESC LIMIT {_PAGE}"
    )
    update = sa.text(
        "UPDATE subjects SET labels = :labels, next = :next, checksum = :checksum WHERE key = :key"
    )
    before, following = chr(0x10FFFF) * 256, 0  # after every subject id
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


_TABLES_OF_4 = """
ALTER TABLE gallery RENAME COLUMN calibrations TO settings;
ALTER TABLE gallery ADD COLUMN content BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE gallery ADD COLUMN gallery_id VARCHAR(32) DEFAULT '' NOT NULL;
ALTER TABLE subjects ADD COLUMN encounters BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE label_totals ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL;
ALTER TABLE settings ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL;
CREATE TABLE attempts (
    subject KEY_TYPE NOT NULL,
    failures INTEGER NOT NULL,
    until BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    PRIMARY KEY (subject),
    FOREIGN KEY(subject) REFERENCES subjects (key)
)
"""
_STATE_OF_4 = (
    "schema_version, change, last_subject, last_encounter, last_template, subjects, encounters, templates, "
    "data_key, reseal_from, audit, audit_hash, first_subject, settings, content, gallery_id"
)


def _to_4(connection: sa.Connection, key: KeyService | None) -> None:
    """Each row gets a tag, and the gallery an id.

    In an encrypted gallery tags are MACs, and all templates are sealed again.
    """
    key_type = "INTEGER" if connection.dialect.name == "sqlite" else "BIGINT"
    for statement in _TABLES_OF_4.replace("KEY_TYPE", key_type).split(";"):
        connection.exec_driver_sql(statement)
    if sa.inspect(connection).has_table("quarantine"):
        statement = "ALTER TABLE quarantine ADD COLUMN checksum BIGINT DEFAULT '0' NOT NULL"
        connection.exec_driver_sql(statement)
    # Snapshots of before are not remembered by the digest of their manifest.
    connection.execute(sa.text("DELETE FROM settings WHERE name LIKE 'snapshot:%'"))
    state = State(*connection.execute(sa.text(f"SELECT {_STATE_OF_4} FROM gallery")).one())
    state.schema_version, state.gallery_id = 4, secrets.token_hex(16)
    tags, cipher = RowTags(), None
    if state.data_key:
        if key is None:
            raise StoreError("the gallery is encrypted; give its master key (docs/operations.md)")
        cipher = _seal_anew(connection, state, key)
        tags = cipher.tags

    def kept(at: int) -> bytes:
        data = bytes(connection.scalar(sa.text("SELECT data FROM kept WHERE key = :key"), {"key": at}) or b"")
        if cipher is not None and data[:1] == b"\1":
            return cipher.open(data[1:], _KEPT_IN_4.pack(b"kept", at))
        return data[5:]

    tag_all(connection, state, tags, kept)
    row = state_row(state, tags)
    update = ", ".join(f"{name} = :{name}" for name in row)
    connection.execute(sa.text(f"UPDATE gallery SET {update}"), row)


_KEPT_IN_4 = struct.Struct(">4sq")


def _seal_anew(connection: sa.Connection, state: State, key: KeyService) -> Cipher:
    """Wrap keys and seal templates again, with the gallery's id.

    Templates that an interrupted encryption has not sealed yet stay as they are.
    """
    wrapped = {n: bytes(w) for n, w in connection.execute(sa.text("SELECT number, wrapped FROM data_keys"))}
    keys = {number: key.unwrap(each, b"abis data key %d" % number) for number, each in wrapped.items()}
    keys[AUTHENTICATION_KEY] = secrets.token_bytes(32)
    new = {n: key.wrap(each, wrapping_context(state.gallery_id, n)) for n, each in keys.items()}
    for number, each in new.items():
        update = "UPDATE data_keys SET wrapped = :wrapped WHERE number = :number"
        if number == AUTHENTICATION_KEY:
            update = "INSERT INTO data_keys VALUES (:number, :wrapped, 0)"
        connection.execute(sa.text(update), {"number": number, "wrapped": each})
    cipher = Cipher(key, lambda: KeyRing(state.gallery_id, state.data_key, new))
    page = sa.text(
        "SELECT t.key, t.encounter, t.position, s.subject_id, t.data FROM templates t "
        "JOIN encounters e ON t.encounter = e.key JOIN subjects s ON e.subject = s.key "
        f"WHERE t.key > :last ORDER BY t.key LIMIT {_PAGE}"
    )
    update_template = sa.text("UPDATE templates SET data = :data WHERE key = :key")
    last = 0
    while rows := connection.execute(page, {"last": last}).all():
        values = []
        for at, *place, data in rows:
            if bytes(data).startswith(SEALED):
                context = Place(at, *place).context
                values.append({"key": at, "data": cipher.seal(opened(keys, bytes(data), context), context)})
        if values:
            connection.execute(update_template, values)
        last = rows[-1].key
    for at, data in connection.execute(sa.text("SELECT key, data FROM kept")).all():
        if data[:1] == b"\1":
            context = _KEPT_IN_4.pack(b"kept", at)
            sealed = b"\1" + cipher.seal(opened(keys, bytes(data)[1:], context), context)
            connection.execute(
                sa.text("UPDATE kept SET data = :data WHERE key = :key"), {"key": at, "data": sealed}
            )
    return cipher


MIGRATIONS: Mapping[int, Callable[[sa.Connection, KeyService | None], None]] = {1: _to_2, 2: _to_3, 3: _to_4}
"""What makes of each older schema version the next one; the master key is given where there is one."""
