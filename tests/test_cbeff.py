# SPDX-License-Identifier: Apache-2.0
"""CBEFF XML: the templates in its blocks, and the documents that are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from format_records import FACE, FULL, PLAIN, cbeff

from abis import read
from abis.errors import FormatError
from abis.formats import Format, write
from abis.template import Position

FINGER = write([PLAIN], Format.ISO_19794_2_2011)  # of unknown position
INDEX = write([FULL], Format.ISO_19794_2_2005)  # left


def described(subtype: str, kind: str = "Finger") -> str:
    return f"<Type>{kind}</Type><Subtype>{subtype}</Subtype>"


def test_all_blocks_are_read_in_order() -> None:
    assert read(cbeff(INDEX, write([FACE], Format.NATIVE), FINGER)) == (FULL, FACE, PLAIN)


@pytest.mark.parametrize("subtype", ["Right IndexFinger", "IndexFinger Right"])
def test_the_subtype_says_which_finger_it_is(subtype: str) -> None:
    (template,) = read(cbeff(FINGER, description=described(subtype)))
    assert template.position == Position.RIGHT_INDEX


@pytest.mark.parametrize("description", [described("Left"), described("Right IndexFinger", "Vein"), ""])
def test_what_states_no_finger_changes_nothing(description: str) -> None:
    assert read(cbeff(INDEX, description=description)) == (FULL,)


def test_a_subtype_of_another_finger_is_refused() -> None:
    with pytest.raises(FormatError, match=r"block 0 \(Finger Left Thumb\): subtype states LEFT_THUMB, but"):
        read(cbeff(INDEX, description=described("Left Thumb")))


def test_url_safe_and_unpadded_base64_is_read() -> None:
    record = write([FACE], Format.NATIVE)
    document = cbeff(record, alphabet=b"-_").replace(b"=</BDB>", b"</BDB>").replace(b"=</BDB>", b"</BDB>")
    assert b"=<" not in document
    assert read(document) == (FACE,)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (cbeff(b"FIR\x00020\0"), "block 0: holds a finger image, not a template"),
        (cbeff(INDEX, b"nonsense"), "block 1: byte 0: begins with b'nonsense'"),
        (cbeff(cbeff(INDEX)), "block 0: holds another CBEFF document"),
        (cbeff(INDEX, description="<Encryption>true</Encryption>"), "block 0: is encrypted"),
        (cbeff(INDEX).replace(b"<BDB>", b"<BDB>*"), "block 0: is neither base64 nor hexadecimal"),
        (cbeff(), "no biometric data block"),
        (cbeff(INDEX)[:-3], "no well-formed XML"),
        (cbeff(INDEX).replace(b"ed-2", b"ed-9"), "expected BIR of namespace"),
        (b'<!DOCTYPE b [<!ENTITY a "aaaa">]>' + cbeff(INDEX)[55:], "declares a document type"),
    ],
)
def test_faults_are_named(document: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(document)


@pytest.mark.parametrize("name", ["cbeff-sample.xml", "individualBiometrics_bio_CBEFF.xml"])
def test_mosip_documents_hold_images(data: Path, name: str) -> None:
    document = (data / "conformance" / "cbeff" / name).read_bytes()
    with pytest.raises(FormatError, match=r"block 0 \(Finger .*holds a finger image, not a template"):
        read(document)
