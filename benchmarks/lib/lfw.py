# SPDX-License-Identifier: Apache-2.0
"""Labeled Faces in the Wild, as embeddings, for the benchmark scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import abis
from abis.evaluation import Scores, read_lfw_pairs, ten_fold_accuracy

__all__ = ["Lfw", "all_scores", "at_most", "corrected", "read_lfw", "verification_accuracy"]

MODEL = "w600k_mbf"
_BLOCK = 256  # images a matrix product: 13 MB of scores


@dataclass(frozen=True, eq=False)
class Lfw:
    """The images' names (``Aaron_Eckhart_0001``), (n, d) float16 embeddings, (n,) numbers of people."""

    name: list[str]
    embedding: npt.NDArray[np.float16]
    person: npt.NDArray[np.uint16]
    people: list[str]


def read_lfw(data: Path) -> Lfw:
    """Read the images' embeddings; people are numbered in the order of their names."""
    with np.load(data / "faces" / "lfw_arcface_mobile_512.npz") as archive:
        people, person = np.unique(archive["identity"], return_inverse=True)
        return Lfw(
            archive["names"].tolist(), archive["embeddings"], person.astype(np.uint16), people.tolist()
        )


def verification_accuracy(lfw: Lfw, data: Path) -> npt.NDArray[np.float64]:
    """(10,) accuracy in each fold of the standard pairs, through the public interface."""
    pairs = read_lfw_pairs(data / "faces" / "lfw_pairs.txt")
    face = {
        name: abis.Embedding(vector=vector, model=MODEL)
        for name, vector in zip(lfw.name, lfw.embedding, strict=True)
    }
    score = np.concatenate(
        [
            abis.compare(face[first], [face[second]])
            for first, second in zip(pairs.first, pairs.second, strict=True)
        ]
    )
    return ten_fold_accuracy(score, pairs.mated, pairs.fold)


def all_scores(lfw: Lfw) -> Scores:
    """Cosines of every two images, by matrix products in float32: the core's but for the last digit."""
    vectors = lfw.embedding.astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    n = len(vectors)
    score = np.empty(n * (n - 1) // 2, dtype=np.float32)
    reference = np.empty(len(score), dtype=np.uint16)
    done = 0
    for start in range(0, n, _BLOCK):
        block = vectors[start : start + _BLOCK] @ vectors[start:].T
        for i, row in enumerate(block):
            part = slice(done, done + n - (start + i) - 1)
            score[part] = row[i + 1 :]
            reference[part] = lfw.person[start + i + 1 :]
            done = part.stop
    return Scores(score, np.repeat(lfw.person, np.arange(n - 1, -1, -1)), reference)


def at_most(lfw: Lfw, images: int) -> Lfw:
    """The first images of each person: one person in LFW has 530, and with them most of all mated pairs."""
    first = np.concatenate([np.flatnonzero(lfw.person == i)[:images] for i in range(len(lfw.people))])
    first.sort()
    return Lfw([lfw.name[i] for i in first], lfw.embedding[first], lfw.person[first], lfw.people)


def corrected(scores: Scores, lfw: Lfw, data: Path) -> Scores:
    """The scores with the label notes applied: one person's two names made one, wrong labels left out."""
    notes = json.loads((data / "faces" / "lfw_label_notes.json").read_text())
    number = {name: i for i, name in enumerate(lfw.people)}
    person = np.arange(len(number), dtype=np.uint16)
    for first, second in notes["same_person_two_names"]:
        person[number[second]] = number[first]
    probe, reference = person[scores.probe_subject], person[scores.reference_subject]
    good = np.ones(len(scores), dtype=bool)
    for pair in notes["probable_label_error_or_same_photo_ignore"]:
        first, second = (number[name] for name in pair)
        good &= ~((scores.probe_subject == first) & (scores.reference_subject == second))
        good &= ~((scores.probe_subject == second) & (scores.reference_subject == first))
    return Scores(scores.score[good], probe[good], reference[good])
