# SPDX-License-Identifier: Apache-2.0
"""OSIA's own OpenAPI document against a service: what the document allows is answered as it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from people import everything
from services import client_of, encounter_of, token, write_keys

from abis.service import Settings
from abis.service.operations import OPERATIONS
from benchmarks.durability.contract import run_schemathesis

pytest.importorskip("schemathesis")


def test_the_operations_are_those_of_the_document(interop: Path) -> None:
    document = yaml.safe_load((interop / "osia_abis.yaml").read_text(encoding="utf-8"))
    theirs = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            theirs[operation["operationId"]] = (
                method.upper(),
                path,
                {scope for each in operation["security"] for scopes in each.values() for scope in scopes},
                {int(status) for status in operation["responses"]} & {404, 409},
                "requestBody" in operation,
                any(parameter["name"] == "callback" for parameter in operation["parameters"]),
            )
    ours = {
        o.name: (o.method, o.path, {o.scope}, set(o.statuses), o.has_body, o.may_call_back)
        for o in OPERATIONS
    }
    assert ours == theirs
    assert len(ours) == 22


@pytest.mark.parametrize(
    "examples", [pytest.param(4, id="short"), pytest.param(30, id="long", marks=pytest.mark.slow)]
)
def test_no_request_of_the_document_is_answered_otherwise(
    interop: Path, tmp_path: Path, examples: int
) -> None:
    settings = Settings(
        str(tmp_path / "gallery"),
        port=0,
        jwks=write_keys(tmp_path),
        callback_origins=("http://client.com",),
    )
    bearer = token()
    with client_of(settings, bearer) as client:
        enrolled = client.post("/v1/persons/0/encounters/0", json=encounter_of(everything(1), "0"))
        assert enrolled.status_code == 200
        url = str(client.base_url)
        done = run_schemathesis(interop / "osia_abis.yaml", url, bearer, examples=examples, seed=0)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "22" in done.stdout
        metrics = client.get("/metrics").text
        assert 'status="500"' not in metrics
