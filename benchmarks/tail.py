# SPDX-License-Identifier: Apache-2.0
"""The tail of the non-mated score distribution, where identification lives: FMR down to one in ten million.

Synthetic fingers of different subjects are compared in full numbers, with only scores above a cutoff worked
out and the rest counted; beside them all real non-mated pairs of the FVC sets. A generalised Pareto
distribution is fitted to the scores above a threshold (Pickands-Balkema-de Haan; maximum likelihood), and
says what lies beyond the data.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from common import EXTRACTORS, SETS, data_folder, options, print_table, write
from rich.progress import track
from scipy.stats import genpareto

from abis.comparison import FingerReferences
from abis.evaluation.datasets import read_folder
from abis.synthetic import Population
from abis.template import Minutiae, Position

CUTOFF = 2.5  # raw score: hundreds in fifty million synthetic pairs exceed it
REAL_SHARE = 0.01  # of real pairs that the tail is fitted to: hundreds as well
FMRS = (1e-4, 1e-5, 1e-6, 1e-7)
BOOTSTRAPS = 200

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | int | str]


def main() -> None:
    """Compare, fit, print."""
    parser = options(__doc__ or "")
    parser.add_argument("--references", type=int, default=10_000, help="synthetic fingers (default: 10,000)")
    parser.add_argument("--probes", type=int, default=5_000, help="of other subjects (default: 5,000)")
    arguments = parser.parse_args()

    exceeding, compared = synthetic(arguments.references, arguments.probes, arguments.seed)
    reports = [report("synthetic", exceeding, threshold=CUTOFF, compared=compared, seed=arguments.seed)]
    for extractor in EXTRACTORS:
        scores = real(extractor)
        threshold = float(np.quantile(scores, 1 - REAL_SHARE))
        tail = scores[scores >= threshold]
        reports.append(
            report(extractor, tail, threshold=threshold, compared=len(scores), seed=arguments.seed)
        )
    print_table(
        "raw score that a share of non-mated pairs reaches: counted, and by the fitted tail",
        ["pairs", "number", "highest", *(f"{fmr:.0e}" for fmr in FMRS), "shape"],
        [row for row, _ in reports],
        note="[ ]: 95 % interval of the fit, bootstrap over its scores. -: fewer than ten pairs reach it.",
    )
    figures = {name: value for _, own in reports for name, value in own.items()}
    write(arguments.json, figures, seed=arguments.seed)


def synthetic(references: int, probes: int, seed: int) -> tuple[Floats, int]:
    """Scores of at least CUTOFF between fingers of different subjects, and how many pairs there were."""
    people = Population(seed=seed, fingers=(Position.RIGHT_INDEX,), face=False)
    packed = FingerReferences()
    packed.extend([t for _, (t,) in people.encounters(range(references)) if isinstance(t, Minutiae)])
    found = []
    for _, (probe,) in track(
        people.encounters(range(references, references + probes), impression=1), "synthetic", total=probes
    ):
        assert isinstance(probe, Minutiae)
        scores = packed.compare(probe, cutoff=CUTOFF)
        found.append(scores[scores >= CUTOFF].astype(np.float64))
    return np.concatenate(found), references * probes


def real(extractor: str) -> Floats:
    """Scores of all non-mated pairs of the FVC sets, within each set."""
    found = []
    for name in track(SETS, extractor):
        samples = read_folder(data_folder() / "fingerprints" / extractor / name).samples
        packed = FingerReferences()
        packed.extend([s.template for s in samples if isinstance(s.template, Minutiae)])
        pairs = [
            (i, j) for i, j in combinations(range(len(samples)), 2) if samples[i].finger != samples[j].finger
        ]
        for i in range(len(samples)):
            slots = np.array([j for a, j in pairs if a == i], np.int64)
            template = samples[i].template
            assert isinstance(template, Minutiae)
            found.append(packed.compare(template, slots).astype(np.float64))
    return np.concatenate(found)


def report(
    name: str, tail: Floats, *, threshold: float, compared: int, seed: int
) -> tuple[list[str], Figures]:
    """One row of the table, and its figures."""
    rng = np.random.default_rng(seed)
    shape, scale = fit(tail - threshold)
    resampled = [fit(rng.choice(tail, len(tail)) - threshold) for _ in range(BOOTSTRAPS)]
    figures: Figures = {
        f"pairs_{name}": compared,
        f"highest_raw_score_{name}": float(tail.max()),
        f"tail_shape_{name}": shape,
        f"tail_scale_{name}": scale,
    }
    row = [name, f"{compared:,}", f"{tail.max():.2f}"]
    ordered = np.sort(tail)[::-1]
    for fmr in FMRS:
        reaching = round(fmr * compared)
        if reaching > len(tail):  # below the threshold
            row.append("-")
            continue
        share = fmr * compared / len(tail)
        fitted = threshold + float(genpareto.isf(share, shape, scale=scale))
        low, high = np.percentile(
            [threshold + genpareto.isf(share, c, scale=s) for c, s in resampled], [2.5, 97.5]
        )
        counted = f"{ordered[reaching - 1]:.2f}" if reaching >= 10 else "-"
        row.append(f"{counted}, {fitted:.2f} [{low:.2f}, {high:.2f}]")
        figures[f"raw_score_at_fmr_{fmr:.0e}_{name}"] = fitted
    return [*row, f"{shape:.2f}"], figures


def fit(excess: Floats) -> tuple[float, float]:
    """Shape and scale of a tail that begins at 0."""
    shape, _, scale = genpareto.fit(excess, floc=0)
    return float(shape), float(scale)


if __name__ == "__main__":
    main()
