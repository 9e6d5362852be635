# SPDX-License-Identifier: Apache-2.0
"""What a service is told when it starts: flags, environment variables and one TOML file, checked as a whole."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from abis.errors import AbisError

__all__ = ["Disclosure", "Limits", "MosipSettings", "Settings", "SettingsError", "load"]

Disclosure = Literal["decision", "rounded", "full"]
"""How much of a score leaves the service: nothing but decisions and ranks, whole numbers, or all of it."""

_PREFIX = "ABIS_SERVICE_"
_WITH_FLAGS = ("host", "port", "processes", "tls_key", "jwks", "issuer", "audience", "disclosure")


class SettingsError(AbisError, ValueError):
    """A setting is missing, unknown or contradicts another one."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one request, and all requests together, may take.

    Attributes:
        body_bytes: the largest body of a request.
        samples: the most samples of one request.
        pixels: the most pixels of an image.
        fetched_bytes: the largest image, template or data share that is fetched.
        seconds: the longest that a request may take; 503 after it.
        receive_seconds: the longest that a client may take to send a request; 400 after it.
        requests: requests at work at once; 503 beyond.
        requests_per_caller: requests of one caller at work at once; 429 beyond.
        candidates: the most candidates of one search.
    """

    body_bytes: int = 16 * 2**20
    samples: int = 64
    pixels: int = 16_000_000
    fetched_bytes: int = 16 * 2**20
    seconds: float = 60.0
    receive_seconds: float = 20.0
    requests: int = 512
    requests_per_caller: int = 256
    candidates: int = 1_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise SettingsError(f"limits.{name} is {getattr(self, name)}; expected a number above 0")


class MosipSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """A member of MOSIP: its broker, its data share, its key.

    Attributes:
        host: of the broker's STOMP connector.
        port: of it.
        user: at the broker; empty: none.
        password: of the user.
        inbound: queue that requests come from.
        outbound: queue that answers go to.
        message_format: of answers; "as-received" answers a text message by text, a byte message by bytes.
        workers: messages worked on at once.
        origins: origins that data shares are fetched from.
        private_key: PKCS#12 or PEM file of the key that data shares are encrypted for; empty: they are plain.
        private_key_password: of that file; empty: none.
        token_url: where the data share's token comes from; empty: none is needed.
        client_id: that asks for the token.
        client_secret: of it.
        app_id: of it.
        fpir: false positive identification rate where a request states none.
        max_candidates: where a request states none.
    """

    host: str = "127.0.0.1"
    port: int = 61613
    user: str = ""
    password: str = ""
    inbound: str = "mosip-to-abis1"
    outbound: str = "abis1-to-mosip"
    message_format: Literal["as-received", "text", "byte"] = "as-received"
    workers: int = 2
    origins: tuple[str, ...] = ()
    private_key: str = ""
    private_key_password: str = ""
    token_url: str = ""
    client_id: str = ""
    client_secret: str = ""
    app_id: str = "regproc"
    fpir: float = 1e-4
    max_candidates: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise SettingsError(
                f"the port of --broker (setting mosip.port) is {self.port}; expected 1 to 65535"
            )
        if self.workers < 1:
            raise SettingsError(f"--workers (setting mosip.workers) is {self.workers}; expected 1 or more")
        if not 0 < self.fpir < 1:
            raise SettingsError(f"mosip.fpir is {self.fpir}; expected a rate between 0 and 1")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """A service.

    Attributes:
        gallery: folder or URL of the gallery.
        host: address to listen at.
        port: to listen at; 0 takes a free one.
        tls_certificate: PEM file; needs ``tls_key``. Empty: plain HTTP.
        tls_key: PEM file.
        jwks: URL or file of the keys that tokens are signed with; empty: no authentication.
        issuer: that tokens must be of; empty: any.
        audience: that tokens must be for; empty: any.
        authentication: False answers every caller; only on loopback.
        processes: that serve.
        identification: False serves without references in memory: everything but identification.
        disclosure: how much of a score leaves the service.
        fmr: false match rate of a verification that asks for none.
        fpir: false positive identification rate of a search that asks for none.
        callback_origins: origins, ``https://host:port``, that results are sent to.
        fetch_origins: origins that images and templates are fetched from.
        callback_attempts: how often a result is sent before it waits for a redelivery.
        task_days: how long the results of tasks are kept.
        log_ids: whether logs name persons.
        face_model: ONNX file of the face network; empty: SFace.
        limits: of requests.
        mosip: member of MOSIP.
    """

    gallery: str
    host: str = "127.0.0.1"
    port: int = 8080
    tls_certificate: str = ""
    tls_key: str = ""
    jwks: str = ""
    issuer: str = ""
    audience: str = ""
    authentication: bool = True
    processes: int = 1
    identification: bool = True
    disclosure: Disclosure = "rounded"
    fmr: float = 1e-6
    fpir: float = 1e-3
    callback_origins: tuple[str, ...] = ()
    fetch_origins: tuple[str, ...] = ()
    callback_attempts: int = 12
    task_days: float = 7.0
    log_ids: bool = False
    face_model: str = ""
    limits: Limits = Limits()
    mosip: MosipSettings = MosipSettings()

    def __post_init__(self) -> None:
        if not self.gallery:
            raise SettingsError(
                "GALLERY (setting gallery) is empty; expected a gallery's folder or the URL of a database"
            )
        if not 0 <= self.port <= 65535:
            raise SettingsError(f"--port (setting port) is {self.port}; expected 0 to 65535")
        if self.processes < 1:
            raise SettingsError(f"--processes (setting processes) is {self.processes}; expected 1 or more")
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise SettingsError(
                "only one of --tls-cert (setting tls_certificate) and --tls-key (setting tls_key) is given; expected "
                "both or none"
            )
        for name in ("fmr", "fpir"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected a rate between 0 and 1")

    def check_http(self) -> None:
        """Refuse what must not listen.

        Raises:
            SettingsError: without authentication beyond loopback; with authentication, but without keys.
        """
        if self.authentication and not self.jwks:
            raise SettingsError(
                "no keys to check tokens with: give --jwks (setting jwks), or --no-auth (authentication = false) "
                "on a loopback address"
            )
        if not self.authentication and not _is_loopback(self.host):
            raise SettingsError(
                f"--host (setting host) is {self.host} and authentication is off; expected a loopback address, or "
                "keys (--jwks, setting jwks)"
            )


def load(
    file: Path | None, given: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Settings from a TOML file, then from ``ABIS_SERVICE_*``, then from what is given, the last one first.

    An environment variable ``ABIS_SERVICE_LIMITS__SECONDS`` sets ``limits.seconds``.

    Args:
        file: TOML; None: none.
        given: settings by name; None as a value: not given.
        environment: variables.

    Raises:
        SettingsError: naming the setting that is unknown or wrong.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            merged = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{file}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SettingsError(f"{file}: not valid TOML: {error}") from None
    for name, value in environment.items():
        if name.startswith(_PREFIX):
            _put(merged, name.removeprefix(_PREFIX).lower().split("__"), value)
    for name, value in given.items():
        if value is not None:
            _put(merged, name.split("."), value)
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_named(str(error))) from None


_FLAGS = {
    "gallery": "GALLERY",
    "tls_certificate": "--tls-cert",
    "authentication": "--no-auth",
    "identification": "--no-identification",
    "mosip.host": "--broker",
    "mosip.port": "--broker",
    "mosip.inbound": "--inbound",
    "mosip.outbound": "--outbound",
    "mosip.workers": "--workers",
    **{name: f"--{name.replace('_', '-')}" for name in _WITH_FLAGS},
}


def _named(message: str) -> str:
    """A message of msgspec about settings, with the setting and its flag in front."""
    what, _, place = message.partition(" - at `$.")
    name = place.rstrip("`")
    if not name and "required field `gallery`" in message:
        return "GALLERY (setting gallery) is missing; expected a gallery's folder or the URL of a database"
    if not name:
        return f"settings: {what}" if what.startswith(("Object", "Expected")) else what
    flag = _FLAGS.get(name)
    return f"setting {name}: {what}" if flag is None else f"{flag} (setting {name}): {what}"


def _put(settings: dict[str, Any], path: list[str], value: Any) -> None:
    *groups, name = path
    for group in groups:
        settings = settings.setdefault(group, {})
    if isinstance(value, str) and name.endswith("origins"):
        value = [part for part in value.split(",") if part]
    settings[name] = value


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
