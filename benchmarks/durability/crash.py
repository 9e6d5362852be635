# SPDX-License-Identifier: Apache-2.0
"""Does a killed process lose data?

    python benchmarks/durability/crash.py --kills 500 --database both --json crash.json

A process enrolls, removes, replaces, merges, erases, locks, compacts and changes data keys at random, and
acknowledges each change. It is killed (SIGKILL) at a random moment. Then the gallery is opened, checked
from end to end, and compared with the acknowledged changes. With ``--state FILE`` an interrupted run
continues.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from abis.gallery import Gallery
from abis.store import FIRST_ENCOUNTER, Enrollment, Mark, Status, Store
from abis.store.encryption import MasterKey
from abis.template import Embedding, Minutiae, Position, Template
from benchmarks.lib.common import optional, options, print_table, write
from benchmarks.lib.servers import server

KEY = bytes(range(32))
OPERATIONS = 30  # that a process would do, were it not killed

Model = dict[str, dict[str, tuple[Template, ...]]]
"""What should be in the gallery: templates by subject_id and encounter_id."""


class Step(NamedTuple):
    """One call on a gallery."""

    call: str
    subject_id: str = ""
    other: str = ""
    enrollments: tuple[Enrollment, ...] = ()

    def apply(self, gallery: Gallery) -> None:
        """Do it."""
        match self.call:
            case "enroll":
                (one,) = self.enrollments
                gallery.enroll(one.subject_id, one.templates, encounter_id=one.encounter_id)
            case "enroll_many":
                gallery.enroll_many(self.enrollments)
            case "remove":
                gallery.remove(self.subject_id, encounter_id=self.other or None)
            case "replace":
                (one,) = self.enrollments
                gallery.replace(one.subject_id, one.templates)
            case "merge":
                gallery.merge(self.subject_id, self.other)
            case "erase":
                gallery.erase(self.subject_id)
            case "lock":
                gallery.set_status(self.subject_id, Status.LOCKED, reason="lost")
            case "compact":
                gallery.compact()
            case "rotate":
                gallery.reseal()
                gallery.rotate_data_key()
            case _:
                raise AssertionError(self.call)

    def apply_to(self, model: Model) -> None:
        """Do the same to what should be there."""
        match self.call:
            case "enroll" | "enroll_many":
                for one in self.enrollments:
                    own = model.setdefault(one.subject_id, {})
                    own[one.encounter_id or FIRST_ENCOUNTER] = tuple(one.templates)
            case "remove":
                if self.other:
                    del model[self.subject_id][self.other]
                if not self.other or not model[self.subject_id]:
                    del model[self.subject_id]
            case "replace":
                (one,) = self.enrollments
                model[one.subject_id] = {FIRST_ENCOUNTER: tuple(one.templates)}
            case "merge":
                own = model[self.other]
                for name, templates in model.pop(self.subject_id).items():
                    own[name if name not in own else f"{self.subject_id}:{name}"] = templates
            case "erase":
                del model[self.subject_id]


def person(number: int) -> list[Template]:
    """Two fingers and a face; how real they look does not matter here."""
    dice = np.random.default_rng(number)

    def finger(position: Position) -> Minutiae:
        n = 30
        return Minutiae(
            x=dice.integers(0, 300, n),
            y=dice.integers(0, 400, n),
            direction=dice.integers(0, 180, n) * 2,
            width=300,
            height=400,
            position=position,
        )

    face = Embedding(vector=dice.normal(size=64), model="crash")
    return [finger(Position.RIGHT_INDEX), finger(Position.LEFT_INDEX), face]


def random_step(model: Model, dice: random.Random, number: int, *, encrypted: bool) -> Step:
    """One that is possible as things stand."""
    enrolled = list(model)
    if enrolled and dice.random() < min(0.6, len(enrolled) / 100):
        call = dice.choice(["remove", "remove", "replace", "merge", "erase", "lock", "compact", "rotate"])
        subject_id, other = dice.choice(enrolled), dice.choice(enrolled)
        if call == "remove":
            other = dice.choice(["", *model[subject_id]])
        if (call != "merge" or subject_id != other) and (call != "rotate" or encrypted):
            anew = (Enrollment(subject_id, person(number)),) if call == "replace" else ()
            return Step(call, subject_id, other, anew)
    if enrolled and dice.random() < 0.3:
        again = Enrollment(dice.choice(enrolled), person(number)[2:], f"e{number}")
        return Step("enroll", enrollments=(again,))
    count = dice.choice([1, 1, 15])
    new = tuple(
        Enrollment(f"s{number}-{n}", person(number * 100 + n)[: dice.randint(1, 3)]) for n in range(count)
    )
    return Step("enroll" if count == 1 else "enroll_many", enrollments=new)


def open_gallery(database: str, *, encrypted: bool) -> Gallery:
    """For writing only."""
    return Gallery.open(database, load=False, key=MasterKey(KEY) if encrypted else None)


def work(database: str, steps: Sequence[Step], acknowledge: Connection, *, encrypted: bool) -> None:
    """Do it all, and say so after each; in a process that will not live to the end."""
    with open_gallery(database, encrypted=encrypted) as gallery:
        for step in steps:
            step.apply(gallery)
            acknowledge.send_bytes(b".")


def content(database: str, *, encrypted: bool) -> Model:
    """All that is in the gallery, once ``check`` has found no fault."""
    with open_gallery(database, encrypted=encrypted) as gallery:
        faults = gallery.check()
        if faults:
            sys.exit("\n".join(map(str, faults)))
    target = database if "://" in database else f"sqlite:///{database}/store.sqlite"
    store = Store(target, key=MasterKey(KEY) if encrypted else None)
    everything = store.tail(Mark(), limit=1_000_000)
    names = store.names({r.subject for r in everything.enrolled})
    store.close()
    found: Model = {}
    for r in everything.enrolled:
        encounters = found.setdefault(names[r.subject], {})
        encounters[r.encounter_id] = (*encounters.get(r.encounter_id, ()), r.template)
    return found


def kill_while_working(
    database: str, steps: Sequence[Step], dice: random.Random, context: BaseContext, *, encrypted: bool
) -> int:
    """Start a process, kill it at a random moment; returns how many steps it acknowledged."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(  # type: ignore[attr-defined]
        target=work, args=(database, steps, there), kwargs={"encrypted": encrypted}
    )
    process.start()
    there.close()
    acknowledged = 0
    try:
        for _ in range(dice.choice([0, *range(1, 12)])):
            here.recv_bytes()
            acknowledged += 1
        time.sleep(dice.expovariate(1 / 0.004))  # to be anywhere inside a step, not to wait for one
        process.kill()
        while True:
            here.recv_bytes()
            acknowledged += 1
    except EOFError:
        process.join()
    if process.exitcode not in (-9, 0):
        sys.exit(f"the process ended by itself, with exit code {process.exitcode}")
    return acknowledged


