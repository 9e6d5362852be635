# SPDX-License-Identifier: Apache-2.0
"""N:N: who is in a population twice. What :meth:`abis.Gallery.deduplicate` and ``abis deduplicate`` do.

``pairing`` holds some subjects against some others, ``tiles`` is what it takes; ``job`` works off a whole gallery in
portions, ``checkpoint`` remembers them; ``clusters`` makes people of pairs, ``results`` is what comes out.
``uniqueness`` does the same for those who are about to be enrolled, ``arrivals`` for those who come by the thousand.
"""

from __future__ import annotations

from abis.deduplication.answer import clustered, deduplicate
from abis.deduplication.arrivals import Uniqueness
from abis.deduplication.pairing import Criterion, FoundPair, find_pairs
from abis.deduplication.results import Cluster, DuplicatePair, Duplicates
from abis.deduplication.tiles import Tile
from abis.deduplication.uniqueness import Newcomers

__all__ = [
    "Cluster",
    "Criterion",
    "DuplicatePair",
    "Duplicates",
    "FoundPair",
    "Newcomers",
    "Tile",
    "Uniqueness",
    "clustered",
    "deduplicate",
    "find_pairs",
]
