# SPDX-License-Identifier: Apache-2.0
"""Fingerprint error rates from images: the FVC2000, FVC2002 and FVC2004 "B" sets, every pair of impressions.

Each set has 80 images of ten fingers: 280 mated and 2,880 non-mated pairs. Beside them the same rates where only
minutiae of a confidence of 0.6 or more are kept. Constants of the comparison were chosen on all sets but DB3 and DB4
of FVC2000; ``benchmarks/fitting/fit_comparator.py`` shows each set by weights that never saw it. Needs the extra
``abis[extraction]``.

    python benchmarks/accuracy/images.py --json benchmarks/results/images.json
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis.comparison import FingerReferences
from abis.evaluation import ErrorRates
from abis.template import Minutiae
from benchmarks.lib.common import SETS, options, print_table, public_data, write
from benchmarks.lib.images import FVC2000, IMAGE_SETS, extracted_set

CERTAIN = 60  # percent of confidence from which pyfing keeps minutiae
GROUPS = {"FVC2002 and FVC2004": SETS, "FVC2000 DB1 and DB2": FVC2000[:2], "FVC2000 DB3 and DB4": FVC2000[2:]}
RATES = ("eer", "fmr100", "fmr1000", "zero_fmr")

Figures = dict[str, float | int | str]


class Pairs(NamedTuple):
    """Raw scores of all pairs of a set."""

    mated: npt.NDArray[np.float32]
    non_mated: npt.NDArray[np.float32]


def main() -> None:
    """Compare, print, write."""
    arguments = options(__doc__ or "").parse_args()
    data = public_data()
    figures: Figures = {}
    for title, keep in (("all minutiae", lambda template: template), ("certain minutiae only", certain)):
        found = {name: pairs(data, name, keep, figures) for name in track(IMAGE_SETS, title)}
        report(title, found, figures)
    write(arguments.json, figures, seed=arguments.seed)


def certain(template: Minutiae) -> Minutiae:
    """The template as pyfing makes it; its extractor is not named."""
    kept = template.quality >= CERTAIN
    return Minutiae(
        x=template.x[kept],
        y=template.y[kept],
        direction=template.direction[kept],
        kind=template.kind[kept],
        quality=template.quality[kept],
        width=template.width,
        height=template.height,
        resolution=template.resolution,
    )


def pairs(data: Path, name: str, keep: Callable[[Minutiae], Minutiae], figures: Figures) -> Pairs:
    """Every two samples of a set; how many minutiae they have goes among the figures."""
    samples = [s for s in extracted_set(data, name).samples if isinstance(s.template, Minutiae)]
    templates = [keep(s.template) for s in samples if isinstance(s.template, Minutiae)]
    suffix = "" if keep is not certain else "_certain"
    figures[f"{name}_templates{suffix}"] = len(templates)
    figures[f"{name}_minutiae_mean{suffix}"] = float(np.mean([len(t) for t in templates]))
    references = FingerReferences()
    references.extend(templates)
    first, second = np.array(list(combinations(range(len(templates)), 2)), np.int64).T.copy()
    raw = references.compare_pairs(first, second)
    finger = np.array([s.finger for s in samples])
    mated = finger[first] == finger[second]
    return Pairs(raw[mated], raw[~mated])


def report(title: str, found: Mapping[str, Pairs], figures: Figures) -> None:
    """One table: sets, means over groups of sets, and groups at one threshold for all of their sets."""
    suffix = "" if title == "all minutiae" else "_certain"
    rows: list[Sequence[object]] = []

    def add(label: str, key: str, rates: npt.NDArray[np.float64]) -> None:
        rows.append((label, *(f"{value:.2f}" for value in rates)))
        figures.update({f"{key}_{n}_percent{suffix}": float(v) for n, v in zip(RATES, rates, strict=True)})

    own = {name: rates_of(one) for name, one in found.items()}
    for name, rates in own.items():
        add(name, name, rates)
    for group, sets in GROUPS.items():
        key = group.lower().replace(" ", "_")
        add(f"{group}, mean", f"mean_{key}", np.mean([own[name] for name in sets], axis=0))
        mated, non_mated = (
            np.concatenate(side) for side in zip(*(found[name] for name in sets), strict=True)
        )
        add(f"{group}, one threshold", f"pooled_{key}", rates_of(Pairs(mated, non_mated)))
    print_table(
        f"Error rates from images, %: {title}",
        ("set", "EER", "FMR100", "FMR1000", "ZeroFMR"),
        rows,
        note="280 mated and 2,880 non-mated pairs a set. FMR1000: FNMR at an FMR of 1 in 1,000.",
    )


def rates_of(scores: Pairs) -> npt.NDArray[np.float64]:
    """The four rates of RATES, in percent."""
    rates = ErrorRates(scores.mated, scores.non_mated)
    values = rates.eer, rates.at_fmr(1e-2).fnmr, rates.at_fmr(1e-3).fnmr, rates.zero_fmr.fnmr
    return 100 * np.array(values)


if __name__ == "__main__":
    main()
