# SPDX-License-Identifier: Apache-2.0
"""A part of a population, ready to be held against another: plain arrays that may travel to another machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.deduplication.finger_tile import FingerTile
from abis.deduplication.sketches import sketch
from abis.index.embedding_index import EmbeddingIndex
from abis.index.iris_index import IrisIndex
from abis.index.segments import Block, Segment

__all__ = ["Part", "Tile", "expanded"]

_OF_FINGERS = ("sizes", "removed")  # columns with a row a finger; the others have one a minutia


@dataclass(frozen=True, eq=False, repr=False)  # nothing of a template is printed
class Part:
    """The references of one kind, in the order of their subjects.

    Attributes:
        kind: of all of them.
        subjects: (n,) int64, ascending, key of each one's subject.
        encounters: (n,) int64, likewise.
        arrays: of fingers those of ``FingerIndex.arrays``; of embeddings (n, d) vectors and (n, b) sketches; of irises
            (n, 2, b) codes.
    """

    kind: Kind
    subjects: NDArray[np.int64]
    encounters: NDArray[np.int64]
    arrays: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.subjects)

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, (self.kind, self.subjects, self.encounters, dict(self.arrays))

    @cached_property
    def fingers(self) -> FingerTile:
        """The same for comparison; of a part that holds fingers."""
        return FingerTile(self.arrays)

    @cached_property
    def contents(self) -> NDArray[np.int64]:
        """(n,) :func:`abis.comparison.contents` of fingers."""
        sums = np.concatenate([[0], np.cumsum(self.arrays["reliability"], dtype=np.int64)])
        ends = np.cumsum(self.arrays["sizes"], dtype=np.int64)
        return np.asarray(np.diff(sums[ends], prepend=0))

    def where(self, chosen: NDArray[np.bool_]) -> Part:
        """The chosen ones; ``chosen`` is (n,)."""
        return self._taken(np.flatnonzero(chosen))

    @classmethod
    def of(cls, kind: Kind, blocks: Sequence[tuple[Block, NDArray[np.int64]]]) -> Part:
        """Some slots of blocks of the kind."""
        parts = [
            cls(
                kind,
                block.subjects[slots].astype(np.int64),
                block.encounters[slots].astype(np.int64),
                _arrays_of(block, slots),
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

    def _taken(self, order: NDArray[np.int64]) -> Part:
        return replace(
            self,
            subjects=self.subjects[order],
            encounters=self.encounters[order],
            arrays=_taken(self.arrays, order),
        )


@dataclass(frozen=True, eq=False, repr=False)
class Tile:
    """All references of some subjects: of :class:`Part` each kind once. Made of segments of any gallery.

    It can be pickled, and is biometric data as much as the templates are.
    """

    parts: tuple[Part, ...]

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
        """What segments hold of the subjects with keys from ``first`` to ``last``.

        Args:
            segments: of a gallery.
            first: key of a subject.
            last: likewise.
            after_encounter: only of encounters with a key above it ...
            last_encounter: ... and not above this one.
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
        return cls(tuple(Part.of(kind, own) for kind, own in sorted(found.items())))

    def between(self, first: int, last: int) -> Tile:
        """Of the subjects with keys from ``first`` to ``last``."""
        return self._where(lambda subjects: (subjects >= first) & (subjects <= last))

    def among(self, subjects: NDArray[np.int64]) -> Tile:
        """Of the subjects with these keys."""
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
        """How many each of the subjects has."""
        places = [np.searchsorted(self.subjects, part.subjects) for part in self.parts]
        return np.bincount(np.concatenate([*places, np.empty(0, np.int64)]), minlength=len(self.subjects))

    def comparable(self, other: Tile) -> Iterator[tuple[Part, Part]]:
        """Parts of this tile, and each one of the other that may be compared with it."""
        for part in self.parts:
            for their in other.parts:
                if part.kind.is_comparable(their.kind):
                    yield part, their


def expanded(
    probe: Part, reference: Part, pairs: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All templates of pairs of subjects that these parts hold, each with each.

    Args:
        probe: of the first subjects.
        reference: of the second ones.
        pairs: (p, 2) int64, keys of subjects.

    Returns:
        (c,) which pair, (c,) which template of the probe's part, (c,) which of the reference's; in order.
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
    """Where each of the wanted begins among ascending subjects, and how many there are of it."""
    begin = np.searchsorted(subjects, wanted, "left")
    return begin, np.searchsorted(subjects, wanted, "right") - begin


def _arrays_of(block: Block, slots: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Some slots, as a part has them."""
    match block.index:
        case EmbeddingIndex():
            vectors = block.index.vectors[slots]
            return {"vectors": vectors, "sketches": sketch(vectors)}
        case IrisIndex():
            return {"codes": block.index.codes[slots]}
        case _:
            return _taken(block.index.arrays(), slots)


def _taken(arrays: Mapping[str, NDArray[Any]], order: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """The given templates, in the given order."""
    if "sizes" not in arrays:
        return {name: column[order] for name, column in arrays.items()}
    sizes = arrays["sizes"].astype(np.int64)
    begins = np.cumsum(sizes) - sizes
    own = sizes[order]
    rows = np.arange(own.sum()) + np.repeat(begins[order] - np.cumsum(own) + own, own)
    return {name: column[order if name in _OF_FINGERS else rows] for name, column in arrays.items()}
