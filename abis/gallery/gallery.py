# SPDX-License-Identifier: Apache-2.0
"""The gallery of enrolled subjects: the one object of this library that has a state.

The store is the truth, and verification reads it directly. Identification compares with references in memory,
which follow the store's changes before each search, whichever thread or process made them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from abis.deduplication import Duplicates, deduplicate
from abis.errors import (
    ArgumentError,
    ArgumentTypeError,
    StoreError,
    TemplateError,
    UnreachableThreshold,
)
from abis.formats import Format
from abis.gallery import searching, subject_export, unusual
from abis.gallery.answer_policy import AnswerPolicy, disclosed_verification
from abis.gallery.enrolment import UniquenessCheck
from abis.gallery.internals import Internals
from abis.gallery.subject_export import SubjectExport
from abis.gallery.verifying import attempts_of, logged_verifications
from abis.identification.search import SearchOptions, as_labels
from abis.index.coverage import counted_kinds, kind_sets, mutual_coverage
from abis.index.references import Progress
from abis.results import GalleryInfo, Identification, Outcome, Verification
from abis.scoring.calibration import Calibration
from abis.scoring.thresholds import unreachable
from abis.store import (
    Enrollment,
    Fault,
    ListedSubject,
    Status,
    Store,
    Subject,
    audit,
    audit_log,
    checked_templates,
    checking,
    erasure,
    keys,
    lifecycle,
    maintenance,
    not_enrolled,
)
from abis.store.audit import AuditEntry
from abis.store.encryption import KeyService, MasterKey
from abis.store.erasure import Expired, Tombstone
from abis.template import Template
from abis.transfer.exporting import ExportReport, export
from abis.transfer.importing import Watch, import_records
from abis.transfer.reconciliation import ImportReport
from abis.transfer.sources import open_path
from abis.transfer.sources.source import Source
from abis.verification import Claim, verify, verify_samples
from abis.verification.policy import Policy

__all__ = ["Gallery", "Progress"]


class Gallery:
    """The set of enrolled subjects.

    Any number of threads may call any method at any time, and several processes may have the same gallery open
    (open it after a fork, not before). An identification sees every enrolment and removal that had returned
    when the identification began, and never a part of one.

    >>> import tempfile
    >>> from abis.template import Embedding
    >>> with tempfile.TemporaryDirectory() as folder, Gallery.open(f"{folder}/citizens.abis") as gallery:
    ...     gallery.enroll("079203001234", [Embedding(vector=[0.6, 0.8, 0.0, 0.0], model="demo")])
    ...     gallery.enroll("079203005678", [Embedding(vector=[0.8, -0.6, 0.0, 0.0], model="demo")])
    ...     probe = [Embedding(vector=[0.6, 0.8, 0.1, 0.0], model="demo")]
    ...     gallery.identify(probe, max_candidates=1)[0].subject_id, "079203005678" in gallery
    ('079203001234', True)

    Attributes:
        internals: the store and the references, for the packages of this library; not for users.
    """

    def __init__(self, internals: Internals) -> None:
        self.internals = internals
        self._store = internals.store

    @classmethod
    def open(
        cls,
        path_or_url: str | os.PathLike[str],
        *,
        load: bool = True,
        create: bool = True,
        read_only: bool = False,
        cache: str | os.PathLike[str] | None = None,
        key: KeyService | None = None,
        progress: Progress | None = None,
    ) -> Gallery:
        """Open a gallery; by default, create it if it does not exist.

        Args:
            path_or_url: a folder, or the URL of a PostgreSQL database, ``postgresql+psycopg://…``.
            load: load all references for identification now. False leaves that to the first ``identify`` or
                ``load``; ``enroll``, ``remove`` and ``verify`` need no references.
            create: create the gallery if it does not exist. False refuses that: a mistyped path is an error.
            read_only: change nothing: neither the gallery, which must exist, nor its files in ``cache``. What would
                write raises StoreError; that includes a verification or search that the audit log must tell of,
                because an actor is stated, and a verification in a gallery that counts failures.
            cache: folder that keeps the loaded references, so that the next opening is quick. The default is
                ``derived`` in the gallery's folder, or no cache for a URL.
            key: the master key. The default is the key that the environment names: ``ABIS_KEY`` (base64) or
                ``ABIS_KEY_FILE``. A gallery created with a key is encrypted.
            progress: called with the templates loaded and the templates in all.

        Raises:
            StoreError: the folder or database is not a gallery or cannot be used; there is no gallery, and none is
                to be created; the gallery is encrypted and the key is missing or wrong; or a key is given and the
                gallery is not encrypted.
        """
        target = os.fspath(path_or_url)
        if not target:
            raise ArgumentError(
                "the path of the gallery is empty; expected a folder or the URL of a database"
            )
        create = create and not read_only
        url = target if "://" in target else _database_in(Path(target), create=create)
        folder = None if "://" in target else Path(target) / "derived"
        store = Store(url, key=key or MasterKey.from_environment(), create=create, read_only=read_only)
        gallery = cls(Internals(store, folder if cache is None else Path(cache)))
        try:
            if load:
                gallery.load(progress=progress)
        except BaseException:
            gallery.internals.close(save=False)
            raise
        return gallery

    def close(self) -> None:
        """Close the gallery. Enrolments are on disk already; the loaded references are written now."""
        self.internals.close(save=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.internals.close(save=kind is None)

    def __repr__(self) -> str:
        return f"Gallery({self._store.name!r})"

    def __len__(self) -> int:
        """Number of enrolled subjects."""
        return self._store.state().subjects

    def __bool__(self) -> bool:
        return True  # an empty gallery is still a gallery

    def __contains__(self, subject_id: object) -> bool:
        return subject_id in self._store

    def __iter__(self) -> Iterator[str]:
        """All subject ids in the order of enrolment, read page by page."""
        return self._store.subject_ids()

    @property
    def memory_bytes(self) -> int:
        """Memory of the loaded references in bytes; 0 before they are loaded."""
        return self.internals.references.memory_bytes

    @property
    def is_loaded(self) -> bool:
        """Whether references are in memory, so that an identification need not wait for them."""
        return self.internals.references.is_loaded

    @property
    def changes_behind(self) -> int:
        """Changes of the store that the references in memory have not followed yet; 0 before they are loaded."""
        return self.internals.references.changes_behind

    def info(self) -> GalleryInfo:
        """Counts and sizes of the gallery. Counting templates takes a second per several million.

        Kinds and coverage are counted where references are loaded: :meth:`load` does that.
        """
        state = self._store.state()
        kinds, coverage = None, None
        if self.is_loaded:
            view = self.internals.references.view()
            sets = kind_sets(view.segments, last_subject=view.span - 1)
            kinds, coverage = counted_kinds(sets), mutual_coverage(sets)
        return GalleryInfo(
            subjects=state.subjects,
            encounters=state.encounters,
            templates=self._store.templates_by_position(),
            memory_bytes=self.memory_bytes,
            disk_bytes=self._store.disk_bytes(),
            change=state.change,
            schema_version=state.schema_version,
            kinds=kinds,
            coverage=coverage,
        )

    def load(self, *, progress: Progress | None = None) -> None:
        """Load all references that are not loaded yet, so that the next identification need not wait.

        Args:
            progress: called with the templates loaded and the templates in all.
        """
        self.internals.references.load(progress)

    def save(self) -> None:
        """Write the loaded references to the cache folder now, as :meth:`close` does."""
        self.internals.references.save()

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
        min_coverage: float = 1.0,
    ) -> None:
        """Enroll a new subject, or a further encounter of one. An enrolment that returned survives any crash.

        Args:
            subject_id: 1 to 255 characters.
            templates: one or more, of any positions.
            encounter_id: name of the capture session; a subject's first encounter needs none.
            labels: partitions that the subject belongs to, added to the labels that it has.
            level: assurance level of the subject, 0 to 9; None leaves it unchanged.
            unique: refuse a subject who is enrolled under another id. The gallery is searched before the
                enrolment, and what others enrolled meanwhile is searched inside the transaction.
            fpir: false positive identification rate of that search.
            min_coverage: with ``unique``, the part of the enrolled subjects that must be comparable with the
                templates, 0 to 1. Subjects whose only embeddings come from another model are not comparable.

        Raises:
            AlreadyEnrolled: the subject is enrolled and no encounter_id is given, or the subject has an
                encounter of this name.
            DuplicateFound: ``unique`` is set and other subjects match; the error carries them.
            TemplateError: ``unique`` is set and too few subjects are comparable.
        """
        enrollment = Enrollment(subject_id, templates, encounter_id, labels, level)
        self.enroll_many([enrollment], unique=unique, fpir=fpir, min_coverage=min_coverage)

    def enroll_many(
        self,
        enrollments: Iterable[Enrollment],
        *,
        unique: bool = False,
        fpir: float = 1e-4,
        min_coverage: float = 1.0,
    ) -> int:
        """Enroll many subjects, a thousand a transaction: far faster than one by one.

        Each thousand is enrolled as a whole; if an error is raised, none of that thousand is enrolled, and those
        before it stay. To show progress, wrap the iterable: ``gallery.enroll_many(rich.progress.track(…))``.

        Args:
            enrollments: any number.
            unique: refuse a subject who is enrolled under another id, or who comes twice. Each enrollment takes
                the time of a search.
            fpir: false positive identification rate of that search.
            min_coverage: with ``unique``, the part of the enrolled subjects that must be comparable with each
                enrollment, 0 to 1.

        Returns:
            The number of enrollments.

        Raises:
            AlreadyEnrolled: as for :meth:`enroll`.
            DuplicateFound: as for :meth:`enroll`.
            TemplateError: as for :meth:`enroll`.
        """
        count = 0
        source = iter(enrollments)
        while batch := list(islice(source, self.internals.sizes.batch)):
            check = (
                UniquenessCheck(self.internals, batch, fpir=fpir, min_coverage=min_coverage)
                if unique
                else None
            )
            with self.internals.enrolling(batch):
                if check is not None:
                    check.check_again()
            count += len(batch)
        return count

    def remove(self, subject_id: str, *, encounter_id: str | None = None) -> None:
        """Remove a subject, or one encounter of it; a subject without encounters is removed, too.

        Args:
            subject_id: the enrolled subject.
            encounter_id: the encounter to remove; None removes all.

        Raises:
            NotEnrolled: there is no such subject or encounter.
        """
        self._store.remove(subject_id, encounter_id)
        self.internals.follow_store()

    # ---------------------------------------------------------------------------------- verification

    def verify(
        self,
        templates: Sequence[Template],
        subject_id: str,
        *,
        fmr: float | None = None,
        policy: Policy | None = None,
        liveness: bool | None = None,
    ) -> Verification:
        """Decide whether a probe is of the subject that it claims to be. Reads the store; needs no references.

        Args:
            templates: the probe.
            subject_id: the claimed subject.
            fmr: false match rate to decide at, above 0, at most 1. The default without a policy is 1e-6.
            policy: what the decision requires, in place of ``fmr``.
            liveness: result of a presentation attack detection; None if there was none.

        Raises:
            NotEnrolled: there is no such subject.
        """
        claim = Claim(subject_id, templates, liveness)
        answers, required = self.internals.answers(), _policy(fmr, policy)
        answers.check_verification(required)
        decided = verify(self._store, [claim], required, self.internals.calibrations, attempts_of(answers))
        result = disclosed_verification(decided[0], answers.disclosure)
        self.internals.record("verify", subject_id, str(result.outcome))
        if result.outcome == Outcome.NOT_ENROLLED:
            raise not_enrolled(subject_id)
        return result

    def verify_many(
        self, claims: Iterable[Claim], *, fmr: float | None = None, policy: Policy | None = None
    ) -> Iterator[Verification]:
        """Decide many claims in order, some hundred at a time: several times as fast as one by one.

        A claim of a subject that is not enrolled gets the outcome ``NOT_ENROLLED``, and the others go on.

        Args:
            claims: any number.
            fmr: false match rate to decide at, above 0, at most 1. The default without a policy is 1e-6.
            policy: what each decision requires, in place of ``fmr``.

        Raises:
            TypeError: something else than a :class:`abis.Claim` is among the claims.
        """
        required = _policy(fmr, policy)
        self.internals.answers().check_verification(required)
        return logged_verifications(self.internals, claims, required)

    # -------------------------------------------------------------------------------- identification

    def compare(
        self, templates: Sequence[Template], others: Sequence[Template], *, fmr: float = 1e-6
    ) -> Verification:
        """Decide whether two sets of templates are of one subject; reads nothing but the gallery's calibrations.

        Args:
            templates: the probe.
            others: the templates that the probe is compared with.
            fmr: false match rate to decide at, above 0, at most 1.
        """
        result = verify_samples(
            checked_templates(templates),
            checked_templates(others),
            Policy(fmr=fmr),
            self.internals.calibrations,
        )
        self.internals.record("verify", "", str(result.outcome))
        return result

    def identify(
        self,
        templates: Sequence[Template],
        *,
        max_candidates: int | None = None,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        gallery_size: int | None = None,
    ) -> Identification:
        """Find the subjects that a probe is most likely of.

        Three cheap looks leave a shortlist of subjects (see :mod:`abis.identification.screening`), and all
        comparable references of these are compared in full. With several fingers, the first look uses the one with
        the most to compare, and the others only if that finds no certain match; so a person enrolled under two ids may
        be returned only once. docs/gallery.md states what screening may lose.

        Args:
            templates: the probe.
            max_candidates: largest number of candidates returned; None for 10, or for what the gallery's answer policy
                allows where that is less.
            fpir: return only candidates that reach the threshold of this false positive identification rate at
                the gallery's present size; None returns the best candidates, however low their scores.
            share: largest part of the gallery that passes the first look of one good finger, above 0, at most 1.
                A larger share loses less and takes longer; 1 passes all.
            labels: search only among subjects with any of these labels; None searches all.
            exact: compare with all references in full.
            gallery_size: number of subjects that ``fpir`` is for, if this gallery is one of several that are
                searched; None for the size of this gallery.

        Raises:
            TemplateError: probe and gallery have embeddings of different models only.
        """
        options = SearchOptions(max_candidates, fpir, share, as_labels(labels), exact, gallery_size)
        self.internals.answers().check_search(options)
        return searching.identify(self.internals, templates, options=options)

    def identify_many(
        self,
        probes: Iterable[Sequence[Template]],
        *,
        max_candidates: int | None = None,
        fpir: float | None = None,
        share: float = 0.03,
        labels: Sequence[str] | None = None,
        exact: bool = False,
        gallery_size: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Iterator[Identification | TemplateError]:
        """Search for many probes, several at a time on all cores; results come in the order of the probes.

        The result for a probe is the one of :meth:`identify`, to the bit, among the subjects that are enrolled when
        its turn comes. Probes with fingers are searched in blocks of 16: a block reads the codes of the gallery from
        memory once. The result of a probe comes once its block is read, so no more than 16 probes are in memory.

        Args:
            probes: the templates of each probe.
            max_candidates: largest number of candidates returned for each probe; None as for :meth:`identify`.
            fpir: return only candidates that reach the threshold of this false positive identification rate;
                None returns the best.
            share: largest part of the gallery that passes the first look, above 0, at most 1.
            labels: search only among subjects with any of these labels; None searches all.
            exact: compare with all references in full.
            gallery_size: number of subjects that ``fpir`` is for; None for the size of this gallery.
            progress: called with the number of probes searched.

        Yields:
            The result of each search, or the TemplateError that :meth:`identify` would raise.
        """
        options = SearchOptions(max_candidates, fpir, share, as_labels(labels), exact, gallery_size)
        self.internals.answers().check_search(options)
        for done, result in enumerate(searching.identify_many(self.internals, probes, options=options), 1):
            if progress is not None:
                progress(done)
            yield result

    def unusual(self, templates: Sequence[Template]) -> list[str]:
        """Say which embeddings resemble unusually many enrolled subjects, as a face that was made to match many does.

        Takes some hundred milliseconds. Call it before an enrolment, or after an important match: abis refuses neither
        by itself. docs/security.md says what the check detects.

        Args:
            templates: of a probe, or to be enrolled.

        Returns:
            Words about each such embedding; empty if there is none, or the gallery has fewer than 1,000 embeddings
            to compare with.
        """
        return unusual.unusual(self.internals, checked_templates(templates))

    # --------------------------------------------------------------------------------- deduplication

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
        """Find the people who are enrolled under two ids: every pair of subjects is compared once.

        The score of a pair is, to the bit, the score of :meth:`identify` with all templates of the subject that was
        enrolled later. Two cheap looks leave few pairs to be compared in full; docs/deduplication.md states
        what these may lose.

        Args:
            fpir: list pairs that reach the threshold of this false positive identification rate, for a search by
                each subject among all. In a gallery of N subjects without duplicates, at most N * fpir / 2 false
                pairs are expected. The default without a threshold is 1e-4.
            threshold: list pairs of at least this score instead, a log10 likelihood ratio.
            since: compare only subjects that were enrolled after this change of the gallery with all others:
                :attr:`Duplicates.change` of an earlier run.
            exact: compare all pairs in full: some 60 microseconds a pair of fingers.
            checkpoint: file that keeps the progress. If the file exists, the stopped job goes on, as of the change at
                which it began. The file stays until you remove it.
            progress: called with the pairs compared and the pairs in all.

        Raises:
            StoreError: the checkpoint is of a job with other arguments.
        """
        if fpir is None and threshold is None:
            fpir = 1e-4
        view, calibrations = self.internals.view_with_calibrations()
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
            sizes=self.internals.sizes,
        )
        self.internals.record("deduplicate", "", f"{len(found)} pairs")
        return found

    # ---------------------------------------------------------------------------- the life of a subject

    def subject(self, subject_id: str) -> Subject:
        """Status, level, labels and encounters of a subject.

        Raises:
            NotEnrolled: there is no such subject.
        """
        return lifecycle.subject(self._store, subject_id)

    def subjects(
        self, *, status: Status | None = None, label: str | None = None, after: str | None = None
    ) -> Iterator[ListedSubject]:
        """The subjects in the order of enrolment, with status, level and labels; read page by page.

        What others enroll or remove meanwhile may or may not be listed.

        Args:
            status: only subjects with this status; None for all.
            label: only subjects with this label; None for all.
            after: begin after this subject; None begins with the first.

        Raises:
            NotEnrolled: there is no subject ``after``.
        """
        return lifecycle.listed_subjects(self._store, status=status, label=label, after=after)

    def set_status(self, subject_id: str, status: Status, *, reason: str) -> None:
        """Lock an identity for its holder, terminate it for the authority, or make it active again.

        Verification of a subject that is not active has an outcome of its own. Identification still finds the
        subject, and states its status.

        Args:
            subject_id: the enrolled subject.
            status: the new status.
            reason: 1 to 255 characters.

        Raises:
            NotEnrolled: there is no such subject.
        """
        lifecycle.set_status(self._store, subject_id, status, reason)

    def set_level(self, subject_id: str, level: int) -> None:
        """Set the assurance level of a subject, 0 to 9.

        Raises:
            NotEnrolled: there is no such subject.
        """
        lifecycle.set_level(self._store, subject_id, level)

    def set_labels(self, subject_id: str, labels: Iterable[str]) -> None:
        """Replace the labels of a subject.

        Raises:
            NotEnrolled: there is no such subject.
        """
        lifecycle.set_labels(self._store, subject_id, labels)

    def replace(
        self, subject_id: str, templates: Sequence[Template], *, encounter_id: str | None = None
    ) -> None:
        """Replace all encounters of a subject by one; status, level and labels stay.

        Args:
            subject_id: the enrolled subject.
            templates: the templates of the new encounter.
            encounter_id: name of the new encounter; None for the default name.

        Raises:
            NotEnrolled: there is no such subject.
        """
        lifecycle.replace(self._store, Enrollment(subject_id, templates, encounter_id))
        self.internals.follow_store()

    def merge(self, source_id: str, target_id: str) -> dict[str, str]:
        """Merge two subjects that are one person: the target takes over all encounters, the source is removed.

        An encounter id that both have becomes ``source_id:encounter_id``. The target gets the labels of both and
        the more restrictive status of both; its level stays.

        Returns:
            The new id of each encounter by its old id.

        Raises:
            NotEnrolled: there is no such subject.
        """
        renamed = lifecycle.merge(self._store, source_id, target_id)
        self.internals.follow_store()
        return renamed

    def move(self, encounter_id: str, source_id: str, target_id: str) -> None:
        """Move an encounter that was enrolled under the wrong subject.

        Args:
            encounter_id: the encounter.
            source_id: subject that has the encounter.
            target_id: subject that should have the encounter.

        Raises:
            NotEnrolled: there is no such subject or encounter.
            AlreadyEnrolled: the target has an encounter of this name.
        """
        lifecycle.move(self._store, encounter_id, source_id, target_id)
        self.internals.follow_store()

    # ---------------------------------------------------------------------------- privacy and audit

    def acting(self, actor: str, *, purpose: str) -> AbstractContextManager[None]:
        """State who acts in a ``with`` block, and why: ``with gallery.acting("m.tran", purpose="renewal"):``.

        Holds for the current thread or task. The audit log always tells of changes; of verifications,
        identifications and exports it tells where an actor is stated.
        """
        return audit.acting(actor, purpose)

    def audit_log(self, *, subject_id: str | None = None, after: int = 0) -> Iterator[AuditEntry]:
        """Entries of the audit log, oldest first.

        Args:
            subject_id: only entries about this subject; None for all.
            after: only entries with a higher number.
        """
        return audit_log.entries(self._store, subject_id=subject_id, after=after)

    def erase(self, subject_id: str) -> Tombstone:
        """Remove a subject so that no byte of its templates is left, also not in free pages or logs.

        Removes its records in quarantine, too, whether or not the subject was ever enrolled.

        Raises:
            NotEnrolled: the gallery holds nothing of such a subject.
            StoreError: a reader holds an old version of the database open. The subject is removed all the same;
                ``compact`` later overwrites what is left.
        """
        tombstone = erasure.erase(self._store, subject_id)
        self.internals.follow_store()
        self.internals.references.scrub()
        return tombstone

    def remove_older_than(self, before: datetime, *, dry_run: bool = False) -> Expired:
        """Remove and overwrite all encounters enrolled before a time, and records quarantined before it.

        A subject without encounters is removed, too. Encounters without a time of enrolment, which abis 0.1.0 wrote,
        stay.

        Args:
            before: a time in the past, with a time zone.
            dry_run: remove nothing; only count.

        Returns:
            The number of encounters and of records that are removed. Encounters with a time of enrolment in the future
            stay, with a warning in the log; :meth:`check` reports them, too.

        Raises:
            ArgumentError: the time has no time zone, or is in the future.
        """
        if before.tzinfo is not None and before > datetime.now(UTC):
            raise ArgumentError(
                f"{before:%Y-%m-%d %H:%M:%S} is in the future, so everything would be removed; expected a time in the "
                "past"
            )
        if dry_run:
            return erasure.count_older_than(self._store, before)
        expired = erasure.remove_older_than(self._store, before)
        self.internals.follow_store()
        self.internals.references.scrub()
        return expired

    def export_subject(self, subject_id: str) -> SubjectExport:
        """Everything that the gallery holds of a subject.

        Raises:
            NotEnrolled: there is no such subject.
        """
        return subject_export.export_subject(self.internals, subject_id)

    # --------------------------------------------------------------------------- import and export

    def import_records(
        self,
        source: Source | str | os.PathLike[str],
        *,
        workers: int = 0,
        unique: bool = False,
        fpir: float = 1e-4,
        min_coverage: float = 1.0,
        watch: Watch | None = None,
    ) -> ImportReport:
        """Import a source of records; an import that was stopped goes on where it stopped.

        A record that is refused (a damaged template, a missing id, other templates of a known encounter) goes to
        quarantine with its bytes, and the others go on.

        Args:
            source: where records come from: a path as :func:`abis.transfer.sources.open_path` takes it, or what that
                returns.
            workers: processes that read templates, besides this one.
            unique: quarantine a subject who is enrolled under another id, or comes twice. Each record takes the
                time of a search.
            fpir: false positive identification rate of that search.
            min_coverage: with ``unique``, the part of the enrolled subjects that must be comparable with each record,
                0 to 1; a record that is comparable with fewer is quarantined. A subject counts as not comparable if
                another model is the only reason; one with other fingers only is not counted.
            watch: called after each batch with the records read, and the part of the source that is read.

        Returns:
            The report of the whole import, all runs together.

        Raises:
            FormatError: the source is damaged so that no further record can be read.
            OSError, StoreError: source or store cannot be used. What was committed stays; call this again.
        """
        if isinstance(source, str | os.PathLike):
            source = open_path(Path(source))
        if not isinstance(source, Source):
            raise ArgumentTypeError(
                f"source is a {type(source).__name__}; expected a path, or a source of abis.transfer.sources"
            )
        check = self.internals.uniqueness(fpir=fpir, min_coverage=min_coverage) if unique else None
        return import_records(
            source,
            self._store,
            workers=workers,
            unique=check,
            watch=watch,
            batch=self.internals.sizes.batch,
        )

    def export_records(
        self,
        destination: str | os.PathLike[str],
        *,
        finger_format: Format = Format.NATIVE,
        progress: Progress | None = None,
    ) -> ExportReport:
        """Write all templates to a new file or folder, in the order of enrolment.

        Args:
            destination: ``NAME.parquet``, ``NAME.tar``, ``NAME.tar.gz``, or a folder, which gets a
                ``manifest.csv``. It appears when it is complete.
            finger_format: format of finger templates; the stored form, the default, loses nothing.
            progress: called with the templates written and the templates in all.

        Raises:
            FileExistsError: the destination exists.
            OSError, StoreError: the destination cannot be written, or the gallery cannot be read.
        """
        return export(self._store, Path(destination), finger_format=finger_format, watch=progress)

    # -------------------------------------------------------------------------------- administration

    def calibrate(self, calibration: Calibration) -> None:
        """Keep a calibration with the gallery: comparisons of its kind of templates are scored by it from now on.

        Scores and thresholds of fingers, or of the embeddings of one model, change; enrolled templates do not.
        Another process that has the gallery open uses the calibration when it next opens the gallery.

        Args:
            calibration: made by ``abis calibrate`` or :func:`abis.evaluation.fit`, or the shipped calibration of
                another extractor: ``shipped("minutiae-leader")``.

        Warns:
            UnreachableThreshold: at the false match rate of a :class:`abis.Policy`, 1e-6, nothing can match by it.
        """
        if fault := unreachable(Policy().fmr, [[calibration]]):
            warnings.warn(f"{calibration.kind}: {fault}", UnreachableThreshold, stacklevel=2)
        self.internals.calibrate(calibration)

    def set_answer_policy(self, policy: AnswerPolicy) -> None:
        """State what answers disclose and how often verifications may fail, and keep that with the gallery.

        It holds for :meth:`verify`, :meth:`verify_many`, :meth:`identify`, :meth:`identify_many` and the candidates of
        :class:`abis.DuplicateFound`; in other processes that have the gallery open, within some seconds.
        :meth:`deduplicate`, :meth:`compare` and exports are for administrators, and tell everything.
        """
        self.internals.set_answers(policy)

    @property
    def answer_policy(self) -> AnswerPolicy:
        """What answers disclose and how often verifications may fail."""
        return self.internals.answers()

    def calibration(self, template: Template) -> Calibration:
        """The calibration that comparisons with a template get."""
        return self.internals.calibrations([template]).for_template(template)

    def check(self, *, progress: Progress | None = None) -> list[Fault]:
        """Check structure, templates, counters and logs. Returns the faults found; empty if there are none.

        Args:
            progress: called with the rows checked and the rows in all.
        """
        return list(checking.check(self._store, progress))

    def check_audit(self) -> tuple[int, str, list[Fault]]:
        """Check the chain of the audit log.

        Returns:
            Number and hash of the last entry, and the faults found. Keep number and hash elsewhere to prove later
            that the log up to this entry is unchanged.
        """
        state, faults = audit_log.check_audit(self._store)
        return state.audit, state.audit_hash, faults

    def compact(self) -> None:
        """Rewrite the database without free space. No other process should use the gallery meanwhile."""
        maintenance.compact(self._store)
        self.internals.references.scrub()

    def backup(self, folder: str | os.PathLike[str], *, progress: Progress | None = None) -> None:
        """Copy the gallery as of this moment into a new folder, while others use it.

        Args:
            folder: created; must not hold a gallery.
            progress: called with the pages copied and the pages in all.

        Raises:
            StoreError: the folder holds a gallery already, or a server keeps the database.
        """
        maintenance.backup(self._store, Path(folder), progress, pages=self.internals.sizes.backup)

    def encrypt(self, key: KeyService, *, progress: Progress | None = None) -> int:
        """Encrypt a gallery that is not encrypted, while others read; writers must open it again with the key.

        Args:
            key: the master key.
            progress: called with the templates sealed and the templates in all.

        Returns:
            The number of templates sealed. If interrupted, :meth:`reseal` goes on.

        Raises:
            StoreError: the gallery is encrypted already.
        """
        keys.encrypt(self._store, key)
        return self.reseal(progress=progress)

    def rotate_data_key(self, *, progress: Progress | None = None) -> int:
        """Seal all templates by a new data key, while others read and write.

        Args:
            progress: called with the templates sealed and the templates in all.

        Returns:
            The number of templates sealed. If interrupted, :meth:`reseal` goes on.

        Raises:
            StoreError: the gallery is not encrypted, or an earlier rotation is not complete.
        """
        keys.rotate(self._store, self._key())
        return self.reseal(progress=progress)

    def reseal(self, *, progress: Progress | None = None) -> int:
        """Go on with an encryption or rotation that was interrupted.

        Args:
            progress: called with the templates sealed and the templates in all.

        Returns:
            The number of templates sealed.
        """
        count = keys.reseal(self._store, progress, page=self.internals.sizes.reseal)
        self.internals.references.scrub()
        return count

    def rotate_master_key(self, new: KeyService) -> None:
        """Wrap the data keys by a new master key. Processes that have the gallery open are not affected.

        Raises:
            StoreError: the gallery is not encrypted.
        """
        keys.rewrap(self._store, self._key(), new)

    def _key(self) -> KeyService:
        if self._store.cipher is None:
            raise StoreError(f"{self._store.name}: the gallery is not encrypted")
        return self._store.cipher.keys


def _policy(fmr: float | None, policy: Policy | None) -> Policy:
    if policy is not None and not isinstance(policy, Policy):
        raise ArgumentTypeError(f"policy is a {type(policy).__name__}; expected abis.Policy")
    if policy is None:
        return Policy() if fmr is None else Policy(fmr=fmr)
    if fmr is not None:
        raise ArgumentError("both fmr and policy are given; expected one: a policy has its own fmr")
    return policy


def _database_in(folder: Path, *, create: bool) -> sa.URL:
    """The database in a gallery's folder. The folder is created, for its owner alone, if ``create`` is set."""
    database = folder / "store.sqlite"
    try:
        if not create and not (folder.is_dir() and any(folder.iterdir())):
            raise StoreError(f"{folder}: there is no gallery here; `abis enroll` creates one")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()) and not database.exists():  # in this order: others may be creating it
            raise StoreError(
                f"{folder}: not a gallery: a folder with files in it, but without {database.name}; expected a "
                "gallery or an empty folder"
            )
        if database.exists() and database.stat().st_size == 0 and (folder / "derived").exists():
            raise StoreError(
                f"{folder}: {database.name} is empty, but there was a gallery here; restore it from a backup"
            )
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"{folder}: cannot be a gallery's folder: {error.strerror}") from error
    return sa.URL.create("sqlite", database=str(database))
