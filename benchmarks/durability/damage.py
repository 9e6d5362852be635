# SPDX-License-Identifier: Apache-2.0
"""Can damaged files, wrong keys, or full and read-only disks cause a wrong answer?

    python benchmarks/durability/damage.py --cases 1000 --json damage.json

Each case damages a copy of a small gallery and asks it everything in a process of its own: the subjects
with their status and labels, an identification and a verification of each. The result is an error of abis,
the right answers, or wrong ones; for wrong ones, whether ``abis check`` finds the damage.
"""

from __future__ import annotations

import multiprocessing
import os
import pwd
import random
import resource
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from rich.progress import track

from abis.errors import AbisError, AlreadyEnrolled, NotEnrolled
from abis.gallery import Gallery
from abis.scoring.calibration import shipped
from abis.store import Enrollment, Status
from abis.store.encryption import MasterKey
from benchmarks.durability.crash import person
from benchmarks.lib.common import options, print_table, write

PEOPLE = 60
PAGE = 4096
OUTCOMES = ("error", "right", "wrong, check tells", "wrong, check is silent", "crash")


def make(folder: Path, *, encrypted: bool) -> None:
    """A gallery, and its key beside it."""
    folder.mkdir()
    MasterKey.generate(folder / "key")
    key = MasterKey.from_file(folder / "key") if encrypted else None
    with Gallery.open(folder / "gallery", load=False, key=key) as gallery:
        gallery.enroll_many(Enrollment(f"s{n}", person(n)) for n in range(PEOPLE))
        gallery.enroll("s3", person(3)[:1], encounter_id="2")
        gallery.remove("s5")
        for n in range(0, PEOPLE, 4):
            gallery.set_labels(f"s{n}", ["north" if n % 8 else "south", "fourth"])
        for n in range(10, PEOPLE, 10):
            gallery.set_status(f"s{n}", Status.LOCKED, reason="lost")
            gallery.set_level(f"s{n + 1}", 2)
        gallery.calibrate(shipped("minutiae-mindtct"))


def answers(folder: Path, *, encrypted: bool) -> list[object]:
    """Everything that the gallery can be asked."""
    key = MasterKey.from_file(folder / "key") if encrypted else None
    with Gallery.open(folder / "gallery", key=key) as gallery:
        told: list[object] = [len(gallery), sorted(gallery), gallery.info().templates]
        for n in range(PEOPLE):
            try:
                told += [f"s{n}" in gallery, gallery.subject(f"s{n}"), gallery.verify(person(n), f"s{n}")]
            except NotEnrolled:
                told.append(None)
        told += [gallery.identify(person(n), max_candidates=1).candidates for n in range(0, PEOPLE, 6)]
        for label in ("north", "fourth", "none"):
            told.append(gallery.identify(person(3), labels=[label], exact=True).candidates)
    return told


def outcome(folder: Path, expected: list[object], encrypted: bool) -> str:
    """What becomes of a damaged gallery."""
    try:
        if answers(folder, encrypted=encrypted) == expected:
            return "right"
    except AbisError:
        return "error"
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return "crash"
    key = MasterKey.from_file(folder / "key") if encrypted else None
    try:
        with Gallery.open(folder / "gallery", load=False, key=key) as gallery:
            return "wrong, check tells" if gallery.check() else "wrong, check is silent"
    except AbisError:
        return "wrong, check tells"
    except Exception as error:
        print(f"check: {type(error).__name__}: {error}", file=sys.stderr)
        return "crash"


# ------------------------------------------------------------------------------------- kinds of damage


def flip_bit(file: Path, dice: random.Random) -> None:
    """One bit."""
    data = bytearray(file.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)


def flip_bytes(file: Path, dice: random.Random) -> None:
    """Up to 64 bytes, anywhere."""
    data = bytearray(file.read_bytes())
    for _ in range(dice.randint(2, 64)):
        data[dice.randrange(len(data))] = dice.randrange(256)
    file.write_bytes(data)


def truncate(file: Path, dice: random.Random) -> None:
    """Cut off anywhere."""
    os.truncate(file, dice.randrange(file.stat().st_size))


