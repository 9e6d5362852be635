# SPDX-License-Identifier: Apache-2.0
"""What a gallery is made of: its store, its references in memory and its calibrations, kept consistent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind
from abis.deduplication import ArrivalsCheck
from abis.gallery.answer_policy import AnswerPolicy
from abis.index.references import References, ReferenceView
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import MINUTIAE, Calibration, Calibrations, kind_of
from abis.scoring.dna import calibration_of_json
from abis.store import Enrollment, Store, audit, audit_log, lifecycle
from abis.store.stored_form import stored_enrollments
from abis.store.transaction import Transaction
from abis.template import Template

__all__ = ["Internals", "Typical"]

_ANSWERS_S = 5.0  # that an answer policy is believed before it is read again


class Typical(NamedTuple):
    """Mean cosines of enrolled embeddings of one kind to a sample of the others, for :mod:`abis.gallery.unusual`.

    Attributes:
        subjects: number of subjects in the gallery at that time.
        mean: mean of the mean cosines.
        spread: their standard deviation.
    """

    subjects: int
    mean: float
    spread: float


class Internals:
    """The parts of an open gallery, for the packages that work beside it: cluster, transfer, command line.

    Not part of the public interface: it may change in any version.

    Args:
        store: the gallery's database.
        folder: where references are kept between runs; None keeps none.

    Attributes:
        sizes: how much is worked on at once.
    """

    sizes = WorkSizes()

    def __init__(self, store: Store, folder: Path | None) -> None:
        self.store = store
        self.references = References(store, folder, self.sizes)
        self._answers: tuple[AnswerPolicy, float] | None = None  # and until when it is believed
        self.typical: dict[Kind, Typical] = {}
        self._own_calibrations: dict[str, Calibration | None] = {}  # by kind; None where the gallery has none

    def close(self, *, save: bool) -> None:
        """Close the references, written to their folder if ``save``, and the store."""
        self.references.close(save=save)
        self.store.close()

    # ---------------------------------------------------------------------------------- calibrations

    def calibrate(self, calibration: Calibration) -> None:
        """Keep a calibration in the store, and use it from now on."""
        self.store.set_calibration(calibration.kind, calibration.to_json())
        self._own_calibrations[calibration.kind] = calibration

    def calibrations(self, templates: Iterable[Template]) -> Calibrations:
        """The calibrations that comparisons with these templates get."""
        return self._calibrations_of_kinds(kind_of(template) for template in templates)

    def _calibrations_of_kinds(self, kinds: Iterable[str]) -> Calibrations:
        for kind in {MINUTIAE, *kinds}:
            if kind not in self._own_calibrations:
                text = self.store.calibration(kind)
                self._own_calibrations[kind] = None if text is None else calibration_of_json(text)
        return Calibrations.of(c for c in self._own_calibrations.copy().values() if c is not None)

    # --------------------------------------------------------------------------------------- answers

    def answers(self) -> AnswerPolicy:
        """What answers disclose, as of some seconds ago or later."""
        known = self._answers
        if known is None or time.monotonic() > known[1]:
            text = self.store.answer_policy()
            policy = AnswerPolicy() if text is None else AnswerPolicy.from_json(text)
            known = self._answers = policy, time.monotonic() + _ANSWERS_S
        return known[0]

    def set_answers(self, policy: AnswerPolicy) -> None:
        """Keep in the store what answers disclose."""
        self.store.set_answer_policy(policy.to_json())
        self._answers = None

    # ------------------------------------------------------------------------------------ references

    def view(
        self, labels: Sequence[str] | None, at_least: int | None = None
    ) -> tuple[ReferenceView, NDArray[np.int64] | None]:
        """All references, and the sorted keys of the subjects with any of the labels, of one change of the store.

        Args:
            labels: None for all subjects; then the keys are None, too.
            at_least: number of a change that is late enough; None asks the store for its present one.
        """
        while True:
            view = self.references.view(at_least)
            if labels is None:
                return view, None
            subjects, change = lifecycle.keys_with_labels(self.store, labels)
            if change == view.mark.change:
                return view, subjects

    def view_with_calibrations(self) -> tuple[ReferenceView, Calibrations]:
        """All references and the calibrations of their kinds, for :func:`abis.deduplication.find_pairs`."""
        view = self.references.view()
        return view, self._calibrations_of_kinds(kind.calibrated_as for kind in view.kinds)

    @contextmanager
    def enrolling(self, enrollments: Sequence[Enrollment]) -> Iterator[Transaction]:
        """Enroll all enrollments in a transaction that ends with the ``with`` block; the references follow.

        An exception in the block undoes the enrolment.

        Raises:
            AlreadyEnrolled: as :meth:`abis.store.transaction.Transaction.enroll` does.
        """
        stored = stored_enrollments(enrollments)  # checked first
        prepared = self.references.prepare(enrollments)  # now, so that the next search need not wait for it
        with self.store.writing() as transaction:
            written = transaction.enroll(stored)
            yield transaction
        self.references.append(prepared, written)

    def uniqueness(self, *, fpir: float, min_coverage: float = 1.0) -> ArrivalsCheck:
        """The check of imported records that no subject is enrolled under another id; needs the references.

        Args:
            fpir: false positive identification rate of the search that each record gets.
            min_coverage: part of the subjects that each record must be comparable with, 0 to 1.
        """
        return ArrivalsCheck(
            self.store,
            self.references.view,
            self.calibrations,
            fpir=fpir,
            tile=self.sizes.arrivals_tile,
            min_coverage=min_coverage,
        )

    def follow_store(self) -> None:
        """Bring the references up to date after a change, if they are loaded: the next search need not wait."""
        if self.references.is_loaded:
            self.references.load(None)

    # ------------------------------------------------------------------------------------- audit log

    def record(self, operation: str, subject_id: str, outcome: str) -> None:
        """Log an operation that changes nothing, if an actor is stated."""
        if audit.actor() is not None:
            audit_log.record(self.store, [(operation, subject_id, outcome)])
