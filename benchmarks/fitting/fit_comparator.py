# SPDX-License-Identifier: Apache-2.0
"""Fit the weights of the fingerprint score, and test each data set with weights that were fitted without it.

The terms come from the comparator itself, through ``abis.comparison.explain``. The score is that of
``cpp/fingerprint/score.cpp``. Copy the weights printed last into ``cpp/fingerprint/parameters.h``, build,
and fit the calibrations again (``fit_calibration.py``).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import track
from sklearn.linear_model import LogisticRegression

from abis.comparison import explain
from abis.evaluation import ErrorRates
from abis.extraction.fingers import EXTRACTOR
from abis.template import Minutiae
from benchmarks.lib.common import EXTRACTORS, SETS, optional, options, print_table, public_data, write
from benchmarks.lib.images import FVC2000, templates_of

# Of cpp/fingerprint/parameters.h: kOverlapPrior, kMostRotation, kVoteBound and its slope, kRelaxationBoundSlope.
OVERLAP_PRIOR = 10
MOST_ROTATION = 0.25
VOTE_BOUND = (2.5, 2.5)
RELAXATION_BOUND = 8000
SETS_OF = dict.fromkeys(EXTRACTORS, SETS) | {EXTRACTOR: (*SETS, *FVC2000[:2])}
WEIGHTS = ("kScoreOffset", "kScoreOfSupport", "kScoreOfMissed", "kScoreOfRotation")

Floats = npt.NDArray[np.float64]


class Set(NamedTuple):
    """All pairs of a data set: 1 and the score's terms (pairs, 4), its upper bound, and which are mated."""

    terms: Floats
    bound: Floats
    mated: npt.NDArray[np.bool_]


def main() -> None:
    """Fit eight times with one set left out, then on all."""
    arguments = options(__doc__ or "").parse_args()
    figures: dict[str, float | int | str] = {}
    with optional("public_data", figures):
        data = {(e, s): terms(e, s) for e, sets in SETS_OF.items() for s in track(sets, f"comparing {e}")}
        rows = []
        weights = {name: fit(data, leave_out=name) for name in SETS_OF[EXTRACTOR]}
        for extractor, sets in SETS_OF.items():
            mated, non_mated, means = [], [], []
            for name in sets:
                pairs = data[extractor, name]
                score = np.minimum(pairs.terms @ weights[name], pairs.bound)
                mated.append(score[pairs.mated])
                non_mated.append(score[~pairs.mated])
                own = ErrorRates(mated[-1], non_mated[-1])
                means.append((own.eer, own.at_fmr(1e-3).fnmr, own.zero_fmr.fnmr))
            rates = ErrorRates(np.concatenate(mated), np.concatenate(non_mated))
            found: dict[str, float] = {
                **dict(
                    zip(
                        ("mean_eer", "mean_fmr1000", "mean_zero_fmr"),
                        np.mean(means, axis=0).tolist(),
                        strict=True,
                    )
                ),
                "pooled_eer": rates.eer,
                "pooled_fmr100": rates.at_fmr(1e-2).fnmr,
                "pooled_fmr1000": rates.at_fmr(1e-3).fnmr,
                "pooled_zero_fmr": rates.zero_fmr.fnmr,
            }
            rows.append([extractor, *(f"{100 * value:.2f} %" for value in found.values())])
            figures |= {f"{extractor}_{name}_percent": 100 * value for name, value in found.items()}
        print_table(
            "each set by weights that never saw it",
            ["templates", *("EER", "FMR1000", "ZeroFMR"), *("EER", "FMR100", "FMR1000", "ZeroFMR")],
            rows,
            note="First three: mean of sets. Others: pooled. The comparator's other constants were chosen on all sets.",
        )
        found_on_all = dict(zip(WEIGHTS, fit(data).tolist(), strict=True))
        print(*(f"{name} = {weight:.3f}" for name, weight in found_on_all.items()), sep=", ")
        figures |= found_on_all
    write(arguments.json, figures, seed=arguments.seed)


def terms(extractor: str, name: str) -> Set:
    """Compare every two templates of a set."""
    samples = templates_of(public_data(), extractor, name).samples
    found, bound, mated = [], [], []
    for a, b in combinations(samples, 2):
        assert isinstance(a.template, Minutiae)
        assert isinstance(b.template, Minutiae)
        t = explain(a.template, b.template).terms
        chance = np.sqrt(t["overlapping"] + OVERLAP_PRIOR)
        rotation = min(t["rotation"], MOST_ROTATION)
        found.append((1.0, t["support"] / chance, t["missed"] / chance, rotation))
        by_votes = VOTE_BOUND[0] + VOTE_BOUND[1] * t["votes"]
        bound.append(min(by_votes, RELAXATION_BOUND * t["relaxation"]))
        mated.append(a.finger == b.finger)
    return Set(np.array(found), np.array(bound), np.array(mated))


def fit(data: dict[tuple[str, str], Set], *, leave_out: str | None = None) -> Floats:
    """(4,) weights as in WEIGHTS; mated and non-mated pairs of each set weigh the same."""
    used = [value for (_, name), value in data.items() if name != leave_out]
    weights = [np.where(s.mated, 1 / s.mated.sum(), 1 / (~s.mated).sum()) for s in used]
    model = LogisticRegression(C=1e4, max_iter=1000, fit_intercept=False)
    model.fit(
        np.concatenate([s.terms for s in used]),
        np.concatenate([s.mated for s in used]),
        sample_weight=300 * np.concatenate(weights),
    )
    return np.asarray(model.coef_[0])


if __name__ == "__main__":
    main()
