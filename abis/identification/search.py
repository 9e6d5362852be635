# SPDX-License-Identifier: Apache-2.0
"""One probe against all references: compare shortlists in full until a match is certain, then rank.

A search returns keys, scores and comparisons. The gallery looks up the names.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from abis.comparison import raw_scores
from abis.errors import ArgumentError, ArgumentTypeError, check_integer, check_real
from abis.identification.screening import Cuts, Screening
from abis.index.references import ReferenceView
from abis.index.segments import Probe, comparable_blocks
from abis.parallel.cancellation import check_cancelled
from abis.scoring import fusion
from abis.scoring.calibration import Calibrations
from abis.scoring.fusion import Comparisons
from abis.scoring.thresholds import Compared, check_rate, threshold_for_fpir
from abis.template import Position, Template

__all__ = ["Found", "SearchOptions", "as_labels", "screening_of", "search"]

_CERTAIN = 1e-3  # false positive identification rate at which a match is certain and a search ends


_USUAL, _MOST = 10, 1_000_000  # candidates of one search
_LARGEST = 10**12  # subjects that a search may be said to be among


@dataclass(frozen=True)
class SearchOptions:
    """What a search returns, and how thorough it is. See :meth:`abis.Gallery.identify`.

    Attributes:
        max_candidates: largest number of candidates, 1 to 1,000,000; None for 10, or for what the gallery's answer
            policy allows where that is less.
        fpir: false positive identification rate, above 0, at most 1; None returns the best, however low.
        share: largest part of the gallery that passes the first look, above 0, at most 1.
        labels: search only among subjects with any of these labels; None searches all.
        exact: compare with all references in full.
        gallery_size: number of subjects that ``fpir`` is for, 0 or more; None for the size of the gallery searched.

    Raises:
        ArgumentError: a value is out of its range, or of another type.
    """

    max_candidates: int | None = None
    fpir: float | None = None
    share: float = 0.03
    labels: tuple[str, ...] | None = None
    exact: bool = False
    gallery_size: int | None = None

    def __post_init__(self) -> None:
        if self.max_candidates is not None:
            check_integer("max_candidates", self.max_candidates, 1, _MOST)
        check_real("share", self.share, above=0, highest=1, what="a share above 0 and up to 1")
        if self.fpir is not None:
            check_rate("fpir", self.fpir)
        if self.gallery_size is not None:
            check_integer("gallery_size", self.gallery_size, 0, _LARGEST)

    @property
    def wanted(self) -> int:
        """Largest number of candidates."""
        return _USUAL if self.max_candidates is None else self.max_candidates

    def allowed(self, most: int) -> SearchOptions:
        """The options with a number of candidates, in a gallery that returns at most ``most``.

        Raises:
            ArgumentError: more were asked for.
        """
        if self.max_candidates is not None and self.max_candidates > most:
            raise ArgumentError(
                f"max_candidates is {self.max_candidates}; this gallery returns at most {most}"
            )
        return self if self.wanted <= most else replace(self, max_candidates=most)


def as_labels(labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Labels to search among, for :class:`SearchOptions`.

    Raises:
        ArgumentTypeError: the labels are one string, whose characters would be taken for labels.
    """
    if isinstance(labels, str):
        raise ArgumentTypeError("labels is one string; expected a sequence of strings")
    return None if labels is None else tuple(labels)


@dataclass(frozen=True)
class Found:
    """The subjects with the best scores, and all with the same score as the last of them, in the order of keys.

    Attributes:
        subjects: (m,) int64, keys.
        scores: (m,) float64, log10 likelihood ratios.
        thresholds: (m,) float64, the thresholds that the scores reach; None if no rate was asked for.
        comparisons: all full comparisons.
    """

    subjects: NDArray[np.int64]
    scores: NDArray[np.float64]
    thresholds: NDArray[np.float64] | None
    comparisons: Sequence[Comparisons]


def search(
    probe: Sequence[Probe],
    view: ReferenceView,
    among: NDArray[np.int64] | None,
    calibrations: Calibrations,
    options: SearchOptions,
    *,
    all_fingers: bool = False,
    screening: Screening | None = None,
) -> Found:
    """Find the subjects that a probe may belong to.

    Args:
        probe: templates of any positions.
        view: all references.
        among: sorted keys of the subjects to search; None searches all.
        calibrations: of the kinds of the probe's templates.
        options: what to return, and how thorough to be; the labels are in ``among`` already.
        all_fingers: search with every finger, even if the first ones find a certain match.
        screening: of :func:`screening_of`, with a first look taken together with other probes; None begins one.
    """
    size = max(1, view.subjects if options.gallery_size is None else options.gallery_size)
    if options.exact:
        subjects, comparisons = among, [c for p in probe for c in _compare(p, view, among, calibrations)]
    else:
        screening = screening or screening_of(probe, view, among, options)
        rate = _CERTAIN if options.fpir is None else min(options.fpir, _CERTAIN)
        fingers = [one.template for one in probe if one.template.position.is_finger]
        is_enough = None if all_fingers else partial(_is_certain, fingers=fingers, fpir=rate, size=size)
        subjects, comparisons = _compared_in_full(
            screening.shortlists(), probe, view, calibrations, is_enough
        )
    scores = _fused(comparisons, view.span, subjects)
    thresholds = None
    if options.fpir is not None:
        needed = partial(threshold_for_fpir, options.fpir, size)
        thresholds = _thresholds(comparisons, scores, subjects, needed)
    best = _best(scores, options.wanted, thresholds)
    return Found(
        best if subjects is None else subjects[best],
        scores[best],
        None if thresholds is None else thresholds[best],
        comparisons,
    )


