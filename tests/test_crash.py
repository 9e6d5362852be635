# SPDX-License-Identifier: Apache-2.0
"""A short run of benchmarks/durability/crash.py: a process is killed again and again."""

import os
from pathlib import Path

import pytest

from abis.gallery import Gallery
from benchmarks.durability import crash

KILLS = int(os.environ.get("ABIS_CRASH_KILLS", "5"))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_killed_at_random_moments_nothing_is_lost_or_half_done(
    database: str, tmp_path: Path, encrypted: bool
) -> None:
    if database.startswith("sqlite"):
        database = str(tmp_path / "gallery")
    hits = [step.call for _, step in crash.kill(database, range(KILLS), seed=20, encrypted=encrypted)]
    assert len(hits) == KILLS
    with crash.open_gallery(database, encrypted=encrypted) as gallery:
        assert isinstance(gallery, Gallery)
        assert len(gallery) > 0
