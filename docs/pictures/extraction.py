# SPDX-License-Identifier: Apache-2.0
"""Makes extraction.svg and extraction-pair.svg, from artificial ridges; needs ``abis[extraction]``.

PYTHONPATH=.:tests python docs/pictures/extraction.py
"""

import tempfile
from pathlib import Path

from prints import png, ridges
from typer.testing import CliRunner

from abis.cli import app

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Path(folder) / f"0041_right_index_{i}.png" for i in (1, 2))
        first.write_bytes(png(ridges(1)))
        second.write_bytes(png(ridges(1, shift=(13, 9))))
        for command in (
            ["extract", str(first), "-o", folder, "--draw"],
            ["explain", str(first), str(second), "-o", str(HERE / "extraction-pair.svg")],
        ):
            assert CliRunner().invoke(app, command).exit_code == 0
        (HERE / "extraction.svg").write_bytes(first.with_suffix(".svg").read_bytes())


if __name__ == "__main__":
    main()
