# SPDX-License-Identifier: Apache-2.0
"""Enroll a batch of records: each is enrolled, found to be enrolled already, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from abis.errors import AlreadyEnrolled
from abis.formats import native
from abis.store import FIRST_ENCOUNTER, Enrollment, Store, StoredEnrollment
from abis.store.import_records import Prepared, Record, Rejected
from abis.store.records import MAX_TEMPLATES_OF_SUBJECT, SubjectFullError
from abis.store.transaction import Transaction

__all__ = ["BatchPlan", "Look", "Uniqueness", "enrolled"]

Content = Sequence[tuple[int, bytes]]
"""The templates of an encounter, (position, stored form) each; in any order they are the same."""


class Look(Protocol):
    """The result of a uniqueness check of some arrivals."""

    @property
    def duplicates(self) -> Mapping[int, str]:
        """The reason why an arrival must not be enrolled, by its number from 0."""

    @property
    def again(self) -> Callable[[], Mapping[int, str]]:
        """The same for subjects that other processes have enrolled since the check."""


class Uniqueness(Protocol):
    """Finds subjects that are enrolled under another id."""

    @property
    def rule(self) -> str:
        """The criterion, in words."""

    def look(self, arrivals: Sequence[Enrollment]) -> Look:
        """Compare arrivals with all enrolled subjects, and with each other."""


@dataclass(frozen=True)
class BatchPlan:
    """The decisions on the records of a batch."""

    enroll: list[StoredEnrollment]
    numbers: list[int]  # of these in the batch, from 0
    already_there: int
    refused: list[tuple[Record, str]]


@contextmanager
def enrolled(
    store: Store,
    records: Sequence[Record],
    prepared: Sequence[Prepared],
    unique: Uniqueness | None = None,
) -> Iterator[tuple[BatchPlan, Transaction]]:
    """Enroll the records that can be enrolled, in a transaction that ends with the ``with`` block.

    The first plan assumes that none of the records is enrolled. If that fails, the next plan reads what is enrolled.

    Args:
        store: of the gallery.
        records: records of one transaction.
        prepared: each record as it can be enrolled, or why it cannot.
        unique: refuses a subject who is enrolled under another subject_id.

    Yields:
        The decisions on the records, and the transaction that enrolls.
    """
    # With a search for each, it pays to know first which subjects are enrolled already.
    known = {} if unique is None else _known(store, prepared)
    duplicates: dict[int, str] = {}
    look: _Looked | None = None
    while True:
        plan = _plan(records, prepared, known, duplicates)
        if unique is not None and (look is None or not look.covers(plan)):
            look = _Looked(plan, unique)
            duplicates |= look.duplicates
            if look.duplicates:
                continue
        try:
            with store.writing() as transaction:
                transaction.enroll(plan.enroll)
                if look is not None and look.is_late(plan):
                    raise _DuplicatesSinceError
                yield plan, transaction
        except (AlreadyEnrolled, SubjectFullError, _DuplicatesSinceError):
            # A record refused now may be the one that others of the batch were duplicates of: start again.
            known, duplicates, look = _known(store, prepared), {}, None
        else:
            return


class _Looked:
    """The duplicates among the records that a plan enrolls, by their numbers in the batch, from 0."""

    def __init__(self, plan: BatchPlan, unique: Uniqueness) -> None:
        self._numbers = plan.numbers
        self._look = unique.look([_enrollment(own) for own in plan.enroll])
        self.duplicates = self._numbered(self._look.duplicates)

    def covers(self, plan: BatchPlan) -> bool:
        return set(plan.numbers) <= set(self._numbers)

    def is_late(self, plan: BatchPlan) -> bool:
        """Whether another process has enrolled a subject of the plan since the check."""
        return not self._numbered(self._look.again()).keys().isdisjoint(plan.numbers)

    def _numbered(self, found: Mapping[int, str]) -> dict[int, str]:
        return {self._numbers[arrival]: reason for arrival, reason in found.items()}


class _DuplicatesSinceError(Exception):
    """Another process has enrolled a person of the batch under another subject_id during the check."""


def _enrollment(stored: StoredEnrollment) -> Enrollment:
    templates = [native.read(data) for _, data in stored.templates]
    return Enrollment(stored.subject_id, templates, stored.encounter_id)


def _plan(
    records: Sequence[Record],
    prepared: Sequence[Prepared],
    known: Mapping[str, Mapping[str, Content]],
    duplicates: Mapping[int, str],
) -> BatchPlan:
    """Decide on each record, as if the records before it in the batch were enrolled.

    A subject whose first encounter is a duplicate is refused as a whole, with all further encounters.
    """
    seen: dict[str, dict[str, Content]] = {}
    held: dict[str, str] = {}  # why subjects without an enrolled encounter are duplicates
    enroll: list[StoredEnrollment] = []
    refused: list[tuple[Record, str]] = []
    numbers: list[int] = []
    already_there = 0
    for number, (record, own) in enumerate(zip(records, prepared, strict=True)):
        if isinstance(own, Rejected):
            refused.append((record, own.reason))
            continue
        encounters = seen.setdefault(own.subject_id, dict(known.get(own.subject_id, {})))
        encounter_id = own.encounter_id or FIRST_ENCOUNTER
        if encounter_id in encounters:
            if _sorted(encounters[encounter_id]) == _sorted(own.templates):
                already_there += 1
            else:
                refused.append((record, _conflict(record, own.subject_id, encounter_id)))
        elif encounters and own.encounter_id is None:
            reason = (
                f"{record.place}: subject {own.subject_id!r} is enrolled already; "
                "a further encounter needs an encounter_id"
            )
            refused.append((record, reason))
        elif sum(map(len, encounters.values())) + len(own.templates) > MAX_TEMPLATES_OF_SUBJECT:
            reason = f"subject {own.subject_id!r} would have more than {MAX_TEMPLATES_OF_SUBJECT} templates"
            refused.append((record, f"{record.place}: {reason}"))
        elif (whose := duplicates.get(number, None if encounters else held.get(own.subject_id))) is not None:
            held[own.subject_id] = whose
            refused.append((record, f"{record.place}: {whose}"))
        else:
            encounters[encounter_id] = own.templates
            enroll.append(own)
            numbers.append(number)
    return BatchPlan(enroll, numbers, already_there, refused)


def _sorted(content: Content) -> list[bytes]:
    return sorted([data for _, data in content])


def _conflict(record: Record, subject_id: str, encounter_id: str) -> str:
    return (
        f"{record.place}: encounter {encounter_id!r} of subject {subject_id!r} is enrolled with other templates "
        "(or comes in parts: the records of a subject must follow each other)"
    )


def _known(store: Store, prepared: Sequence[Prepared]) -> dict[str, dict[str, Content]]:
    subject_ids = {own.subject_id for own in prepared if isinstance(own, StoredEnrollment)}
    return {
        subject_id: {
            encounter_id: [(int(template.position), native.write(template)) for template in templates]
            for encounter_id, templates in encounters.items()
        }
        for subject_id, encounters in store.encounters(subject_ids).items()
    }
