# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: AES-256 in Galois/Counter Mode (NIST SP 800-38D), data keys wrapped by a master key.

What is stored is sealed by a *data key*, which is random and lies in the gallery's database, itself sealed
(*wrapped*) by the *master key*, which never does. So a new master key costs a few bytes written, and a new data
key takes effect at once while what older ones sealed is sealed again at leisure.

Every seal takes a random nonce of 96 bits. One key should seal at most 2^32 messages (SP 800-38D, 8.3):
a gallery of 50 million subjects, three templates each, may be written 28 times over by one data key.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from abis.errors import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SEALED", "Cipher", "KeyService", "MasterKey", "new_data_key"]

SEALED = b"\xabIE"
"""What a sealed message begins with; then the number of its data key, the nonce, the message, the tag."""

_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16
_NUMBER_BYTES = 4
_NONCE_AT = len(SEALED) + _NUMBER_BYTES
_MESSAGE_AT = _NONCE_AT + _NONCE_BYTES
_WRAPPING = b"abis data key "


class KeyService(Protocol):
    """What wraps data keys: a :class:`MasterKey`, or a client of a key management service."""

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Seal a data key of 32 bytes; ``context`` is authenticated with it."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The data key again; any exception where the key service refuses."""


class MasterKey:
    """A master key of 32 bytes, held in memory. Prints as no more than its name.

    >>> MasterKey(bytes(range(32)))
    MasterKey(given)
    """

    def __init__(self, key: bytes, *, name: str = "given") -> None:
        if len(key) != _KEY_BYTES:
            raise StoreError(f"master key ({name}) has {len(key)} bytes; expected {_KEY_BYTES}")
        self._aead = _aead(key)
        self._name = name

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> MasterKey:
        """The key of a file that :meth:`generate` wrote: 44 characters of base64.

        Raises:
            StoreError: where the file cannot be read, or holds something else.
        """
        try:
            text = Path(path).read_bytes()
        except OSError as error:
            raise StoreError(f"master key: {os.fspath(path)}: {error.strerror}") from error
        return cls(_decoded(text, os.fspath(path)), name=os.fspath(path))

    @classmethod
    def from_environment(cls) -> MasterKey | None:
        """The key in ``ABIS_KEY``, or in the file that ``ABIS_KEY_FILE`` names; None where neither is set."""
        text, file = os.environ.get("ABIS_KEY"), os.environ.get("ABIS_KEY_FILE")
        if text:
            return cls(_decoded(text.encode(), "ABIS_KEY"), name="ABIS_KEY")
        return cls.from_file(file) if file else None

    @staticmethod
    def generate(path: str | os.PathLike[str]) -> None:
        """Write a new random key to a new file that only its owner can read.

        Raises:
            StoreError: where there is such a file already, or it cannot be written.
        """
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"master key: {os.fspath(path)}: {error.strerror}") from error

    def __repr__(self) -> str:
        return f"MasterKey({self._name})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a master key is not pickled: open the gallery with it in each process")

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Seal a data key."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The data key again.

        Raises:
            StoreError: where this key did not wrap it, or it is damaged.
        """
        try:
            return self._aead.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except Exception:  # InvalidTag; ValueError where nothing is left of it
            raise StoreError(f"master key ({self._name}) does not open the data key") from None


class Cipher:
    """Seals and opens with the data keys of a gallery. Safe for threads; knows new keys when it meets them.

    Args:
        keys: what wraps the data keys; an attribute too.
        load: gives the wrapped data keys by number, as they are now.
    """

    def __init__(self, keys: KeyService, load: Callable[[], Mapping[int, bytes]]) -> None:
        self.keys = keys
        self._load = load
        self._aeads: dict[int, AESGCM] = {}
        self._current = 0
        self.refresh()

    def __repr__(self) -> str:
        return f"Cipher(data key {self._current})"

    @property
    def current(self) -> int:
        """Number of the data key that seals."""
        return self._current

    def refresh(self) -> None:
        """Take in the data keys there are now. Older ones are kept for who still reads what was there before."""
        known, wrapped = self._aeads, self._load()
        new = {n: _aead(self._unwrapped(n, key)) for n, key in wrapped.items() if n not in known}
        self._aeads = known | new
        self._current = max(wrapped, default=0)

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; the same ``context`` is needed to open. 35 bytes longer than what is given."""
        return self.seal_many([(plain, context)])[0]

    def seal_many(self, messages: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Encrypt many, (plain, context) each; the random numbers for all are drawn at once."""
        number = self._current
        head, encrypt = SEALED + number.to_bytes(_NUMBER_BYTES, "big"), self._aeads[number].encrypt
        random = os.urandom(_NONCE_BYTES * len(messages))
        nonces = [random[at : at + _NONCE_BYTES] for at in range(0, len(random), _NONCE_BYTES)]
        return [
            head + nonce + encrypt(nonce, plain, context)
            for nonce, (plain, context) in zip(nonces, messages, strict=True)
        ]

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt and authenticate.

        Raises:
            StoreError: where the message is damaged, of another context, or of an unknown data key.
        """
        number = number_of_key(sealed)
        aead = self._aeads.get(number)
        if aead is None:
            self.refresh()  # another process has made a new key
            aead = self._aeads.get(number)
            if aead is None:
                raise StoreError(f"sealed by data key {number}, which is not there")
        try:
            return aead.decrypt(sealed[_NONCE_AT:_MESSAGE_AT], sealed[_MESSAGE_AT:], context)
        except Exception:  # InvalidTag says no more
            raise StoreError("sealed bytes are damaged, or not of this place") from None

    def _unwrapped(self, number: int, wrapped: bytes) -> bytes:
        try:
            key = self.keys.unwrap(wrapped, wrapping_context(number))
        except StoreError as error:
            raise StoreError(f"data key {number}: {error}") from None
        if len(key) != _KEY_BYTES:
            raise StoreError(f"data key {number} has {len(key)} bytes; expected {_KEY_BYTES}")
        return key


def new_data_key(keys: KeyService, number: int) -> bytes:
    """A new random data key, wrapped."""
    return keys.wrap(os.urandom(_KEY_BYTES), wrapping_context(number))


def rewrapped(wrapped: bytes, number: int, old: KeyService, new: KeyService) -> bytes:
    """A data key wrapped by another master key."""
    return new.wrap(old.unwrap(wrapped, wrapping_context(number)), wrapping_context(number))


def number_of_key(sealed: bytes) -> int:
    """Which data key sealed a message.

    Raises:
        StoreError: where it is no sealed message.
    """
    if not sealed.startswith(SEALED) or len(sealed) < _MESSAGE_AT + _TAG_BYTES:
        raise StoreError("not sealed bytes, or cut off")
    return int.from_bytes(sealed[len(SEALED) : _NONCE_AT], "big")


def wrapping_context(number: int) -> bytes:
    """What is authenticated with a wrapped data key."""
    return _WRAPPING + str(number).encode()


def _decoded(text: bytes, name: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        raise StoreError(f"master key: {name} is not base64; expected 44 characters of it") from None


def _aead(key: bytes) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise StoreError(
            "encryption needs the package cryptography: pip install 'abis[encryption]'"
        ) from error
    return AESGCM(key)
