# SPDX-License-Identifier: Apache-2.0
"""Does a merged template of several impressions of a finger say more than the impressions one by one?

Impressions 1 to 3 of each finger are enrolled, 4 to 8 are probes: 400 mated and 3,600 non-mated comparisons of a
probe with a finger in eight sets. Ways to decide: the first impression alone; the mean of the three likelihood ratios,
as a gallery has it; the largest of them; and one comparison with a template merged from the three, in which minutiae
that recur gain confidence and minutiae that an overlapping impression lacks lose it. Templates are those that
abis.extraction makes, whole and cut to partial probes, and those of other extractors. All sets share one threshold.

    python benchmarks/accuracy/impressions.py --json benchmarks/results/impressions.json
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import track
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay

from abis.comparison import FingerReferences, balances, contents, explain
from abis.evaluation import ErrorRates
from abis.extraction.fingers import EXTRACTOR
from abis.scoring.calibration import shipped
from abis.template import MAX_MINUTIAE, Minutiae
from benchmarks.lib.common import EXTRACTORS, SETS, optional, options, print_table, public_data, write
from benchmarks.lib.images import templates_of

ENROLLED, PROBES = ("1", "2", "3"), ("4", "5", "6", "7", "8")
PARTIAL = 12  # minutiae of a partial probe: those nearest to one that is drawn
LEAST_SCORE, LEAST_PAIRS = 2.0, 8  # raw score and pairs from which an impression is aligned with the first
STIFFNESS = 3e3  # square pixels: of the spline that aligns them
# How often a real and a false minutia are found again in an overlapping impression, from a confidence of 0.1 on.
FOUND_REAL, FOUND_FALSE = 0.85, 0.2
WAYS = ("first alone", "mean", "largest", "merged")

Floats = npt.NDArray[np.float64]
Figures = dict[str, float | int | str]


class Scores(NamedTuple):
    """(probes, fingers, ways), and which comparisons are mated, (probes, fingers)."""

    score: Floats
    mated: npt.NDArray[np.bool_]


def main() -> None:
    """Merge, compare, print, write."""
    arguments = options(__doc__ or "").parse_args()
    figures: Figures = {}
    rows: list[Sequence[object]] = []
    with optional("public_data", figures):
        data = public_data("images").parent
        for title, extractor, cut in (
            ("from images", EXTRACTOR, _whole),
            ("from images, partial probes", EXTRACTOR, _partial),
            *((extractor, extractor, _whole) for extractor in EXTRACTORS),
        ):
            random = np.random.default_rng(arguments.seed)
            sets = [compared(data, extractor, name, cut, random) for name in track(SETS, title)]
            mated, non_mated = (
                np.concatenate([one.score[one.mated == kind] for one in sets]) for kind in (True, False)
            )
            figures["mated"], figures["non_mated"] = len(mated), len(non_mated)
            for way, own, other in zip(WAYS, mated.T, non_mated.T, strict=True):
                rates = ErrorRates(own, other)
                values = [rates.eer, *(rates.at_fmr(fmr).fnmr for fmr in (1e-2, 1e-3)), rates.zero_fmr.fnmr]
                rows.append((title, way, *(f"{100 * value:.2f}" for value in values)))
                key = f"{title}_{way}".replace(",", "").replace(" ", "_").replace(".", "_")
                for rate, value in zip(("eer", "fmr100", "fmr1000", "zero_fmr"), values, strict=True):
                    figures[f"{key}_{rate}_percent"] = 100 * value
    print_table(
        "Impressions 1-3 enrolled, 4-8 probes, one threshold for all sets, %",
        ("templates", "decided by", "EER", "FMR100", "FMR1000", "ZeroFMR"),
        rows,
        note=f"{figures.get('mated')} mated and {figures.get('non_mated')} non-mated comparisons a row.",
    )
    write(arguments.json, figures, seed=arguments.seed)


def compared(
    data: Path,
    extractor: str,
    name: str,
    cut: Callable[[Minutiae, np.random.Generator], Minutiae],
    random: np.random.Generator,
) -> Scores:
    """Every probe of a set with every finger of it."""
    prints: dict[str, dict[str, Minutiae]] = {}
    for sample in templates_of(data, extractor, name).samples:
        if isinstance(sample.template, Minutiae):
            prints.setdefault(sample.finger, {})[sample.impression] = sample.template
    fingers = sorted(prints)
    probes = [
        (finger, cut(prints[finger][i], random)) for finger in fingers for i in PROBES if i in prints[finger]
    ]
    enrolled = [[prints[finger][i] for i in ENROLLED if i in prints[finger]] for finger in fingers]
    merged_ones = [merged(own) for own in enrolled]
    score = np.empty((len(probes), len(fingers), len(WAYS)))
    for column, (own, one) in enumerate(zip(enrolled, merged_ones, strict=True)):
        references = FingerReferences()
        references.extend([*own, one])
        raw = np.stack([references.compare(probe) for _, probe in probes]).astype(np.float64)
        llr = calibrated(extractor, [probe for _, probe in probes], own, raw[:, :-1])
        score[:, column, 0] = llr[:, 0]
        score[:, column, 1] = np.log10(np.mean(10**llr, axis=1))
        score[:, column, 2] = llr.max(axis=1)
        score[:, column, 3] = raw[:, -1]
    mated = np.array([finger for finger, _ in probes])[:, np.newaxis] == np.array(fingers)
    return Scores(score, mated)


def calibrated(
    extractor: str, probes: Sequence[Minutiae], references: Sequence[Minutiae], raw: Floats
) -> Floats:
    """Log10 likelihood ratios of (probes, references) raw scores."""
    balance = np.stack([balances(contents([probe]), contents(references)) for probe in probes])
    llr: Floats = shipped(f"minutiae-{extractor}").llr(raw, balance)
    return llr


def merged(impressions: Sequence[Minutiae]) -> Minutiae:
    """One template, in the frame of the impression with the most content.

    The odds of a minutia's confidence grow where an overlapping impression has it as well, and fall where it lacks it;
    minutiae that only other impressions have are added. Places and directions stay those of the impression with the
    highest confidence.
    """
    first, *others = sorted(impressions, key=lambda one: -int(contents([one])[0]))
    for other in others:
        first = _merged_two(first, other)
    return first


def _merged_two(first: Minutiae, other: Minutiae) -> Minutiae:
    found = explain(first, other)
    pairs = found.pairs.astype(np.int64)
    if found.score < LEAST_SCORE or len(pairs) < LEAST_PAIRS:
        return first
    mine, theirs = _points(first), _points(other)
    spline = RBFInterpolator(theirs[pairs[:, 1]], mine[pairs[:, 0]], smoothing=STIFFNESS)
    moved = np.asarray(spline(theirs))
    turns = np.radians(first.direction[pairs[:, 0]].astype(np.float64) - other.direction[pairs[:, 1]])
    turn = np.degrees(np.angle(np.exp(1j * turns).mean()))
    direction = (other.direction + turn) % 360

    quality = _odds(first.quality)
    in_other = Delaunay(moved).find_simplex(mine) >= 0
    is_paired = np.isin(np.arange(len(first)), pairs[:, 0])
    quality[is_paired] *= FOUND_REAL / FOUND_FALSE
    quality[in_other & ~is_paired] *= (1 - FOUND_REAL) / (1 - FOUND_FALSE)

    is_new = ~np.isin(np.arange(len(other)), pairs[:, 1])
    new_quality = _odds(other.quality[is_new])
    in_first = Delaunay(mine).find_simplex(moved[is_new]) >= 0
    new_quality[in_first] *= (1 - FOUND_REAL) / (1 - FOUND_FALSE)

    scale = np.array(first.resolution) / 197
    points = np.concatenate([mine, moved[is_new]]) * scale
    percent = np.concatenate([_percent(quality), _percent(new_quality)])
    kept = np.flatnonzero(percent >= 5)
    kept = kept[np.argsort(-percent[kept], kind="stable")[:MAX_MINUTIAE]]
    low = np.minimum(points.min(axis=0), 0)  # what lies beyond the image's edge moves all of it
    points = np.rint(points - low)
    return replace(
        first,
        x=points[kept, 0],
        y=points[kept, 1],
        direction=np.concatenate([first.direction, direction[is_new]])[kept].astype(np.float32) % 360,
        kind=np.concatenate([first.kind, other.kind[is_new]])[kept],
        quality=percent[kept],
        width=int(max(first.width, points[:, 0].max() + 1)),
        height=int(max(first.height, points[:, 1].max() + 1)),
    )


def _points(template: Minutiae) -> Floats:
    """(n, 2) pixels at 500 dpi."""
    return np.stack([template.x, template.y], axis=1).astype(np.float64) * (
        197 / np.array(template.resolution)
    )


def _odds(quality: npt.NDArray[np.uint8]) -> Floats:
    """Of a confidence; a quality that is not reported is 80."""
    share = np.clip(np.where(quality > 100, 80, quality) / 100, 0.02, 0.98)
    return share / (1 - share)


def _percent(odds: Floats) -> Floats:
    return np.rint(100 * odds / (1 + odds)).clip(0, 98)


def _whole(template: Minutiae, _: np.random.Generator) -> Minutiae:
    return template


def _partial(template: Minutiae, random: np.random.Generator) -> Minutiae:
    """What a small sensor would see: the minutiae nearest to one of the more certain half."""
    points = _points(template)
    certain = np.flatnonzero(template.quality >= np.median(template.quality))
    apart = np.linalg.norm(points - points[random.choice(certain)], axis=1)
    kept = np.sort(np.argsort(apart, kind="stable")[:PARTIAL])
    columns = {name: getattr(template, name)[kept] for name in ("x", "y", "direction", "kind", "quality")}
    return replace(template, **columns)


if __name__ == "__main__":
    main()
