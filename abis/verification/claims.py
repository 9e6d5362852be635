# SPDX-License-Identifier: Apache-2.0
"""1:1: decide whether probes are of the subjects that they claim to be. References come from the store.

Many claims are decided together: the store is read once, and all pairs of a kind are compared in one call, for which
each template is prepared once. A single claim is decided by the same code and gets the same score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import numpy as np

from abis.comparison.kind import Kind, nothing_comparable
from abis.errors import AbisError, ArgumentTypeError
from abis.parallel import available_cores, in_parallel
from abis.results import Outcome, Verification
from abis.scoring import fusion
from abis.scoring.calibration import Calibrations, kind_of
from abis.scoring.fusion import Comparisons, Evidence
from abis.scoring.thresholds import highest_score, threshold_for_fmr
from abis.store import Claimed, Status, Store, StoredTemplate, check_id, checked_templates
from abis.store.attempts import reserve, settle
from abis.template import Position, Template
from abis.template.modality import modality_of
from abis.verification.policy import Policy

__all__ = ["Attempts", "Claim", "verify", "verify_many", "verify_samples"]

CalibrationsOf = Callable[[Iterable[Template]], Calibrations]
"""A function that gives the calibrations of some templates."""

_CHUNK = 256  # claims decided together
_WAITING = 1  # threads beside those that compare: they wait for the store and the interpreter


@dataclass(frozen=True)
class Claim:
    """A claim to be a subject, and the probe for it.

    Attributes:
        subject_id: the claimed subject.
        templates: the probe.
        liveness: verdict of a presentation attack detection; None if there was none.
        encounters: ids of the encounters to compare with; None for all of the subject's encounters.
    """

    subject_id: str
    templates: Sequence[Template]
    liveness: bool | None = None
    encounters: frozenset[str] | None = None

    def __post_init__(self) -> None:
        check_id("subject_id", self.subject_id)
        try:
            object.__setattr__(self, "templates", checked_templates(self.templates))
        except AbisError as error:
            raise error.about(self.subject_id) from None


@dataclass(frozen=True)
class Attempts:
    """How often verifications of one subject may fail in a row.

    Attributes:
        most: failures before the subject is paused.
        pause_s: seconds of the first pause; each further failure doubles it, up to a day.
    """

    most: int
    pause_s: float


def verify(
    store: Store,
    claims: Sequence[Claim],
    policy: Policy,
    calibrations: CalibrationsOf,
    attempts: Attempts | None = None,
) -> list[Verification]:
    """Decide claims.

    A claim of which nothing is comparable has an outcome that says so.

    Args:
        store: of the gallery.
        claims: some hundred at most.
        policy: what each decision requires.
        calibrations: gives the calibrations in force for templates.
        attempts: counts failures, by one write to the store before and at most one after; None counts none.
    """
    subject_ids = [claim.subject_id for claim in claims]
    pauses: list[datetime | None] = [None] * len(claims)
    if attempts is not None:
        pauses = reserve(store, subject_ids, most=attempts.most, pause_s=attempts.pause_s)
    chunk = _Chunk(claims, store.claimed(subject_ids), pauses)
    results = _decided(chunk, policy, calibrations)
    if attempts is not None:
        uncompared = [not r.evidence and r.outcome != Outcome.PAUSED for r in results]
        settle(
            store,
            cleared=[r.subject_id for r in results if r.outcome == Outcome.MATCH],
            uncounted=[r.subject_id for r, own in zip(results, uncompared, strict=True) if own],
        )
    return results


def verify_samples(
    probe: Sequence[Template], reference: Sequence[Template], policy: Policy, calibrations: CalibrationsOf
) -> Verification:
    """Decide whether two sets of templates are of one subject, without a store."""
    name = "reference"
    stored = [StoredTemplate(i, 0, 0, name, template) for i, template in enumerate(reference)]
    known = {name: Claimed(Status.ACTIVE, policy.level, stored)}
    (decided,) = _decided(_Chunk([Claim(name, probe)], known, [None]), policy, calibrations)
    return decided


def verify_many(
    store: Store,
    claims: Iterable[Claim],
    policy: Policy,
    calibrations: CalibrationsOf,
    attempts: Attempts | None = None,
) -> Iterator[Verification]:
    """Decide claims in order, some hundred at a time on each core, a few ahead.

    Each is decided by what the store holds at some moment after it was taken from ``claims``.
    """
    source = _checked(claims)
    chunks = iter(lambda: list(islice(source, _CHUNK)), [])

    def decide(chunk: Sequence[Claim]) -> list[Verification]:
        return verify(store, chunk, policy, calibrations, attempts)

    for decided in in_parallel(decide, chunks, threads=available_cores() + _WAITING):
        yield from decided


def _checked(claims: Iterable[Claim]) -> Iterator[Claim]:
    for number, claim in enumerate(claims):
        if not isinstance(claim, Claim):
            raise ArgumentTypeError(
                f"claims[{number}] is a {type(claim).__name__}; expected abis.Claim(subject_id, templates)"
            )
        yield claim


class _Chunk(NamedTuple):
    """Claims, the stored references of their subjects, and until when these are paused."""

    claims: Sequence[Claim]
    known: Mapping[str, Claimed]
    pauses: Sequence[datetime | None]


class _Pairs:
    """Pairs of a probe of one kind and a reference of one kind."""

    def __init__(self, probe: Template, reference: Kind) -> None:
        self.example = probe
        self.reference = reference
        self.claim: list[int] = []
        self.encounter: list[int] = []
        self.probes: list[Template] = []
        self.references: list[Template] = []

    def compared(self, calibrations: Calibrations) -> Comparisons:
        """Compare all pairs; the number of the claim stands for the subject."""
        calibration = calibrations.for_pair(kind_of(self.example), self.reference.calibrated_as)
        comparator = modality_of(self.example).comparator().under(calibration)
        return Comparisons.of(
            self.example,
            self.reference,
            subject=np.array(self.claim, np.int64),
            encounter=np.array(self.encounter, np.int64),
            raw=comparator.pairs(self.probes, self.references, 1),
            balance=comparator.balances(self.probes, self.references),
            calibrations=calibrations,
        )


def _decided(chunk: _Chunk, policy: Policy, calibrations: CalibrationsOf) -> list[Verification]:
    refused = [
        _refused(claim, chunk.known.get(claim.subject_id), policy, pause)
        for claim, pause in zip(chunk.claims, chunk.pauses, strict=True)
    ]
    open_ones = [number for number, outcome in enumerate(refused) if outcome is None]
    in_force = calibrations(t for number in open_ones for t in chunk.claims[number].templates)
    comparisons = _comparisons(chunk, open_ones, in_force)
    scores = fusion.fuse(comparisons, len(chunk.claims)).tolist()
    names = {r.encounter: r.encounter_id for c in chunk.known.values() for r in c.references}
    evidence = fusion.explain_each(comparisons, names)
    compared = _Ways(comparisons, open_ones, policy.fmr)
    faces = _Ways([c for c in comparisons if c.position == Position.FACE], open_ones, policy.face_fmr)
    results = []
    for number, (claim, outcome) in enumerate(zip(chunk.claims, refused, strict=True)):
        subject_id = claim.subject_id
        own = evidence.get(number, ())
        if outcome is not None:
            threshold = threshold_for_fmr(policy.fmr, [])
            results.append(Verification(outcome[0], 0.0, threshold, (), outcome[1], subject_id))
            continue
        threshold = compared.threshold(number)
        if not own:
            references = chunk.known[subject_id].references
            why = nothing_comparable(claim.templates, {Kind.of(r.template) for r in references})
            results.append(Verification(Outcome.NOTHING_COMPARABLE, 0.0, threshold, (), why, subject_id))
            continue
        decision, why = _decision(
            scores[number],
            own,
            policy,
            threshold=threshold,
            highest=compared.highest(number),
            face_threshold=faces.threshold(number),
        )
        results.append(Verification(decision, scores[number], threshold, own, why, subject_id))
    return results


def _refused(
    claim: Claim, known: Claimed | None, policy: Policy, pause: datetime | None
) -> tuple[Outcome, str] | None:
    """The outcome and its reason, if the claim is decided without a comparison."""
    if known is None:
        return Outcome.NOT_ENROLLED, ""
    if known.status == Status.LOCKED:
        return Outcome.LOCKED, ""
    if known.status == Status.TERMINATED:
        return Outcome.TERMINATED, ""
    if pause is not None:
        return Outcome.PAUSED, f"too many failed verifications; none before {pause:%Y-%m-%d %H:%M:%S} UTC"
    unmet = policy.unmet_before(level=known.level, liveness=claim.liveness)
    return (Outcome.REFUSED, unmet) if unmet else None


class _Ways:
    """The thresholds of claims, each computed once for all claims with the same kinds of comparisons.

    Args:
        comparisons: all comparisons of the claims.
        numbers: numbers of the claims, ascending.
        fmr: false match rate of the thresholds; None if no threshold is needed.
    """

    def __init__(self, comparisons: Sequence[Comparisons], numbers: Sequence[int], fmr: float | None) -> None:
        self._way: dict[int, int] = {}
        self._thresholds: list[float] = []
        self._highest: list[float] = []
        if fmr is not None:
            ways, way = fusion.compared_by(comparisons, np.array(numbers, np.int64))
            self._way = dict(zip(numbers, way.tolist(), strict=True))
            self._thresholds = [threshold_for_fmr(fmr, one) for one in ways]
            self._highest = [highest_score(one) for one in ways]

    def threshold(self, number: int) -> float:
        """The threshold of a claim; infinite if none is needed."""
        return self._thresholds[self._way[number]] if self._way else math.inf

    def highest(self, number: int) -> float:
        """A limit above all scores that a claim can have; infinite if no threshold is needed."""
        return self._highest[self._way[number]] if self._way else math.inf


def _decision(
    score: float,
    evidence: tuple[Evidence, ...],
    policy: Policy,
    *,
    threshold: float,
    highest: float,
    face_threshold: float,
) -> tuple[Outcome, str]:
    """The outcome of a claim that was compared, and its reason.

    Args:
        score: score of the claim.
        evidence: evidence that the score is made of.
        policy: requirements of the decision.
        threshold: lowest score of a match.
        highest: limit above all scores that such evidence can have.
        face_threshold: lowest score of the face alone, if the policy requires a face.
    """
    if score < threshold:
        why = ""
        if threshold >= highest:
            why = (
                f"the threshold {threshold:.1f} cannot be reached: "
                f"scores of these comparisons stay below {highest:.1f}"
            )
        return Outcome.NON_MATCH, why
    unmet = policy.unmet_by(evidence, face_threshold)
    return (Outcome.REFUSED, unmet) if unmet else (Outcome.MATCH, "")


def _comparisons(chunk: _Chunk, numbers: Sequence[int], calibrations: Calibrations) -> list[Comparisons]:
    """All comparisons of some of the claims, grouped by probe kind and reference kind."""
    alike: dict[tuple[Kind, Kind], _Pairs] = {}
    comparable: dict[tuple[Kind, Kind], bool] = {}
    for number in numbers:
        claim = chunk.claims[number]
        references = [
            (Kind.of(r.template), r)
            for r in chunk.known[claim.subject_id].references
            if claim.encounters is None or r.encounter_id in claim.encounters
        ]
        for probe in claim.templates:
            kind = Kind.of(probe)
            for other, reference in references:
                fits = comparable.get((kind, other))
                if fits is None:
                    fits = comparable[kind, other] = other.is_comparable(kind)
                if not fits:
                    continue
                pairs = alike.get((kind, other))
                if pairs is None:
                    pairs = alike[kind, other] = _Pairs(probe, other)
                pairs.claim.append(number)
                pairs.encounter.append(reference.encounter)
                pairs.probes.append(probe)
                pairs.references.append(reference.template)
    return [pairs.compared(calibrations) for pairs in alike.values()]
