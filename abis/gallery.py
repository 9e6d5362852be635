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
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from abis import comparison, fusion
from abis.calibration import Calibration, Calibrations, kind_of
from abis.errors import StoreError, TemplateError
from abis.fusion import Comparisons
from abis.locks import ReadersWriter
from abis.results import Candidate, GalleryInfo, Identification, Verification
from abis.screening import Kind, References
from abis.store import Enrollment, Mark, Store, StoredTemplate, checked_templates
from abis.template import Position, Template
from abis.thresholds import Compared, threshold_for_fmr, threshold_for_fpir

__all__ = ["Gallery", "Progress"]

Progress = Callable[[int, int], None]
"""Is called with the templates loaded so far and the templates in all."""

_ENROLL_BATCH = 1_000  # enrollments of one transaction: the sync to disk is spread over so many
_LOAD_BATCH = 10_000  # templates read at once: some 5 MB
_SHORTLIST = 100  # references of each kind that a template brings to the full comparison, at least ...
_SHORTLIST_SHARE = 1_000  # ... or one in so many, which adds 2 % to the time; benchmarks/screening.py


class Gallery:
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
        self._store = store
        self._lock = ReadersWriter()
        self._is_loaded = False
        self._references = References()
        self._mark = Mark()  # how far the references follow the store
        self._subjects = 0  # in the store, as of the mark
        self._own_calibrations: dict[str, Calibration | None] = {}  # by kind; None where it has none

    @classmethod
    def open(
        cls, path_or_url: str | os.PathLike[str], *, load: bool = True, progress: Progress | None = None
    ) -> Gallery:
        """Open a gallery; create it where there is none.

        Args:
            path_or_url: a folder, or the URL of a database of its own, ``postgresql+psycopg://…``.
            load: prepare all references for identification now. False leaves that to the first
                ``identify`` or ``load``; ``enroll``, ``remove`` and ``verify`` need none.
            progress: called while references are loaded.

        Raises:
            StoreError: where this is no gallery, or one that cannot be used.
        """
        target = os.fspath(path_or_url)
        gallery = cls(Store(target if "://" in target else _database_in(Path(target))))
        try:
            if load:
                gallery.load(progress=progress)
        except BaseException:
            gallery.close()
            raise
        return gallery

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
        self, subject_id: str, templates: Sequence[Template], *, encounter_id: str | None = None
    ) -> None:
        """Enroll a new subject, or a further encounter. Once this has returned it survives any crash.

        Args:
            subject_id: 1 to 255 characters.
            templates: one or more, of any positions.
            encounter_id: names the capture session; needed for every one of a subject but the first.

        Raises:
            AlreadyEnrolled: where no encounter_id is given and the subject is enrolled, or this
                encounter of it is.
        """
        self.enroll_many([Enrollment(subject_id, templates, encounter_id)])

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
            if self._is_loaded:
                self.load()  # now, lest the next identify pay for it
        return count

    def remove(self, subject_id: str, *, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; with the last encounter goes the subject.

        Raises:
            NotEnrolled: where there is no such subject or encounter.
        """
        self._store.remove(subject_id, encounter_id)
        if self._is_loaded:
            self.load()

    # ------------------------------------------------------------------------------------ comparison

    def verify(self, templates: Sequence[Template], subject_id: str, *, fmr: float = 1e-6) -> Verification:
        """Is this the subject it claims to be?

        Args:
            templates: the probe.
            subject_id: the claim.
            fmr: false match rate to decide at, above 0, at most 1. The threshold follows from it and from what
                was compared: so many fingers, a face, so many references of each.

        Raises:
            NotEnrolled: where there is no such subject.
            TemplateError: where probe and subject have embeddings of different models only.
        """
        probe = checked_templates(templates)
        calibrations = self._calibrations(probe)
        references = self._store.references(subject_id)
        _check_models(probe, {Kind.of(reference.template) for reference in references})
        comparisons = [c for template in probe for c in _compare_with_own(template, references, calibrations)]
        threshold = threshold_for_fmr(fmr, fusion.compared_by(comparisons, np.zeros(1, np.int64))[0][0])
        evidence = fusion.explain(comparisons, 0, {r.encounter: r.encounter_id for r in references})
        score = float(fusion.fuse(comparisons, 1)[0]) if evidence else 0.0
        return Verification(bool(evidence) and score >= threshold, score, threshold, evidence)

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
        calibrations = self._calibrations(probe)
        if max_candidates < 1:
            raise ValueError(f"max_candidates is {max_candidates}; expected 1 or more")
        while True:
            with self._up_to_date() as references:
                change, size = self._mark.change, self._subjects
                _check_models(probe, references.kinds)
                shortlist = max(_SHORTLIST, 10 * max_candidates, size // _SHORTLIST_SHARE)
                comparisons = _compare(probe, references, None if exact else shortlist, calibrations)
                compared = sum(map(len, comparisons))
                scores = fusion.fuse(comparisons, references.subject_span)
                thresholds = None
                if fpir is not None:
                    thresholds = _thresholds(
                        comparisons, scores, partial(threshold_for_fpir, fpir, max(size, 1))
                    )
                best = _best(scores, max_candidates, thresholds)
                comparisons = [c.where(np.isin(c.subject, best)) for c in comparisons]
                comparable = sum(references.comparable(template) for template in probe)
            candidates = self._candidates(
                best,
                scores[best],
                None if thresholds is None else thresholds[best],
                comparisons,
                max_candidates,
            )
            if candidates is not None:
                return Identification(candidates, compared, comparable, size, fpir)
            if self._store.state().change == change:  # else: one of them has been removed since; look again
                raise StoreError(f"{self._store.name}: subjects or encounters of its templates are missing")

    def _candidates(
        self,
        subjects: NDArray[np.int64],
        scores: NDArray[np.float64],
        thresholds: NDArray[np.float64] | None,
        comparisons: Sequence[Comparisons],
        max_candidates: int,
    ) -> tuple[Candidate, ...] | None:
        """Name, order and explain; None where the store does not know a name any more."""
        names = self._store.names(subjects.tolist())
        if len(names) < len(subjects):
            return None
        limits = [None] * len(subjects) if thresholds is None else thresholds.tolist()
        rows = sorted(
            zip(scores.tolist(), subjects.tolist(), limits, strict=True),
            key=lambda row: (-row[0], names[row[1]]),
        )[:max_candidates]
        chosen = np.array([subject for _, subject, _ in rows], np.int64)
        comparisons = [c.where(np.isin(c.subject, chosen)) for c in comparisons]
        encounters = {int(encounter) for c in comparisons for encounter in c.encounter}
        encounter_ids = self._store.encounter_names(encounters)
        if len(encounter_ids) < len(encounters):
            return None
        return tuple(
            Candidate(
                rank, names[subject], score, threshold, fusion.explain(comparisons, subject, encounter_ids)
            )
            for rank, (score, subject, threshold) in enumerate(rows, 1)
        )

    # ------------------------------------------------------------------------------- calibrations

    def calibrate(self, calibration: Calibration) -> None:
        """Have comparisons of a kind of templates scored by this calibration from now on, and keep it.

        Scores and thresholds of fingers, or of the embeddings of one model, change with it; what is enrolled
        does not. Another process that has the gallery open sees it when it next opens the gallery.

        Args:
            calibration: one that ``abis calibrate`` or :func:`abis.evaluation.fit` made, or a shipped one of
                another extractor: ``shipped("minutiae-leader")``.
        """
        self._store.set_calibration(calibration.kind, calibration.to_json())
        self._own_calibrations[calibration.kind] = calibration

    def calibration(self, template: Template) -> Calibration:
        """The calibration that comparisons with such a template get."""
        return self._calibrations([template]).for_template(template)

    def _calibrations(self, templates: Sequence[Template]) -> Calibrations:
        for kind in {kind_of(template) for template in templates}:
            if kind not in self._own_calibrations:
                text = self._store.calibration(kind)
                self._own_calibrations[kind] = None if text is None else Calibration.from_json(text)
        return Calibrations.of(c for c in self._own_calibrations.copy().values() if c is not None)

    # ------------------------------------------------------------------------- following the store

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


def _compare(
    probe: Sequence[Template], references: References, shortlist: int | None, calibrations: Calibrations
) -> list[Comparisons]:
    """Compare a probe in full with everyone, or with the ``shortlist`` nearest to any of its templates."""
    among = None
    if shortlist is not None:
        among = np.zeros(references.subject_span, np.bool_)
        for template in probe:
            among[references.nearest(template, shortlist)] = True
    return [c for template in probe for c in _compare_one(template, references, among, calibrations)]


def _compare_one(
    template: Template, references: References, among: NDArray[np.bool_] | None, calibrations: Calibrations
) -> list[Comparisons]:
    return [
        Comparisons.of(
            template,
            r.position,
            subject=r.subject,
            encounter=r.encounter,
            raw=r.raw,
            calibrations=calibrations,
        )
        for r in references.compare(template, among)
    ]


def _compare_with_own(
    template: Template, references: Sequence[StoredTemplate], calibrations: Calibrations
) -> Iterator[Comparisons]:
    """Compare a probe template with the comparable references of one subject, called subject 0."""
    kind = Kind.of(template)
    by_position: dict[Position, list[StoredTemplate]] = {}
    for reference in references:
        if Kind.of(reference.template).is_comparable(kind):
            by_position.setdefault(reference.template.position, []).append(reference)
    for position, own in by_position.items():
        yield Comparisons.of(
            template,
            position,
            subject=np.zeros(len(own), np.int64),
            encounter=np.array([reference.encounter for reference in own], np.int64),
            raw=comparison.raw_scores(template, [reference.template for reference in own]),
            calibrations=calibrations,
        )


def _thresholds(
    comparisons: Sequence[Comparisons], scores: NDArray[np.float64], threshold: Callable[[Compared], float]
) -> NDArray[np.float64]:
    """(n,) of each subject, by what it was compared by; NaN where it was not."""
    subjects = np.flatnonzero(~np.isnan(scores))
    ways, way = fusion.compared_by(comparisons, subjects)
    thresholds = np.full(len(scores), np.nan)
    thresholds[subjects] = np.array([threshold(compared) for compared in ways])[way]
    return thresholds


def _best(
    scores: NDArray[np.float64], count: int, thresholds: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Where the ``count`` largest scores stand, and all that equal the last of them. NaN is none."""
    found = np.flatnonzero(~np.isnan(scores) if thresholds is None else scores >= thresholds)
    if len(found) <= count:
        return found
    last = np.partition(scores[found], -count)[-count]
    best: NDArray[np.int64] = found[scores[found] >= last]
    return best


def _check_models(probe: Sequence[Template], kinds: Iterable[Kind]) -> None:
    """Refuse a probe that cannot be compared because its embeddings are of other models."""
    own = {Kind.of(template) for template in probe}
    kinds = set(kinds)
    if any(mine.is_comparable(kind) for mine in own for kind in kinds):
        return
    others = {kind for kind in kinds if kind.dimension and kind.position in {mine.position for mine in own}}
    if others:
        raise TemplateError(
            f"the probe has {', '.join(sorted(map(str, own)))}, which cannot be compared with "
            f"the references' {', '.join(sorted(map(str, others)))}"
        )


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
