# SPDX-License-Identifier: Apache-2.0
"""From a gallery's references to named pairs and clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from abis.deduplication.checkpoint import Checkpoint
from abis.deduplication.clusters import Link, grouped
from abis.deduplication.job import Job, Population
from abis.deduplication.pairing import Criterion, FoundPair
from abis.deduplication.results import Cluster, DuplicatePair, Duplicates
from abis.errors import ArgumentError
from abis.index.references import View
from abis.scoring.calibration import Calibrations
from abis.store import Store

__all__ = ["clustered", "deduplicate", "named"]


def deduplicate(
    store: Store,
    view: View,
    calibrations: Calibrations,
    *,
    fpir: float | None,
    threshold: float | None,
    exact: bool,
    since: int | None,
    checkpoint: Path | None,
    progress: Callable[[int, int], None] | None,
) -> Duplicates:
    """:meth:`abis.Gallery.deduplicate`, of all references as of now.

    The checkpoint, if there is one, is left where it is: whoever has written the result removes it.
    """
    if since is not None and since < 0:
        raise ArgumentError(f"since is {since}; expected the number of a change, 0 or more")
    asked = {"fpir": fpir, "threshold": threshold, "exact": exact, "since": since}
    as_of = {
        "change": view.mark.change,
        "subjects": view.subjects,
        "last_subject": view.span - 1,
        "last_encounter": view.last_encounter,
    }
    with Checkpoint(checkpoint, asked, as_of) as done:
        as_of = done.as_of
        criterion = Criterion(as_of["subjects"], fpir, threshold, exact)
        new = None
        if since is not None:
            new = np.array(sorted(store.subjects_enrolled_between(since, as_of["change"])), np.int64)
        population = Population(view.segments, as_of["last_subject"], as_of["last_encounter"], new)
        pairs = Job(population, criterion, calibrations).run(done, progress)
    return Duplicates(
        named(store, pairs),
        gallery_size=as_of["subjects"],
        searched=as_of["subjects"] if new is None else len(new),
        fpir=fpir,
        change=as_of["change"],
    )


def named(store: Store, pairs: Sequence[FoundPair]) -> tuple[Cluster, ...]:
    """Clusters by the names of subjects and encounters; pairs of those that the store has no more are left out."""
    subjects = {key for pair in pairs for key in (pair.probe, pair.reference)}
    names, _, encounters = store.named(subjects, {key for pair in pairs for key in pair.encounters})
    known = [
        pair.with_names(encounters)
        for pair in pairs
        if pair.probe in names and pair.reference in names and pair.encounters <= encounters.keys()
    ]
    return clustered(known, names)


def clustered(known: Sequence[FoundPair], names: Mapping[int, str]) -> tuple[Cluster, ...]:
    """Clusters of pairs whose encounters are named already.

    Args:
        known: the pairs, subjects by any numbers; of equal scores the smaller come first.
        names: subject_ids by these numbers.
    """
    groups = grouped([Link(pair.reference, pair.probe, pair.score) for pair in known])
    clusters = []
    for number, group in enumerate(groups, 1):
        own = tuple(_pair(known[n], number, n in group.weak, names) for n in group.links)
        families = tuple(tuple(names[key] for key in family) for family in group.families)
        clusters.append(Cluster(number, families, own))
    return tuple(clusters)


def _pair(pair: FoundPair, cluster: int, is_weak: bool, names: Mapping[int, str]) -> DuplicatePair:
    return DuplicatePair(
        names[pair.reference], names[pair.probe], pair.score, pair.threshold, pair.evidence, cluster, is_weak
    )
