# SPDX-License-Identifier: Apache-2.0
"""How many subjects can be compared with each other, by the kinds of their templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from abis.comparison.coverage import Coverage
from abis.comparison.kind import Kind
from abis.index.segments import Segment

__all__ = ["KindSets", "counted_kinds", "kind_sets", "mutual_coverage"]

KindSets = Mapping[frozenset[Kind], int]
"""Number of subjects by the kinds of their templates."""


def kind_sets(
    segments: Sequence[Segment], *, last_subject: int, last_encounter: int | None = None
) -> Counter[frozenset[Kind]]:
    """Count subjects by the kinds of templates that they have.

    Args:
        segments: references of a gallery.
        last_subject: largest key of a subject that is counted.
        last_encounter: largest key of an encounter that is considered; None considers all.
    """
    blocks = [block for segment in segments for block in segment.blocks if block.present]
    kinds = sorted({block.kind for block in blocks})
    group = np.zeros(last_subject + 1, np.int64)  # number of each key's group
    groups: list[frozenset[Kind]] = [frozenset()]  # the kinds of each group's subjects
    for kind in kinds:
        has = np.zeros(len(group), np.bool_)
        for block in (block for block in blocks if block.kind == kind):
            slots = block.present_slots()
            subjects = block.subjects[slots]
            is_in_scope = subjects <= last_subject
            if last_encounter is not None:
                is_in_scope &= block.encounters[slots] <= last_encounter
            has[subjects[is_in_scope]] = True
        number = 2 * group + has
        is_used = np.bincount(number, minlength=2 * len(groups)) > 0
        groups = [groups[n // 2] | ({kind} if n % 2 else set()) for n in np.flatnonzero(is_used).tolist()]
        group = (np.cumsum(is_used) - 1)[number]
    counts = np.bincount(group, minlength=len(groups)).tolist()
    return Counter({own: count for own, count in zip(groups, counts, strict=True) if own and count})


def counted_kinds(enrolled: KindSets) -> dict[str, int]:
    """Number of subjects that have templates of each kind, in the order of the kinds."""
    counts: Counter[Kind] = Counter()
    for own, count in enrolled.items():
        counts.update(dict.fromkeys(own, count))
    return {str(kind): counts[kind] for kind in sorted(counts)}


def mutual_coverage(enrolled: KindSets) -> Coverage:
    """How many subjects are comparable with every other one; of those that are not, the kinds of their templates."""
    partly = {
        own: count
        for own, count in enrolled.items()
        if not all(any(a.is_comparable(b) for a in own for b in other) for other in enrolled)
    }
    by_kind: Counter[str] = Counter()
    for own, count in partly.items():
        by_kind.update({str(kind): count for kind in own})
    subjects = sum(enrolled.values())
    return Coverage(subjects, subjects - sum(partly.values()), dict(sorted(by_kind.items())))
