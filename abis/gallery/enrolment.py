# SPDX-License-Identifier: Apache-2.0
"""Enrolment of subjects who must not be in the gallery under another subject id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from abis.comparison.coverage import Coverage
from abis.deduplication import FoundPair, Newcomers
from abis.errors import DuplicateFound, TemplateError, check_real
from abis.gallery.internals import Internals
from abis.gallery.searching import identify_many
from abis.identification.search import SearchOptions
from abis.results import Candidate
from abis.store import FIRST_ENCOUNTER, Enrollment

__all__ = ["UniquenessCheck"]


class UniquenessCheck:
    """The check that no subject of a batch is enrolled under another id, before and while the batch is enrolled.

    Args:
        internals: of the gallery.
        batch: enrollments of one transaction.
        fpir: false positive identification rate of the search that each enrollment gets.
        min_coverage: part of the subjects that an enrollment must be comparable with, 0 to 1.

    Raises:
        DuplicateFound: a subject is enrolled under another id, or twice in the batch.
        TemplateError: an enrollment cannot be compared with enough subjects.
    """

    def __init__(
        self, internals: Internals, batch: Sequence[Enrollment], *, fpir: float, min_coverage: float
    ) -> None:
        check_real("min_coverage", min_coverage, above=None, highest=1, what="a share from 0 to 1")
        self._internals = internals
        self._batch = batch
        self._before = internals.references.view()
        self._newcomers = Newcomers(
            batch, fpir=fpir, calibrations=internals.calibrations(t for e in batch for t in e.templates)
        )
        self._compare_within_batch()
        # All fingers: the first match of a further encounter is the subject itself.
        searches = identify_many(
            internals, (e.templates for e in batch), options=SearchOptions(fpir=fpir), all_fingers=True
        )
        coverages = self._newcomers.coverages(self._before, by_model=False)
        for enrollment, found, coverage in zip(batch, searches, coverages, strict=True):
            if not isinstance(found, TemplateError):  # else nothing is comparable: the coverage says so
                _refuse(enrollment, found)
            _refuse_below(min_coverage, enrollment, coverage)

    def check_again(self) -> None:
        """Compare with the subjects that others have enrolled since; called inside the enrolling transaction.

        No other writer is at work then, so two enrolments of one person cannot pass each other.

        Raises:
            DuplicateFound: one of them is a subject of the batch.
        """
        view = self._internals.references.view()
        if view.mark.change == self._before.mark.change:
            return
        pairs = self._newcomers.among(view, after_encounter=self._before.last_encounter)
        for number, own in groupby(pairs, key=lambda pair: pair.probe):
            _refuse(self._batch[number - 1], self._candidates(list(own)))

    def _compare_within_batch(self) -> None:
        for pair in self._newcomers.among_themselves(self._before.subjects + len(self._batch)):
            one, other = self._batch[pair.probe - 1], self._batch[pair.reference - 1]
            evidence = tuple(
                replace(e, encounter_id=other.encounter_id or FIRST_ENCOUNTER) for e in pair.evidence
            )
            candidate = Candidate(1, other.subject_id, pair.score, pair.threshold, evidence)
            raise DuplicateFound(one.subject_id, [candidate])

    def _candidates(self, pairs: Sequence[FoundPair]) -> list[Candidate]:
        """The references of a probe's pairs as candidates, the best first."""
        named = self._internals.store.named(
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


def _refuse_below(least: float, enrollment: Enrollment, coverage: Coverage) -> None:
    """Raise if too few subjects could be compared: a duplicate could be among the others."""
    if coverage.compared < least * coverage.subjects:
        raise TemplateError(
            f"{enrollment.subject_id!r}: {coverage}, so the subject may be enrolled under another id; "
            "a smaller min_coverage enrolls it all the same"
        ).about(enrollment.subject_id)


def _refuse(enrollment: Enrollment, found: Sequence[Candidate]) -> None:
    """Raise if there are candidates other than the subject itself."""
    others = [candidate for candidate in found if candidate.subject_id != enrollment.subject_id]
    if others:
        raise DuplicateFound(enrollment.subject_id, others)
