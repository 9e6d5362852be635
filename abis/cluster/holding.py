# SPDX-License-Identifier: Apache-2.0
"""The shard's side of de-duplication: pairs of its own subjects with probes. See :mod:`abis.cluster.pairs`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from abis.cluster.messages import Keys, NamedPair
from abis.deduplication import Criterion, FoundPair, Tile, find_pairs
from abis.gallery import Gallery

__all__ = ["Holding", "tile_of"]


def tile_of(gallery: Gallery, keys: Keys) -> Tile:
    """The references of some subjects, to be sent to another shard or compared here."""
    view, _ = gallery.internals.view_with_calibrations()
    return Tile.of(view.segments, keys.first, keys.last, last_encounter=keys.last_encounter)


class Holding:
    """Keeps the references that a shard compares with, from one call to the next. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[Keys, Tile] | None = None

    def pairs(
        self, gallery: Gallery, keys: Keys, probes: Tile | Keys, criterion: Criterion
    ) -> Sequence[NamedPair]:
        """Compare probes with the subjects of this shard that have the keys; return the pairs found.

        Args:
            gallery: gallery of the shard.
            keys: keys of the subjects to compare with.
            probes: references of another shard's subjects, or keys of this shard's subjects.
            criterion: decides which pairs are listed.
        """
        _, calibrations = gallery.internals.view_with_calibrations()
        with self._lock:  # one call at a time, since each uses much memory and all cores
            if self._kept is None or self._kept[0] != keys:
                self._kept = None  # free the memory before the next tile is made
                self._kept = keys, tile_of(gallery, keys)
            references = self._kept[1]
            is_own = isinstance(probes, Keys)
            if isinstance(probes, Keys):
                is_within = keys.first <= probes.first and probes.last <= keys.last
                probes = (
                    references.between(probes.first, probes.last) if is_within else tile_of(gallery, probes)
                )
            found = []
            if probes.parts and references.parts:
                found = find_pairs(probes, references, criterion, calibrations, ordered=is_own)
        return _named(gallery, found)

    def forget(self) -> None:
        """Free the memory of the references."""
        with self._lock:
            self._kept = None


def _named(gallery: Gallery, pairs: Sequence[FoundPair]) -> list[NamedPair]:
    """The pairs with names of subjects and encounters; pairs of removed subjects are left out."""
    named = gallery.internals.store.named(
        {pair.reference for pair in pairs}, {key for pair in pairs for key in pair.encounters}
    )
    return [
        NamedPair(named.subjects[pair.reference], pair.with_names(named.encounters))
        for pair in pairs
        if pair.reference in named.subjects and pair.encounters <= named.encounters.keys()
    ]
