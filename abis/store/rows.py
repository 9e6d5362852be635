# SPDX-License-Identifier: Apache-2.0
"""Rows that vouch for what they say, so that damage is an error and never a wrong answer.

Each row of ``gallery``, ``subjects`` and ``encounters`` carries a CRC-32 of its other columns, and a subject how many
templates it has and what its labels are. What is *not* there is vouched for by :mod:`abis.store.chain`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import xor
from typing import Any

from abis.errors import StoreError
from abis.store.records import DamageError, State, Status
from abis.store.schema import SCHEMA_VERSION

__all__ = [
    "SubjectRow",
    "check_encounter",
    "checked_state",
    "checksum",
    "encounter_row",
    "state_row",
    "xor_of",
]


def checksum(values: Iterable[object]) -> int:
    """CRC-32 over numbers, texts without NUL, and None."""
    return zlib.crc32("\0".join(map(str, values)).encode(errors="surrogatepass"))


def xor_of(values: Iterable[int]) -> int:
    """Of all of them, in any order; what is in it twice is not in it."""
    return reduce(xor, values, 0)


@dataclass(slots=True)
class SubjectRow:
    """A row of table ``subjects`` without its checksum; fields in the order of the columns.

    Attributes:
        key: never used again.
        subject_id: as enrolled.
        templates: how many there are of it.
        level: of assurance.
        status: of the identity.
        status_reason: why.
        status_time: microseconds, since when.
        labels: checksums of its labels, by XOR.
        next: key of the subject whose subject_id follows, by bytes; 0 where none does.
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

    @classmethod
    def checked(cls, row: Sequence[Any]) -> SubjectRow:
        """From a row as it was read.

        Raises:
            DamageError: it is not as it was written.
        """
        *values, stated = row
        if checksum(values) != stated:
            raise DamageError(f"row {values[0]} of table subjects is damaged: its checksum is wrong")
        return cls(*values)

    @property
    def values(self) -> tuple[object, ...]:
        """The row to write."""
        values = (
            *(self.key, self.subject_id, self.templates, self.level, self.status),
            *(self.status_reason, self.status_time, self.labels, self.next),
        )
        return *values, checksum(values)


def encounter_row(key: int, subject: int, encounter_id: str, enrolled: int | None) -> tuple[object, ...]:
    """A row of table ``encounters`` to write."""
    return key, subject, encounter_id, enrolled, checksum((key, subject, encounter_id, enrolled))


def check_encounter(key: int, subject: int, encounter_id: str, enrolled: int | None, stated: int) -> None:
    """Refuse a row of table ``encounters`` that is not as it was written.

    Raises:
        DamageError: it is not.
    """
    if checksum((key, subject, encounter_id, enrolled)) != stated:
        raise DamageError(f"row {key} of table encounters is damaged: its checksum is wrong")


def state_row(state: State) -> dict[str, object]:
    """The row of table ``gallery`` to write."""
    values = asdict(state)
    return values | {"checksum": checksum(values.values())}


def checked_state(row: Sequence[Any]) -> State:
    """The counters.

    Raises:
        DamageError: they are not as they were written.
        StoreError: a newer abis has migrated the gallery meanwhile.
    """
    *values, stated = row
    if values[0] != SCHEMA_VERSION:
        raise StoreError(
            f"the gallery is of schema version {values[0]} by now; open it again, with a newer abis"
        )
    if checksum(values) != stated:
        raise DamageError("the row of table gallery is damaged: its checksum is wrong")
    return State(*values)
