# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: AES-256 in Galois/Counter Mode (NIST SP 800-38D), data keys wrapped by a master key.

A *data key* seals templates. It is random and stands in the gallery's database, sealed (*wrapped*) by the *master
key*, which is never stored there. A change of the master key rewrites a few bytes. A new data key takes effect at
once; templates sealed by older data keys are sealed again while other processes use the gallery.

The *authentication key*, wrapped in the same way, authenticates rows (:mod:`abis.store.tags`). Each wrapping and
each seal also authenticates the gallery's id: keys and rows of another gallery under the same master key are refused.

Every seal takes a random nonce of 96 bits. One data key should seal at most 2^32 messages (SP 800-38D, 8.3):
enough to write a gallery of 50 million subjects with three templates each 28 times.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from abis.errors import StoreError
from abis.store.tags import RowTags

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["AUTHENTICATION_KEY", "SEALED", "Cipher", "KeyRing", "KeyService", "MasterKey", "new_data_key"]

AUTHENTICATION_KEY = 0
"""Number of the key that authenticates rows. It is made with the gallery and seals nothing."""

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
    """Wraps data keys: a :class:`MasterKey`, or a client of a key management service."""

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        """Seal a data key of 32 bytes; ``context`` is authenticated with it."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the data key; raise any exception if the key service refuses."""


class MasterKey:
    """A master key of 32 bytes, held in memory. It prints its name only.

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
        except Exception:  # InvalidTag; ValueError if it is too short
            raise StoreError(f"master key ({self._name}) does not open the data key") from None


class KeyRing(NamedTuple):
    """The wrapped keys of a gallery, as one transaction has read them.

    Attributes:
        gallery_id: id of the gallery; part of what each wrapping and each seal authenticates.
        current: number of the data key that seals.
        wrapped: wrapped keys by number; number 0 is the authentication key.
    """

    gallery_id: str
    current: int
    wrapped: Mapping[int, bytes]


class Cipher:
    """Seals, opens and authenticates with the keys of a gallery. Safe for threads.

    Loads data keys that other processes have made when it finds a message sealed by one.

    Args:
        keys: wraps the data keys; an attribute too.
        load: returns the wrapped keys as they are now.

    Attributes:
        tags: computes the tags that authenticate rows.

    Raises:
        StoreError: ``keys`` does not open the gallery's keys, a key is missing, or there is a key too many.
    """

    def __init__(self, keys: KeyService, load: Callable[[], KeyRing]) -> None:
        self.keys = keys
        self._load = load
        self._aeads: dict[int, AESGCM] = {}
        ring = load()
        self._current = ring.current
        self._prefix = ring.gallery_id.encode()
        self._take(ring)
        if AUTHENTICATION_KEY not in ring.wrapped:
            raise StoreError("the authentication key is missing")
        secret = self._unwrapped(AUTHENTICATION_KEY, ring)
        self.tags = RowTags(_derived(secret, b"abis rows " + self._prefix))

    def __repr__(self) -> str:
        return f"Cipher(data key {self._current})"

    @property
    def current(self) -> int:
        """Number of the data key that seals."""
        return self._current

    def refresh(self) -> None:
        """Load the present data keys. Older keys stay, for readers of an older state."""
        self._take(self._load())

    def seal(self, plain: bytes, context: bytes) -> bytes:
        """Encrypt; the same ``context`` is needed to open. The result is 35 bytes longer than ``plain``."""
        return self.seal_many([(plain, context)])[0]

    def seal_many(self, messages: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
        """Encrypt many, (plain, context) each; the random numbers of all are drawn at once."""
        number, prefix = self._current, self._prefix
        head, encrypt = SEALED + number.to_bytes(_NUMBER_BYTES, "big"), self._aeads[number].encrypt
        random = os.urandom(_NONCE_BYTES * len(messages))
        nonces = [random[at : at + _NONCE_BYTES] for at in range(0, len(random), _NONCE_BYTES)]
        return [
            head + nonce + encrypt(nonce, plain, prefix + context)
            for nonce, (plain, context) in zip(nonces, messages, strict=True)
        ]

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Decrypt and authenticate.

        Raises:
            StoreError: where the message is damaged, of another context or gallery, or of an unknown data key.
        """
        number = number_of_key(sealed)
        aead = self._aeads.get(number)
        if aead is None:
            self.refresh()  # another process has made a new key
            aead = self._aeads.get(number)
            if aead is None:
                raise StoreError(f"sealed by data key {number}, which is not there")
        try:
            return aead.decrypt(sealed[_NONCE_AT:_MESSAGE_AT], sealed[_MESSAGE_AT:], self._prefix + context)
        except Exception:  # InvalidTag has no message
            raise StoreError("sealed bytes are damaged, or belong to another row or gallery") from None

    def _take(self, ring: KeyRing) -> None:
        foreign = max(ring.wrapped, default=0)
        if foreign > ring.current:
            raise StoreError(f"data key {foreign} is not of this gallery: its newest is {ring.current}")
        known = self._aeads
        new = {n: _aead(self._unwrapped(n, ring)) for n in ring.wrapped if n and n not in known}
        self._aeads = known | new
        self._current = ring.current

    def _unwrapped(self, number: int, ring: KeyRing) -> bytes:
        try:
            key = self.keys.unwrap(ring.wrapped[number], wrapping_context(ring.gallery_id, number))
        except StoreError as error:
            raise StoreError(f"data key {number}: {error}") from None
        if len(key) != _KEY_BYTES:
            raise StoreError(f"data key {number} has {len(key)} bytes; expected {_KEY_BYTES}")
        return key


def new_data_key(keys: KeyService, gallery_id: str, number: int) -> bytes:
    """A new random key of a gallery, wrapped."""
    return keys.wrap(os.urandom(_KEY_BYTES), wrapping_context(gallery_id, number))


def rewrapped(wrapped: bytes, gallery_id: str, number: int, old: KeyService, new: KeyService) -> bytes:
    """A key of a gallery, wrapped by another master key."""
    context = wrapping_context(gallery_id, number)
    return new.wrap(old.unwrap(wrapped, context), context)


def number_of_key(sealed: bytes) -> int:
    """Number of the data key that sealed a message.

    Raises:
        StoreError: where it is no sealed message.
    """
    if not sealed.startswith(SEALED) or len(sealed) < _MESSAGE_AT + _TAG_BYTES:
        raise StoreError("not sealed bytes, or cut off")
    return int.from_bytes(sealed[len(SEALED) : _NONCE_AT], "big")


def opened(keys: Mapping[int, bytes], sealed: bytes, context: bytes) -> bytes:
    """What a gallery of schema version 2 or 3 sealed, which authenticated no gallery's id.

    Raises:
        StoreError: as :meth:`Cipher.open` does.
    """
    number = number_of_key(sealed)
    if number not in keys:
        raise StoreError(f"sealed by data key {number}, which is not there")
    try:
        return _aead(keys[number]).decrypt(sealed[_NONCE_AT:_MESSAGE_AT], sealed[_MESSAGE_AT:], context)
    except Exception:  # InvalidTag has no message
        raise StoreError("sealed bytes are damaged, or belong to another row") from None


def wrapping_context(gallery_id: str, number: int) -> bytes:
    """What is authenticated with a wrapped key: the gallery's id and the key's number."""
    return _WRAPPING + f"{gallery_id} {number}".encode()


def _derived(secret: bytes, purpose: bytes) -> bytes:
    """A key for one purpose: HKDF with SHA-256 (RFC 5869)."""
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415 - an extra
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(secret)


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
