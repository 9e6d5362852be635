# SPDX-License-Identifier: Apache-2.0
"""The tables that the first import adds to a gallery's database."""

from __future__ import annotations

import sqlalchemy as sa

__all__ = ["batches", "imports", "metadata", "quarantine", "samples"]

metadata = sa.MetaData()
Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

imports = sa.Table(
    "imports",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64)),  # null: may have changed at any time
    sa.Column("started", sa.String(32), nullable=False),
    sa.Column("finished", sa.String(32)),
    sa.Column("end", sa.BigInteger, nullable=False),  # of the last batch
    sa.Column("batches", sa.BigInteger, nullable=False),
    sa.Column("released", sa.BigInteger, nullable=False),  # records that were in quarantine, and are not now
)
batches = sa.Table(
    "import_batches",
    metadata,
    sa.Column("import", sa.ForeignKey(imports.c.key), primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),  # from 1
    sa.Column("end", sa.BigInteger, nullable=False),  # of its last record, in the source's own units
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("enrolled", sa.BigInteger, nullable=False),
    sa.Column("already_there", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("templates", sa.BigInteger, nullable=False),  # of those enrolled
    sa.Column("change", sa.BigInteger, nullable=False),  # of the gallery, after it
    sa.Column("sha256", sa.LargeBinary, nullable=False),  # of its records as they were read
)
quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("key", Key, primary_key=True, autoincrement=False),
    sa.Column("import", sa.ForeignKey(imports.c.key), nullable=False),
    sa.Column("sha256", sa.LargeBinary(32), nullable=False, unique=True),  # a record is here once
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("subject_id", sa.Text, nullable=False),  # as JSON: it may be no text at all
    sa.Column("encounter_id", sa.Text, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("fault", sa.Text),
    sa.Column("labels", sa.Text, nullable=False),  # as JSON
    sa.Column("checksum", sa.BigInteger, nullable=False, server_default="0"),  # the tag of all but sha256
)
samples = sa.Table(
    "quarantined_samples",
    metadata,
    sa.Column("record", sa.ForeignKey(quarantine.c.key), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("position", sa.Text, nullable=False),  # as JSON
    sa.Column("is_text", sa.Boolean),  # null: there were no bytes
    sa.Column("kept", sa.BigInteger, nullable=False),  # abis.store.kept: the original bytes
)
