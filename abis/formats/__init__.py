# SPDX-License-Identifier: Apache-2.0
"""Interchange formats: bytes to templates and back, one module for each standard.

:func:`read` tells the format by its content. Each module has ``read`` and ``write`` of its own, for callers
who know what they have or need what only that format has.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Self

from abis.errors import FormatError
from abis.formats import (
    ansi_378_2004,
    ansi_378_2009,
    ansi_378_2009_am1,
    ansi_nist,
    cbeff,
    codis,
    iso_19794_2_2005,
    iso_19794_2_2011,
    iso_19794_2_cards,
    native,
    str_tables,
    xyt,
)
from abis.formats._cursor import Repairs
from abis.formats._fmr import MAGIC as _FMR
from abis.formats._images import is_image, is_sound
from abis.formats.inputs import Input, as_bytes, decode_text
from abis.template import Minutiae, Template, several_fingers
from abis.template.modality import modality_of

__all__ = [
    "MINUTIAE_FORMATS",
    "Format",
    "Reading",
    "holds_image",
    "holds_sound",
    "is_image",
    "is_sound",
    "read",
    "read_file",
    "write",
]


_BEGINNING = 16  # bytes that tell an image, a recording or a transaction from other files


class Format(Enum):
    """The formats that can be written.

    :func:`read` reads all of them but the card formats, which :mod:`abis.formats.iso_19794_2_cards` reads; and
    :mod:`CBEFF XML <abis.formats.cbeff>` and :mod:`transactions of ANSI/NIST-ITL <abis.formats.ansi_nist>` too; and DNA
    profiles of one sample, in :mod:`tables <abis.formats.str_tables>` or :mod:`CODIS messages <abis.formats.codis>`.
    """

    ISO_19794_2_2005 = "ISO/IEC 19794-2:2005"
    ISO_19794_2_2011 = "ISO/IEC 19794-2:2011"
    ANSI_378_2004 = "ANSI/INCITS 378-2004"
    ANSI_378_2009 = "ANSI/INCITS 378-2009"
    ANSI_378_2009_AM1 = "ANSI/INCITS 378-2009/AM1"
    ISO_19794_2_CARD_NORMAL = "ISO/IEC 19794-2:2005 card format, normal size"
    ISO_19794_2_CARD_COMPACT = "ISO/IEC 19794-2:2005 card format, compact size"
    XYT = "NIST .xyt"
    NATIVE = "abis"

    @property
    def ending(self) -> str:
        """The usual ending of a file in this format, without the dot."""
        return {Format.XYT: "xyt", Format.NATIVE: "abis"}.get(self, "fmr")


class Reading(tuple[Template, ...]):
    """Templates, in the order they stand in a record, and notes about them.

    Attributes:
        notes: what a lenient reader did about faults, and what should be known about the templates, in words.
    """

    notes: tuple[str, ...]

    def __new__(cls, templates: Iterable[Template], notes: Iterable[str] = ()) -> Self:
        self = super().__new__(cls, templates)
        self.notes = tuple(notes)
        return self

    def __reduce__(self) -> tuple[type[Reading], tuple[tuple[Template, ...], tuple[str, ...]]]:
        return Reading, (tuple(self), self.notes)


def read(data: Input, *, lenient: bool = False) -> Reading:
    """The templates in a record of any supported format, in the order they stand there; at least one.

    Args:
        data: the whole record and nothing else; also as text in base64 or hexadecimal digits. Bytes in any buffer, a
            path, or a file opened in binary mode.
        lenient: pass over faults that lose nothing: bytes after the record, a length that is too large, a byte order
            mark, blank lines; drop minutiae outside the image, and of more than 255 lines of ``.xyt`` all but the best.
            ``notes`` says what was done.

    Raises:
        FormatError: saying at which byte what was found and what was expected.
        TypeError: ``data`` is of another type, such as text.
        OSError: the file cannot be read.

    >>> thumb = Minutiae(x=[10], y=[20], direction=[90], width=100, height=100)
    >>> record = write([thumb], Format.ANSI_378_2004)
    >>> read(record)
    (Minutiae(n=1, 100x100 at 197x197 px/cm, UNKNOWN_FINGER),)
    >>> read(record + bytes(8), lenient=True).notes
    ('8 bytes after the record dropped',)
    """
    content = as_bytes(data)
    if (decoded := _decoded(content)) is not None:
        content = decoded
    repairs: Repairs = [] if lenient else None
    templates = _read(content, repairs)
    slaps = (several_fingers(template) for template in templates)
    return Reading(templates, [*(repairs or ()), *filter(None, slaps)])


def _decoded(data: bytes) -> bytes | None:
    """What a text in base64 or hexadecimal digits stands for, where that begins as a record does."""
    if not data.lstrip(_SPACE_AND_MARK).startswith(_ENCODED_BEGINNINGS):
        return None
    try:
        return decode_text(data)
    except FormatError:
        return None


def _read(data: bytes, repairs: Repairs) -> tuple[Template, ...]:  # noqa: PLR0911 - one for each format
    if data.startswith(native.MAGIC):
        return (native.read(data),)
    if data.startswith(_FMR):
        return _read_fmr(data, repairs)
    if ansi_nist.is_transaction(data):
        return ansi_nist.read(data, repairs)
    text = data.removeprefix(_BYTE_ORDER_MARK) if repairs is not None else data
    if text.lstrip()[:1].isdigit():
        return xyt.read(data, repairs=repairs)
    if is_image(data):
        raise FormatError("is an image, not a template; abis.extraction makes templates of images", offset=0)
    if is_sound(data):
        raise FormatError(
            "is a recording, not a template; abis.extraction makes templates of recordings", offset=0
        )
    if codis.is_cmf(data):
        return (str_tables.only_profile(codis.read(data)),)
    if str_tables.is_table(data):
        return (str_tables.only_profile(str_tables.read_profiles(data)),)
    if cbeff.is_cbeff(data):
        return cbeff.read(data, lambda block: _read(block, repairs))
    if not data:
        raise FormatError("is empty; expected a template record", offset=0)
    raise FormatError(f"begins with {data[:8]!r}, as no supported format does", offset=0)


def read_file(path: str | os.PathLike[str], *, lenient: bool = False) -> Reading:
    """The templates in a file of any supported format; errors name the file.

    Args:
        path: of the file.
        lenient: as :func:`read` has it.

    Raises:
        FormatError: as :func:`read` does.
        OSError: the file cannot be read.
    """
    try:
        return read(Path(path), lenient=lenient)
    except FormatError as error:
        named = FormatError(f"{os.fspath(path)}: {error}")
        named.offset = error.offset
        raise named from None


def holds_image(file: Path | bytes) -> bool:
    """Return whether a file holds an image from which templates are extracted, rather than templates.

    A transaction of ANSI/NIST-ITL with minutiae holds templates, and so does a CBEFF document without images. A file
    that cannot be opened holds no image; reading it raises the error.

    Args:
        file: the file, or its content.
    """
    if isinstance(file, bytes):
        if ansi_nist.is_transaction(file):
            return not ansi_nist.holds_minutiae(file)
        return _holds_images_of_cbeff(file) if cbeff.is_cbeff(file) else is_image(file)
    try:
        with file.open("rb") as opened:
            beginning = opened.read(_BEGINNING)
            return holds_image(beginning + opened.read() if _must_be_read(beginning) else beginning)
    except OSError:
        return False


def _must_be_read(beginning: bytes) -> bool:
    """Whether only the rest of a file tells images from templates."""
    return ansi_nist.is_transaction(beginning) or beginning.lstrip(_SPACE_AND_MARK).startswith(b"<")


def _holds_images_of_cbeff(document: bytes) -> bool:
    try:
        return bool(cbeff.images(document))
    except FormatError:
        return False  # reading it says why


def holds_sound(file: Path | bytes) -> bool:
    """Return whether a file holds a recording, from which the template of a voice is extracted.

    Args:
        file: the file, or its content; a file that cannot be opened holds no recording.
    """
    if isinstance(file, bytes):
        return is_sound(file)
    try:
        with file.open("rb") as opened:
            return is_sound(opened.read(_BEGINNING))
    except OSError:
        return False


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
    for template in templates:
        held = modality_of(template)
        if format not in held.formats():
            raise FormatError(f"{format.value} does not hold templates of a {held.name}; {template} is one")
    return _WRITERS[format](templates)


_WRITERS: dict[Format, Callable[[Sequence[Any]], bytes]] = {
    Format.ISO_19794_2_2005: iso_19794_2_2005.write,
    Format.ISO_19794_2_2011: iso_19794_2_2011.write,
    Format.ANSI_378_2004: ansi_378_2004.write,
    Format.ANSI_378_2009: ansi_378_2009.write,
    Format.ANSI_378_2009_AM1: ansi_378_2009_am1.write,
    Format.ISO_19794_2_CARD_NORMAL: iso_19794_2_cards.write_normal,
    Format.ISO_19794_2_CARD_COMPACT: iso_19794_2_cards.write_compact,
    Format.XYT: xyt.write,
}
MINUTIAE_FORMATS = tuple(_WRITERS)
"""The formats that hold minutiae."""


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SPACE_AND_MARK = b" \t\r\n" + _BYTE_ORDER_MARK
_ENCODED_BEGINNINGS = tuple(
    beginning
    for magic in (_FMR, native.MAGIC)
    for beginning in (
        base64.b64encode(magic)[:4],  # of the first three bytes, the same whatever follows
        magic.hex().encode(),
        magic.hex().upper().encode(),
        b"0x" + magic.hex().encode(),
        b"0x" + magic.hex().upper().encode(),
    )
)


def _read_fmr(data: bytes, repairs: Repairs) -> tuple[Minutiae, ...]:
    """A finger minutiae record: by its version, and where two standards share one, by its lengths."""
    match data[4:8]:
        case b" 20\0" if ansi_378_2004.is_length(data[8:12]):
            return ansi_378_2004.read(data, repairs)
        case b" 20\0":
            return iso_19794_2_2005.read(data, repairs)
        case b"020\0":
            return ansi_378_2004.read(data, repairs)
        case b"030\0":
            return _read_version_030(data, repairs)
        case b"035\0":
            return ansi_378_2009_am1.read(data, repairs)
        case version:
            raise FormatError(
                f"version of the finger minutiae record is {version!r}; "
                r"expected b' 20\x00', b'030\x00' or b'035\x00'",
                offset=4,
            )


def _read_version_030(data: bytes, repairs: Repairs) -> tuple[Minutiae, ...]:
    """ISO of 2011 or ANSI of 2009, which no field tells apart: the one whose rules all bytes obey."""
    try:
        return _of_one_standard(data, None)
    except FormatError:
        if repairs is None:
            raise
    return _of_one_standard(data, repairs)


def _of_one_standard(data: bytes, repairs: Repairs) -> tuple[Minutiae, ...]:
    obeyed: list[tuple[tuple[Minutiae, ...], list[str]]] = []
    broken: list[FormatError] = []
    for module in (iso_19794_2_2011, ansi_378_2009):
        own: list[str] = []
        try:
            obeyed.append((module.read(data, None if repairs is None else own), own))
        except FormatError as error:
            broken.append(error)
    iso, ansi = Format.ISO_19794_2_2011.value, Format.ANSI_378_2009.value
    match obeyed, broken:
        case [(templates, own)], _:
            if repairs is not None:
                repairs += own
            return templates
        case [], [iso_error, ansi_error]:
            if str(iso_error) == str(ansi_error):
                raise iso_error
            raise FormatError(f"neither {iso} ({iso_error}) nor {ansi} ({ansi_error})")
        case _:
            raise FormatError(f"obeys both {iso} and {ansi}; read it with the module of the one it is")
