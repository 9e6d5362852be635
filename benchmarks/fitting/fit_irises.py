# SPDX-License-Identifier: Apache-2.0
"""Choose the constants of the iris extraction on one half of the eyes of CASIA-IrisV1, and measure on the other half.

The constants say how far the centre of the limbus may be from that of the pupil, and what the filters are. Each is
chosen in turn among some values, with the others fixed, by the mean FNMR at FMRs of 10^-1 to 10^-4. Scores are blurred
for that by two units, because half of the eyes has few errors. abis.extraction has the values that all eyes choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL.Image
from rich.progress import track
from scipy.special import ndtr

from abis.comparison.iris import iris_scores, packed
from abis.evaluation.error_rates import ErrorRates
from abis.extraction.iris_boundaries import CENTRE_PRIOR, CentrePrior, Circle, find_circles, find_contours
from abis.extraction.iris_encoding import FILTERS, Filters, encoded
from abis.extraction.iris_normalisation import Normalised, normalised
from abis.template import IrisCode
from benchmarks.lib.common import options, print_table, public_data, write

BLUR = 2.0  # raw score
FMRS = np.logspace(-4, -1, 13)
PRIORS = (
    CentrePrior(0.0, (1.0, 1.0), (1.0, 1.0)),
    CentrePrior(0.03, (1.0, 0.2), (1.0, 20.0)),
    CENTRE_PRIOR,
)
VALUES: dict[str, tuple[Any, ...]] = {
    "rows": (6, 8),
    "wavelengths": ((24.0, 48.0), (32.0, 64.0), (40.0, 80.0)),
    "fragile": (0.1, 0.2, 0.3),
    "least_seen": (0.5, 0.6),
}
Floats = npt.NDArray[np.floating[Any]]
Chosen = npt.NDArray[np.bool_]


class Choice(NamedTuple):
    """What is chosen."""

    prior: CentrePrior
    filters: Filters


def main() -> None:
    """Choose on each half and on all, measure, print, write."""
    arguments = options(__doc__ or "").parse_args()
    eyes = Eyes(public_data("iris", "casia_v1"))
    halves = {"odd eyes": eyes.number % 2 == 1, "even eyes": eyes.number % 2 == 0}
    halves["all eyes"] = eyes.number > 0
    figures: dict[str, float | int | str] = {"images": len(eyes.number)}
    rows, pooled = [], []
    for name, half in halves.items():
        choice = chosen(eyes, half)
        figures[f"chosen on {name}"] = str(choice._asdict())
        other = {"odd eyes": "even eyes", "even eyes": "odd eyes", "all eyes": "all eyes"}[name]
        scores = separated(eyes, eyes.raw(choice), halves[other])
        if name != other:
            pooled.append(scores)
        rows.append([name, other, *report(figures, f"{other}, chosen on {name}", *scores)])
    both = [np.concatenate(side) for side in zip(*pooled, strict=True)]
    rows.append(
        ["the other half", "both halves", *report(figures, "both halves, chosen on the other", *both)]
    )
    columns = ["chosen on", "measured on", "mated", "non-mated", "EER %", "FNMR % at 1e-3", "at 1e-4"]
    print_table("Constants of the iris extraction", columns, rows)
    for name in halves:
        print(f"{name}: {figures[f'chosen on {name}']}")
    write(arguments.json, figures, seed=arguments.seed)


class Eyes:
    """The images, and the scores of codes by any choice.

    Attributes:
        number: (n,) of each image's eye.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.png"))
        self.number = np.array([int(file.stem.split("_")[0]) for file in files])
        self._images = [np.asarray(PIL.Image.open(file).convert("L"), np.float32) for file in files]
        self._circles: list[tuple[Circle, Circle]] = [
            find_circles(image) for image in track(self._images, "circles", transient=True)
        ]
        self._unrolled: dict[CentrePrior, list[Normalised]] = {}
        self._raw: dict[Choice, npt.NDArray[np.float32]] = {}

    def raw(self, choice: Choice) -> npt.NDArray[np.float32]:
        """(n, n) raw scores."""
        if choice not in self._raw:
            codes = []
            for iris in self._irises(choice.prior):
                bits, mask = encoded(iris, choice.filters)
                codes.append(IrisCode(bits=bits, mask=mask, model=""))
            references = packed(codes)
            self._raw[choice] = np.stack([iris_scores(code, references) for code in codes])
        return self._raw[choice]

    def _irises(self, prior: CentrePrior) -> list[Normalised]:
        if prior not in self._unrolled:
            self._unrolled[prior] = [
                normalised(image, *find_contours(image, *circles, prior))
                for image, circles in zip(self._images, self._circles, strict=True)
            ]
        return self._unrolled[prior]


def chosen(eyes: Eyes, half: Chosen) -> Choice:
    """The best of the values of each constant, one after the other."""
    best = min(
        (Choice(prior, FILTERS) for prior in PRIORS),
        key=lambda one: loss(*separated(eyes, eyes.raw(one), half)),
    )
    for name, values in VALUES.items():
        tried = [Choice(best.prior, best.filters._replace(**{name: value})) for value in values]
        best = min(tried, key=lambda one: loss(*separated(eyes, eyes.raw(one), half)))
    return best


def separated(eyes: Eyes, raw: Floats, half: Chosen) -> tuple[Floats, Floats]:
    """Mated and non-mated scores of all pairs of images of some eyes."""
    rows = np.flatnonzero(half)
    first, second = np.triu_indices(len(rows), 1)
    first, second = rows[first], rows[second]
    mated = eyes.number[first] == eyes.number[second]
    scores = raw[first, second]
    return scores[mated], scores[~mated]


def loss(mated: Floats, non_mated: Floats) -> float:
    """Mean FNMR at some FMRs, of mated scores blurred."""
    thresholds = np.quantile(non_mated, 1 - FMRS)
    return float(ndtr((thresholds[:, np.newaxis] - mated) / BLUR).mean())


def report(
    figures: dict[str, float | int | str], name: str, mated: Floats, non_mated: Floats
) -> Sequence[str]:
    """Put the error rates among the figures; gives them as cells."""
    rates = ErrorRates(mated, non_mated)
    found = {
        "mated pairs": len(mated),
        "non-mated pairs": len(non_mated),
        "EER %": round(100 * rates.eer, 3),
        "FNMR % at FMR 0.001": round(100 * rates.at_fmr(1e-3).fnmr, 3),
        "FNMR % at FMR 0.0001": round(100 * rates.at_fmr(1e-4).fnmr, 3),
    }
    figures |= {f"{name}: {key}": value for key, value in found.items()}
    return [f"{value:,}" for value in found.values()]


if __name__ == "__main__":
    main()
