# SPDX-License-Identifier: Apache-2.0
"""N:N: find subjects that may be one person. Used by :meth:`abis.Gallery.deduplicate` and ``abis deduplicate``.

``pairing`` compares some subjects with some others, packed as ``tiles``. ``job`` works through a whole gallery in
portions, which ``checkpoint`` keeps. ``clusters`` groups pairs into people, ``results`` holds what comes out,
``writing`` and ``page`` put it into files, and ``decisions`` reads what people decided. ``uniqueness`` compares
subjects that are about to be enrolled, ``arrivals`` does so batch by batch.
"""

from __future__ import annotations

from abis.deduplication.answer import clustered, deduplicate
from abis.deduplication.arrivals import ArrivalsCheck
from abis.deduplication.pairing import Criterion, FoundPair, find_pairs
from abis.deduplication.results import DuplicateCluster, DuplicatePair, Duplicates
from abis.deduplication.tiles import Tile
from abis.deduplication.uniqueness import Newcomers

__all__ = [
    "ArrivalsCheck",
    "Criterion",
    "DuplicateCluster",
    "DuplicatePair",
    "Duplicates",
    "FoundPair",
    "Newcomers",
    "Tile",
    "clustered",
    "deduplicate",
    "find_pairs",
]