def kill(
    database: str, kills: range, *, seed: int, encrypted: bool, progress: bool = False
) -> Iterator[tuple[int, Step]]:
    """Kill the process at each number; yields the number of each kill and the step it (most likely) hit.

    Ends the process with a message where the gallery is not as it should be.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["abis.gallery", "common", "servers", "crash"])
    model = content(database, encrypted=encrypted)
    for number in track(kills, "killing", transient=True, disable=not progress):
        dice = random.Random(f"{seed} {number} {encrypted}")
        steps: list[Step] = []
        states = [model]
        for n in range(OPERATIONS):
            step = random_step(states[-1], dice, number * OPERATIONS + n, encrypted=encrypted)
            steps.append(step)
            states.append({subject_id: dict(own) for subject_id, own in states[-1].items()})
            step.apply_to(states[-1])
        acknowledged = kill_while_working(database, steps, dice, context, encrypted=encrypted)
        found = content(database, encrypted=encrypted)  # opening recovers
        if found not in states[acknowledged : acknowledged + 2]:  # the next one may have been done, whole
            sys.exit(
                f"kill {number}: {acknowledged} steps acknowledged, but the gallery holds something else"
            )
        model = found
        yield number, steps[min(acknowledged, OPERATIONS - 1)]


@contextmanager
def database_of(kind: str, folder: Path | None) -> Iterator[str]:
    """A gallery's folder, or a database of a server that syncs to disk as in earnest."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(dir=folder) as made:
            yield f"{made}/gallery"
    else:
        with server(durable=True) as running:
            yield running.new_database()


def main() -> None:
    """Kill, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--kills", type=int, default=500, help="in all (500)")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--folder", type=Path, help="where galleries are made and removed again")
    parser.add_argument("--state", type=Path, help="kills done so far, to go on after Ctrl-C")
    arguments = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if arguments.database == "both" else [arguments.database]
    runs = [(kind, encrypted) for kind in kinds for encrypted in (False, True)]
    figures: dict[str, float | int | str] = {}
    share = -(-arguments.kills // len(runs))
    done: dict[str, Counter[str]] = {}
    if arguments.state is not None and arguments.state.exists():
        done = {name: Counter(hits) for name, hits in json.loads(arguments.state.read_text()).items()}
    for kind, encrypted in runs:
        name = f"{kind}{', encrypted' if encrypted else ''}"
        hits = done.get(name, Counter())
        start = sum(hits.values())
        if start >= share:
            continue
        with optional(kind, figures), database_of(kind, arguments.folder) as database:
            watched = sys.stdout.isatty()
            kills = range(start, share)
            for _, step in kill(database, kills, seed=arguments.seed, encrypted=encrypted, progress=watched):
                hits[step.call] += 1
                done[name] = hits
                if arguments.state is not None:
                    arguments.state.write_text(json.dumps(done))
    calls = sorted({call for hits in done.values() for call in hits})
    print_table(
        "Kills by the step they hit; nothing lost, nothing half done, no fault found",
        ["", *calls, "all"],
        [[name, *(hits.get(call, 0) for call in calls), sum(hits.values())] for name, hits in done.items()],
    )
    figures |= {"kills": sum(sum(hits.values()) for hits in done.values()), "lost": 0}
    for name, hits in done.items():
        figures |= {f"{name.replace(', ', '_')}_{call}": count for call, count in hits.items()}
    write(arguments.json, figures, seed=arguments.seed)


if __name__ == "__main__":
    main()
