# SPDX-License-Identifier: Apache-2.0
"""Imports killed without warning, again and again: nothing is lost, half done, or there twice."""

from __future__ import annotations

import os
import random
import select
import time
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from people import everything, processes
from test_crash import KILLS
from test_migration import NAMES, content, content_of, save_csv

from abis.gallery import Gallery
from abis.migration import importing
from abis.migration.importing import import_records
from abis.migration.journal import Journal
from abis.migration.reconciliation import reconcile
from abis.migration.sources import open_path

BATCH = 5
SUBJECTS = 40 * BATCH
SOME = [everything(person) for person in range(20)]
PEOPLE = {f"Đỗ {n}": SOME[n % 20] for n in range(SUBJECTS)}


def work(source: Path, folder: Path, ready: Connection, workers: int) -> None:
    """Import, in a process that will hardly live to the end."""
    importing._BATCH = BATCH
    with Gallery.open(folder, load=False) as gallery:
        ready.send_bytes(b".")
        import_records(open_path(source, pattern=NAMES), gallery.store, workers=workers)


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
            found = content(gallery.store)
            journal = Journal(gallery.store)
            key = (
                1 if ended else journal.resume_or_begin("", open_path(source, pattern=NAMES).fingerprint).key
            )
            report = reconcile(gallery.store, journal, key, resumed=0, ignored_columns=())
            assert report.mismatches == ()
            assert (len(found), journal.quarantined()) == (report.enrolled, report.quarantined)
            assert list(found) == list(expected)[: report.enrolled]  # whole batches, in order
            assert found.items() <= expected.items()
            assert report.complete == ended
    with Gallery.open(tmp_path / f"g{number}", load=False) as gallery:
        report = import_records(open_path(source, pattern=NAMES), gallery.store)
        assert report.mismatches == ()
        assert (report.read, report.enrolled, report.already_there, report.quarantined) == (220, 200, 0, 20)
        assert content(gallery.store) == expected


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
