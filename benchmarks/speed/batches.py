# SPDX-License-Identifier: Apache-2.0
"""What `identify_many` gains over `identify` one by one: probes a second and core in the same gallery, turn by turn.

The gallery is synthetic, one finger a subject or two; probes are second impressions of subjects, and of
strangers. Both ways search for the same probes in turn, and every result must be the same. Time is the processor time
of all threads, which other load on the machine disturbs less than elapsed time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import abis
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
    print_table(
        f"Searches of {arguments.subjects:,} subjects by {arguments.fingers} finger(s)",
        ("", "probes/s/core", "ms of CPU a probe"),
        [
            (name, f"{1e3 / figures[f'{name}_ms']:.1f}", f"{figures[f'{name}_ms']:.1f}")
            for name in ("identify", "identify_many")
        ],
        note=f"ratio {figures['ratio']:.2f} (of rounds {figures['least_ratio']:.2f} to {figures['largest_ratio']:.2f})",
    )
    write(arguments.json, figures, seed=arguments.seed)


def enroll(gallery: abis.Gallery, population: Population, subjects: int) -> None:
    """Enroll what is missing."""
    enrolled = len(gallery)
    gallery.enroll_many(
        Enrollment(name, templates) for name, templates in population.encounters(range(enrolled, subjects))
    )


def measure(gallery: abis.Gallery, probes: Sequence[Sequence[Template]], rounds: int) -> dict[str, Any]:
    """CPU time of both ways, and its ratio; the median over rounds."""

    def spent(search: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
        before = time.process_time()
        results = search()
        return (time.process_time() - before) * 1e3 / len(probes), results

    alone, together = [], []
    for _ in range(rounds + 1):
        one, expected = spent(lambda: [gallery.identify(probe) for probe in probes])
        many, found = spent(lambda: list(gallery.identify_many(probes)))
        if found != expected:
            raise AssertionError("identify_many and identify differ")
        alone.append(one)
        together.append(many)
    del alone[0], together[0]  # the first round warms up
    ratios = [one / many for one, many in zip(alone, together, strict=True)]
    return {
        "identify_ms": statistics.median(alone),
        "identify_many_ms": statistics.median(together),
        "ratio": statistics.median(ratios),
        "least_ratio": min(ratios),
        "largest_ratio": max(ratios),
        "rounds": rounds,
    }


if __name__ == "__main__":
    main()
