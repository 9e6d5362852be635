# SPDX-License-Identifier: Apache-2.0
"""A whole gallery in memory, ready to be compared in full, or by a cheap look that leaves a shortlist.

Everything here is derived from the store and can be thrown away. Fingers stand in the packed references
of the C++ core, one block a position; embeddings in FAISS, one index a position, model and length. Both
answer the same: which references are nearest to a probe, and how much they are like it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from abis.comparison import FingerReferences, cosine
from abis.kind import Kind
from abis.template import Embedding, Position, Template

__all__ = ["EmbeddingReferences", "RawScores", "References"]

_REMOVED = 0  # in the place of a subject's key; the store's keys begin at 1


class EmbeddingReferences:
    """Embeddings of one model, in float16 inside a FAISS index and nowhere else.

    The same four things as :class:`abis.comparison.FingerReferences`: slots are numbered from 0 in the
    order of extension; those removed stay, wiped, and are not to be compared again. Any number of threads
    may compare at once, but none while another extends or removes.
    """

    def __init__(self, dimension: int) -> None:
        self._index = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self._capacity = 0  # slots that the index has memory for
        self._removed: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        """All slots, removed ones included."""
        return int(self._index.ntotal)

    @property
    def memory_bytes(self) -> int:
        """Memory held for the vectors."""
        return self._capacity * int(self._index.code_size)

    def extend(self, templates: Sequence[Embedding]) -> range:
        """Take embeddings of this dimension in; returns their slots."""
        first = len(self)
        self._reserve(first + len(templates))
        vectors = np.array([t.vector for t in templates], np.float32).reshape(-1, self._index.d)
        self._index.add(vectors)  # to float16 again, which is exact
        return range(first, len(self))

    def remove(self, slots: NDArray[np.int64]) -> None:
        """Wipe slots out; their number is not given again."""
        self._vectors()[slots] = 0
        self._removed = np.union1d(self._removed, slots)

    def compare(self, probe: Embedding, slots: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Raw scores (cosines) of the given slots, or of all."""
        return cosine(probe, self._vectors(), slots)

    def nearest(self, probe: Embedding, count: int) -> NDArray[np.int64]:
        """The slots of the ``count`` best references by FAISS' arithmetic, or of all if there are fewer."""
        count = min(count, len(self) - len(self._removed))
        if count <= 0:
            return np.empty(0, np.int64)
        parameters = None
        if len(self._removed):
            present = faiss.IDSelectorNot(faiss.IDSelectorBatch(self._removed))
            parameters = faiss.SearchParameters()
            parameters.sel = present
        _, slots = self._index.search(probe.vector[np.newaxis].astype(np.float32), count, params=parameters)
        found: NDArray[np.int64] = slots[0]
        return found

    def _vectors(self) -> NDArray[np.float16]:
        """(n, d), the index's own memory: not valid any more once it has grown."""
        if not len(self):
            return np.empty((0, self._index.d), np.float16)
        codes: NDArray[np.uint8] = faiss.rev_swig_ptr(
            self._index.codes.data(), len(self) * self._index.code_size
        )
        return codes.view(np.float16).reshape(len(self), self._index.d)

    def _reserve(self, slots: int) -> None:
        """Grow by an eighth; left to itself the vector of codes would double."""
        if slots > self._capacity:
            self._capacity = slots + slots // 8
            self._index.codes.resize(self._capacity * self._index.code_size)
            self._index.codes.resize(len(self) * self._index.code_size)


class RawScores(NamedTuple):
    """A probe template against n references of one position; good until the references next change.

    Attributes:
        position: of the references.
        subject: (n,) int64, key of each one's subject.
        encounter: (n,) int64, key of each one's encounter.
        raw: (n,) float32, comparison scores.
    """

    position: Position
    subject: NDArray[np.int64]
    encounter: NDArray[np.int64]
    raw: NDArray[np.float32]


