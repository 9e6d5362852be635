# SPDX-License-Identifier: Apache-2.0
"""MOSIP's data share: fetch what a reference URL names, with the token it asks for, and decrypt it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import load_pem_private_key, pkcs12

from abis.errors import FormatError
from abis.service.biometrics import decoded
from abis.service.fetching import origin_of
from abis.service.mosip.messages import Failure, Reason
from abis.service.settings import MosipSettings, SettingsError

__all__ = ["DataShare", "decrypted", "private_key"]

_SPLITTER = b"#KEY_SPLITTER#"
_VERSION = b"VER_R2"
_THUMBPRINT = 32
_AAD = 32
_IV = 12
_OLD_IV = 32
_OAEP = OAEP(MGF1(hashes.SHA256()), hashes.SHA256(), None)
_NOT_ALLOWED = ("KER-ATH-401", "KER-ATH-402", "KER-ATH-403")
_EXPIRED = "DAT-SER-006"
_TIMEOUT_S = 30.0


class DataShare:
    """Fetches CBEFF documents. Safe for threads.

    Args:
        settings: of the member.
        limit: the most bytes of one document.

    Raises:
        SettingsError: the private key cannot be read.
    """

    def __init__(self, settings: MosipSettings, *, limit: int) -> None:
        self._settings = settings
        self._limit = limit
        self._origins = {origin_of(origin) for origin in settings.origins} - {None}
        self._key = private_key(settings) if settings.private_key else None
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)
        self._lock = threading.Lock()
        self._token = ""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def document(self, url: str) -> bytes:
        """The CBEFF document at a URL.

        Raises:
            Failure: it cannot be fetched, has expired, or cannot be decrypted.
        """
        content = self._fetched(url)
        if self._key is None:
            return content if content.lstrip().startswith(b"<") else _base64(content)
        try:
            return decrypted(_base64(content), self._key)
        except (ValueError, InvalidTag):
            raise Failure(Reason.NO_DATA, "cannot be decrypted with this key") from None

    def _fetched(self, url: str) -> bytes:
        if origin_of(url) not in self._origins:
            raise Failure(Reason.NOT_FETCHED, "the URL's origin is not allowed")
        token = self._present_token()
        content, errors = self._get(url, token)
        if any(code in _NOT_ALLOWED for code in errors) and self._settings.token_url:
            token = self._new_token(instead_of=token)
            content, errors = self._get(url, token)
        if _EXPIRED in errors:
            raise Failure(Reason.URL_EXPIRED)
        if errors or not content:
            raise Failure(Reason.NOT_FETCHED, ", ".join(errors) or "empty")
        return content

    def _get(self, url: str, token: str) -> tuple[bytes, list[str]]:
        """The content, and the errors that MOSIP tells with status 200."""
        headers = {"Cookie": f"Authorization={token}"} if token else {}
        content = bytearray()
        try:
            with self._client.stream("GET", url, headers=headers) as response:
                status = response.status_code
                for part in response.iter_bytes():
                    content += part
                    if len(content) > self._limit:
                        raise Failure(Reason.NOT_FETCHED, f"more than {self._limit} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failure(Reason.NOT_FETCHED, type(error).__name__) from None
        if status in (401, 403):
            return b"", [f"KER-ATH-{status}"]
        if status != 200:
            return b"", [f"HTTP {status}"]
        return bytes(content), _errors(bytes(content))

    def _present_token(self) -> str:
        if not self._settings.token_url:
            return ""
        return self._token or self._new_token(instead_of="")

    def _new_token(self, *, instead_of: str) -> str:
        """A token in place of one that is not accepted; one for all threads."""
        with self._lock:
            if self._token != instead_of:
                return self._token
            settings = self._settings
            request = {
                "id": "io.mosip.authmanager",
                "version": "1.0",
                "requesttime": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "request": {
                    "clientId": settings.client_id,
                    "secretKey": settings.client_secret,
                    "appId": settings.app_id,
                },
            }
            try:
                response = self._client.post(settings.token_url, json=request)
            except httpx.HTTPError as error:
                raise Failure(Reason.NOT_FETCHED, f"no token: {type(error).__name__}") from None
            finally:
                given = self._client.cookies.get("Authorization")
                self._client.cookies.clear()  # the token is sent where it belongs, and nowhere else
            token = given or response.headers.get("authorization", "").removeprefix("Bearer ")
            if not token:
                raise Failure(Reason.NOT_FETCHED, f"no token: HTTP {response.status_code}")
            self._token = token
            return token


def private_key(settings: MosipSettings) -> RSAPrivateKey:
    """The key that data shares are encrypted for.

    Raises:
        SettingsError: the file is not PKCS#12 or PEM with an RSA key, or the password is another one.
    """
    password = settings.private_key_password.encode() or None
    try:
        content = Path(settings.private_key).read_bytes()
        if content.lstrip().startswith(b"-----BEGIN"):
            key: Any = load_pem_private_key(content, password)
        else:
            key = pkcs12.load_pkcs12(content, password).key
    except OSError as error:
        raise SettingsError(f"mosip.private_key {settings.private_key}: {error.strerror}") from None
    except (ValueError, TypeError) as error:
        raise SettingsError(f"mosip.private_key {settings.private_key}: {error}") from None
    if not isinstance(key, RSAPrivateKey):
        raise SettingsError(f"mosip.private_key {settings.private_key}: holds no RSA key")
    return key


def decrypted(content: bytes, key: RSAPrivateKey) -> bytes:
    """What a data share holds.

    Since MOSIP 1.2.0: ``VER_R2``, thumbprint of the certificate (32 bytes), AES key by RSA-OAEP (SHA-256), a splitter,
    32 bytes of associated data whose first 12 are the nonce, AES-GCM. Before: thumbprint, key, splitter, AES-GCM,
    the nonce of 32 bytes at the end.

    Raises:
        ValueError, InvalidTag: it is encrypted for another key, or is something else.
    """
    head, splitter, body = content.partition(_SPLITTER)
    if not splitter:
        raise ValueError("no key splitter")
    is_new = head.startswith(_VERSION)
    wrapped = head[(len(_VERSION) if is_new else 0) + _THUMBPRINT :]
    if len(wrapped) != key.key_size // 8:
        raise ValueError(f"the AES key takes {len(wrapped)} bytes; expected {key.key_size // 8}")
    cipher = AESGCM(key.decrypt(wrapped, _OAEP))
    if is_new:
        return cipher.decrypt(body[:_IV], body[_AAD:], body[:_AAD])
    return cipher.decrypt(body[-_OLD_IV:], body[:-_OLD_IV], None)


def _base64(content: bytes) -> bytes:
    try:
        return decoded(content.decode("ascii").strip())
    except (UnicodeDecodeError, FormatError):
        raise Failure(Reason.NO_DATA, "not base64") from None


def _errors(content: bytes) -> list[str]:
    """Codes of the errors in a JSON answer; none where it is something else."""
    if not content.lstrip().startswith(b"{"):
        return []
    try:
        errors = msgspec.json.decode(content).get("errors") or []
        return [str(each["errorCode"]) for each in errors]
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
        return ["an answer that is not MOSIP's"]
