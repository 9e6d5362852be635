# SPDX-License-Identifier: Apache-2.0
"""Identification and verification as OSIA asks for them, by what the gallery offers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from msgspec import UNSET

from abis.errors import TemplateError
from abis.results import Candidate, Identification, Outcome, Verification
from abis.scoring.fusion import Evidence
from abis.service import messages
from abis.service.batching import Batcher
from abis.service.biometrics import subtype_of, type_of
from abis.service.callers import Caller
from abis.service.encounters import ALL, Person
from abis.service.refusals import Refusal
from abis.service.served import Served, ServedPart
from abis.service.settings import Disclosure, Settings
from abis.store import Status
from abis.template import Template
from abis.verification import Claim

__all__ = ["Decided", "Search", "SearchFor", "Searches"]

_CLAIMS = 256  # of one batch
_PROBES = 64
_MORE = 4  # times as many candidates are asked for, where too many were left out


@dataclass(frozen=True)
class Search:
    """What candidates a search is to find.

    Attributes:
        gallery: of OSIA; ALL: every one.
        most: candidates.
        fpir: list what reaches the threshold of this rate; None: list by ``threshold``.
        threshold: list what has at least this score, a log10 likelihood ratio; None: no such limit.
        filter: of OSIA, without biometric types.
        without: a person that is not to be listed.
    """

    gallery: str
    most: int
    fpir: float | None
    threshold: float | None
    filter: Mapping[str, Any]
    without: str | None = None

    @property
    def labels(self) -> tuple[str, ...] | None:
        """What the engine is to search."""
        return None if self.gallery == ALL else (self.gallery,)


class SearchFor(NamedTuple):
    """Searches that can share a batch."""

    caller: Caller
    labels: tuple[str, ...] | None
    most: int
    fpir: float | None


class _VerifyFor(NamedTuple):
    """Verifications that can share a batch."""

    caller: Caller
    fmr: float


class _Claimed(NamedTuple):
    gallery: str
    person_id: str
    templates: Sequence[Template]


class Decided(NamedTuple):
    """A verification, and the encounters that it could compare with."""

    verification: Verification
    person: Person | None


class Searches:
    """Identifies and verifies. For one event loop; work is done in threads.

    Args:
        served: the gallery or cluster that is searched.
        settings: of the service.
        executor: of the threads.
    """

    def __init__(self, served: Served, settings: Settings, executor: Executor) -> None:
        self._served = served
        self._settings = settings
        self.verifications = Batcher(self._verify_batch, executor, _CLAIMS)
        self.identifications = Batcher(self._identify_batch, executor, _PROBES)

    # ----------------------------------------------------------------------------------- verification

    async def verify(
        self,
        caller: Caller,
        gallery: str,
        person_id: str,
        templates: Sequence[Template],
        *,
        fmr: float,
        threshold: float | None,
    ) -> messages.Verified:
        """Is this the person?

        Raises:
            Refusal: 404 where there is no such person in the gallery; 403 where the identity is locked,
                terminated, or refused by a policy.
            TemplateError: probe and person have embeddings of different models only.
        """
        decided = await self.verifications(_VerifyFor(caller, fmr), _Claimed(gallery, person_id, templates))
        if isinstance(decided, Refusal):
            raise decided
        return self._verified(decided.verification, threshold, decided.person)

    def compare(
        self,
        templates: Sequence[Template],
        others: Sequence[Template],
        *,
        fmr: float,
        threshold: float | None,
    ) -> messages.Verified:
        """Are two sets of templates of one person?

        Raises:
            TemplateError: the sets have embeddings of different models only.
        """
        verification = self._served.parts[0].gallery.compare(templates, others, fmr=fmr)
        return self._verified(verification, threshold, None)

    def _verify_batch(self, key: _VerifyFor, claimed: Sequence[_Claimed]) -> list[Decided | Refusal]:
        answers: dict[int, Decided | Refusal] = {}
        for part, numbers in self._by_part([each.person_id for each in claimed]):
            own = self._verify_in(part, key, [claimed[number] for number in numbers])
            answers.update(zip(numbers, own, strict=True))
        return [answers[number] for number in range(len(claimed))]

    def _verify_in(
        self, part: ServedPart, key: _VerifyFor, claimed: Sequence[_Claimed]
    ) -> list[Decided | Refusal]:
        known = part.persons.known({each.person_id for each in claimed})
        answers: list[Decided | Refusal | None] = []
        claims: list[Claim] = []
        for each in claimed:
            own = known.get(each.person_id)
            inside = [] if own is None else [n for n, e in own.encounters.items() if e.is_in(each.gallery)]
            if own is None or not inside:
                where = "" if each.gallery == ALL else f" in gallery {each.gallery!r}"
                answers.append(Refusal(404, f"there is no person {each.person_id!r}{where}"))
                continue
            encounters = None if len(inside) == len(own.encounters) else frozenset(inside)
            claims.append(Claim(each.person_id, each.templates, encounters=encounters))
            answers.append(None)
        with key.caller.acting():
            decided = iter(list(part.gallery.verify_many(claims, fmr=key.fmr)))
        return [
            Decided(next(decided), known[each.person_id]) if answer is None else answer
            for each, answer in zip(claimed, answers, strict=True)
        ]

    def _by_part(self, person_ids: Sequence[str]) -> Iterable[tuple[ServedPart, list[int]]]:
        """The parts that persons are in, each with the numbers of its own persons."""
        found: dict[int, tuple[ServedPart, list[int]]] = {}
        for number, person_id in enumerate(person_ids):
            part = self._served.part_of(person_id)
            found.setdefault(id(part), (part, []))[1].append(number)
        return found.values()

    def _verified(
        self, verification: Verification, threshold: float | None, known: Person | None
    ) -> messages.Verified:
        match verification.outcome:
            case Outcome.NOTHING_COMPARABLE:
                raise Refusal(400, f"biometricData: nothing to compare: {verification.reason}")
            case Outcome.NOT_ENROLLED:
                raise Refusal(404, "there is no such person")
            case Outcome.PAUSED:
                raise Refusal(429, f"too many verifications of this person failed: {verification.reason}")
            case Outcome.MATCH | Outcome.NON_MATCH:
                pass
            case outcome:  # locked, terminated, refused by a policy: nothing was decided
                raise Refusal(403, f"the identity is {outcome}: {verification.reason}".rstrip(": "))
        decision = verification.match
        if threshold is not None:
            decision = bool(verification.evidence) and verification.score >= threshold
        return messages.Verified(
            decision=decision, scores=self._details(verification.evidence, known, galleries=False)
        )

    # --------------------------------------------------------------------------------- identification

    async def identify(
        self, caller: Caller, templates: Sequence[Template], wanted: Search
    ) -> list[messages.CandidateMessage]:
        """Who is this?

        Raises:
            TemplateError: probe and gallery have embeddings of different models only.
        """
        most = wanted.most
        if wanted.without is not None or wanted.filter:
            most = min(most + 1, self._settings.limits.candidates)
        while True:
            key = SearchFor(caller, wanted.labels, most, wanted.fpir)
            found, kept = await self.identifications(key, (templates, wanted))
            if len(kept) >= wanted.most or len(found) < most or most >= self._settings.limits.candidates:
                break
            most = min(_MORE * most, self._settings.limits.candidates)
        return [self._candidate(each, known) for each, known in kept[: wanted.most]]

    def _identify_batch(
        self, key: SearchFor, asked: Sequence[tuple[Sequence[Template], Search]]
    ) -> list[tuple[Identification, list[tuple[Candidate, Person]]]]:
        with key.caller.acting():
            found = list(
                self._served.identify_many(
                    [templates for templates, _ in asked],
                    max_candidates=key.most,
                    fpir=key.fpir,
                    labels=key.labels,
                )
            )
        answers = []
        for (templates, wanted), result in zip(asked, found, strict=True):
            if isinstance(result, TemplateError):
                raise result
            answers.append((result, self._kept(templates, wanted, result)))
        return answers

    def _kept(
        self, templates: Sequence[Template], wanted: Search, found: Identification
    ) -> list[tuple[Candidate, Person]]:
        """The candidates that fulfil all that is wanted, scored by the encounters alone that do, ranked."""
        if not found:
            return []
        known: dict[str, Person] = {}
        inside: dict[str, set[str]] = {}
        for part, numbers in self._by_part([candidate.subject_id for candidate in found]):
            own_persons = part.persons.known([found[number].subject_id for number in numbers])
            known |= own_persons
            passes = partial(_passes, wanted.filter) if wanted.filter else None
            inside |= part.persons.inside(own_persons, wanted.gallery, passes)
        kept = []
        for candidate in found:
            own = known.get(candidate.subject_id)
            if own is None or candidate.subject_id == wanted.without or not inside[candidate.subject_id]:
                continue
            if len(inside[candidate.subject_id]) < len(own.encounters):
                rescored = self._rescored(candidate, templates, frozenset(inside[candidate.subject_id]))
                if rescored is None:
                    continue
                candidate = rescored  # noqa: PLW2901
            if wanted.threshold is None or candidate.score >= wanted.threshold:
                kept.append((candidate, own))
        kept.sort(key=lambda each: (-each[0].score, each[0].subject_id))
        return [(replace(candidate, rank=rank), own) for rank, (candidate, own) in enumerate(kept, 1)]

    def _rescored(
        self, candidate: Candidate, templates: Sequence[Template], encounters: frozenset[str]
    ) -> Candidate | None:
        """A candidate by some of its encounters alone; None where these do not suffice."""
        claim = Claim(candidate.subject_id, templates, encounters=encounters)
        (verified,) = self._served.part_of(candidate.subject_id).gallery.verify_many([claim])
        if not verified.evidence:  # there is none, or the gallery discloses none
            return candidate if verified.match else None
        if candidate.threshold is not None and verified.score < candidate.threshold:
            return None
        return replace(candidate, score=verified.score, evidence=verified.evidence)

    def _candidate(self, candidate: Candidate, known: Person) -> messages.CandidateMessage:
        is_active = candidate.status == Status.ACTIVE
        return messages.CandidateMessage(
            person_id=candidate.subject_id,
            rank=candidate.rank,
            score=disclosed(candidate.score, self._settings.disclosure),
            scores=self._details(candidate.evidence, known, galleries=True),
            others=UNSET if is_active else {"status": str(candidate.status).upper()},
        )

    def _details(
        self, evidence: Sequence[Evidence], known: Person | None, *, galleries: bool
    ) -> list[messages.ScoreDetail] | Any:
        if self._settings.disclosure == "decision":
            return UNSET
        details = []
        for each in evidence:
            encounter = None if known is None else known.encounters.get(each.encounter_id)
            named = [] if encounter is None else [g for g in encounter.galleries if g != ALL]
            details.append(
                messages.ScoreDetail(
                    score=disclosed(each.score, self._settings.disclosure),
                    encounter_id=UNSET if known is None else each.encounter_id,
                    galleries=named if galleries and named else UNSET,
                    biometric_type=type_of(each.position),
                    biometric_sub_type=subtype_of(each.reference_position),
                )
            )
        return details


def disclosed(score: float, disclosure: Disclosure) -> float:
    """A score as callers may see it."""
    if disclosure == "full":
        return score
    return float(math.floor(score)) if disclosure == "rounded" else 1.0


def _passes(wanted: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether biographic data fulfil all conditions of a filter.

    ``nameMin`` and ``nameMax`` bound ``name``; a list asks for one of its values; anything else for the value itself.
    """
    return all(_fulfils(data, name, value) for name, value in wanted.items())


def _fulfils(data: Mapping[str, Any], name: str, value: Any) -> bool:
    for end in ("Min", "Max"):
        base = name.removesuffix(end)
        if base != name and base in data and name not in data:
            try:
                return bool(data[base] >= value if end == "Min" else data[base] <= value)
            except TypeError:
                return False
    if name not in data:
        return False
    return data[name] in value if isinstance(value, list) else bool(data[name] == value)
