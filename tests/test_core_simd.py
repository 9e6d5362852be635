# SPDX-License-Identifier: Apache-2.0
"""The same scores, to the bit, at every SIMD level and for any number of threads."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LEVELS = ("base", "avx2", "avx512bw", "avx512")
DIGEST = Path(__file__).with_name("core_digest.py")

IMPORT = """
try:
    import abis.comparison
except ImportError as error:
    print(error)
"""


def run(*arguments: str, level: str | None) -> list[str]:
    """The lines that a fresh Python prints, with ABIS_SIMD set to a level or not set."""
    environment = {name: value for name, value in os.environ.items() if name != "ABIS_SIMD"}
    environment["PYTHONPATH"] = os.pathsep.join([str(DIGEST.parent), environment.get("PYTHONPATH", "")])
    if level is not None:
        environment["ABIS_SIMD"] = level
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def best() -> list[str]:
    """The best level of this CPU, then the digest of each number of threads at it."""
    return run(str(DIGEST), "1", "2", "5", level=None)


def test_any_number_of_threads_gives_the_same_bits(best: list[str]) -> None:
    _, *digests = best
    assert len(digests) == 3
    assert len(set(digests)) == 1


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_gives_the_same_bits_or_is_refused(best: list[str], level: str) -> None:
    if LEVELS.index(level) <= LEVELS.index(best[0]):
        assert run(str(DIGEST), "2", level=level) == [level, best[1]]
    else:
        assert run("-c", IMPORT, level=level) == [f"ABIS_SIMD={level}: this CPU has {best[0]} at most"]


@pytest.mark.parametrize("level", ["", "AVX2", "sse9"])
def test_an_unknown_level_is_refused(level: str) -> None:
    assert run("-c", IMPORT, level=level) == [f"ABIS_SIMD={level}; expected base, avx2, avx512bw or avx512"]
