# SPDX-License-Identifier: Apache-2.0
"""Searches of a gallery: from templates to named candidates, for one probe or for many."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from abis.comparison.kind import Kind, check_models
from abis.errors import ArgumentError, StoreError, TemplateError
from abis.gallery.answer_policy import Disclosure, disclosed_identification
from abis.gallery.internals import Internals
from abis.identification.screening import Screening, look_together
from abis.identification.search import Found, SearchOptions, screening_of, search
from abis.index.references import ReferenceView
from abis.index.segments import Probe, comparable_blocks
from abis.parallel import in_parallel
from abis.parallel.cancellation import check_cancelled
from abis.results import Candidate, Identification
from abis.scoring import fusion
from abis.scoring.fusion import Comparisons
from abis.store import checked_templates
from abis.store.records import Named
from abis.template import Template

__all__ = ["identify", "identify_many"]

_TOGETHER = 16  # probes in one pass over the codes of a gallery: more gain little ...
_MOST_SUBJECTS = 2**28  # ... and each holds the evidence of every subject: 4 bytes, or 8 with a face


class _Begun(NamedTuple):
    """A search whose first look was taken together with those of other probes."""

    view: ReferenceView
    among: NDArray[np.int64] | None
    prepared: list[Probe]
    screening: Screening


class _Request(NamedTuple):
    """A checked probe, and its search where one has begun."""

    probe: tuple[Template, ...]
    begun: _Begun | None


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
        Cancelled: see :class:`abis.parallel.cancellation.Cancellation`.
    """
    return _identify(internals, options, all_fingers, _Request(checked_templates(templates), None))


def identify_many(
    internals: Internals,
    probes: Iterable[Sequence[Template]],
    *,
    options: SearchOptions,
    all_fingers: bool = False,
) -> Iterator[Identification | TemplateError]:
    """Search a gallery for the subjects of many probes: the results of :func:`identify`, in the order of the probes.

    A block of probes takes the first look in one pass over the references; then several probes at a time are searched
    to their end. No more than a block of probes is in memory at any time.

    Args:
        internals: of the gallery.
        probes: the templates of each probe.
        options: what to search for, and how thoroughly.
        all_fingers: search with every finger, even if the first ones find a certain match.

    Yields:
        The result of each search, or the TemplateError that :func:`identify` would raise.
    """
    source = iter(probes)
    while block := list(islice(source, _TOGETHER)):
        check_cancelled()
        checked = [_checked(templates) for templates in block]
        options = _allowed(internals, options)
        requests = _begun(internals, [one for one in checked if not isinstance(one, TemplateError)], options)
        with closing(in_parallel(partial(_outcome, internals, options, all_fingers), requests)) as results:
            for one in checked:
                yield one if isinstance(one, TemplateError) else next(results)


def _checked(templates: Sequence[Template]) -> tuple[Template, ...] | TemplateError:
    try:
        return checked_templates(templates)
    except TemplateError as error:
        return error


def _outcome(
    internals: Internals, options: SearchOptions, all_fingers: bool, request: _Request
) -> Identification | TemplateError:
    try:
        return _identify(internals, options, all_fingers, request)
    except TemplateError as error:
        return error


def _begun(
    internals: Internals, probes: Sequence[tuple[Template, ...]], options: SearchOptions
) -> Iterator[_Request]:
    """Begins the searches of probes with fingers together; all others begin when their turn comes."""
    if options.exact or len(probes) < 2:
        yield from (_Request(probe, None) for probe in probes)
        return
    left = deque(probes)
    while left:
        view, among = internals.view(options.labels)
        size = max(1, _MOST_SUBJECTS // view.span)
        together = [left.popleft() for _ in range(min(size, len(left)))]
        prepared = [_prepared(internals, probe) for probe in together]
        begun = [_Begun(view, among, own, screening_of(own, view, among, options)) for own in prepared]
        look_together([one.screening for one in begun if one.screening.has_fingers])
        for probe, one in zip(together, begun, strict=True):
            yield _Request(probe, one if one.screening.has_fingers else None)


def _prepared(internals: Internals, probe: Sequence[Template]) -> list[Probe]:
    calibrations = internals.calibrations(probe)
    return [Probe.of(template, calibrations) for template in probe]


def _allowed(internals: Internals, options: SearchOptions) -> SearchOptions:
    """The options as the gallery's answer policy allows them; a search that it does not allow is refused."""
    answers = internals.answers()
    if answers.disclosure is Disclosure.DECISION and options.fpir is None:
        raise ArgumentError("this gallery discloses decisions only; give the fpir that candidates must reach")
    return options.allowed(answers.max_candidates)


def _identify(
    internals: Internals, options: SearchOptions, all_fingers: bool, request: _Request
) -> Identification:
    options = _allowed(internals, options)
    probe, begun = request
    calibrations = internals.calibrations(probe)
    prepared = _prepared(internals, probe) if begun is None else begun.prepared
    # A quick search takes the references in memory, and is told by the answer to its only question if others have
    # changed the gallery meanwhile. A long one asks first, so that it need not be repeated.
    is_quick = not options.exact and all(one.tells_nearest for one in prepared)
    at_least = 0 if is_quick else None
    while True:
        check_cancelled()
        view, among = internals.view(options.labels, at_least) if begun is None else begun[:2]
        check_models(probe, view.kinds)
        screening = None if begun is None else begun.screening
        begun = None  # a search that is repeated takes its own look
        found = search(
            prepared, view, among, calibrations, options, all_fingers=all_fingers, screening=screening
        )
        comparisons = [c.where(np.isin(c.subject, found.subjects)) for c in found.comparisons]
        encounters = {encounter for c in comparisons for encounter in c.encounter.tolist()}
        named, change = internals.store.owners(encounters)
        is_complete = encounters <= named.encounters.keys() and named.subjects.keys() >= set(
            found.subjects.tolist()
        )
        if not is_complete and change <= view.mark.change:
            raise StoreError(
                f"{internals.store.name}: the references name encounters that the store does not have; its log of "
                "changes may have been altered; `abis check` says more"
            )
        is_current = at_least != 0 or change <= view.mark.change
        if is_complete and is_current:
            candidates = _candidates(found, comparisons, named, options.wanted)
            internals.record("identify", "", f"{len(candidates)} candidates")
            result = Identification(
                candidates,
                compared=sum(map(len, found.comparisons)),
                comparable=sum(b.present for t in probe for b in comparable_blocks(view.segments, t)),
                gallery_size=view.subjects,
                fpir=options.fpir,
                coverage=view.coverage([Kind.of(template) for template in probe], among),
            )
            return disclosed_identification(result, internals.answers().disclosure)
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
