# SPDX-License-Identifier: Apache-2.0
"""Killed imports: after resumption no record is lost, half done, or enrolled twice."""

from __future__ import annotations

import os
import random
import select
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from people import everything, processes
from test_crash import KILLS
from test_migration import NAMES, content, content_of, save_csv

from abis.gallery import Gallery
from abis.store.import_journal import Journal
from abis.transfer.importing import import_records
from abis.transfer.reconciliation import ImportReport, reconcile
from abis.transfer.sources import open_path

BATCH = 5
SUBJECTS = 40 * BATCH
SOME = [everything(person) for person in range(20)]
PEOPLE = {f"Đỗ {n}": SOME[n % 20] for n in range(SUBJECTS)}


def work(source: Path, folder: Path, ready: Connection, workers: int) -> None:
    """Import, in a process that will hardly live to the end."""
    with Gallery.open(folder, load=False) as gallery:
        ready.send_bytes(b".")
        import_records(
            open_path(source, pattern=NAMES), gallery.internals.store, workers=workers, batch=BATCH
        )


def kill_while_importing(source: Path, folder: Path, dice: random.Random, context: ForkServerContext) -> bool:
    """Start an import, kill it (SIGKILL) at a random moment; returns whether it was quicker."""
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(source, folder, there, 0))
    process.start()
    there.close()
    here.recv_bytes()
    time.sleep(dice.expovariate(1 / 0.02))  # to be anywhere inside the import, not to wait for it
    process.kill()
    process.join()
    assert process.exitcode in (-9, 0)
    return process.exitcode == 0


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random_moments_an_import_loses_and_doubles_nothing(tmp_path: Path) -> None:
    context = processes()
    dice = random.Random(9)
    bad = [[f"bad {n}", "", "", "AAAA"] for n in range(20)]
    source = save_csv(tmp_path / "legacy.csv", PEOPLE, *bad)
    expected = content_of(PEOPLE)
    kills = number = 0
    while kills < max(5, KILLS // 3):
        folder = tmp_path / f"g{number}"
        ended = kill_while_importing(source, folder, dice, context)
        kills += not ended
        number += ended
        with Gallery.open(folder, load=False) as gallery:
            assert gallery.check() == []
            found = content(gallery.internals.store)
            journal = Journal(gallery.internals.store)
            key = (
                1 if ended else journal.resume_or_begin("", open_path(source, pattern=NAMES).fingerprint).key
            )
            report = reconcile(gallery.internals.store, journal, key, resumed=0, ignored_columns=())
            assert report.mismatches == ()
            assert (len(found), journal.quarantined()) == (report.enrolled, report.quarantined)
            assert list(found) == list(expected)[: report.enrolled]  # whole batches, in order
            assert found.items() <= expected.items()
            assert report.complete == ended
    with Gallery.open(tmp_path / f"g{number}", load=False) as gallery:
        report = import_records(open_path(source, pattern=NAMES), gallery.internals.store)
        assert report.mismatches == ()
        assert (report.read, report.enrolled, report.already_there, report.quarantined) == (220, 200, 0, 20)
        assert content(gallery.internals.store) == expected


def work_uniquely(source: Path, folder: Path, batches: Connection, stop_after: int) -> None:
    """Import with --unique and report each batch, in a process that is killed."""
    done = 0

    def watch(*_: object) -> None:
        nonlocal done
        done += 1
        batches.send_bytes(b".")
        if done == stop_after:
            threading.Event().wait()

    with Gallery.open(folder, load=False) as gallery:
        opened, unique = open_path(source, pattern=NAMES), gallery.internals.uniqueness(fpir=1e-4)
        import_records(opened, gallery.internals.store, unique=unique, watch=watch, batch=BATCH)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_unique_import_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    """The same subjects and report, and for each record held back the same bytes, subject and score."""
    context = processes()
    dice = random.Random(10)
    # Somebody's second name follows his first one at once, or in a later batch.
    who = [*(n // 2 for n in range(40)), *range(20, 30), *range(25, 35)]
    people = {f"P{n}": everything(person, n) for n, person in enumerate(who)}
    source = save_csv(tmp_path / "legacy.csv", people, ["bad", "", "", "AAAA"])

    def outcome(folder: Path) -> tuple[ImportReport, object]:
        with Gallery.open(folder, load=False) as gallery:
            assert gallery.check() == []
            journal = Journal(gallery.internals.store)
            report = reconcile(gallery.internals.store, journal, 1, resumed=0, ignored_columns=())
            assert report.mismatches == ()
            held = [(found.key, found.record, found.reason) for found in journal.quarantine()]
            return report, (
                list(content(gallery.internals.store).items()),
                held,
                report.sha256,
                report.batches,
            )

    def run(folder: Path, batches: int, stop_after: int) -> None:
        """Kill it shortly after the given number of batches; it may end by itself before."""
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=work_uniquely, args=(source, folder, there, stop_after))
        process.start()
        there.close()
        try:
            for _ in range(batches):
                here.recv_bytes()
            time.sleep(dice.expovariate(1 / 0.02))  # to be anywhere inside a batch, not to wait for it
            process.kill()
        except EOFError:
            pass  # it has ended
        process.join()
        assert process.exitcode in (-9, 0)

    run(tmp_path / "whole", 10_000, 0)
    run(tmp_path / "killed", 2, 2)  # surely not at its end
    while not outcome(tmp_path / "killed")[0].complete:
        run(tmp_path / "killed", dice.randint(1, 3), 0)
    report, whole = outcome(tmp_path / "whole")
    assert (report.read, report.enrolled, report.quarantined) == (61, 35, 26)
    assert outcome(tmp_path / "killed")[1] == whole


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes in /proc")
def test_a_killed_import_leaves_no_worker_behind(tmp_path: Path) -> None:
    context = processes()
    source = save_csv(tmp_path / "legacy.csv", PEOPLE)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(source, tmp_path / "g", there, 2))
    process.start()
    there.close()
    here.recv_bytes()
    children: list[str] = []
    while len(children) < 2 and process.is_alive():  # starting them takes far longer than finding them
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    watched = [os.pidfd_open(int(child)) for child in children]
    process.kill()
    process.join()
    assert len(children) >= 2
    for descriptor in watched:  # readable once the process is gone
        assert select.select([descriptor], [], [], 30)[0]
        os.close(descriptor)
