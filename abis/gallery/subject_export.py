# SPDX-License-Identifier: Apache-2.0
"""Everything that a gallery holds of one subject."""

from __future__ import annotations

from dataclasses import dataclass

from abis.answers import Answer
from abis.gallery.internals import Internals
from abis.store import Subject, audit_log, lifecycle
from abis.store.audit import AuditEntry
from abis.store.import_journal import QuarantinedRecord
from abis.store.quarantine import quarantined_of
from abis.template import Template

__all__ = ["SubjectExport", "export_subject"]


@dataclass(frozen=True, repr=False)
class SubjectExport(Answer):
    """Everything that a gallery holds of a subject: what the subject has a right to see.

    Attributes:
        subject: status, level, labels, encounters.
        templates: pairs of encounter id and template.
        quarantined: records that imports have refused and that name this subject.
        log: entries of the audit log about the subject.
    """

    subject: Subject
    templates: tuple[tuple[str, Template], ...]
    quarantined: tuple[QuarantinedRecord, ...]
    log: tuple[AuditEntry, ...]


def export_subject(internals: Internals, subject_id: str) -> SubjectExport:
    """Collect everything, and log the export if an actor is stated.

    Raises:
        NotEnrolled: there is no such subject.
    """
    store = internals.store
    subject = lifecycle.subject(store, subject_id)
    references = store.references(subject_id)
    internals.record("export", subject_id, f"{len(references)} templates")
    return SubjectExport(
        subject,
        tuple((r.encounter_id, r.template) for r in references),
        tuple(quarantined_of(store, subject_id)),
        tuple(audit_log.entries(store, subject_id=subject_id)),
    )
