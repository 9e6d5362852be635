# SPDX-License-Identifier: Apache-2.0
"""How far are synthetic templates and their scores from real ones, and how fast are they made?

Real prints: templates that abis.extraction makes of the images of the six FVC2002 and FVC2004 "B" sets taken with
sensors (DB4 of both years is synthetic). Real faces: ArcFace MobileFaceNet embeddings of Labeled Faces in the Wild.
Real irises: CASIA-IrisV1. The constants of abis.synthetic were set by hand until these tables agreed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

from abis.comparison import FingerReferences
from abis.comparison.iris import iris_scores, packed
from abis.synthetic import Population
from abis.synthetic.iris import COLUMNS, PLANES, ROWS
from abis.template import IrisCode, Minutiae, Position
from benchmarks.fitting.fit_calibration import Irises
from benchmarks.lib.common import optional, options, print_table, public_data, write
from benchmarks.lib.images import extracted_set
from benchmarks.lib.lfw import read_lfw
from benchmarks.lib.print_statistics import Statistics, of_mates, of_templates

SETS = [f"fvc{year}_db{number}_b" for year in (2002, 2004) for number in (1, 2, 3)]
FINGERS, IMPRESSIONS = range(101, 111), range(1, 9)
ALIGNED_PAIRS_A_SET = 50
SYNTHETIC_PRINTS = 480  # as many as real ones
SYNTHETIC_MATES = 1680
SYNTHETIC_STRANGERS = 400  # compared each with each
FACES, FACE_IMPRESSIONS = 4000, 6
EYES, EYE_IMPRESSIONS = 54, 7  # as many as of CASIA-IrisV1
TIMED, TIMED_BLOCK = 20_000, 1000

Figures = dict[str, float | int | str]
Scores = npt.NDArray[np.float32]
RealSet = dict[tuple[int, int], Minutiae]


def main() -> None:
    """Parse, measure, print, write."""
    arguments = options(__doc__ or "").parse_args()
    population = Population(arguments.seed)
    figures: Figures = {}
    with optional("prints", figures):
        data = public_data("images").parent
        real_sets = [_read_set(data, name) for name in SETS]
        report_prints(real_sets, population, figures)
        report_mates(real_sets, population, figures)
        report_print_scores(real_sets, population, figures)
    with optional("faces", figures):
        report_faces(public_data("faces").parent, population, figures)
    with optional("irises", figures):
        report_irises(public_data("iris").parent, population, figures)
    report_speed(population, figures)
    write(arguments.json, figures, seed=arguments.seed)


def report_prints(real_sets: Sequence[RealSet], population: Population, figures: Figures) -> None:
    """Single templates."""
    real = [of_templates(list(one.values())) for one in real_sets]
    prints = _prints(population, range(SYNTHETIC_PRINTS), 0)
    _print_statistics("Prints", "print", real, of_templates(prints), figures)


def report_mates(real_sets: Sequence[RealSet], population: Population, figures: Figures) -> None:
    """Two impressions of a finger, aligned."""
    random = np.random.default_rng(population.seed)
    real = []
    for one in real_sets:
        mates = [(one[f, i], one[f, j]) for f in FINGERS for i, j in combinations(IMPRESSIONS, 2)]
        real.append(of_mates([mates[k] for k in random.permutation(len(mates))[:ALIGNED_PAIRS_A_SET]]))
    some = range(ALIGNED_PAIRS_A_SET * len(SETS))
    pairs = list(zip(_prints(population, some, 0), _prints(population, some, 1), strict=True))
    _print_statistics("Mated prints", "mates", real, of_mates(pairs), figures)


def report_print_scores(real_sets: Sequence[RealSet], population: Population, figures: Figures) -> None:
    """Raw comparison scores."""
    real_mated, real_non_mated = [], []
    for one in real_sets:
        scores = _all_scores(list(one.values()), list(one.values()))
        finger = np.array([finger for finger, _ in one])
        upper = np.triu(np.ones_like(scores, dtype=bool), 1)
        mated = finger[:, None] == finger
        real_mated.append(scores[upper & mated])
        real_non_mated.append(scores[upper & ~mated])
    some = range(SYNTHETIC_MATES)
    mated = np.array(
        [
            _all_scores([probe], [reference])[0, 0]
            for probe, reference in zip(
                _prints(population, some, 1), _prints(population, some, 0), strict=True
            )
        ]
    )
    strangers = range(SYNTHETIC_STRANGERS)
    scores = _all_scores(_prints(population, strangers, 1), _prints(population, strangers, 0))
    _print_scores(
        "Raw scores of prints",
        "print_score",
        (np.concatenate(real_mated), np.concatenate(real_non_mated)),
        (mated, scores[~np.eye(len(scores), dtype=bool)]),
        figures,
    )


def report_faces(data: Path, population: Population, figures: Figures) -> None:
    """Cosines: of a few images each, so that no person dominates, of the people with two or more."""
    lfw = read_lfw(data)
    random = np.random.default_rng(population.seed)
    vectors = lfw.embedding.astype(np.float32)
    mated, firsts = [], []
    for person in range(len(lfw.people)):
        images = random.permutation(np.flatnonzero(lfw.person == person))[:FACE_IMPRESSIONS]
        firsts.append(images[0])
        mated.append(_upper(vectors[images]))
    real = np.concatenate(mated), _upper(vectors[firsts])
    impressions = [
        population.face_vectors(range(FACES), k).astype(np.float32) for k in range(FACE_IMPRESSIONS)
    ]
    synthetic = (
        np.concatenate([np.einsum("nd,nd->n", a, b) for a, b in combinations(impressions, 2)]),
        _upper(impressions[0]),
    )
    _print_scores("Cosines of faces", "face_cosine", real, synthetic, figures)


def report_irises(data: Path, population: Population, figures: Figures) -> None:
    """Raw scores of irises."""
    irises = Irises(data)
    first, second = irises.pairs()
    mated = irises.eye[first] == irises.eye[second]
    real = irises.raw[first, second]
    codes = [
        IrisCode.of_packed(bits=bits, mask=mask, shape=(ROWS, COLUMNS, PLANES), model="")
        for k in range(EYE_IMPRESSIONS)
        for bits, mask in zip(*population.iris_columns(range(EYES), Position.LEFT_EYE, k), strict=True)
    ]
    made = np.stack([iris_scores(code, packed(codes)) for code in codes])
    rows, columns = np.triu_indices(len(codes), 1)
    alike = rows % EYES == columns % EYES
    made = made[rows, columns]
    _print_scores(
        "Raw scores of irises", "iris_raw", (real[mated], real[~mated]), (made[alike], made[~alike]), figures
    )


def report_speed(population: Population, figures: Figures) -> None:
    """Templates a second on one core, by kernels compiled before."""
    rows = []
    for name, make in (
        ("fingers as arrays", lambda block: population.finger_columns(block, Position.RIGHT_INDEX)),
        ("faces as arrays", population.face_vectors),
        ("irises as arrays", lambda block: population.iris_columns(block, Position.LEFT_EYE)),
        ("subjects (two fingers, a face) as templates", lambda block: list(population.encounters(block))),
    ):
        start = time.process_time()  # others may use the machine too
        for first in range(0, TIMED, TIMED_BLOCK):
            make(range(first, first + TIMED_BLOCK))
        per_second = TIMED / (time.process_time() - start)
        figures[f"{name.split()[0]}_per_second"] = per_second
        rows.append((name, f"{per_second:,.0f}"))
    print_table("Made in a second of one core", ["", "1/s"], rows)


def _print_statistics(
    title: str, prefix: str, real: Sequence[Statistics], synthetic: Statistics, figures: Figures
) -> None:
    """One line a statistic; real sets differ among themselves, which says what a small distance is."""
    rows = []
    for name, sample in synthetic.items():
        parts = [one[name] for one in real]
        pooled = np.concatenate(parts)
        key = f"{prefix}_{_key(name)}"
        if set(np.unique(pooled)) <= {0.0, 1.0}:
            means = [part.mean() for part in parts]
            rows.append((name, f"{np.mean(means):.3f}", f"{sample.mean():.3f}", "", _range(means)))
            figures |= {f"{key}_real": float(np.mean(means)), f"{key}_synthetic": float(sample.mean())}
            continue
        distance = float(ks_2samp(sample, pooled).statistic)
        others = [
            float(ks_2samp(part, np.concatenate(parts[:i] + parts[i + 1 :])).statistic)
            for i, part in enumerate(parts)
        ]
        rows.append((name, _spread(pooled), _spread(sample), f"{distance:.3f}", _range(others)))
        figures |= {
            f"{key}_median_real": float(np.median(pooled)),
            f"{key}_median_synthetic": float(np.median(sample)),
            f"{key}_ks": distance,
            f"{key}_ks_between_real_sets": float(np.median(others)),
        }
    print_table(
        title,
        ["", "real", "synthetic", "KS distance", "one real set to the others"],
        rows,
        note="5, 50 and 95 % quantiles, or the mean of a share. Kolmogorov-Smirnov distances are 0 to 1.",
    )


def _print_scores(
    title: str,
    prefix: str,
    real: tuple[Scores, Scores],
    synthetic: tuple[Scores, Scores],
    figures: Figures,
) -> None:
    """Quantiles of mated and non-mated scores, and the error rates at the same thresholds."""
    rows = []
    for kind, quantiles, ours, theirs in (
        ("mated", (0.5, 1, 5, 25, 50, 75, 95), synthetic[0], real[0]),
        ("non-mated", (5, 50, 95, 99, 99.9, 99.99, 99.999), synthetic[1], real[1]),
    ):
        distance = float(ks_2samp(ours, theirs).statistic)
        figures |= {f"{prefix}_{_key(kind)}_ks": distance}
        figures |= {f"{prefix}_{_key(kind)}_real_n": len(theirs)}
        figures |= {f"{prefix}_{_key(kind)}_synthetic_n": len(ours)}
        for quantile in quantiles:
            if min(len(ours), len(theirs)) * min(quantile, 100 - quantile) < 100:
                continue  # fewer than one score beyond
            values = [float(np.percentile(scores, quantile)) for scores in (theirs, ours)]
            rows.append((f"{kind}, {quantile} %", *(f"{value:.3f}" for value in values)))
            figures[f"{prefix}_{_key(kind)}_quantile_{quantile}_percent_real"] = values[0]
            figures[f"{prefix}_{_key(kind)}_quantile_{quantile}_percent_synthetic"] = values[1]
        rows.append((f"{kind}, KS distance", "", f"{distance:.3f}"))
    for fmr in (1e-2, 1e-3):
        for threshold_of, non_mated in (("real", real[1]), ("synthetic", synthetic[1])):
            threshold = np.nextafter(np.quantile(non_mated, 1 - fmr, method="higher"), np.inf)
            fnmr = [100 * float((mated < threshold).mean()) for mated in (real[0], synthetic[0])]
            label = f"FNMR at FMR {fmr:g} of the {threshold_of} ones"
            rows.append((label, *(f"{value:.2f} %" for value in fnmr)))
            key = f"{prefix}_fnmr_at_fmr_{fmr:g}_of_{threshold_of}"
            figures |= {f"{key}_real_percent": fnmr[0], f"{key}_synthetic_percent": fnmr[1]}
    print_table(title, ["", "real", "synthetic"], rows)


def _read_set(data: Path, name: str) -> RealSet:
    prints: RealSet = {}
    for sample in extracted_set(data, name).samples:
        assert isinstance(sample.template, Minutiae)
        prints[int(sample.finger), int(sample.impression)] = sample.template
    return prints


def _prints(population: Population, subjects: range, impression: int) -> list[Minutiae]:
    columns = population.finger_columns(subjects, Position.RIGHT_INDEX, impression)
    return [columns.template(row) for row in range(len(columns))]


def _all_scores(probes: Sequence[Minutiae], references: Sequence[Minutiae]) -> Scores:
    """Raw scores, (probes, references)."""
    prepared = FingerReferences()
    prepared.extend(references)
    return np.array([prepared.compare(probe) for probe in probes])


def _upper(vectors: npt.NDArray[np.float32]) -> Scores:
    """Cosines of each unordered pair of rows of unit length."""
    cosines: Scores = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    return cosines


def _spread(sample: npt.NDArray[np.float64]) -> str:
    return "  ".join(f"{value:.3g}" for value in np.percentile(sample, (5, 50, 95)))


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def _key(name: str) -> str:
    """A statistic's name as a key: words, unit last."""
    for unit, word in (("px²", "px2"), ("|°|", "degrees"), ("°", "degrees"), ("share a print", "share")):
        name = name.replace(unit, word)
    return "_".join(name.lower().replace(",", "").replace("-", "_").split())


if __name__ == "__main__":
    main()
