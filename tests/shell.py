# SPDX-License-Identifier: Apache-2.0
"""Commands as a shell would run them, in this process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from abis.cli import app


def run(*arguments: object, code: int | None = None) -> Result:
    """Run ``abis`` with these arguments; where a code is given, it must end with that one."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert code is None or result.exit_code == code, result.output
    return result
