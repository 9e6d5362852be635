# SPDX-License-Identifier: Apache-2.0
"""Search for a DNA profile among made-up ones: processor time, memory, and loss against comparison with all.

    python benchmarks/speed/dna.py --profiles 1000000 --json benchmarks/results/dna.json

Profiles are drawn from made-up allele frequencies of 24 loci. Each third probe is an enrolled profile, each third one
has a drop-out at one locus and five loci that were not typed, and every third one is non-mated. Nothing may be lost:
the best ten scores of each search are compared with those of all profiles.
"""

from __future__ import annotations

import os
import time

import numpy as np
import numpy.typing as npt

from abis.comparison.dna import DnaModel, DnaProbe
from abis.index.dna_index import DnaIndex, PreparedProfile
from abis.synthetic.dna import draw_profiles, made_up_frequencies
from abis.template import StrProfile
from benchmarks.lib.common import options, print_table, wilson, write

WANTED = 700  # what a search of a gallery asks of an index
BEST = 10
SORTS = ("equal", "drop-out, 5 loci missing", "not enrolled")


def main() -> None:
    """Build an index, search, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--profiles", type=int, default=1_000_000, help="in the index (default: 1,000,000)")
    parser.add_argument("--probes", type=int, default=150, help="of all three sorts (default: 150)")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    frequencies = made_up_frequencies(seed=arguments.seed)
    model = DnaModel(frequencies)
    alleles = draw_profiles(frequencies, arguments.profiles, seed=arguments.seed)
    strangers = draw_profiles(frequencies, arguments.probes, seed=arguments.seed + 1)
    start = time.process_time()
    index = DnaIndex(alleles)
    figures: dict[str, float | int | str] = {
        "profiles": arguments.profiles,
        "probes": arguments.probes,
        "build_s": round(time.process_time() - start, 2),
        "bytes_a_profile": round(index.memory_bytes / len(index), 1),
    }
    random = np.random.default_rng(arguments.seed)
    times: dict[str, list[float]] = {sort: [] for sort in SORTS}
    every: list[float] = []
    found = lost = mates = 0
    for number in range(arguments.probes):
        sort = SORTS[number % len(SORTS)]
        enrolled = int(random.integers(arguments.profiles))
        probe = StrProfile.of_alleles(
            strangers[number] if sort == SORTS[2] else _seen_again(alleles[enrolled], sort, random)
        )
        start = time.process_time()
        scores, slots = index.nearest(PreparedProfile.of(probe, model), WANTED)
        times[sort].append(time.process_time() - start)
        start = time.process_time()
        exhaustive = DnaProbe.of(probe, model).compare(alleles)
        every.append(time.process_time() - start)
        best = np.sort(exhaustive)[-BEST:][::-1]
        lost += int((best != scores[:BEST].astype(np.float32)).any())
        if sort != SORTS[2]:
            mates += 1
            found += int(slots[0] == enrolled)
    low, high = wilson(lost, arguments.probes)
    rows = []
    for sort in SORTS:
        p50, p95 = np.percentile(times[sort], [50, 95]) * 1e3
        name = sort.split(",")[0].replace("-", "_").replace(" ", "_")
        figures |= {f"{name}_p50_ms": round(float(p50), 3), f"{name}_p95_ms": round(float(p95), 3)}
        rows.append([sort, f"{p50:.2f}", f"{p95:.2f}"])
    figures |= {
        "exhaustive_p50_ms": round(1e3 * float(np.median(every)), 2),
        "searches_with_another_best_ten": lost,
        "searches_with_another_best_ten_upper": round(high, 5),
        "mates": mates,
        "mates_first": found,
    }
    note = (
        f"{index.memory_bytes / len(index):.0f} bytes a profile, built in {figures['build_s']} s. Comparison with all: "
        f"{figures['exhaustive_p50_ms']} ms. Searches whose best ten differ from it: {lost} of {arguments.probes} "
        f"({100 * low:.2f} to {100 * high:.2f} %). Mates first: {found} of {mates}."
    )
    print_table(
        f"Search among {arguments.profiles:,} DNA profiles, processor time of one thread",
        ["probe", "p50, ms", "p95, ms"],
        rows,
        note=note,
    )
    write(arguments.json, figures, seed=arguments.seed)


def _seen_again(
    alleles: npt.NDArray[np.uint16], sort: str, random: np.random.Generator
) -> npt.NDArray[np.uint16]:
    """An enrolled profile as it may be seen again."""
    again = alleles.copy()
    if sort == SORTS[1]:
        heterozygous = np.flatnonzero(again[:, 0] != again[:, 1])
        place = random.choice(heterozygous)
        again[place, 0] = again[place, 1]
        missing = random.choice(np.setdiff1d(np.arange(len(again)), place), 5, replace=False)
        again[missing] = 0
    return again


if __name__ == "__main__":
    main()
