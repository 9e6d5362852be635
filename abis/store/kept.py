# SPDX-License-Identifier: Apache-2.0
"""Bytes that a gallery keeps beside its templates, sealed where it is encrypted: what imports have refused."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import sqlalchemy as sa

from abis.errors import StoreError
from abis.store import schema
from abis.store.encryption import Cipher

__all__ = ["drop", "keep", "kept", "reseal_kept"]

_CONTEXT = struct.Struct(">4sq")
_PLAIN, _SEALED = b"\0", b"\1"  # what the bytes begin with: they may be anything


def keep(connection: sa.Connection, cipher: Cipher | None, data: bytes) -> int:
    """Write bytes, in a writing transaction; returns the key to find them by."""
    key = (connection.scalar(sa.select(sa.func.max(schema.kept.c.key))) or 0) + 1
    connection.execute(schema.kept.insert().values(key=key, data=_stored(data, key, cipher)))
    return key


def kept(connection: sa.Connection, cipher: Cipher | None, key: int) -> bytes:
    """The bytes again.

    Raises:
        StoreError: where they are damaged.
    """
    data = connection.scalar(sa.select(schema.kept.c.data).where(schema.kept.c.key == key))
    return _plain(bytes(data or b""), key, cipher)


def drop(connection: sa.Connection, keys: Iterable[int]) -> None:
    """Forget bytes."""
    for key in keys:
        connection.execute(schema.kept.delete().where(schema.kept.c.key == key))


def reseal_kept(connection: sa.Connection, cipher: Cipher | None) -> None:
    """Seal all of it by the newest data key, before older ones are forgotten."""
    keys = connection.scalars(sa.select(schema.kept.c.key)).all()
    for key in keys:
        data = _stored(kept(connection, cipher, key), key, cipher)
        connection.execute(schema.kept.update().where(schema.kept.c.key == key).values(data=data))


def _stored(data: bytes, key: int, cipher: Cipher | None) -> bytes:
    context = _CONTEXT.pack(b"kept", key)
    if cipher is not None:
        return _SEALED + cipher.seal(data, context)
    return _PLAIN + _checksum(data, context) + data


def _plain(stored: bytes, key: int, cipher: Cipher | None) -> bytes:
    context = _CONTEXT.pack(b"kept", key)
    match stored[:1], cipher:
        case b"\1", Cipher():
            return cipher.open(stored[1:], context)
        case b"\0", _ if stored[1:5] == _checksum(stored[5:], context):
            return stored[5:]
    raise StoreError(f"kept bytes {key} are damaged")


def _checksum(data: bytes, context: bytes) -> bytes:
    return zlib.crc32(data, zlib.crc32(context)).to_bytes(4, "big")
