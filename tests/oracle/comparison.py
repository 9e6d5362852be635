# SPDX-License-Identifier: Apache-2.0
"""The comparison, step by step; ``cpp/fingerprint/fingerprint.cpp``."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from abis.template import Minutiae
from oracle.alignment import Alignment, Anchors, align, anchors_of_pairing, anchors_of_seed
from oracle.candidates import SUPPORT_ROUNDING, Candidates, find_candidates
from oracle.constants import C
from oracle.cylinders import cylinders
from oracle.edges import Edges
from oracle.evidence import Evidence, merit, pairing_evidence, relaxation
from oracle.pairing import Pairing, pair_minutiae
from oracle.score import bound, score
from oracle.similarity import Words, rotation_votes, similarities
from oracle.template import Normalised, normalise

TERMS = ("pairs", "support", "missed", "overlapping", "rotation", "relaxation", "votes")

Prepared: TypeAlias = tuple[Normalised, Words]


@dataclass(frozen=True)
class Comparison:
    """Evidence, score, pairs of minutiae as probe and reference list them, and how close decisions were."""

    terms: Evidence
    score: float
    pairs: set[tuple[int, int]]
    edges: Edges


def compare(probe: Minutiae, reference: Minutiae) -> Comparison:
    edges = Edges()
    prepared_probe, prepared_reference = prepare(probe), prepare(reference)
    swapped = _rank(prepared_probe) > _rank(prepared_reference)
    (first, first_words), (second, second_words) = (
        (prepared_reference, prepared_probe) if swapped else (prepared_probe, prepared_reference)
    )
    terms: Evidence = dict.fromkeys(TERMS, 0.0)
    pairs: set[tuple[int, int]] = set()
    total = score(terms)
    if len(first) > 0:
        similarity = similarities(first_words, second_words)
        terms["votes"] = rotation_votes(first, second, similarity)
        candidates = find_candidates(first, second, similarity)
        terms["relaxation"] = relaxation(len(first), len(second), candidates)
        best, pairing = _best_hypothesis(first, second, similarity, candidates, edges)
        terms |= best
        total = min(score(terms), bound(terms, len(first)))
        if pairing is not None:
            a, b = first.order[pairing.first].tolist(), second.order[pairing.second].tolist()
            pairs = set(zip(b, a, strict=True) if swapped else zip(a, b, strict=True))
    return Comparison(terms, total, pairs, edges)


def prepare(template: Minutiae) -> Prepared:
    minutiae = normalise(template)
    return minutiae, cylinders(minutiae)


def _rank(prepared: Prepared) -> tuple[int, bytes]:
    """The smaller template is the first; of two equally large ones, by content."""
    t, words = prepared
    padding = -len(t) % 8
    content = [np.pad(column.astype("<u8"), (0, padding)).tobytes() for column in words.T]
    content += [column.astype("u1").tobytes() for column in (t.direction, t.kind, t.reliability)]
    content += [place.astype("<i2").tobytes() for place in (t.x, t.y)]
    return len(t), b"".join(content)


def _best_hypothesis(
    first: Normalised,
    second: Normalised,
    similarity: npt.NDArray[np.uint8],
    candidates: Candidates,
    edges: Edges,
) -> tuple[Evidence, Pairing | None]:
    """The evidence and the pairing of the best of the most promising alignments."""
    best: Evidence = {}
    best_pairing = None
    for hypothesis in _propose(first, second, similarity, candidates, edges):
        alignment, pairing = hypothesis
        for _ in range(1, int(C["kAlignmentRounds"])):
            if len(pairing.first) < 2:
                break
            anchors = anchors_of_pairing(first, second, pairing, similarity, edges)
            alignment, pairing = _align_and_pair(first, second, similarity, anchors, edges)
        evidence = pairing_evidence(first, second, alignment, pairing, similarity, edges=edges)
        if best and not _alike(evidence, best):
            edges.note(merit(evidence) - merit(best), 1e-3 * (1 + abs(merit(best))))
        if not best or merit(evidence) > merit(best):
            best, best_pairing = evidence, pairing
    return best, best_pairing


def _propose(
    first: Normalised,
    second: Normalised,
    similarity: npt.NDArray[np.uint8],
    candidates: Candidates,
    edges: Edges,
) -> list[tuple[Alignment, Pairing]]:
    """First alignments, the most promising first; each on the best candidate that no earlier one has used."""
    hypotheses: list[tuple[Alignment, Pairing]] = []
    used: set[int] = set()
    looked_at = 0
    for seed in candidates.by_support.tolist():
        if len(hypotheses) == C["kMaxSeeds"]:
            break
        looked_at += 1
        if seed in used:
            continue
        anchors, group = anchors_of_seed(first, second, candidates, seed, edges)
        used.update(group)
        hypotheses.append(_align_and_pair(first, second, similarity, anchors, edges))
    supports = candidates.support[candidates.by_support[: looked_at + 1]]
    edges.note_order(np.log(supports[supports > 0]), SUPPORT_ROUNDING)
    hypotheses.sort(key=lambda hypothesis: -hypothesis[1].merit)  # stable
    pursued = int(C["kMaxPursued"])
    edges.note_order([pairing.merit for _, pairing in hypotheses[pursued - 1 : pursued + 1]], 1e-3)
    return hypotheses[:pursued]


def _align_and_pair(
    first: Normalised, second: Normalised, similarity: npt.NDArray[np.uint8], anchors: Anchors, edges: Edges
) -> tuple[Alignment, Pairing]:
    alignment = align(first, second, anchors, edges)
    return alignment, pair_minutiae(
        first, second, alignment.moved, alignment.rotation, similarity, edges=edges
    )


def _alike(a: Evidence, b: Evidence) -> bool:
    """True where it does not matter which of the two is taken: hypotheses often end at one alignment."""
    return all(abs(a[name] - b[name]) <= 1e-4 * (1 + abs(b[name])) for name in a)