class References:
    """Every reference of a gallery and whose it is. Not locked: that is the gallery's business.

    Subjects and encounters are known by the store's keys, in two numbers a reference; names stay in the
    store. Encounters must come in the order of their keys.
    """

    def __init__(self) -> None:
        self._blocks: dict[Kind, _Block] = {}
        self.subject_span = 1  # every subject's key is below it

    @property
    def present(self) -> int:
        """How many references there are."""
        return sum(block.present for block in self._blocks.values())

    @property
    def removed(self) -> int:
        """How many removed references still take room."""
        return sum(len(block.subjects) - block.present for block in self._blocks.values())

    @property
    def memory_bytes(self) -> int:
        """Memory of all references and of the record of whose they are."""
        return sum(
            block.references.memory_bytes + block.subjects.memory_bytes + block.encounters.memory_bytes
            for block in self._blocks.values()
        )

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of which there are references."""
        return {kind for kind, block in self._blocks.items() if block.present}

    def extend(self, entries: Iterable[tuple[int, int, Template]]) -> None:
        """Take references in, each with the keys of its subject and encounter."""
        by_kind: dict[Kind, list[tuple[int, int, Template]]] = {}
        for entry in entries:
            by_kind.setdefault(Kind.of(entry[2]), []).append(entry)
        for kind, own in by_kind.items():
            if kind not in self._blocks:
                self._blocks[kind] = _Block(kind)
                self._blocks = dict(sorted(self._blocks.items()))
            self._blocks[kind].extend(own)
            self.subject_span = max(self.subject_span, 1 + max(subject for subject, _, _ in own))

    def remove(self, encounters: Iterable[int]) -> None:
        """Forget all references of these encounters; those unknown here are passed over."""
        keys = np.unique(np.fromiter(encounters, np.int64))
        for block in self._blocks.values():
            block.remove(keys)

    def comparable(self, probe: Template) -> int:
        """How many references may be compared with a template."""
        return sum(block.present for _, block in self._comparable(probe))

    def compare(self, probe: Template, among: NDArray[np.bool_] | None = None) -> list[RawScores]:
        """Compare a template in full with every comparable reference, or with some subjects' only.

        Args:
            probe: of any position.
            among: (``subject_span``,), True at the keys of the subjects wanted; None for everyone.
        """
        return [block.compare(probe, kind.position, among) for kind, block in self._comparable(probe)]

    def nearest(self, probe: Template, count: int) -> NDArray[np.int64]:
        """Keys of the subjects whose references are nearest to a template: ``count`` of each comparable kind.

        By a cheap look: :meth:`abis.comparison.FingerReferences.nearest`, or FAISS for an embedding.
        """
        near = [
            block.subjects.values[block.references.nearest(probe, count)]
            for _, block in self._comparable(probe)
        ]
        return np.unique(np.concatenate([np.empty(0, np.int64), *near]))

    def _comparable(self, probe: Template) -> Iterator[tuple[Kind, _Block]]:
        wanted = Kind.of(probe)
        return ((kind, block) for kind, block in self._blocks.items() if kind.is_comparable(wanted))


class _Block:
    """The references of one kind, and the keys of their owners, slot by slot."""

    def __init__(self, kind: Kind) -> None:
        # Any: the two are used alike, and the kind sees to it that each gets its own sort of template.
        self.references: Any = EmbeddingReferences(kind.dimension) if kind.dimension else FingerReferences()
        self.subjects = _Column()
        self.encounters = _Column()
        self.present = 0

    def extend(self, entries: Sequence[tuple[int, int, Any]]) -> None:
        self.references.extend([template for _, _, template in entries])
        self.subjects.extend([subject for subject, _, _ in entries])
        self.encounters.extend([encounter for _, encounter, _ in entries])
        self.present += len(entries)

    def remove(self, encounters: NDArray[np.int64]) -> None:
        first = np.searchsorted(self.encounters.values, encounters, "left")
        last = np.searchsorted(self.encounters.values, encounters, "right")
        slots = np.concatenate([np.empty(0, np.int64), *map(np.arange, first, last)])
        slots = slots[self.subjects.values[slots] != _REMOVED]
        if len(slots):
            self.references.remove(slots)
            self.subjects.values[slots] = _REMOVED
            self.present -= len(slots)

    def compare(self, probe: Any, position: Position, among: NDArray[np.bool_] | None) -> RawScores:
        subjects, encounters = self.subjects.values, self.encounters.values
        slots = None
        if among is not None:
            slots = np.flatnonzero(among[subjects])
        elif self.present < len(subjects):
            slots = np.flatnonzero(subjects != _REMOVED)
        raw = self.references.compare(probe, slots)
        if slots is None:
            return RawScores(position, subjects, encounters, raw)
        return RawScores(position, subjects[slots], encounters[slots], raw)


class _Column:
    """A growing array of keys."""

    def __init__(self) -> None:
        self._array: NDArray[np.int64] = np.empty(0, np.int64)
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def values(self) -> NDArray[np.int64]:
        """(n,), a view that is good until the next extension."""
        return self._array[: self._length]

    @property
    def memory_bytes(self) -> int:
        return self._array.nbytes

    def extend(self, keys: Sequence[int]) -> None:
        length = self._length + len(keys)
        if length > len(self._array):
            grown = np.empty(length + length // 8, np.int64)
            grown[: self._length] = self.values
            self._array = grown
        self._array[self._length : length] = keys
        self._length = length
