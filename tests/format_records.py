# SPDX-License-Identifier: Apache-2.0
"""Templates, and records of them, from which the tests and the fuzzing of the formats start."""

from __future__ import annotations

import base64
import struct

import numpy as np

from abis.formats import (
    ansi_378_2004,
    ansi_378_2009,
    ansi_378_2009_am1,
    iso_19794_2_2005,
    iso_19794_2_2011,
    native,
    xyt,
)
from abis.template import Embedding, Minutiae, Position

RECORD_FORMATS = (iso_19794_2_2005, iso_19794_2_2011, ansi_378_2004, ansi_378_2009, ansi_378_2009_am1)
"""The modules of the finger minutiae records: all that hold several views."""

PLAIN = Minutiae(x=[10, 60, 61], y=[20, 80, 81], direction=[90, 270, 0], width=100, height=120)
"""Nothing but what a template must have. Its directions are exact in every format."""

FULL = Minutiae(
    x=[5, 99],
    y=[119, 1],
    direction=[90, 180],
    kind=[1, 2],
    quality=[7, 100],
    width=100,
    height=120,
    position=Position.LEFT_INDEX,
    finger_quality=80,
)
"""Everything a template can have, exact in every format of minutiae."""

EMPTY = Minutiae(x=[], y=[], direction=[], width=100, height=120)
ODD = Minutiae(x=[1], y=[1], direction=[0.1], width=9, height=9)
"""Its direction is exact in no interchange format."""

FACE = Embedding(vector=[3.0, 4.0, 0.0], model="demo", quality=0.5)


def long_ansi_2004() -> bytes:
    """A record of more than 65535 bytes, which has a length field of six."""
    side = np.arange(255)
    view = Minutiae(x=side, y=side, direction=side, width=255, height=255, position=Position.RIGHT_RING)
    thumb = Minutiae(x=side, y=side, direction=side, width=255, height=255, position=Position.LEFT_THUMB)
    other = Minutiae(x=side, y=side, direction=side, width=255, height=255)
    return ansi_378_2004.write([view, thumb, other] * 15)


def with_extended_data(record: bytes, extended: bytes) -> bytes:
    """An ISO 2005 record whose last view, so far without, has this extended data."""
    body = record[12:-2] + struct.pack(">H", len(extended)) + extended
    return record[:8] + struct.pack(">I", 12 + len(body)) + body


def draft_2007() -> bytes:
    """A record of the draft of ANSI/INCITS 378-2009: two bytes of capture equipment instead of three."""
    record = ansi_378_2009.write([PLAIN, FULL])
    return record[:8] + struct.pack(">I", len(record) - 1) + record[12:16] + record[17:]


def certified_2011() -> bytes:
    """An ISO 2011 record with two quality blocks, the first of them not computed, and a certification."""
    record = iso_19794_2_2011.write([FULL])
    before, after = record[19:33], record[39:]  # what stands around the one quality block
    qualities = bytes([2, 255, 0, 1, 0, 1, 66, 0, 1, 0, 1])
    certifications = bytes([1, 0, 9, 1])
    view = before + qualities + certifications + after
    view = struct.pack(">I", 4 + len(view)) + view
    return record[:8] + struct.pack(">IHB", 15 + len(view), 1, 1) + view


def annex_example() -> bytes:
    """A record with the faults of the example in ANSI/INCITS 378-2004: version, unit of direction."""
    record = bytearray(ansi_378_2004.write([FULL]))
    record[4:8] = b"020\0"
    record[34] = 200  # the direction of its first minutia, in units of 1.40625 degrees
    return bytes(record)


def cbeff(*blocks: bytes, description: str = "", alphabet: bytes = b"+/") -> bytes:
    """A BIR of ISO/IEC 19785-3, laid out as MOSIP does, with a BIR for each block."""
    birs = "".join(
        f"""<BIR><BIRInfo><Integrity>false</Integrity></BIRInfo><BDBInfo>{description}</BDBInfo>
        <BDB>{base64.b64encode(block, alphabet).decode()}</BDB></BIR>"""
        for block in blocks
    )
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<BIR xmlns="http://standards.iso.org/iso-iec/19785/-3/ed-2/">{birs}</BIR>""".encode()


def records() -> list[tuple[str, bytes]]:
    """Valid records of every format and variant, each with the name of the module that reads it."""
    made = [
        (module.__name__.rpartition(".")[2], module.write(templates))
        for module in RECORD_FORMATS
        for templates in ([PLAIN], [FULL], [EMPTY], [PLAIN, FULL, EMPTY])
    ]
    made += [("native", native.write(template)) for template in (PLAIN, FULL, EMPTY, ODD, FACE)]
    made += [("xyt", xyt.write([template])) for template in (PLAIN, FULL)]
    made += [
        ("iso_19794_2_2005", with_extended_data(iso_19794_2_2005.write([PLAIN]), b"\0\1\0\5\0")),
        ("iso_19794_2_2011", certified_2011()),
        ("ansi_378_2004", annex_example()),
        ("ansi_378_2009", draft_2007()),
        ("cbeff", cbeff(iso_19794_2_2005.write([PLAIN]), native.write(FACE))),
    ]
    return made
