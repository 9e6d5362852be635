# SPDX-License-Identifier: Apache-2.0
"""One search of a gallery: from templates to named candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from abis.comparison.kind import check_models
from abis.errors import StoreError
from abis.gallery.answers import Disclosure, disclosed_identification
from abis.gallery.internals import Internals
from abis.identification.search import Found, SearchOptions, search
from abis.index.segments import Probe, comparable_blocks
from abis.results import Candidate, Identification
from abis.scoring import fusion
from abis.scoring.fusion import Comparisons
from abis.store import checked_templates
from abis.store.records import Named
from abis.template import Embedding, Template

__all__ = ["identify"]


def identify(
    internals: Internals,
    templates: Sequence[Template],
    *,
    options: SearchOptions,
    all_fingers: bool = False,
) -> Identification:
    """Search a gallery for the subject of a probe.

    Args:
        internals: of the gallery.
        templates: the probe.
        options: what to search for, and how thoroughly.
        all_fingers: search with every finger, even if the first ones find a certain match.

    Raises:
        TemplateError: probe and gallery have embeddings of different models only.
        StoreError: the store does not hold what the references say.
    """
    answers = internals.answers()
    if options.max_candidates > answers.max_candidates:
        raise ValueError(
            f"max_candidates is {options.max_candidates}; this gallery returns at most {answers.max_candidates}"
        )
    if answers.disclosure is Disclosure.DECISION and options.fpir is None:
        raise ValueError("this gallery discloses decisions only; give the fpir that candidates must reach")
    probe = checked_templates(templates)
    calibrations = internals.calibrations(probe)
    prepared = [Probe.of(template) for template in probe]
    # A quick search takes the references in memory, and is told by the answer to its only question if others have
    # changed the gallery meanwhile. A long one asks first, so that it need not be repeated.
    is_quick = not options.exact and all(isinstance(template, Embedding) for template in probe)
    at_least = 0 if is_quick else None
    while True:
        view, among = internals.view(options.labels, at_least)
        check_models(probe, view.kinds)
        found = search(prepared, view, among, calibrations, options, all_fingers=all_fingers)
        comparisons = [c.where(np.isin(c.subject, found.subjects)) for c in found.comparisons]
        encounters = {encounter for c in comparisons for encounter in c.encounter.tolist()}
        named, change = internals.store.owners(encounters)
        is_complete = encounters <= named.encounters.keys() and named.subjects.keys() >= set(
            found.subjects.tolist()
        )
        is_current = at_least != 0 or change <= view.mark.change
        if is_complete and is_current:
            candidates = _candidates(found, comparisons, named, options.max_candidates)
            internals.record("identify", "", f"{len(candidates)} candidates")
            result = Identification(
                candidates,
                compared=sum(map(len, found.comparisons)),
                comparable=sum(b.present for t in probe for b in comparable_blocks(view.segments, t)),
                gallery_size=view.subjects,
                fpir=options.fpir,
            )
            return disclosed_identification(result, answers.disclosure)
        if is_current and change == view.mark.change:  # else: a candidate was removed; search again
            raise StoreError(f"{internals.store.name}: subjects or encounters of its templates are missing")
        at_least = change


def _candidates(
    found: Found, comparisons: Sequence[Comparisons], named: Named, most: int
) -> tuple[Candidate, ...]:
    """The subjects found, named and in order, with their evidence."""
    limits = [None] * len(found.subjects) if found.thresholds is None else found.thresholds.tolist()
    rows = sorted(
        zip(found.scores.tolist(), found.subjects.tolist(), limits, strict=True),
        key=lambda row: (-row[0], named.subjects[row[1]]),
    )[:most]
    evidence = fusion.explain_each(comparisons, named.encounters)
    return tuple(
        Candidate(rank, named.subjects[key], score, limit, evidence[key], named.statuses[key])
        for rank, (score, key, limit) in enumerate(rows, 1)
    )
