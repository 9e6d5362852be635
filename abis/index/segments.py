# SPDX-License-Identifier: Apache-2.0
"""The references of a gallery as immutable pieces: whose they are, packed for search, kind by kind.

A piece is never changed, only replaced: by one with more of its references marked as gone, or by several
joined into one. So whoever has a list of them may search it for as long as he likes, and nobody waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from abis import _core
from abis.comparison.kind import Kind
from abis.index.embedding_index import EmbeddingIndex, EmbeddingProbe
from abis.index.finger_index import FingerIndex, ready
from abis.template import Embedding, Template

__all__ = [
    "SPAN",
    "Block",
    "Entry",
    "Index",
    "Probe",
    "Segment",
    "appended",
    "block_of_arrays",
    "comparable_blocks",
]

SPAN = 196_608
"""Template keys that a sealed segment spans: with two fingers and a face each, 65,536 subjects."""


class Index(Protocol):
    """Templates of one kind, slot by slot from 0: :class:`FingerIndex` or :class:`EmbeddingIndex`.

    Evidence is a log likelihood ratio in natural log units, or as near to one as a cheap look gets: that of
    several positions of a subject adds up.
    """

    def __len__(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def tally(
        self,
        tally: _core.Tally,
        prepared: Any,
        subjects: NDArray[Any],
        *,
        is_run: bool,
        gone: NDArray[np.bool_] | None,
    ) -> None:
        """Adds up the evidence of every slot by a first look, by subject.

        Args:
            tally: what adds up.
            prepared: the probe: see :class:`Probe`; so it is for the other looks.
            subjects: (n,) whose each slot is.
            is_run: subjects are a run of keys.
            gone: (n,) bool, what has been removed; None where nothing has.
        """

    def sift(self, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) better evidence of some slots; of embeddings as good as that of :meth:`refine`."""

    def refine(self, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) still better evidence of some slots."""

    def compare(self, prepared: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) raw scores, those of :func:`abis.comparison.raw_scores`."""

    def balance(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(m,) of some slots: what :func:`abis.comparison.balance` gives."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All there is; the class's ``from_arrays`` makes the same index of it."""


class Entry(NamedTuple):
    """A reference and the keys of its owners."""

    subject: int
    encounter: int
    template: Template


@dataclass(frozen=True, eq=False)
class Block:
    """The references of one kind in a segment, slot by slot in the order of enrolment.

    Attributes:
        kind: of all of them.
        index: the templates.
        subjects: (n,) uint32 or int64, key of each one's subject.
        encounters: (n,) likewise.
        gone: (n,) bool, what has been removed; None where nothing has.
    """

    kind: Kind
    index: Index
    subjects: NDArray[Any]
    encounters: NDArray[Any]
    gone: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, kind: Kind, entries: Sequence[Entry]) -> Self:
        return cls(
            kind,
            _class_of(kind).of([entry.template for entry in entries]),
            _keys([entry.subject for entry in entries]),
            _keys([entry.encounter for entry in entries]),
        )

    @classmethod
    def joined(cls, kind: Kind, blocks: Sequence[Block]) -> Self:
        """All that is present in blocks of the kind."""
        chosen = [(block, block.present_slots()) for block in blocks]
        return cls(
            kind,
            _class_of(kind).joined([(block.index, slots) for block, slots in chosen]),
            _keys(np.concatenate([block.subjects[slots] for block, slots in chosen])),
            _keys(np.concatenate([block.encounters[slots] for block, slots in chosen])),
        )

    def __len__(self) -> int:
        """All slots, those gone included."""
        return len(self.subjects)

    @property
    def present(self) -> int:
        return len(self) - (0 if self.gone is None else int(np.count_nonzero(self.gone)))

    @property
    def memory_bytes(self) -> int:
        gone = 0 if self.gone is None else self.gone.nbytes
        return self.index.memory_bytes + self.subjects.nbytes + self.encounters.nbytes + gone

    def tally(self, tally: _core.Tally, prepared: Any) -> None:
        """A first look at all that is present, added up by subject."""
        self.index.tally(tally, prepared, self.subjects, is_run=self.is_run, gone=self.gone)

    def present_slots(self) -> NDArray[np.int64]:
        return np.arange(len(self)) if self.gone is None else np.flatnonzero(~self.gone)

    def without(self, encounters: NDArray[np.int64]) -> Block:
        """The same, references of these encounters marked as gone."""
        gone = np.isin(self.encounters, encounters)
        if self.gone is not None:
            gone |= self.gone
        elif not gone.any():
            return self
        return replace(self, gone=gone)

    @cached_property
    def is_sorted(self) -> bool:
        """True where subjects stand in the order of their keys: all, but for further encounters."""
        return bool((self.subjects[1:] >= self.subjects[:-1]).all())

    def rows_of(self, slots: NDArray[np.int64], subjects: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where the owners of slots stand in ``subjects``, which is sorted and has them."""
        if self.is_run and self.gone is None:
            first = np.searchsorted(subjects, self._ends[0])
            return np.arange(first, first + len(slots))
        return np.searchsorted(subjects, self.subjects[slots])

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """The least and the largest key of a subject."""
        return int(self.subjects.min()), int(self.subjects.max())

    @cached_property
    def is_run(self) -> bool:
        """True where subjects are a run of keys, one slot each."""
        return self.is_sorted and bool((np.diff(self.subjects) == 1).all())

    def slots_of(self, subjects: NDArray[np.int64]) -> NDArray[np.int64]:
        """The slots of some subjects that are present; ``subjects`` is sorted."""
        first, last = self._ends
        begin, end = np.searchsorted(subjects, (first, last + 1))
        inside = subjects[begin:end]
        if self.is_run:
            slots = inside - first
            return slots if self.gone is None else slots[~self.gone[slots]]
        inside = inside.astype(self.subjects.dtype)
        if self.is_sorted:
            begin = np.searchsorted(self.subjects, inside, "left")
            count = np.searchsorted(self.subjects, inside, "right") - begin
            slots = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
        else:
            slots = np.flatnonzero(np.isin(self.subjects, inside))
        return slots if self.gone is None else slots[~self.gone[slots]]


@dataclass(frozen=True, eq=False)
class Segment:
    """All that is left of the templates with keys above ``after`` and up to ``last``.

    A segment that spans a whole multiple of ``SPAN`` is *sealed*: no template will come to it any more.

    Attributes:
        after, last: keys of templates in the store.
        blocks: in the order of their kinds.
    """

    after: int
    last: int
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, after: int, last: int, entries: Iterable[Entry]) -> Self:
        by_kind: dict[Kind, list[Entry]] = {}
        for entry in entries:
            by_kind.setdefault(Kind.of(entry.template), []).append(entry)
        return cls(after, last, tuple(Block.of(kind, own) for kind, own in sorted(by_kind.items())))

    @classmethod
    def joined(cls, segments: Sequence[Segment]) -> Self:
        """What is present in segments that follow each other."""
        by_kind: dict[Kind, list[Block]] = {}
        for segment in segments:
            for block in segment.blocks:
                if block.present:
                    by_kind.setdefault(block.kind, []).append(block)
        blocks = tuple(Block.joined(kind, own) for kind, own in sorted(by_kind.items()))
        return cls(segments[0].after, segments[-1].last, blocks)

    def __len__(self) -> int:
        """All slots, those gone included."""
        return sum(map(len, self.blocks))

    @property
    def present(self) -> int:
        return sum(block.present for block in self.blocks)

    @property
    def is_sealed(self) -> bool:
        return self.after % SPAN == 0 and self.last == self.after + SPAN

    def owned_by(self, owners: NDArray[np.int64]) -> Segment:
        """The same, where subject and encounter n are those of row n of ``owners``, (n, 2)."""
        blocks = (
            replace(
                block,
                subjects=_keys(owners[block.subjects, 0]),
                encounters=_keys(owners[block.encounters, 1]),
            )
            for block in self.blocks
        )
        return replace(self, blocks=tuple(blocks))

    def without(self, encounters: NDArray[np.int64]) -> Segment:
        """The same, references of these encounters marked as gone."""
        blocks = tuple(block.without(encounters) for block in self.blocks)
        if all(old is new for old, new in zip(self.blocks, blocks, strict=True)):
            return self
        return replace(self, blocks=blocks)


def appended(segments: Sequence[Segment], new: Segment) -> tuple[Segment, ...]:
    """Segments and a new one after them, joined with its neighbours so that there are never many.

    Small ones are joined where the one before is not twice as large, so each reference is copied some
    log2(n) times; when a span is full, all in it become one.
    """
    span = new.after // SPAN
    joined, size = 1, len(new)
    for segment in reversed(segments):
        if segment.after // SPAN != span or (len(segment) > 2 * size and new.last % SPAN):
            break
        joined += 1
        size += len(segment)
    parts = [*segments, new]
    tail = Segment.joined(parts[-joined:]) if joined > 1 else new
    return (*parts[:-joined], tail)


def block_of_arrays(
    kind: Kind, subjects: NDArray[Any], encounters: NDArray[Any], arrays: Mapping[str, NDArray[Any]]
) -> Block:
    """A block from what its parts were saved as.

    Raises:
        ValueError: where they do not belong together.
    """
    index = _class_of(kind).from_arrays(arrays)
    if not len(index) == len(subjects) == len(encounters):
        raise ValueError(f"{len(index)} templates, {len(subjects)} subjects, {len(encounters)} encounters")
    return Block(kind, index, subjects, encounters)


def comparable_blocks(segments: Sequence[Segment], template: Template) -> Iterator[Block]:
    """The blocks whose references a template may be compared with."""
    wanted = Kind.of(template)
    return (block for segment in segments for block in segment.blocks if block.kind.is_comparable(wanted))


class Probe(NamedTuple):
    """A template of a probe, and what :class:`Index` takes of it: made once for all blocks, looks and comparisons."""

    template: Template
    prepared: Any

    @classmethod
    def of(cls, template: Template) -> Self:
        return cls(
            template, EmbeddingProbe.of(template) if isinstance(template, Embedding) else ready(template)
        )


def _class_of(kind: Kind) -> Any:  # Any: the kind sees to it that each gets its own sort of template
    return EmbeddingIndex if kind.dimension else FingerIndex


def _keys(keys: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
    """Keys in as little memory as they need."""
    array = np.asarray(keys, np.int64)
    return array.astype(np.uint32) if not len(array) or array.max() < 2**32 else array
