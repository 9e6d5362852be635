# SPDX-License-Identifier: Apache-2.0
"""What a row of table ``templates`` holds: a template's native form, sealed or with a checksum.

Either is bound to its place: the keys of template and encounter, the position, and the subject_id. A row
that was damaged, or put in the place of another, is an error when it is read and never a wrong template.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from abis.errors import AbisError, StoreError
from abis.formats import native
from abis.formats._native_many import read_many
from abis.store.encryption import SEALED, Cipher
from abis.store.records import Enrollment, StoredEnrollment
from abis.template import Template

__all__ = ["Place", "natives_of", "read_templates", "stored", "stored_enrollment", "with_checksum"]

_CONTEXT = struct.Struct(">4sqqh")
_CHECKSUM_BYTES = 4


class Place(NamedTuple):
    """Where a template stands."""

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
        except (struct.error, AttributeError):  # SQLite puts up with values of any type
            raise StoreError("its row is damaged: keys are no numbers, or an id no text") from None


def with_checksum(plain: bytes, place: Place) -> bytes:
    """The form of a gallery that is not encrypted: CRC-32 over place and content at the end."""
    return plain + _checksum(plain, place)


def stored(templates: Sequence[tuple[Place, bytes]], cipher: Cipher | None) -> list[bytes]:
    """The forms that are written now, of (place, native form) each."""
    if cipher is None:
        return [with_checksum(plain, place) for place, plain in templates]
    return cipher.seal_many([(plain, place.context) for place, plain in templates])


def natives_of(rows: Sequence[Any], cipher: Cipher | None, reseal_from: Callable[[], int]) -> list[bytes]:
    """The native forms of rows of :data:`abis.store.queries.REFERENCES`.

    Args:
        rows: as selected.
        cipher: of the gallery, if it is encrypted. Then none is trusted that is not sealed ...
        reseal_from: ... but for those from this key on, while the gallery is being encrypted; is asked only
            where there is one.

    Raises:
        StoreError: naming the template that is damaged, or not of its place.
    """
    natives = []
    for row in rows:
        try:
            natives.append(_native_of(row, cipher, reseal_from))
        except StoreError as error:
            raise StoreError(f"template {row.template} is damaged: {error}") from None
    return natives


def _native_of(row: Any, cipher: Cipher | None, reseal_from: Callable[[], int]) -> bytes:
    data: bytes = row.data
    place = Place(*row[:4])
    if data.startswith(SEALED):
        if cipher is None:
            raise StoreError("sealed, in a gallery that is not encrypted")
        return cipher.open(data, place.context)
    plain, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if checksum != _checksum(plain, place):
        raise StoreError("its checksum is wrong")
    if cipher is not None and not 0 < reseal_from() <= place.template:
        raise StoreError("not sealed, in an encrypted gallery")
    return plain


def read_templates(natives: Sequence[bytes], keys: Sequence[int]) -> list[Template]:
    """Decode many at once.

    Raises:
        StoreError: naming by its key the one that is no template.
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


def stored_enrollment(enrollment: Enrollment) -> StoredEnrollment:
    """An enrollment with its templates in their native form."""
    return StoredEnrollment(
        enrollment.subject_id,
        enrollment.encounter_id,
        [(int(template.position), native.write(template)) for template in enrollment.templates],
        enrollment.labels,
        enrollment.level,
    )
