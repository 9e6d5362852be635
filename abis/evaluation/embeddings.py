# SPDX-License-Identifier: Apache-2.0
"""From a file of embeddings to error rates: all of them against each other, or the pairs of a list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.comparison import cosine
from abis.errors import FormatError
from abis.evaluation.archives import open_npz
from abis.evaluation.findings import Accuracy, Findings, assess, pairs_of
from abis.evaluation.protocols import first_enrolled, pair_at, read_lfw_pairs, ten_fold_accuracy
from abis.evaluation.scores import Scores
from abis.scoring.calibration import Calibration, Calibrations
from abis.template import Embedding

__all__ = ["EmbeddingFile", "all_scores", "evaluate_embeddings", "is_embeddings", "read_embeddings"]


@dataclass(frozen=True, eq=False)
class EmbeddingFile:
    """Embeddings of many images.

    Attributes:
        name: of the file.
        model: of the network; the file's name where it does not say.
        names: of the images, as ``Aaron_Eckhart_0001``.
        embedding: (n, d) float16, of unit length.
        person: (n,) whose image it is, numbered in the order of the people's names.
        people: their names.
    """

    name: str
    model: str
    names: tuple[str, ...]
    embedding: npt.NDArray[np.float16]
    person: npt.NDArray[np.unsignedinteger[Any]]
    people: tuple[str, ...]

    @property
    def calibration(self) -> Calibration:
        """The one in force for their model."""
        return Calibrations.of().for_template(self.template(0))

    def template(self, row: int) -> Embedding:
        """One of them."""
        return Embedding(vector=self.embedding[row], model=self.model)


def is_embeddings(path: Path) -> bool:
    """Whether a file is an npz with an array ``embeddings``."""
    if path.suffix.lower() != ".npz":
        return False
    with open_npz(path) as archive:
        return "embeddings" in archive


def read_embeddings(path: Path) -> EmbeddingFile:
    """Read an npz of ``embeddings`` (n, d) and ``names`` (n,); ``identity`` (n,) and ``model`` if it has them.

    Without ``identity``, the person is the name up to its last underscore.

    Raises:
        FormatError: naming the file and what is wrong with it.
    """
    with open_npz(path) as archive:
        if missing := {"embeddings", "names"} - set(archive.files):
            raise FormatError(f"{path}: no array named {' or '.join(sorted(missing))}")
        vectors, names = archive["embeddings"], archive["names"].tolist()
        identity = archive["identity"].tolist() if "identity" in archive.files else None
        model = str(archive["model"]) if "model" in archive.files else path.stem
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or len(vectors) != len(names):
        raise FormatError(
            f"{path}: embeddings are {vectors.dtype} of shape {vectors.shape} and names {len(names)}; "
            "expected (n, d) floating-point numbers and n names"
        )
    if identity is None:
        identity = [name.rpartition("_")[0] for name in names]
    if len(identity) != len(names):
        raise FormatError(f"{path}: {len(identity)} identities; expected {len(names)}")
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        row = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
        raise FormatError(f"{path}: embedding {row}, {names[row]}, has length {lengths[row, 0]}")
    people, place = np.unique(identity, return_inverse=True)
    person: npt.NDArray[np.unsignedinteger[Any]] = place.astype(np.min_scalar_type(len(people)))
    return EmbeddingFile(
        name=path.stem,
        model=model,
        names=tuple(names),
        embedding=np.ascontiguousarray((vectors / lengths).astype(np.float16)),
        person=person,
        people=tuple(people.tolist()),
    )


def all_scores(
    images: EmbeddingFile, *, threads: int = 0, progress: Callable[[int, int], None] | None = None
) -> Scores:
    """log10 likelihood ratios of every two images, float32, in the order of ``all_pairs``."""
    n = len(images.names)
    calibration = images.calibration
    score = np.empty(n * (n - 1) // 2, dtype=np.float32)
    reference = np.empty(len(score), dtype=images.person.dtype)
    done = 0
    for i in range(n - 1):
        part = slice(done, done + n - 1 - i)
        raw = cosine(images.template(i), images.embedding[i + 1 :], threads=threads)
        score[part] = calibration.llr(raw)
        reference[part] = images.person[i + 1 :]
        done = part.stop
        if progress is not None:
            progress(done, len(score))
    return Scores(score, np.repeat(images.person, np.arange(n - 1, -1, -1)), reference)


def evaluate_embeddings(
    path: Path,
    *,
    pairs: Path | None = None,
    threads: int = 0,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Findings:
    """Compare every two embeddings of a file, or the pairs of a list in the form of LFW's ``pairs.txt``.

    Takes 8 bytes of memory a pair, and half as much again for a while.

    Args:
        path: see :func:`read_embeddings`.
        pairs: see :func:`abis.evaluation.read_lfw_pairs`; the accuracy over its folds is measured too.
        threads: how many compare at once; 0 for all cores.
        seed: of the bootstrap.
        progress: called with the pairs compared and their total.

    Raises:
        FormatError: where a file is not as described, or the list names an image that there is not.
        ValueError: where no two images are of one person or no two of different people.
        OSError: where a file cannot be read.
    """
    images = read_embeddings(path)
    if pairs is not None:
        return _listed_pairs(images, pairs, seed=seed)
    scores = all_scores(images, threads=threads, progress=progress)
    protocol, cllr, min_cllr = assess(
        "all against all", scores, calibrated=True, calibration=images.calibration, seed=seed
    )
    return Findings(
        name=images.name,
        compared=f"every two of {len(images.names):,} images",
        unit="people",
        samples=len(images.names),
        subjects=len(images.people),
        from_files=False,
        failures=(),
        ignored=(),
        protocols=(protocol,),
        calibrated=True,
        cllr=cllr,
        min_cllr=min_cllr,
        identification=first_enrolled(scores.score, images.person, seed=seed),
        worst=pairs_of(images.names, None, pair_at(len(images.names)), scores, protocol.summary.rates),
    )


def _listed_pairs(images: EmbeddingFile, path: Path, *, seed: int) -> Findings:
    listed = read_lfw_pairs(path)
    row = {name: i for i, name in enumerate(images.names)}
    if missing := [name for name in (*listed.first, *listed.second) if name not in row]:
        raise FormatError(
            f"{path}: {missing[0]!r} and {len(set(missing)) - 1:,} more are not in {images.name}"
        )
    probe, reference = (
        np.array([row[name] for name in side], np.int64) for side in (listed.first, listed.second)
    )
    raw = np.array(
        [
            cosine(images.template(first), images.embedding[second : second + 1])[0]
            for first, second in zip(probe.tolist(), reference.tolist(), strict=True)
        ],
        np.float32,
    )
    score = images.calibration.llr(raw)
    scores = Scores(score, images.person[probe], images.person[reference])
    if (wrong := np.flatnonzero(scores.mated != listed.mated)).size:
        pair = f"{listed.first[wrong[0]]} and {listed.second[wrong[0]]}"
        truth = "one person's" if listed.mated[wrong[0]] else "different people's"
        raise FormatError(f"{path}: {pair} are {truth}; {images.name} says otherwise")
    protocol, cllr, min_cllr = assess(
        "listed pairs", scores, calibrated=True, calibration=images.calibration, seed=seed
    )
    accuracy = None
    if (folds := len(np.unique(listed.fold))) > 1:
        parts = ten_fold_accuracy(score, listed.mated, listed.fold)
        error = float(parts.std(ddof=1) / np.sqrt(folds))
        accuracy = Accuracy(float(parts.mean()), error, folds)
    used = np.union1d(probe, reference)
    return Findings(
        name=images.name,
        compared=f"the {len(raw):,} pairs of {path.name}",
        unit="people",
        samples=len(used),
        subjects=len(np.unique(images.person[used])),
        from_files=False,
        failures=(),
        ignored=(),
        protocols=(protocol,),
        calibrated=True,
        cllr=cllr,
        min_cllr=min_cllr,
        accuracy=accuracy,
        worst=pairs_of(
            images.names,
            None,
            lambda place: (int(probe[place]), int(reference[place])),
            scores,
            protocol.summary.rates,
        ),
    )
