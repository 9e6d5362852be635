# SPDX-License-Identifier: Apache-2.0
"""Fixtures shared by all tests."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import abis
from benchmarks.lib.servers import Server, programs, server

# Processes that tests start import the abis that the tests do, not the sources that the shell stands among.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["ABIS_ANCHORS"] = "off"  # but in the tests of anchors
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(abis.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
).rstrip(os.pathsep)

# A property holds or does not, however busy the machine is.
settings.register_profile("abis", deadline=None)
settings.load_profile("abis")

# Ctrl-C is tested: where a shell started this in its background, it would be ignored here and in what is started.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets, which the project does not ship; see docs/data.md."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ABIS_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no public data: ABIS_DATA is not set to a folder and {beside} does not exist")
    return folder


@pytest.fixture(scope="session")
def interop() -> Path:
    """The folder of OSIA's and MOSIP's specifications and test data, which the project does not ship."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "interop"
    folder = Path(os.environ.get("ABIS_INTEROP", beside))
    if not folder.is_dir():
        pytest.skip(f"no specifications: ABIS_INTEROP is not set to a folder and {beside} does not exist")
    return folder


@pytest.fixture(scope="session")
def cases(data: Path) -> Path:
    """The folder of small made-up inputs as they are found in the field, beside the public data sets."""
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no field cases: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A server of our own, started for the session."""
    if programs() is None:
        pytest.skip("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    with server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.sqlite"
        return
    running: Server = request.getfixturevalue("postgresql")
    url = running.new_database()
    yield url
    running.drop(url)


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[abis.Gallery]:
    """An empty gallery in a folder."""
    with abis.Gallery.open(tmp_path / "citizens.abis") as opened:
        yield opened
