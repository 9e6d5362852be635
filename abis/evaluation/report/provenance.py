# SPDX-License-Identifier: Apache-2.0
"""Provenance of a report's figures: command, data, software, machine and date."""

from __future__ import annotations

import hashlib
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from abis.comparison import simd_level
from abis.parallel import available_cores

__all__ = ["ReportProvenance", "digest", "provenance"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class ReportProvenance:
    """Provenance of a report's figures.

    Attributes:
        command: command line that computed the figures.
        data: path, as given, and SHA-256 (:func:`digest`) of each file or folder read.
        software: names and versions of abis, Python and NumPy.
        machine: processor, number of cores, instruction set and operating system.
        date: date and time in UTC.
        seed: seed of the bootstrap.
    """

    command: str
    data: tuple[tuple[str, str], ...]
    software: str
    machine: str
    date: str
    seed: int


def provenance(command: Sequence[str], data: Sequence[Path], *, seed: int) -> ReportProvenance:
    """Return the provenance of figures computed now by this process; reads the data again for their hashes.

    Args:
        command: arguments of the command line, the program first.
        data: files and folders that were read.
        seed: seed of the bootstrap.

    Raises:
        OSError: a file or folder cannot be read.
    """
    cores = available_cores()
    return ReportProvenance(
        command=shlex.join(command),
        data=tuple((str(path), digest(path)) for path in data),
        software=", ".join(
            [f"abis {_version('abis')}", f"Python {platform.python_version()}", f"NumPy {_version('numpy')}"]
        ),
        machine=f"{_processor()}, {cores} cores, {simd_level()}, {platform.system()}",
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        seed=seed,
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file or folder, in hexadecimal.

    The SHA-256 of a folder is that of the lines that ``sha256sum *`` prints for its files that are not hidden.
    """
    if not path.is_dir():
        return _sha256(path)
    files = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))
    lines = "".join(f"{_sha256(file)}  {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            content.update(chunk)
    return content.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # the package runs from its source folder
        return "(not installed)"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
