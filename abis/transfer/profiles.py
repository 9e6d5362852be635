# SPDX-License-Identifier: Apache-2.0
"""The DNA profiles of a gallery, for tables and messages of laboratories."""

from __future__ import annotations

from collections.abc import Iterator

from abis.store import Mark, Store
from abis.template import StrProfile

__all__ = ["stored_profiles"]

_TEMPLATES = 10_000  # read at once


def stored_profiles(store: Store) -> Iterator[tuple[str, str, StrProfile]]:
    """The subject id, the encounter id and the profile of each enrolled DNA profile, in the order of enrolment."""
    mark, complete = Mark(), False
    while not complete:
        tail = store.tail(mark, limit=_TEMPLATES)
        names = store.names({stored.subject for stored in tail.enrolled})
        for stored in tail.enrolled:
            if isinstance(stored.template, StrProfile) and stored.subject in names:  # else: removed since
                yield names[stored.subject], stored.encounter_id, stored.template
        mark, complete = tail.mark, tail.complete
