# SPDX-License-Identifier: Apache-2.0
"""What does an evaluation of a hundred million scores take, and do its intervals hold?

Artificial scores of all pairs of some samples. The mated scores of a subject share an offset, so that they
depend on each other as real ones do. Measures time and memory, compares the rates with scikit-learn's, and
counts how many of the 95 % intervals contain the true value, which is known here; also for intervals that
treat comparisons as independent.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis.evaluation import ErrorRates, Estimate, Scores, summarise
from abis.evaluation.bootstrap import bootstrap
from abis.evaluation.protocols import all_pairs
from benchmarks.lib.common import options, print_table, write

SEPARATION, SUBJECT_SPREAD = 3.5, 1.0  # standard deviations of the non-mated scores
COVERAGE_SUBJECTS, COVERAGE_IMPRESSIONS, COVERAGE_FMR = 40, 4, 0.01
TRUE_SAMPLE = 4_000_000  # of each kind, from which the truth is taken

Figures = dict[str, float | int | str]


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--pairs", type=int, default=100_000_000, help="scores (default: 100,000,000)")
    parser.add_argument("--trials", type=int, default=500, help="of the coverage check (default: 500)")
    parser.add_argument("--only-scale", action="store_true", help="print time and memory as numbers, no more")
    arguments = parser.parse_args()
    if arguments.only_scale:
        print(*scale(arguments.pairs, arguments.seed))
        return
    figures = (
        report_scale(arguments.pairs, arguments.seed)
        | report_scikit_learn(arguments.seed)
        | report_coverage(arguments.trials, arguments.seed)
    )
    write(arguments.json, figures, seed=arguments.seed)


def made_up(samples: int, people: int, seed: int) -> Scores:
    """Scores of every two samples."""
    generator = np.random.default_rng(seed)
    person = np.sort(generator.integers(people, size=samples)).astype(np.uint16)
    rest = np.arange(samples)[::-1]
    probe = np.repeat(person, rest)
    reference = np.concatenate([person[i + 1 :] for i in range(samples)])
    score = generator.standard_normal(len(probe), dtype=np.float32)
    offset = (SEPARATION + SUBJECT_SPREAD * generator.normal(size=people)).astype(np.float32)
    mated = np.flatnonzero(probe == reference)
    score[mated] += offset[probe[mated]]
    return Scores(score, probe, reference)


def scale(pairs: int, seed: int) -> tuple[float, float, float, float]:
    """Seconds and processor seconds for a DET with intervals; GB held by the scores, and at most in all."""
    samples = int((1 + np.sqrt(1 + 8 * pairs)) / 2)
    summarise(made_up(3000, 1200, seed))  # compiles, and loads what is loaded once
    scores = made_up(samples, samples * 2 // 5, seed)
    held = sum(part.nbytes for part in (scores.score, scores.probe_subject, scores.reference_subject))
    wall, processor = time.perf_counter(), time.process_time()
    summarise(scores, seed=seed)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return wall, processor, held / 2**30, peak / 2**30


def report_scale(pairs: int, seed: int) -> Figures:
    """In a process of its own, whose memory is of nothing else."""
    command = [sys.executable, __file__, "--only-scale", "--pairs", str(pairs), "--seed", str(seed)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, processor, held, peak = (float(number) for number in output.split())
    print_table(
        f"DET curve with 95 % intervals of {pairs:,} scores",
        ["", "seconds", "processor seconds", "GiB of scores", "GiB at most, process"],
        [["abis", f"{wall:.1f}", f"{processor:.1f}", f"{held:.2f}", f"{peak:.2f}"]],
    )
    return {
        "pairs": pairs,
        "seconds": wall,
        "processor_seconds": processor,
        "scores_gib": held,
        "process_peak_gib": peak,
    }


def report_scikit_learn(seed: int) -> Figures:
    """The same curve by scikit-learn, point by point, on two million scores."""
    from sklearn.metrics import roc_curve  # noqa: PLC0415 - a second to import

    scores = made_up(2000, 800, seed)
    start = time.perf_counter()
    rates = ErrorRates.of(scores)
    det = rates.det()
    ours = time.perf_counter() - start
    start = time.perf_counter()
    fpr, tpr, threshold = roc_curve(scores.mated, scores.score, drop_intermediate=False)
    theirs = time.perf_counter() - start
    worst = max(
        float(np.abs(rates.fmr(threshold) - fpr).max()),
        float(np.abs(rates.fnmr(threshold) - (1 - tpr)).max()),
    )
    print_table(
        f"Against scikit-learn's roc_curve, {len(scores):,} scores, {len(threshold):,} thresholds",
        ["", "seconds", "largest difference of a rate"],
        [
            ["abis", f"{ours:.2f}", f"{worst:.1e}"],
            ["scikit-learn", f"{theirs:.2f}", ""],
        ],
        note=f"A DET of ours holds {len(det.threshold):,} of them, exact ones.",
    )
    return {"scikit_learn_largest_difference": worst, "seconds_2m": ours, "scikit_learn_seconds_2m": theirs}


def report_coverage(trials: int, seed: int) -> Figures:
    """How many of the intervals for the FNMR at FMR 1 % contain it."""
    generator = np.random.default_rng(seed)
    non_mated = generator.normal(size=TRUE_SAMPLE)
    mated = SEPARATION + np.hypot(1, SUBJECT_SPREAD) * generator.normal(size=TRUE_SAMPLE)
    truth = ErrorRates(mated, non_mated).at_fmr(COVERAGE_FMR).fnmr
    ours, independent = 0, 0
    for trial in track(range(trials), "coverage"):
        scores = small_sample(seed + 1 + trial)
        rates = ErrorRates.of(scores)
        fnmr = rates.at_fmr(COVERAGE_FMR).fnmr
        ours += holds(scores, rates, fnmr, truth)
        number = np.arange(len(scores))
        alone = Scores(scores.score, number, np.where(scores.mated, number, number + len(scores)))
        independent += holds(alone, rates, fnmr, truth)
    cells = [
        [name, f"{100 * n / trials:.1f} %"] for name, n in (("subjects", ours), ("comparisons", independent))
    ]
    print_table(
        f"95 % intervals that contain the true FNMR at FMR 1 %, {100 * truth:.2f} %: {trials} samples of "
        f"{COVERAGE_SUBJECTS} subjects, {COVERAGE_IMPRESSIONS} impressions",
        ["bootstrap over", "contain it"],
        cells,
    )
    return {
        "coverage_trials": trials,
        "coverage_subjects_percent": 100 * ours / trials,
        "coverage_comparisons_percent": 100 * independent / trials,
    }


def small_sample(seed: int) -> Scores:
    """All pairs of a few impressions of a few subjects."""
    generator = np.random.default_rng(seed)
    probe, reference = all_pairs(COVERAGE_SUBJECTS * COVERAGE_IMPRESSIONS)
    subject = np.repeat(np.arange(COVERAGE_SUBJECTS), COVERAGE_IMPRESSIONS)
    offset = SEPARATION + SUBJECT_SPREAD * generator.normal(size=COVERAGE_SUBJECTS)
    score: npt.NDArray[np.float64] = generator.normal(size=len(probe))
    mated = subject[probe] == subject[reference]
    score[mated] += offset[subject[probe[mated]]]
    return Scores(score, subject[probe], subject[reference])


def holds(scores: Scores, rates: ErrorRates, fnmr: float, truth: float) -> bool:
    """Whether the interval contains the truth."""
    replicates = bootstrap(scores, rates=rates).fnmr_at_fmr(COVERAGE_FMR)
    estimate = Estimate(value=fnmr, replicates=replicates, trials=len(rates.mated))
    return estimate.low <= truth <= estimate.high


if __name__ == "__main__":
    main()
