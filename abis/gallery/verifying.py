# SPDX-License-Identifier: Apache-2.0
"""Verification that the audit log tells of, where an actor is stated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from abis.gallery.answer_policy import AnswerPolicy, disclosed_verification
from abis.gallery.internals import Internals
from abis.results import Verification
from abis.store import audit, audit_log
from abis.verification import Attempts, Claim, verify_many
from abis.verification.policy import Policy

__all__ = ["attempts_of", "logged_verifications"]

_LOGGED_AT_ONCE = 256  # verifications that share one write to disk


def attempts_of(answers: AnswerPolicy) -> Attempts | None:
    """How failed verifications are counted; None where they are not."""
    return None if answers.failures is None else Attempts(answers.failures, answers.pause_s)


def _disclosed(internals: Internals, claims: Iterable[Claim], policy: Policy) -> Iterator[Verification]:
    answers = internals.answers()
    for result in verify_many(internals.store, claims, policy, internals.calibrations, attempts_of(answers)):
        yield disclosed_verification(result, answers.disclosure)


def logged_verifications(
    internals: Internals, claims: Iterable[Claim], policy: Policy
) -> Iterator[Verification]:
    """Decide claims in order; if an actor is stated, each result is in the audit log before it is returned."""
    if audit.actor() is None:
        yield from _disclosed(internals, claims, policy)
        return
    done: list[Verification] = []

    def logged() -> Iterator[Verification]:
        audit_log.record(internals.store, [("verify", r.subject_id, str(r.outcome)) for r in done])
        yield from done
        done.clear()

    for result in _disclosed(internals, claims, policy):
        done.append(result)
        if len(done) == _LOGGED_AT_ONCE:
            yield from logged()
    if done:
        yield from logged()
