# SPDX-License-Identifier: Apache-2.0
"""The comparison of iris codes against that of open-iris (MIT), which needs an environment of its own.

It pins NumPy 1.24. To run this test: ``python -m venv oracle && oracle/bin/pip install open-iris`` and
``ABIS_OPEN_IRIS=oracle/bin/python pytest tests/test_open_iris.py``.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from eyes import code

from abis import _core
from abis.comparison.iris import explain_irises, packed, rotations

_PROGRAM = """
import json, sys
import numpy as np
from iris.io.dataclasses import IrisTemplate
from iris.nodes.matcher.utils import simple_hamming_distance

codes = np.load(sys.argv[1])
templates = [
    IrisTemplate(iris_codes=[bits], mask_codes=[mask], iris_code_version="v3.0")
    for bits, mask in zip(codes["bits"], codes["masks"])
]
print(json.dumps([
    simple_hamming_distance(first, second, rotation_shift=int(shift))
    for first, second, shift in zip(templates[::2], templates[1::2], codes["shifts"])
], default=float))
"""


@pytest.fixture
def python() -> str:
    """The interpreter that has open-iris."""
    found = os.environ.get("ABIS_OPEN_IRIS")
    if not found:
        pytest.skip("ABIS_OPEN_IRIS is not set to a Python with open-iris")
    return found


def test_hamming_distances_are_those_of_open_iris(python: str, tmp_path: Path) -> None:
    pairs = [
        (
            code(person, shape=(16, 256, 2), hidden=hidden),
            code(person + other, shape=(16, 256, 2), hidden=hidden, flips=0.2, capture=1, shift=shift),
        )
        for person in range(4)
        for other in (0, 1)
        for hidden, shift in ((0.0, 0), (0.0, 7), (0.0, -16), (0.4, 0))
    ]
    reach = rotations(256)
    unpacked = [each.unpacked() for pair in pairs for each in pair]
    np.savez(
        tmp_path / "codes.npz",
        bits=np.stack([bits for bits, _ in unpacked]),
        masks=np.stack([mask for _, mask in unpacked]),
        shifts=[0 if (~mask).any() else reach for _, mask in unpacked[::2]],
    )
    output = subprocess.run(
        [python, "-c", _PROGRAM, str(tmp_path / "codes.npz")], capture_output=True, text=True, check=True
    ).stdout
    for (probe, reference), (distance, turn) in zip(pairs, json.loads(output.splitlines()[-1]), strict=True):
        if (~probe.unpacked()[1]).any():  # with equal masks the least distance is the highest score, else not
            counted = int((probe.unpacked()[1] & reference.unpacked()[1]).sum())
            (score,) = _core.iris_scores(probe.bits, probe.mask, 0, packed([reference]), None, 1)
            assert (1 - score / math.sqrt(counted)) / 2 == pytest.approx(distance, abs=1e-6)
        else:
            found = explain_irises(probe, reference)
            assert found.differing.sum() / found.counted.sum() == pytest.approx(distance, abs=1e-12)
            assert abs(found.turn) == abs(turn)
