# SPDX-License-Identifier: Apache-2.0
"""Which pairs are compared: the FVC protocol, all against all, 1:N, and LFW's ten folds."""

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
    """Every unordered pair of ``samples`` samples, probe before reference: (pairs,) indices of each.

    >>> all_pairs(3)
    (array([0, 0, 1], dtype=int32), array([1, 2, 2], dtype=int32))
    """
    before = np.arange(samples, dtype=np.int32)
    probe = np.repeat(before, samples - 1 - before)
    reference = np.concatenate([before[i + 1 :] for i in range(samples)] or [before])
    return probe, reference


def pair_at(samples: int) -> Callable[[int], tuple[int, int]]:
    """What gives the samples of the pair at a place of :func:`all_pairs`, without holding them all.

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
    """Which of the pairs the FVC protocol compares, as an (pairs,) mask.

    Every two impressions of one finger; and of every two fingers, their first impressions. FVC2000, IEEE
    TPAMI 24(3), 2002, section on performance evaluation: 10 fingers of 8 impressions make 280 and 45.

    Args:
        probe: (pairs,) indices of samples.
        reference: (pairs,) likewise.
        finger: (samples,) number of each sample's finger; a finger's first sample is its first impression.
    """
    first = np.zeros(len(finger), dtype=bool)
    first[np.unique(finger, return_index=True)[1]] = True
    return np.asarray((finger[probe] == finger[reference]) | (first[probe] & first[reference]))


def first_enrolled(
    score: npt.NDArray[np.floating[Any]], subject: npt.NDArray[np.integer[Any]], *, seed: int
) -> IdentificationRates | None:
    """1:N searches out of the scores of all pairs: the first sample of every subject is enrolled.

    The other samples are probes. Each is searched twice: in the gallery, and in the gallery without its own
    subject, where it stands for somebody who is not enrolled.

    Args:
        score: (pairs,) in the order of :func:`all_pairs`.
        subject: (samples,) whose each sample is.
        seed: of the bootstrap.

    Returns:
        The rates; None where there are fewer than two subjects, or no probes.
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
        first, second: image names, as ``Aaron_Eckhart_0001``; one per pair.
        mated: (pairs,) bool.
        fold: (pairs,) int64, from 0.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    mated: npt.NDArray[np.bool_]
    fold: npt.NDArray[np.int64]


def read_lfw_pairs(path: Path) -> LfwPairs:
    """Read LFW's ``pairs.txt``: a line of folds and pairs a kind, then the folds, mated pairs first.

    Raises:
        FormatError: naming the first line that is not as LFW's README describes.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        folds, each = (int(number) for number in lines[0].split())
    except (IndexError, ValueError):
        raise FormatError(f"{path.name}, line 1: expected the numbers of folds and of pairs a kind") from None
    if len(lines) - 1 != folds * 2 * each:
        raise FormatError(f"{path.name}: {len(lines) - 1} pairs; line 1 promises {folds * 2 * each}")
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
    """(folds,) part of each fold decided right, at the threshold that is best on all the other folds.

    Huang, Ramesh, Berg, Learned-Miller: Labeled Faces in the Wild, UMass Amherst TR 07-49, 2007, section
    on evaluation ("image-restricted" and unrestricted alike).
    """
    check_scores("score", score)
    score = score.astype(np.float64)  # in which the middle of two float32 scores is between them
    accuracy = []
    for held_out in np.unique(fold):
        test = fold == held_out
        threshold = _best_threshold(score[~test], mated[~test])
        accuracy.append(((score[test] >= threshold) == mated[test]).mean())
    return np.array(accuracy)


def _best_threshold(score: npt.NDArray[np.float64], mated: npt.NDArray[np.bool_]) -> float:
    """The threshold that decides most pairs right, half-way between two scores; of several the middle one."""
    order = np.argsort(score)
    ascending = score[order]
    accepted = len(score) - np.arange(len(score))
    mated_accepted = np.cumsum(mated[order][::-1])[::-1]
    right = mated_accepted + (~mated).sum() - (accepted - mated_accepted)
    below = np.append(ascending[0], ascending[:-1])
    distinct = np.append(True, below[1:] < ascending[1:])  # of equal scores all or none are accepted
    best = np.flatnonzero(distinct & (right == right[distinct].max()))
    middle = best[len(best) // 2]
    return float((below[middle] + ascending[middle]) / 2)
