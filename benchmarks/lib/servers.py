# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of our own: made in a temporary folder, reached by a Unix socket, gone at the end."""

from __future__ import annotations

import glob
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from benchmarks.lib.common import DataMissingError

_STARTS = 30
_PLACES = "/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin"


def programs() -> Path | None:
    """The folder of the server's programs, or None where there is no server."""
    on_path = shutil.which("initdb")
    found = [os.path.dirname(os.path.realpath(on_path))] if on_path else []
    found += [folder for place in _PLACES for folder in sorted(glob.glob(place), reverse=True)]
    return next((Path(folder) for folder in found if os.path.exists(f"{folder}/initdb")), None)


class Server:
    """A running server.

    Attributes:
        programs: where its programs are.
        folder: of its socket.
    """

    def __init__(self, programs: Path, folder: Path, start: Callable[[], None]) -> None:
        self.programs = programs
        self.folder = folder
        self._start = start
        self._numbers = itertools.count(1)
        self._engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://abis@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"gallery{next(self._numbers)}"
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, even if clients are connected."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def crash(self) -> None:
        """Kill the server with all that it does, and start it again."""
        lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)
        while Path(f"/proc/{lines[0]}").exists():
            time.sleep(0.01)
        for attempt in range(_STARTS):  # what served connections may still hold the memory of the one killed
            try:
                self._start()
            except subprocess.CalledProcessError:
                if attempt == _STARTS - 1:
                    raise
                time.sleep(1)
            else:
                return

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def server(*, durable: bool = False) -> Iterator[Server]:
    """A server for as long as the context lasts.

    Args:
        durable: sync to disk at each commit, as a production server does.

    Raises:
        DataMissingError: the server's programs are not installed.
    """
    binaries = programs()
    if binaries is None:
        raise DataMissingError("no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    as_user = _user()
    folder = Path(tempfile.mkdtemp(prefix="abis-pg-"))  # short: a socket's path has at most 107 bytes
    try:
        if as_user is not None:
            shutil.chown(folder, as_user)

        def run(program: str, *arguments: str) -> None:
            command = [str(binaries / program), *arguments]
            subprocess.run(
                command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, user=as_user
            )

        data = str(folder / "data")
        run("initdb", "--auth=trust", "--username=abis", "--encoding=UTF8", "--locale=C", "--no-sync", data)
        options = (
            f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync={'on' if durable else 'off'}"
        )

        def start() -> None:
            run("pg_ctl", "start", "-w", "-s", "-D", data, "-o", options, "-l", str(folder / "log"))

        start()
        try:
            running = Server(binaries, folder, start)
            try:
                yield running
            finally:
                running.close()
        finally:
            run("pg_ctl", "stop", "-w", "-s", "-m", "immediate", "-D", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """The user that runs the server, which refuses to run as root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
