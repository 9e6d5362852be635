# SPDX-License-Identifier: Apache-2.0
"""A member of MOSIP at a broker that behaves as Artemis does: a stub, since Debian has no Artemis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from artemis import Artemis, Message
from mosip_kit import answering, message

import abis
from abis.service import Settings
from abis.service.settings import MosipSettings

INBOUND, OUTBOUND = "mosip-to-abis1", "abis1-to-mosip"


@pytest.fixture
def broker() -> Iterator[Artemis]:
    running = Artemis()
    yield running
    running.close()


@contextmanager
def member(broker: Artemis, folder: Path, **more: Any) -> Iterator[None]:
    settings = Settings(str(folder / "gallery"), mosip=MosipSettings(port=broker.port, **more))
    with abis.Gallery.open(settings.gallery) as gallery, answering(gallery, settings):
        yield


def request(kind: str = "ping", **fields: Any) -> tuple[str, bytes]:
    made = message(kind, **fields)
    return made["requestId"], json.dumps(made).encode()


def answers(broker: Artemis, count: int) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in broker.messages(OUTBOUND, count)]


@pytest.mark.parametrize("is_bytes", [False, True])
def test_messages_of_the_queue_are_answered_in_kind_and_acknowledged(
    broker: Artemis, tmp_path: Path, is_bytes: bool
) -> None:
    asked = [request() for _ in range(5)]
    broker.put(INBOUND, Message(asked[0][1], is_bytes))  # before there is a subscriber
    with member(broker, tmp_path):
        for _, body in asked[1:]:
            broker.put(INBOUND, Message(body, is_bytes))
        found = broker.messages(OUTBOUND, 5)
        broker.wait_until_acknowledged(INBOUND)
    assert {json.loads(each.body)["requestId"] for each in found} == {name for name, _ in asked}
    assert {each.is_bytes for each in found} == {is_bytes}


def test_a_queue_that_is_called_by_its_whole_name_is_taken_as_it_is(broker: Artemis, tmp_path: Path) -> None:
    with member(broker, tmp_path, inbound="/queue/in", outbound="/queue/out"):
        broker.put("/queue/in", Message(request()[1]))
        assert len(broker.messages("/queue/out", 1)) == 1


def test_an_answer_that_is_lost_is_given_again(broker: Artemis, tmp_path: Path) -> None:
    broker.lose_next = True
    name, body = request()
    with member(broker, tmp_path):
        asked = Message(body)
        broker.put(INBOUND, asked)
        (answer,) = answers(broker, 1)
        broker.wait_until_acknowledged(INBOUND)
    assert (answer["requestId"], answer["returnValue"], asked.deliveries) == (name, "1", 2)


def test_a_message_whose_acknowledgement_is_lost_is_answered_again(broker: Artemis, tmp_path: Path) -> None:
    broker.lose_next_acknowledgement = True
    _, body = request("delete", referenceId="nobody")
    with member(broker, tmp_path):
        broker.put(INBOUND, Message(body))
        first, second = answers(broker, 2)
        broker.wait_until_acknowledged(INBOUND)
    first.pop("responsetime")
    second.pop("responsetime")
    assert first == second
    assert first["failureReason"] == "12"


def test_a_message_that_was_begun_is_acknowledged_before_the_member_ends(
    broker: Artemis, tmp_path: Path
) -> None:
    asked = [request() for _ in range(40)]
    for _, body in asked:
        broker.put(INBOUND, Message(body))
    for count in (1, 10, 40):
        with member(broker, tmp_path):
            broker.messages(OUTBOUND, count)
    with member(broker, tmp_path):
        found = answers(broker, 40)
        broker.wait_until_acknowledged(INBOUND)
    assert sorted(each["requestId"] for each in found) == sorted(name for name, _ in asked)


def test_heart_beats_are_asked_for(broker: Artemis, tmp_path: Path) -> None:
    with member(broker, tmp_path):
        broker.put(INBOUND, Message(request()[1]))
        broker.messages(OUTBOUND, 1)
    sends, wants = map(int, broker.heart_beats[0].split(","))
    assert min(sends, wants) >= 500
