# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

import abis

# Processes that tests start import the abis that the tests do, not the sources that the shell stands among.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(abis.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
).rstrip(os.pathsep)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets, which the project does not ship; see docs/data.md."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ABIS_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no public data: ABIS_DATA is not set to a folder and {beside} does not exist")
    return folder
