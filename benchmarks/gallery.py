# SPDX-License-Identifier: Apache-2.0
"""A gallery of synthetic subjects at several sizes: time to identify, bytes a subject, and who is found.

Each gallery is opened in a process of its own, so that its memory can be told. Subjects have two index
fingers and a face; mated probes are further impressions of enrolled subjects, non-mated ones of others.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from common import options, print_table, write
from rich.progress import track

from abis.gallery import Gallery
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Position, Template
from abis.thresholds import threshold_for_fpir

SIZES = (10_000, 100_000)
FPIR = 0.01  # false positive identification rate asked for
CHUNK = 5_000  # subjects made, then enrolled, at a time

Figures = dict[str, float | int | str]
Probe = Sequence[Template]
_T = TypeVar("_T")

KINDS: Mapping[str, Callable[[Template], bool]] = {
    "one finger": lambda t: t.position == Position.RIGHT_INDEX,
    "two fingers": lambda t: isinstance(t, Minutiae),
    "face": lambda t: isinstance(t, Embedding),
    "two fingers + face": lambda _: True,
}


def main() -> None:
    """Measure every size, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, nargs="+", default=SIZES, metavar="N", help="gallery sizes")
    parser.add_argument("--probes", type=int, default=100, help="mated, and as many non-mated ones (100)")
    parser.add_argument("--folder", type=Path, help="where galleries are made and removed again")
    arguments = parser.parse_args()

    figures: Figures = {"probes_mated": arguments.probes, "probes_non_mated": arguments.probes}
    processes = multiprocessing.get_context("spawn")
    for size in arguments.subjects:
        population = Population(seed=arguments.seed)
        with (
            tempfile.TemporaryDirectory(dir=arguments.folder) as folder,
            processes.Pool(1, maxtasksperchild=1) as pool,
        ):
            found = pool.apply(enroll, (Path(folder), population, size))
            found |= pool.apply(search, (Path(folder), population, size, arguments.probes))
        figures |= {f"n{size}_{name}": value for name, value in found.items()}
    print_results(figures, arguments.subjects)
    write(arguments.json, figures, seed=arguments.seed)


def search(folder: Path, population: Population, size: int, probes: int) -> Figures:
    """Open, identify, verify."""
    figures: Figures = {}
    before = resident_bytes()
    start = time.perf_counter()
    with Gallery.open(folder) as gallery:
        figures["open_s"] = time.perf_counter() - start
        figures["resident_bytes_per_subject"] = (resident_bytes() - before) / size
        figures["memory_bytes_per_subject"] = gallery.info().memory_bytes / size
        random = np.random.default_rng(population.seed)
        mates = random.choice(size, min(probes, size), replace=False).tolist()
        others = range(size, size + probes)
        presented = dict(population.encounters([*mates, *others], impression=1))
        for kind, belongs in KINDS.items():
            subset = {name: [t for t in templates if belongs(t)] for name, templates in presented.items()}
            name = kind.replace(" + ", "_").replace(" ", "_")
            figures |= {f"identify_{name}_{k}": v for k, v in identify(gallery, subset, kind, size).items()}
        figures |= verify(gallery, {n: t for n, t in presented.items() if int(n) < size})
    return figures


def enroll(folder: Path, population: Population, size: int) -> Figures:
    """Make the gallery; the time to make subjects up is left out."""
    seconds = 0.0
    with Gallery.open(folder, load=False) as gallery:
        for start in progress(range(0, size, CHUNK), f"enrolling {size:,}"):
            people = population.encounters(range(start, min(start + CHUNK, size)))
            enrollments = [Enrollment(subject_id, templates) for subject_id, templates in people]
            begin = time.perf_counter()
            gallery.enroll_many(enrollments)
            seconds += time.perf_counter() - begin
    with Gallery.open(folder, load=False) as gallery:  # closing has folded the log into the database
        disk = gallery.info().disk_bytes or 0
    return {"enroll_subjects_per_s": size / seconds, "disk_bytes_per_subject": disk / size}


