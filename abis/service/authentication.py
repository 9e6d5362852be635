# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: JWT (RFC 7519) signed by a key of a JSON Web Key Set (RFC 7517).

Only signatures by asymmetric keys are accepted; ``none`` and HMAC, by which a public key could be taken for a
secret, are refused before a key is looked for.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec

from abis.service.callers import Caller
from abis.service.refusals import Refusal
from abis.service.settings import Settings, SettingsError

__all__ = ["Authentication"]

_log = logging.getLogger("abis.service")
_ALGORITHMS = ("RS256", "ES256", "EdDSA")
_LEEWAY_S = 30
_KEYS_KEPT_S = 300.0
_LEAST_BETWEEN_S = 5.0  # between two requests for the keys, whatever tokens come
_REMEMBERED = 1_000  # tokens whose signature was checked
_DEFAULT_PURPOSE = "osia"


class _Checked(msgspec.Struct, frozen=True):
    caller: Caller
    scopes: frozenset[str]
    expires: float


class Authentication:
    """Says who calls, and whether the call is allowed. Safe for threads.

    Args:
        settings: of the service.

    Raises:
        SettingsError: the keys cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read = -_KEYS_KEPT_S
        self._asked = -_LEAST_BETWEEN_S
        self._tokens: dict[str, _Checked] = {}
        if settings.authentication:
            self._read_keys()

    def caller(self, authorization: str | None, scope: str) -> Caller:
        """Who calls, by the ``Authorization`` header.

        Args:
            authorization: the header; None: there is none.
            scope: that the call needs.

        Raises:
            Refusal: 401 without a valid token, 403 without the scope.
        """
        if not self._settings.authentication:
            return Caller("", "")
        kind, _, token = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _unauthorized("no bearer token")
        if self._is_refresh_due():
            self._read_keys_again()
        checked = self._remembered(token)
        if checked is None:
            tokens = self._tokens
            checked = self._checked(token)
            if len(tokens) >= _REMEMBERED:
                tokens.clear()
            tokens[token] = checked
        if scope not in checked.scopes:
            raise Refusal(403, f"the token lacks the scope {scope}")
        return checked.caller

    def knows(self, authorization: str | None) -> bool:
        """Whether :meth:`caller` will answer without checking a signature or asking for keys."""
        token = (authorization or "").partition(" ")[2]
        if not self._settings.authentication or not token:
            return True
        return self._remembered(token) is not None and not self._is_refresh_due()

    def _remembered(self, token: str) -> _Checked | None:
        checked = self._tokens.get(token)
        return None if checked is None or checked.expires < time.time() - _LEEWAY_S else checked

    def _is_refresh_due(self) -> bool:
        """Whether the keys are old. While one caller reads them again, the others go on with those there are."""
        now = time.monotonic()
        return now - self._read > _KEYS_KEPT_S and now - self._asked > _LEAST_BETWEEN_S

    def _checked(self, token: str) -> _Checked:
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in _ALGORITHMS:
                raise _unauthorized(f"the token's algorithm is not one of {', '.join(_ALGORITHMS)}")
            key = self._key(header.get("kid"))
            if key.algorithm_name != header["alg"]:
                raise _unauthorized("the token's algorithm is not its key's")
            required = ["exp", "sub"]
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm_name],
                issuer=self._settings.issuer or None,
                audience=self._settings.audience or None,
                leeway=_LEEWAY_S,
                options={"require": required, "verify_aud": bool(self._settings.audience)},
            )
        except jwt.PyJWTError as error:
            raise _unauthorized(f"the token is not valid: {type(error).__name__}") from None
        except (ValueError, TypeError, AttributeError):
            raise _unauthorized("the token is not valid") from None
        purpose = claims.get("purpose", _DEFAULT_PURPOSE)
        caller = Caller(_name("sub", claims["sub"]), _name("purpose", purpose))
        return _Checked(caller, _scopes(claims), float(claims["exp"]))

    def _key(self, key_id: Any) -> jwt.PyJWK:
        if key_id is not None and key_id not in self._keys:
            self._read_keys_again()
        keys = self._keys
        if key_id is None and len(keys) == 1:
            return next(iter(keys.values()))
        key = keys.get(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise _unauthorized("the token's key is not known")
        return key

    def _read_keys_again(self) -> None:
        """Keys change: an unknown one may be new. Where they cannot be had, the old ones stay."""
        with self._lock:
            if time.monotonic() - self._asked < _LEAST_BETWEEN_S:
                return
            try:
                self._read_keys()
            except SettingsError as error:
                _log.warning("%s", error)

    def _read_keys(self) -> None:
        self._asked = time.monotonic()
        source = self._settings.jwks
        try:
            if source.startswith(("https://", "http://")):
                response = httpx.get(source, timeout=5.0, trust_env=False)
                response.raise_for_status()
                content = response.content
            else:
                content = Path(source).read_bytes()
            found = jwt.PyJWKSet.from_dict(msgspec.json.decode(content))
        except (OSError, ValueError, TypeError, AttributeError, httpx.HTTPError, jwt.PyJWTError) as error:
            raise SettingsError(f"jwks {source}: {error}") from None
        named = {key.key_id or str(i): key for i, key in enumerate(found.keys)}
        keys = {key_id: key for key_id, key in named.items() if key.algorithm_name in _ALGORITHMS}
        if not keys:
            raise SettingsError(f"jwks {source}: no key of {', '.join(_ALGORITHMS)}")
        self._keys = keys
        self._read = time.monotonic()
        self._tokens = {}  # a new one: who has just checked a token by an old key writes into the old one


def _unauthorized(message: str) -> Refusal:
    return Refusal(401, message, {"WWW-Authenticate": 'Bearer realm="abis"'})


def _name(claim: str, value: Any) -> str:
    """A claim that the audit log can hold."""
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():
        raise _unauthorized(f"the token's {claim} is not text of 1 to 255 printable characters")
    return value


def _scopes(claims: dict[str, Any]) -> frozenset[str]:
    """RFC 8693, 4.2: words in one text; some servers write a list, or call it ``scp``."""
    value = claims.get("scope", claims.get("scp", ""))
    words = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(word for word in words if isinstance(word, str))
