# SPDX-License-Identifier: Apache-2.0
"""Where figures come from: what was measured, by what, on what, when."""

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
    """Where figures come from.

    Attributes:
        command: that made them.
        data: of each file or folder read, its path as given and the SHA-256 of its content.
        software: names and versions.
        machine: processor, cores and instruction set.
        date: UTC, ISO 8601.
        seed: of the bootstrap.
    """

    command: str
    data: tuple[tuple[str, str], ...]
    software: str
    machine: str
    date: str
    seed: int


def provenance(command: Sequence[str], data: Sequence[Path], *, seed: int) -> ReportProvenance:
    """That of figures made now; reads the data once more, for their hashes."""
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
    """SHA-256 of a file; of a folder, that of the lines ``sha256sum *`` prints for its files that are not hidden."""
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
    except PackageNotFoundError:  # run from its sources
        return "(not installed)"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    names = (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
