# SPDX-License-Identifier: Apache-2.0
"""Comparisons of iris codes a second on one core, and the time of a search among made-up ones.

    python benchmarks/speed/iris.py --codes 1000000 --json benchmarks/results/iris-speed.json

Codes are random bits of which 30 % are masked: the time of a comparison does not depend on what the bits are.
"""

from __future__ import annotations

import time

import numpy as np

from abis.comparison import simd_level
from abis.comparison.iris import iris_scores, packed, rotations
from abis.index.iris_index import IrisIndex, IrisProbe
from abis.template import IrisCode
from benchmarks.lib.common import options, print_table, write

SHAPES = {"2,048 bits": (8, 128, 2), "3,072 bits (abis-iris-1)": (6, 128, 4)}
DISTINCT = 2_000
SEARCHES = 5


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--codes", type=int, default=100_000, help="codes in the index (100,000)")
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    figures: dict[str, float | int | str] = {"codes": arguments.codes, "cpu_level": simd_level()}
    rows = []
    for name, shape in SHAPES.items():
        codes = [_code(rng, shape) for _ in range(DISTINCT)]
        index = IrisIndex(np.resize(packed(codes), (arguments.codes, *packed(codes[:1]).shape[1:])))
        probe = codes[0]
        iris_scores(probe, index.codes, threads=1)
        whole, search = [], []
        for _ in range(SEARCHES):
            start = time.perf_counter()
            iris_scores(probe, index.codes, threads=1)
            whole.append(time.perf_counter() - start)
            start = time.perf_counter()
            index.nearest(IrisProbe(probe), 600)
            search.append(time.perf_counter() - start)
        figures[f"{name}: rotations"] = 2 * rotations(shape[1]) + 1
        figures[f"{name}: comparisons per second and core"] = round(arguments.codes / float(np.median(whole)))
        figures[f"{name}: median search, ms"] = round(1e3 * float(np.median(search)), 1)
        rows.append(
            [name, f"{arguments.codes / np.median(whole):,.0f}/s", f"{1e3 * np.median(search):.1f} ms"]
        )
    columns = ["code", "comparisons, one core", f"search among {arguments.codes:,}"]
    print_table("Iris codes", columns, rows)
    write(arguments.json, figures, seed=arguments.seed)


def _code(rng: np.random.Generator, shape: tuple[int, int, int]) -> IrisCode:
    return IrisCode(bits=rng.random(shape) < 0.5, mask=rng.random(shape) >= 0.3, model="random")


if __name__ == "__main__":
    main()