def lose_page(file: Path, dice: random.Random) -> None:
    """A block of 4 KiB is zero, or that of another place."""
    data = bytearray(file.read_bytes())
    blocks = max(len(data) // PAGE, 1)
    to, other = dice.randrange(blocks) * PAGE, dice.randrange(blocks) * PAGE
    data[to : to + PAGE] = bytes(PAGE) if dice.random() < 0.5 else data[other : other + PAGE]
    file.write_bytes(data)


DAMAGE: dict[str, Callable[[Path, random.Random], None]] = {
    "a bit flipped": flip_bit,
    "bytes changed": flip_bytes,
    "truncated": truncate,
    "a page lost or misplaced": lose_page,
}


def cases(count: int, seed: int) -> Iterator[tuple[str, str, bool, int]]:
    """(file, damage, encrypted, seed) each."""
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        encrypted = number % 2 == 1
        file = "key" if encrypted and dice.random() < 0.2 else "database"
        yield (
            file,
            dice.choice([d for d in DAMAGE if file == "database" or "page" not in d]),
            encrypted,
            number,
        )


def damaged(origin: Path, expected: list[object], case: tuple[str, str, bool, int], seed: int) -> str:
    """The outcome of a case."""
    file, damage, encrypted, number = case
    with tempfile.TemporaryDirectory(dir=origin.parent) as made:
        folder = Path(made) / "copy"
        shutil.copytree(origin, folder)
        target = folder / "key" if file == "key" else folder / "gallery" / "store.sqlite"
        DAMAGE[damage](target, random.Random(f"{seed} {number} damage"))
        return outcome(folder, expected, encrypted)


# --------------------------------------------------------------------------- disks that take no more


def full_disk(folder: Path, limit: int) -> int:
    """Enroll until no file may grow beyond ``limit``; returns how many were acknowledged."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    count = 0
    with Gallery.open(folder, load=False) as gallery:
        try:
            while True:
                gallery.enroll(f"new{count}", person(count))
                count += 1
        except AbisError:
            return count


def check_full_disk(
    folder: Path, origin: Path, limit: int, context: multiprocessing.context.BaseContext
) -> str:
    """What was acknowledged is there, and the gallery is sound."""
    shutil.copytree(origin / "gallery", folder)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            count = pool.submit(full_disk, folder, limit).result()
        except BrokenProcessPool:
            return "crash"
    with Gallery.open(folder, load=False) as gallery:
        kept = sum(f"new{n}" in gallery for n in range(count))
        return "error" if kept == count and not gallery.check() else "wrong, check is silent"


def read_only(folder: Path) -> str:
    """Run as a user who may read and not write."""
    if os.getuid() == 0:
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with Gallery.open(folder, load=False) as gallery:
            try:
                gallery.enroll("new", person(1))
            except AlreadyEnrolled:
                return "wrong, check is silent"
    except AbisError:
        return "error"
    return "wrong, check is silent"


def check_read_only(folder: Path, origin: Path, context: multiprocessing.context.BaseContext) -> str:
    """An error, and nothing has changed."""
    shutil.copytree(origin / "gallery", folder)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = (folder / "store.sqlite").read_bytes()
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        found = pool.submit(read_only, folder).result()
    return found if (folder / "store.sqlite").read_bytes() == before else "wrong, check is silent"


# ------------------------------------------------------------------------------------------------- all


def run(count: int, seed: int, folder: Path | None, *, progress: bool = False) -> dict[str, Counter[str]]:
    """The outcomes of all cases by what was damaged; wrong keys and full disks are some twenty each."""
    few = min(20, 1 + count // 10)
    found: dict[str, Counter[str]] = {}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["abis.gallery", "common", "crash", "damage"])
    with tempfile.TemporaryDirectory(dir=folder) as made:
        top = Path(made)
        top.chmod(0o755)
        origins = {encrypted: top / f"origin-{encrypted}" for encrypted in (False, True)}
        for encrypted, origin in origins.items():
            make(origin, encrypted=encrypted)
        expected = {e: answers(origin, encrypted=e) for e, origin in origins.items()}
        pool = ProcessPoolExecutor(1, mp_context=context)
        rows = list(cases(count, seed))
        for case in track(rows, "damaging", transient=True, disable=not progress):
            file, damage, encrypted, _ = case
            try:
                result = pool.submit(damaged, origins[encrypted], expected[encrypted], case, seed).result()
            except BrokenProcessPool:
                result = "crash"
                pool = ProcessPoolExecutor(1, mp_context=context)
            name = f"{file}{', encrypted' if encrypted and file == 'database' else ''}: {damage}"
            found.setdefault(name, Counter())[result] += 1
        pool.shutdown()

        wrong_key = Counter[str]()
        for n in range(few):
            shutil.copytree(origins[True], top / f"wrong{n}")
            (top / f"wrong{n}" / "key").unlink()
            MasterKey.generate(top / f"wrong{n}" / "key")
            wrong_key[outcome(top / f"wrong{n}", expected[True], True)] += 1
        found["wrong key"] = wrong_key
        size = (origins[False] / "gallery" / "store.sqlite").stat().st_size
        found["disk full"] = Counter(
            check_full_disk(top / f"full{n}", origins[False], size + n * 7_000, context) for n in range(few)
        )
        found["read-only disk"] = Counter(
            check_read_only(top / f"read-only{n}", origins[False], context) for n in range(3)
        )
    return found


def main() -> None:
    """Damage, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--cases", type=int, default=1000, help="damaged files (1000)")
    parser.add_argument("--folder", type=Path, help="where galleries are made and removed again")
    arguments = parser.parse_args()
    found = run(arguments.cases, arguments.seed, arguments.folder, progress=sys.stdout.isatty())
    print_table(
        "What becomes of damage",
        ["damage", *OUTCOMES],
        [[name, *(found[name][o] for o in OUTCOMES)] for name in sorted(found)],
    )
    total = sum(found.values(), Counter())
    figures: dict[str, float | int | str] = {"cases": sum(total.values())}
    figures |= {o.replace(", ", "_").replace(" ", "_"): total[o] for o in OUTCOMES}
    figures |= {
        f"{name}: {o}".replace(", ", "_").replace(": ", "_").replace(" ", "_").replace("-", "_"): count
        for name, by in sorted(found.items())
        for o, count in by.items()
    }
    write(arguments.json, figures, seed=arguments.seed)


if __name__ == "__main__":
    main()
