# SPDX-License-Identifier: Apache-2.0
"""CBEFF XML (ISO/IEC 19785-3) as MOSIP writes it: images of fingers, faces and irises, or minutiae."""

from __future__ import annotations

from typing import NamedTuple
from xml.etree import ElementTree

from abis.errors import FormatError
from abis.service.biometrics import decoded
from abis.service.mosip.messages import Failure, Reason
from abis.template import Position

__all__ = ["MINUTIAE", "BiometricBlock", "blocks"]

MINUTIAE = b"FMR\0"
_CONTENT = {
    "finger": (b"FIR\0", MINUTIAE),
    "face": (b"FAC\0",),
    "iris": (b"IIR\0",),
}
_FINGERS = ("THUMB", "INDEX", "MIDDLE", "RING", "LITTLE")


class BiometricBlock(NamedTuple):
    """One biometric data block.

    Attributes:
        type: finger, face or iris.
        position: that the subtype states; None where it states none that the engine knows.
        content: a record of ISO/IEC 19794.
    """

    type: str
    position: Position | None
    content: bytes


def blocks(document: bytes) -> list[BiometricBlock]:
    """The blocks of a document; at least one.

    Elements are found by their local names, so that the namespace may be that of any edition. BIRs may be nested. BIRs
    of other types (signatures, exception photographs) and of missing fingers (``EXCEPTION``) are left out.

    Raises:
        Failure: INVALID_CBEFF where it is no CBEFF document or has no BIR; NO_DATA where a block is empty, encrypted,
            cannot be read, or holds another kind of record than its type says.
    """
    if (
        b"<!DOCTYPE" in document or b"<!ENTITY" in document
    ):  # nothing that MOSIP writes, and a way to fill memory
        raise Failure(Reason.INVALID_CBEFF, "has a document type")
    try:
        root = ElementTree.fromstring(document)
    except (ElementTree.ParseError, ValueError, LookupError):
        raise Failure(Reason.INVALID_CBEFF, "not XML") from None
    if _name(root) != "BIR":
        raise Failure(Reason.INVALID_CBEFF, "the root is not a BIR")
    birs = [bir for bir in root.iter() if _name(bir) == "BIR" and not _children(bir, "BIR")]
    if birs == [root] and not _children(root, "BDB"):
        raise Failure(Reason.INVALID_CBEFF, "has no BIR")
    found = [block for block in map(_block, birs) if block is not None]
    if not found:
        raise Failure(Reason.NO_DATA, "no BIR is of a finger, a face or an iris")
    return found


def _block(bir: ElementTree.Element) -> BiometricBlock | None:
    """The block of a BIR; None where it is of nothing that is searched by."""
    types = _text(bir, "BDBInfo", "Type").lower().split()
    kind = next((each for each in types if each in _CONTENT), None)
    if types and kind is None:
        return None
    text = "".join(_text(bir, "BDB").split())
    if not text:
        if _is_exception(bir):
            return None
        raise Failure(Reason.NO_DATA, "a block is empty")
    if _text(bir, "BDBInfo", "Encryption").lower() in ("true", "1"):
        raise Failure(Reason.NO_DATA, "a block is encrypted; the data share's encryption protects it already")
    try:
        content = decoded(text)
    except FormatError:
        raise Failure(Reason.NO_DATA, "a block is not base64") from None
    if kind is None:
        kind = next((each for each, starts in _CONTENT.items() if content.startswith(starts)), None)
        if kind is None:
            return None
    if not content.startswith(_CONTENT[kind]):
        raise Failure(Reason.NO_DATA, f"a block of type {kind} holds something else")
    return BiometricBlock(kind, _position(kind, _text(bir, "BDBInfo", "Subtype")), content)


def _position(kind: str, subtype: str) -> Position | None:
    """The position of a subtype such as "Left IndexFinger", "LEFT_INDEX", or of an iris "Left"; words in any order."""
    if kind == "face":
        return Position.FACE
    words = subtype.upper()
    sides = [each for each in ("LEFT", "RIGHT") if each in words]
    fingers = [each for each in _FINGERS if each in words]
    if len(sides) != 1:
        return None
    if kind == "iris":
        return Position[f"{sides[0]}_EYE"]
    return Position[f"{sides[0]}_{fingers[0]}"] if len(fingers) == 1 else None


def _is_exception(bir: ElementTree.Element) -> bool:
    """Whether a BIR says that the part of the body could not be captured.

    MOSIP writes ``<others><entry key="EXCEPTION">true</entry></others>``, earlier versions a key and a value.
    """
    for others in (element for element in bir if _name(element).lower() == "others"):
        said = [(each.get("key") or "", each.text or "") for each in others.iter()]
        if any(key.upper() == "EXCEPTION" and value.strip().lower() == "true" for key, value in said):
            return True
        words = [value.strip().lower() for _, value in said if value.strip()]
        if "exception" in words and "true" in words:
            return True
    return False


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace; a comment has none."""
    tag: object = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _children(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _name(child) == name]


def _text(element: ElementTree.Element, *path: str) -> str:
    """The text at a path of names below an element; empty where there is none."""
    for name in path:
        inside = _children(element, name)
        if not inside:
            return ""
        element = inside[0]
    return (element.text or "").strip()
