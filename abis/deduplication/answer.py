# SPDX-License-Identifier: Apache-2.0
"""De-duplication of a gallery: from its references to named pairs and clusters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from abis.deduplication.checkpoint import AsOf, Checkpoint, Question
from abis.deduplication.clusters import Link, grouped
from abis.deduplication.job import Job, Scope
from abis.deduplication.pairing import Criterion, FoundPair
from abis.deduplication.results import DuplicateCluster, DuplicatePair, Duplicates
from abis.errors import ArgumentError
from abis.index.coverage import kind_sets, mutual_coverage
from abis.index.references import ReferenceView
from abis.index.sizes import WorkSizes
from abis.scoring.calibration import Calibrations
from abis.store import Store

__all__ = ["clustered", "deduplicate", "named"]


def deduplicate(
    store: Store,
    view: ReferenceView,
    calibrations: Calibrations,
    *,
    fpir: float | None,
    threshold: float | None,
    exact: bool,
    since: int | None,
    checkpoint: Path | None,
    progress: Callable[[int, int], None] | None,
    sizes: WorkSizes,
) -> Duplicates:
    """What :meth:`abis.Gallery.deduplicate` does, for references as of one change.

    An existing checkpoint is not removed: the caller removes it once the result is stored.

    Args:
        store: of the gallery.
        view: all references.
        calibrations: of the kinds of the references.
        fpir: false positive identification rate; None if there is a threshold.
        threshold: least score of a pair; None if there is a rate.
        exact: compare all pairs in full.
        since: number of a change: compare only subjects enrolled after it with all; None compares all.
        checkpoint: file that keeps finished portions; None keeps none.
        progress: called with the pairs done and the pairs in all.
        sizes: numbers of subjects' keys in a tile and in a portion.
    """
    if since is not None and since < 0:
        raise ArgumentError(f"since is {since}; expected the number of a change, 0 or more")
    now = AsOf(view.mark.change, view.subjects, view.span - 1, view.last_encounter)
    with Checkpoint(checkpoint, Question(fpir, threshold, exact, since), now) as done:
        as_of = done.as_of
        criterion = Criterion(as_of.subjects, fpir, threshold, exact)
        new = None
        if since is not None:
            new = np.array(sorted(store.subjects_enrolled_between(since, as_of.change)), np.int64)
        scope = Scope(view.segments, as_of.last_subject, as_of.last_encounter, new)
        enrolled = kind_sets(
            scope.segments, last_subject=scope.last_subject, last_encounter=scope.last_encounter
        )
        pairs = Job(scope, criterion, calibrations, sizes).run(done, progress)
    return Duplicates(
        named(store, pairs),
        gallery_size=as_of.subjects,
        searched=as_of.subjects if new is None else len(new),
        fpir=fpir,
        change=as_of.change,
        coverage=mutual_coverage(enrolled),
    )


def named(store: Store, pairs: Sequence[FoundPair]) -> tuple[DuplicateCluster, ...]:
    """Clusters of named pairs. Pairs of subjects or encounters that are no longer in the store are left out."""
    subjects = {key for pair in pairs for key in (pair.probe, pair.reference)}
    names, _, encounters = store.named(subjects, {key for pair in pairs for key in pair.encounters})
    known = [
        pair.with_names(encounters)
        for pair in pairs
        if pair.probe in names and pair.reference in names and pair.encounters <= encounters.keys()
    ]
    return clustered(known, names)


def clustered(known: Sequence[FoundPair], names: Mapping[int, str]) -> tuple[DuplicateCluster, ...]:
    """Clusters of pairs whose encounters have names already.

    Args:
        known: pairs of subjects, which have any numbers; of equal scores, smaller numbers come first.
        names: subject_ids by these numbers.
    """
    groups = grouped([Link(pair.reference, pair.probe, pair.score) for pair in known])
    clusters = []
    for number, group in enumerate(groups, 1):
        own = tuple(_pair(known[n], number, n in group.weak, names) for n in group.links)
        families = tuple(tuple(names[key] for key in family) for family in group.families)
        clusters.append(DuplicateCluster(number, families, own))
    return tuple(clusters)


def _pair(pair: FoundPair, cluster: int, is_weak: bool, names: Mapping[int, str]) -> DuplicatePair:
    return DuplicatePair(
        names[pair.reference], names[pair.probe], pair.score, pair.threshold, pair.evidence, cluster, is_weak
    )
