# SPDX-License-Identifier: Apache-2.0
"""What every benchmark script shares: its options, where it ran, and how its figures leave it."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import abis
from abis.comparison import simd_level

__all__ = [
    "EXTRACTORS",
    "ONE_FINGER_IN_TWO_SETS",
    "ROOT",
    "SETS",
    "DataMissingError",
    "library",
    "optional",
    "options",
    "print_table",
    "public_data",
    "resident_bytes",
    "software",
    "wilson",
    "write",
]

ROOT = Path(__file__).resolve().parents[2]

# Of the fingerprints among the public data.
EXTRACTORS = ("leader", "fingerjetfx", "mindtct")
SETS = tuple(f"fvc{year}_db{i}_b" for year in (2002, 2004) for i in (1, 2, 3, 4))
ONE_FINGER_IN_TWO_SETS = (("fvc2002_db3_b", "108"), ("fvc2004_db3_b", "102"))
"""Its impressions match across the sets with a median raw score of 10.6; no two other fingers do above 0."""


def options(description: str) -> argparse.ArgumentParser:
    """A parser with the options that every script has; scripts add their own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as one flat JSON object")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    return parser


class DataMissingError(Exception):
    """Public data, or a program, that a part of a benchmark needs is not on this machine."""


def public_data(*names: str) -> Path:
    """A file or folder of the public data sets.

    Args:
        names: path within the folder of public data, part by part; none for the folder itself.

    Raises:
        DataMissingError: it does not exist.
    """
    beside = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("ABIS_DATA", beside))
    if not folder.joinpath(*names).exists():
        what = "/".join(names) or "the folder"
        raise DataMissingError(
            f"public data: {what} does not exist; set ABIS_DATA to the folder (see docs/data.md)"
        )
    return folder.joinpath(*names)


def library(name: str) -> Any:
    """A library that abis itself does not need, to compare with.

    Raises:
        DataMissingError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise DataMissingError(f"library: run `pip install {name.partition('.')[0]}`") from None


@contextmanager
def optional(name: str, figures: MutableMapping[str, float | int | str]) -> Iterator[None]:
    """A part of a benchmark that is left out, with a message and a note in the figures, if its data is missing.

    Args:
        name: of the part, for the message and the note ``left_out_<name>``.
        figures: what the benchmark writes.
    """
    try:
        yield
    except DataMissingError as missing:
        print(f"{name} left out: {missing}", file=sys.stderr)
        figures[f"left_out_{name}"] = str(missing)


def software() -> str:
    """Name and version of the engine that is measured; the version names the commit."""
    return f"abis {abis.__version__}"


def write(path: Path | None, figures: Mapping[str, float | int | str], *, seed: int) -> None:
    """Write figures, seed, hardware and versions as one flat JSON object, where a file was asked for."""
    if path is not None:
        path.write_text(json.dumps({**figures, "seed": seed, **_environment()}, indent=2) + "\n")


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, note: str = ""
) -> None:
    """Print a table whose first column is text and whose others are figures."""
    table = Table(title=title, title_justify="left", caption=note, caption_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    # A file or a pipe has no width of its own: give it what the table needs.
    Console(width=None if sys.stdout.isatty() else 200).print(table)


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def wilson(errors: int, trials: int) -> tuple[float, float]:
    """95 % interval of a rate (Wilson 1927)."""
    z = 1.959964
    centre = (errors + z * z / 2) / (trials + z * z)
    half = z / (trials + z * z) * math.sqrt(errors * (trials - errors) / trials + z * z / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _environment() -> dict[str, float | int | str]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
        "simd": simd_level(),
        "system": platform.platform(),
        "software": software(),
        "date": datetime.now(UTC).date().isoformat(),
        "python_version": platform.python_version(),
        **{f"{name}_version": version(name) for name in ("numpy", "faiss-cpu", "numba")},
    }


def _cpu_model() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(key: str) -> str:
    """First value of a line of /proc/cpuinfo, or an empty text if there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith(key)), "")
