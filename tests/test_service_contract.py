# SPDX-License-Identifier: Apache-2.0
"""OSIA's own OpenAPI document against a service: what the document allows is answered as it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from people import everything
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4
from services import client_of, data_of, encounter_of, probe_of, token, write_keys
from test_service_tasks import Platform

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


class Document:
    """OSIA's document, and whether answers are as it says."""

    def __init__(self, interop: Path) -> None:
        self.content = yaml.safe_load((interop / "osia_abis.yaml").read_text(encoding="utf-8"))
        resource = Resource.from_contents(self.content, default_specification=DRAFT4)
        self._registry: Registry[Any] = Registry().with_resource("urn:osia", resource)
        self.operations = {o.name: (o.path, o.method.lower()) for o in OPERATIONS}

    def check(self, body: object, *place: str) -> None:
        """Check a body against the schema at a place of the document."""
        pointer = "/".join(each.replace("~", "~0").replace("/", "~1") for each in place)
        schema = {"$ref": f"urn:osia#/{pointer}"}
        jsonschema.Draft4Validator(schema, registry=self._registry).validate(body)

    def check_answer(self, name: str, answer: httpx.Response) -> None:
        """Check status, media type and body of an answer."""
        path, method = self.operations[name]
        status = str(answer.status_code)
        declared = self.content["paths"][path][method]["responses"][status].get("content", {})
        if not declared:
            assert answer.content == b""
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        body = answer.json() if media_type == "application/json" else answer.text
        place = ("paths", path, method, "responses", status, "content", media_type, "schema")
        self.check(body, *place)

    def check_callback(self, name: str, body: object) -> None:
        """Check a result that was sent to a callback."""
        path, method = self.operations[name]
        ((callback, inside),) = self.content["paths"][path][method]["callbacks"].items()
        ((url, _),) = inside.items()
        place = ("paths", path, method, "callbacks", callback, url, "post", "requestBody", "content")
        self.check(body, *place, "application/json", "schema")


def _calls() -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    """A call of each operation but those of tasks, in an order in which all succeed."""
    rich = encounter_of(
        everything(1),
        "A",
        "B",
        biographicData={"firstName": "Ana", "number": 1},
        contextualData={"operator": "x"},
        clientData="AAAA",
    )
    rich["biometricData"][0] |= {"instance": "i", "quality": 80, "qualityFormat": "ISO_19794", "vendor": "v"}
    other = encounter_of(everything(1, 1), "A")
    probe, claim = probe_of(everything(1, 2)), {"biometricData": data_of(everything(1, 2))}
    both = {"biometricData1": data_of(everything(1)), "biometricData2": data_of(everything(1, 1))}
    p, q = {"personId": "p", "encounterId": "1"}, {"personId": "q", "encounterId": "2"}
    merge = {"personIdTarget": "p", "personIdSource": "q"}
    gallery = {"galleryId": "A"}
    return [
        ("createEncounterNoIds", {}, {"json": other}),
        ("createEncounterNoId", {"personId": "r"}, {"json": other}),
        ("createEncounter", p, {"json": rich}),
        ("createEncounter", q, {"json": other}),
        ("createEncounter", {**q, "encounterId": "3"}, {"json": other}),
        ("readAllEncounters", p, {}),
        ("readEncounter", p, {}),
        ("updateEncounter", p, {"json": rich}),
        ("updateEncounterStatus", q, {"params": {"status": "INACTIVE"}}),
        ("updateEncounterGalleries", q, {"json": ["B"]}),
        ("readTemplate", p, {}),
        ("readTemplate", p, {"params": {"templateFormat": "ABIS"}}),
        ("identify", gallery, {"json": probe}),
        ("identify", {"galleryId": "ALL"}, {"json": probe, "params": {"threshold": "3", "maxNbCand": "2"}}),
        ("identifyFromId", {**gallery, **p}, {"json": {}}),
        ("identifyFromEncounterId", {**gallery, **p}, {"json": {}}),
        ("verifyFromId", {**gallery, **p}, {"json": claim, "params": {"accuracyLevel": "HIGH"}}),
        ("verifyFromBio", {}, {"json": both}),
        ("readGalleries", {}, {}),
        ("readGalleryContent", gallery, {}),
        ("readGalleryContent", gallery, {"headers": {"Accept": "text/csv"}}),
        ("moveEncounter", {**merge, "encounterId": "2"}, {}),
        ("mergeEncounter", merge, {}),
        ("deleteEncounter", {**p, "encounterId": "3"}, {}),
        ("deleteAll", p, {}),
    ]


def test_every_operation_and_every_callback_answers_by_its_schema(interop: Path, tmp_path: Path) -> None:
    document = Document(interop)
    platform = Platform()
    settings = Settings(
        str(tmp_path / "gallery"), port=0, authentication=False, callback_origins=(platform.url,)
    )
    called = set()
    with client_of(settings) as client:

        def call(name: str, path: dict[str, str], **how: Any) -> httpx.Response:
            template, method = document.operations[name]
            answer = client.request(method, template.format(**path), **how)
            assert answer.is_success, (name, answer.text)
            document.check_answer(name, answer)
            called.add(name)
            return answer

        for name, path, how in _calls():
            call(name, path, **how)
        for name, path, how in _calls():
            asked = {**how, "params": {**how.get("params", {}), "callback": platform.url, "priority": "3"}}
            answer = call(name, path, **asked)
            assert answer.status_code == 202
            task = {"taskId": answer.json()["taskId"]}
            document.check_callback(name, platform.result_of(task["taskId"])[3])
            call("readTaskStatus", task)
            call("redeliverTaskResult", task)
            platform.result_of(task["taskId"], 2)
    platform.close()
    assert called == set(document.operations)


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
