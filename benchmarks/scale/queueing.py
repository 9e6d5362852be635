# SPDX-License-Identifier: Apache-2.0
"""Is the simulation of `abis size` right? Searches that arrive at random at real shards, and simulated ones.

Each core has a process with a gallery of `scale.py` as its shard, which works on the searches one after the
other; a search ends when the last shard has finished it. First all probes are searched without waiting,
which gives the simulation the two distributions that `abis size` uses: over probes, and over shards. Then
searches arrive as a Poisson process at several loads, and percentiles of the latency are compared.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.gallery import Gallery
from abis.sizing import Distribution, fork_join
from benchmarks.lib.common import optional, options, print_table, write
from benchmarks.scale.scale import Plan, Templates, probes_of

PERCENTILES = (50, 95, 99)
KIND = "two fingers + face"
FloatArray = npt.NDArray[np.float64]


def main() -> None:
    """Measure at every load, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=10_000, metavar="N", help="of each shard (10,000)")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-scale")
    parser.add_argument("--probes", type=int, default=200, metavar="N", help="different ones (200)")
    parser.add_argument("--searches", type=int, default=1_500, metavar="N", help="at each load (1,500)")
    parser.add_argument("--loads", type=float, nargs="+", default=[0.3, 0.6, 0.8], metavar="LOAD")
    arguments = parser.parse_args()
    plan = Plan(arguments.seed, arguments.subjects)
    cores = sorted(os.sched_getaffinity(0))
    figures: dict[str, float | int | str] = {}
    with optional("real_people", figures):
        dice = np.random.default_rng(arguments.seed)
        with multiprocessing.get_context("spawn").Pool(len(cores)) as pool:
            shards = Shards(pool, cores, arguments.folder / plan.folder, plan, arguments.probes)
            each = shards.search(np.zeros(3 * arguments.probes), np.tile(np.arange(arguments.probes), 3))
            seconds = each.spent.reshape(len(cores), 3, arguments.probes)
            work, factor = distributions(seconds)
            figures |= {
                "subjects_per_shard": arguments.subjects,
                "shards": len(cores),
                "searches": arguments.searches,
                "work_mean_ms": 1e3 * work.mean,
                "factor_p99": float(factor.at(0.99)),
            }
            rows = []
            for load in arguments.loads:
                rate = load / (work.mean * factor.mean)
                arrival = np.cumsum(dice.exponential(1 / rate, arguments.searches))
                found = shards.search(arrival, dice.integers(0, arguments.probes, arguments.searches))
                real = np.percentile(1e3 * found.latency, PERCENTILES)
                simulated = np.percentile(
                    1e3 * fork_join(rate, work, factor, shards=len(cores), requests=100_000), PERCENTILES
                )
                used = float(found.spent.sum() / len(cores) / found.latency_end)
                for percent, a, b in zip(PERCENTILES, real.tolist(), simulated.tolist(), strict=True):
                    figures[f"load{load:g}_p{percent}_ms"] = a
                    figures[f"load{load:g}_p{percent}_simulated_ms"] = b
                figures[f"load{load:g}_busy"] = used
                cells = [f"{a:.0f} / {b:.0f}" for a, b in zip(real, simulated, strict=True)]
                rows.append([f"{load:.0%}", f"{rate:.1f}", f"{used:.0%}", *cells])
        print_table(
            f"{len(cores)} shards of {arguments.subjects:,} subjects, {arguments.searches:,} searches a load: "
            "milliseconds measured / simulated",
            ["load", "searches/s", "cores busy", *(f"p{p}" for p in PERCENTILES)],
            rows,
            note=f"{KIND}. A search takes {1e3 * work.mean:.1f} ms on a shard where nothing waits.",
        )
    write(arguments.json, figures, seed=arguments.seed)


def distributions(seconds: FloatArray) -> tuple[Distribution, Distribution]:
    """Of probes, and of one search of a probe against the median of it; of (shards, times, probes)."""
    by_probe = np.median(seconds, axis=(0, 1))
    percent = np.linspace(0, 100, 101)
    work = Distribution.of_percentiles(percent.tolist(), np.percentile(by_probe, percent).tolist())
    factor = np.percentile(seconds / by_probe, percent)
    return work, Distribution.of_percentiles(percent.tolist(), factor.tolist())


class Searches:
    """What came of searches: (n,) latency and (shards, n) seconds spent; when the last was over."""

    def __init__(self, arrival: FloatArray, begun: FloatArray, finished: FloatArray) -> None:
        self.latency = finished.max(axis=0) - arrival
        self.spent = finished - begun
        self.latency_end = float(finished.max())


class Shards:
    """A process on each core with a gallery of its own."""

    def __init__(self, pool: Any, cores: list[int], folder: Path, plan: Plan, probes: int) -> None:
        self._pool, self._cores = pool, cores
        self._barrier = multiprocessing.get_context("spawn").Manager().Barrier(len(cores))
        pool.starmap(_prepare, [(core, folder, plan, probes, self._barrier) for core in cores], chunksize=1)

    def search(self, arrival: FloatArray, probe: npt.NDArray[np.int64]) -> Searches:
        """Search for these probes, which arrive at the given seconds after the beginning."""
        start = time.monotonic() + 1
        rows = self._pool.starmap(
            _search, [(start, arrival, probe, self._barrier) for _ in self._cores], chunksize=1
        )
        begun, finished = (np.array(column) for column in zip(*rows, strict=True))
        return Searches(arrival, begun, finished)


_shard: tuple[Gallery, list[Templates]]


def _prepare(core: int, folder: Path, plan: Plan, probes: int, barrier: Any) -> None:
    global _shard  # noqa: PLW0603 - of this process
    os.sched_setaffinity(0, {core})
    found = [templates for kind, _, _, templates in probes_of(plan, 0, probes) if kind == KIND]
    _shard = Gallery.open(folder / "gallery"), found[-probes:]
    _shard[0].identify(found[0])
    barrier.wait()  # a process each


def _search(
    start: float, arrival: FloatArray, probe: npt.NDArray[np.int64], barrier: Any
) -> tuple[list[float], list[float]]:
    gallery, probes = _shard
    begun, finished = [], []
    barrier.wait()
    for after, number in zip(arrival.tolist(), probe.tolist(), strict=True):
        if (left := start + after - time.monotonic()) > 0:
            time.sleep(left)
        begun.append(time.monotonic() - start)
        gallery.identify(probes[number])
        finished.append(time.monotonic() - start)
    return begun, finished


if __name__ == "__main__":
    main()
