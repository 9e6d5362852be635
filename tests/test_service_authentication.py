# SPDX-License-Identifier: Apache-2.0
"""Who may call a service, and what for; and what a service refuses to start with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from people import everything
from services import KEY, client_of, data_of, encounter_of, token, write_keys

import abis
from abis.service import Settings, SettingsError, load
from abis.service.authentication import Authentication


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("service")
    settings = Settings(
        str(folder / "gallery"), port=0, jwks=write_keys(folder), issuer="https://idp", audience="abis"
    )
    with client_of(settings) as client:
        yield client


def status(client: httpx.Client, bearer: str | None) -> int:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    answer = client.get("/v1/galleries", headers=headers)
    if answer.status_code == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    return answer.status_code


GOOD: dict[str, Any] = {"iss": "https://idp", "aud": "abis"}


def test_a_token_opens_what_its_scopes_name(client: httpx.Client) -> None:
    assert status(client, token(**GOOD)) == 200
    assert status(client, token("abis.gallery.read other", **GOOD)) == 200
    assert status(client, token("abis.verify", **GOOD)) == 403
    assert status(client, token("", **GOOD)) == 403
    assert status(client, None) == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": time.time() - 3600},
        {"iss": "https://other"},
        {"aud": "other"},
        {"nbf": time.time() + 3600},
        {"sub": ""},
        {"sub": "a\nb"},
        {"sub": 7},
        {"sub": None},
        {"exp": None},
        {"purpose": ["x"]},
    ],
)
def test_a_token_with_a_wrong_claim_opens_nothing(client: httpx.Client, claims: dict[str, Any]) -> None:
    given = {"sub": "tester", "exp": time.time() + 3600, "scope": "abis.gallery.read", **GOOD, **claims}
    payload = {name: value for name, value in given.items() if value is not None}
    try:
        bearer = jwt.encode(payload, KEY, algorithm="ES256", headers={"kid": "test"})
    except TypeError:  # PyJWT does not write such a claim
        head, body = jwt.encode({}, KEY, algorithm="ES256", headers={"kid": "test"}).split(".")[:2]
        body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
        bearer = f"{head}.{body}.AAAA"
    assert status(client, bearer) == 401


def test_forged_tokens_open_nothing(client: httpx.Client) -> None:
    payload = {"sub": "x", "exp": time.time() + 3600, "scope": "abis.gallery.read", **GOOD}
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "test"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    seal = base64.urlsafe_b64encode(hmac.digest(public, head + b"." + body, hashlib.sha256)).rstrip(b"=")
    good = token(**GOOD)
    other = jwt.encode(payload, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "test"})
    for bearer in (
        b".".join([head, body, seal]).decode(),  # the public key taken for a secret
        jwt.encode(payload, "", algorithm="none", headers={"kid": "test"}),
        other,
        jwt.encode(payload, KEY, algorithm="ES256", headers={"kid": "unknown"}),
        good[:-4] + "AAAA",
        good.replace(".", "", 1),
        "x",
        "a.b.c",
        "é",
    ):
        headers = {b"Authorization": f"Bearer {bearer}".encode()}
        assert client.get("/v1/galleries", headers=headers).status_code == 401
    assert client.get("/v1/galleries", headers={"Authorization": "Basic eDp5"}).status_code == 401


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_keys_of_three_kinds(tmp_path: Path, algorithm: str) -> None:
    key: Any
    match algorithm:
        case "RS256":
            key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case "ES256":
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        case _:
            key = ed25519.Ed25519PrivateKey.generate()
            public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [{**public, "alg": algorithm}]}))
    payload = {"sub": "x", "exp": time.time() + 60, "scp": ["a", "abis.verify"], "purpose": "eKYC"}
    bearer = jwt.encode(payload, key, algorithm=algorithm)
    caller = Authentication(Settings("g", jwks=str(file))).caller(f"Bearer {bearer}", "abis.verify")
    assert caller == ("x", "eKYC")


def test_the_caller_is_the_actor_of_the_audit_log(tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "gallery"), port=0, jwks=write_keys(tmp_path))
    with client_of(settings, token(sub="bank", purpose="eKYC")) as client:
        assert client.post("/v1/persons/p/encounters/1", json=encounter_of(everything(1))).status_code == 200
        claim = {"biometricData": data_of(everything(1, 1))}
        assert client.post("/v1/verify/ALL/p", json=claim).status_code == 200
        assert client.post("/v1/identify/ALL", json={"filter": {}, **claim}).status_code == 200
        assert client.delete("/v1/persons/p").status_code == 204
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        entries = [(e.actor, e.purpose, e.operation) for e in gallery.audit_log()]
        assert entries == [("bank", "eKYC", what) for what in ("enroll", "verify", "identify", "remove")]
        assert gallery.check_audit()[2] == []
        assert gallery.check() == []


def test_a_service_does_not_start_open_to_the_network(tmp_path: Path) -> None:
    gallery = str(tmp_path)
    for host in ("0.0.0.0", "192.168.1.1", "::", "example.org"):
        with pytest.raises(SettingsError, match="loopback"):
            Settings(gallery, host=host, authentication=False).check_http()
    for host in ("127.0.0.1", "::1", "localhost"):
        Settings(gallery, host=host, authentication=False).check_http()
    with pytest.raises(SettingsError, match="no keys"):
        Settings(gallery).check_http()


def test_settings_come_from_flags_then_environment_then_file(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text('gallery = "file"\nport = 1\nfmr = 1e-5\n[limits]\nseconds = 3\n[mosip]\nport = 5\n')
    environment = {
        "ABIS_SERVICE_PORT": "2",
        "ABIS_SERVICE_LIMITS__SAMPLES": "7",
        "ABIS_SERVICE_CALLBACK_ORIGINS": "https://a,https://b",
        "OTHER": "x",
    }
    settings = load(file, {"gallery": "flag", "host": None}, environment)
    assert (settings.gallery, settings.port, settings.fmr) == ("flag", 2, 1e-5)
    assert (settings.limits.seconds, settings.limits.samples, settings.mosip.port) == (3, 7, 5)
    assert settings.callback_origins == ("https://a", "https://b")
    for name, value, part in (
        ("unknown", "1", "unknown"),
        ("port", "x", "port"),
        ("port", "70000", "port"),
        ("fmr", "2", "fmr"),
        ("disclosure", "some", "disclosure"),
        ("tls_key", "x", "tls_certificate"),
        ("limits.seconds", "0", "limits.seconds"),
        ("mosip.workers", "0", "mosip.workers"),
    ):
        with pytest.raises(SettingsError, match=part):
            load(None, {"gallery": "g", name: value}, {})
    with pytest.raises(SettingsError, match="gallery"):
        load(None, {}, {})
    file.write_text("=")
    with pytest.raises(SettingsError, match="not valid TOML"):
        load(file, {}, {})
