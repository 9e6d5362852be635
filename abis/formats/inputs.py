# SPDX-License-Identifier: Apache-2.0
"""What callers hand in, as bytes: buffers, files and paths; and texts that stand for bytes."""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import IO, TypeAlias

from abis.errors import FormatError

__all__ = ["Input", "as_bytes", "decode_text"]

Input: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | IO[bytes]
"""Bytes in any buffer, a path to read them from, or a file opened in binary mode."""

_HEX = re.compile(rb"(?:0[xX])?(?:[0-9a-fA-F]{2})+")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")


def as_bytes(given: Input) -> bytes:
    """The bytes of a buffer, of the file at a path, or of all that is left of an open file.

    Raises:
        TypeError: it is none of these, such as text.
        OSError: the file cannot be read.
    """
    match given:
        case bytes():
            return given
        case bytearray() | memoryview():
            return bytes(given)
        case os.PathLike():
            return Path(given).read_bytes()
        case str():
            raise TypeError("expected bytes, not text; for a file's name pass a pathlib.Path")
    read = getattr(given, "read", None)
    if read is None:
        raise TypeError(f"expected bytes, a path or a file opened in binary mode, not {type(given).__name__}")
    content = read()
    if not isinstance(content, bytes):
        raise TypeError(f"the file gives {type(content).__name__}; open it in binary mode ('rb')")
    return content


def decode_text(text: str | bytes) -> bytes:
    """The bytes that a text in base64 or hexadecimal digits stands for.

    Base64 in either alphabet (RFC 4648, sections 4 and 5), padded or not, and hexadecimal with or without ``0x``;
    spaces, line breaks and a byte order mark are passed over. Digits that are valid as both are hexadecimal.

    Raises:
        FormatError: the text is neither.

    >>> decode_text("Rk1S AA") == decode_text("464d5200") == b"FMR" + bytes(1)
    True
    """
    if isinstance(text, str):
        text = text.removeprefix("\ufeff").encode(errors="replace")  # what is not ASCII becomes ?, no digit
    raw = bytes(text)
    digits = b"".join(raw.removeprefix(b"\xef\xbb\xbf").split())
    if digits and _HEX.fullmatch(digits):
        return bytes.fromhex(digits.decode().removeprefix("0x").removeprefix("0X"))
    digits = digits.translate(_URL_ALPHABET)
    if not _BASE64.fullmatch(digits):
        raise FormatError("is neither base64 nor hexadecimal")
    body = digits.rstrip(b"=")
    try:
        return base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"is neither hexadecimal nor base64: {error}") from None
