# SPDX-License-Identifier: Apache-2.0
"""MOSIP's messages over a real broker; its compliance kit's cases whose data is there."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from mosip_kit import KEY, OTHER_KEY, Caller, DataShareStub, answering, caller, encrypted, message, write_key
from people import LEFT, RIGHT, finger

import abis
from abis import formats
from abis.formats import Format
from abis.service import Settings
from abis.service.mosip.data_share import decrypted, private_key
from abis.service.mosip.messages import Failure, Reason, parsed
from abis.service.settings import MosipSettings
from abis.template import Template
from benchmarks.lib.brokers import Broker, broker, is_installed

pytestmark = pytest.mark.skipif(
    not is_installed(), reason="no ActiveMQ on this machine (Debian: apt-get install activemq)"
)

_NAMESPACE = "http://standards.iso.org/iso-iec/19785/-3/ed-2/"
_SUBTYPES = {RIGHT: "Right IndexFinger", LEFT: "Left IndexFinger"}


@dataclasses.dataclass
class Place:
    """A member of MOSIP, its gallery, and what stands around it."""

    gallery: abis.Gallery
    share: DataShareStub
    caller: Caller

    def insert(self, reference_id: str, content: bytes, **fields: Any) -> dict[str, Any]:
        url = self.share.put(encrypted(content))
        return self.caller.ask(message("insert", referenceId=reference_id, referenceURL=url, **fields))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def settings_of(folder: Path, running: Broker, share: DataShareStub, **more: Any) -> Settings:
    mosip = MosipSettings(
        port=running.port,
        origins=(share.url,),
        private_key=write_key(folder),
        token_url=f"{share.url}/authenticate",
        **more,
    )
    return Settings(str(folder / "gallery"), mosip=mosip)


@pytest.fixture(scope="module")
def place_of_module(running: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("mosip")
    share = DataShareStub()
    settings = settings_of(folder, running, share)
    with (
        abis.Gallery.open(folder / "gallery") as gallery,
        answering(gallery, settings),
        caller(running.port, settings.mosip.inbound, settings.mosip.outbound) as calling,
    ):
        yield Place(gallery, share, calling)
    share.close()


@pytest.fixture
def place(place_of_module: Place) -> Place:
    for subject_id in list(place_of_module.gallery):
        place_of_module.gallery.remove(subject_id)
    place_of_module.share.tokens.clear()
    return place_of_module


def cbeff(*templates: Template) -> bytes:
    """A document of minutiae records, which need no extraction."""
    birs = []
    for template in templates:
        assert isinstance(template, abis.Minutiae)
        record = base64.urlsafe_b64encode(formats.write([template], Format.ISO_19794_2_2005)).decode()
        birs.append(
            f"<BIR><BDBInfo><Format><Organization>Mosip</Organization><Type>2</Type></Format><Type>Finger</Type>"
            f"<Subtype>{_SUBTYPES[template.position]}</Subtype></BDBInfo><BDB>{record.rstrip('=')}</BDB></BIR>"
        )
    return f'<?xml version="1.0"?><BIR xmlns="{_NAMESPACE}">{"".join(birs)}</BIR>'.encode()


def person(number: int, impression: int = 0) -> bytes:
    return cbeff(finger(number, RIGHT, impression), finger(number, LEFT, impression))


def references(answer: dict[str, Any]) -> list[str]:
    assert answer["returnValue"] == "1", answer
    candidates = [each["referenceId"] for each in answer["candidateList"]["candidates"]]
    assert answer["candidateList"]["count"] == str(len(candidates))
    return candidates


# ------------------------------------------------------------------------------------ the compliance kit

_INACTIVE = ("ABIS3004", "ABIS3021", "ABIS3031")
_TIME_OF_ANOTHER_FORMAT = "2026/11/29 10:00:00"


def _cases(interop: Path) -> dict[str, Any]:
    file = interop / "mosip_ctk" / "compliance_test_definitions_abis.json"
    return {case["testId"]: case for case in json.loads(file.read_text(encoding="utf-8"))}


def _changed(request: dict[str, Any], change: str | None) -> dict[str, Any]:
    """A request as the kit changes it."""
    url = request.get("referenceURL", "")
    changes: dict[str, dict[str, Any]] = {
        "newUnknownValue": {"newUnknownValue": "x"},
        "incorrectReferenceURL": {"referenceURL": url.replace("datashare", "datashare1", 1)},
        "invalidReferenceURL": {"referenceURL": url.replace("/", ":", 1)},
        "invalidRequestTime": {"requesttime": _TIME_OF_ANOTHER_FORMAT},
        "invalidId": {"id": "abis.invalid.id"},
    }
    renamed = {(f"{name}XXX" if name == change else name): value for name, value in request.items()}
    return renamed | changes.get(change or "", {})


@pytest.mark.parametrize("number", [n for n in range(3000, 3032) if f"ABIS{n}" not in _INACTIVE])
@pytest.mark.parametrize("data_set", ["FACE", "FINGER_FACE_IRIS", "IRIS"])
def test_a_case_of_the_compliance_kit(place: Place, interop: Path, data_set: str, number: int) -> None:
    name = f"ABIS{number}"
    case = _cases(interop)[name]
    folder = interop / "mosip_ctk" / "testdata" / data_set / "ABIS" / name
    given = case["otherAttributes"]
    inserts = int(given.get("insertCount", "0"))
    if inserts and not folder.is_dir():
        pytest.skip(f"no data of {data_set} for this case")
    pytest.importorskip("abis.extraction")
    change, expected = given.get("invalidRequestAttribute"), given.get("expectedFailureReason")
    methods = case["methodName"]
    schemas = {
        method: _schema(interop, one) for method, one in zip(methods, case["responseSchema"], strict=True)
    }
    answers = []
    for k in range(1, inserts + 1):
        file = folder / ("cbeff.xml" if inserts == 1 else f"cbeff{k}.xml")
        key = OTHER_KEY if change == "incorrectPartnerId" else KEY
        url = place.share.put(encrypted(file.read_bytes(), key))
        if change == "expireDataShareUrl":
            url = url.replace("/v1/", "/expired/")
        reference_id = given.get("insertReferenceId", name if inserts == 1 else f"{name}_{k}")
        request = message("insert", referenceId=reference_id, referenceURL=url)
        answers.append(place.caller.ask(_changed(request, change if "identify" not in methods else None)))
        is_last = k == inserts
        if expected is None or "identify" in methods or not is_last:
            assert answers[-1]["returnValue"] == "1", answers[-1]
    if "identify" in methods:
        gallery = {}
        if ids := given.get("identifyGalleryIds"):
            gallery = {"gallery": {"referenceIds": [{"referenceId": each} for each in ids]}}
        flags = {"maxResults": "10", "targetFPIR": "30"}
        request = message(
            "identify", referenceId=given["identifyReferenceId"], referenceURL="", flags=flags, **gallery
        )
        answers.append(place.caller.ask(_changed(request, change)))
    method = methods[-1]
    jsonschema.validate(answers[-1], schemas[method])
    validators = {each["name"] for group in case["validatorDefs"] for each in group}
    if "ExpectedFailureReasonValidator" in validators:
        assert int(answers[-1]["failureReason"]) == int(expected)
    if "ExpectedDuplicateCountValidator" in validators:
        assert answers[-1]["candidateList"]["count"] == given["expectedDuplicateCount"]
    if "ABISTokenValidator" in validators:
        assert len(set(place.share.tokens)) == 1


def _schema(interop: Path, name: str) -> Any:
    file = interop / "mosip_ctk" / "schemas" / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))


# ------------------------------------------------------------------------------------- the data share


def test_mosips_own_encrypted_data_share_is_read(interop: Path) -> None:
    folder = interop / "mosip_datashare"
    settings = MosipSettings(private_key=str(folder / "doc_cbeff.p12"), private_key_password="password")
    with pytest.warns(UserWarning, match="serial number"):  # of the certificate in MOSIP's documentation
        key = private_key(settings)
    text = (folder / "encrypted-datashare.txt").read_text()
    content = decrypted(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), key)
    assert len(content) == 830_616
    assert content.startswith(b"<?xml")


@pytest.mark.parametrize("old", [False, True])
def test_both_layouts_are_read_and_nothing_else(old: bool) -> None:
    whole = base64.urlsafe_b64decode(encrypted(b"content", old=old) + b"==")
    assert decrypted(whole, KEY) == b"content"
    for changed in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", whole.replace(b"#KEY", b"#XEY")):
        with pytest.raises(Exception, match=r".*") as caught:
            decrypted(changed, KEY)
        assert type(caught.value).__name__ in ("ValueError", "InvalidTag")


def test_a_token_that_has_expired_is_asked_for_again(place: Place) -> None:
    assert place.insert("a", person(1))["returnValue"] == "1"
    place.share.issued.clear()
    assert place.insert("b", person(2))["returnValue"] == "1"
    assert len(place.share.issued) == 1


# ------------------------------------------------------------------------------------------- messages


def test_persons_are_inserted_identified_counted_and_deleted(place: Place) -> None:
    for number in range(1, 5):
        assert place.insert(f"R{number}", person(number))["returnValue"] == "1"
    assert place.insert("again", person(3, 1))["returnValue"] == "1"
    ask = place.caller.ask
    assert ask(message("ping"))["returnValue"] == "1"
    assert ask(message("referenceCount"))["count"] == "5"
    assert ask(message("pendingJobs"))["jobscount"] == "0"
    found = ask(message("identify", referenceId="again", referenceURL=""))
    assert references(found) == ["R3"]
    (candidate,) = found["candidateList"]["candidates"]
    assert candidate["modalities"][0]["biometricType"] == "FIR"
    assert float(candidate["analytics"]["confidence"]) == 100
    assert references(ask(message("identify", referenceId="R1", referenceURL=""))) == []
    url = place.share.put(encrypted(person(4, 2)))
    assert references(ask(message("identify", referenceId="unknown", referenceURL=url))) == ["R4"]
    assert ask(message("identify", referenceId="unknown", referenceURL=""))["failureReason"] == "12"
    assert ask(message("delete", referenceId="R3"))["returnValue"] == "1"
    assert ask(message("delete", referenceId="R3"))["failureReason"] == "12"
    assert references(ask(message("identify", referenceId="again", referenceURL=""))) == []


def test_a_gallery_and_a_number_of_results_limit_what_is_found(place: Place) -> None:
    for impression in range(5):
        assert place.insert(f"R{impression}", person(1, impression))["returnValue"] == "1"

    def found(*ids: str, **flags: str) -> set[str]:
        gallery = {"referenceIds": [{"referenceId": each} for each in ids]}
        request = message("identify", referenceId="R0", referenceURL="", gallery=gallery, flags=flags)
        return set(references(place.caller.ask(request)))

    assert found("R1", "R3", targetFPIR="40") == {"R1", "R3"}
    assert len(found(maxResults="2")) == 2
    assert found() == {"R1", "R2", "R3", "R4"}


def test_a_message_that_is_delivered_again_gets_the_same_answer(place: Place) -> None:
    url = place.share.put(encrypted(person(1)))
    request = message("insert", referenceId="a", referenceURL=url)
    place.caller.send(request)
    place.caller.send(request)
    first, second = place.caller.answers_to(request["requestId"], 2)
    assert first == second
    assert first["returnValue"] == "1"
    gone = message("delete", referenceId="a")
    place.caller.send(gone)
    place.caller.send(gone)
    assert {each["returnValue"] for each in place.caller.answers_to(gone["requestId"], 2)} == {"1"}
    other = message("insert", referenceId="a", referenceURL=url)
    assert place.caller.ask(other)["returnValue"] == "1"
    assert place.caller.ask({**other, "requestId": "another"})["failureReason"] == "10"


def test_an_identification_sees_all_inserts_that_came_before_it(place: Place) -> None:
    assert place.insert("probe", person(1))["returnValue"] == "1"
    for number in range(12):
        url = place.share.put(encrypted(person(1, 1 + number)))
        place.caller.send(message("insert", referenceId=f"R{number}", referenceURL=url))
    found = place.caller.ask(
        message("identify", referenceId="probe", referenceURL="", flags={"maxResults": "30"})
    )
    assert len(references(found)) == 12


def test_answers_are_of_the_kind_of_their_messages(place: Place) -> None:
    for as_bytes in (False, True):
        request = message("ping")
        place.caller.ask(request, as_bytes=as_bytes)
        assert ("content-length" in place.caller.frames[-1].headers) is as_bytes
    request = message("ping")
    place.caller.send(b"\0\0" + json.dumps(request).encode(), as_bytes=True)
    assert place.caller.answers_to(request["requestId"])[0]["returnValue"] == "1"


def test_what_a_member_does_not_understand_it_says_so(place: Place) -> None:
    place.caller.send(b"no JSON")
    assert place.caller.answers_to("")[0]["failureReason"] == "4"
    for content, reason in (
        (b"<a/>", "16"),
        (b"<!DOCTYPE x>" + person(1), "16"),
        (b"text", "16"),
        (person(1).replace(b"Finger</Type>", b"Face</Type>"), "11"),
        (person(1).replace(b"Right IndexFinger", b"Left LittleFinger"), "11"),
    ):
        assert place.insert("a", content)["failureReason"] == reason


def test_reasons_come_in_the_order_of_the_kit() -> None:
    good = message("insert", referenceId="a", referenceURL="http://x/datashare")
    order = [
        ("id", Reason.INVALID_ID),
        ("version", Reason.INVALID_VERSION),
        ("requestId", Reason.NO_REQUEST_ID),
        ("requesttime", Reason.NO_REQUEST_TIME),
        ("referenceId", Reason.NO_REFERENCE_ID),
        ("referenceURL", Reason.NO_REFERENCE_URL),
    ]
    for position, (name, reason) in enumerate(order):
        later = {each for each, _ in order[position:]}
        for gone in ({name}, later):
            failure = parsed(
                json.dumps({k: v for k, v in good.items() if k not in gone} | {"x": 1}).encode()
            )[1]
            assert isinstance(failure, Failure)
            assert failure.reason is reason


@pytest.mark.parametrize("message_format", ["text", "byte"])
def test_a_member_stops_without_losing_a_message(
    running: Broker, tmp_path: Path, message_format: Any
) -> None:
    share = DataShareStub()
    names = {"inbound": f"in-{message_format}", "outbound": f"out-{message_format}"}
    settings = settings_of(tmp_path, running, share, message_format=message_format, **names)
    requests = []
    with (
        abis.Gallery.open(tmp_path / "gallery") as gallery,
        caller(running.port, **names) as calling,
    ):
        for number in range(30):
            url = share.put(encrypted(person(number)))
            requests.append(message("insert", referenceId=f"R{number}", referenceURL=url))
            calling.send(requests[-1])
        for done in (0, 10, 20):  # stops while messages are at work
            with answering(gallery, settings):
                calling.answers_to(requests[done]["requestId"])
        with answering(gallery, settings):
            for request in requests:
                (answer,) = calling.answers_to(request["requestId"])
                assert answer["returnValue"] == "1"
        assert len(gallery) == 30
        assert ("content-length" in calling.frames[0].headers) is (message_format == "byte")
    share.close()
