# SPDX-License-Identifier: Apache-2.0
"""Do readers see a consistent gallery while one process changes it?

    python benchmarks/durability/readers.py --seconds 300 --json readers.json

8 threads and 4 processes verify and identify while one process enrolls and removes. A subject that was
removed before a reader began to ask must not be found. A subject that was enrolled before, and is not about
to be removed, must be found. At the end the gallery must hold exactly the remaining subjects, and ``check``
must find no fault.
"""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import threading
import time
from collections import Counter
from multiprocessing.managers import ValueProxy
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from abis.errors import NotEnrolled
from abis.gallery import Gallery
from abis.store.encryption import MasterKey
from benchmarks.durability.crash import person
from benchmarks.lib.common import optional, options, print_table, write
from benchmarks.lib.servers import server

KEY = bytes(range(32))
PRESENT = 50  # subjects there at a time
THREADS, PROCESSES = 8, 4
POOL = [person(n) for n in range(200)]


class Progress:
    """How far the writer is; shared by all processes."""

    def __init__(self, manager: multiprocessing.managers.SyncManager) -> None:
        self.enrolled: ValueProxy[int] = manager.Value("q", 0)  # number acknowledged
        self.removing: ValueProxy[int] = manager.Value("q", 0)  # number begun
        self.removed: ValueProxy[int] = manager.Value("q", 0)  # number acknowledged
        self.done: ValueProxy[int] = manager.Value("q", 0)


def read_once(gallery: Gallery, dice: random.Random, progress: Progress) -> str:
    """Ask about one that is gone, or one that is there; returns what was asked, or ends with an error."""
    removed, enrolled = progress.removed.value, progress.enrolled.value
    gone = removed > 0 and dice.random() < 0.5
    number = dice.randrange(max(0, removed - 20), removed) if gone else dice.randrange(removed, enrolled)
    name, probe = f"w{number}", POOL[number % len(POOL)]
    if dice.random() < 0.7:
        asked = "verify"
        try:
            found = gallery.verify(probe, name).match
        except NotEnrolled:
            found = False
    else:
        asked = "identify"
        found = any(c.subject_id == name for c in gallery.identify(probe, max_candidates=3))
    if gone and found:
        raise AssertionError(f"{asked}: {name} was found, but removed before")
    if not gone and not found and number >= progress.removing.value:
        raise AssertionError(f"{asked}: {name} was enrolled before, but not found")
    return asked


def read(gallery: Gallery, seed: int, progress: Progress, results: SimpleQueue[tuple[str, int]]) -> None:
    """Ask until the writer is done; an error ends it."""
    dice = random.Random(seed)
    asked = Counter[str]()
    try:
        while not progress.done.value:
            asked[read_once(gallery, dice, progress)] += 1
    except Exception as error:
        results.put((f"{type(error).__name__}: {error}", 1))
    for what, count in asked.items():
        results.put((what, count))
    results.put(("", 0))


def read_in_a_process(
    database: str, seed: int, progress: Progress, results: SimpleQueue[tuple[str, int]]
) -> None:
    """A reader with a gallery of its own."""
    with Gallery.open(database, key=MasterKey(KEY)) as gallery:
        read(gallery, seed, progress, results)


def run(database: str, seconds: float, seed: int) -> Counter[str]:
    """What was done how often; errors too."""
    context = multiprocessing.get_context("spawn")
    results: SimpleQueue[tuple[str, int]] = context.SimpleQueue()
    totals = Counter[str]()
    with context.Manager() as manager, Gallery.open(database, key=MasterKey(KEY)) as gallery:
        progress = Progress(manager)
        for n in range(PRESENT):
            gallery.enroll(f"w{n}", POOL[n % len(POOL)])
        progress.enrolled.value = PRESENT
        threads = [
            threading.Thread(target=read, args=(gallery, seed + n, progress, results)) for n in range(THREADS)
        ]
        processes = [
            context.Process(target=read_in_a_process, args=(database, seed + 100 + n, progress, results))
            for n in range(PROCESSES)
        ]
        for thread in threads:
            thread.start()
        for process in processes:
            process.start()
        end = time.monotonic() + seconds
        number = PRESENT
        while time.monotonic() < end:
            gallery.enroll(f"w{number}", POOL[number % len(POOL)])
            number += 1
            progress.enrolled.value = number
            progress.removing.value = number - PRESENT
            gallery.remove(f"w{number - PRESENT - 1}")
            progress.removed.value = number - PRESENT
        progress.done.value = 1
        ended = 0
        while ended < len(threads) + len(processes):
            what, count = results.get()
            ended += not what
            totals[what] += count
        for thread in threads:
            thread.join()
        for process in processes:
            process.join()
        totals["enroll and remove"] = number - PRESENT
        if sorted(gallery) != sorted(f"w{n}" for n in range(number - PRESENT, number)):
            totals["lost update"] += 1
        totals["fault"] += len(gallery.check())
    del totals[""]
    return totals


def main() -> None:
    """Run, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--seconds", type=float, default=300, help="for each database (300)")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--folder", type=Path, help="where galleries are made and removed again")
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    found: dict[str, Counter[str]] = {}
    if arguments.database != "postgresql":
        with tempfile.TemporaryDirectory(dir=arguments.folder) as made:
            found["sqlite"] = run(f"{made}/gallery", arguments.seconds, arguments.seed)
    if arguments.database != "sqlite":
        with optional("postgresql", figures), server(durable=True) as running:
            found["postgresql"] = run(running.new_database(), arguments.seconds, arguments.seed)
    kinds = sorted({what for totals in found.values() for what in totals})
    print_table(
        f"{THREADS} threads and {PROCESSES} processes read, one writes",
        ["", *found],
        [[what, *(totals[what] for totals in found.values())] for what in kinds],
    )
    figures |= {"seconds": arguments.seconds}
    figures |= {
        f"{name}_{what}".replace(" ", "_"): totals[what] for name, totals in found.items() for what in kinds
    }
    write(arguments.json, figures, seed=arguments.seed)


if __name__ == "__main__":
    main()
