# SPDX-License-Identifier: Apache-2.0
"""CBEFF documents as members of MOSIP meet them: other editions, other orders, missing fingers."""

from __future__ import annotations

import base64

import pytest
from people import RIGHT, finger

from abis.formats import Format, write
from abis.service.mosip.cbeff import blocks
from abis.service.mosip.messages import Failure, Reason
from abis.template import Position

EDITION_2 = "http://standards.iso.org/iso-iec/19785/-3/ed-2/"
MINUTIAE = write([finger(1, RIGHT)], Format.ISO_19794_2_2005)
IMAGE, FACE, IRIS = (name + b"\x00020\0 and more" for name in (b"FIR", b"FAC", b"IIR"))
EXCEPTION = '<others><entry key="EXCEPTION">true</entry></others>'


def bir(content: bytes, kind: str = "Finger", subtype: str = "", more: str = "", info: str = "") -> str:
    text = base64.urlsafe_b64encode(content).decode().rstrip("=")
    stated = f"<Type>{kind}</Type>" if kind else ""
    return f"<BIR><BDBInfo>{stated}<Subtype>{subtype}</Subtype>{info}</BDBInfo><BDB>{text}</BDB>{more}</BIR>"


def document(*birs: str, namespace: str = EDITION_2) -> bytes:
    return f'<?xml version="1.0"?><BIR xmlns="{namespace}"><!-- c -->{"".join(birs)}</BIR>'.encode()


@pytest.mark.parametrize(
    ("kind", "content", "subtype", "position"),
    [
        ("Finger", IMAGE, "Right IndexFinger", Position.RIGHT_INDEX),
        ("Finger", IMAGE, "IndexFinger Right", Position.RIGHT_INDEX),
        ("Finger", MINUTIAE, "LEFT_THUMB", Position.LEFT_THUMB),
        ("FINGER", IMAGE, "Left LittleFinger", Position.LEFT_LITTLE),
        ("Finger", IMAGE, "", None),
        ("Finger", IMAGE, "Left", None),
        ("Finger", IMAGE, "UNKNOWN", None),
        ("Face", FACE, "", Position.FACE),
        ("Face", FACE, "Front", Position.FACE),
        ("Iris", IRIS, "Left", Position.LEFT_EYE),
        ("Iris", IRIS, "right", Position.RIGHT_EYE),
        ("Iris", IRIS, "", None),
        ("", IMAGE, "Right Thumb", Position.RIGHT_THUMB),
    ],
)
def test_the_subtype_states_the_position_or_leaves_it_to_the_record(
    kind: str, content: bytes, subtype: str, position: Position | None
) -> None:
    (block,) = blocks(document(bir(content, kind, subtype)))
    assert (block.position, block.content) == (position, content)


@pytest.mark.parametrize("namespace", [EDITION_2, EDITION_2.replace("ed-2", "ed-3"), "urn:x"])
def test_any_edition_is_read(namespace: str) -> None:
    assert len(blocks(document(bir(IMAGE), bir(FACE, "Face"), namespace=namespace))) == 2


def test_prefixes_nesting_and_a_single_bir_are_read() -> None:
    plain = f"<BIR>{bir(IMAGE)}<BIR>{bir(FACE, 'Face')}{bir(IRIS, 'Iris')}</BIR></BIR>"
    assert [block.type for block in blocks(plain.encode())] == ["finger", "face", "iris"]
    prefixed = (
        plain.replace("<", "<a:")
        .replace("<a:/", "</a:")
        .replace("<a:BIR>", f'<a:BIR xmlns:a="{EDITION_2}">', 1)
    )
    assert len(blocks(prefixed.encode())) == 3
    assert len(blocks(bir(IMAGE).encode())) == 1


@pytest.mark.parametrize(
    "said",
    [
        EXCEPTION,
        '<others><entry key="OTHER">x</entry><entry key="exception">TRUE</entry></others>',
        "<others><key>EXCEPTION</key><value>true</value></others>",
    ],
)
def test_missing_fingers_are_left_out(said: str) -> None:
    assert len(blocks(document(bir(b"", subtype="Left Thumb", more=said), bir(IMAGE)))) == 1


def test_signatures_and_photographs_of_exceptions_are_left_out() -> None:
    assert len(blocks(document(bir(b"any", "Signature"), bir(FACE, "ExceptionPhoto"), bir(IMAGE)))) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", Reason.INVALID_CBEFF),
        (b"<a/>", Reason.INVALID_CBEFF),
        (document(), Reason.INVALID_CBEFF),
        (b"<!DOCTYPE a>" + document(bir(IMAGE)), Reason.INVALID_CBEFF),
        (document(bir(b"")), Reason.NO_DATA),
        (document(bir(b"", more=EXCEPTION)), Reason.NO_DATA),
        (document(bir(b"", more=EXCEPTION.replace("true", "false")), bir(IMAGE)), Reason.NO_DATA),
        (document(bir(IMAGE, "Iris", "Right")), Reason.NO_DATA),
        (document(bir(IMAGE, info="<Encryption>true</Encryption>")), Reason.NO_DATA),
        (document(bir(b"any", "Signature")), Reason.NO_DATA),
        (document("<BIR><BDBInfo><Type>Finger</Type></BDBInfo><BDB>?</BDB></BIR>"), Reason.NO_DATA),
    ],
)
def test_what_cannot_be_used_has_a_reason(content: bytes, reason: Reason) -> None:
    with pytest.raises(Failure) as caught:
        blocks(content)
    assert caught.value.reason is reason


def test_a_record_of_several_fingers_says_itself_which_they_are() -> None:
    pytest.importorskip("abis.extraction")
    from prints import ridges  # noqa: PLC0415 - of the extra
    from test_extraction import finger_record_2005  # noqa: PLC0415

    from abis.service.images import Images  # noqa: PLC0415

    two, one = finger_record_2005([ridges(1), ridges(2)]), finger_record_2005([ridges(1)])
    with Images(pixels=10**6, seconds=60, workers=1) as images:
        found = images.templates_of(two, Position.LEFT_THUMB, None)
        assert [template.position for template in found] == [Position.RIGHT_INDEX, Position.RIGHT_MIDDLE]
        (stated,) = images.templates_of(one, Position.LEFT_THUMB, None)
        assert stated.position is Position.LEFT_THUMB
