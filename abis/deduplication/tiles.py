# SPDX-License-Identifier: Apache-2.0
"""References of some subjects as plain arrays, ready to be compared with others, here or on another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.deduplication.looks import Looks, Side
from abis.index.segments import Block, Segment
from abis.template.modality import modality_at

__all__ = ["Tile", "TilePart", "expanded"]


@dataclass(frozen=True, eq=False, repr=False)  # nothing of a template is printed
class TilePart:
    """The references of one kind, in the order of their subjects.

    Attributes:
        kind: kind of all references.
        subjects: (n,) int64, ascending keys of subjects.
        encounters: (n,) int64, keys of encounters.
        arrays: what :meth:`abis.deduplication.looks.Looks.arrays` gave of the modality's index.
    """

    kind: Kind
    subjects: NDArray[np.int64]
    encounters: NDArray[np.int64]
    arrays: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.subjects)

    def __reduce__(self) -> tuple[Any, ...]:
        return TilePart, (self.kind, self.subjects, self.encounters, dict(self.arrays))

    @property
    def looks(self) -> Looks:
        """How pairs with these references are looked at."""
        return modality_at(self.kind.position).looks()

    @cached_property
    def side(self) -> Side:
        """The references as the methods of :attr:`looks` take them."""
        return Side(self.kind, self.arrays, self.looks.prepared(self.arrays))

    def where(self, chosen: NDArray[np.bool_]) -> TilePart:
        """The references for which ``chosen``, (n,), is True."""
        return self._taken(np.flatnonzero(chosen))

    @classmethod
    def of(cls, kind: Kind, blocks: Sequence[tuple[Block, NDArray[np.int64]]]) -> TilePart:
        """The references of some slots of blocks of the kind."""
        looks = modality_at(kind.position).looks()
        parts = [
            cls(
                kind,
                block.subjects[slots].astype(np.int64),
                block.encounters[slots].astype(np.int64),
                looks.arrays(block.index, slots),
            )
            for block, slots in blocks
        ]
        arrays = {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}
        joined = cls(
            kind,
            np.concatenate([part.subjects for part in parts]),
            np.concatenate([part.encounters for part in parts]),
            arrays,
        )
        if (joined.subjects[1:] >= joined.subjects[:-1]).all():
            return joined
        return joined._taken(np.argsort(joined.subjects, kind="stable"))

    def _taken(self, order: NDArray[np.int64]) -> TilePart:
        return replace(
            self,
            subjects=self.subjects[order],
            encounters=self.encounters[order],
            arrays=self.looks.taken(self.arrays, order),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Tile:
    """All references of some subjects, one :class:`TilePart` for each kind.

    A tile can be pickled. It is biometric data, as templates are.
    """

    parts: tuple[TilePart, ...]

    @classmethod
    def of(
        cls,
        segments: Sequence[Segment],
        first: int = 0,
        last: int = 2**62,
        *,
        after_encounter: int = 0,
        last_encounter: int = 2**62,
    ) -> Tile:
        """The references in segments of the subjects with keys from ``first`` to ``last``.

        Args:
            segments: references of a gallery.
            first: smallest key of a subject.
            last: largest key of a subject.
            after_encounter: leave out encounters with this key or a smaller one.
            last_encounter: leave out encounters with a larger key.
        """
        found: dict[Kind, list[tuple[Block, NDArray[np.int64]]]] = {}
        for segment in segments:
            for block in segment.blocks:
                wanted = (block.subjects >= first) & (block.subjects <= last)
                wanted &= (block.encounters > after_encounter) & (block.encounters <= last_encounter)
                if block.gone is not None:
                    wanted &= ~block.gone
                if wanted.any():
                    found.setdefault(block.kind, []).append((block, np.flatnonzero(wanted)))
        return cls(tuple(TilePart.of(kind, own) for kind, own in sorted(found.items())))

    def between(self, first: int, last: int) -> Tile:
        """The references of the subjects with keys from ``first`` to ``last``."""
        return self._where(lambda subjects: (subjects >= first) & (subjects <= last))

    def among(self, subjects: NDArray[np.int64]) -> Tile:
        """The references of the subjects with these keys."""
        return self._where(lambda own: np.isin(own, subjects))

    def _where(self, chosen: Callable[[NDArray[np.int64]], NDArray[np.bool_]]) -> Tile:
        parts = (part.where(chosen(part.subjects)) for part in self.parts)
        return Tile(tuple(part for part in parts if len(part)))

    @cached_property
    def subjects(self) -> NDArray[np.int64]:
        """Sorted keys of all subjects, each once."""
        return np.unique(np.concatenate([part.subjects for part in self.parts] or [np.empty(0, np.int64)]))

    @cached_property
    def templates(self) -> NDArray[np.int64]:
        """(s,) int64, number of references of each subject."""
        places = [np.searchsorted(self.subjects, part.subjects) for part in self.parts]
        return np.bincount(np.concatenate([*places, np.empty(0, np.int64)]), minlength=len(self.subjects))

    def comparable(self, other: Tile) -> Iterator[tuple[TilePart, TilePart]]:
        """The pairs of a part of this tile and a part of the other that may be compared."""
        for part in self.parts:
            for their in other.parts:
                if part.kind.is_comparable(their.kind):
                    yield part, their


def expanded(
    probe: TilePart, reference: TilePart, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of templates, one of each part, that belong to some pairs of subjects.

    Args:
        probe: part with templates of the first subjects.
        reference: part with templates of the second subjects.
        pairs: (p, 2) int64, keys of subjects.

    Returns:
        Three (c,) int64 arrays, in order: number of the pair, of the template in ``probe``, and in ``reference``.
    """
    first, count = _run(probe.subjects, pairs[:, 0])
    second, times = _run(reference.subjects, pairs[:, 1])
    each = count * times
    pair = np.repeat(np.arange(len(pairs)), each)
    number = np.arange(len(pair)) - np.repeat(np.cumsum(each) - each, each)
    return pair, first[pair] + number // times[pair], second[pair] + number % times[pair]


def _run(
    subjects: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each wanted key begins among ascending subjects, and how often it occurs."""
    begin = np.searchsorted(subjects, wanted, "left")
    return begin, np.searchsorted(subjects, wanted, "right") - begin
