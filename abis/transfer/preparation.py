# SPDX-License-Identifier: Apache-2.0
"""Decode the bytes of a source into enrollments, or state why a record cannot be enrolled. Runs in worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from abis.errors import FormatError
from abis.formats._stored_many import StoredForms, at_position, stored_forms
from abis.formats.inputs import decode_text
from abis.store import StoredEnrollment
from abis.store.import_records import Prepared, Record, Rejected, Sample, digest
from abis.store.records import MAX_TEMPLATES, check_new_id, checked_labels
from abis.store.stored_form import doubts_of
from abis.template import Position

__all__ = ["PreparedBatch", "prepare", "prepare_batch"]


class PreparedBatch(NamedTuple):
    """Records of a batch as they can be enrolled.

    Attributes:
        prepared: in the order of the records.
        sha256: SHA-256 over the records as they were read.
        repairs: faults of records that were repaired, and records that are probably not of one person; and where.
    """

    prepared: list[Prepared]
    sha256: bytes
    repairs: list[str]


def prepare_batch(records: Sequence[Record]) -> PreparedBatch:
    """Check some records, and encode their templates."""
    sha256 = hashlib.sha256()
    for record in records:
        sha256.update(digest(record))
    repairs: list[str] = []
    forms = iter(_stored_forms([sample for record in records for sample in record.samples], repairs))
    prepared = [_prepared(record, list(islice(forms, len(record.samples)))) for record in records]
    for record, own in zip(records, prepared, strict=True):
        if isinstance(own, StoredEnrollment) and (doubts := doubts_of(own.templates)):
            repairs.append(f"{record.place}: {doubts}")
    return PreparedBatch(prepared, sha256.digest(), repairs)


def prepare(record: Record) -> Prepared:
    """Check one record, and encode its templates."""
    (prepared,) = prepare_batch([record]).prepared
    return prepared


def _stored_forms(samples: Sequence[Sample], repairs: list[str]) -> list[StoredForms | FormatError]:
    """Of each sample its templates, or what is wrong with it; what was passed over is appended to ``repairs``."""
    contents: list[bytes | FormatError] = []
    for sample in samples:
        try:
            contents.append(_bytes(sample))
        except FormatError as error:
            contents.append(error)
    notes: list[tuple[int, str]] = []
    places = [s.place for s, c in zip(samples, contents, strict=True) if isinstance(c, bytes)]
    read = iter(stored_forms([content for content in contents if isinstance(content, bytes)], notes))
    repairs += [f"{places[number]}: {note}" for number, note in sorted(notes)]
    return [next(read) if isinstance(content, bytes) else content for content in contents]


def _prepared(record: Record, forms: Sequence[StoredForms | FormatError]) -> Prepared:
    if record.fault is not None:
        return Rejected(record.fault)
    try:
        subject_id = _checked_id("subject_id", record.subject_id)
        encounter_id = record.encounter_id
        if encounter_id is not None:
            encounter_id = _checked_id("encounter_id", encounter_id)
        labels = checked_labels(record.labels)
    except (TypeError, ValueError) as error:
        return Rejected(f"{record.place}: {error}")
    templates: list[tuple[int, bytes]] = []
    for sample, own in zip(record.samples, forms, strict=True):
        try:
            if isinstance(own, FormatError):
                raise own
            templates += own if sample.position is None else _positioned(own, _position(sample.position))
        except FormatError as error:
            return Rejected(f"{sample.place}: {error}")
    if not 1 <= len(templates) <= MAX_TEMPLATES:
        return Rejected(f"{record.place}: {len(templates)} templates; expected 1 to {MAX_TEMPLATES}")
    return StoredEnrollment(subject_id, encounter_id, templates, labels)


def _checked_id(name: str, value: object) -> str:
    if isinstance(value, int | float):
        raise TypeError(f"{name} is the number {value}; expected text, for numbers lose leading zeros")
    if not isinstance(value, str):
        raise TypeError(f"{name} is {'missing' if value is None else type(value).__name__}; expected text")
    check_new_id(name, value)
    return value


def _bytes(sample: Sample) -> bytes:
    match sample.content:
        case bytes() as content:
            return content
        case str() as text:
            try:
                return decode_text(text)
            except FormatError as error:
                raise FormatError(f"the template {error}") from None
    raise FormatError("no template")


def _positioned(forms: StoredForms, stated: Position) -> Iterator[tuple[int, bytes]]:
    """The templates at the position that the source states, where the record leaves it open."""
    for position, data in forms:
        if position == stated:
            yield position, data
        elif Position(position).is_open and Position(position).is_comparable(stated):
            yield int(stated), at_position(data, stated)
        else:
            raise FormatError(
                f"is stated to be {stated.name}, but the record is of {Position(position).name}"
            )


@lru_cache(maxsize=256)
def _position(stated: str | int) -> Position:
    """From a name in any writing, ``right-index``, or a code of ISO/IEC 19794-2:2005, table 2."""
    text = str(stated).strip()
    try:
        if text.isdecimal():
            return Position(int(text))
        return Position[text.upper().replace("-", "_").replace(" ", "_")]
    except (KeyError, ValueError):
        names = ", ".join(position.name for position in Position)
        raise FormatError(f"position {text!r} is none of {names}") from None
