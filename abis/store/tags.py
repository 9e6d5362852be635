# SPDX-License-Identifier: Apache-2.0
"""Tags that rows carry, so that a row which abis did not write is an error when it is read.

In an encrypted gallery a tag is a MAC: HMAC-SHA-256 (FIPS 198-1) under a key derived from the gallery's
authentication key. Without the master key no row can be forged or changed. In a gallery that is not encrypted a tag
is a CRC-32, which finds damage but no attack.

Each row has two numbers of 63 bits, from different halves of one MAC:

- its *tag*, which stands in the row;
- its *share*, which stands in no row. The shares of all encounters of a subject, combined by XOR, stand in the
  subject's row; those of all subjects in the gallery's row. So a row of an earlier time, put back with its valid
  tag, does not fit its owner.
"""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Iterable
from functools import reduce
from operator import xor

__all__ = ["RowTags", "xor_of"]

_BYTES = 8


class RowTags:
    """Computes tags and shares. Safe for threads.

    Args:
        key: of 32 bytes; None computes checksums, for a gallery that is not encrypted.
    """

    def __init__(self, key: bytes | None = None) -> None:
        # Copied for each row, which takes half the time of a new one.
        self._hmac = None if key is None else hmac.new(key, digestmod="sha256")

    def __repr__(self) -> str:
        return f"RowTags({'MACs' if self.is_keyed else 'checksums'})"

    @property
    def is_keyed(self) -> bool:
        """Whether tags are MACs."""
        return self._hmac is not None

    def of(self, table: str, values: Iterable[object]) -> tuple[int, int]:
        """Tag and share of a row.

        Args:
            table: name of the row's table.
            values: the row's other columns: numbers, texts without NUL (but for the last), None.
        """
        row = "\0".join((table, *map(str, values))).encode(errors="surrogatepass")
        if self._hmac is None:
            checksum = zlib.crc32(row)
            return checksum, checksum
        own = self._hmac.copy()
        own.update(row)
        mac = own.digest()
        return int.from_bytes(mac[:_BYTES]) >> 1, int.from_bytes(mac[_BYTES : 2 * _BYTES]) >> 1

    def mask(self, *numbers: int) -> int:
        """What hides a total of shares in the gallery's row, by counters that never come twice; 0 without a key."""
        return self.of("mask", numbers)[1] if self.is_keyed else 0


def xor_of(values: Iterable[int]) -> int:
    """All numbers combined by XOR, in any order; a number that is there twice cancels itself."""
    return reduce(xor, values, 0)
