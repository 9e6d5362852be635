# SPDX-License-Identifier: Apache-2.0
"""The references of a gallery in memory, which follow the store.

Searches read a :class:`View`, which never changes; whoever follows the store makes another one and puts it in
its place. So searches and enrolments do not wait for each other. What takes longer, packing segments of which
much has been removed and writing them to files, is done by one thread beside.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from abis.comparison.kind import Kind
from abis.errors import StoreError
from abis.index.segments import SPAN, Entry, Segment, appended
from abis.index.snapshots import Snapshots
from abis.store import Enrollment, Mark, State, Store, Tail, Written

__all__ = ["Progress", "References", "View"]

_log = logging.getLogger("abis")

Progress = Callable[[int, int], None]
"""Is called with the templates loaded so far and the templates in all."""

_LOAD_BATCH = 10_000  # templates read at once: some 5 MB
_WORTH_SAVING = 5_000  # templates, when the gallery is closed: they would take a second to prepare anew ...
_WORTH_SAVING_BESIDE = SPAN // 4  # ... and at any time
_MOST_GONE = 4  # a segment is packed anew when one in so many of its references is gone


@dataclass(frozen=True, eq=False)
class View:
    """All references as of one change of the store.

    Attributes:
        segments: in the order of enrolment.
        mark: how far they follow the store.
        subjects: in the store.
        span: every subject's key is below it.
    """

    segments: tuple[Segment, ...] = ()
    mark: Mark = field(default_factory=Mark)
    subjects: int = 0
    span: int = 1

    @property
    def present(self) -> int:
        """How many references there are."""
        return sum(segment.present for segment in self.segments)

    @property
    def last_encounter(self) -> int:
        """The largest key of an encounter, those gone included; 0 where there is none."""
        blocks = (block for segment in self.segments for block in segment.blocks)
        return max((int(block.encounters.max(initial=0)) for block in blocks), default=0)

    @property
    def memory_bytes(self) -> int:
        """Memory of all references and of the record of whose they are."""
        return sum(block.memory_bytes for segment in self.segments for block in segment.blocks)

    @property
    def kinds(self) -> set[Kind]:
        """The kinds of which there are references."""
        return {block.kind for segment in self.segments for block in segment.blocks if block.present}

    def followed(self, tail: Tail) -> View:
        """With the changes that came after its mark."""
        segments = self._without(tail.removed)
        if tail.enrolled:
            entries = (Entry(t.subject, t.encounter, t.template) for t in tail.enrolled)
            new = Segment.of(_end(segments, self.mark), tail.mark.template, entries)
            segments = appended(segments, new)
        return View(segments, tail.mark, tail.state.subjects, tail.state.last_subject + 1)

    def with_appended(self, segment: Segment, mark: Mark, state: State) -> View:
        """With what one transaction has enrolled, all of one span."""
        new = replace(segment, after=_end(self.segments, self.mark), last=mark.template)
        return View(appended(self.segments, new), mark, state.subjects, state.last_subject + 1)

    def with_replaced(self, old: Segment, new: Segment) -> View:
        """With a segment packed anew; what has been removed from it meanwhile is gone from the new one too."""
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
    """What a gallery searches, and how it comes to be.

    Args:
        store: the truth.
        folder: where segments are kept as files; None for nowhere.
    """

    def __init__(self, store: Store, folder: Path | None) -> None:
        self._store = store
        self._snapshots = None if folder is None else Snapshots(folder, store)
        self._following = threading.Lock()  # held by who is about to change the view
        self._view: View | None = None
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="abis")
        self._kept: Future[None] | None = None
        self._saved = View()  # as of the last snapshot

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

    def view(self, at_least: int | None = None) -> View:
        """All references, as of the present change of the store or a later one.

        Args:
            at_least: number of a change that is late enough; 0 takes the references as they are in memory, without a
                question to the store. None asks the store for its present change.
        """
        now = self._store.state().change if at_least is None else at_least
        while True:
            view = self._view
            if view is not None and view.mark.change >= now:
                return view
            self.load()

    def load(self, progress: Progress | None = None) -> None:
        """Follow the store to its present end."""
        with self._following:
            view = self._opened(progress) if self._view is None else self._view
            complete = False
            while not complete:
                span_end = (view.mark.template // SPAN + 1) * SPAN
                tail = self._store.tail(view.mark, limit=_LOAD_BATCH, last=span_end)
                view, complete = view.followed(tail), tail.complete
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
        """What is to be enrolled, made ready before it is; None where it is not needed."""
        if self._view is None:
            return None
        entries = (Entry(row, row, t) for row, e in enumerate(enrollments) for t in e.templates)
        return Segment.of(0, 0, entries)

    def append(self, prepared: Segment | None, written: Written) -> None:
        """Take in what has just been enrolled."""
        if prepared is None:
            return
        with self._following:
            view = self._view
            fits = written.before.template // SPAN == (written.after.template - 1) // SPAN
            if view is not None and view.mark == written.before and fits:
                owned = prepared.owned_by(np.array(written.owners, np.int64))
                self._view = view.with_appended(owned, written.after, written.state)
        self.load()  # what others wrote before it, if anyone did

    def close(self, *, save: bool) -> None:
        """End the work beside; ``save`` writes what is not in files yet."""
        self._keeper.shutdown(wait=True, cancel_futures=True)
        if save:
            self.save()
        self._view = None

    def save(self) -> None:
        """Write what is not in files yet, and is worth it."""
        if self._view is not None and self._snapshots is not None:
            self._logged(self._follow_and_save)

    def scrub(self) -> None:
        """Leave nothing in files of what has been removed, and nothing sealed by an older key.

        Snapshots in other cache folders on this machine are removed. One on another machine is neither used nor kept
        once it is opened there.
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
                f"{self._store.name}: what is prepared may still hold what was removed: {error}"
            ) from error

    # ----------------------------------------------------------------------------------------- inside

    def _opened(self, progress: Progress | None) -> View:
        """What there is in files."""
        manifest = None if self._snapshots is None else self._snapshots.manifest()
        if self._snapshots is None or manifest is None:
            return View()
        segments: list[Segment] = []
        total = self._store.state().templates
        for segment in self._snapshots.read(manifest, self._rebuilt):
            if segment.present:
                segments.append(segment)
            if progress is not None:
                progress(sum(s.present for s in segments), total)
        view = View(tuple(segments), Mark(manifest.change, manifest.last))
        self._saved = view
        return view

    def _rebuilt(self, after: int, last: int) -> Segment:
        """A segment from the store, as it is now."""
        parts = []
        mark = Mark(template=after)
        while mark.template < last:
            tail = self._store.tail(mark, limit=_LOAD_BATCH, last=last)
            entries = (Entry(t.subject, t.encounter, t.template) for t in tail.enrolled)
            parts.append(Segment.of(mark.template, tail.mark.template, entries))
            if tail.complete:
                break
            mark = tail.mark
        return replace(Segment.joined(parts), after=after, last=last)

    def _keep(self) -> None:
        """Have done beside what there is to do."""
        view = self._view
        if view is None or (self._kept is not None and not self._kept.done()):
            return
        if _worn(view) or self._unsaved(view) >= _WORTH_SAVING_BESIDE:
            with suppress(RuntimeError):  # being closed
                self._kept = self._keeper.submit(self._logged, self._tidy)

    def _tidy(self) -> None:
        view = self._view
        assert view is not None
        for segment in _worn(view):
            packed = Segment.joined([segment])
            with self._following:
                if self._view is not None:
                    self._view = self._view.with_replaced(segment, packed)
        self._save(self._view or view, worth=_WORTH_SAVING_BESIDE, wait=False)

    def _follow_and_save(self) -> None:
        for _ in range(2):  # again for what was removed while it was written
            self._save(self.view(), worth=_WORTH_SAVING, wait=True)

    def _save(self, view: View, *, worth: int, wait: bool) -> None:
        """Write a snapshot if as many templates as ``worth`` are in none, or it is not as it should be."""
        if self._snapshots is None:
            return
        is_due = (
            self._snapshots.is_faulty or self._unsaved(view) >= worth or (wait and self._has_removed(view))
        )
        if is_due and self._snapshots.save(view.segments, view.mark.change, wait=wait):
            self._saved = view

    def _unsaved(self, view: View) -> int:
        saved = self._saved.mark.template if self._snapshots is not None else view.mark.template
        return sum(segment.present for segment in view.segments if segment.last > saved)

    def _has_removed(self, view: View) -> bool:
        """Whether files hold what has been removed."""
        present = {(s.after, s.last): s.present for s in view.segments}
        return any(present.get((s.after, s.last)) != s.present for s in self._saved.segments)

    @staticmethod
    def _logged(work: Callable[[], None]) -> None:
        """Work whose failure must not be lost, and must not stop anything."""
        try:
            work()
        except Exception:
            _log.exception("the gallery's references could not be tidied or saved; they stay as they were")


def _worn(view: View) -> list[Segment]:
    return [s for s in view.segments if s.present and len(s) - s.present >= max(1, len(s) // _MOST_GONE)]


def _end(segments: Sequence[Segment], mark: Mark) -> int:
    """Where a new segment begins: behind the others, or at the beginning of its span."""
    start = mark.template // SPAN * SPAN
    return max(segments[-1].last, start) if segments else start
