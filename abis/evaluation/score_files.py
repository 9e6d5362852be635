# SPDX-License-Identifier: Apache-2.0
"""Score files: one line a comparison."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from abis.evaluation.folder import Evaluation

__all__ = ["write_scores"]

_HEADER = ("probe", "reference", "mated", "score", "raw")
_CHUNK = 1 << 16  # lines turned into text at a time, so that memory stays bounded


def write_scores(path: Path, evaluation: Evaluation, *, all_pairs: bool = False) -> int:
    """Write the scores of the FVC protocol, or of every unordered pair, as CSV; returns how many.

    Columns: ``probe`` and ``reference`` (file stems), ``mated`` (0 or 1), ``score`` (log10 likelihood
    ratio) and ``raw`` (comparison score), both with all their digits; ``-inf`` where a template failed to
    be read.
    """
    names = [sample.name for sample in evaluation.data_set.samples]
    chosen = np.arange(len(evaluation.raw)) if all_pairs else np.flatnonzero(evaluation.fvc)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(_HEADER)
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            table.writerows(
                (names[probe], names[reference], int(mated), score, f"{raw:.9g}")
                for probe, reference, mated, score, raw in zip(
                    evaluation.probe[part].tolist(),
                    evaluation.reference[part].tolist(),
                    evaluation.mated[part].tolist(),
                    evaluation.score[part].tolist(),
                    evaluation.raw[part].tolist(),
                    strict=True,
                )
            )
    return len(chosen)
