# SPDX-License-Identifier: Apache-2.0
"""How well are the four scores of NIST BSSR1 Set 1 fused?

Learnt on one half of the people and tested on the other, in twenty random halves. *Chosen* is the method
that cross-validation selects within the training half. Beside our methods stand the min-max sum, logistic
regression on plain scores, and each matcher alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis.evaluation import ErrorRates, best_fusion, learn_fusion, try_fusions
from abis.evaluation.score_fusion import METHODS
from benchmarks.lib.bssr1 import MATCHERS, read_bssr1
from benchmarks.lib.common import optional, options, print_table, write

FAR = 1e-4
SPLITS = 20
FACE_AND_FINGER = ("face-G", "finger-right")
TWO_FINGERS = ("finger-left", "finger-right")
MISSING = 0.1

Floats = npt.NDArray[np.float64]
Table = Mapping[str, Floats]
"""By matcher, square matrices of the scores of some people."""
Fused = Callable[[Table], Floats]
Learn = Callable[[Table], Fused]
Figures = dict[str, float | int | str]


def main() -> None:
    """Learn, test, print, write."""
    parser = options(__doc__ or "")
    arguments = parser.parse_args()
    figures: Figures = {}
    with optional("bssr1", figures):
        everybody = read_bssr1()
        thinned = with_gaps(everybody, arguments.seed)
        systems: list[tuple[str, Sequence[str], Table, Learn]] = [
            ("all four, chosen", MATCHERS, everybody, learn_chosen),
            *(
                (f"all four, {method}", MATCHERS, everybody, partial(learn, method))
                for method in METHODS[:-1]
            ),
            ("all four, 10 % missing, chosen", MATCHERS, thinned, learn_chosen),
            ("all four, 10 % missing, sum", MATCHERS, thinned, partial(learn, "sum")),
            ("face G + right index, chosen", FACE_AND_FINGER, everybody, learn_chosen),
            ("face G + right index, sum", FACE_AND_FINGER, everybody, partial(learn, "sum")),
            ("two fingers, sum", TWO_FINGERS, everybody, partial(learn, "sum")),
            ("all four, min-max sum", MATCHERS, everybody, learn_min_max),
            ("all four, logistic on plain scores", MATCHERS, everybody, learn_plain_logistic),
            *((f"{name} alone", (name,), everybody, learn_min_max) for name in MATCHERS),
        ]
        rows = [
            measure(label, {name: table[name] for name in names}, method, arguments.seed, figures)
            for label, names, table, method in systems
        ]
        print_table(
            f"BSSR1 Set 1, {SPLITS} half/half splits: mean over splits",
            ["", f"GAR at FAR {FAR:.2%}", "of the splits", "EER"],
            rows,
            note="[ ]: 95 % interval, bootstrap over people. Of the splits: the lowest and the highest.",
        )
    write(arguments.json, figures, seed=arguments.seed)


def measure(label: str, table: Table, method: Learn, seed: int, figures: Figures) -> list[str]:
    """One row: mean GAR, with an interval over people, and EER over the splits."""
    people = len(next(iter(table.values())))
    accepted, tested = np.zeros(people), np.zeros(people)
    gar, eer = [], []
    for split in track(range(SPLITS), label, transient=True):
        order = np.random.default_rng(split).permutation(people)
        first, second = order[: people // 2], order[people // 2 :]
        fused = method(part(table, first))(part(table, second))
        same = np.eye(len(second), dtype=np.bool_)
        rates = ErrorRates(fused[same], fused[~same])
        threshold = rates.at_fmr(FAR).threshold
        accepted[second] += fused[same] >= threshold
        tested[second] += 1
        gar.append(1 - rates.at_fmr(FAR).fnmr)
        eer.append(rates.eer)
    drawn = np.random.default_rng(seed).integers(people, size=(2000, people))
    replicates = accepted[drawn].sum(axis=1) / tested[drawn].sum(axis=1)
    low, high = np.percentile(replicates, [2.5, 97.5])
    mean, mean_eer = float(np.mean(gar)), float(np.mean(eer))
    key = (
        label.replace(",", "").replace("% ", "percent_").replace("+ ", "").replace(" ", "_").replace("-", "_")
    )
    figures[f"{key}_gar_percent"] = 100 * mean
    figures[f"{key}_gar_percent_low"], figures[f"{key}_gar_percent_high"] = (
        100 * float(low),
        100 * float(high),
    )
    figures[f"{key}_eer_percent"] = 100 * mean_eer
    return [
        label,
        f"{100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}]",
        f"{100 * min(gar):.1f} to {100 * max(gar):.1f} %",
        f"{100 * mean_eer:.2f} %",
    ]


def part(table: Table, people: npt.NDArray[np.int64]) -> Table:
    """Some people's probes against the same people's references."""
    return {name: scores[np.ix_(people, people)] for name, scores in table.items()}


def with_gaps(table: Table, seed: int) -> Table:
    """A tenth of all scores, of each matcher and by chance, made missing."""
    random = np.random.default_rng(seed)
    return {
        name: np.where(random.random(scores.shape) < MISSING, np.nan, scores)
        for name, scores in table.items()
    }


# --- ours ------------------------------------------------------------------------------------------------


def learn(method: str, table: Table) -> Fused:
    """By one of our methods."""
    size = len(next(iter(table.values())))
    mated = np.eye(size, dtype=np.bool_).ravel()
    fusion = learn_fusion({name: scores.ravel() for name, scores in table.items()}, mated, method=method)

    def fused(tested: Table) -> Floats:
        scores = fusion({name: own.ravel() for name, own in tested.items()})
        count = len(next(iter(tested.values())))
        return np.where(np.isnan(scores), 0.0, scores).reshape(count, count)  # nothing at all: no evidence

    return fused


def learn_chosen(table: Table) -> Fused:
    """By the method that does best within these people."""
    size = len(next(iter(table.values())))
    probe, reference = (side.ravel() for side in np.indices((size, size)))
    flat = {name: scores.ravel() for name, scores in table.items()}
    return learn(best_fusion(try_fusions(flat, probe, reference)), table)


# --- beside it -------------------------------------------------------------------------------------------


def learn_min_max(table: Table) -> Fused:
    """The mean of scores scaled to [0, 1] over those present: Jain, Nandakumar, Ross (2005), section 3."""
    ends = {name: (float(np.nanmin(scores)), float(np.nanmax(scores))) for name, scores in table.items()}

    def fused(tested: Table) -> Floats:
        scaled = [
            (scores - ends[name][0]) / (ends[name][1] - ends[name][0]) for name, scores in tested.items()
        ]
        present = np.sum([~np.isnan(one) for one in scaled], axis=0)
        return np.asarray(np.nansum(scaled, axis=0) / np.maximum(present, 1))

    return fused


def learn_plain_logistic(table: Table) -> Fused:
    """scikit-learn's, on standardised scores, missing ones at the mean; both kinds weighing the same."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a second to import

    names = sorted(table)
    means = {name: float(np.nanmean(table[name])) for name in names}
    spreads = {name: float(np.nanstd(table[name])) for name in names}

    def columns(tested: Table) -> Floats:
        return np.stack(
            [np.nan_to_num((tested[name].ravel() - means[name]) / spreads[name]) for name in names], axis=1
        )

    size = len(next(iter(table.values())))
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    model.fit(columns(table), np.eye(size, dtype=np.bool_).ravel())

    def fused(tested: Table) -> Floats:
        count = len(next(iter(tested.values())))
        return np.asarray(model.decision_function(columns(tested))).reshape(count, count)

    return fused


if __name__ == "__main__":
    main()
