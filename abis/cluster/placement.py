# SPDX-License-Identifier: Apache-2.0
"""The shard of a subject: a function of subject_id and the number of shards that never changes.

Jump consistent hashing (Lamping and Veach, *A Fast, Minimal Memory, Consistent Hash Algorithm*, 2014): if the
number of shards grows from m to n, the share 1 - m/n of the subjects moves, all of it to new shards.
"""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["HASH", "shard_of"]

HASH = "blake2b-64/jump"
"""Name of this function in a manifest. A different function needs a different name."""

_MULTIPLIER = 2862933555777941757  # of the paper's linear congruential generator


def shard_of(subject_id: str, shards: int) -> int:
    """The number of a subject's shard, from 0.

    >>> [shard_of("079203001234", shards) for shards in (1, 2, 4, 8)]
    [0, 0, 3, 3]
    """
    key = int.from_bytes(blake2b(subject_id.encode(), digest_size=8).digest(), "big")
    chosen, jump = 0, 0
    while jump < shards:
        chosen = jump
        key = (key * _MULTIPLIER + 1) & 0xFFFFFFFFFFFFFFFF
        jump = int((chosen + 1) * (1 << 31) / ((key >> 33) + 1))  # both exact in double precision
    return chosen
