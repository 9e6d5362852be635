# SPDX-License-Identifier: Apache-2.0
"""``python -m abis`` is ``abis``."""

from abis.cli import app

app(prog_name="abis")
