# SPDX-License-Identifier: Apache-2.0
"""How quickly is a legacy system imported, with how much memory, and what does kill -9 on the way do?

The source is made first and kept in the folder, so that a further or interrupted run reuses it: a Parquet
manifest with two fingers in ISO/IEC 19794-2:2005 and a face of 512 dimensions a subject. Beyond
``--people`` the same templates are used again under other ids, which makes no difference to an import
without --unique. The command ``abis import`` is timed in a process of its own, start and report included.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from abis.formats import iso_19794_2_2005, native
from abis.gallery import Gallery
from abis.synthetic import Population
from abis.template import Minutiae
from benchmarks.lib.common import options, print_table, write

PART = 50_000  # subjects of the source that are made between two files: what is lost on Ctrl-C
ROW_GROUP = 30_000  # templates
TEMPLATES = 3  # a subject
BYTES_ON_DISK = 2_000  # a subject: rather less than it takes

START = """
import time
start = time.perf_counter()
from abis.gallery import Gallery
gallery = Gallery.open({folder!r}, load=False)
gallery.subject(next(iter(gallery)))
print(time.perf_counter() - start)
"""

SCHEMA = pa.schema(
    [
        ("subject_id", pa.string()),
        ("position", pa.string()),
        ("template", pa.binary()),
    ]
)


def main() -> None:
    """Make the source, import it, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--subjects", type=int, default=100_000, metavar="N", help="(100,000)")
    parser.add_argument("--people", type=int, default=100_000, help="of different templates (100,000)")
    parser.add_argument("--workers", type=int, help="processes that read templates (as abis import has it)")
    parser.add_argument("--kills", type=int, default=0, metavar="K", help="kill -9 the import so often (0)")
    parser.add_argument("--encrypted", action="store_true", help="the gallery, by a key made up")
    parser.add_argument("--unique", action="store_true", help="search for everyone among those before")
    parser.add_argument("--again", action="store_true", help="import once more: all must be there already")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir()) / "abis-migration",
        help="of source and gallery (%(default)s)",
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.encrypted:
        os.environ["ABIS_KEY"] = base64.b64encode(os.urandom(32)).decode()  # for abis import, too
    source = make_source(arguments.folder, arguments.subjects, arguments.people, arguments.seed)
    figures = measure(source, arguments)
    print_results(figures)
    write(arguments.json, figures, seed=arguments.seed)


def make_source(folder: Path, subjects: int, people: int, seed: int) -> Path:
    """The manifest, made where it is not there; in parts, so that it can be gone on with."""
    source = folder / f"legacy-{subjects}-{people}-{seed}.parquet"
    if source.exists():
        return source
    population = Population(seed=seed)
    parts: list[Path] = []
    starts = range(0, min(subjects, people), PART)
    for start in track(starts, f"making {subjects:,} subjects", disable=not sys.stdout.isatty()):
        end = min(start + PART, subjects, people)
        part = folder / f"part-{seed}-{start}-{end}.parquet"
        if not part.exists():
            partial = part.with_suffix(".partial")
            table = part_of(population, range(start, end))
            pq.write_table(table, partial, row_group_size=ROW_GROUP, compression="none")
            partial.rename(part)
        parts.append(part)
    partial = source.with_suffix(".partial")
    with pq.ParquetWriter(partial, SCHEMA, compression="none") as whole:
        written = 0
        for part in itertools.cycle(parts):
            table = pq.read_table(part)
            count = min(len(table) // TEMPLATES, subjects - written)
            names = [
                population.subject_id(n) for n in range(written, written + count) for _ in range(TEMPLATES)
            ]
            whole.write_table(table.slice(0, len(names)).set_column(0, SCHEMA.field(0), [names]), ROW_GROUP)
            written += count
            if written == subjects:
                break
    partial.rename(source)
    for part in parts:
        part.unlink()
    return source


def part_of(population: Population, subjects: Sequence[int]) -> pa.Table:
    """Rows of some subjects."""
    rows = [
        (
            subject_id,
            template.position.name,
            iso_19794_2_2005.write([template]) if isinstance(template, Minutiae) else native.write(template),
        )
        for subject_id, templates in population.encounters(subjects)
        for template in templates
    ]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)


