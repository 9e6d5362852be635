# SPDX-License-Identifier: Apache-2.0
"""A service for tests: keys, tokens, and OSIA's messages about made-up people."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from abis.formats import native
from abis.service import Settings
from abis.service.biometrics import type_of
from abis.service.operations import OPERATIONS
from abis.service.server import serving
from abis.template import Template

SCOPES = " ".join(sorted({operation.scope for operation in OPERATIONS}))
KEY = ec.generate_private_key(ec.SECP256R1())


def write_keys(folder: Path) -> str:
    """The public key as a key set in a file."""
    public: dict[str, Any] = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [{**public, "kid": "test", "alg": "ES256", "use": "sig"}]}))
    return str(file)


def token(scope: str = SCOPES, **claims: Any) -> str:
    """A token for some scopes, valid for an hour."""
    payload = {"sub": "tester", "exp": time.time() + 3600, "scope": scope, **claims}
    return jwt.encode(payload, KEY, algorithm="ES256", headers={"kid": "test"})


@contextmanager
def client_of(settings: Settings, bearer: str | None = None) -> Iterator[httpx.Client]:
    """A client of a service that runs in a thread."""
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    with (
        serving(settings) as url,
        httpx.Client(base_url=url, params={"transactionId": "t"}, headers=headers, timeout=120) as client,
    ):
        yield client


def data_of(templates: Sequence[Template]) -> list[dict[str, Any]]:
    """OSIA's biometric data of templates, in the engine's own format."""
    return [
        {
            "biometricType": type_of(template.position),
            "template": base64.b64encode(native.write(template)).decode(),
            "templateFormat": "ABIS",
        }
        for template in templates
    ]


def encounter_of(
    templates: Sequence[Template], *galleries: str, status: str = "ACTIVE", **fields: Any
) -> dict[str, Any]:
    """OSIA's encounter of templates."""
    return {
        "status": status,
        "encounterType": "enrolment",
        "galleries": list(galleries) or ["ALL"],
        "biometricData": data_of(templates),
        **fields,
    }


def probe_of(templates: Sequence[Template], **conditions: Any) -> dict[str, Any]:
    """OSIA's request to identify."""
    return {"filter": conditions, "biometricData": data_of(templates)}
