# SPDX-License-Identifier: Apache-2.0
"""What `identify_many` gains over `identify` one by one: probes a second and core in the same gallery, turn by turn.

The gallery is synthetic, one finger a subject or two; probes are second impressions of subjects, and of
strangers. Both ways search for the same probes in turn, and every result must be the same. Elapsed time is
what a quiet machine gives, on all of its cores both ways; processor time, of all threads, is less disturbed
by other load.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import abis
from abis.parallel import available_cores
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Position, Template
from benchmarks.lib.common import options, print_table, write

POSITIONS = (Position.RIGHT_INDEX, Position.LEFT_INDEX)


def main() -> None:
    """Enroll, and search both ways in turn."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=100_000, help="enrolled (default: %(default)s)")
    parser.add_argument(
        "--fingers", type=int, choices=(1, 2), default=1, help="of a subject (default: %(default)s)"
    )
    parser.add_argument("--probes", type=int, default=64, help="in a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--gallery", type=Path, help="folder of the gallery, kept and used again (default: none)"
    )
    arguments = parser.parse_args()
    population = Population(seed=arguments.seed, fingers=POSITIONS[: arguments.fingers], face=False)
    with (
        tempfile.TemporaryDirectory() as folder,
        abis.Gallery.open(arguments.gallery or Path(folder, "g")) as gallery,
    ):
        enroll(gallery, population, arguments.subjects)
        half = arguments.probes // 2
        step = max(1, arguments.subjects // half)
        people = [*range(0, half * step, step), *range(2**40, 2**40 + arguments.probes - half)]
        probes = [templates for _, templates in population.encounters(people, impression=1)]
        figures = measure(gallery, probes, arguments.rounds)
    figures |= {"subjects": arguments.subjects, "fingers": arguments.fingers, "probes": len(probes)}
    cores = available_cores()
    print_table(
        f"Searches of {arguments.subjects:,} subjects by {arguments.fingers} finger(s) on {cores} core(s)",
        ("time", "identify, ms", "identify_many, ms", "probes/s/core", "with many", "ratio", "of rounds"),
        [
            (
                name,
                f"{(one := figures[f'identify_{name}_ms']):.1f}",
                f"{(many := figures[f'identify_many_{name}_ms']):.1f}",
                f"{1e3 / one / used:.1f}",
                f"{1e3 / many / used:.1f}",
                f"{figures[f'ratio_{name}']:.2f}",
                f"{figures[f'least_ratio_{name}']:.2f} to {figures[f'largest_ratio_{name}']:.2f}",
            )
            for name, used in (("elapsed", cores), ("processor", 1))
        ],
    )
    write(arguments.json, figures, seed=arguments.seed)


def enroll(gallery: abis.Gallery, population: Population, subjects: int) -> None:
    """Enroll what is missing."""
    enrolled = len(gallery)
    gallery.enroll_many(
        Enrollment(name, templates) for name, templates in population.encounters(range(enrolled, subjects))
    )


def measure(gallery: abis.Gallery, probes: Sequence[Sequence[Template]], rounds: int) -> dict[str, Any]:
    """Elapsed time and processor time of both ways, and their ratios; medians over rounds."""

    def spent(search: Callable[[], list[Any]]) -> tuple[NDArray[np.float64], list[Any]]:
        before = np.array([time.perf_counter(), time.process_time()])
        results = search()
        return np.array([time.perf_counter(), time.process_time()]) - before, results

    alone, together = [], []
    for _ in range(rounds + 1):
        one, expected = spent(lambda: [gallery.identify(probe) for probe in probes])
        many, found = spent(lambda: list(gallery.identify_many(probes)))
        if found != expected:
            raise AssertionError("identify_many and identify differ")
        alone.append(one)
        together.append(many)
    ms = 1e3 / len(probes)
    first, second = np.array(alone[1:]) * ms, np.array(together[1:]) * ms  # the first round warms up
    figures: dict[str, Any] = {"rounds": rounds}
    for column, name in enumerate(("elapsed", "processor")):
        ratios = first[:, column] / second[:, column]
        figures |= {
            f"identify_{name}_ms": float(np.median(first[:, column])),
            f"identify_many_{name}_ms": float(np.median(second[:, column])),
            f"ratio_{name}": float(np.median(ratios)),
            f"least_ratio_{name}": float(ratios.min()),
            f"largest_ratio_{name}": float(ratios.max()),
        }
    return figures


if __name__ == "__main__":
    main()