def identify(gallery: Gallery, probes: Mapping[str, Probe], kind: str, size: int) -> Figures:
    """Time and outcome of searches with one kind of probe; what screening lost is told by exact ones."""
    one = next(iter(probes.values()))
    threshold = threshold_for_fpir(FPIR, size, [[gallery.calibration(template)] for template in one])
    seconds: list[float] = []
    compared = comparable = positives = misses = not_first = lost = 0
    gallery.identify(next(iter(probes.values())))  # the first one warms up
    for name, probe in progress(list(probes.items()), f"identifying by {kind}"):
        start = time.perf_counter()
        found = gallery.identify(probe)
        seconds.append(time.perf_counter() - start)
        compared += found.compared
        comparable += found.comparable
        reaches_threshold = found[0].score >= threshold
        if int(name) >= size:
            positives += reaches_threshold
            continue
        is_first = found[0].subject_id == name
        misses += not (is_first and reaches_threshold)
        not_first += not is_first
        if not is_first and found.compared < found.comparable:
            lost += gallery.identify(probe, max_candidates=1, exact=True)[0].subject_id == name
    mated = sum(int(name) < size for name in probes)
    low, high = wilson(misses, mated)
    return {
        "p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "p95_ms": float(np.percentile(seconds, 95)) * 1e3,
        "fnir_percent": 100 * misses / mated,
        "fnir_low_percent": 100 * low,
        "fnir_high_percent": 100 * high,
        "not_rank_1_percent": 100 * not_first / mated,
        "lost_by_screening_percent": 100 * lost / mated,
        "fpir_asked_percent": 100 * FPIR,
        "fpir_percent": 100 * positives / (len(probes) - mated),
        "compared_percent": 100 * compared / comparable,
    }


def verify(gallery: Gallery, probes: Mapping[str, Probe]) -> Figures:
    """Time of verifications by two fingers and a face, references read from the store."""
    seconds = []
    for name, probe in probes.items():
        start = time.perf_counter()
        gallery.verify(probe, name)
        seconds.append(time.perf_counter() - start)
    return {
        "verify_p50_ms": float(np.percentile(seconds, 50)) * 1e3,
        "verify_p95_ms": float(np.percentile(seconds, 95)) * 1e3,
    }


def wilson(errors: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927)."""
    z = 1.959964
    centre = (errors + z * z / 2) / (trials + z * z)
    half = z / (trials + z * z) * np.sqrt(errors * (trials - errors) / trials + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def progress(rows: Sequence[_T], label: str) -> Iterator[_T]:
    """The rows, with a progress bar where someone watches."""
    return iter(track(rows, label, transient=True, disable=not sys.stdout.isatty()))


def print_results(figures: Figures, sizes: Sequence[int]) -> None:
    """Two tables: sizes, and searches."""

    def row(label: str, name: str, digits: int) -> list[str]:
        return [label, *(f"{figures[f'n{size}_{name}']:,.{digits}f}" for size in sizes)]

    print_table(
        "Gallery: two fingers and a face a subject",
        ["", *(f"{size:,} subjects" for size in sizes)],
        [
            row("enroll, subjects/s", "enroll_subjects_per_s", 0),
            row("open, s", "open_s", 1),
            row("memory, bytes a subject", "memory_bytes_per_subject", 0),
            row("memory as the system counts it, bytes a subject", "resident_bytes_per_subject", 0),
            row("disk, bytes a subject", "disk_bytes_per_subject", 0),
            row("verify, median ms", "verify_p50_ms", 2),
        ],
    )
    rows = []
    for size in sizes:
        for kind in KINDS:
            name = f"n{size}_identify_{kind.replace(' + ', '_').replace(' ', '_')}_"
            of = {key.removeprefix(name): value for key, value in figures.items() if key.startswith(name)}
            interval = f"({of['fnir_low_percent']:.1f} to {of['fnir_high_percent']:.1f})"
            rows.append(
                [
                    f"{kind}, {size:,}",
                    f"{of['p50_ms']:,.1f}",
                    f"{of['p95_ms']:,.1f}",
                    f"{of['fnir_percent']:.1f} {interval}",
                    f"{of['not_rank_1_percent']:.1f}",
                    f"{of['lost_by_screening_percent']:.1f}",
                    f"{of['fpir_percent']:.1f}",
                    f"{of['compared_percent']:.1f}",
                ]
            )
    print_table(
        "Identify",
        [
            "probe, subjects",
            "median ms",
            "p95 ms",
            "FNIR % (95 %)",
            "not rank 1 %",
            "lost by screening %",
            "FPIR %",
            "compared %",
        ],
        rows,
        note=f"{figures['probes_mated']} mated, {figures['probes_non_mated']} non-mated probes. "
        f"FNIR (mate not at rank 1) and FPIR: at the threshold for an FPIR of {FPIR:.0%}.\n"
        "How far synthetic subjects are from real ones: docs/synthetic.md.",
    )


if __name__ == "__main__":
    main()
