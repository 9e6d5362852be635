# SPDX-License-Identifier: Apache-2.0
"""CBEFF XML: ISO/IEC 19785-3, the XML patron format, as MOSIP writes it. Read only.

A biometric information record (BIR) wraps others, or one biometric data block (BDB) in base64 with its
description. The blocks are records of the other formats, which :mod:`abis.formats` reads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from abis.errors import FormatError
from abis.formats.inputs import decode_text
from abis.template import Position, Template

__all__ = ["is_cbeff", "read"]

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

    A finger whose record does not say which it is takes the position that the block's subtype states.

    Args:
        data: the whole document.
        read_block: reads the record in a block.

    Raises:
        FormatError: naming the block: no base64, encrypted, an image, no known record, or a record of
            another finger than its subtype; or where the document is no BIR or has no block.
    """
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
    templates: list[Template] = []
    for number, (bir, block) in enumerate(_blocks(root)):
        try:
            templates.extend(_of_block(bir, block, read_block))
        except FormatError as error:
            raise FormatError(f"block {number}{_described(bir)}: {error}") from None
    if not templates:
        raise FormatError("no biometric data block in the document; expected at least one")
    return tuple(templates)


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
    stated = _finger(_text(bir, "Type"), _text(bir, "Subtype"))
    for template in read_block(content):
        if stated is None or template.position == stated:
            yield template
        elif template.position == Position.UNKNOWN_FINGER:
            yield dataclasses.replace(template, position=stated)
        else:
            raise FormatError(f"subtype states {stated.name}, but the record is of {template.position.name}")


def _finger(kind: str, subtype: str) -> Position | None:
    """``Right IndexFinger`` as Position.RIGHT_INDEX; None where no single finger is stated."""
    words = subtype.lower().split()
    sides = [word for word in words if word in ("left", "right")]
    fingers = [_FINGERS[word] for word in words if word in _FINGERS]
    if "Finger" in kind.split() and len(sides) == len(fingers) == 1:
        return Position[f"{sides[0].upper()}_{fingers[0]}"]
    return None


def _described(bir: ElementTree.Element) -> str:
    words = " ".join(filter(None, (_text(bir, "Type"), _text(bir, "Subtype"))))
    return f" ({words})" if words else ""


def _text(bir: ElementTree.Element, name: str) -> str:
    found = bir.find(f"BDBInfo/{name}")
    return "" if found is None else " ".join((found.text or "").split())
