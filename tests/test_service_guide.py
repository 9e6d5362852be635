# SPDX-License-Identifier: Apache-2.0
"""The commands of docs/service.md, from nothing to the first search, run as they are written."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from people import RIGHT, finger

from abis.formats import Format, write

PAGE = Path(__file__).parents[1] / "docs" / "service.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_first_search_by_curl(tmp_path: Path) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## From nothing to the first search")[2]
    block = re.search(r"```console\n(.*?)```", section, re.DOTALL)
    assert block is not None
    for name, impression in (("finger", 0), ("other", 1)):
        record = write([finger(1, RIGHT, impression)], Format.ISO_19794_2_2005)
        (tmp_path / f"{name}.fmr").write_bytes(record)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script, expected = _script(block[1])
    script = script.replace(":8080", f":{port}") + "\nkill %1; wait %1\n"
    assert script.startswith("abis serve")
    command = tmp_path / "bin" / "abis"  # as a process of its own, which `kill` meets
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m abis "$@"\n')
    command.chmod(0o755)
    done = subprocess.run(
        ["bash", "-m", "-c", script],
        cwd=tmp_path,
        env={
            **os.environ,
            "ABIS_SERVICE_PORT": str(port),
            "PATH": f"{command.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr  # of the service, after SIGTERM
    for answer in expected:
        assert answer in done.stdout
    candidates = json.loads(done.stdout[done.stdout.index('[{"personId"') :])
    assert [(each["personId"], each["rank"]) for each in candidates] == [("p1", 1)]


def _script(block: str) -> tuple[str, list[str]]:
    """The commands of a block, and the lines that it says they print."""
    commands: list[str] = []
    printed = []
    is_open = False  # within a command of several lines
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
            is_open = line.endswith(("\\", "JSON"))
        elif is_open:
            commands.append(line)
            is_open = line != "JSON"
        else:
            printed.append(line)
    return "\n".join(commands), printed
