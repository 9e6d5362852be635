# SPDX-License-Identifier: Apache-2.0
"""The values that a store takes and returns: small records, checked when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from abis.answers import Answer
from abis.errors import (
    AbisError,
    ArgumentError,
    ArgumentTypeError,
    NotEnrolled,
    StoreError,
    TemplateError,
    check_integer,
)
from abis.store.schema import MAX_ID, SCHEMA_VERSION
from abis.template import Position, Template
from abis.template.modality import is_template, template_names
from abis.text import has_control_characters, printable

__all__ = [
    "FIRST_ENCOUNTER",
    "MAX_TEMPLATES",
    "MAX_TEMPLATES_OF_SUBJECT",
    "Claimed",
    "DamageError",
    "Encounter",
    "Enrollment",
    "Fault",
    "ListedSubject",
    "Mark",
    "Named",
    "Operation",
    "State",
    "Status",
    "StoredEnrollment",
    "StoredTemplate",
    "Subject",
    "SubjectFullError",
    "Tail",
    "Written",
    "check_id",
    "check_new_id",
    "check_room",
    "checked_templates",
    "from_microseconds",
    "microseconds",
    "not_enrolled",
]

FIRST_ENCOUNTER = "1"
"""The encounter_id of a subject that was enrolled without one."""

MAX_TEMPLATES = 100
"""Templates of one encounter, and of one probe: ten fingers and a face nine times over."""

MAX_TEMPLATES_OF_SUBJECT = 500
"""Templates of one subject, all encounters together: what a verification against it reads and compares."""

_MAX_LEVEL = 9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DamageError(StoreError):
    """A row is not as it was written; :mod:`abis.store.database` adds the name of the database."""


class SubjectFullError(TemplateError):
    """A subject would have more templates than allowed."""


class Operation(IntEnum):
    """What a row of the change log did to an encounter."""

    ENROLL = 1
    REMOVE = 2


class Status(IntEnum):
    """Whether an identity may be used."""

    ACTIVE = 0
    LOCKED = 1
    """By its holder, who may unlock it."""
    TERMINATED = 2
    """By the authority."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Enrollment:
    """The templates of one subject that are enrolled together.

    Attributes:
        subject_id: 1 to 255 characters, no control characters; compared exactly as given.
        templates: one or more, of any positions; several of one position are allowed.
        encounter_id: names the capture session. None enrolls a subject that must be new.
        labels: partitions the subject belongs to, as a province; added to those it has.
        level: assurance level of the subject, 0 to 9; None leaves it as it is, 0 of a new subject.

    Raises:
        ArgumentError: where an id or label is no such string, or a level no such number.
        TemplateError: where there is no template.
    """

    subject_id: str
    templates: Sequence[Template]
    encounter_id: str | None = None
    labels: Sequence[str] = ()
    level: int | None = None

    def __post_init__(self) -> None:
        check_new_id("subject_id", self.subject_id)
        try:
            if self.encounter_id is not None:
                check_new_id("encounter_id", self.encounter_id)
            object.__setattr__(self, "templates", checked_templates(self.templates))
            object.__setattr__(self, "labels", checked_labels(self.labels))
            if self.level is not None:
                check_level(self.level)
        except AbisError as error:
            raise error.about(self.subject_id) from None


class StoredEnrollment(NamedTuple):
    """An enrollment whose templates are in their native form already: (position, :func:`native.write`)."""

    subject_id: str
    encounter_id: str | None
    templates: Sequence[tuple[int, bytes]]
    labels: Sequence[str] = ()
    level: int | None = None

    def __repr__(self) -> str:
        return (
            f"StoredEnrollment({self.subject_id!r}, {self.encounter_id!r}, {len(self.templates)} templates)"
        )


