# SPDX-License-Identifier: Apache-2.0
"""A Ray that abis starts accepts only programs that know its token."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("ray", reason="the extra abis[cluster] is not installed")

STARTED = """
import os, subprocess, sys
import ray
from abis.cluster.calls import start_ray, stop_ray
assert start_ray(None)
address = ray.get_runtime_context().gcs_address
found = [ray.get(ray.remote(lambda: 7).remote())]
environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
for token in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}):
    code = "import ray, sys; ray.init(address=sys.argv[1], logging_level='critical')"
    command = [sys.executable, "-c", code, address]
    found.append(subprocess.run(command, env=environment | token, capture_output=True, timeout=90).returncode)
stop_ray()
print(found)
"""


@pytest.mark.slow
def test_a_ray_that_abis_starts_requires_a_token(tmp_path: object) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    run = subprocess.run(
        [sys.executable, "-c", STARTED],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"HOME": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    answer, without, wrong = eval(run.stdout.splitlines()[-1])  # of the script above
    assert answer == 7
    assert without != 0
    assert wrong != 0
