# SPDX-License-Identifier: Apache-2.0
"""What a row of table ``templates`` holds: a template's native form, sealed or with a checksum.

Both forms authenticate or check the place too: the keys of template and encounter, the position, and the subject_id. A
row that was damaged, or copied to another place, is an error when it is read and never a wrong template.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from abis.errors import AbisError, FormatError, StoreError, TemplateError
from abis.formats import native
from abis.formats._native_many import read_many
from abis.store.encryption import SEALED, Cipher
from abis.store.records import Enrollment, StoredEnrollment
from abis.template import Minutiae, Position, Template
from abis.template.superposition import FEWEST_MINUTIAE, superimposed

__all__ = [
    "Place",
    "doubts_of",
    "encoded",
    "natives_of",
    "read_templates",
    "stored",
    "stored_enrollments",
    "with_checksum",
]

_CONTEXT = struct.Struct(">4sqqh")
_CHECKSUM_BYTES = 4
_LARGE = 7 * FEWEST_MINUTIAE  # bytes: fewer minutiae take fewer


class Place(NamedTuple):
    """The place of a template in the store."""

    template: int
    encounter: int
    position: int
    subject_id: str

    @property
    def context(self) -> bytes:
        try:
            return (
                _CONTEXT.pack(b"abis", self.template, self.encounter, self.position)
                + self.subject_id.encode()
            )
        except (struct.error, AttributeError):  # SQLite accepts values of any type in any column
            raise StoreError("its row is damaged: keys are no numbers, or an id no text") from None


def with_checksum(plain: bytes, place: Place) -> bytes:
    """Return the form of a gallery without encryption: the content, then a CRC-32 over place and content."""
    return plain + _checksum(plain, place)


def stored(templates: Sequence[tuple[Place, bytes]], cipher: Cipher | None) -> list[bytes]:
    """Return the stored form of each (place, native form): sealed, or with a checksum."""
    if cipher is None:
        return [with_checksum(plain, place) for place, plain in templates]
    return cipher.seal_many([(plain, place.context) for place, plain in templates])


def natives_of(rows: Sequence[Any], cipher: Cipher | None, plain_from: Callable[[], int]) -> list[bytes]:
    """Return the native forms in rows of :data:`abis.store.queries.REFERENCES`.

    Args:
        rows: as selected.
        cipher: of the gallery; None where it is not encrypted.
        plain_from: returns :attr:`State.plain_from`: in an encrypted gallery, templates with smaller keys must be
            sealed. It is called only for a template that is not sealed.

    Raises:
        StoreError: a template is damaged or belongs to another place; the message names it.
    """
    natives = []
    for row in rows:
        try:
            natives.append(_native_of(row, cipher, plain_from))
        except StoreError as error:
            raise StoreError(f"template {row.template} is damaged: {error}") from None
    return natives


def _native_of(row: Any, cipher: Cipher | None, plain_from: Callable[[], int]) -> bytes:
    data: bytes = row.data
    place = Place(*row[:4])
    if data.startswith(SEALED):
        if cipher is None:
            raise StoreError("sealed, in a gallery that is not encrypted")
        return cipher.open(data, place.context)
    plain, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if checksum != _checksum(plain, place):
        raise StoreError("its checksum is wrong")
    if cipher is not None and not 0 < plain_from() <= place.template:
        raise StoreError("not sealed, in an encrypted gallery")
    return plain


def encoded(templates: Sequence[Template]) -> list[tuple[int, bytes]]:
    """Return position and native form of each template, after reading the native form back as a check.

    A template is checked when it is made, but a caller can make its arrays writable and change them.

    Raises:
        TemplateError: a template was altered after its checks and is none any more.
    """
    try:
        natives = [native.write(template) for template in templates]
        for template, plain in zip(templates, read_many(natives), strict=True):
            if _differs(template, plain):
                raise TemplateError(f"{template!r} was altered after it was made")
    except (FormatError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise TemplateError(f"a template was altered after it was made: {error}") from None
    return [(int(t.position), plain) for t, plain in zip(templates, natives, strict=True)]


def _differs(template: Template, again: Template) -> bool:
    """Whether a template that was read back is another one, though valid.

    Of minutiae only columns are compared that share bits of the stored form; the others cannot change unnoticed, and a
    whole comparison would take a tenth of the time of an enrolment.
    """
    if not isinstance(template, Minutiae) or not isinstance(again, Minutiae):
        return template != again
    columns = ((template.x, again.x), (template.kind, again.kind))
    return any(one.tobytes() != other.tobytes() for one, other in columns)


def doubts_of(templates: Sequence[tuple[int, bytes]]) -> str:
    """Describe templates, as (position, native form), that are probably not of one person; empty if there is none.

    Few templates have enough minutiae for that; the others are not decoded.
    """
    large = [plain for at, plain in templates if at <= Position.LEFT_LITTLE and len(plain) > _LARGE]
    return "; ".join(filter(None, map(superimposed, map(native.read, large))))


def read_templates(natives: Sequence[bytes], keys: Sequence[int]) -> list[Template]:
    """Decode many native forms at once.

    Raises:
        StoreError: one is not a template; the message gives its key.
    """
    try:
        return read_many(natives)
    except AbisError:
        templates = []
        for plain, key in zip(natives, keys, strict=True):
            try:
                templates.append(native.read(plain))
            except AbisError as error:
                raise StoreError(f"template {key} is damaged: {error}") from error
        return templates


def _checksum(plain: bytes, place: Place) -> bytes:
    return zlib.crc32(plain, zlib.crc32(place.context)).to_bytes(_CHECKSUM_BYTES, "big")


def stored_enrollments(enrollments: Sequence[Enrollment]) -> list[StoredEnrollment]:
    """Enrollments with their templates in native form.

    Raises:
        TemplateError: as :func:`encoded` does.
    """
    forms = iter(encoded([template for e in enrollments for template in e.templates]))
    return [
        StoredEnrollment(
            e.subject_id, e.encounter_id, list(islice(forms, len(e.templates))), e.labels, e.level
        )
        for e in enrollments
    ]