@dataclass(frozen=True)
class Encounter(Answer):
    """One capture session of a subject.

    Attributes:
        encounter_id: as enrolled.
        enrolled: when, UTC; None where abis 0.1.0 enrolled it, which did not say.
        positions: of its templates.
    """

    encounter_id: str
    enrolled: datetime | None
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Subject(Answer):
    """What a gallery holds about a subject, except its templates.

    Attributes:
        subject_id: as enrolled.
        status: active, locked or terminated.
        reason: reason of the status.
        since: time of the last change of the status, UTC; None if the status was never set.
        level: of assurance, 0 to 9; 0 where none was stated.
        labels: sorted.
        encounters: in the order of enrolment.
    """

    subject_id: str
    status: Status
    reason: str
    since: datetime | None
    level: int
    labels: tuple[str, ...]
    encounters: tuple[Encounter, ...]


@dataclass(frozen=True)
class ListedSubject(Answer):
    """A row of a list of subjects.

    Attributes:
        subject_id: as enrolled.
        status: active, locked or terminated.
        level: of assurance, 0 to 9; 0 where none was stated.
        labels: sorted.
        templates: number of templates, all encounters together.
    """

    subject_id: str
    status: Status
    level: int
    labels: tuple[str, ...]
    templates: int


class Named(NamedTuple):
    """Names and statuses by key, of the subjects and encounters that are in the store.

    Attributes:
        subjects: subject_ids by keys of subjects.
        statuses: statuses by keys of subjects.
        encounters: encounter_ids by keys of encounters.
    """

    subjects: dict[int, str]
    statuses: dict[int, Status]
    encounters: dict[int, str]


class Owners(NamedTuple):
    """Encounters and the subjects they belong to, by name, as of one change of the store.

    Attributes:
        named: those that are in the store.
        change: number of the last change.
    """

    named: Named
    change: int


@dataclass(frozen=True)
class StoredTemplate:
    """A reference, its key and those of its owners, as the store numbers them."""

    key: int
    subject: int
    encounter: int
    encounter_id: str
    template: Template


@dataclass(frozen=True)
class Claimed:
    """What a verification needs of a subject.

    Attributes:
        status: of the identity.
        level: of assurance.
        references: all of its templates, in the order of enrolment.
    """

    status: Status
    level: int
    references: Sequence[StoredTemplate]


@dataclass
class State:
    """The counters of a store: the row of table ``gallery``, and its columns' names.

    Attributes:
        change: number of the last change.
        last_subject: the largest key ever given to a subject.
        last_encounter: the largest key ever given to an encounter.
        last_template: the largest key ever given to a template.
        subjects: number of subjects.
        encounters: number of encounters.
        templates: number of templates.
        data_key: number of the data key that seals new templates; 0 where the gallery is not encrypted.
        reseal_from: templates from this key on may still be sealed by an older data key, or not at all;
            0 where all are sealed as ``data_key`` says.
        audit: number of the last entry of the audit log.
        audit_hash: of that entry, hexadecimal.
        first_subject: key of the subject whose subject_id is the first by its bytes; 0 where there is none.
        settings: shares of the settings that decide (:mod:`abis.store.settings`), by XOR.
        content: shares of all subjects' rows, by XOR.
        gallery_id: random, 32 hexadecimal digits; part of what keys, seals and anchors belong to.
    """

    schema_version: int = SCHEMA_VERSION
    change: int = 0
    last_subject: int = 0
    last_encounter: int = 0
    last_template: int = 0
    subjects: int = 0
    encounters: int = 0
    templates: int = 0
    data_key: int = 0
    reseal_from: int = 0
    audit: int = 0
    audit_hash: str = ""
    first_subject: int = 0
    settings: int = 0
    content: int = 0
    gallery_id: str = ""

    @property
    def plain_from(self) -> int:
        """Templates from this key on may still be unsealed, as the gallery is being encrypted; 0 for none.

        A later data key finds all templates sealed, so that none need be trusted that are not.
        """
        return self.reseal_from if self.data_key == 1 else 0


@dataclass(frozen=True)
class Mark:
    """How far a reader has read a store: up to template key ``template``, as of change number ``change``."""

    change: int = 0
    template: int = 0


@dataclass(frozen=True)
class Tail:
    """The changes of a store after a mark: remove ``removed`` first, then add ``enrolled``.

    Attributes:
        removed: keys of the encounters removed since the mark.
        enrolled: the first templates after the mark, in the order of enrolment, up to the reader's limit.
        mark: where this tail ends.
        state: the store's counters when this was read.
        complete: False where more templates follow.
    """

    removed: Sequence[int]
    enrolled: Sequence[StoredTemplate]
    mark: Mark
    state: State
    complete: bool


