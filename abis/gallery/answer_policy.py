# SPDX-License-Identifier: Apache-2.0
"""What a gallery's answers disclose, and how often a claim may fail.

Scores leak templates: a caller who sees how a score changes as the probe changes climbs to a probe that matches, and
scores of many faces give the faces themselves. A service that answers callers it does not trust says less, and counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from abis.errors import ArgumentError, StoreError, check_integer, check_real
from abis.identification.search import SearchOptions
from abis.results import Candidate, Identification, Verification
from abis.scoring.fusion import Evidence
from abis.scoring.thresholds import check_rate
from abis.verification.policy import Policy

__all__ = ["AnswerPolicy", "Disclosure", "disclosed_identification", "disclosed_verification"]


class Disclosure(StrEnum):
    """How much of a score an answer tells."""

    FULL = "full"
    """Scores, thresholds, evidence and raw scores: for research, and for callers that hold the templates anyway."""
    ROUNDED = "rounded"
    """Scores rounded down to whole numbers (bans); no raw scores."""
    DECISION = "decision"
    """Match or non-match, and the subjects found; no score and no evidence. ``identify`` needs a ``fpir``."""


@dataclass(frozen=True)
class AnswerPolicy:
    """What the answers of a gallery disclose; kept with the gallery, for all processes that open it.

    Attributes:
        disclosure: of scores.
        max_candidates: largest number of candidates of a search that a caller may ask for.
        failures: verifications of one subject that may fail in a row before it is paused; None for any number.
        pause_s: seconds of the first pause, in which the subject is not compared; each further failure doubles it,
            up to a day.
        fmr: the only false match rate that a verification may ask for; None for any. A caller who may choose the rate
            finds a score by bisection, whatever else is disclosed.
        fpir: the only false positive identification rate that a search may ask for; None for any.

    Raises:
        ArgumentError: a value is out of its range.
    """

    disclosure: Disclosure = Disclosure.FULL
    max_candidates: int = 1_000_000
    failures: int | None = None
    pause_s: float = 900.0
    fmr: float | None = None
    fpir: float | None = None

    def __post_init__(self) -> None:
        if self.disclosure not in list(Disclosure):
            raise ArgumentError(
                f"disclosure is {self.disclosure!r}; expected one of {', '.join(map(repr, map(str, Disclosure)))}"
            )
        object.__setattr__(self, "disclosure", Disclosure(self.disclosure))
        check_integer("max_candidates", self.max_candidates, 1, 1_000_000)
        if self.failures is not None:
            check_integer("failures", self.failures, 1, 1_000_000)
        check_real("pause_s", self.pause_s, above=0, highest=86_400, what="seconds above 0, up to 86,400")
        for name, rate in (("fmr", self.fmr), ("fpir", self.fpir)):
            if rate is not None:
                check_rate(name, rate)

    def check_verification(self, policy: Policy) -> None:
        """Refuse a verification by another false match rate than the one that callers may ask for.

        Raises:
            ArgumentError: it asks for another rate.
        """
        for name, rate in (("fmr", policy.fmr), ("face_fmr", policy.face_fmr)):
            if self.fmr is not None and rate not in (self.fmr, None):
                raise ArgumentError(
                    f"{name} is {rate:g}; this gallery decides verifications at {self.fmr:g} only"
                )

    def check_search(self, options: SearchOptions) -> None:
        """Refuse a search that asks for more than is disclosed.

        Raises:
            ArgumentError: it asks for another rate, or for the rate of a gallery of another size.
        """
        if self.fpir is not None and (options.fpir != self.fpir or options.gallery_size is not None):
            raise ArgumentError(
                f"fpir is {options.fpir} and gallery_size {options.gallery_size}; this gallery decides searches at "
                f"an fpir of {self.fpir:g}, for all of its subjects"
            )

    def to_json(self) -> str:
        """The policy as the gallery keeps it."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str) -> AnswerPolicy:
        """The policy again.

        Raises:
            StoreError: the text is no policy.
        """
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.ValidationError as error:
            raise StoreError(f"the gallery's answer policy is not valid: {error}") from None


def disclosed_verification(result: Verification, disclosure: Disclosure) -> Verification:
    """A verification with no more than is to be disclosed."""
    match disclosure:
        case Disclosure.FULL:
            return result
        case Disclosure.ROUNDED:
            return replace(
                result,
                score=_floor(result.score),
                threshold=_floor(result.threshold),
                evidence=tuple(map(_rounded, result.evidence)),
            )
        case Disclosure.DECISION:
            return replace(result, score=0.0, threshold=0.0, evidence=(), disclosed=False)


def disclosed_identification(result: Identification, disclosure: Disclosure) -> Identification:
    """An identification with no more than is to be disclosed; equal candidates in the order of their ids."""
    match disclosure:
        case Disclosure.FULL:
            return result
        case Disclosure.ROUNDED:
            candidates = [
                replace(
                    each,
                    score=_floor(each.score),
                    threshold=None if each.threshold is None else _floor(each.threshold),
                    evidence=tuple(map(_rounded, each.evidence)),
                )
                for each in result
            ]
        case Disclosure.DECISION:
            candidates = [
                replace(each, score=0.0, threshold=None, evidence=(), disclosed=False) for each in result
            ]
    return replace(
        result,
        candidates=_ranked(candidates),
        compared=0,
        comparable=0,
        disclosed=disclosure is not Disclosure.DECISION,
    )


def _ranked(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    ordered = sorted(candidates, key=lambda each: (-each.score, each.subject_id))
    return tuple(replace(each, rank=rank) for rank, each in enumerate(ordered, 1))


def _rounded(evidence: Evidence) -> Evidence:
    return replace(evidence, score=_floor(evidence.score), raw=0.0)


def _floor(threshold: float) -> float:
    return float(math.floor(threshold)) if math.isfinite(threshold) else threshold
