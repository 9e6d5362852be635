# SPDX-License-Identifier: Apache-2.0
"""OSIA's interface over HTTP: the operations, their answers and their errors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from people import LEFT, RIGHT, everything, face, finger
from services import client_of, data_of, encounter_of, probe_of

import abis
from abis import formats
from abis.comparison.dna import DnaModel
from abis.formats import Format
from abis.gallery.answer_policy import AnswerPolicy, Disclosure
from abis.scoring.dna import DnaCalibration
from abis.service import Settings
from abis.service.settings import Limits
from abis.store import Status
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import StrProfile


def settings(folder: Path, **more: Any) -> Settings:
    return Settings(str(folder / "gallery"), port=0, authentication=False, **more)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx.Client]:
    with client_of(settings(tmp_path, disclosure="full")) as client:
        yield client


def put(client: httpx.Client, person: str, encounter: str, message: dict[str, Any]) -> None:
    answer = client.post(f"/v1/persons/{person}/encounters/{encounter}", json=message)
    assert answer.status_code == 200, answer.text


def found(client: httpx.Client, gallery: str, probe: dict[str, Any], **query: Any) -> list[str]:
    answer = client.post(f"/v1/identify/{gallery}", json=probe, params={"transactionId": "t", **query})
    assert answer.status_code == 200, answer.text
    return [candidate["personId"] for candidate in answer.json()]


def message_of(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()
    assert error.keys() == {"code", "message"}
    assert error["code"] == status
    return str(error["message"])


def test_a_person_is_enrolled_found_verified_and_removed(client: httpx.Client) -> None:
    ids = client.post("/v1/persons", json=encounter_of(everything(1), "A")).json()
    for person in range(2, 6):
        put(client, f"p{person}", "1", encounter_of(everything(person), "A"))
    (candidate,) = client.post("/v1/identify/A", json=probe_of(everything(1, 1))).json()
    assert candidate["personId"] == ids["personId"]
    assert candidate["rank"] == 1
    assert candidate["score"] == pytest.approx(sum(each["score"] for each in candidate["scores"]))
    assert {each["encounterId"] for each in candidate["scores"]} == {ids["encounterId"]}
    assert {each["biometricSubType"] for each in candidate["scores"]} == {
        "RIGHT_INDEX",
        "LEFT_INDEX",
        "PORTRAIT",
    }
    claim = {"biometricData": data_of(everything(1, 1))}
    assert client.post(f"/v1/verify/A/{ids['personId']}", json=claim).json()["decision"] is True
    assert client.post("/v1/verify/A/p2", json=claim).json()["decision"] is False
    assert client.delete(f"/v1/persons/{ids['personId']}").status_code == 204
    assert found(client, "A", probe_of(everything(1, 1))) == []
    assert "not enrolled" in message_of(client.get(f"/v1/persons/{ids['personId']}/encounters"), 404)


def test_scores_and_decisions_are_the_gallerys_own(client: httpx.Client, tmp_path: Path) -> None:
    for person in range(5):
        put(client, f"p{person}", "1", encounter_of(everything(person)))
    (first, *_) = client.post(
        "/v1/identify/ALL", json=probe_of(everything(3, 1)), params={"transactionId": "t", "threshold": -99}
    ).json()
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        expected = gallery.identify(everything(3, 1))[0]
    assert (first["personId"], first["score"]) == ("p3", expected.score)


def test_an_encounter_is_read_as_it_was_written_but_for_images(client: httpx.Client) -> None:
    sent = encounter_of(
        everything(1),
        "A",
        "B",
        clientData="AAEC",
        biographicData={"name": "Trần"},
        contextualData=[1, None],
        createdDate="2024-11-18T14:21:00+01:00",
    )
    put(client, "p", "e", sent)
    read = client.get("/v1/persons/p/encounters/e").json()
    assert read.pop("updatedDate")
    assert read == {**sent, "encounterId": "e"}
    assert client.get("/v1/persons/p/encounters").json()[0]["biometricData"] == sent["biometricData"]
    assert client.put("/v1/persons/p/encounters/e", json=read).status_code == 200  # what was read can be sent


def test_encounters_of_the_library_are_encounters_of_the_service(tmp_path: Path) -> None:
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        gallery.enroll("old", everything(1), labels=["A", "B"])
        gallery.enroll("plain", everything(2))
    with client_of(settings(tmp_path)) as client:
        read = client.get("/v1/persons/old/encounters/1").json()
        assert read["galleries"] == ["A", "B"]
        assert read["status"] == "ACTIVE"
        assert [each["biometricType"] for each in read["biometricData"]] == ["FINGER", "FINGER", "FACE"]
        assert client.get("/v1/persons/plain/encounters/1").json()["galleries"] == ["ALL"]
        assert client.get("/v1/galleries").json() == ["A", "B"]
        assert client.get("/v1/galleries/A").json() == [{"personId": "old", "encounterId": "1"}]
        assert found(client, "A", probe_of(everything(1, 1))) == ["old"]
        put(client, "old", "2", encounter_of(everything(1, 2), "C"))
        assert client.get("/v1/persons/old/encounters/1").json()["galleries"] == ["A", "B"]
        assert client.get("/v1/galleries").json() == ["A", "B", "C"]


WRITTEN = {
    "ISO_19794_2": Format.ISO_19794_2_2005,
    "ISO_19794_2_2011": Format.ISO_19794_2_2011,
    "ISO_19794_2_NS": Format.ISO_19794_2_CARD_NORMAL,
    "ISO_19794_2_CS": Format.ISO_19794_2_CARD_COMPACT,
    "ANSI_378": Format.ANSI_378_2004,
    "ANSI_378_2009": Format.ANSI_378_2009,
    "ABIS": Format.NATIVE,
}


@pytest.mark.parametrize("name", [*WRITTEN])
def test_a_finger_is_enrolled_in_each_format_and_read_back_in_it(client: httpx.Client, name: str) -> None:
    record = base64.b64encode(formats.write([finger(1)], WRITTEN[name])).decode()
    datum = {
        "biometricType": "FINGER",
        "biometricSubType": "RIGHT_INDEX",
        "template": record,
        "templateFormat": name,
    }
    put(client, "p", "e", {**encounter_of([]), "biometricData": [datum]})
    path = "/v1/persons/p/encounters/e/templates"
    (read,) = client.get(path, params={"transactionId": "t", "templateFormat": name}).json()
    assert (read["biometricSubType"], read["templateFormat"]) == ("RIGHT_INDEX", name)
    assert read["template"] == record
    wrong = {**datum, "templateFormat": "ABIS" if name != "ABIS" else "ISO_19794_2"}
    refused = client.post("/v1/verify/ALL/p", json={"biometricData": [wrong]})
    assert "biometricData[0]" in message_of(refused, 400)


def test_embeddings_come_with_the_name_of_their_model(client: httpx.Client) -> None:
    def datum(person: int, impression: int, kind: str) -> dict[str, Any]:
        vector = face(person, impression).vector.astype(kind).tobytes()
        name = {"<f2": "EMBEDDING_FLOAT16", "<f4": "EMBEDDING_FLOAT32"}[kind]
        return {
            "biometricType": "FACE",
            "biometricSubType": "PORTRAIT",
            "template": base64.b64encode(vector).decode(),
            "templateFormat": name,
            "algorithm": "test",
        }

    put(client, "p", "e", {**encounter_of([]), "biometricData": [datum(1, 0, "<f4")]})
    claim = {"biometricData": [datum(1, 1, "<f2")]}
    assert client.post("/v1/verify/ALL/p", json=claim).json()["decision"] is True
    del claim["biometricData"][0]["algorithm"]
    assert "name of the model" in message_of(client.post("/v1/verify/ALL/p", json=claim), 400)
    claim["biometricData"][0]["algorithm"] = "another"
    assert "another" in message_of(client.post("/v1/verify/ALL/p", json=claim), 400)
    (read,) = client.get("/v1/persons/p/encounters/e/templates").json()
    assert read["algorithm"] == "test"
    stored = formats.read(base64.b64decode(read["template"]))[0]
    assert isinstance(stored, abis.Embedding)
    assert np.array_equal(stored.vector, face(1).vector)


def test_the_sub_type_places_a_template_that_does_not_say_its_finger(client: httpx.Client) -> None:
    unknown = finger(1, RIGHT, stated=abis.Position.UNKNOWN_FINGER)
    record = base64.b64encode(formats.write([unknown], Format.ISO_19794_2_2005)).decode()
    datum = {"biometricType": "FINGER", "biometricSubType": "LEFT_RING", "template": record}
    put(client, "p", "e", {**encounter_of([]), "biometricData": [datum]})
    (read,) = client.get("/v1/persons/p/encounters/e/templates").json()
    assert read["biometricSubType"] == "LEFT_RING"
    wrong = {**data_of([finger(1, RIGHT)])[0], "biometricSubType": "LEFT_RING"}
    message = message_of(client.post("/v1/verify/ALL/p", json={"biometricData": [wrong]}), 400)
    assert "RIGHT_INDEX" in message
    assert "LEFT_RING" in message


def test_an_eye_is_enrolled_and_verified_by_its_iris_code(client: httpx.Client) -> None:
    dice = np.random.default_rng(1)
    bits = dice.random((16, 64, 2)) < 0.5
    noisy = bits ^ (dice.random(bits.shape) < 0.1)
    code, again, other = (
        abis.IrisCode(bits=each, model="test") for each in (bits, noisy, dice.random(bits.shape) < 0.5)
    )
    datum = {**data_of([code])[0], "biometricSubType": "EYE_LEFT"}
    put(client, "p", "e", {**encounter_of([]), "biometricData": [datum]})
    (read,) = client.get("/v1/persons/p/encounters/e/templates").json()
    assert (read["biometricType"], read["biometricSubType"]) == ("IRIS", "EYE_LEFT")
    for probe, decision in ((again, True), (other, False)):
        answer = client.post("/v1/verify/ALL/p", json={"biometricData": data_of([probe])}).json()
        assert answer["decision"] is decision


def test_voices_and_dna_have_the_type_unknown_and_need_a_calibration(tmp_path: Path) -> None:
    """OSIA has no biometric type for them."""
    frequencies = made_up_frequencies()
    profile = StrProfile.of_alleles(draw_profiles(frequencies, 1)[0])
    vector = np.random.default_rng(1).standard_normal(32)
    voice = abis.Embedding(vector=vector, model="made-up", position=abis.Position.VOICE)
    with client_of(settings(tmp_path)) as client:
        put(client, "p", "e", encounter_of([profile, voice]))
        read = client.get("/v1/persons/p/encounters/e").json()["biometricData"]
        assert [(each["biometricType"], each["templateFormat"]) for each in read] == [("UNKNOWN", "ABIS")] * 2
        templates = client.get("/v1/persons/p/encounters/e/templates").json()
        assert [each["biometricSubType"] for each in templates] == ["UNKNOWN"] * 2
        for template, advice in ((profile, "abis dna frequencies"), (voice, "abis calibrate")):
            probe = {"biometricData": data_of([template])}
            assert advice in message_of(client.post("/v1/verify/ALL/p", json=probe), 400)
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        gallery.calibrate(DnaCalibration.of(DnaModel(frequencies)))
    with client_of(settings(tmp_path)) as client:
        assert found(client, "ALL", probe_of([profile])) == ["p"]
        answer = client.post("/v1/verify/ALL/p", json={"biometricData": data_of([profile])}).json()
        assert answer["decision"] is True


# ------------------------------------------------------------------------------- encounters of one person


def test_galleries_belong_to_encounters(client: httpx.Client) -> None:
    put(client, "p", "right", encounter_of([finger(1, RIGHT)], "R"))
    put(client, "p", "left", encounter_of([finger(1, LEFT)], "L"))
    put(client, "q", "1", encounter_of(everything(2), "R", "L"))
    right, left = probe_of([finger(1, RIGHT, 1)]), probe_of([finger(1, LEFT, 1)])
    assert found(client, "R", right) == ["p"]
    assert found(client, "L", right) == []
    assert found(client, "L", left) == ["p"]
    assert found(client, "ALL", left) == ["p"]
    claim = {"biometricData": right["biometricData"]}
    assert client.post("/v1/verify/R/p", json=claim).json()["decision"] is True
    assert "nothing to compare" in message_of(client.post("/v1/verify/L/p", json=claim), 400)
    assert client.put("/v1/persons/p/encounters/right/galleries", json=["X"]).status_code == 204
    assert found(client, "R", right) == []
    assert found(client, "X", right) == ["p"]
    message_of(client.post("/v1/verify/R/p", json=claim), 404)
    assert client.get("/v1/galleries").json() == ["L", "R", "X"]


def test_the_score_in_a_gallery_is_that_of_its_encounters_alone(client: httpx.Client) -> None:
    """Comparisons with encounters of other galleries would be averaged in."""
    put(client, "alone", "1", encounter_of([finger(1)], "A"))
    put(client, "many", "1", encounter_of([finger(1)], "B"))
    put(client, "many", "2", encounter_of([finger(9)], "C"))

    def score(gallery: str) -> Any:
        answer = client.post(f"/v1/identify/{gallery}", json=probe_of([finger(1, RIGHT, 1)]))
        return answer.json()[0]["score"]

    assert score("A") == score("B")


def test_an_inactive_encounter_is_neither_searched_nor_verified(client: httpx.Client) -> None:
    put(client, "p", "1", encounter_of(everything(1), "A"))
    put(client, "q", "1", encounter_of(everything(2), "A", status="INACTIVE"))
    status = "/v1/persons/p/encounters/1/status"
    assert found(client, "A", probe_of(everything(2, 1))) == []
    assert client.put(status, params={"transactionId": "t", "status": "INACTIVE"}).status_code == 204
    assert client.get("/v1/persons/p/encounters/1").json()["status"] == "INACTIVE"
    for gallery in ("A", "ALL"):
        assert client.post(f"/v1/identify/{gallery}", json=probe_of(everything(1, 1))).json() == []
        claim = {"biometricData": data_of(everything(1, 1))}
        message_of(client.post(f"/v1/verify/{gallery}/p", json=claim), 404)
    assert len(client.get("/v1/galleries/A").json()) == 2
    assert client.put(status, params={"transactionId": "t", "status": "ACTIVE"}).status_code == 204
    assert found(client, "A", probe_of(everything(1, 1))) == ["p"]
    message_of(client.put(status, params={"transactionId": "t", "status": "GONE"}), 400)


def test_inactive_persons_do_not_crowd_out_others(client: httpx.Client) -> None:
    for number in range(12):
        put(client, f"gone{number}", "1", encounter_of([face(1, number)], status="INACTIVE"))
    put(client, "here", "1", encounter_of([face(1, 99)]))
    assert found(client, "ALL", probe_of([face(1, 50)]), maxNbCand=1) == ["here"]


def test_encounters_are_merged_and_moved_with_all_that_is_known_of_them(client: httpx.Client) -> None:
    put(client, "p", "1", encounter_of([finger(1, RIGHT)], "A", biographicData={"year": 1985}))
    put(client, "q", "1", encounter_of([finger(1, LEFT)], "B"))
    assert "'1'" in message_of(client.post("/v1/persons/p/merge/q"), 409)
    put(client, "q", "2", encounter_of([face(1)], "B", biographicData={"year": 1990}, status="INACTIVE"))
    assert "'1'" in message_of(client.post("/v1/persons/p/move/q/encounters/1"), 409)
    before = client.get("/v1/persons/q/encounters/2").json()
    assert client.post("/v1/persons/p/move/q/encounters/2").status_code == 204
    after = client.get("/v1/persons/p/encounters/2").json()
    assert {**after, "updatedDate": ""} == {**before, "updatedDate": ""}
    assert client.post("/v1/persons/r/move/q/encounters/1").status_code == 404
    put(client, "r", "3", encounter_of([face(5)], "C"))
    assert client.post("/v1/persons/r/merge/p").status_code == 204
    assert [each["encounterId"] for each in client.get("/v1/persons/r/encounters").json()] == ["3", "1", "2"]
    assert client.get("/v1/persons/r/encounters/1").json()["biographicData"] == {"year": 1985}
    message_of(client.get("/v1/persons/p/encounters"), 404)
    assert found(client, "A", probe_of([finger(1, RIGHT, 1)])) == ["r"]
    assert "two persons" in message_of(client.post("/v1/persons/r/merge/r"), 400)


def test_an_encounter_is_created_once_and_updated(client: httpx.Client) -> None:
    put(client, "p", "1", encounter_of(everything(1), "A"))
    message_of(client.post("/v1/persons/p/encounters/1", json=encounter_of(everything(2))), 409)
    path = "/v1/persons/p/encounters/1"
    assert client.put(path, json=encounter_of(everything(2), "B")).status_code == 200
    assert found(client, "B", probe_of(everything(2, 1))) == ["p"]
    assert found(client, "ALL", probe_of(everything(1, 1))) == []
    message_of(client.put("/v1/persons/p/encounters/9", json=encounter_of(everything(2))), 404)
    assert client.delete(path).status_code == 204
    message_of(client.get("/v1/persons/p/encounters"), 404)


def test_a_person_is_not_a_candidate_of_a_search_by_itself(client: httpx.Client) -> None:
    put(client, "p", "1", encounter_of(everything(1)))
    put(client, "p", "2", encounter_of(everything(1, 1)))
    put(client, "twin", "1", encounter_of(everything(1, 2)))
    for path in ("/v1/identify/ALL/p", "/v1/identify/ALL/p/encounters/2"):
        (candidate,) = client.post(path, json={}).json()
        assert candidate["personId"] == "twin"
    message_of(client.post("/v1/identify/ALL/p/encounters/3", json={}), 404)
    message_of(client.post("/v1/identify/NONE/p", json={}), 404)


def test_filters_choose_persons_and_types(client: httpx.Client) -> None:
    put(client, "old", "1", encounter_of([finger(1), face(1)], biographicData={"year": 1950, "sex": "F"}))
    put(client, "young", "1", encounter_of([finger(1, RIGHT, 2)], biographicData={"year": 2001}))
    probe: list[abis.Template] = [finger(1, RIGHT, 1), face(1, 1)]
    assert set(found(client, "ALL", probe_of(probe))) == {"old", "young"}
    assert found(client, "ALL", probe_of(probe, yearMin=1990)) == ["young"]
    assert found(client, "ALL", probe_of(probe, yearMax=1990)) == ["old"]
    assert found(client, "ALL", probe_of(probe, sex=["F", "M"])) == ["old"]
    assert found(client, "ALL", probe_of(probe, sex="M")) == []
    assert found(client, "ALL", probe_of(probe, biometricType=["FACE"])) == ["old"]
    assert "biometricType" in message_of(
        client.post("/v1/identify/ALL", json=probe_of(probe, biometricType=["IRIS"])), 400
    )


def test_thresholds_are_asked_for_by_score_or_by_error_rate(client: httpx.Client) -> None:
    for person in range(8):
        put(client, f"p{person}", "1", encounter_of([face(person)]))
    probe = probe_of([face(1, 1)])
    assert found(client, "ALL", probe, accuracyLevel="HIGH") == ["p1"]
    assert found(client, "ALL", probe, accuracyLevel="fpir=1e-2") == ["p1"]
    assert len(found(client, "ALL", probe, threshold=-1000)) == 8
    assert len(found(client, "ALL", probe, threshold=-1000, maxNbCand=3)) == 3
    assert found(client, "ALL", probe, threshold=1000) == []
    claim = {"biometricData": probe["biometricData"]}

    def decision(**query: Any) -> Any:
        return client.post("/v1/verify/ALL/p1", json=claim, params={"transactionId": "t", **query}).json()

    assert decision(threshold=1000)["decision"] is False
    assert decision(threshold=1)["decision"] is True
    for query in (
        {"accuracyLevel": "x"},
        {"accuracyLevel": "fpir=2"},
        {"threshold": "nan"},
        {"maxNbCand": 0},
    ):
        answer = client.post("/v1/identify/ALL", json=probe, params={"transactionId": "t", **query})
        assert next(iter(query)) in message_of(answer, 400)


def test_two_sets_of_samples_are_compared_without_the_gallery(client: httpx.Client) -> None:
    def decision(one: int, other: int) -> Any:
        message = {
            "biometricData1": data_of(everything(one, 1)),
            "biometricData2": data_of(everything(other)),
        }
        return client.post("/v1/verify", json=message).json()["decision"]

    assert decision(1, 1) is True
    assert decision(1, 2) is False


def test_a_locked_or_terminated_identity_is_not_verified_and_is_named_as_such(tmp_path: Path) -> None:
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        for name, person in (("locked", 1), ("terminated", 2)):
            gallery.enroll(name, everything(person))
            gallery.set_status(name, Status[name.upper()], reason="test")
    with client_of(settings(tmp_path)) as client:
        for name, person in (("locked", 1), ("terminated", 2)):
            claim = {"biometricData": data_of(everything(person, 1))}
            assert name in message_of(client.post(f"/v1/verify/ALL/{name}", json=claim), 403)
            (candidate,) = client.post("/v1/identify/ALL", json=probe_of(everything(person, 1))).json()
            assert candidate["others"] == {"status": name.upper()}


@pytest.mark.parametrize("disclosure", ["decision", "rounded", "full"])
def test_how_much_of_a_score_is_disclosed_is_a_setting(tmp_path: Path, disclosure: Any) -> None:
    with client_of(settings(tmp_path, disclosure=disclosure)) as client:
        put(client, "p", "1", encounter_of(everything(1)))
        (candidate,) = client.post("/v1/identify/ALL", json=probe_of(everything(1, 1))).json()
        verified = client.post("/v1/verify/ALL/p", json={"biometricData": data_of(everything(1, 1))}).json()
        if disclosure == "decision":
            assert candidate == {"personId": "p", "rank": 1, "score": 1.0}
            assert verified == {"decision": True}
            query = {"transactionId": "t", "threshold": "3"}
            answer = client.post("/v1/identify/ALL", json=probe_of(everything(1, 1)), params=query)
            assert "threshold" in message_of(answer, 400)
            return
        scores = [candidate["score"], *(each["score"] for each in candidate["scores"] + verified["scores"])]
        assert all(float(score).is_integer() for score in scores) is (disclosure == "rounded")


def test_the_gallerys_own_policy_limits_the_service(tmp_path: Path) -> None:
    policy = AnswerPolicy(disclosure=Disclosure.DECISION, failures=2, pause_s=3600)
    with abis.Gallery.open(tmp_path / "gallery") as gallery:
        gallery.enroll("p", everything(1))
        gallery.set_answer_policy(policy)
    with client_of(settings(tmp_path, disclosure="full")) as client:
        (candidate,) = client.post("/v1/identify/ALL", json=probe_of(everything(1, 1))).json()
        assert (candidate["personId"], candidate["score"], candidate["scores"]) == ("p", 0.0, [])
        mated, other = ({"biometricData": data_of(everything(person, 1))} for person in (1, 2))
        query = {"transactionId": "t", "threshold": "3"}
        assert "threshold" in message_of(client.post("/v1/verify/ALL/p", json=mated, params=query), 400)
        assert client.post("/v1/verify/ALL/p", json=mated).json() == {"decision": True, "scores": []}
        for _ in range(2):
            assert client.post("/v1/verify/ALL/p", json=other).json()["decision"] is False
        paused = client.post("/v1/verify/ALL/p", json=mated)
        message_of(paused, 429)
        assert int(paused.headers["Retry-After"]) > 0


def test_galleries_are_listed_page_by_page_and_as_csv(client: httpx.Client) -> None:
    for number in range(5):
        put(client, f"p,{number}", "1", encounter_of([face(number)], "A", f"G{number}"))
    put(client, "p,0", "2", encounter_of([face(0)], "A"))
    pages = [
        client.get("/v1/galleries/A", params={"transactionId": "t", "offset": start, "limit": 2}).json()
        for start in range(0, 8, 2)
    ]
    assert [len(page) for page in pages] == [2, 2, 2, 0]
    assert [each for page in pages for each in page] == client.get("/v1/galleries/ALL").json()
    text = client.get("/v1/galleries/G3", headers={"Accept": "text/csv"})
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    assert text.text == 'PersonId,encounterId\n"p,3",1\n'
    message_of(client.get("/v1/galleries/H"), 404)


def test_ids_may_hold_anything_that_is_text(client: httpx.Client) -> None:
    for name in ("a/b", "ümlaut", "a b", "..", "%2F"):
        quoted = "".join(f"%{byte:02X}" for byte in name.encode())
        put(client, quoted, "1", encounter_of([face(1)]))
        read = client.get(f"/v1/persons/{quoted}/encounters")
        assert read.status_code == 200
    assert {each["personId"] for each in client.get("/v1/galleries/ALL").json()} == {
        "a/b",
        "ümlaut",
        "a b",
        "..",
        "%2F",
    }


# ---------------------------------------------------------------------------------------------- errors


def test_errors_name_the_field_that_is_wrong(client: httpx.Client) -> None:
    good = encounter_of([face(1)])
    datum = good["biometricData"][0]
    path = "/v1/persons"
    for message, part in (
        ({**good, "galleries": []}, "$.galleries"),
        ({**good, "galleries": ["A", "A"]}, "named twice"),
        ({**good, "status": "GONE"}, "$.status"),
        ({**good, "unknown": 1}, "unknown"),
        ({**good, "clientData": "?"}, "clientData"),
        ({**good, "encryption": {"type": "JWE", "scope": "$"}}, "encryption"),
        ({**good, "biometricData": []}, "biometricData"),
        ({**good, "biometricData": [datum, {**datum, "template": "!"}]}, "biometricData[1]: template"),
        ({**good, "biometricData": [{**datum, "templateFormat": "X"}]}, "biometricData[0]: templateFormat"),
        ({**good, "biometricData": [{**datum, "biometricType": "SIGNATURE"}]}, "SIGNATURE"),
        ({**good, "biometricData": [{**datum, "template": None}]}, "template"),
        ({**good, "biometricData": [{"biometricType": "FACE"}]}, "expected one of them"),
        ({**good, "biometricData": [{**datum, "template": "AAAA"}]}, "biometricData[0]"),
    ):
        assert part in message_of(client.post(path, json=message), 400)
    assert client.get("/v1/galleries/ALL").json() == []


def test_requests_that_are_none_are_refused(client: httpx.Client) -> None:
    bare = httpx.Client(base_url=client.base_url)
    assert "transactionId" in message_of(bare.get("/v1/galleries"), 400)
    assert "twice" in message_of(bare.get("/v1/galleries?transactionId=1&transactionId=2"), 400)
    message_of(client.post("/v1/persons", content=b"{"), 400)
    message_of(client.post("/v1/persons", content=b"\xff"), 400)
    message_of(client.post("/v1/persons", content=b"[" * 100_000), 400)
    deep = b'{"filter":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b'},"biometricData":[]}'
    message_of(client.post("/v1/identify/ALL", content=deep), 400)
    xml = {"Content-Type": "application/xml"}
    message_of(client.post("/v1/persons", content=b"<a/>", headers=xml), 415)
    refused = client.patch("/v1/persons")
    message_of(refused, 405)
    assert refused.headers["allow"] == "POST"
    message_of(client.get("/v2/persons"), 404)
    message_of(client.get("/v1/persons/%FF/encounters"), 400)
    message_of(client.get("/v1/persons/%00/encounters"), 400)
    message_of(client.get(f"/v1/persons/{'x' * 300}/encounters"), 400)
    bare.close()


def test_limits_of_bytes_samples_and_requests(tmp_path: Path) -> None:
    limits = Limits(body_bytes=20_000, samples=3)
    with client_of(settings(tmp_path, limits=limits)) as client:
        message_of(client.post("/v1/persons", content=b" " * 20_001), 413)
        parts = iter([b" " * 15_000, b" " * 15_000])
        message_of(client.post("/v1/persons", content=parts), 413)
        message_of(client.post("/v1/persons", json=encounter_of([face(1, n) for n in range(4)])), 413)
        assert client.post("/v1/persons", json=encounter_of([face(1)])).status_code == 200


def test_references_are_fetched_from_allowed_origins_alone(tmp_path: Path) -> None:
    with client_of(settings(tmp_path, fetch_origins=("http://127.0.0.1:9",))) as client:
        for url, status in (
            ("http://127.0.0.1:10/x", 403),
            ("http://localhost:9/x", 403),
            ("http://user@127.0.0.1:9/x", 403),
            ("file:///etc/passwd", 403),
            ("http://127.0.0.1:9/x", 400),  # no server listens there
        ):
            message = {"biometricData": [{"biometricType": "FACE", "templateRef": url}]}
            answer = client.post("/v1/verify/ALL/p", json=message)
            assert "biometricData[0]: templateRef" in message_of(answer, status)


def test_health_and_metrics_need_no_token_and_name_no_person(client: httpx.Client) -> None:
    put(client, "secret-person", "1", encounter_of([face(1)]))
    assert client.get("/health/live").json() == {"status": "live"}
    assert found(client, "ALL", probe_of([face(1, 1)])) == ["secret-person"]
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "referencesBehind": 0})
    metrics = client.get("/metrics").text
    assert 'abis_requests_total{operation="createEncounter",status="200"}' in metrics
    assert "abis_gallery_subjects 1.0" in metrics
    assert "secret" not in metrics
