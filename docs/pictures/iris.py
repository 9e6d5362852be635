# SPDX-License-Identifier: Apache-2.0
"""Makes iris-pair.svg, from a made-up eye; needs ``abis[extraction]``.

PYTHONPATH=.:tests python docs/pictures/iris.py
"""

import tempfile
from pathlib import Path

from eyes import eye
from typer.testing import CliRunner

from abis.cli import app
from abis.extraction.images import as_png

HERE = Path(__file__).parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, second = (Path(folder) / f"0041_left_eye_{i}.png" for i in (1, 2))
        first.write_bytes(as_png(eye(1)))
        second.write_bytes(as_png(eye(1, capture=1, turn=8.0, lids=0.7, pupil=48.0)))
        command = ["explain", str(first), str(second), "-o", str(HERE / "iris-pair.svg")]
        assert CliRunner().invoke(app, command).exit_code == 0


if __name__ == "__main__":
    main()
