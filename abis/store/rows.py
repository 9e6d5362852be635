# SPDX-License-Identifier: Apache-2.0
"""Rows that carry a tag over their content, so that a damaged or forged row is an error and never a wrong answer.

Each row of ``gallery``, ``subjects``, ``encounters``, ``label_totals`` and ``settings`` has a tag over its other
columns (:mod:`abis.store.tags`). A subject's row also tells how many templates it has, and the shares of its encounters
and labels; the gallery's row tells the shares of all subjects. :mod:`abis.store.chain` proves what is *not* there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store.records import DamageError, State, Status
from abis.store.schema import SCHEMA_VERSION
from abis.store.tags import RowTags

__all__ = [
    "ROW_TAGS",
    "SubjectRow",
    "check_encounter",
    "check_encounters",
    "check_row",
    "checked_state",
    "encounter_row",
    "label_share",
    "state_row",
    "tags_of",
]

ROW_TAGS = "abis_row_tags"
"""Name of the execution option by which a connection knows the tags of its gallery."""


def tags_of(connection: sa.Connection) -> RowTags:
    """The tags of the gallery that a connection reads."""
    tags: RowTags = connection.get_execution_options()[ROW_TAGS]
    return tags


@dataclass(slots=True)
class SubjectRow:
    """A row of table ``subjects`` without its tag; fields in the order of the columns, then ``share``.

    Attributes:
        key: never used again.
        subject_id: as enrolled.
        templates: how many templates the subject has.
        level: of assurance.
        status: of the identity.
        status_reason: reason of the status.
        status_time: time since when it has the status, in microseconds.
        labels: shares of its labels, by XOR.
        next: key of the subject whose subject_id follows, by bytes; 0 for the last.
        encounters: shares of its encounters, by XOR.
        share: the row's own share as the database holds it; 0 where the row is not written yet.
    """

    key: int
    subject_id: str
    templates: int = 0
    level: int = 0
    status: int = int(Status.ACTIVE)
    status_reason: str = ""
    status_time: int | None = None
    labels: int = 0
    next: int = 0
    encounters: int = 0
    share: int = 0

    @classmethod
    def checked(cls, row: Sequence[Any], tags: RowTags) -> SubjectRow:
        """From a row as it was read.

        Raises:
            DamageError: the row is not as it was written.
        """
        *values, stated = row
        checked = cls(*values)
        checked.share = check_row("subjects", values, stated, tags)
        return checked

    def written(self, tags: RowTags) -> tuple[object, ...]:
        """The row to write; sets ``share``."""
        values = (
            *(self.key, self.subject_id, self.templates, self.level, self.status),
            *(self.status_reason, self.status_time, self.labels, self.next, self.encounters),
        )
        tag, self.share = tags.of("subjects", values)
        return *values, tag


def check_row(table: str, values: Sequence[object], stated: object, tags: RowTags) -> int:
    """The share of a row that was read.

    Raises:
        DamageError: the row is not as it was written.
    """
    tag, share = tags.of(table, values)
    if tag != stated:
        raise DamageError(f"row {values[0]!r} of table {table} is damaged or forged: its tag is wrong")
    return share


def encounter_row(
    tags: RowTags, key: int, subject: int, encounter_id: str, enrolled: int | None
) -> tuple[tuple[object, ...], int]:
    """A row of table ``encounters`` to write, and its share."""
    values = (key, subject, encounter_id, enrolled)
    tag, share = tags.of("encounters", values)
    return (*values, tag), share


def check_encounter(row: Sequence[object], tags: RowTags) -> int:
    """The share of a whole row of table ``encounters`` that was read.

    Raises:
        DamageError: the row is not as it was written.
    """
    *values, stated = row
    return check_row("encounters", values, stated, tags)


def check_encounters(subject: SubjectRow, shares: int) -> None:
    """Compare the shares of a subject's encounters, combined by XOR, with its row.

    Raises:
        DamageError: they are not those that were enrolled.
    """
    if shares != subject.encounters:
        raise DamageError(
            f"the encounters of subject {subject.subject_id!r} are not those that were enrolled"
        ).about(subject.subject_id)


def label_share(tags: RowTags, subject: int, label: str) -> int:
    """The share of a label in its subject's row."""
    return tags.of("labels", (subject, label))[1]


def state_row(state: State, tags: RowTags) -> dict[str, object]:
    """The row of table ``gallery`` to write."""
    values = asdict(state)
    values["content"] ^= tags.mask(state.audit, state.change)
    return values | {"checksum": tags.of("gallery", values.values())[0]}


def checked_state(row: Sequence[Any], tags: RowTags) -> State:
    """The counters.

    Raises:
        DamageError: they are not as they were written.
        StoreError: a newer abis has migrated the gallery meanwhile, or another process has encrypted it.
    """
    *values, stated = row
    state = State(*values)
    if state.schema_version != SCHEMA_VERSION:
        raise StoreError(
            f"the gallery is of schema version {state.schema_version} by now; open it again, with a newer abis"
        )
    if state.data_key and not tags.is_keyed:
        raise StoreError("the gallery has been encrypted meanwhile; open it again with its key")
    if tags.of("gallery", values)[0] != stated:
        raise DamageError("the row of table gallery is damaged or forged: its tag is wrong")
    state.content ^= tags.mask(state.audit, state.change)
    return state
