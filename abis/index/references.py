# SPDX-License-Identifier: Apache-2.0
"""The references of a gallery in memory, kept in step with the store.

A search reads a :class:`ReferenceView`, which never changes. Following the store makes a new view, which replaces the
old one, so searches and enrolments do not wait for each other. A background thread does the longer work: it packs
segments with many removed references, and writes segments to files.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abis.comparison.coverage import Coverage
from abis.comparison.kind import Kind
from abis.errors import StoreError
from abis.index.segments import Entry, Segment, appended
from abis.index.sizes import WorkSizes
from abis.index.snapshots import Snapshots
from abis.store import Enrollment, Mark, State, Store, Tail, Written

__all__ = ["Progress", "ReferenceView", "References"]

_log = logging.getLogger("abis")

Progress = Callable[[int, int], None]
"""Called with the number of templates loaded and the number in all."""

_MOST_GONE = 4  # a segment is packed again when one in this many of its references is removed


@dataclass(frozen=True, eq=False)
class ReferenceView:
    """All references as of one change of the store. Immutable.

    Attributes:
        segments: in the order of enrolment.
        mark: the store's change and last template that the references include.
        subjects: number of subjects in the store.
        span: all keys of subjects are below it.
    """

    segments: tuple[Segment, ...] = ()
    mark: Mark = field(default_factory=Mark)
    subjects: int = 0
    span: int = 1

    @property
    def present(self) -> int:
        """Number of references that are not removed."""
        return sum(segment.present for segment in self.segments)

    @property
    def last_encounter(self) -> int:
        """Largest key of an encounter, removed ones included; 0 if there is none."""
        blocks = (block for segment in self.segments for block in segment.blocks)
        return max((int(block.encounters.max(initial=0)) for block in blocks), default=0)

    @property
    def memory_bytes(self) -> int:
        """RAM of all references and of their owners' keys, in bytes."""
        return sum(block.memory_bytes for segment in self.segments for block in segment.blocks)

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of all references."""
        return {block.kind for segment in self.segments for block in segment.blocks if block.present}

    def coverage(
        self, kinds: Iterable[Kind], among: NDArray[np.int64] | None = None, *, by_model: bool = False
    ) -> Coverage:
        """How many subjects have a reference of a kind comparable with the given ones.

        Args:
            kinds: of a probe's templates.
            among: sorted keys of the subjects to count; None counts all.
            by_model: take a subject that has no template of the given positions as compared: only another model leaves
                subjects out.
        """
        wanted = frozenset(kinds)
        if among is not None:
            return self._counted_coverage(wanted, among, by_model)
        if (wanted, by_model) not in self._coverages:
            self._coverages[wanted, by_model] = self._counted_coverage(wanted, None, by_model)
        return self._coverages[wanted, by_model]

    @cached_property
    def _coverages(self) -> dict[tuple[frozenset[Kind], bool], Coverage]:
        """The coverages asked for so far, by the kinds of the probe, and whether by model alone."""
        return {}

    def _counted_coverage(
        self, wanted: frozenset[Kind], among: NDArray[np.int64] | None, by_model: bool
    ) -> Coverage:
        others = {kind for kind in self.kinds if not any(kind.is_comparable(own) for own in wanted)}
        rivals = others
        if by_model:
            rivals = {kind for kind in others if any(kind.is_rival(own) for own in wanted)}
        if not rivals:
            subjects = self.subjects if among is None else len(among)
            return Coverage(subjects, subjects)
        left = self._subjects_with(rivals) & ~self._subjects_with(self.kinds - others)
        chosen = np.ones(self.span, np.bool_) if among is None else np.zeros(self.span, np.bool_)
        if among is not None:
            chosen[among[among < self.span]] = True
        subjects = self.subjects if among is None else len(among)
        kinds = {
            str(kind): int(np.count_nonzero(left & chosen & self._subjects_with({kind}))) for kind in others
        }
        return Coverage(
            subjects,
            subjects - int(np.count_nonzero(left & chosen)),
            {kind: count for kind, count in kinds.items() if count},
        )

    def _subjects_with(self, kinds: Set[Kind]) -> NDArray[np.bool_]:
        """(span,) bool, True for the keys of subjects with a reference of one of the kinds."""
        found = np.zeros(self.span, np.bool_)
        for segment in self.segments:
            for block in segment.blocks:
                if block.kind in kinds and block.gone is None and block.is_run:
                    first = int(block.subjects[0])
                    found[first : first + len(block)] = True
                elif block.kind in kinds:
                    found[block.subjects[block.present_slots()]] = True
        return found

    def followed(self, tail: Tail, *, span: int) -> ReferenceView:
        """A view with the changes that came after the mark; ``span`` is :attr:`WorkSizes.segment`."""
        segments = self._without(tail.removed)
        if tail.enrolled:
            entries = (Entry(t.subject, t.encounter, t.template) for t in tail.enrolled)
            new = Segment.of(_end(segments, self.mark, span), tail.mark.template, entries)
            segments = appended(segments, new, span=span)
        return ReferenceView(segments, tail.mark, tail.state.subjects, tail.state.last_subject + 1)

    def with_appended(self, segment: Segment, mark: Mark, state: State, *, span: int) -> ReferenceView:
        """A view with the references that one transaction has enrolled, which are of one span of ``span`` keys."""
        new = replace(segment, after=_end(self.segments, self.mark, span), last=mark.template)
        return ReferenceView(
            appended(self.segments, new, span=span), mark, state.subjects, state.last_subject + 1
        )

    def with_replaced(self, old: Segment, new: Segment) -> ReferenceView:
        """A view with a segment packed again. References removed from it meanwhile are removed from the new one too."""
        segments = []
        for segment in self.segments:
            if (segment.after, segment.last) == (old.after, old.last):
                gone = [b.encounters[b.gone] for b in segment.blocks if b.gone is not None]
                segments.append(new.without(np.concatenate([*gone, np.empty(0, np.int64)])))
            else:
                segments.append(segment)
        return replace(self, segments=tuple(segments))

    def _without(self, encounters: Sequence[int]) -> tuple[Segment, ...]:
        if not encounters:
            return self.segments
        keys = np.unique(np.array(encounters, np.int64))
        left = (segment.without(keys) for segment in self.segments)
        return tuple(segment for segment in left if segment.present)


class References:
    """The references of an open gallery. Safe for threads.

    Args:
        store: of the gallery.
        folder: for the segments' files; None keeps no files.
        sizes: how much is loaded and saved at once.
    """

    def __init__(self, store: Store, folder: Path | None, sizes: WorkSizes) -> None:
        self._store = store
        self._sizes = sizes
        self._snapshots = None if folder is None else Snapshots(folder, store)
        self._following = threading.Lock()  # held while the view is replaced
        self._view: ReferenceView | None = None
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="abis")
        self._kept: Future[None] | None = None
        self._saved = ReferenceView()  # the view that was saved last

    @property
    def is_loaded(self) -> bool:
        return self._view is not None

    @property
    def memory_bytes(self) -> int:
        return 0 if self._view is None else self._view.memory_bytes

    @property
    def changes_behind(self) -> int:
        """Changes of the store that are not followed yet; 0 before the references are loaded."""
        view = self._view
        return 0 if view is None else max(0, self._store.state().change - view.mark.change)

    def view(self, at_least: int | None = None) -> ReferenceView:
        """All references, as of the present change of the store or a later one.

        Args:
            at_least: number of a change that is late enough; 0 takes the references as they are in memory, without a
                query to the store. None asks the store for its present change.
        """
        now = self._store.state().change if at_least is None else at_least
        while True:
            view = self._view
            if view is not None and view.mark.change >= now:
                return view
            self.load()

    def load(self, progress: Progress | None = None) -> None:
        """Load all references, up to the store's present change.

        Args:
            progress: called while templates are loaded.

        Raises:
            StoreError: the store holds another number of templates than its counters state.
        """
        span = self._sizes.segment
        with self._following:
            view = self._opened(progress) if self._view is None else self._view
            complete = False
            while not complete:
                span_end = (view.mark.template // span + 1) * span
                tail = self._store.tail(view.mark, limit=self._sizes.load, last=span_end)
                view, complete = view.followed(tail, span=span), tail.complete
                if progress is not None:
                    progress(view.present, tail.state.templates)
            if view.present != tail.state.templates:
                raise StoreError(
                    f"{self._store.name}: {tail.state.templates:,} templates are enrolled, but "
                    f"{view.present:,} are found; `abis check` says more"
                )
            self._view = view
        self._keep()

    def prepare(self, enrollments: Sequence[Enrollment]) -> Segment | None:
        """Prepare references before they are enrolled; None if no references are loaded."""
        if self._view is None:
            return None
        entries = (Entry(row, row, t) for row, e in enumerate(enrollments) for t in e.templates)
        return Segment.of(0, 0, entries)

    def append(self, prepared: Segment | None, written: Written) -> None:
        """Add references that have just been enrolled.

        Args:
            prepared: result of :meth:`prepare`.
            written: the result of the enrolment.
        """
        if prepared is None:
            return
        with self._following:
            view = self._view
            span = self._sizes.segment
            fits = written.before.template // span == (written.after.template - 1) // span
            if view is not None and view.mark == written.before and fits:
                owned = prepared.owned_by(np.array(written.owners, np.int64))
                self._view = view.with_appended(owned, written.after, written.state, span=span)
        self.load()  # other processes may have written before

    def close(self, *, save: bool) -> None:
        """Stop the background thread; ``save`` writes segments that have no file yet."""
        self._keeper.shutdown(wait=True, cancel_futures=True)
        if save:
            self.save()
        self._view = None

    def save(self) -> None:
        """Write segments that have no file yet, if there are enough of them."""
        if self._view is not None and self._snapshots is not None:
            self._logged(self._follow_and_save)

    def scrub(self) -> None:
        """Delete removed references, and everything sealed by an older key, from the files.

        Snapshots in other cache folders on this machine are deleted. A snapshot on another machine is neither used nor
        kept when it is next opened there.

        Raises:
            StoreError: a file cannot be written.
        """
        others = self._store.scrub_snapshots()
        try:
            if self._snapshots is not None and self._snapshots.exist:
                view = self.view()
                self._snapshots.save(view.segments, view.mark.change, wait=True)
                self._saved = view
            for folder in others:
                if self._snapshots is None or not self._snapshots.is_in(folder):
                    Snapshots(folder, self._store).discard()
        except OSError as error:
            raise StoreError(
                f"{self._store.name}: snapshot files may still hold removed references: {error}"
            ) from error

    # ----------------------------------------------------------------------------------------- inside

    def _opened(self, progress: Progress | None) -> ReferenceView:
        """Return the view that the snapshot files contain; an empty one without files."""
        manifest = None if self._snapshots is None else self._snapshots.manifest()
        if self._snapshots is None or manifest is None:
            return ReferenceView()
        segments: list[Segment] = []
        total = self._store.state().templates
        for segment in self._snapshots.read(manifest, self._rebuilt):
            if segment.present:
                segments.append(segment)
            if progress is not None:
                progress(sum(s.present for s in segments), total)
        view = ReferenceView(tuple(segments), Mark(manifest.change, manifest.last))
        self._saved = view
        return view

    def _rebuilt(self, after: int, last: int) -> Segment:
        """A segment read from the store, as it is now."""
        parts = []
        mark = Mark(template=after)
        while mark.template < last:
            tail = self._store.tail(mark, limit=self._sizes.load, last=last)
            entries = (Entry(t.subject, t.encounter, t.template) for t in tail.enrolled)
            parts.append(Segment.of(mark.template, tail.mark.template, entries))
            if tail.complete:
                break
            mark = tail.mark
        return replace(Segment.joined(parts), after=after, last=last)

    def _keep(self) -> None:
        """Start the background work that is due."""
        view = self._view
        if view is None or (self._kept is not None and not self._kept.done()):
            return
        if _worn(view) or self._unsaved(view) >= self._sizes.save_beside:
            with suppress(RuntimeError):  # the gallery is being closed
                self._kept = self._keeper.submit(self._logged, self._tidy)

    def _tidy(self) -> None:
        view = self._view
        assert view is not None
        for segment in _worn(view):
            packed = Segment.joined([segment])
            with self._following:
                if self._view is not None:
                    self._view = self._view.with_replaced(segment, packed)
        self._save(self._view or view, worth=self._sizes.save_beside, wait=False)

    def _follow_and_save(self) -> None:
        for _ in range(2):  # again for references removed during the first pass
            self._save(self.view(), worth=self._sizes.save, wait=True)

    def _save(self, view: ReferenceView, *, worth: int, wait: bool) -> None:
        """Write a snapshot if ``worth`` templates or more are in none, or if a file has to be written again."""
        if self._snapshots is None or self._store.read_only:
            return
        is_due = (
            self._snapshots.is_faulty or self._unsaved(view) >= worth or (wait and self._has_removed(view))
        )
        if is_due and self._snapshots.save(view.segments, view.mark.change, wait=wait):
            self._saved = view

    def _unsaved(self, view: ReferenceView) -> int:
        saved = self._saved.mark.template if self._snapshots is not None else view.mark.template
        return sum(segment.present for segment in view.segments if segment.last > saved)

    def _has_removed(self, view: ReferenceView) -> bool:
        """True if files contain removed references."""
        present = {(s.after, s.last): s.present for s in view.segments}
        return any(present.get((s.after, s.last)) != s.present for s in self._saved.segments)

    @staticmethod
    def _logged(work: Callable[[], None]) -> None:
        """Do work whose failure is logged and must not stop the gallery."""
        try:
            work()
        except Exception:
            _log.exception("the gallery's references could not be tidied or saved; they stay as they were")


def _worn(view: ReferenceView) -> list[Segment]:
    return [s for s in view.segments if s.present and len(s) - s.present >= max(1, len(s) // _MOST_GONE)]


def _end(segments: Sequence[Segment], mark: Mark, span: int) -> int:
    """Return the key after which a new segment begins: that of the last segment, or the start of its span."""
    start = mark.template // span * span
    return max(segments[-1].last, start) if segments else start
