# SPDX-License-Identifier: Apache-2.0
"""Are extracted minutiae those that pyfing itself finds, on every image of the public data?

pyfing is told to keep minutiae from a confidence of 0.1 on, as abis does. Needs Keras with any backend except OpenVINO,
and what pyfing imports, in an environment of its own beside ``abis[extraction]``. Takes a quarter of an hour with JAX
on two cores:

    pip install keras jax pyfing opencv-python-headless matplotlib scipy
    KERAS_BACKEND=jax python benchmarks/accuracy/check_leader.py --pyfing leader.json
    python benchmarks/accuracy/check_leader.py --pyfing leader.json    # the second run needs no Keras
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from abis.extraction.extracting import ExtractionSettings, extract_all
from abis.extraction.images import read_images
from abis.template import Minutiae, MinutiaKind, Position
from benchmarks.accuracy.extraction import SETS
from benchmarks.lib.common import optional, options, print_table, public_data, write

_CONFIDENCE = 0.1
_HALF_A_UNIT = 0.5 / 32  # degrees: directions are rounded to 1/32


def main() -> None:
    parser = options(__doc__)
    parser.add_argument(
        "--pyfing", type=Path, required=True, metavar="FILE", help="keeps pyfing's minutiae, to go on from"
    )
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {}
    with optional("images", figures):
        data = public_data("images")
        expected = _expected(data, arguments.pyfing)
        rows = []
        for name, dpi in SETS.items():
            equal = minutiae = 0
            largest = 0.0
            files = sorted((data / name).glob("*.tif"))
            for file in files:
                found = extract_all(file.read_bytes(), ExtractionSettings(Position.UNKNOWN_FINGER, dpi))
                theirs = expected[f"{name}/{file.stem}"]
                is_equal, degrees = _compare(found.templates[0] if found else None, theirs)
                equal += is_equal
                minutiae += len(theirs)
                largest = max(largest, degrees)
                if not is_equal:
                    print(f"{name}/{file.stem} differs")
            rows.append((name, len(files), minutiae, equal, f"{largest:.4f}"))
            figures[f"{name}_images"] = len(files)
            figures[f"{name}_minutiae"] = minutiae
            figures[f"{name}_images_equal"] = equal
            figures[f"{name}_largest_difference_of_direction_degrees"] = largest
        print_table(
            "Minutiae of abis and of pyfing",
            ("set", "images", "minutiae", "images equal", "largest difference of direction, degrees"),
            rows,
            note="equal: the same places, kinds and percent of confidence, directions as near as their rounding",
        )
    write(arguments.json, figures, seed=arguments.seed)


def _compare(ours: object, theirs: list[list[Any]]) -> tuple[bool, float]:
    """Whether the minutiae are the same in the same order, and the largest difference of direction in degrees."""
    if not isinstance(ours, Minutiae) or len(ours) != len(theirs):
        return False, 0.0
    direction = np.array([math.degrees(m[2]) for m in theirs])
    degrees = float(np.abs((ours.direction - direction + 180) % 360 - 180).max())
    kinds = [MinutiaKind.ENDING if m[3] == "E" else MinutiaKind.BIFURCATION for m in theirs]
    quality = np.rint([100 * m[4] for m in theirs])
    is_equal = (
        ours.x.tolist() == [m[0] for m in theirs]
        and ours.y.tolist() == [m[1] for m in theirs]
        and ours.kind.tolist() == kinds
        and bool((np.abs(ours.quality - quality) <= 1).all())
        and degrees <= _HALF_A_UNIT + 0.1
    )
    return is_equal, degrees


def _expected(data: Path, kept: Path) -> dict[str, list[list[Any]]]:
    """For each image, pyfing's minutiae: x, y, direction in radians, E or B, confidence."""
    found: dict[str, list[list[Any]]] = json.loads(kept.read_text()) if kept.exists() else {}
    missing = [
        (f"{name}/{file.stem}", file, dpi)
        for name, dpi in SETS.items()
        for file in sorted((data / name).glob("*.tif"))
        if f"{name}/{file.stem}" not in found
    ]
    if not missing:
        return found
    from pyfing.minutiae_end_to_end import (  # noqa: PLC0415 - Keras, only for what is not kept
        Leader,
        LeaderParameters,
    )

    leader = Leader(LeaderParameters(minutia_quality_threshold=_CONFIDENCE))
    network = leader.model
    leader.model = lambda *given, **options: _AsNumpy(network(*given, **options))
    for number, (name, file, dpi) in enumerate(missing, 1):
        image = read_images(file.read_bytes())[0].grey()
        found[name] = [list(minutia) for minutia in leader.run(image, int(dpi))]
        if number % 10 == 0 or number == len(missing):
            kept.write_text(json.dumps(found))
            print(f"pyfing: {number} of {len(missing)}", flush=True)
    return found


class _AsNumpy:
    """An output on which pyfing can call ``numpy()``, which not every backend's have."""

    def __init__(self, output: Any) -> None:
        self.output = output

    def numpy(self) -> Any:
        import keras  # noqa: PLC0415

        return keras.ops.convert_to_numpy(self.output)


if __name__ == "__main__":
    main()
