# SPDX-License-Identifier: Apache-2.0
"""CBEFF XML: ISO/IEC 19785-3, the XML patron format, as MOSIP writes it.

A biometric information record (BIR) wraps others, or one biometric data block (BDB) in base64 with its
description. The blocks are records of the other formats, which :mod:`abis.formats` reads.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from xml.etree import ElementTree

from abis.errors import FormatError
from abis.formats.inputs import decode_text
from abis.template import Position, Template

__all__ = ["images", "is_cbeff", "read", "write"]

_NAMESPACES = (
    "http://standards.iso.org/iso-iec/19785/-3/ed-2/",
    "http://docs.oasis-open.org/bias/ns/biaspatronformat-1.0/",  # MOSIP's first releases, and OASIS BIAS
    "",
)
"""Of a BIR: the second edition of ISO/IEC 19785-3, and older writers' that name the same elements."""

_SAMPLES = {b"FIR\0": "a finger image", b"FAC\0": "a face image", b"IIR\0": "an iris image"}
"""What a block of ISO/IEC 19794-4, -5 and -6 begins with: samples, not templates."""

_FINGERS = {
    "thumb": "THUMB",
    "indexfinger": "INDEX",
    "middlefinger": "MIDDLE",
    "ringfinger": "RING",
    "littlefinger": "LITTLE",
}


def is_cbeff(data: bytes) -> bool:
    """True where the bytes may be an XML document whose root is a BIR."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and b"BIR" in start


def read(data: bytes, read_block: Callable[[bytes], tuple[Template, ...]]) -> tuple[Template, ...]:
    """The templates in all blocks, in the order they stand there; at least one.

    A finger or an iris whose record does not say which it is takes the position that the block's subtype states.

    Args:
        data: the whole document.
        read_block: reads the record in a block.

    Raises:
        FormatError: naming the block: no base64, encrypted, an image, no known record, or a record of
            another finger or eye than its subtype; or where the document is no BIR or has no block.
    """
    root = _root(data)
    templates: list[Template] = []
    for number, (bir, block) in enumerate(_blocks(root)):
        try:
            templates.extend(_of_block(bir, block, read_block))
        except FormatError as error:
            raise FormatError(f"block {number}{_described(bir)}: {error}") from None
    if not templates:
        raise FormatError("no biometric data block in the document; expected at least one")
    return tuple(templates)


def images(data: bytes) -> tuple[tuple[bytes, Position | None], ...]:
    """The records of images of ISO/IEC 19794-4, -5 and -6 in all blocks, and the positions that the subtypes state.

    Blocks with other contents are left out.

    Raises:
        FormatError: the document is no BIR, or a block is no base64.
    """
    found = []
    for number, (bir, block) in enumerate(_blocks(_root(data))):
        try:
            content = decode_text(block.text or "")
        except FormatError as error:
            raise FormatError(f"block {number}{_described(bir)}: {error}") from None
        if content[:4] in _SAMPLES and _text(bir, "Encryption") not in ("true", "1"):
            found.append((content, _position(_text(bir, "Type"), _text(bir, "Subtype"))))
    return tuple(found)


def write(templates: Sequence[Template], write_block: Callable[[Template], bytes]) -> bytes:
    """A BIR with a BIR for each template, which :func:`read` reads.

    Args:
        templates: of fingers, faces and eyes.
        write_block: makes the record of a template.

    Raises:
        FormatError: a template is of another modality.
    """
    ElementTree.register_namespace("", _NAMESPACES[0])
    root = ElementTree.Element(f"{{{_NAMESPACES[0]}}}BIR")
    for template in templates:
        bir = ElementTree.SubElement(root, f"{{{_NAMESPACES[0]}}}BIR")
        info = ElementTree.SubElement(bir, f"{{{_NAMESPACES[0]}}}BDBInfo")
        for name, text in zip(("Type", "Subtype"), _type_and_subtype(template.position), strict=True):
            if text:
                ElementTree.SubElement(info, f"{{{_NAMESPACES[0]}}}{name}").text = text
        block = ElementTree.SubElement(bir, f"{{{_NAMESPACES[0]}}}BDB")
        block.text = base64.b64encode(write_block(template)).decode()
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _type_and_subtype(position: Position) -> tuple[str, str]:
    if position is Position.FACE:
        return "Face", ""
    side, _, part = position.name.partition("_")
    subtype = "" if position.is_open else side.title()
    if position.is_eye:
        return "Iris", subtype
    if not position.is_finger:
        raise FormatError(f"CBEFF has no type for {position.name}")
    finger = next((word for word, name in _FINGERS.items() if name == part), "").replace("finger", "Finger")
    return "Finger", f"{subtype} {finger[:1].upper()}{finger[1:]}".strip()


def _root(data: bytes) -> ElementTree.Element:
    """The outermost BIR, its elements without namespaces."""
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FormatError("the XML declares a document type; a BIR has none")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # also an unknown encoding
        raise FormatError(f"no well-formed XML: {error}") from None
    namespace = next((n for n in _NAMESPACES if root.tag == (f"{{{n}}}BIR" if n else "BIR")), None)
    if namespace is None:
        raise FormatError(f"root element is {root.tag!r}; expected BIR of namespace {_NAMESPACES[0]}")
    for element in root.iter():  # so that elements have the same names for every writer's namespace
        element.tag = element.tag.rpartition("}")[2]
    return root


def _blocks(bir: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, ElementTree.Element]]:
    """Each BDB with its BIR, outer ones first."""
    for record in bir.iter("BIR"):
        block = record.find("BDB")
        if block is not None:
            yield record, block


def _of_block(
    bir: ElementTree.Element,
    block: ElementTree.Element,
    read_block: Callable[[bytes], tuple[Template, ...]],
) -> Iterator[Template]:
    if _text(bir, "Encryption") in ("true", "1"):
        raise FormatError("is encrypted")
    content = decode_text(block.text or "")
    if content[:4] in _SAMPLES:
        raise FormatError(f"holds {_SAMPLES[content[:4]]}, not a template: extract its features first")
    if is_cbeff(content):
        raise FormatError("holds another CBEFF document")
    stated = _position(_text(bir, "Type"), _text(bir, "Subtype"))
    for template in read_block(content):
        if stated is None or template.position == stated:
            yield template
        elif template.position.is_open and template.position.is_comparable(stated):
            yield template.at(stated)
        else:
            raise FormatError(f"subtype states {stated.name}, but the record is of {template.position.name}")


def _position(kind: str, subtype: str) -> Position | None:
    """``Right IndexFinger`` as Position.RIGHT_INDEX, ``Left`` of an iris as LEFT_EYE; None where neither is stated."""
    words = subtype.lower().split()
    sides = [word.upper() for word in words if word in ("left", "right")]
    fingers = [_FINGERS[word] for word in words if word in _FINGERS]
    if "Iris" in kind.split() and len(sides) == 1:
        return Position[f"{sides[0]}_EYE"]
    if "Finger" in kind.split() and len(sides) == len(fingers) == 1:
        return Position[f"{sides[0]}_{fingers[0]}"]
    return None


def _described(bir: ElementTree.Element) -> str:
    words = " ".join(filter(None, (_text(bir, "Type"), _text(bir, "Subtype"))))
    return f" ({words})" if words else ""


def _text(bir: ElementTree.Element, name: str) -> str:
    found = bir.find(f"BDBInfo/{name}")
    return "" if found is None else " ".join((found.text or "").split())
