# SPDX-License-Identifier: Apache-2.0
"""The tables of a gallery, the same in SQLite and in a database server.

A change here needs a new ``SCHEMA_VERSION`` and a step in :mod:`abis.store.schema_steps` that makes the same of
an older database. Times are microseconds since 1970-01-01 UTC. A column ``checksum``
holds the row's tag (:mod:`abis.store.tags`); :mod:`abis.store.chain` tells what ``next`` is for.
"""

from __future__ import annotations

import sqlalchemy as sa

__all__ = [
    "MAX_ID",
    "SCHEMA_VERSION",
    "Key",
    "attempts",
    "audit",
    "changes",
    "data_keys",
    "encounters",
    "gallery",
    "kept",
    "label_totals",
    "labels",
    "metadata",
    "settings",
    "subjects",
    "templates",
]

SCHEMA_VERSION = 4
"""Of the tables below. A store of a newer one is refused, one of an older one is migrated when opened."""

MAX_ID = 255
"""Characters of a subject_id or encounter_id, and of other names: what every server can index."""

metadata = sa.MetaData()
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER is the row's own id in SQLite
Name = sa.String(MAX_ID).with_variant(sa.String(MAX_ID, collation="C"), "postgresql")
"""What is looked up and ordered by its bytes in UTF-8: the same everywhere, whatever the server's locale becomes."""

gallery = sa.Table(  # one row
    "gallery",
    metadata,
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("change", sa.BigInteger, nullable=False),  # number of the last row of changes
    sa.Column("last_subject", sa.BigInteger, nullable=False),  # largest key ever given
    sa.Column("last_encounter", sa.BigInteger, nullable=False),
    sa.Column("last_template", sa.BigInteger, nullable=False),
    sa.Column("subjects", sa.BigInteger, nullable=False),  # how many there are now
    sa.Column("encounters", sa.BigInteger, nullable=False),
    sa.Column("templates", sa.BigInteger, nullable=False),
    sa.Column("data_key", sa.Integer, nullable=False, server_default="0"),  # that seals; 0: not encrypted
    sa.Column("reseal_from", sa.BigInteger, nullable=False, server_default="0"),  # State.reseal_from
    sa.Column("audit", sa.BigInteger, nullable=False, server_default="0"),  # number of the last row of audit
    sa.Column("audit_hash", sa.String(64), nullable=False, server_default=""),  # its hash, hexadecimal
    sa.Column(
        "first_subject", sa.BigInteger, nullable=False, server_default="0"
    ),  # key of the one first by name
    sa.Column("settings", sa.BigInteger, nullable=False, server_default="0"),  # shares of those that decide
    sa.Column("content", sa.BigInteger, nullable=False, server_default="0"),  # shares of subjects, masked
    sa.Column("gallery_id", sa.String(32), nullable=False, server_default=""),
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
)
subjects = sa.Table(
    "subjects",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("subject_id", Name, nullable=False, unique=True),
    sa.Column("templates", sa.Integer, nullable=False, server_default="0"),  # how many there are of it
    sa.Column("level", sa.SmallInteger, nullable=False, server_default="0"),  # of assurance
    sa.Column("status", sa.SmallInteger, nullable=False, server_default="0"),  # abis.store.Status
    sa.Column("status_reason", sa.String(MAX_ID), nullable=False, server_default=""),
    sa.Column("status_time", sa.BigInteger),
    sa.Column("labels", sa.BigInteger, nullable=False, server_default="0"),  # their shares, by XOR
    sa.Column(
        "next", sa.BigInteger, nullable=False, server_default="0"
    ),  # key of the next by name; 0: the last
    sa.Column("encounters", sa.BigInteger, nullable=False, server_default="0"),  # their shares, by XOR
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
)
labels = sa.Table(
    "labels",
    metadata,
    sa.Column("subject", sa.ForeignKey(subjects.c.key), primary_key=True),
    sa.Column("label", Name, primary_key=True),
    sa.Index("labels_by_label", "label", "subject"),
)
label_totals = sa.Table(  # of each label that a subject has
    "label_totals",
    metadata,
    sa.Column("label", Name, primary_key=True),
    sa.Column("subjects", sa.BigInteger, nullable=False),  # how many
    sa.Column("keys", sa.BigInteger, nullable=False),  # theirs, by XOR
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
)
encounters = sa.Table(
    "encounters",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("subject", sa.ForeignKey(subjects.c.key), nullable=False),
    sa.Column("encounter_id", Name, nullable=False),
    sa.Column("enrolled", sa.BigInteger),  # when; unknown where an abis of schema version 1 enrolled it
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("subject", "encounter_id"),
)
templates = sa.Table(
    "templates",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("encounter", sa.ForeignKey(encounters.c.key), nullable=False),
    sa.Column("position", sa.SmallInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),  # abis.store.stored_form
    sa.Index("templates_by_encounter", "encounter", "position"),
)
changes = sa.Table(  # a row for each encounter enrolled or removed; keys of what is gone stay
    "changes",
    metadata,
    sa.Column("number", Key, primary_key=True, autoincrement=False),
    sa.Column("operation", sa.SmallInteger, nullable=False),
    sa.Column("subject", sa.BigInteger, nullable=False),
    sa.Column("encounter", sa.BigInteger, nullable=False),
)
data_keys = sa.Table(  # wrapped by the master key; number 0 authenticates rows, the others seal
    "data_keys",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("wrapped", sa.LargeBinary, nullable=False),
    sa.Column("made", sa.BigInteger, nullable=False),
)
audit = sa.Table(  # abis.store.audit
    "audit",
    metadata,
    sa.Column("number", Key, primary_key=True, autoincrement=False),
    sa.Column("time", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(MAX_ID), nullable=False),
    sa.Column("purpose", sa.String(MAX_ID), nullable=False),
    sa.Column("operation", sa.String(32), nullable=False),
    sa.Column("subject_id", sa.String(MAX_ID), nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary(32), nullable=False),
)
kept = sa.Table(  # bytes that are no templates and as secret: records that imports have refused
    "kept",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),  # abis.store.kept
)
attempts = (
    sa.Table(  # abis.store.attempts; of subjects that a verification has failed of since the last match
        "attempts",
        metadata,
        sa.Column("subject", sa.ForeignKey(subjects.c.key), primary_key=True, autoincrement=False),
        sa.Column("failures", sa.Integer, nullable=False),  # in a row
        sa.Column("until", sa.BigInteger, nullable=False),  # when the subject may be compared again; 0: now
        sa.Column("checksum", sa.BigInteger, nullable=False),
    )
)
settings = sa.Table(  # abis.store.settings
    "settings",
    metadata,
    sa.Column("name", sa.String(MAX_ID), primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),
)

SECRET = (templates.c.data, kept.c.data)
"""Columns of which a server must not note values in its statistics, where nothing would overwrite them."""

for _column in SECRET:
    sa.event.listen(
        _column.table,
        "after_create",
        sa.DDL(  # type: ignore[no-untyped-call]
            f"ALTER TABLE {_column.table.name} ALTER COLUMN {_column.name} SET STATISTICS 0"
        ).execute_if(dialect="postgresql"),
    )
