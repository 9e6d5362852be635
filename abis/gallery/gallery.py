# SPDX-License-Identifier: Apache-2.0
"""The gallery: enroll, remove, verify, identify. The one stateful noun.

The store is the truth; verification reads it directly. Identification compares with
:class:`abis.index.references.References`, which follow the store's changes before each use, whoever made them:
this thread, another one, or another process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from abis.comparison.kind import check_models
from abis.deduplication import Duplicates, FoundPair, Newcomers, Uniqueness, deduplicate
from abis.errors import AlreadyEnrolled, DuplicateFound, StoreError, TemplateError
from abis.gallery.registry import Registry
from abis.identification.search import Found, Wanted, search
from abis.index.references import Progress, References, View
from abis.index.segments import Probe, comparable_blocks
from abis.parallel import in_parallel
from abis.results import Candidate, GalleryInfo, Identification
from abis.scoring import fusion
from abis.scoring.calibration import Calibrations
from abis.store import FIRST_ENCOUNTER, Enrollment, State, Store, checked_templates, lifecycle, once
from abis.store.encryption import KeyService, MasterKey
from abis.template import Template

__all__ = ["Gallery", "Progress"]

_ENROLL_BATCH = 1_000  # enrollments of one transaction: the sync to disk is spread over so many


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

    def __init__(self, store: Store, folder: Path | None = None) -> None:
        super().__init__(store)
        self._references = References(store, folder)

    @classmethod
    def open(
        cls,
        path_or_url: str | os.PathLike[str],
        *,
        load: bool = True,
        cache: str | os.PathLike[str] | None = None,
        key: KeyService | None = None,
        progress: Progress | None = None,
    ) -> Gallery:
        """Open a gallery; create it where there is none.

        Args:
            path_or_url: a folder, or the URL of a database of its own, ``postgresql+psycopg://…``.
            load: prepare all references for identification now. False leaves that to the first
                ``identify`` or ``load``; ``enroll``, ``remove`` and ``verify`` need none.
            cache: a folder for what is prepared, so that the next opening need not prepare it again: by
                default ``derived`` in the gallery's folder; none where a URL is given.
            key: the master key; by default that of the environment, ``ABIS_KEY`` (base64) or
                ``ABIS_KEY_FILE``, if it has one. A gallery made with a key is encrypted.
            progress: called while references are loaded.

        Raises:
            StoreError: where this is no gallery, or one that cannot be used; an encrypted one without
                its key, or a key for one that is not encrypted.
        """
        target = os.fspath(path_or_url)
        url = target if "://" in target else _database_in(Path(target))
        folder = None if "://" in target else Path(target) / "derived"
        store = Store(url, key=key or MasterKey.from_environment())
        gallery = cls(store, folder if cache is None else Path(cache))
        try:
            if load:
                gallery.load(progress=progress)
        except BaseException:
            gallery._close(save=False)
            raise
        return gallery

    @property
    def store(self) -> Store:
        """Where the gallery's truth is: for imports, exports and upkeep."""
        return self._store

    def close(self) -> None:
        """Close the gallery. All that was enrolled is on disk already; what was prepared is written now."""
        self._close(save=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close(save=kind is None)

    def _close(self, *, save: bool) -> None:
        self._references.close(save=save)
        self._store.close()

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

    @property
    def memory_bytes(self) -> int:
        """Memory of the references loaded, 0 before they are."""
        return self._references.memory_bytes

    def info(self) -> GalleryInfo:
        """What the gallery holds and takes. Counts templates, which takes a second per some millions."""
        state = self._store.state()
        return GalleryInfo(
            subjects=state.subjects,
            encounters=state.encounters,
            templates=self._store.templates_by_position(),
            memory_bytes=self._references.memory_bytes,
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
        unique: bool = False,
        fpir: float = 1e-4,
    ) -> None:
        """Enroll a new subject, or a further encounter. Once this has returned it survives any crash.

        Args:
            subject_id: 1 to 255 characters.
            templates: one or more, of any positions.
            encounter_id: names the capture session; needed for every one of a subject but the first.
            labels: partitions the subject belongs to, added to those it has.
            level: assurance level of the subject, 0 to 9; None leaves it as it is.
            unique: only whoever is not in the gallery under another subject_id: a search among all decides,
                and one among those who have been enrolled by others in the meantime, while nobody can be.
            fpir: false positive identification rate of that search.

        Raises:
            AlreadyEnrolled: where no encounter_id is given and the subject is enrolled, or this
                encounter of it is.
            DuplicateFound: where it is to be unique and there are candidates; it carries them.
        """
        enrollment = Enrollment(subject_id, templates, encounter_id, labels, level)
        self.enroll_many([enrollment], unique=unique, fpir=fpir)

    def enroll_many(
        self, enrollments: Iterable[Enrollment], *, unique: bool = False, fpir: float = 1e-4
    ) -> int:
        """Enroll many, a thousand in a transaction: far faster than one by one.

        Each thousand is enrolled as a whole or, where an error is raised, not at all; those before it
        stay. To watch the progress, wrap the iterable: ``gallery.enroll_many(rich.progress.track(…))``.

        Args:
            enrollments: any number.
            unique: as for :meth:`enroll`; also among themselves. It takes the time of a search for each.
            fpir: likewise.

        Returns:
            How many there were.

        Raises:
            AlreadyEnrolled: as for :meth:`enroll`.
            DuplicateFound: likewise.
        """
        count = 0
        source = iter(enrollments)
        while batch := list(islice(source, _ENROLL_BATCH)):
            check = self._unique(batch, fpir) if unique else None
            prepared = self._references.prepare(batch)  # now, lest the next identify pay for it
            self._references.append(prepared, self._store.enroll(batch, also=check))
            count += len(batch)
        return count

    def enroll_once(
        self,
        enrollments: Sequence[Enrollment],
        request: str,
        *,
        also: Callable[[sa.Connection], None] | None = None,
    ) -> bool:
        """Enroll all in one transaction, or none; and nothing at all where this request was done before.

        So who got no answer, because a process or the network died, asks again without fear to enroll twice,
        or to be told that somebody is enrolled already who was enrolled by this very request. A request is
        remembered for a day.

        Args:
            enrollments: some thousand at most: they are one transaction.
            request: made by :func:`abis.store.once.new_request` before it is first sent.
            also: called in the transaction; where it raises, nothing is enrolled.

        Returns:
            Whether they have been enrolled now.

        Raises:
            AlreadyEnrolled: as for :meth:`enroll`, where others have enrolled them.
        """
        if once.is_done(self._store, request):
            return False
        prepared = self._references.prepare(enrollments)

        def noted(connection: sa.Connection, _: State) -> None:
            once.note(connection, request)
            if also is not None:
                also(connection)

        try:
            written = self._store.enroll(enrollments, also=noted)
        except (AlreadyEnrolled, StoreError):
            if once.is_done(self._store, request):  # by the first asking, which was still at work
                return False
            raise
        self._references.append(prepared, written)
        return True

    def _unique(self, batch: Sequence[Enrollment], fpir: float) -> Callable[[sa.Connection, State], None]:
        """Refuse duplicates; returns what looks again at the end of the transaction that enrolls them.

        Whoever enrolls is alone then, so all that others have enrolled can be seen: no two copies of a person
        get past each other.
        """
        before = self._references.view()
        newcomers = Newcomers(
            batch, fpir=fpir, calibrations=self._calibrations(t for e in batch for t in e.templates)
        )
        for pair in newcomers.among_themselves(before.subjects + len(batch)):
            one, other = batch[pair.probe - 1], batch[pair.reference - 1]
            evidence = tuple(
                replace(e, encounter_id=other.encounter_id or FIRST_ENCOUNTER) for e in pair.evidence
            )
            candidate = Candidate(1, other.subject_id, pair.score, pair.threshold, evidence)
            raise DuplicateFound(one.subject_id, [candidate])
        # To the end: the one found first may be the subject itself, who has come for a further encounter.
        look = partial(self._identify, wanted=Wanted(fpir=fpir, to_the_end=True))
        for enrollment, found in zip(batch, in_parallel(look, (e.templates for e in batch)), strict=True):
            _refuse(enrollment, found)

        def look_again(_connection: sa.Connection, _state: State) -> None:
            view = self._references.view()
            if view.mark.change == before.mark.change:
                return
            pairs = newcomers.among(view, after_encounter=before.last_encounter)
            for number, own in groupby(pairs, key=lambda pair: pair.probe):
                _refuse(batch[number - 1], self._candidates_of(list(own)))

        return look_again

    def _candidates_of(self, pairs: Sequence[FoundPair]) -> list[Candidate]:
        """References of a probe as candidates, the best first."""
        named = self._store.named(
            [pair.reference for pair in pairs], {key for pair in pairs for key in pair.encounters}
        )
        ordered = sorted(pairs, key=lambda pair: (-pair.score, named.subjects[pair.reference]))
        return [
            Candidate(
                rank,
                named.subjects[pair.reference],
                pair.score,
                pair.threshold,
                pair.with_names(named.encounters).evidence,
                named.statuses[pair.reference],
            )
            for rank, pair in enumerate(ordered, 1)
        ]

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
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        gallery_size: int | None = None,
    ) -> Identification:
        """Who is this?

        Three cheap looks at the references leave a shortlist of subjects: see :mod:`abis.identification.screening`. All
        comparable references of these are then compared in full. Of several fingers the richest looks first, and
        the others only where nobody is found beyond doubt: who is enrolled twice may be listed once.
        docs/gallery.md says what all that may lose.

        Args:
            templates: the probe.
            max_candidates: list at most so many.
            fpir: list only what reaches the threshold of this false positive identification rate at the
                gallery's present size; None lists the best, however low.
            share: of the gallery that gets more than a first look by one good finger, above 0, at most 1, which is
                everyone. More loses less, and takes longer.
            labels: look only among subjects that have any of these; None for everyone.
            exact: compare with everyone in full.
            gallery_size: subjects in all, for ``fpir``, where this gallery is one part of several that are searched;
                None where it is all there is.

        Raises:
            TemplateError: where probe and gallery have embeddings of different models only.
        """
        wanted = Wanted(max_candidates, fpir, share, exact, gallery_size)
        return self._identify(templates, wanted, labels)

    def _identify(
        self, templates: Sequence[Template], wanted: Wanted, labels: Sequence[str] | None = None
    ) -> Identification:
        probe = checked_templates(templates)
        calibrations = self._calibrations(probe)
        prepared = [Probe.of(template) for template in probe]
        while True:
            view, among = self._view(labels)
            check_models(probe, view.kinds)
            found = search(prepared, view, among, calibrations, wanted)
            candidates = self._candidates(found, wanted.max_candidates)
            if candidates is not None:
                self.record("identify", "", f"{len(candidates)} candidates")
                return Identification(
                    candidates,
                    compared=sum(map(len, found.comparisons)),
                    comparable=sum(b.present for t in probe for b in comparable_blocks(view.segments, t)),
                    gallery_size=view.subjects,
                    fpir=wanted.fpir,
                )
            if self._store.state().change == view.mark.change:  # else: one of them has gone since; look again
                raise StoreError(f"{self._store.name}: subjects or encounters of its templates are missing")

    def identify_many(
        self,
        probes: Iterable[Sequence[Template]],
        *,
        max_candidates: int = 10,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        gallery_size: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Identification | TemplateError]:
        """Who are these? Several probes at a time, one on each core.

        Probes are taken from the iterable a few ahead, and results come in their order as soon as they are
        there; so any number of probes takes no more memory than some. Each is searched as by
        :meth:`identify`, among what is enrolled when its turn comes.

        Args:
            probes: templates of each.
            max_candidates: as for :meth:`identify`.
            fpir: likewise.
            share: likewise.
            labels: likewise.
            exact: likewise.
            gallery_size: likewise.
            progress: called with the number of probes searched so far.

        Yields:
            What :meth:`identify` gives; where it raises a TemplateError, that, and the others go on.
        """
        options = {
            "max_candidates": max_candidates,
            "fpir": fpir,
            "share": share,
            "labels": labels,
            "exact": exact,
            "gallery_size": gallery_size,
        }

        def search(probe: Sequence[Template]) -> Identification | TemplateError:
            try:
                return self.identify(probe, **options)  # type: ignore[arg-type]
            except TemplateError as error:
                return error

        for done, result in enumerate(in_parallel(search, probes), 1):
            if progress is not None:
                progress(done)
            yield result

    def deduplicate(
        self,
        *,
        fpir: float | None = None,
        threshold: float | None = None,
        since: int | None = None,
        exact: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Duplicates:
        """Who is enrolled twice? Every pair of subjects is held against each other, each once.

        The score of a pair is that of :meth:`identify` with all templates of the one enrolled later, to the
        bit. Two looks leave few pairs to be compared in full: docs/deduplication.md says what that may lose.

        Args:
            fpir: list what reaches the threshold of this false positive identification rate, for a search by
                each subject among all: of N subjects without a duplicate, at most N * fpir / 2 false pairs are
                to be expected. 1e-4 where no threshold is given either.
            threshold: list pairs of at least this score instead, a log10 likelihood ratio.
            since: hold only those against all of whom something was enrolled after this change of the
                gallery: :attr:`Duplicates.change` of an earlier run. Pairs of others are not looked at again.
            exact: compare everyone with everyone in full: some 60 microseconds a pair of fingers.
            checkpoint: a file that remembers what has been done. Where there is one, the job that was stopped
                goes on, as of the change at which it began. It stays until you remove it.
            progress: called with the pairs worked off and those in all.

        Raises:
            StoreError: where the checkpoint is of a job that was asked something else.
        """
        if fpir is None and threshold is None:
            fpir = 1e-4
        view, calibrations = self.references_now()
        found = deduplicate(
            self._store,
            view,
            calibrations,
            fpir=fpir,
            threshold=threshold,
            exact=exact,
            since=since,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=progress,
        )
        self.record("deduplicate", "", f"{len(found)} pairs")
        return found

    def uniqueness(self, *, fpir: float = 1e-4) -> Uniqueness:
        """For :func:`abis.transfer.importing.import_records`: let nobody in who is here under another subject_id.

        Loads the references where they are not loaded yet.

        Args:
            fpir: false positive identification rate of the search that each record is.
        """
        return Uniqueness(self._store, self._references.view, self._calibrations, fpir=fpir)

    def references_now(self) -> tuple[View, Calibrations]:
        """All references as of now and the calibrations of their kinds, for :func:`abis.deduplication.find_pairs`."""
        view = self._references.view()
        return view, self._calibrations_of_kinds(kind.calibrated_as for kind in view.kinds)

    def _view(self, labels: Sequence[str] | None) -> tuple[View, NDArray[np.int64] | None]:
        """All references, and the sorted keys of who has any of the labels, as of the same change of the store.

        Between the two there is hardly time for a change; were a merge to come in there, the one that is left would
        be known by its new labels, and by its old references only.
        """
        while True:
            view = self._references.view()
            if labels is None:
                return view, None
            subjects, change = lifecycle.keys_with_labels(self._store, labels)
            if change == view.mark.change:
                return view, subjects

    def _candidates(self, found: Found, most: int) -> tuple[Candidate, ...] | None:
        """Name, order and explain; None where the store does not know a name any more."""
        comparisons = [c.where(np.isin(c.subject, found.subjects)) for c in found.comparisons]
        encounters = {encounter for c in comparisons for encounter in c.encounter.tolist()}
        named = self._store.named(found.subjects.tolist(), encounters)
        if len(named.subjects) < len(found.subjects) or len(named.encounters) < len(encounters):
            return None
        limits = [None] * len(found.subjects) if found.thresholds is None else found.thresholds.tolist()
        rows = sorted(
            zip(found.scores.tolist(), found.subjects.tolist(), limits, strict=True),
            key=lambda row: (-row[0], named.subjects[row[1]]),
        )[:most]
        evidence = fusion.explain_each(comparisons, named.encounters)
        return tuple(
            Candidate(rank, named.subjects[key], score, limit, evidence[key], named.statuses[key])
            for rank, (score, key, limit) in enumerate(rows, 1)
        )

    # ------------------------------------------------------------------------- following the store

    def _follow_store(self) -> None:
        if self._references.is_loaded:
            self.load()  # now, lest the next identify pay for it

    def _scrub_derived(self) -> None:
        self._references.scrub()

    def load(self, *, progress: Progress | None = None) -> None:
        """Prepare all references that are not yet, so that the next identification need not wait."""
        self._references.load(progress)

    def save(self) -> None:
        """Write what is prepared to files now, where that is worth while, as :meth:`close` does."""
        self._references.save()


def _refuse(enrollment: Enrollment, found: Sequence[Candidate]) -> None:
    """Raise where there are candidates other than the subject itself."""
    others = [candidate for candidate in found if candidate.subject_id != enrollment.subject_id]
    if others:
        raise DuplicateFound(enrollment.subject_id, others)


def _database_in(folder: Path) -> sa.URL:
    """Of a gallery's folder, made where absent, for its owner alone."""
    database = folder / "store.sqlite"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()) and not database.exists():  # in this order: others may be making it
            raise StoreError(f"{folder}: not a gallery: a folder with files in it, but no {database.name}")
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: no folder for a gallery: {error.strerror}") from error
    return sa.URL.create("sqlite", database=str(database))
