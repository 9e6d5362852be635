# SPDX-License-Identifier: Apache-2.0
"""The CODIS common message format (CMF) 3.2: DNA profiles in XML, as laboratories exchange them.

Elements, their order and lengths are those of the schema ``urn:CODISImportFile-schema``, in its edition of 2017, which
the National Center for Biotechnology Information publishes with its software OSIRIS. The schema names 23 of the loci
that abis compares, all but D6S1043.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

from abis.errors import AbisError, FormatError
from abis.formats.str_tables import ProfileRow
from abis.template import StrProfile

__all__ = ["Header", "is_cmf", "read", "write"]

_NAMESPACE = "urn:CODISImportFile-schema"
_ROOT = "CODISImportFile"
_VERSION = "3.2"
_SPELT = {
    "VWA": "vWA",
    "PENTA D": "Penta D",
    "PENTA E": "Penta E",
}  # other loci are spelt as abis spells them
_NOT_IN_SCHEMA = "D6S1043"
_LONGEST = {
    "DESTINATIONORI": 10,
    "SOURCELAB": 10,
    "SUBMITBYUSERID": 20,
    "SPECIMENID": 24,
    "SPECIMENCATEGORY": 32,
}


@dataclass(frozen=True)
class Header:
    """What a message says of itself.

    Attributes:
        destination: ORI of the laboratory that the message is for, 1 to 10 characters.
        source: ORI of the laboratory that the message is from, 1 to 10 characters.
        user: user that submits the message and read the profiles, 1 to 20 characters.
        time: date and time of submission, also used as that of the reading.
        category: category of all specimens, as the schema lists them, such as ``Missing Person``.
    """

    destination: str
    source: str
    user: str
    time: datetime
    category: str = "Other"


def is_cmf(data: bytes) -> bool:
    """Whether the bytes may be such a message."""
    start = data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    return start.startswith(b"<") and _ROOT.encode() in start


def read(data: bytes) -> list[ProfileRow]:
    """The profiles in a message, by the id of their specimen. A faulty one is a row with its fault.

    Raises:
        FormatError: the message as a whole is not CMF.
    """
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise FormatError("the XML declares a document type; a CODIS message has none")
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # also an unknown encoding
        raise FormatError(f"no well-formed XML: {error}") from None
    if root.tag not in (f"{{{_NAMESPACE}}}{_ROOT}", _ROOT):
        raise FormatError(f"root element is {root.tag!r}; expected {_ROOT} of namespace {_NAMESPACE}")
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    specimens = root.findall("SPECIMEN")
    if not specimens:
        raise FormatError("no SPECIMEN in the message; expected at least one")
    return [_specimen(element, f"specimen {number}") for number, element in enumerate(specimens, 1)]


def write(profiles: Mapping[str, StrProfile], header: Header) -> bytes:
    """A message with one specimen for each profile.

    Args:
        profiles: by the id of the specimen, 1 to 24 characters.
        header: of the message.

    Raises:
        FormatError: a text is empty or too long for the schema, there is no profile, or a profile has D6S1043, which
            the schema does not know.
    """
    if not profiles:
        raise FormatError("no profiles to write; a message holds at least one")
    root = ElementTree.Element(_ROOT, {"xmlns": _NAMESPACE})
    _add(root, "HEADERVERSION", _VERSION)
    _add(root, "MESSAGETYPE", "Import")
    _add(root, "DESTINATIONORI", header.destination)
    _add(root, "SOURCELAB", header.source)
    _add(root, "SUBMITBYUSERID", header.user)
    time = header.time.replace(microsecond=0, tzinfo=None).isoformat()
    _add(root, "SUBMITDATETIME", time)
    for specimen, profile in profiles.items():
        own = ElementTree.SubElement(root, "SPECIMEN")
        _add(own, "SPECIMENID", specimen)
        _add(own, "SPECIMENCATEGORY", header.category)
        for locus, alleles in profile.genotypes.items():
            if locus == _NOT_IN_SCHEMA:
                raise FormatError(f"specimen {specimen!r}: the CODIS schema does not know locus {locus}")
            part = ElementTree.SubElement(own, "LOCUS")
            _add(part, "LOCUSNAME", _SPELT.get(locus, locus))
            _add(part, "READINGBY", header.user)
            _add(part, "READINGDATETIME", time)
            for allele in dict.fromkeys(alleles):  # a homozygous locus has one
                _add(ElementTree.SubElement(part, "ALLELE"), "ALLELEVALUE", allele)
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _add(parent: ElementTree.Element, name: str, text: str) -> None:
    longest = _LONGEST.get(name)
    if longest is not None and not 1 <= len(text) <= longest:
        raise FormatError(f"{name} is {text!r}; expected 1 to {longest} characters")
    ElementTree.SubElement(parent, name).text = text


def _specimen(element: ElementTree.Element, place: str) -> ProfileRow:
    sample = (element.findtext("SPECIMENID") or "").strip()
    try:
        genotypes: dict[str, list[str]] = {}
        for locus in element.findall("LOCUS"):
            name = (locus.findtext("LOCUSNAME") or "").strip()
            if name in genotypes:
                raise FormatError(f"locus {name} stands twice")
            genotypes[name] = [value.text.strip() for value in locus.iter("ALLELEVALUE") if value.text]
        return ProfileRow(sample, place, StrProfile(genotypes=genotypes))
    except AbisError as error:
        return ProfileRow(sample, place, None, str(error))
