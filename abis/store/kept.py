# SPDX-License-Identifier: Apache-2.0
"""Bytes that a gallery keeps beside its templates, such as refused records; sealed if the gallery is encrypted."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema
from abis.store.encryption import Cipher
from abis.store.queries import state_of

__all__ = ["drop", "keep", "kept", "reseal_kept"]

_CONTEXT = struct.Struct(">4sq")
_PLAIN, _SEALED = b"\0", b"\1"  # first byte of the kept bytes, since the content may be anything
_PACKED_PLAIN, _PACKED_SEALED = (
    b"\2",
    b"\3",
)  # compressed if that halves them, so that a small archive with huge content does not fill the disk


def keep(connection: sa.Connection, cipher: Cipher | None, data: bytes) -> int:
    """Write bytes, in a writing transaction; return the key under which they are kept."""
    key = (connection.scalar(sa.select(sa.func.max(schema.kept.c.key))) or 0) + 1
    connection.execute(schema.kept.insert().values(key=key, data=_stored(data, key, cipher)))
    return key


def kept(connection: sa.Connection, cipher: Cipher | None, key: int) -> bytes:
    """Return the bytes under a key.

    Raises:
        StoreError: the bytes are damaged, or are not sealed although the gallery is encrypted.
    """
    stored = bytes(connection.scalar(sa.select(schema.kept.c.data).where(schema.kept.c.key == key)) or b"")
    kind, data, context = stored[:1], stored[1:], _CONTEXT.pack(b"kept", key)
    if kind in (_SEALED, _PACKED_SEALED) and cipher is not None:
        opened = cipher.open(data, context)
    elif kind in (_PLAIN, _PACKED_PLAIN) and data[:4] == _checksum(data[4:], context):
        if cipher is not None and not state_of(connection).plain_from:
            raise StoreError(f"kept bytes {key} are not sealed, in an encrypted gallery")
        opened = data[4:]
    else:
        raise StoreError(f"kept bytes {key} are damaged")
    return zlib.decompress(opened) if kind in (_PACKED_PLAIN, _PACKED_SEALED) else opened


def drop(connection: sa.Connection, keys: Iterable[int]) -> None:
    """Delete the bytes under a key, in a writing transaction."""
    for key in keys:
        connection.execute(schema.kept.delete().where(schema.kept.c.key == key))


def reseal_kept(connection: sa.Connection, cipher: Cipher | None) -> None:
    """Seal all kept bytes by the newest data key, before older data keys are deleted."""
    keys = connection.scalars(sa.select(schema.kept.c.key)).all()
    for key in keys:
        data = _stored(kept(connection, cipher, key), key, cipher)
        connection.execute(schema.kept.update().where(schema.kept.c.key == key).values(data=data))


def _stored(data: bytes, key: int, cipher: Cipher | None) -> bytes:
    context = _CONTEXT.pack(b"kept", key)
    packed = zlib.compress(data)
    if is_packed := len(packed) <= len(data) // 2:
        data = packed
    if cipher is not None:
        return (_PACKED_SEALED if is_packed else _SEALED) + cipher.seal(data, context)
    return (_PACKED_PLAIN if is_packed else _PLAIN) + _checksum(data, context) + data


def _checksum(data: bytes, context: bytes) -> bytes:
    return zlib.crc32(data, zlib.crc32(context)).to_bytes(4, "big")
