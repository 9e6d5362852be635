# SPDX-License-Identifier: Apache-2.0
"""Measure the error rates of a file of embeddings, over all pairs or over the pairs of a list."""

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
        name: name of the file, without its ending.
        model: name of the neural network; the name of the file if the file does not state the model.
        names: name of each image, such as ``Aaron_Eckhart_0001``.
        embedding: (n, d) float16, one embedding of unit length for each image.
        person: (n,) unsigned integers, number of each image's person, the place of the name in ``people``.
        people: names of the persons, sorted.
    """

    name: str
    model: str
    names: tuple[str, ...]
    embedding: npt.NDArray[np.float16]
    person: npt.NDArray[np.unsignedinteger[Any]]
    people: tuple[str, ...]

    @property
    def calibration(self) -> Calibration:
        """The calibration in force for the model of the embeddings."""
        return Calibrations.of().for_template(self.template(0))

    def template(self, row: int) -> Embedding:
        """Return the template of the image at place ``row``."""
        return Embedding(vector=self.embedding[row], model=self.model)


def is_embeddings(path: Path) -> bool:
    """Return whether a file is an npz file with an array ``embeddings``.

    Raises:
        FormatError: the file ends in .npz and is not an npz file.
        OSError: the file cannot be read.
    """
    if path.suffix.lower() != ".npz":
        return False
    with open_npz(path) as archive:
        return "embeddings" in archive


def read_embeddings(path: Path) -> EmbeddingFile:
    """Read an npz file of embeddings.

    Args:
        path: npz file with the arrays ``embeddings`` (n, d), floating-point numbers, and ``names`` (n,), names of the
            images. Optional arrays are ``identity`` (n,), names of the persons, and ``model``, the name of the
            network. Without ``identity``, the person is the image's name before its last underscore.

    Raises:
        FormatError: an array is missing, has the wrong shape or type, or an embedding has no length; the message
            names the file.
        OSError: the file cannot be read.
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
        raise FormatError(f"{path}: {len(identity)} identities; expected one for each of {len(names)} names")
    lengths = np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        row = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
        raise FormatError(
            f"{path}: embedding {row}, {names[row]}, has length {lengths[row, 0]}; expected a finite length above 0"
        )
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
    """Compare every two images.

    Args:
        images: embeddings of the images.
        threads: number of threads; 0 (default): one for each core.
        progress: function that is called with the number of pairs compared and their total. None: no calls.

    Returns:
        float32 log10 likelihood ratios of all pairs, in the order of ``all_pairs``.
    """
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

    The comparison of all pairs takes 8 bytes of memory for each pair, and up to 12 bytes temporarily.

    Args:
        path: npz file with the arrays ``embeddings`` and ``names``; see :func:`read_embeddings`.
        pairs: list of pairs; see :func:`abis.evaluation.read_lfw_pairs`. The accuracy over its folds is measured too.
            None: all pairs.
        threads: number of threads; 0 (default): one for each core.
        seed: seed of the bootstrap.
        progress: function that is called with the number of pairs compared and their total. None: no calls.

    Raises:
        FormatError: a file is not as described, or the list contains an image that is not in the file.
        ValueError: no two images are of one person, or no two are of different persons.
        OSError: a file cannot be read.
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
        listed_as, known_as = ("mated", "non-mated") if listed.mated[wrong[0]] else ("non-mated", "mated")
        raise FormatError(
            f"{path}: {pair} are listed as {listed_as}; expected {known_as}, as in {images.name}"
        )
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