@dataclass(frozen=True)
class Fault(Answer):
    """A fault that a check found.

    Attributes:
        what: what is wrong, and where.
        advice: what to do.
    """

    what: str
    advice: str

    def __str__(self) -> str:
        return f"{self.what}: {self.advice}"


@dataclass(frozen=True)
class Written:
    """The result of one call of :meth:`Store.enroll`.

    Attributes:
        before, after: marks of the store before and after the call.
        owners: keys of subject and encounter of each enrollment.
        state: the store's counters after it.
    """

    before: Mark
    after: Mark
    owners: Sequence[tuple[int, int]]
    state: State


def checked_templates(templates: Iterable[Template]) -> tuple[Template, ...]:
    """Return the templates as a tuple; raise if there is none, too many, or something else among them."""
    if is_template(templates):
        raise ArgumentTypeError(
            f"templates is one {type(templates).__name__}; expected a sequence of templates"
        )
    if not isinstance(templates, Iterable):
        raise ArgumentTypeError(
            f"templates is a {type(templates).__name__}; expected a sequence of templates"
        )
    checked = tuple(templates)
    for number, template in enumerate(checked):
        if not is_template(template):
            raise ArgumentTypeError(
                f"template {number} is a {type(template).__name__}; expected {template_names()}"
            )
    if not checked:
        raise TemplateError("no templates; expected at least one")
    if len(checked) > MAX_TEMPLATES:
        raise TemplateError(f"{len(checked)} templates; expected at most {MAX_TEMPLATES}")
    return checked


def checked_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The labels sorted, each once."""
    if isinstance(labels, str):
        raise ArgumentTypeError("labels is one string; expected a sequence of strings")
    given = tuple(labels)
    for label in given:
        check_new_id("label", label)
    return tuple(sorted(set(given)))


def check_level(level: int) -> None:
    """Check that a value is an assurance level."""
    check_integer("level", level, 0, _MAX_LEVEL)


def check_id(name: str, value: str) -> None:
    """Check that a value can be an id: text of 1 to 255 characters."""
    if not isinstance(value, str):
        raise ArgumentTypeError(f"{name} is a {type(value).__name__}; expected a string")
    subject_id = value if name == "subject_id" else None
    if not 1 <= len(value) <= MAX_ID:
        raise ArgumentError(f"{name} has {len(value)} characters; expected 1 to {MAX_ID}").about(subject_id)
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ArgumentError(f"{name} {value!r} holds a character that is not text").about(subject_id)


def check_new_id(name: str, value: str) -> None:
    """Check that a new id is an id (:func:`check_id`) and has no control characters.

    An id with an escape sequence, a line break or a turn of the text's direction would change how a terminal, a log
    or a table shows what stands around it. Galleries of an abis before 0.2 may hold some; they can be looked up.
    """
    check_id(name, value)
    if has_control_characters(value):
        error = ArgumentError(f"{name} {printable(value)!r} holds a control character")
        raise error.about(value if name == "subject_id" else None)


def check_room(subject_id: str, templates: int) -> None:
    """Check that a subject does not get more templates than allowed.

    Raises:
        SubjectFullError: there are more.
    """
    if templates > MAX_TEMPLATES_OF_SUBJECT:
        raise SubjectFullError(
            f"subject {subject_id!r} would have {templates} templates; expected at most {MAX_TEMPLATES_OF_SUBJECT}"
        ).about(subject_id)


def not_enrolled(subject_id: str) -> NotEnrolled:
    """Return the error for a subject that is not enrolled."""
    return NotEnrolled(f"subject {subject_id!r} is not enrolled").about(subject_id)


def microseconds(time: datetime) -> int:
    """Return a time as the tables hold it: microseconds since 1970-01-01 UTC."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(time: int | None) -> datetime | None:
    """Return the time of :func:`microseconds`."""
    return None if time is None else _EPOCH + timedelta(microseconds=time)
