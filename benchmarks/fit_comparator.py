# SPDX-License-Identifier: Apache-2.0
"""Refits the weights of the fingerprint score, and shows each data set by weights that never saw it.

The terms come from the comparator itself, by way of ``abis.comparison.explain``; the score is the one written
out in ``cpp/score.cpp``. Copy the weights printed last into ``cpp/parameters.h`` (kScoreOffset,
kScoreOfBalance, kScoreOfRotation), rebuild, and refit the calibration after it (``fit_calibration.py``).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from common import data_folder, options, print_table, write
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from abis.comparison import explain
from abis.evaluation import ErrorRates
from abis.evaluation.datasets import read_folder
from abis.template import Minutiae

EXTRACTORS = ("leader", "fingerjetfx", "mindtct")
SETS = tuple(f"fvc{year}_db{i}_b" for year in (2002, 2004) for i in (1, 2, 3, 4))
OVERLAP_PRIOR = 10  # kOverlapPrior of cpp/parameters.h
MOST_ROTATION = 0.25  # kMostRotation

Floats = npt.NDArray[np.float64]
Set = tuple[Floats, npt.NDArray[np.bool_]]  # terms (pairs, 2) and which pairs are mated


def main() -> None:
    """Fit eight times with one set left out, then on all."""
    arguments = options(__doc__ or "").parse_args()
    data = {(e, s): terms(e, s) for e in EXTRACTORS for s in track(SETS, f"comparing {e}")}
    figures: dict[str, float | int | str] = {}
    rows = []
    scores = {key: value[0] @ fit(data, leave_out=key[1])[:2] for key, value in data.items()}
    offsets = {s: fit(data, leave_out=s)[2] for s in SETS}
    for extractor in EXTRACTORS:
        mated, non_mated, eers = [], [], []
        for name in SETS:
            score, is_mated = scores[extractor, name] + offsets[name], data[extractor, name][1]
            mated.append(score[is_mated])
            non_mated.append(score[~is_mated])
            eers.append(ErrorRates(mated[-1], non_mated[-1]).eer)
        rates = ErrorRates(np.concatenate(mated), np.concatenate(non_mated))
        found: dict[str, float] = {
            "mean_eer": float(np.mean(eers)),
            "pooled_eer": rates.eer,
            "pooled_fmr100": rates.at_fmr(1e-2).fnmr,
            "pooled_fmr1000": rates.at_fmr(1e-3).fnmr,
            "pooled_zero_fmr": rates.zero_fmr.fnmr,
        }
        rows.append([extractor, *(f"{100 * value:.2f} %" for value in found.values())])
        figures |= {f"{extractor}_{name}_percent": 100 * value for name, value in found.items()}
    print_table(
        "each set by weights that never saw it",
        ["templates", "EER, mean", "EER", "FMR100", "FMR1000", "ZeroFMR"],
        rows,
        note="Pooled but for the first column. The comparator's other constants were chosen on all sets.",
    )
    balance, rotation, offset = fit(data)
    print(f"kScoreOffset = {offset:.3f}, kScoreOfBalance = {balance:.3f}, kScoreOfRotation = {rotation:.3f}")
    figures |= {"score_offset": offset, "score_of_balance": balance, "score_of_rotation": rotation}
    write(arguments.json, figures, seed=arguments.seed)


def terms(extractor: str, name: str) -> Set:
    """The score's two terms for every pair of a set's templates, and which pairs are mated."""
    samples = read_folder(data_folder() / "fingerprints" / extractor / name).samples
    found, mated = [], []
    for a, b in combinations(samples, 2):
        assert isinstance(a.template, Minutiae)
        assert isinstance(b.template, Minutiae)
        t = explain(a.template, b.template).terms
        found.append(
            (t["balance"] / np.sqrt(t["overlapping"] + OVERLAP_PRIOR), min(t["rotation"], MOST_ROTATION))
        )
        mated.append(a.finger == b.finger)
    return np.array(found), np.array(mated)


def fit(data: dict[tuple[str, str], Set], *, leave_out: str | None = None) -> tuple[float, float, float]:
    """Weights of balance and rotation, and the offset; mated and non-mated of each set weigh the same."""
    used = [value for (_, name), value in data.items() if name != leave_out]
    weights = [np.where(mated, 1 / mated.sum(), 1 / (~mated).sum()) for _, mated in used]
    model = LogisticRegression(C=1e4, max_iter=1000)
    model.fit(
        np.concatenate([found for found, _ in used]),
        np.concatenate([mated for _, mated in used]),
        sample_weight=300 * np.concatenate(weights),
    )
    balance, rotation = model.coef_[0]
    return float(balance), float(rotation), float(model.intercept_[0])


if __name__ == "__main__":
    main()
