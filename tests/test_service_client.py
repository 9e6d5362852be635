# SPDX-License-Identifier: Apache-2.0
"""A client that another's generator makes of OSIA's document works with a service as it is."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from people import everything
from services import client_of, data_of, encounter_of, probe_of, token, write_keys

from abis.service import Settings

pytest.importorskip("openapi_python_client")


@pytest.fixture
def generated(interop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The generated package."""
    settings = tmp_path / "generator.yaml"
    settings.write_text("literal_enums: true\npost_hooks: []\n")
    subprocess.run(
        [
            *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
            *("--path", str(interop / "osia_abis.yaml"), "--config", str(settings)),
            *("--output-path", str(tmp_path / "osia_client")),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("osia_client")


def test_a_generated_client_enrolls_identifies_verifies_and_merges(generated: Any, tmp_path: Path) -> None:
    settings = Settings(str(tmp_path / "gallery"), port=0, jwks=write_keys(tmp_path))
    bearer = token()
    with (
        client_of(settings, bearer) as http,
        generated.AuthenticatedClient(base_url=str(http.base_url).rstrip("/"), token=bearer) as osia,
    ):

        def call(name: str, *arguments: Any, **more: Any) -> Any:
            module = importlib.import_module(f"osia_client.api.{name}")
            answer = module.sync_detailed(*arguments, client=osia, transaction_id="t", **more)
            assert answer.status_code in (200, 204), answer.content
            return answer.parsed

        def message(kind: str, content: dict[str, Any]) -> Any:
            models = importlib.import_module("osia_client.models")
            return getattr(models, kind).from_dict(content)

        for person, impression in (("p", 0), ("q", 1)):
            body = message("Encounter", encounter_of(everything(1, impression), "A", encounterId=person))
            ids = call("crud.create_encounter", person, person, body=body)
            assert (ids.person_id, ids.encounter_id) == (person, person)
        request = message("IdentifyRequest", probe_of(everything(1, 2)))
        found = call("search.identify", "A", body=request)
        assert {candidate.person_id for candidate in found} == {"p", "q"}
        claim = message("VerifyFromIdRequest", {"biometricData": data_of(everything(1, 3))})
        assert call("search.verify_from_id", "A", "p", body=claim).decision is True
        call("crud.merge_encounter", "p", "q")
        assert [each.encounter_id for each in call("crud.read_all_encounters", "p")] == ["p", "q"]
        assert call("gallery.read_galleries") == ["A"]
        assert len(call("gallery.read_gallery_content", "A")) == 2
        call("crud.delete_all", "p")
