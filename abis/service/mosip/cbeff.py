# SPDX-License-Identifier: Apache-2.0
"""CBEFF XML (ISO/IEC 19785-3) as MOSIP writes it: images of fingers, faces and irises, or minutiae."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from abis.errors import FormatError
from abis.service.biometrics import decoded
from abis.service.mosip.messages import Failure, Reason
from abis.template import Position

__all__ = ["MINUTIAE", "BiometricBlock", "blocks"]

_NAMESPACE = "{http://standards.iso.org/iso-iec/19785/-3/ed-2/}"
MINUTIAE = b"FMR\0"
_CONTENT = {
    "Finger": (b"FIR\0", MINUTIAE),
    "Face": (b"FAC\0",),
    "Iris": (b"IIR\0",),
}
_FINGERS = {
    "Thumb": "THUMB",
    "IndexFinger": "INDEX",
    "MiddleFinger": "MIDDLE",
    "RingFinger": "RING",
    "LittleFinger": "LITTLE",
}


class BiometricBlock(NamedTuple):
    """One biometric data block.

    Attributes:
        type: Finger, Face or Iris.
        position: that the subtype states; None where it states none that the engine knows.
        content: a record of ISO/IEC 19794.
    """

    type: str
    position: Position | None
    content: bytes


def blocks(document: bytes) -> list[BiometricBlock]:
    """The blocks of a document; at least one.

    Raises:
        Failure: INVALID_CBEFF where it is no CBEFF document or has no BIR; NO_DATA where a block is empty, cannot
            be read, or holds another kind of record than its type says.
    """
    if (
        b"<!DOCTYPE" in document or b"<!ENTITY" in document
    ):  # nothing that MOSIP writes, and a way to fill memory
        raise Failure(Reason.INVALID_CBEFF, "has a document type")
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise Failure(Reason.INVALID_CBEFF, "not XML") from None
    if root.tag != f"{_NAMESPACE}BIR":
        raise Failure(Reason.INVALID_CBEFF, "the root is not a BIR")
    if not any(root.iterfind(f"{_NAMESPACE}BIR")):
        raise Failure(Reason.INVALID_CBEFF, "has no BIR")
    found = list(_found(root))
    if not found:
        raise Failure(Reason.NO_DATA, "no BIR is of a finger, a face or an iris")
    return found


def _found(root: ElementTree.Element) -> Iterator[BiometricBlock]:
    for bir in root.iterfind(f"{_NAMESPACE}BIR"):
        types = _text(bir, "Type").split()
        kind = next((each for each in types if each in _CONTENT), None)
        if kind is None:  # signatures, exception photographs
            continue
        block = bir.find(f"{_NAMESPACE}BDB")
        text = "" if block is None else "".join((block.text or "").split())
        if not text:
            raise Failure(Reason.NO_DATA, "a block is empty")
        try:
            content = decoded(text)
        except FormatError:
            raise Failure(Reason.NO_DATA, "a block is not base64") from None
        if not content.startswith(_CONTENT[kind]):
            raise Failure(Reason.NO_DATA, f"a block of type {kind} holds something else")
        yield BiometricBlock(kind, _position(kind, _text(bir, "Subtype")), content)


def _position(kind: str, subtype: str) -> Position | None:
    words = subtype.split()
    if kind == "Face":
        return Position.FACE
    if kind == "Finger" and len(words) == 2 and words[0] in ("Left", "Right") and words[1] in _FINGERS:
        return Position[f"{words[0].upper()}_{_FINGERS[words[1]]}"]
    if kind == "Iris" and subtype in ("Left", "Right"):
        return Position[f"{subtype.upper()}_EYE"]
    return None


def _text(bir: ElementTree.Element, name: str) -> str:
    found = bir.find(f"{_NAMESPACE}BDBInfo/{_NAMESPACE}{name}")
    return "" if found is None else (found.text or "").strip()