def measure(source: Path, arguments: Namespace) -> dict[str, float | int | str]:
    """Import into an empty gallery, perhaps with interruptions, and check what came of it."""
    gallery = arguments.folder / "gallery.abis"
    shutil.rmtree(gallery, ignore_errors=True)
    dice = random.Random(arguments.seed)
    subjects = arguments.subjects
    figures: dict[str, float | int | str] = {
        "subjects": subjects,
        "kills": 0,
        "encrypted": int(arguments.encrypted),
        "unique": int(arguments.unique),
    }
    for number in range(arguments.kills):
        left = subjects * BYTES_ON_DISK - size_of(gallery)
        limit = size_of(gallery) + dice.uniform(0, left / (arguments.kills - number))
        if run(source, gallery, arguments.workers, limit, unique=arguments.unique) is None:
            figures["kills"] = int(figures["kills"]) + 1
    outcome = run(source, gallery, arguments.workers, None, unique=arguments.unique)
    assert outcome is not None
    figures |= check(outcome, subjects, gallery)
    if arguments.again:
        again = run(source, gallery, arguments.workers, None, unique=arguments.unique)
        assert again is not None
        if again["already_there"] != subjects:
            sys.exit(f"imported again, only {again['already_there']} of {subjects} were there already")
        figures["again_per_s"] = subjects / float(str(again["seconds"]))
    return figures


def check(outcome: dict[str, object], subjects: int, gallery: Path) -> dict[str, float | int | str]:
    """The figures of a run; ends the script where a subject is lost or there twice."""
    with Gallery.open(gallery, load=False) as opened:
        info = opened.info()
    held_back = int(
        str(outcome["quarantined"])
    )  # non-mated records above the threshold: a few in ten thousand
    counted = (
        outcome["read"],
        int(str(outcome["enrolled"])) + held_back,
        info.subjects + held_back,
        info.encounters + held_back,
        sum(info.templates.values()) + TEMPLATES * held_back,
    )
    if counted != (subjects, subjects, subjects, subjects, TEMPLATES * subjects) or outcome["mismatches"]:
        sys.exit(f"does not add up: {counted}, {outcome['mismatches']}")
    seconds = float(str(outcome["seconds"]))
    imported = subjects - int(str(outcome["resumed"]))
    return {
        "import_s": seconds,
        "import_subjects_per_s": imported / seconds,
        "cpu_us_per_subject": 1e6 * float(str(outcome["cpu_s"])) / max(imported, 1),
        "peak_resident_mb": float(str(outcome["peak_mb"])),
        "disk_bytes_per_subject": (info.disk_bytes or 0) / subjects,
        "batches": int(str(outcome["batches"])),
        "held_back": held_back,
        "start_s": start_s(gallery),
        "sha256": str(outcome["sha256"]),
    }


def start_s(gallery: Path) -> float:
    """How long a process that only verifies takes to open the gallery and read one subject; median of five."""
    command = [sys.executable, "-c", START.format(folder=str(gallery))]
    return statistics.median(float(subprocess.check_output(command)) for _ in range(5))


def run(
    source: Path, gallery: Path, workers: int | None, limit: float | None, *, unique: bool = False
) -> dict[str, object] | None:
    """``abis import``; its report with time and memory, or None where it was killed, the gallery being so large."""
    command = [sys.executable, "-m", "abis", "import", str(source), str(gallery), "--json"]
    if workers is not None:
        command += ["--workers", str(workers)]
    if unique:
        command += ["--unique"]
    cpu = sum(os.times()[2:4])
    start = time.perf_counter()
    peak = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while True:
            try:
                output, _ = process.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                peak = max(peak, sum(resident_mb(pid) for pid in family(process.pid)))
                if limit is not None and size_of(gallery) >= limit:
                    time.sleep(random.uniform(0, 0.2))  # to be anywhere
                    process.kill()
                    process.communicate()
                    return None
    seconds = time.perf_counter() - start
    if process.returncode and not (unique and json.loads(output or "{}").get("quarantined")):
        sys.exit(f"abis import ended with {process.returncode}")
    report: dict[str, object] = json.loads(output)
    return report | {"seconds": seconds, "peak_mb": peak, "cpu_s": sum(os.times()[2:4]) - cpu}


def size_of(gallery: Path) -> int:
    """Bytes of the gallery's files."""
    return sum(file.stat().st_size for file in gallery.glob("*"))


def family(pid: int) -> Iterator[int]:
    """A process and its children (Linux)."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def resident_mb(pid: int) -> float:
    """Memory of a process in RAM, shared pages divided among those who share them (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:"))


def print_results(figures: dict[str, float | int | str]) -> None:
    """One table."""
    print_table(
        "Import: two fingers (ISO/IEC 19794-2:2005) and a 512-d face a subject, from Parquet into SQLite",
        ["", "figure"],
        [[name.replace("_", " "), f"{v:,.1f}" if isinstance(v, float) else v] for name, v in figures.items()],
        note="subjects/s: of the run that finished, start and report included.",
    )


if __name__ == "__main__":
    main()
