# SPDX-License-Identifier: Apache-2.0
"""How high do non-mated scores reach, down to an FMR of one in ten million?

Compares synthetic fingers of different subjects in full numbers, computes only scores above a cutoff and
counts the others, and compares all real non-mated pairs of the FVC sets. A generalised Pareto distribution
is fitted to the scores above a threshold (Pickands-Balkema-de Haan; maximum likelihood) and describes what
lies beyond the data. Intervals come from a bootstrap over probe fingers, because scores of one finger are
similar.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.stats import genpareto

from abis.comparison import FingerReferences
from abis.extraction.fingers import EXTRACTOR
from abis.synthetic import Population
from abis.template import Minutiae, Position
from benchmarks.lib.common import (
    EXTRACTORS,
    SETS,
    DataMissingError,
    optional,
    options,
    print_table,
    public_data,
    write,
)
from benchmarks.lib.images import templates_of

CUTOFF = 2.5  # raw score: only synthetic pairs above it enter the fit of their tail
REAL_SHARE = 0.01  # of real pairs that the tail is fitted to: hundreds as well
FMRS = (1e-4, 1e-5, 1e-6, 1e-7)
BOOTSTRAPS = 200
FEWEST = 30  # scores that a tail is fitted to

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | int | str]


def main() -> None:
    """Compare, fit, print."""
    parser = options(__doc__ or "")
    parser.add_argument("--references", type=int, default=10_000, help="synthetic fingers (default: 10,000)")
    parser.add_argument("--probes", type=int, default=5_000, help="of other subjects (default: 5,000)")
    arguments = parser.parse_args()

    exceeding, compared = synthetic(arguments.references, arguments.probes, arguments.seed)
    reports: list[tuple[list[str], Figures]] = []
    figures: dict[str, float | int | str] = {}
    with optional("synthetic", figures):
        reports.append(
            report("synthetic", exceeding, threshold=CUTOFF, compared=compared, seed=arguments.seed)
        )
    for extractor in (EXTRACTOR, *EXTRACTORS):
        with optional(extractor, figures):
            fingers = real(extractor)
            scores = np.concatenate(fingers)
            threshold = float(np.quantile(scores, 1 - REAL_SHARE))
            tails = [own[own >= threshold] for own in fingers]
            reports.append(
                report(extractor, tails, threshold=threshold, compared=len(scores), seed=arguments.seed)
            )
    print_table(
        "raw score that a share of non-mated pairs reaches: counted, and by the fitted tail",
        ["pairs", "number", "highest", *(f"{fmr:.0e}" for fmr in FMRS), "shape"],
        [row for row, _ in reports],
        note="[ ]: 95 % interval of the fit, bootstrap over probe fingers. -: fewer than ten pairs reach it.",
    )
    figures |= {name: value for _, own in reports for name, value in own.items()}
    write(arguments.json, figures, seed=arguments.seed)


def synthetic(references: int, probes: int, seed: int) -> tuple[list[Floats], int]:
    """By probe, its scores of at least CUTOFF with other subjects' fingers; and how many pairs there were."""
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
    return found, references * probes


def real(extractor: str) -> list[Floats]:
    """By finger, the scores of all non-mated pairs of the FVC sets, within each set; each pair once."""
    found: dict[str, list[Floats]] = {}
    for name in track(SETS, extractor):
        samples = templates_of(public_data("fingerprints").parent, extractor, name).samples
        packed = FingerReferences()
        packed.extend([s.template for s in samples if isinstance(s.template, Minutiae)])
        pairs = [
            (i, j) for i, j in combinations(range(len(samples)), 2) if samples[i].finger != samples[j].finger
        ]
        for i in range(len(samples)):
            slots = np.array([j for a, j in pairs if a == i], np.int64)
            template = samples[i].template
            assert isinstance(template, Minutiae)
            scores = packed.compare(template, slots).astype(np.float64)
            found.setdefault(f"{name} {samples[i].finger}", []).append(scores)
    return [np.concatenate(scores) for scores in found.values()]


def report(
    name: str, tails: list[Floats], *, threshold: float, compared: int, seed: int
) -> tuple[list[str], Figures]:
    """One row of the table, and its figures; of scores above the threshold by probe finger.

    Raises:
        DataMissingError: there are too few such scores to fit a tail.
    """
    rng = np.random.default_rng(seed)
    tail = np.concatenate(tails)
    if len(tail) < FEWEST:
        raise DataMissingError(f"only {len(tail)} scores are above {threshold:g}; compare more fingers")
    shape, scale = fit(tail - threshold)
    resampled = [
        np.concatenate([tails[k] for k in rng.integers(len(tails), size=len(tails))])
        for _ in range(BOOTSTRAPS)
    ]
    fits = [(len(r), *fit(r - threshold)) for r in resampled]
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
        reached = fmr * compared
        fitted = threshold + float(genpareto.isf(reached / len(tail), shape, scale=scale))
        low, high = np.percentile(
            [threshold + genpareto.isf(min(1, reached / n), c, scale=s) for n, c, s in fits], [2.5, 97.5]
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
