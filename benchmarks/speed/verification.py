# SPDX-License-Identifier: Apache-2.0
"""How many claims are verified in a second, how long does one take, and how soon does a process start?

    python benchmarks/speed/verification.py --subjects 1000000 --folder /data --json verification.json

Claims of two fingers and a face against a store on disk. Subjects are synthetic. Beyond ``--people`` the
same templates are enrolled under other ids, which makes no difference, because a verification reads one
subject. Every probe is another impression of the enrolled finger. With ``--folder`` the gallery is kept
there and reused.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from abis.gallery import Gallery
from abis.store import Enrollment
from abis.store.encryption import MasterKey
from abis.synthetic import Population
from abis.verification import Claim
from abis.verification.policy import Policy
from benchmarks.lib.common import options, print_table, write

QUANTILES = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)  # of times, in percent
LOGGED = 5_000  # claims verified with an entry in the audit log each
KEY = MasterKey(bytes(range(32)))
START = """
import time
start = time.perf_counter()
from abis.store.encryption import MasterKey
from abis.gallery import Gallery
gallery = Gallery.open({folder!r}, load=False, key=MasterKey(bytes(range(32))))
gallery.subject("0")
print(time.perf_counter() - start)
"""

Figures = dict[str, float | int | str]


def enrollments(subjects: int, people: int, seed: int) -> Iterator[Enrollment]:
    """Subjects "0", "1", …; the n-th has the templates of person n modulo ``people``."""
    known = dict(Population(seed=seed).encounters(range(min(people, subjects))))
    templates = list(known.values())
    for n in track(range(subjects), "enrolling", transient=True, disable=not sys.stdout.isatty()):
        yield Enrollment(str(n), templates[n % len(templates)])


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=20_000, help="in the gallery (20,000)")
    parser.add_argument("--people", type=int, default=5_000, help="of different templates (5,000)")
    parser.add_argument("--claims", type=int, default=20_000, help="verified many at a time (20,000)")
    parser.add_argument("--folder", type=Path, help="where the gallery is kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = (arguments.folder or Path(made)) / f"verification-{arguments.subjects}"
        figures = measure(folder, arguments.subjects, arguments.people, arguments.claims, arguments.seed)
    print_table(
        f"1:1 from an encrypted store of {arguments.subjects:,} subjects, two fingers and a face",
        ["", "figure"],
        [
            ["verify_many, a second", f"{figures['verify_many_per_s']:,.0f}"],
            ["verify_many, CPU microseconds each", f"{figures['verify_many_cpu_us']:,.0f}"],
            ["verify_many, 99 of 100 chunks of 256 took at most ms", f"{figures['chunk_p99_ms']:,.1f}"],
            ["verify, median ms", f"{figures['verify_p50_ms']:,.2f}"],
            ["verify, p99 ms", f"{figures['verify_p99_ms']:,.2f}"],
            [
                "verify_many with an entry in the audit log each, a second",
                f"{figures['logged_verify_many_per_s']:,.0f}",
            ],
            ["audit log, bytes a verification", f"{figures['log_bytes_per_verification']:,.0f}"],
            ["a process starts and looks a subject up in s", f"{figures['start_s']:,.2f}"],
            ["match", f"{figures['match_percent']:,.2f} %"],
            ["seal and open templates, subjects a second", f"{figures['seal_subjects_per_s']:,.0f}"],
        ],
    )
    write(arguments.json, figures, seed=arguments.seed)


def measure(folder: Path, subjects: int, people: int, claims: int, seed: int) -> Figures:
    """All figures."""
    with Gallery.open(folder, load=False, key=KEY) as gallery:
        if len(gallery) == 0:
            gallery.enroll_many(enrollments(subjects, people, seed))
    figures: Figures = {"subjects": subjects, "people": people, "claims": claims}
    starts = [
        float(subprocess.check_output([sys.executable, "-c", START.format(folder=str(folder))]))
        for _ in range(5)
    ]
    figures["start_s"] = float(np.median(starts))
    probes = list(dict(Population(seed=seed).encounters(range(min(people, subjects)), impression=1)).values())
    dice = np.random.default_rng(seed)
    who = dice.integers(0, subjects, claims)
    made = [Claim(str(n), probes[n % len(probes)]) for n in who.tolist()]
    with Gallery.open(folder, load=False, key=KEY) as gallery:
        list(gallery.verify_many(made[:1000]))  # warms up
        gc.collect()
        gc.freeze()  # the claims held here are the script's: a service would not have its garbage collector walk them
        begin, cpu = time.perf_counter(), time.process_time()
        matches, last, chunks = 0, begin, []
        for number, result in enumerate(gallery.verify_many(made, policy=Policy(fmr=1e-6)), 1):
            matches += result.match
            if number % 256 == 0:
                now = time.perf_counter()
                chunks.append(now - last)
                last = now
        seconds = time.perf_counter() - begin
        figures["verify_many_cpu_us"] = (time.process_time() - cpu) / claims * 1e6
        figures["verify_many_per_s"] = claims / seconds
        figures["chunk_p99_ms"] = float(np.percentile(chunks, 99)) * 1e3
        figures["match_percent"] = 100 * matches / claims
        single = []
        for claim in made[: min(2000, claims)]:
            start = time.perf_counter()
            gallery.verify(claim.templates, claim.subject_id)
            single.append(time.perf_counter() - start)
        figures |= {f"verify_p{q}_ms": float(np.percentile(single, q)) * 1e3 for q in QUANTILES}
        figures |= logged(gallery, made[: min(LOGGED, claims)])
        figures["seal_subjects_per_s"] = sealing(gallery)
    figures["load"] = os.getloadavg()[0]
    return figures


def logged(gallery: Gallery, claims: list[Claim]) -> Figures:
    """The same with a stated actor, so that each claim is logged: time and disk."""
    gallery.compact()
    before = gallery.info().disk_bytes or 0
    begin = time.perf_counter()
    with gallery.acting("benchmark", purpose="measurement"):
        for _ in gallery.verify_many(claims):
            pass
    seconds = time.perf_counter() - begin
    gallery.compact()
    return {
        "logged_verify_many_per_s": len(claims) / seconds,
        "log_bytes_per_verification": ((gallery.info().disk_bytes or 0) - before) / len(claims),
    }


def sealing(gallery: Gallery) -> float:
    """Subjects of three templates, of some 300, 300 and 1,050 bytes, sealed and opened a second, one thread."""
    cipher = gallery._store.cipher
    assert cipher is not None
    sizes, count, context = (300, 300, 1050), 5_000, bytes(30)
    plain = [os.urandom(size) for size in sizes]
    start = time.perf_counter()
    for _ in range(count):
        for data in plain:
            cipher.open(cipher.seal(data, context), context)
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
