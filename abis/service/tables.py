# SPDX-License-Identifier: Apache-2.0
"""The tables that a service adds to a gallery's database when it first opens it.

A row of ``service_encounters`` holds what OSIA's messages say of an encounter beside its templates. The row goes
with the encounter, whichever call removes that: by a foreign key, and by a trigger for the bytes kept for it.
"""

from __future__ import annotations

import sqlalchemy as sa

from abis.store import Store, schema
from abis.store.schema import MAX_ID, Key, Name

__all__ = ["create", "encounters", "galleries", "requests", "tasks"]

_metadata = sa.MetaData()

encounters = sa.Table(
    "service_encounters",
    _metadata,
    sa.Column(
        "encounter",
        sa.ForeignKey(schema.encounters.c.key, ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("updated", sa.BigInteger, nullable=False),  # microseconds
    sa.Column("kept", sa.BigInteger),  # abis.store.kept: the message; null: enrolled by other means
)
galleries = sa.Table(
    "service_galleries",
    _metadata,
    sa.Column("encounter", sa.ForeignKey(encounters.c.encounter, ondelete="CASCADE"), primary_key=True),
    sa.Column("gallery", Name, primary_key=True),
    sa.Index("service_galleries_by_gallery", "gallery", "encounter"),
)
tasks = sa.Table(
    "service_tasks",
    _metadata,
    sa.Column("task_id", sa.String(36), primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),  # order of arrival: microseconds
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.String(24), nullable=False),
    sa.Column("transaction_id", sa.Text, nullable=False),
    sa.Column("callback", sa.Text, nullable=False),
    sa.Column("request", sa.BigInteger),  # abis.store.kept; null: the task is done
    sa.Column("result", sa.BigInteger),  # abis.store.kept; null: the task is not done
    sa.Column("status", sa.SmallInteger),  # of HTTP, of the result
    sa.Column("attempts", sa.Integer, nullable=False),  # to do the task; then, to send its result
    sa.Column("due", sa.BigInteger, nullable=False),  # microseconds: nothing is done with the task before
    sa.Index("service_tasks_by_state", "state", "due"),
)
requests = sa.Table(  # of MOSIP that changed something, with their answers
    "service_requests",
    _metadata,
    sa.Column("request_id", sa.String(MAX_ID), primary_key=True),
    sa.Column("time", Key, nullable=False),  # microseconds
    sa.Column("answer", sa.Text, nullable=False),
)

_TRIGGERS = {
    "sqlite": (
        (
            "CREATE TRIGGER service_encounters_kept AFTER DELETE ON service_encounters "
            "BEGIN DELETE FROM kept WHERE key = OLD.kept; END"
        ),
    ),
    "postgresql": (
        (
            "CREATE FUNCTION service_encounters_kept() RETURNS trigger AS "
            "'BEGIN DELETE FROM kept WHERE key = OLD.kept; RETURN NULL; END' LANGUAGE plpgsql"
        ),
        (
            "CREATE TRIGGER service_encounters_kept AFTER DELETE ON service_encounters "
            "FOR EACH ROW EXECUTE FUNCTION service_encounters_kept()"
        ),
    ),
}


def create(store: Store) -> None:
    """Make the tables where they are not there yet."""
    with store.writing() as transaction:
        connection = transaction.connection
        if sa.inspect(connection).has_table(encounters.name):
            return
        _metadata.create_all(connection)
        for statement in _TRIGGERS[connection.dialect.name]:
            connection.exec_driver_sql(statement)
