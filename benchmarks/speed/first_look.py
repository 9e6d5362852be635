# SPDX-License-Identifier: Apache-2.0
"""What the first look at a finger takes, at each SIMD level: for one probe, and for 16 probes in one pass.

The index holds synthetic fingers, many times over under other directions. Each figure is the processor time
of one thread for one probe and reference, the median over rounds; levels take turns within a round, so that
other load on the machine hits all alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np

from abis import _core
from abis.comparison import simd_level
from abis.index.finger_index import FingerIndex, ready
from abis.synthetic import Population
from abis.template import Minutiae, Position
from benchmarks.lib.common import options, print_table, write

LEVELS = ("base", "avx2", "avx512bw", "avx512")
TOGETHER = 16


def main() -> None:
    """Ask a process for each level in turn."""
    parser = options(__doc__ or "")
    parser.add_argument("--fingers", type=int, default=262_144, help="references (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds (default: %(default)s)")
    parser.add_argument("--level", action="store_true", help="serve the level in use on standard input")
    arguments = parser.parse_args()
    if arguments.level:
        serve(arguments.fingers, arguments.seed)
        return
    levels = LEVELS[: LEVELS.index(simd_level()) + 1]
    command = [
        sys.executable,
        __file__,
        "--level",
        f"--fingers={arguments.fingers}",
        f"--seed={arguments.seed}",
    ]
    times: dict[str, list[dict[str, float]]] = {level: [] for level in levels}
    with ExitStack() as stack:
        servers = {
            level: stack.enter_context(
                subprocess.Popen(
                    command,
                    env={**os.environ, "ABIS_SIMD": level},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for level in levels
        }
        for _ in range(arguments.rounds):
            for level, server in servers.items():
                assert server.stdin is not None
                assert server.stdout is not None
                print(file=server.stdin, flush=True)
                times[level].append(json.loads(server.stdout.readline()))
        for server in servers.values():
            assert server.stdin is not None
            server.stdin.close()
    figures: dict[str, float | int | str] = {"fingers": arguments.fingers, "rounds": arguments.rounds}
    rows = []
    for level, own in times.items():
        alone, together = (
            statistics.median(one[name] for one in own) for name in ("alone_ns", "together_ns")
        )
        figures |= {f"first_look_ns_{level}": alone, f"first_look_of_16_ns_{level}": together}
        rows.append((level, f"{alone:.1f}", f"{together:.1f}", f"{alone / together:.2f}"))
    print_table("First look, ns for a probe and a finger", ("level", "one probe", "of 16", "ratio"), rows)
    write(arguments.json, figures, seed=arguments.seed)


def serve(fingers: int, seed: int) -> None:
    """Measure once for each line of standard input."""
    index = synthetic_index(fingers, seed)
    population = Population(seed=seed, fingers=(Position.RIGHT_INDEX,), face=False)
    probes = [
        ready(finger) for finger in fingers_of(population, range(10**6, 10**6 + TOGETHER), impression=1)
    ]
    subjects = np.arange(fingers, dtype=np.uint32)
    tallies = [_core.Tally() for _ in probes]

    def seconds(size: int) -> float:
        spent = 0.0
        for start in range(0, TOGETHER, size):
            own = tuple(tallies[start : start + size])
            for tally in own:
                tally.begin(fingers)
                tally.next_position()
            before = time.thread_time()
            _core.screen_fingers(
                own, index._core, tuple(probes[start : start + size]), subjects, True, None, 1
            )
            spent += time.thread_time() - before
        return spent

    seconds(TOGETHER)  # memory that is new is slow
    for _ in sys.stdin:
        per_ns = 1e9 / (TOGETHER * fingers)
        print(
            json.dumps({"alone_ns": seconds(1) * per_ns, "together_ns": seconds(TOGETHER) * per_ns}),
            flush=True,
        )


def synthetic_index(fingers: int, seed: int) -> FingerIndex:
    """An index of the given number of fingers: several thousand synthetic ones, repeated, each time rotated."""
    population = Population(seed=seed, fingers=(Position.RIGHT_INDEX,), face=False)
    some = FingerIndex.of(fingers_of(population, range(4096), impression=0)).arrays()
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(4096), some["sizes"])
    copies = []
    for _ in range(-(-fingers // 4096)):
        turn = rng.integers(0, 256, 4096, np.uint8)
        copies.append({**some, "direction": some["direction"] + turn[owner]})
    arrays = {name: np.concatenate([copy[name] for copy in copies]) for name in some}
    kept = int(arrays["sizes"][:fingers].sum())
    return FingerIndex.from_arrays(
        {name: column[: fingers if name in {"sizes", "removed"} else kept] for name, column in arrays.items()}
    )


def fingers_of(population: Population, people: range, *, impression: int) -> list[Minutiae]:
    """One finger of each person."""
    found = []
    for _, templates in population.encounters(people, impression=impression):
        found += [template for template in templates if isinstance(template, Minutiae)]
    return found


if __name__ == "__main__":
    main()
