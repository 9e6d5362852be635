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
from abis.store import Store, checked_templates
from abis.template import Template

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
    while True:
        view, among = internals.view(options.labels)
        check_models(probe, view.kinds)
        found = search(prepared, view, among, calibrations, options, all_fingers=all_fingers)
        candidates = _candidates(internals.store, found, options.max_candidates)
        if candidates is not None:
            internals.record("identify", "", f"{len(candidates)} candidates")
            result = Identification(
                candidates,
                compared=sum(map(len, found.comparisons)),
                comparable=sum(b.present for t in probe for b in comparable_blocks(view.segments, t)),
                gallery_size=view.subjects,
                fpir=options.fpir,
            )
            return disclosed_identification(result, answers.disclosure)
        if internals.store.state().change == view.mark.change:  # else: a candidate was removed; search again
            raise StoreError(f"{internals.store.name}: subjects or encounters of its templates are missing")


def _candidates(store: Store, found: Found, most: int) -> tuple[Candidate, ...] | None:
    """The subjects found, named and in order, with their evidence; None if the store has no name for one."""
    comparisons = [c.where(np.isin(c.subject, found.subjects)) for c in found.comparisons]
    encounters = {encounter for c in comparisons for encounter in c.encounter.tolist()}
    named = store.named(found.subjects.tolist(), encounters)
    if len(named.subjects) < len(found.subjects) or len(named.encounters) < len(encounters):
        return None
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
