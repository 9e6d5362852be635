# SPDX-License-Identifier: Apache-2.0
"""1:1, straight from the store: are these the subjects they claim to be?

Claims are worked off by the hundred: one read of the store, one decoding, one preparation of references; then
each is compared with its own. One claim takes the same way as many and gets the same score.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis import comparison, fusion
from abis.calibration import Calibrations
from abis.errors import TemplateError
from abis.fusion import Comparisons, Evidence
from abis.kind import Kind
from abis.policy import Policy
from abis.results import Outcome, Verification
from abis.store import Claimed, Status, Store, StoredTemplate, check_id, checked_templates
from abis.template import Minutiae, Position, Template
from abis.thresholds import Compared, threshold_for_fmr

__all__ = ["Claim", "check_models", "verify", "verify_many"]

CalibrationsOf = Callable[[Iterable[Template]], Calibrations]
"""The calibrations in force for some templates."""

_CHUNK = 256  # claims worked off at once
_PORTION = 48  # comparisons a thread takes at a time: a few milliseconds


@dataclass(frozen=True)
class Claim:
    """Who somebody claims to be, and what was captured of them.

    Attributes:
        subject_id: the claim.
        templates: the probe.
        liveness: the verdict of a presentation attack detection, if there was one.
    """

    subject_id: str
    templates: Sequence[Template]
    liveness: bool | None = None

    def __post_init__(self) -> None:
        check_id("subject_id", self.subject_id)
        object.__setattr__(self, "templates", checked_templates(self.templates))


def verify(
    store: Store, claims: Sequence[Claim], policy: Policy, calibrations: CalibrationsOf
) -> list[Verification]:
    """Decide claims.

    Raises:
        TemplateError: where probe and subject have embeddings of different models only.
    """
    return _decided(_Chunk(store, claims), policy, calibrations)


def verify_many(
    store: Store, claims: Iterable[Claim], policy: Policy, calibrations: CalibrationsOf
) -> Iterator[Verification]:
    """Decide claims one after the other, in order; the next are read while some are compared."""
    source = iter(claims)
    with ThreadPoolExecutor(1, "abis-verify") as reader:

        def ahead() -> Future[_Chunk] | None:
            claims = list(islice(source, _CHUNK))
            return reader.submit(_Chunk, store, claims) if claims else None

        waiting = ahead()
        while waiting is not None:
            chunk, waiting = waiting.result(), ahead()
            yield from _decided(chunk, policy, calibrations)


class _Task(NamedTuple):
    """A probe template and the references of one position to compare it with."""

    claim: int
    probe: Template
    position: Position
    references: Sequence[StoredTemplate]


class _Chunk:
    """Claims and what the store knows of their subjects, references prepared."""

    def __init__(self, store: Store, claims: Sequence[Claim]) -> None:
        self.claims = claims
        self.known = store.claimed(claim.subject_id for claim in claims)
        self.packed = comparison.FingerReferences()
        fingers = {id(r): r.template for c in self.known.values() for r in c.references}
        minutiae = {key: t for key, t in fingers.items() if isinstance(t, Minutiae)}
        slots = self.packed.extend(list(minutiae.values()))
        self.slot = dict(zip(minutiae, slots, strict=True))


def _decided(chunk: _Chunk, policy: Policy, calibrations: CalibrationsOf) -> list[Verification]:
    refused = [_refused(claim, chunk.known.get(claim.subject_id), policy) for claim in chunk.claims]
    open_ones = [number for number, outcome in enumerate(refused) if outcome is None]
    in_force = calibrations(t for number in open_ones for t in chunk.claims[number].templates)
    comparisons = _comparisons(chunk, open_ones, in_force)
    scores = fusion.fuse(comparisons, len(chunk.claims)).tolist()
    names = {r.encounter: r.encounter_id for c in chunk.known.values() for r in c.references}
    evidence = fusion.explain_each(comparisons, names)
    compared = _compared(comparisons, open_ones)
    faces = _compared([c for c in comparisons if c.position == Position.FACE], open_ones)
    results = []
    for number, outcome in enumerate(refused):
        own = evidence.get(number, ())
        if outcome is not None:
            threshold = threshold_for_fmr(policy.fmr, [])
            results.append(Verification(outcome[0], 0.0, threshold, (), outcome[1]))
            continue
        if not own:
            claim = chunk.claims[number]
            references = chunk.known[claim.subject_id].references
            check_models(claim.templates, {Kind.of(r.template) for r in references})
        threshold = threshold_for_fmr(policy.fmr, compared[number])
        results.append(_decision(scores[number] if own else 0.0, threshold, own, policy, faces[number]))
    return results


def _refused(claim: Claim, known: Claimed | None, policy: Policy) -> tuple[Outcome, str] | None:
    """What is decided without a look at likeness, and why."""
    if known is None:
        return Outcome.NOT_ENROLLED, ""
    if known.status == Status.LOCKED:
        return Outcome.LOCKED, ""
    if known.status == Status.TERMINATED:
        return Outcome.TERMINATED, ""
    unmet = policy.unmet_before(level=known.level, liveness=claim.liveness)
    return (Outcome.REFUSED, unmet) if unmet else None


def _compared(comparisons: Sequence[Comparisons], numbers: Sequence[int]) -> dict[int, Compared]:
    """What each of these claims was compared by, which decides its threshold."""
    ways, way = fusion.compared_by(comparisons, np.array(numbers, np.int64))
    return {number: ways[one] for number, one in zip(numbers, way.tolist(), strict=True)}


def _decision(
    score: float, threshold: float, evidence: tuple[Evidence, ...], policy: Policy, face: Compared
) -> Verification:
    if not evidence or score < threshold:
        return Verification(Outcome.NON_MATCH, score, threshold, evidence)
    unmet = policy.unmet_by(evidence, face)
    outcome = Outcome.REFUSED if unmet else Outcome.MATCH
    return Verification(outcome, score, threshold, evidence, unmet)


def _comparisons(chunk: _Chunk, numbers: Sequence[int], calibrations: Calibrations) -> list[Comparisons]:
    """All comparisons of some of the claims; the number of the claim stands for the subject."""
    tasks = [
        _Task(number, probe, position, own)
        for number in numbers
        for probe in chunk.claims[number].templates
        for position, own in _comparable(probe, chunk.known[chunk.claims[number].subject_id].references)
    ]
    portions = [tasks[start : start + _PORTION] for start in range(0, len(tasks), _PORTION)]

    def raw(portion: Sequence[_Task]) -> list[NDArray[np.float32]]:
        return [_raw(chunk, task) for task in portion]

    if len(portions) > 1:
        with ThreadPoolExecutor(min(len(portions), os.cpu_count() or 1), "abis-compare") as pool:
            scores = list(chain.from_iterable(pool.map(raw, portions)))
    else:
        scores = raw(tasks)

    alike: dict[tuple[Kind, Position], list[int]] = {}
    for at, task in enumerate(tasks):
        alike.setdefault((Kind.of(task.probe), task.position), []).append(at)
    return [
        Comparisons.of(
            tasks[places[0]].probe,
            position,
            subject=np.array([tasks[at].claim for at in places for _ in tasks[at].references], np.int64),
            encounter=np.array([r.encounter for at in places for r in tasks[at].references], np.int64),
            raw=np.concatenate([scores[at] for at in places]),
            calibrations=calibrations,
        )
        for (_, position), places in alike.items()
    ]


def _raw(chunk: _Chunk, task: _Task) -> NDArray[np.float32]:
    if isinstance(task.probe, Minutiae):
        slots = np.array([chunk.slot[id(r)] for r in task.references], np.int64)
        return chunk.packed.compare(task.probe, slots, threads=1)
    return comparison.raw_scores(task.probe, [r.template for r in task.references])


def _comparable(
    probe: Template, references: Sequence[StoredTemplate]
) -> Iterator[tuple[Position, list[StoredTemplate]]]:
    """The references that a probe template can be compared with, by position."""
    kind = Kind.of(probe)
    by_position: dict[Position, list[StoredTemplate]] = {}
    for reference in references:
        if Kind.of(reference.template).is_comparable(kind):
            by_position.setdefault(reference.template.position, []).append(reference)
    yield from by_position.items()


def check_models(probe: Sequence[Template], kinds: Iterable[Kind]) -> None:
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
