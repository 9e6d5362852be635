# SPDX-License-Identifier: Apache-2.0
"""Verification that the audit log tells of, where an actor is stated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from abis.gallery.internals import Internals
from abis.results import Verification
from abis.store import audit, audit_log
from abis.verification import Claim, verify_many
from abis.verification.policy import Policy

__all__ = ["logged_verifications"]

_LOGGED_AT_ONCE = 256  # verifications that share one write to disk


def logged_verifications(
    internals: Internals, claims: Iterable[Claim], policy: Policy
) -> Iterator[Verification]:
    """Decide claims in order; if an actor is stated, each result is in the audit log before it is returned."""
    if audit.actor() is None:
        yield from verify_many(internals.store, claims, policy, internals.calibrations)
        return
    done: list[Verification] = []

    def logged() -> Iterator[Verification]:
        audit_log.record(internals.store, [("verify", r.subject_id, str(r.outcome)) for r in done])
        yield from done
        done.clear()

    for result in verify_many(internals.store, claims, policy, internals.calibrations):
        done.append(result)
        if len(done) == _LOGGED_AT_ONCE:
            yield from logged()
    if done:
        yield from logged()
