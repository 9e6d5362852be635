# SPDX-License-Identifier: Apache-2.0
"""Compute the constants of ``abis size`` from the results of benchmarks, or measure them anew first.

    python benchmarks/scale/sizing.py                              # from benchmarks/results
    python benchmarks/scale/sizing.py --measure --folder /data     # hours: run the benchmarks again first
    python benchmarks/scale/sizing.py --results /data/mine --output mine.json  # then: abis size --measured

The constants come from the files that ``scale.py``, ``verification.py`` and ``migration.py`` wrote; nothing
is typed in. ``--measure`` continues an interrupted run, as these scripts do. With ``--again`` the galleries
of ``scale.py`` in the folder are kept and searched anew, for use after a change of the search. To measure
everything anew, use an empty folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from abis.sizing import Demand, plan
from abis.sizing.figure import draw
from abis.sizing.measurements import KINDS, VERSION, Measurements, MeasurementSource
from benchmarks.lib.common import ROOT

PICTURE = ROOT / "docs" / "pictures" / "fifty-million.svg"
NATION = Demand(  # of docs/fifty-million.md
    subjects=50_000_000, searches_per_second=3, enrolments_per_second=7.1, verifications_per_second=317
)
OUTPUT = ROOT / "abis" / "sizing" / "measured.json"
RESULTS = ROOT / "benchmarks" / "results"
SHARE = 0.03  # of scale.py: the default of Gallery.identify
PERCENT = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 100)
SCRIPTS = {
    "scale": "benchmarks.scale.scale",
    "verification": "benchmarks.speed.verification",
    "migration": "benchmarks.scale.migration",
}
AMOUNTS = {
    "memory_bytes": ("memory_bytes_per_subject", "resident_bytes_per_subject"),
    "store_bytes": ("disk_store_bytes_per_subject", "disk_store_bytes_per_subject"),
    "derived_bytes": ("disk_derived_bytes_per_subject", "disk_derived_bytes_per_subject"),
}
"""Constant -> name of the figure of galleries of some kinds alone, and of the largest gallery."""

Figures = Mapping[str, Any]


def main() -> None:
    """Measure if asked to, and write the constants."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--measure", action="store_true", help="run scale.py, verification.py and migration.py first"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "abis-sizing", help="for --measure"
    )
    parser.add_argument(
        "--again", action="store_true", help="with --measure: search anew in the galleries that are there"
    )
    parser.add_argument("--subjects", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the figures (%(default)s)")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="what to write (%(default)s)")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.folder, arguments.results, arguments.subjects, again=arguments.again)
    content = constants(*(read(arguments.results / f"{name}.json") for name in SCRIPTS))
    found = Measurements.from_json(content)  # raises where abis could not read it
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    print(f"{arguments.output} written")
    if arguments.output == OUTPUT:
        draw(plan(NATION, measured=found), PICTURE)
        print(f"{PICTURE} drawn; now: python tests/documents.py")


def measure(folder: Path, results: Path, subjects: Sequence[int], *, again: bool) -> None:
    """Run the benchmarks, one after the other; their galleries stay in the folder."""
    largest = str(max(subjects))
    extra = {
        "scale": ["--subjects", *map(str, subjects), "--folder", str(folder), *["--again"] * again],
        "verification": ["--subjects", largest, "--folder", str(folder)],
        "migration": ["--subjects", largest, "--encrypted", "--folder", str(folder / "migration")],
    }
    results.mkdir(parents=True, exist_ok=True)
    for name, module in SCRIPTS.items():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", module, *extra[name], "--json", str(results / f"{name}.json")]
        print(" ".join(command), flush=True)
        subprocess.run(command, check=True, env=os.environ)


def read(path: Path) -> Figures:
    """The object that a benchmark wrote; ends the script where there is none."""
    if not path.exists():
        sys.exit(f"{path} is missing: python -m {SCRIPTS[path.stem]} --json {path}")
    found: Figures = json.loads(path.read_text(encoding="utf-8"))
    return found


def constants(scale: Figures, verification: Figures, migration: Figures) -> dict[str, Any]:
    """The content of ``measured.json``."""
    sizes = sorted({int(key.split("_")[0][1:]) for key in scale if key[0] == "n" and key[1].isdigit()})
    largest = f"n{sizes[-1]}_"

    def searches(size: int, kind: str, name: str) -> float:
        return float(scale[f"n{size}_{kind}_at{SHARE:g}_{name}"])

    def percentiles(kind: str, name: str, divisor: float) -> list[float]:
        return [searches(sizes[-1], kind, name.format(p)) / divisor for p in PERCENT]

    # Non-mated probes: most newcomers are not enrolled, and a mate is in one of many shards only.
    medians = {kind: [searches(n, kind, "non_mated_p50_ms") / 1e3 for n in sizes] for kind in KINDS}
    per_subject = {
        name: amounts(
            *(float(scale[f"parts_{kind}_{part}"]) for kind in ("one_finger", "face", "two_fingers_face")),
            whole=float(scale[largest + whole]),
        )
        for name, (part, whole) in AMOUNTS.items()
    }
    seconds = [
        1 / float(scale[f"parts_{kind}_enroll_subjects_per_s"])
        for kind in ("one_finger", "face", "two_fingers_face")
    ]
    return {
        "version": VERSION,
        "about": "made by benchmarks/scale/sizing.py of benchmarks/results; do not edit",
        "percent": list(PERCENT),
        "search": {
            "subjects": sizes,
            "median_s": medians,
            "spread": {
                kind: percentiles(kind, "non_mated_p{}_ms", 1e3 * medians[kind][-1]) for kind in KINDS
            },
            "jitter": {kind: percentiles(kind, "jitter_p{}", 1) for kind in KINDS},
            "busy_cores": int(searches(sizes[-1], KINDS[0], "busy_cores")),
            "busy_slowdown": max(1.0, *(searches(sizes[-1], kind, "busy_slowdown") for kind in KINDS)),
        },
        **per_subject,
        "enroll_s": amounts(*seconds, whole=1 / float(scale[largest + "enroll_subjects_per_s"])),
        "open_s": float(scale[largest + "open_s"]) / sizes[-1],
        "build_s": float(scale[largest + "build_s"]) / sizes[-1],
        "verify_s": [float(verification[f"verify_p{p}_ms"]) / 1e3 for p in PERCENT],
        "verify_cpu_s": float(verification["verify_many_cpu_us"]) / 1e6,
        "log_bytes": float(verification["log_bytes_per_verification"]),
        "import_s": 1 / float(migration["import_subjects_per_s"]),
        "import_cores": int(migration["cores"]),
        "sources": [
            source("scale.py", scale, sizes[-1]),
            source("verification.py", verification, int(verification["subjects"])),
            source("migration.py", migration, int(migration["subjects"])),
        ],
    }


def amounts(finger: float, face: float, both: float, *, whole: float) -> dict[str, float]:
    """Per subject, finger and face, of galleries with one finger, one face, two fingers and a face each.

    Scaled so that two fingers and a face take what they do in the largest gallery.
    """
    subject = max(0.0, (2 * finger + face - both) / 2)
    parts = {"subject": subject, "finger": max(0.0, finger - subject), "face": max(0.0, face - subject)}
    factor = whole / (parts["subject"] + 2 * parts["finger"] + parts["face"])
    return {name: value * factor for name, value in parts.items()}


def source(script: str, figures: Figures, subjects: int) -> dict[str, Any]:
    """Where constants are from."""
    names = [name for name in MeasurementSource.__dataclass_fields__ if name not in ("script", "subjects")]
    return {"script": script, "subjects": subjects, **{name: figures[name] for name in names}}


if __name__ == "__main__":
    main()
