# SPDX-License-Identifier: Apache-2.0
"""Short runs of two benchmarks of the store: damaged files, and readers beside a writer."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.durability import damage, readers


def test_damage_is_an_error_or_without_effect(tmp_path: Path) -> None:
    found = damage.run(12, seed=1, folder=tmp_path)
    total = sum(found.values(), Counter())
    assert set(total) <= {"error", "right"}
    assert total["error"] > 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_readers_see_no_stale_removal_and_miss_no_enrolment(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    database = str(tmp_path / "g")
    if kind == "postgresql":
        database = request.getfixturevalue("postgresql").new_database()
    totals = readers.run(database, seconds=1, seed=0)
    assert totals["verify"] > 0
    assert set(totals) <= {"verify", "identify", "enroll and remove", "fault"}, totals
    assert totals["fault"] == 0
