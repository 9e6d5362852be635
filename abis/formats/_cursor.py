# SPDX-License-Identifier: Apache-2.0
"""Reading big-endian fields one after the other, never past the end of the bytes."""

from __future__ import annotations

from typing import TypeAlias

from abis.errors import FormatError

__all__ = ["Cursor", "Repairs"]


Repairs: TypeAlias = list[str] | None
"""What a lenient reader did about the faults of a record, in words; None reads strictly."""


class Cursor:
    """A place in some bytes that moves forward over the fields it reads.

    Every method that finds something wrong raises :class:`FormatError` with the offset at which the
    faulty field begins.

    Attributes:
        data: all the bytes.
        offset: where the next field begins.
        repairs: where reading is lenient, what was done about faults that lose nothing, in words; None where it is
            strict.
    """

    __slots__ = ("data", "offset", "repairs")

    def __init__(self, data: bytes, repairs: Repairs = None) -> None:
        self.data = data
        self.offset = 0
        self.repairs = repairs

    def take(self, size: int, name: str) -> bytes:
        """The next ``size`` bytes, which hold the field called ``name``."""
        if size > self.left:
            raise self.fault(f"{name} needs {size} bytes, but only {self.left} are left")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    def unsigned(self, size: int, name: str, *, low: int = 0, high: int | None = None) -> int:
        """The next ``size`` bytes as an unsigned number, refused outside ``low`` to ``high``."""
        value = int.from_bytes(self.take(size, name), "big")
        if value < low or (high is not None and value > high):
            expected = f"at least {low}" if high is None else f"{low} to {high}"
            raise self.fault(f"{name} is {value}; expected {expected}", back=size)
        return value

    def literal(self, expected: bytes, name: str) -> None:
        """Step over bytes that can only be ``expected``."""
        found = self.take(len(expected), name)
        if found != expected:
            raise self.fault(f"{name} is {found!r}; expected {expected!r}", back=len(expected))

    def record_length(self, size: int) -> None:
        """Step over the field that states how many bytes there are in all; refuse it where some are missing.

        A length that is too small is harmless where the fields end with the bytes, and happens: in the
        examples of ANSI/INCITS 378-2004 (by 2) and 378-2009 (by 1).
        """
        length = self.unsigned(size, "record length")
        if length > len(self.data):
            if self.repairs is not None:  # the fields will show whether anything is missing
                self.repairs.append(f"record length {length} taken as {len(self.data)}")
                return
            raise self.fault(f"record length is {length}, but there are {len(self.data)} bytes", back=size)

    def end(self) -> None:
        """Check that nothing follows the last field; a lenient reader passes over it."""
        if self.left and self.repairs is not None:
            self.repairs.append(f"{self.left} bytes after the record dropped")
        elif self.left:
            raise self.fault(f"{self.left} bytes follow where the record should end")

    @property
    def left(self) -> int:
        """How many bytes there are from here to the end."""
        return len(self.data) - self.offset

    def fault(self, message: str, *, back: int = 0) -> FormatError:
        """The error to raise about what begins ``back`` bytes before the next field."""
        return FormatError(message, offset=self.offset - back)
