# SPDX-License-Identifier: Apache-2.0
"""What a row of table ``templates`` holds: a template's native form, sealed or with a checksum.

Either is bound to its place: the keys of template and encounter, the position, and the subject_id. A row
that was damaged, or put in the place of another, is an error when it is read and never a wrong template.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from abis.encryption import SEALED, Cipher
from abis.errors import AbisError, StoreError
from abis.formats import native
from abis.formats._native_many import read_many
from abis.template import Template

__all__ = ["Place", "opened", "read_templates", "with_checksum"]

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
        return _CONTEXT.pack(b"abis", *self[:3]) + self.subject_id.encode()


def with_checksum(plain: bytes, place: Place) -> bytes:
    """The form of a gallery that is not encrypted: CRC-32 over place and content at the end."""
    return plain + _checksum(plain, place)


def stored(plain: bytes, place: Place, cipher: Cipher | None) -> bytes:
    """The form that is written now."""
    return with_checksum(plain, place) if cipher is None else cipher.seal(plain, place.context)


def is_sealed(data: bytes) -> bool:
    return data.startswith(SEALED)


def opened(data: bytes, place: Place, cipher: Cipher | None) -> bytes:
    """The native form, of whichever of both; whether plain ones are allowed is the caller's to know.

    Raises:
        StoreError: where the row is damaged, not of this place, or sealed and there is no cipher.
    """
    if is_sealed(data):
        if cipher is None:
            raise StoreError("sealed, in a gallery that is not encrypted")
        return cipher.open(data, place.context)
    plain, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if checksum != _checksum(plain, place):
        raise StoreError("its checksum is wrong")
    return plain


def read_templates(natives: Sequence[bytes], places: Sequence[Place]) -> list[Template]:
    """Decode many at once.

    Raises:
        StoreError: naming the one that is no template.
    """
    try:
        return read_many(natives)
    except AbisError:
        templates = []
        for plain, place in zip(natives, places, strict=True):
            try:
                templates.append(native.read(plain))
            except AbisError as error:
                raise StoreError(f"template {place.template} is damaged: {error}") from error
        return templates


def _checksum(plain: bytes, place: Place) -> bytes:
    return zlib.crc32(plain, zlib.crc32(place.context)).to_bytes(_CHECKSUM_BYTES, "big")
