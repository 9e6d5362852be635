# SPDX-License-Identifier: Apache-2.0
"""Killed without warning, again and again, the gallery keeps every acknowledged change and no half one."""

import os
import random
import sqlite3
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import NamedTuple

import pytest
from people import LEFT, RIGHT, face, finger, processes

from abis.gallery import Gallery
from abis.store import FIRST_ENCOUNTER, Enrollment, Mark, Store
from abis.template import Template

POOL: list[list[Template]] = [[finger(p, RIGHT), finger(p, LEFT), face(p)] for p in range(40)]

KILLS = int(os.environ.get("ABIS_CRASH_KILLS", "25"))

Model = dict[str, dict[str, tuple[Template, ...]]]
"""What should be in the gallery: templates by subject_id and encounter_id."""


class Operation(NamedTuple):
    """One call: enroll all of these, or remove."""

    enroll: tuple[Enrollment, ...] = ()
    subject_id: str = ""
    encounter_id: str | None = None

    def apply(self, gallery: Gallery) -> None:
        if len(self.enroll) == 1:
            (one,) = self.enroll
            gallery.enroll(one.subject_id, one.templates, encounter_id=one.encounter_id)
        elif self.enroll:
            gallery.enroll_many(self.enroll)
        else:
            gallery.remove(self.subject_id, encounter_id=self.encounter_id)

    def apply_to_model(self, model: Model) -> None:
        for one in self.enroll:
            encounters = model.setdefault(one.subject_id, {})
            encounters[one.encounter_id or FIRST_ENCOUNTER] = tuple(one.templates)
        if self.subject_id:
            if self.encounter_id is not None:
                del model[self.subject_id][self.encounter_id]
            if self.encounter_id is None or not model[self.subject_id]:
                del model[self.subject_id]


def random_operation(model: Model, dice: random.Random, number: int) -> Operation:
    """An operation that is possible as things stand."""
    enrolled = list(model)
    if enrolled and dice.random() < min(0.6, len(enrolled) / 150):
        subject_id = dice.choice(enrolled)
        one_of_them = dice.choice([None, *model[subject_id]])
        return Operation(subject_id=subject_id, encounter_id=one_of_them)
    if enrolled and dice.random() < 0.3:
        return Operation((Enrollment(dice.choice(enrolled), POOL[number % 40][2:], f"e{number}"),))
    count = dice.choice([1, 1, 15])
    return Operation(
        tuple(Enrollment(f"s{number}-{n}", dice.choice(POOL)[: dice.randint(1, 3)]) for n in range(count))
    )


def work(folder: Path, operations: list[Operation], acknowledge: Connection, load: bool) -> None:
    """Do it all, and say so after each; in a process that will not live to the end."""
    with Gallery.open(folder, load=load) as gallery:
        for operation in operations:
            operation.apply(gallery)
            acknowledge.send_bytes(b".")


def content(folder: Path) -> Model:
    store = Store(f"sqlite:///{folder}/store.sqlite")
    everything = store.tail(Mark(), limit=1_000_000)
    names = store.names({r.subject for r in everything.enrolled})
    store.close()
    found: Model = {}
    for r in everything.enrolled:
        encounters = found.setdefault(names[r.subject], {})
        encounters[r.encounter_id] = (*encounters.get(r.encounter_id, ()), r.template)
    return found


def check_database(folder: Path) -> None:
    """What the rows say of themselves, the counters among them."""
    connection = sqlite3.connect(folder / "store.sqlite")
    connection.row_factory = sqlite3.Row
    assert [tuple(row) for row in connection.execute("PRAGMA integrity_check")] == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    counters = connection.execute("SELECT * FROM gallery").fetchone()
    for table in ("subjects", "encounters", "templates"):
        rows, last = connection.execute(f"SELECT count(*), coalesce(max(key), 0) FROM {table}").fetchone()
        assert counters[table] == rows
        assert counters[f"last_{table[:-1]}"] >= last
    changes = connection.execute("SELECT count(*), coalesce(max(number), 0) FROM changes").fetchone()
    assert tuple(changes) == (counters["change"], counters["change"])
    for orphans in (
        "SELECT 1 FROM subjects WHERE key NOT IN (SELECT subject FROM encounters)",
        "SELECT 1 FROM encounters WHERE key NOT IN (SELECT encounter FROM templates)",
    ):
        assert connection.execute(orphans).fetchall() == []
    connection.close()


def kill_while_working(
    folder: Path,
    operations: list[Operation],
    dice: random.Random,
    context: ForkServerContext,
) -> int:
    """Start a process, kill it (SIGKILL) at a random moment; returns how many operations it acknowledged."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(folder, operations, there, dice.random() < 0.3))
    process.start()
    there.close()
    acknowledged = 0
    try:
        for _ in range(dice.choice([0, *range(1, 12)])):
            here.recv_bytes()
            acknowledged += 1
        time.sleep(dice.expovariate(1 / 0.004))  # to be anywhere inside an operation, not to wait for one
        process.kill()
        while True:
            here.recv_bytes()
            acknowledged += 1
    except EOFError:
        process.join()
    assert process.exitcode in (-9, 0)
    return acknowledged


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random_moments_nothing_is_lost_or_half_done(tmp_path: Path) -> None:
    context = processes()
    dice = random.Random(20)
    model: Model = {}
    number = 0
    for _ in range(KILLS):
        operations, states = [], [model]
        for _ in range(30):
            number += 1
            operations.append(random_operation(states[-1], dice, number))
            states.append({subject_id: dict(own) for subject_id, own in states[-1].items()})
            operations[-1].apply_to_model(states[-1])
        acknowledged = kill_while_working(tmp_path / "g", operations, dice, context)
        with Gallery.open(tmp_path / "g") as gallery:  # recovers
            held = set(gallery)
        found = content(tmp_path / "g")
        check_database(tmp_path / "g")
        possible = states[acknowledged : acknowledged + 2]  # the next one may have been done, whole
        assert found in possible
        assert held == set(found)
        model = found
    assert model
