# SPDX-License-Identifier: Apache-2.0
"""Interchange formats: bytes to templates and back, one module for each standard.

:func:`read` tells the format by its content. Each module has ``read`` and ``write`` of its own, for callers
who know what they have or need what only that format has.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from abis.errors import FormatError
from abis.formats import (
    ansi_378_2004,
    ansi_378_2009,
    ansi_378_2009_am1,
    cbeff,
    iso_19794_2_2005,
    iso_19794_2_2011,
    native,
    xyt,
)
from abis.formats._fmr import MAGIC as _FMR
from abis.formats._images import is_image
from abis.template import Minutiae, Template

__all__ = ["Format", "is_image", "read", "read_file", "write"]


class Format(Enum):
    """The formats that can be written; all of them are read, and :mod:`CBEFF XML <abis.formats.cbeff>` too."""

    ISO_19794_2_2005 = "ISO/IEC 19794-2:2005"
    ISO_19794_2_2011 = "ISO/IEC 19794-2:2011"
    ANSI_378_2004 = "ANSI/INCITS 378-2004"
    ANSI_378_2009 = "ANSI/INCITS 378-2009"
    ANSI_378_2009_AM1 = "ANSI/INCITS 378-2009/AM1"
    XYT = "NIST .xyt"
    NATIVE = "abis"


def read(data: bytes) -> tuple[Template, ...]:
    """The templates in a record of any supported format, in the order they stand there; at least one.

    Args:
        data: the whole record and nothing else.

    Raises:
        FormatError: saying at which byte what was found and what was expected.

    >>> thumb = Minutiae(x=[10], y=[20], direction=[90], width=100, height=100)
    >>> read(write([thumb], Format.ANSI_378_2004))
    (Minutiae(n=1, 100x100 at 197x197 px/cm, UNKNOWN_FINGER),)
    """
    if data.startswith(native.MAGIC):
        return (native.read(data),)
    if data.startswith(_FMR):
        return _read_fmr(data)
    if data.lstrip()[:1].isdigit():
        return xyt.read(data)
    if is_image(data):
        raise FormatError("is an image, not a template; abis.extraction makes templates of images", offset=0)
    if cbeff.is_cbeff(data):
        return cbeff.read(data, read)
    raise FormatError(f"begins with {data[:8]!r}, as no supported format does", offset=0)


def read_file(path: str | os.PathLike[str]) -> tuple[Template, ...]:
    """The templates in a file of any supported format; errors name the file.

    Raises:
        FormatError: as :func:`read` does.
        OSError: the file cannot be read.
    """
    try:
        return read(Path(path).read_bytes())
    except FormatError as error:
        named = FormatError(f"{os.fspath(path)}: {error}")
        named.offset = error.offset
        raise named from None


def write(templates: Sequence[Template], format: Format) -> bytes:  # noqa: A002 - the word for it
    """One record of the given format; what it loses is said at its module's ``write``.

    Raises:
        FormatError: the format cannot hold these templates together, or has no place for one of them.
    """
    if format is Format.NATIVE:
        if len(templates) != 1:
            raise FormatError(
                f"{len(templates)} templates to write; the stored form of abis holds exactly one"
            )
        return native.write(templates[0])
    minutiae = [template for template in templates if isinstance(template, Minutiae)]
    if len(minutiae) != len(templates):
        raise FormatError(
            f"{format.value} holds minutiae only; {len(templates) - len(minutiae)} of the templates are not"
        )
    return _WRITERS[format](minutiae)


_WRITERS = {
    Format.ISO_19794_2_2005: iso_19794_2_2005.write,
    Format.ISO_19794_2_2011: iso_19794_2_2011.write,
    Format.ANSI_378_2004: ansi_378_2004.write,
    Format.ANSI_378_2009: ansi_378_2009.write,
    Format.ANSI_378_2009_AM1: ansi_378_2009_am1.write,
    Format.XYT: xyt.write,
}


def _read_fmr(data: bytes) -> tuple[Minutiae, ...]:
    """A finger minutiae record: by its version, and where two standards share one, by its lengths."""
    match data[4:8]:
        case b" 20\0" if ansi_378_2004.is_length(data[8:12]):
            return ansi_378_2004.read(data)
        case b" 20\0":
            return iso_19794_2_2005.read(data)
        case b"020\0":
            return ansi_378_2004.read(data)
        case b"030\0":
            return _read_version_030(data)
        case b"035\0":
            return ansi_378_2009_am1.read(data)
        case version:
            raise FormatError(
                f"version of the finger minutiae record is {version!r}; "
                r"expected b' 20\x00', b'030\x00' or b'035\x00'",
                offset=4,
            )


def _read_version_030(data: bytes) -> tuple[Minutiae, ...]:
    """ISO of 2011 or ANSI of 2009, which no field tells apart: the one whose rules all bytes obey."""
    obeyed: list[tuple[Minutiae, ...]] = []
    broken: list[FormatError] = []
    for module in (iso_19794_2_2011, ansi_378_2009):
        try:
            obeyed.append(module.read(data))
        except FormatError as error:
            broken.append(error)
    iso, ansi = Format.ISO_19794_2_2011.value, Format.ANSI_378_2009.value
    match obeyed, broken:
        case [templates], _:
            return templates
        case [], [iso_error, ansi_error]:
            if str(iso_error) == str(ansi_error):
                raise iso_error
            raise FormatError(f"neither {iso} ({iso_error}) nor {ansi} ({ansi_error})")
        case _:
            raise FormatError(f"obeys both {iso} and {ansi}; read it with the module of the one it is")
