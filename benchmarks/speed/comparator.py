# SPDX-License-Identifier: Apache-2.0
"""How many fingerprint comparisons are made in a second? One thread, prepared references, each SIMD level.

Probes are compared with the non-mated references of their own data set, as in an identification, where
nearly all comparisons are non-mated. With a cutoff, comparisons that cannot reach it end early; scores at
or above it are unchanged. Each figure is the median of processor time over repetitions, which a busy
machine disturbs less than elapsed time. Its interval lies between two of the repetitions, which contain the
median with a probability of 98.8 % whatever the distribution.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from abis.comparison import FingerReferences, simd_level
from abis.evaluation.datasets import read_folder
from abis.template import Minutiae
from benchmarks.lib.common import optional, options, print_table, public_data, write

SETS = {"40 minutiae": ("leader", "fvc2002_db1_b"), "92 minutiae": ("fingerjetfx", "fvc2004_db3_b")}
CUTOFFS = {"no cutoff": -np.inf, "cutoff 4": 4.0, "cutoff 6": 6.0}
LEVELS = ("avx512", "avx512bw", "avx2", "base")
REPETITIONS = 11
INTERVAL = (1, -2)  # the second lowest and the second highest: 1 - 2 (1 + 11) / 2**11 = 98.8 %
LEAST_COMPARISONS = 20_000  # a repetition


def main() -> None:
    """Measure every level in a process of its own, and this one's threads."""
    parser = options(__doc__ or "")
    parser.add_argument("--level", action="store_true", help="measure the level in use only; print JSON")
    arguments = parser.parse_args()
    if arguments.level:
        print(json.dumps(measure_level()))
        return
    figures: dict[str, float | int | str] = {}
    with optional("fingerprints", figures):
        best = LEVELS.index(simd_level())
        public_data("fingerprints")
        for level in LEVELS[best:]:
            environment = {**os.environ, "ABIS_SIMD": level}
            command = [sys.executable, __file__, "--level"]
            printed = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            ).stdout
            figures |= {f"{name}_{level}": value for name, value in json.loads(printed).items()}
        figures |= measure_threads()
        print_tables(figures)
    write(arguments.json, figures, seed=arguments.seed)


def measure_level() -> dict[str, float | int]:
    """Comparisons a second for each set and cutoff, preparation and size of a template."""
    figures: dict[str, float | int] = {}
    for name, (extractor, data_set) in SETS.items():
        fingers = read_templates(extractor, data_set)
        templates = [template for impressions in fingers.values() for template in impressions]
        label = name.replace(" ", "_")
        packed, repeats = pack(templates)
        for cutoff_name, cutoff in CUTOFFS.items():
            rates = [compare_all(packed, fingers, repeats, cutoff) for _ in range(REPETITIONS)]
            figures |= median(f"comparisons_per_s_{label}_{cutoff_name.replace(' ', '_')}", rates)
        times = [seconds(lambda: FingerReferences().extend(templates, threads=1)) for _ in range(REPETITIONS)]  # noqa: B023
        figures |= median(f"prepare_us_{label}", [1e6 * spent / len(templates) for spent in times])
        figures[f"mean_minutiae_{label}"] = float(np.mean([len(t) for t in templates]))
        figures[f"comparisons_per_repetition_{label}"] = len(fingers) * (
            len(packed) - len(packed) // len(fingers)
        )
    return figures


def measure_threads() -> dict[str, float]:
    """Elapsed time of one scan by one thread over that by two, at full scores."""
    fingers = read_templates(*SETS["40 minutiae"])
    packed, _ = pack([template for impressions in fingers.values() for template in impressions])
    probe = next(iter(fingers.values()))[0]
    ratios = []
    for _ in range(REPETITIONS):  # in turns, since the machine's speed drifts
        elapsed = []
        for threads in (1, 2):
            start = time.perf_counter()
            packed.compare(probe, threads=threads)
            elapsed.append(time.perf_counter() - start)
        ratios.append(elapsed[0] / elapsed[1])
    return median("speed_up_by_two_threads", ratios)


def read_templates(extractor: str, data_set: str) -> dict[str, list[Minutiae]]:
    """The templates of a data set by finger."""
    fingers: dict[str, list[Minutiae]] = {}
    for sample in read_folder(public_data("fingerprints", extractor, data_set)).samples:
        if isinstance(sample.template, Minutiae):
            fingers.setdefault(sample.finger, []).append(sample.template)
    return fingers


def pack(templates: list[Minutiae]) -> tuple[FingerReferences, int]:
    """References of all templates, over and over until a repetition is long enough to time."""
    repeats = max(1, LEAST_COMPARISONS // (10 * len(templates)))
    packed = FingerReferences()
    packed.extend(templates * repeats)
    return packed, repeats


def compare_all(
    packed: FingerReferences, fingers: dict[str, list[Minutiae]], repeats: int, cutoff: float
) -> float:
    """Comparisons a second of each finger's first impression with all other fingers."""
    owner = np.tile(np.repeat(np.arange(len(fingers)), [len(v) for v in fingers.values()]), repeats)
    compared, spent = 0, 0.0
    for finger, impressions in enumerate(fingers.values()):
        slots = np.flatnonzero(owner != finger)
        spent += seconds(lambda: packed.compare(impressions[0], slots, cutoff=cutoff, threads=1))  # noqa: B023
        compared += len(slots)
    return compared / spent


def median(name: str, values: list[float]) -> dict[str, float]:
    """The median of the repetitions and its interval."""
    low, high = (sorted(values)[k] for k in INTERVAL)
    return {name: statistics.median(values), f"{name}_low": low, f"{name}_high": high}


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this process for one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def print_tables(figures: dict[str, float | int | str]) -> None:
    """The figures for people."""
    levels = [level for level in LEVELS if f"prepare_us_40_minutiae_{level}" in figures]
    rows: list[list[object]] = []
    for name in SETS:
        label = name.replace(" ", "_")
        for cutoff in CUTOFFS:
            key = f"comparisons_per_s_{label}_{cutoff.replace(' ', '_')}"
            rows.append([f"{name}, {cutoff}", *(with_interval(figures, key, level) for level in levels)])
        rows.append(
            [
                f"{name}, preparing, µs",
                *(with_interval(figures, f"prepare_us_{label}", level) for level in levels),
            ]
        )
    print_table("comparisons/s, one thread", ["templates", *levels], rows)
    ratio, low, high = (float(figures[f"speed_up_by_two_threads{end}"]) for end in ("", "_low", "_high"))
    print(f"two threads against one, elapsed: {ratio:.2f} [{low:.2f}, {high:.2f}] times as fast")


def with_interval(figures: dict[str, float | int | str], key: str, level: str) -> str:
    """A level's figure and its interval."""
    value, low, high = (float(figures[f"{key}{end}_{level}"]) for end in ("", "_low", "_high"))
    return f"{value:,.0f} [{low:,.0f}, {high:,.0f}]"


if __name__ == "__main__":
    main()
