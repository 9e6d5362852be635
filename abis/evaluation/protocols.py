# SPDX-License-Identifier: Apache-2.0
"""Evaluation protocols: the FVC protocol, all against all, 1:N searches, and the ten folds of LFW."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.errors import FormatError
from abis.evaluation.identification import IdentificationRates, measure_identification, search
from abis.evaluation.scores import check_scores

__all__ = [
    "LfwPairs",
    "all_pairs",
    "first_enrolled",
    "fvc_pairs",
    "pair_at",
    "read_lfw_pairs",
    "ten_fold_accuracy",
]


def all_pairs(samples: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return every unordered pair of ``samples`` samples, as (pairs,) places of probes and of references.

    The probe is the sample that comes first.

    >>> all_pairs(3)
    (array([0, 0, 1], dtype=int32), array([1, 2, 2], dtype=int32))
    """
    before = np.arange(samples, dtype=np.int32)
    probe = np.repeat(before, samples - 1 - before)
    reference = np.concatenate([before[i + 1 :] for i in range(samples)] or [before])
    return probe, reference


def pair_at(samples: int) -> Callable[[int], tuple[int, int]]:
    """Return a function from the place of a pair in :func:`all_pairs` to the places of its two samples.

    The function computes a pair without the arrays of all pairs.

    >>> pair_at(3)(2)
    (1, 2)
    """
    before = np.arange(samples)
    starts = before * samples - before * (before + 1) // 2

    def samples_of(place: int) -> tuple[int, int]:
        probe = int(np.searchsorted(starts[:-1], place, side="right")) - 1
        return probe, probe + 1 + place - int(starts[probe])

    return samples_of


def fvc_pairs(
    probe: npt.NDArray[np.integer[Any]],
    reference: npt.NDArray[np.integer[Any]],
    finger: npt.NDArray[np.integer[Any]],
) -> npt.NDArray[np.bool_]:
    """Return the (pairs,) mask of the pairs that the FVC protocol compares.

    The protocol compares every two impressions of one finger, and the first impressions of every two fingers. For
    10 fingers of 8 impressions, these are 280 mated and 45 non-mated pairs. Source: FVC2000, IEEE TPAMI 24(3), 2002,
    section on performance evaluation.

    Args:
        probe: (pairs,) place of each pair's probe among the samples.
        reference: (pairs,) place of each pair's reference among the samples.
        finger: (samples,) finger number of each sample; the first sample of a finger is its first impression.
    """
    first = np.zeros(len(finger), dtype=bool)
    first[np.unique(finger, return_index=True)[1]] = True
    return np.asarray((finger[probe] == finger[reference]) | (first[probe] & first[reference]))


def first_enrolled(
    score: npt.NDArray[np.floating[Any]], subject: npt.NDArray[np.integer[Any]], *, seed: int
) -> IdentificationRates | None:
    """Measure 1:N searches from the scores of all pairs; the first sample of every subject is enrolled.

    The other samples are probes. Each probe is searched twice: in the gallery, as a mated search, and in the gallery
    without its own subject, as a non-mated search.

    Args:
        score: (pairs,) score of each pair, in the order of :func:`all_pairs`.
        subject: (samples,) subject number of each sample.
        seed: seed of the bootstrap.

    Returns:
        The error rates. None: there are fewer than two subjects, or no probes.
    """
    enrolled = np.sort(np.unique(subject, return_index=True)[1])
    probes = np.setdiff1d(np.arange(len(subject)), enrolled)
    if len(enrolled) < 2 or len(probes) == 0:
        return None

    def row(probe: int) -> npt.NDArray[np.floating[Any]]:
        before, after = np.minimum(probe, enrolled), np.maximum(probe, enrolled)
        return np.asarray(score[before * len(subject) - before * (before + 1) // 2 + after - before - 1])

    searches = search(map(row, probes.tolist()), subject[probes], subject[enrolled], without_mate=True)
    return measure_identification(searches, seed=seed)


@dataclass(frozen=True, eq=False)
class LfwPairs:
    """The verification pairs of Labeled Faces in the Wild (``pairs.txt``).

    Attributes:
        first: name of the first image of each pair, such as ``Aaron_Eckhart_0001``.
        second: name of the second image of each pair.
        mated: (pairs,) bool, whether both images are of one person.
        fold: (pairs,) int64, fold of each pair, from 0.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    mated: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]


def read_lfw_pairs(path: Path) -> LfwPairs:
    """Read a list of pairs in the format of LFW's ``pairs.txt``.

    The first line states the number of folds, and the number of mated (and of non-mated) pairs in a fold. The folds
    follow, each with its mated pairs first.

    Args:
        path: the text file.

    Raises:
        FormatError: a line is not as LFW's README describes; the message names the first such line.
        OSError: the file cannot be read.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        folds, each = (int(number) for number in lines[0].split())
    except (IndexError, ValueError):
        raise FormatError(
            f"{path.name}, line 1: expected the number of folds and the number of mated pairs in a fold"
        ) from None
    if len(lines) - 1 != folds * 2 * each:
        raise FormatError(f"{path.name}: {len(lines) - 1} pairs; expected {folds * 2 * each} by line 1")
    first, second, mated = [], [], []
    for number, line in enumerate(lines[1:], start=2):
        match line.split("\t"):
            case [name, i, j] if i.isdigit() and j.isdigit():
                names = (name, name)
            case [name, i, other, j] if i.isdigit() and j.isdigit():
                names = (name, other)
            case _:
                raise FormatError(f"{path.name}, line {number}: expected name, i, j or name, i, name, j")
        first.append(f"{names[0]}_{int(i):04}")
        second.append(f"{names[1]}_{int(j):04}")
        mated.append(names[0] == names[1])
    fold = np.repeat(np.arange(folds), 2 * each)
    return LfwPairs(tuple(first), tuple(second), np.array(mated, dtype=bool), fold)


def ten_fold_accuracy(
    score: npt.NDArray[np.floating[Any]], mated: npt.NDArray[np.bool_], fold: npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.float64]:
    """Return the (folds,) fraction of pairs decided correctly in each fold, at the best threshold of the other folds.

    Source: Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild, UMass Amherst TR 07-49, 2007, section on
    evaluation. The image-restricted and the unrestricted protocol use the same measure.

    Args:
        score: (pairs,) float32 or float64, larger means more similar.
        mated: (pairs,) bool, whether both images are of one person.
        fold: (pairs,) integers, fold of each pair.
    """
    check_scores("score", score)
    score = score.astype(np.float64)  # the mean of two adjacent float32 scores needs float64
    accuracy = []
    for held_out in np.unique(fold):
        test = fold == held_out
        threshold = _best_threshold(score[~test], mated[~test])
        accuracy.append(((score[test] >= threshold) == mated[test]).mean())
    return np.array(accuracy)


def _best_threshold(score: npt.NDArray[np.float64], mated: npt.NDArray[np.bool_]) -> float:
    """Return the threshold with the most correct decisions, half-way between two scores; of several, the middle one."""
    order = np.argsort(score)
    ascending = score[order]
    accepted = len(score) - np.arange(len(score))
    mated_accepted = np.cumsum(mated[order][::-1])[::-1]
    right = mated_accepted + (~mated).sum() - (accepted - mated_accepted)
    below = np.append(ascending[0], ascending[:-1])
    distinct = np.append(True, below[1:] < ascending[1:])  # equal scores are accepted together
    best = np.flatnonzero(distinct & (right == right[distinct].max()))
    middle = best[len(best) // 2]
    return float((below[middle] + ascending[middle]) / 2)