def screening_of(
    probe: Sequence[Probe], view: ReferenceView, among: NDArray[np.int64] | None, options: SearchOptions
) -> Screening:
    """The screening of a search that is not exact; the arguments are those of :func:`search`."""
    templates = [one.template for one in probe]
    cuts = Cuts.at(options.share, probe=templates, subjects=view.subjects, wanted=options.wanted)
    return Screening(view.segments, probe, cuts, span=view.span, among=among)


def _compared_in_full(
    portions: Generator[NDArray[np.int64], None, None],
    probe: Sequence[Probe],
    view: ReferenceView,
    calibrations: Calibrations,
    is_enough: Callable[[Sequence[Comparisons], NDArray[np.int64]], bool] | None,
) -> tuple[NDArray[np.int64], list[Comparisons]]:
    """Compare in full with one portion of subjects after the other, until ``is_enough``; None compares all portions."""
    subjects = np.empty(0, np.int64)
    comparisons: list[Comparisons] = []
    with closing(portions):
        for portion in portions:
            check_cancelled()
            new = np.setdiff1d(portion, subjects, assume_unique=True) if len(subjects) else portion
            comparisons += [c for p in probe for c in _compare(p, view, new, calibrations)]
            subjects = np.union1d(subjects, new) if len(subjects) else new
            if is_enough is not None and is_enough(comparisons, subjects):
                break
    return subjects, comparisons


def _is_certain(
    comparisons: Sequence[Comparisons],
    subjects: NDArray[np.int64],
    *,
    fingers: Sequence[Template],
    fpir: float,
    size: int,
) -> bool:
    """True if a subject has evidence above 0 from each finger compared, and their sum reaches the threshold.

    At least two fingers must be compared, or the only finger of the probe. Evidence of faces does not count, because a
    face may be that of another, similar person. If one finger has evidence below 0, it may belong to another subject,
    who has to be searched for. A subject that has the probe itself as a reference does not count either: that search is
    for further enrolments of the same person.

    Args:
        comparisons: of the probe with some subjects.
        subjects: (m,) int64, their keys, sorted.
        fingers: the fingers of the probe.
        fpir: false positive identification rate at which a match is certain.
        size: number of subjects in the gallery.
    """
    compared: dict[Position, list[Comparisons]] = {}
    for c in comparisons:
        if c.position.is_finger:
            compared.setdefault(c.position, []).append(c)
    if len(compared) < min(2, max(1, len({template.position for template in fingers}))):
        return False
    every = [c for own in compared.values() for c in own]
    scores = _fused(every, 0, subjects)
    for own in compared.values():
        scores[~(_fused(own, 0, subjects) > 0)] = np.nan
    needed = partial(threshold_for_fpir, fpir, size)
    is_certain = scores >= _thresholds(every, scores, subjects, needed)
    if is_certain.any():
        for template in fingers:
            (itself,) = raw_scores(template, [template])
            for c in compared.get(template.position, ()):
                is_certain[np.searchsorted(subjects, c.subject[c.raw >= itself])] = False
    return bool(is_certain.any())


def _compare(
    probe: Probe, view: ReferenceView, subjects: NDArray[np.int64] | None, calibrations: Calibrations
) -> Iterator[Comparisons]:
    """Compare a template in full with all references, or with those of some subjects, given in order."""
    template, prepared = probe
    blocks = sorted(comparable_blocks(view.segments, template), key=lambda block: block.kind)
    for kind, own in groupby(blocks, key=lambda block: block.kind):
        found = [
            (block, block.present_slots() if subjects is None else block.slots_of(subjects)) for block in own
        ]
        found = [(block, slots) for block, slots in found if len(slots)]
        if found:
            yield Comparisons.of(
                template,
                kind,
                subject=np.concatenate([block.subjects[slots] for block, slots in found]).astype(np.int64),
                encounter=np.concatenate([block.encounters[slots] for block, slots in found]).astype(
                    np.int64
                ),
                raw=np.concatenate([block.index.compare(prepared, slots) for block, slots in found]),
                balance=_joined([block.balance(template, slots) for block, slots in found]),
                calibrations=calibrations,
            )


def _joined(balances: Sequence[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """Several arrays as one; None if there are none."""
    known = [balance for balance in balances if balance is not None]
    return np.concatenate(known) if known else None


def _fused(
    comparisons: Sequence[Comparisons], span: int, subjects: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """(span,) the score of each key, or (m,) of the subjects given in order."""
    if subjects is None:
        return fusion.fuse(comparisons, span)
    rows = (replace(c, subject=np.searchsorted(subjects, c.subject)) for c in comparisons)
    return fusion.fuse(rows, len(subjects))


def _thresholds(
    comparisons: Sequence[Comparisons],
    scores: NDArray[np.float64],
    subjects: NDArray[np.int64] | None,
    threshold: Callable[[Compared], float],
) -> NDArray[np.float64]:
    """The threshold for each score, which depends on what its subject was compared by; NaN if it was not compared."""
    compared = np.flatnonzero(~np.isnan(scores))
    ways, way = fusion.compared_by(comparisons, compared if subjects is None else subjects[compared])
    thresholds = np.full(len(scores), np.nan)
    thresholds[compared] = np.array([threshold(one) for one in ways])[way]
    return thresholds


def _best(
    scores: NDArray[np.float64], count: int, thresholds: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Where the ``count`` largest scores stand, and all scores equal to the last of them. NaN is no score."""
    found = np.flatnonzero(~np.isnan(scores) if thresholds is None else scores >= thresholds)
    if len(found) <= count:
        return found
    last = np.partition(scores[found], -count)[-count]
    best: NDArray[np.int64] = found[scores[found] >= last]
    return best
