# SPDX-License-Identifier: Apache-2.0
"""NIST Biometric Scores Set release 1, Set 1: two face matchers and two fingers of 517 people."""

from __future__ import annotations

import csv

import numpy as np
import numpy.typing as npt

from benchmarks.lib.common import public_data

__all__ = ["MATCHERS", "read_bssr1"]

MATCHERS = ("face-C", "face-G", "finger-left", "finger-right")
_FAILED = -1.0


def read_bssr1() -> dict[str, npt.NDArray[np.float64]]:
    """By matcher (517, 517) scores, mated on the diagonal; NaN where a sample failed."""
    folder = public_data("scores", "bssr1_set1")
    found = {}
    for name in MATCHERS:
        with (folder / f"{name}.csv").open(newline="") as file:
            (_, *people), *rows = csv.reader(file)
        assert people == [row[0] for row in rows], f"{name}: rows and columns are of different people"
        scores = np.array([[float(cell) for cell in row[1:]] for row in rows])
        found[name] = np.where(scores == _FAILED, np.nan, scores)
    return found
