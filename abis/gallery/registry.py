# SPDX-License-Identifier: Apache-2.0
"""All of a gallery that needs no references in memory: verification, the life of a subject, care of the data."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from abis.errors import StoreError
from abis.results import Outcome, Verification
from abis.scoring.calibration import Calibration, Calibrations, kind_of
from abis.store import (
    Enrollment,
    Fault,
    Status,
    Store,
    Subject,
    audit,
    audit_log,
    checking,
    erasure,
    keys,
    lifecycle,
    maintenance,
    not_enrolled,
)
from abis.store.audit import AuditEntry
from abis.store.encryption import KeyService
from abis.store.erasure import Expired, Tombstone
from abis.store.import_journal import QuarantinedRecord
from abis.store.quarantine import quarantined_of, remove_quarantined, remove_quarantined_before
from abis.template import Template
from abis.verification import Claim, verify, verify_many
from abis.verification.policy import Policy

__all__ = ["Registry", "SubjectExport"]

_Progress = Callable[[int, int], None]

_AUDITED_AT_ONCE = 256  # verifications that share an entry's sync to disk


@dataclass(frozen=True)
class SubjectExport:
    """All that a gallery holds of a subject: what it has a right to see.

    Attributes:
        subject: status, level, labels, encounters.
        templates: (encounter_id, template) each.
        quarantined: records that imports have refused, which say that they are of this subject.
        log: entries of the audit log about it.
    """

    subject: Subject
    templates: tuple[tuple[str, Template], ...]
    quarantined: tuple[QuarantinedRecord, ...]
    log: tuple[AuditEntry, ...]


class Registry:
    """Who is enrolled, and in what state. What :class:`abis.Gallery` adds is identification."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._own_calibrations: dict[str, Calibration | None] = {}  # by kind; None where it has none

    def _follow_store(self) -> None:
        """Is called when this object has changed the store."""

    def _scrub_derived(self) -> None:
        """Is called when what was removed must not be anywhere any more."""

    # ---------------------------------------------------------------------------------- calibrations

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

    def _calibrations(self, templates: Iterable[Template]) -> Calibrations:
        return self._calibrations_of_kinds(kind_of(template) for template in templates)

    def _calibrations_of_kinds(self, kinds: Iterable[str]) -> Calibrations:
        for kind in set(kinds):
            if kind not in self._own_calibrations:
                text = self._store.calibration(kind)
                self._own_calibrations[kind] = None if text is None else Calibration.from_json(text)
        return Calibrations.of(c for c in self._own_calibrations.copy().values() if c is not None)

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
        """Is this the subject it claims to be? Read straight from the store; needs no references loaded.

        Args:
            templates: the probe.
            subject_id: the claim.
            fmr: false match rate to decide at, above 0, at most 1; 1e-6 where there is no policy either.
            policy: what the decision needs beside, in place of ``fmr``.
            liveness: the verdict of a presentation attack detection, where the policy asks for one.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        claim = Claim(subject_id, templates, liveness)
        (result,) = verify(self._store, [claim], _policy(fmr, policy), self._calibrations)
        self.record("verify", subject_id, str(result.outcome))
        if result.outcome == Outcome.NOT_ENROLLED:
            raise not_enrolled(subject_id)
        return result

    def verify_many(
        self, claims: Iterable[Claim], *, fmr: float | None = None, policy: Policy | None = None
    ) -> Iterator[Verification]:
        """Decide many claims, in order, some hundred at a time: several times as fast as one by one.

        A claim to be somebody who is not enrolled has an outcome that says so, and stops nothing.

        Args:
            claims: any number.
            fmr: as for :meth:`verify`.
            policy: as for :meth:`verify`.

        Raises:
            TypeError: something else than a :class:`abis.Claim` is among the claims.
        """
        policy = _policy(fmr, policy)
        if audit.actor() is None:
            yield from verify_many(self._store, claims, policy, self._calibrations)
            return
        done: list[Verification] = []

        def answered() -> Iterator[Verification]:
            """Answers go out once they are in the log."""
            audit_log.record(self._store, [("verify", r.subject_id, str(r.outcome)) for r in done])
            yield from done
            done.clear()

        for result in verify_many(self._store, claims, policy, self._calibrations):
            done.append(result)
            if len(done) == _AUDITED_AT_ONCE:
                yield from answered()
        if done:
            yield from answered()

    # ---------------------------------------------------------------------------- the life of a subject

    def subject(self, subject_id: str) -> Subject:
        """Status, level, labels and encounters of a subject.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        return lifecycle.subject(self._store, subject_id)

    def set_status(self, subject_id: str, status: Status, *, reason: str) -> None:
        """Lock an identity for its holder, terminate it for the authority, or make it active again.

        Verification of one that is not active has an outcome of its own; identification finds it all the
        same, and says its status.

        Args:
            subject_id: whose.
            status: from now on.
            reason: 1 to 255 characters.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        lifecycle.set_status(self._store, subject_id, status, reason)

    def set_level(self, subject_id: str, level: int) -> None:
        """State the assurance level of a subject, 0 to 9.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        lifecycle.set_level(self._store, subject_id, level)

    def set_labels(self, subject_id: str, labels: Iterable[str]) -> None:
        """Give a subject these labels in place of those it had.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        lifecycle.set_labels(self._store, subject_id, labels)

    def replace(
        self, subject_id: str, templates: Sequence[Template], *, encounter_id: str | None = None
    ) -> None:
        """Enroll a subject anew: all it had gives way to these templates; status, level and labels stay.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        lifecycle.replace(self._store, Enrollment(subject_id, templates, encounter_id))
        self._follow_store()

    def merge(self, source_id: str, target_id: str) -> dict[str, str]:
        """Make one subject of two that are one person: ``target_id`` takes over all, ``source_id`` goes.

        An encounter_id that the target has already becomes ``source_id:encounter_id``. The target has the labels
        of both and the more restrictive status of both; its level stays.

        Returns:
            What the encounters are called now, by what they were called.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        renamed = lifecycle.merge(self._store, source_id, target_id)
        self._follow_store()
        return renamed

    def move(self, encounter_id: str, source_id: str, target_id: str) -> None:
        """Give an encounter that was enrolled under a wrong name to whom it belongs.

        Raises:
            NotEnrolled: where there is no such subject or encounter.
            AlreadyEnrolled: where the target has an encounter of this name.
        """
        lifecycle.move(self._store, encounter_id, source_id, target_id)
        self._follow_store()

    # ------------------------------------------------------------------------------------------ privacy

    def acting(self, actor: str, *, purpose: str) -> AbstractContextManager[None]:
        """Say who does what is done inside, and what for: ``with gallery.acting("m.tran", purpose="renewal"):``.

        It holds for this thread or task. Changes are always logged; verifications, identifications and
        exports are where somebody is said to act.
        """
        return audit.acting(actor, purpose)

    def audit_log(self, *, subject_id: str | None = None, after: int = 0) -> Iterator[AuditEntry]:
        """The entries of the audit log after a number, about one subject or all, oldest first."""
        return audit_log.entries(self._store, subject_id=subject_id, after=after)

    def erase(self, subject_id: str) -> Tombstone:
        """Remove a subject so that nothing of its templates is left, also not in free pages or logs.

        With it go the records of it that imports have refused, and their original bytes, whether or not it
        was ever enrolled.

        Raises:
            NotEnrolled: where there is nothing of such a subject.
            StoreError: where somebody reads on and on what was there before. The subject is removed all
                the same; ``compact`` does the rest later.
        """
        tombstone = erasure.erase(self._store, subject_id, partial(remove_quarantined, subject_id=subject_id))
        self._follow_store()
        self._scrub_derived()
        return tombstone

    def remove_older_than(self, before: datetime) -> Expired:
        """Remove and overwrite all encounters enrolled before a time; with its last one goes the subject.

        So go the records in quarantine of imports that began before it.

        Returns:
            How much that was. Encounters that abis 0.1.0 enrolled, without a time, stay.
        """
        expired = erasure.remove_older_than(
            self._store, before, partial(remove_quarantined_before, before=before)
        )
        self._follow_store()
        self._scrub_derived()
        return expired

    def export_subject(self, subject_id: str) -> SubjectExport:
        """All that there is of a subject.

        Raises:
            NotEnrolled: where there is no such subject.
        """
        subject = lifecycle.subject(self._store, subject_id)
        references = self._store.references(subject_id)
        self.record("export", subject_id, f"{len(references)} templates")
        return SubjectExport(
            subject,
            tuple((r.encounter_id, r.template) for r in references),
            tuple(quarantined_of(self._store, subject_id)),
            tuple(audit_log.entries(self._store, subject_id=subject_id)),
        )

    # ------------------------------------------------------------------------------------ care of the data

    def check(self, *, progress: _Progress | None = None) -> list[Fault]:
        """Look at everything there is: structure, templates, counters, logs. An empty list is good news."""
        return list(checking.check(self._store, progress))

    def check_audit(self) -> tuple[int, str, list[Fault]]:
        """Follow the chain of the audit log: number and hash of its last entry, and what is wrong with it.

        Who keeps number and hash elsewhere can tell later whether the log up to there is still the same.
        """
        state, faults = audit_log.check_audit(self._store)
        return state.audit, state.audit_hash, faults

    def compact(self) -> None:
        """Write the database anew, without gaps. Nobody else should be working."""
        maintenance.compact(self._store)
        self._scrub_derived()

    def backup(self, folder: str | os.PathLike[str], *, progress: _Progress | None = None) -> None:
        """Copy the gallery as of this moment into a new folder, while others work on.

        Raises:
            StoreError: where there is a gallery already, or a server keeps the database.
        """
        maintenance.backup(self._store, Path(folder), progress)

    def encrypt(self, key: KeyService, *, progress: _Progress | None = None) -> int:
        """Encrypt a gallery that is not, while others read; who writes must open it again with the key.

        Returns:
            How many templates were sealed. Stopped at any moment, :meth:`reseal` goes on.

        Raises:
            StoreError: where it is encrypted already.
        """
        keys.encrypt(self._store, key)
        return self.reseal(progress=progress)

    def rotate_data_key(self, *, progress: _Progress | None = None) -> int:
        """Seal everything by a new data key, while others read and write.

        Returns:
            How many templates were sealed. Stopped at any moment, :meth:`reseal` goes on.

        Raises:
            StoreError: where the gallery is not encrypted, or an earlier rotation is not at its end.
        """
        keys.rotate(self._store, self._key())
        return self.reseal(progress=progress)

    def reseal(self, *, progress: _Progress | None = None) -> int:
        """Go on with an encryption or rotation that was stopped; returns how many templates were sealed."""
        count = keys.reseal(self._store, progress)
        self._scrub_derived()
        return count

    def rotate_master_key(self, new: KeyService) -> None:
        """Put the data keys under a new master key. Who has the gallery open need not know.

        Raises:
            StoreError: where the gallery is not encrypted.
        """
        keys.rewrap(self._store, self._key(), new)

    # ------------------------------------------------------------------------------------------- inside

    def _key(self) -> KeyService:
        if self._store.cipher is None:
            raise StoreError(f"{self._store.name}: is not encrypted")
        return self._store.cipher.keys

    def record(self, operation: str, subject_id: str, outcome: str) -> None:
        """Log what changes nothing, where somebody is said to act."""
        if audit.actor() is not None:
            audit_log.record(self._store, [(operation, subject_id, outcome)])


def _policy(fmr: float | None, policy: Policy | None) -> Policy:
    if policy is None:
        return Policy() if fmr is None else Policy(fmr=fmr)
    if fmr is not None:
        raise ValueError("both fmr and policy are given; expected one: a policy has its own fmr")
    return policy
