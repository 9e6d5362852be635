# SPDX-License-Identifier: Apache-2.0
"""The references of a gallery as immutable segments: packed for search, with their owners, kind by kind.

A segment is never changed, only replaced: by one with more of its references marked as removed, or by one that joins
several. A search keeps the segments that it began with, so searches and changes never wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.scoring.calibration import Calibration, Calibrations
from abis.template import Template
from abis.template.modality import modality_at, modality_of

__all__ = [
    "Block",
    "Entry",
    "Index",
    "NearestIndex",
    "NearestProbe",
    "Probe",
    "Segment",
    "appended",
    "block_of_arrays",
    "comparable_blocks",
]


class Index(Protocol):
    """References of one kind, slot by slot from 0: what a row of :mod:`abis.template.modality` names.

    The first look of a search differs. Where ``tells_nearest`` is True, the class has the methods of
    :class:`NearestIndex`, and its prepared probes have those of :class:`NearestProbe`. Fingers alone have a first look
    at every reference, :meth:`abis.index.finger_index.FingerIndex.tally`.
    """

    tells_nearest: ClassVar[bool]

    @classmethod
    def of(cls, templates: Sequence[Any]) -> Self:
        """An index of templates of one kind, at least one, slot by slot in their order."""

    @classmethod
    def joined(cls, parts: Sequence[tuple[Any, NDArray[np.int64]]]) -> Self:
        """An index of some slots of other indexes, in their order."""

    @staticmethod
    def ready(template: Any, calibration: Calibration) -> Any:
        """Prepare a probe once for many indexes and calls, with the calibration in force for such templates."""

    def __len__(self) -> int: ...

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""

    def sift(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, evidence of the second look at some slots, natural log units."""

    def refine(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, evidence of the third look at some slots, natural log units."""

    def compare(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """(m,) float32, raw scores of some slots, equal to the bit to those of the comparator."""

    def balance(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(m,) float64, :func:`abis.comparison.balance` of a template and some slots; None where there is none."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that :meth:`from_arrays` needs to make the same index."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The index that :meth:`arrays` was taken of. Raises ValueError if the arrays do not belong together."""


class NearestIndex(Index, Protocol):
    """An index whose first look tells the nearest references."""

    def nearest(self, probe: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Some similarity of the ``count`` nearest references, the largest first, and their slots."""


class NearestProbe(Protocol):
    """A prepared probe of a :class:`NearestIndex`."""

    def evidence_of(self, similarities: NDArray[Any]) -> NDArray[np.float32]:
        """(m,) float32, evidence of what :meth:`NearestIndex.nearest` gave, natural log units."""


class Entry(NamedTuple):
    """A reference and the keys of its subject and encounter."""

    subject: int
    encounter: int
    template: Template


@dataclass(frozen=True, eq=False)
class Block:
    """The references of one kind in a segment, slot by slot in the order of enrolment.

    Attributes:
        kind: kind of all references.
        index: the references, packed for search.
        subjects: (n,) uint32 or int64, key of the subject of each reference.
        encounters: (n,) uint32 or int64, key of the encounter of each reference.
        gone: (n,) bool, True where a reference has been removed; None where none has.
    """

    kind: Kind
    index: Index
    subjects: NDArray[Any]
    encounters: NDArray[Any]
    gone: NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, kind: Kind, entries: Sequence[Entry]) -> Self:
        """A block of some references of the kind."""
        return cls(
            kind,
            _class_of(kind).of([entry.template for entry in entries]),
            _keys([entry.subject for entry in entries]),
            _keys([entry.encounter for entry in entries]),
        )

    @classmethod
    def joined(cls, kind: Kind, blocks: Sequence[Block]) -> Self:
        """A block of all references that are present in some blocks of the kind."""
        chosen = [(block, block.present_slots()) for block in blocks]
        return cls(
            kind,
            _class_of(kind).joined([(block.index, slots) for block, slots in chosen]),
            _keys(np.concatenate([block.subjects[slots] for block, slots in chosen])),
            _keys(np.concatenate([block.encounters[slots] for block, slots in chosen])),
        )

    def __len__(self) -> int:
        """Number of slots, removed references included."""
        return len(self.subjects)

    @property
    def present(self) -> int:
        """Number of references that are not removed."""
        return len(self) - (0 if self.gone is None else int(np.count_nonzero(self.gone)))

    @property
    def memory_bytes(self) -> int:
        """RAM held, in bytes."""
        gone = 0 if self.gone is None else self.gone.nbytes
        return self.index.memory_bytes + self.subjects.nbytes + self.encounters.nbytes + gone

    def balance(self, probe: Any, slots: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(m,) float64, :func:`abis.comparison.balance` of a template and some slots; None where there is none."""
        return self.index.balance(probe, slots)

    def present_slots(self) -> NDArray[np.int64]:
        """(m,) int64, the slots whose references are not removed."""
        return np.arange(len(self)) if self.gone is None else np.flatnonzero(~self.gone)

    def without(self, encounters: NDArray[np.int64]) -> Block:
        """The same, with the references of these encounters marked as removed."""
        gone = np.isin(self.encounters, encounters)
        if self.gone is not None:
            gone |= self.gone
        elif not gone.any():
            return self
        return replace(self, gone=gone)

    @cached_property
    def is_sorted(self) -> bool:
        """True if the keys of subjects ascend. Later encounters of a subject break the order."""
        return bool((self.subjects[1:] >= self.subjects[:-1]).all())

    def rows_of(self, slots: NDArray[np.int64], subjects: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m,) int64, where the subjects of slots stand in ``subjects``, which is sorted and contains them."""
        if self.is_run and self.gone is None:
            first = np.searchsorted(subjects, self._ends[0])
            return np.arange(first, first + len(slots))
        return np.searchsorted(subjects, self.subjects[slots])

    @cached_property
    def _ends(self) -> tuple[int, int]:
        """The smallest and the largest key of a subject."""
        return int(self.subjects.min()), int(self.subjects.max())

    @cached_property
    def is_run(self) -> bool:
        """True if the subjects have consecutive keys and one slot each."""
        return self.is_sorted and bool((np.diff(self.subjects) == 1).all())

    def slots_of(self, subjects: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m,) int64, the slots of some subjects that are not removed; ``subjects`` is sorted."""
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
    """The references with template keys above ``after`` and up to ``last`` that are in the store.

    Attributes:
        after: template key; the segment begins behind it.
        last: largest template key that belongs to the segment.
        blocks: one for each kind, in the order of kinds.
    """

    after: int
    last: int
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, after: int, last: int, entries: Iterable[Entry]) -> Self:
        """A segment of some references, in the order of their keys."""
        by_kind: dict[Kind, list[Entry]] = {}
        for entry in entries:
            by_kind.setdefault(Kind.of(entry.template), []).append(entry)
        return cls(after, last, tuple(Block.of(kind, own) for kind, own in sorted(by_kind.items())))

    @classmethod
    def joined(cls, segments: Sequence[Segment]) -> Self:
        """A segment of all references that are present in consecutive segments."""
        by_kind: dict[Kind, list[Block]] = {}
        for segment in segments:
            for block in segment.blocks:
                if block.present:
                    by_kind.setdefault(block.kind, []).append(block)
        blocks = tuple(Block.joined(kind, own) for kind, own in sorted(by_kind.items()))
        return cls(segments[0].after, segments[-1].last, blocks)

    def __len__(self) -> int:
        """Number of slots, removed references included."""
        return sum(map(len, self.blocks))

    @property
    def present(self) -> int:
        """Number of references that are not removed."""
        return sum(block.present for block in self.blocks)

    def owned_by(self, owners: NDArray[np.int64]) -> Segment:
        """The same with other owners: subject and encounter n become those of row n of ``owners``, (n, 2)."""
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
        """The same, with the references of these encounters marked as removed."""
        blocks = tuple(block.without(encounters) for block in self.blocks)
        if all(old is new for old, new in zip(self.blocks, blocks, strict=True)):
            return self
        return replace(self, blocks=blocks)


def appended(segments: Sequence[Segment], new: Segment, *, span: int) -> tuple[Segment, ...]:
    """Append a segment, and join it with its neighbours so that there are never many.

    A segment is joined with the one before unless that is more than twice as large, so each reference is copied about
    log2(n) times. When a span is full, all its segments become one, and no template is added to it any more.

    Args:
        segments: segments so far, in the order of keys.
        new: segment after the last one.
        span: template keys that a full segment spans (:attr:`abis.index.sizes.WorkSizes.segment`).
    """
    joined, size = 1, len(new)
    for segment in reversed(segments):
        if segment.after // span != new.after // span or (len(segment) > 2 * size and new.last % span):
            break
        joined += 1
        size += len(segment)
    parts = [*segments, new]
    tail = Segment.joined(parts[-joined:]) if joined > 1 else new
    return (*parts[:-joined], tail)


def block_of_arrays(
    kind: Kind, subjects: NDArray[Any], encounters: NDArray[Any], arrays: Mapping[str, NDArray[Any]]
) -> Block:
    """Make a block of saved arrays.

    Args:
        kind: kind of the references.
        subjects: (n,) keys of subjects.
        encounters: (n,) keys of encounters.
        arrays: what ``arrays`` of the block's index gave.

    Raises:
        ValueError: if the arrays do not belong together.
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
    """A template of a probe, prepared once for all blocks, looks and comparisons.

    Attributes:
        template: the template.
        prepared: what the methods of :data:`Index` take.
    """

    template: Template
    prepared: Any

    @classmethod
    def of(cls, template: Template, calibrations: Calibrations | None = None) -> Self:
        """Prepare a template.

        Args:
            template: of any modality.
            calibrations: those in force; None for the shipped ones.

        Raises:
            NotCalibrated: the template is of a kind that has no calibration.
        """
        calibration = (calibrations or Calibrations.of()).for_template(template)
        return cls(template, modality_of(template).index().ready(template, calibration))

    @property
    def tells_nearest(self) -> bool:
        """Whether the first look tells the nearest references, or the evidence of every one."""
        return modality_of(self.template).index().tells_nearest


def _class_of(kind: Kind) -> type[Index]:
    return modality_at(kind.position).index()


def _keys(keys: Sequence[int] | NDArray[Any]) -> NDArray[Any]:
    """Keys as uint32 if they fit, else as int64."""
    array = np.asarray(keys, np.int64)
    return array.astype(np.uint32) if not len(array) or array.max() < 2**32 else array
