# SPDX-License-Identifier: Apache-2.0
"""The gallery: enroll, remove, verify, identify. The one stateful noun.

The store is the truth; verification reads it directly. Identification compares with
:class:`abis.screening.References`, which follow the store's changes before each use, whoever made them:
this thread, another one, or another process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from abis import fusion
from abis.calibration import threshold_for_fpir
from abis.encryption import KeyService, MasterKey
from abis.errors import StoreError
from abis.fusion import Comparisons
from abis.locks import ReadersWriter
from abis.registry import Registry
from abis.results import Candidate, GalleryInfo, Identification
from abis.screening import References
from abis.store import Enrollment, Mark, Store, checked_templates, lifecycle
from abis.template import Template
from abis.verification import check_models

__all__ = ["Gallery", "Progress"]

Progress = Callable[[int, int], None]
"""Is called with the templates loaded so far and the templates in all."""

_ENROLL_BATCH = 1_000  # enrollments of one transaction: the sync to disk is spread over so many
_LOAD_BATCH = 10_000  # templates read at once: some 5 MB
_SHORTLIST = 100  # references of each kind that a template brings to the full comparison, at least ...
_SHORTLIST_SHARE = 1_000  # ... or one in so many, which adds 2 % to the time; benchmarks/screening.py


class Gallery(Registry):
    """The set of enrolled subjects.

    Threads may call any method at any time, and several processes may have the same gallery open (open it
    after a fork, not before). An identification sees every enrolment and removal that had returned when
    it began, and never a part of one.

    >>> import tempfile
    >>> from abis.template import Embedding
    >>> with tempfile.TemporaryDirectory() as folder, Gallery.open(f"{folder}/citizens.abis") as gallery:
    ...     gallery.enroll("079203001234", [Embedding(vector=[0.6, 0.8, 0.0, 0.0], model="demo")])
    ...     gallery.enroll("079203005678", [Embedding(vector=[0.8, -0.6, 0.0, 0.0], model="demo")])
    ...     probe = [Embedding(vector=[0.6, 0.8, 0.1, 0.0], model="demo")]
    ...     gallery.identify(probe, max_candidates=1)[0].subject_id, "079203005678" in gallery
    ('079203001234', True)
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._lock = ReadersWriter()
        self._is_loaded = False
        self._references = References()
        self._mark = Mark()  # how far the references follow the store
        self._subjects = 0  # in the store, as of the mark

    @classmethod
    def open(
        cls,
        path_or_url: str | os.PathLike[str],
        *,
        load: bool = True,
        key: KeyService | None = None,
        progress: Progress | None = None,
    ) -> Gallery:
        """Open a gallery; create it where there is none.

        Args:
            path_or_url: a folder, or the URL of a database of its own, ``postgresql+psycopg://…``.
            load: prepare all references for identification now. False leaves that to the first
                ``identify`` or ``load``; ``enroll``, ``remove`` and ``verify`` need none.
            key: the master key; by default that of the environment, ``ABIS_KEY`` (base64) or
                ``ABIS_KEY_FILE``, if it has one. A gallery made with a key is encrypted.
            progress: called while references are loaded.

        Raises:
            StoreError: where this is no gallery, or one that cannot be used; an encrypted one without
                its key, or a key for one that is not encrypted.
        """
        target = os.fspath(path_or_url)
        url = target if "://" in target else _database_in(Path(target))
        gallery = cls(Store(url, key=key or MasterKey.from_environment()))
        try:
            if load:
                gallery.load(progress=progress)
        except BaseException:
            gallery.close()
            raise
        return gallery

    @property
    def store(self) -> Store:
        """Where the gallery's truth is: for imports, exports and upkeep."""
        return self._store

    def close(self) -> None:
        """Close the gallery. All that was enrolled is on disk already."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gallery({self._store.name!r})"

    def __len__(self) -> int:
        """Subjects enrolled."""
        return self._store.state().subjects

    def __bool__(self) -> bool:
        return True  # an empty gallery is still a gallery

    def __contains__(self, subject_id: object) -> bool:
        return subject_id in self._store

    def __iter__(self) -> Iterator[str]:
        """All subject_ids in the order of enrolment, read page by page."""
        return self._store.subject_ids()

    def info(self) -> GalleryInfo:
        """What the gallery holds and takes. Counts templates, which takes a second per some millions."""
        state = self._store.state()
        with self._lock.reading():
            memory = self._references.memory_bytes
        return GalleryInfo(
            subjects=state.subjects,
            encounters=state.encounters,
            templates=self._store.templates_by_position(),
            memory_bytes=memory,
            disk_bytes=self._store.disk_bytes(),
            change=state.change,
            schema_version=state.schema_version,
        )

    # ------------------------------------------------------------------------------------- enrolment

    def enroll(
        self,
        subject_id: str,
        templates: Sequence[Template],
        *,
        encounter_id: str | None = None,
        labels: Sequence[str] = (),
        level: int | None = None,
    ) -> None:
        """Enroll a new subject, or a further encounter. Once this has returned it survives any crash.

        Args:
            subject_id: 1 to 255 characters.
            templates: one or more, of any positions.
            encounter_id: names the capture session; needed for every one of a subject but the first.
            labels: partitions the subject belongs to, added to those it has.
            level: assurance level of the subject, 0 to 9; None leaves it as it is.

        Raises:
            AlreadyEnrolled: where no encounter_id is given and the subject is enrolled, or this
                encounter of it is.
        """
        self.enroll_many([Enrollment(subject_id, templates, encounter_id, labels, level)])

    def enroll_many(self, enrollments: Iterable[Enrollment]) -> int:
        """Enroll many, a thousand in a transaction: far faster than one by one.

        Each thousand is enrolled as a whole or, where an error is raised, not at all; those before it
        stay. To watch the progress, wrap the iterable: ``gallery.enroll_many(rich.progress.track(…))``.

        Returns:
            How many there were.

        Raises:
            AlreadyEnrolled: as for :meth:`enroll`.
        """
        count = 0
        source = iter(enrollments)
        while batch := list(islice(source, _ENROLL_BATCH)):
            self._store.enroll(batch)
            count += len(batch)
            self._follow_store()
        return count

    def remove(self, subject_id: str, *, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; with the last encounter goes the subject.

        Raises:
            NotEnrolled: where there is no such subject or encounter.
        """
        self._store.remove(subject_id, encounter_id)
        self._follow_store()

    # ------------------------------------------------------------------------------------ comparison

    def identify(
        self,
        templates: Sequence[Template],
        *,
        max_candidates: int = 10,
        fpir: float | None = None,
        exact: bool = False,
    ) -> Identification:
        """Who is this?

        A cheap look at every reference leaves a shortlist: for each template of the probe, the subjects of
        the nearest references, a hundred, ten times ``max_candidates`` or a thousandth of the gallery,
        whichever is most. All comparable references of these are then compared in full. docs/gallery.md
        says what that may lose.

        Args:
            templates: the probe.
            max_candidates: list at most so many.
            fpir: list only what reaches the threshold of this false positive identification rate at the
                gallery's present size; None lists the best, however low.
            exact: compare with everyone in full.

        Raises:
            TemplateError: where probe and gallery have embeddings of different models only.
        """
        probe = checked_templates(templates)
        if max_candidates < 1:
            raise ValueError(f"max_candidates is {max_candidates}; expected 1 or more")
        while True:
            with self._up_to_date() as references:
                change, size = self._mark.change, self._subjects
                threshold = None if fpir is None else threshold_for_fpir(fpir, max(size, 1))
                check_models(probe, references.kinds)
                shortlist = max(_SHORTLIST, 10 * max_candidates, size // _SHORTLIST_SHARE)
                comparisons = _compare(probe, references, None if exact else shortlist)
                compared = sum(map(len, comparisons))
                scores = fusion.fuse(comparisons, references.subject_span)
                best = _best(scores, max_candidates, threshold)
                comparisons = [c.where(np.isin(c.subject, best)) for c in comparisons]
                comparable = sum(references.comparable(template) for template in probe)
            candidates = self._candidates(best, scores[best], comparisons, max_candidates)
            if candidates is not None:
                self._record("identify", "", f"{len(candidates)} candidates")
                return Identification(candidates, compared, comparable, size, threshold)
            if self._store.state().change == change:  # else: one of them has been removed since; look again
                raise StoreError(f"{self._store.name}: subjects or encounters of its templates are missing")

    def _candidates(
        self,
        subjects: NDArray[np.int64],
        scores: NDArray[np.float64],
        comparisons: Sequence[Comparisons],
        max_candidates: int,
    ) -> tuple[Candidate, ...] | None:
        """Name, order and explain; None where the store does not know a name any more."""
        names = self._store.names(subjects.tolist())
        if len(names) < len(subjects):
            return None
        keys_by_rank = sorted(
            zip(scores.tolist(), subjects.tolist(), strict=True), key=lambda row: (-row[0], names[row[1]])
        )[:max_candidates]
        chosen = np.array([subject for _, subject in keys_by_rank], np.int64)
        comparisons = [c.where(np.isin(c.subject, chosen)) for c in comparisons]
        encounters = {int(encounter) for c in comparisons for encounter in c.encounter}
        encounter_ids = self._store.encounter_names(encounters)
        if len(encounter_ids) < len(encounters):
            return None
        status = lifecycle.statuses(self._store, chosen.tolist())
        if len(status) < len(chosen):
            return None
        evidence = fusion.explain_each(comparisons, encounter_ids)
        return tuple(
            Candidate(rank, names[subject], score, evidence[subject], status[subject])
            for rank, (score, subject) in enumerate(keys_by_rank, 1)
        )

    # ------------------------------------------------------------------------- following the store

    def _follow_store(self) -> None:
        if self._is_loaded:
            self.load()  # now, lest the next identify pay for it

    def load(self, *, progress: Progress | None = None) -> None:
        """Prepare all references that are not yet, so that the next identification need not wait."""
        with self._lock.writing():
            self._follow(progress)
            if self._references.removed > max(self._references.present, _LOAD_BATCH):
                self._forget()  # too many gaps: begin anew
                self._follow(progress)
            self._is_loaded = True

    @contextmanager
    def _up_to_date(self) -> Iterator[References]:
        """The references, as of this moment or later, kept from changing meanwhile."""
        now = self._store.state().change
        while True:
            with self._lock.reading():
                if self._is_loaded and self._mark.change >= now:
                    yield self._references
                    return
            self.load()

    def _follow(self, progress: Progress | None) -> None:
        try:
            complete = False
            while not complete:
                tail = self._store.tail(self._mark, limit=_LOAD_BATCH)
                self._references.remove(tail.removed)
                self._references.extend((t.subject, t.encounter, t.template) for t in tail.enrolled)
                self._mark, self._subjects, complete = tail.mark, tail.state.subjects, tail.complete
                if progress is not None:
                    progress(self._references.present, tail.state.templates)
        except BaseException:  # also Ctrl-C: what is half followed cannot be trusted
            self._forget()
            raise

    def _forget(self) -> None:
        self._is_loaded = False
        self._references = References()
        self._mark = Mark()
        self._subjects = 0


def _compare(probe: Sequence[Template], references: References, shortlist: int | None) -> list[Comparisons]:
    """Compare a probe in full with everyone, or with the ``shortlist`` nearest to any of its templates."""
    among = None
    if shortlist is not None:
        among = np.zeros(references.subject_span, np.bool_)
        for template in probe:
            among[references.nearest(template, shortlist)] = True
    return [c for template in probe for c in _compare_one(template, references, among)]


def _compare_one(
    template: Template, references: References, among: NDArray[np.bool_] | None
) -> list[Comparisons]:
    return [
        Comparisons.of(template, r.position, subject=r.subject, encounter=r.encounter, raw=r.raw)
        for r in references.compare(template, among)
    ]


def _best(scores: NDArray[np.float64], count: int, threshold: float | None = None) -> NDArray[np.int64]:
    """Where the ``count`` largest scores stand, and all that equal the last of them. NaN is none."""
    found = np.flatnonzero(~np.isnan(scores) if threshold is None else scores >= threshold)
    if len(found) <= count:
        return found
    last = np.partition(scores[found], -count)[-count]
    best: NDArray[np.int64] = found[scores[found] >= last]
    return best


def _database_in(folder: Path) -> sa.URL:
    """Of a gallery's folder, made where absent; SQLite makes the file."""
    database = folder / "store.sqlite"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not database.exists():  # in this order: others may be making it
            raise StoreError(f"{folder}: not a gallery: a folder with files in it, but no {database.name}")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: no folder for a gallery: {error.strerror}") from error
    return sa.URL.create("sqlite", database=str(database))
