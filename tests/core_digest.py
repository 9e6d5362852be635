# SPDX-License-Identifier: Apache-2.0
"""Print the SIMD level in use, and digests of the core's results for each number of threads, one a line."""

import hashlib
import sys

import numpy as np
from fingers import RESOLUTIONS, SHAPES, make_finger, make_impression, make_strange

from abis import _core
from abis.comparison import FingerReferences
from abis.deduplication.finger_tile import FingerTile
from abis.index.finger_index import FingerIndex
from abis.index.rotation import rotated
from abis.template import Minutiae

FINGERS = 40
DIMENSIONS = (1, 31, 32, 33, 512)


def main(thread_counts: list[int]) -> None:
    templates = make_templates()
    references = FingerReferences()
    references.extend(templates, threads=2)
    index = FingerIndex()
    index.extend(templates, threads=2)
    slots = np.arange(len(index), dtype=np.int64)
    pairs = np.repeat(slots[::5], len(slots)), np.tile(slots, len(slots[::5]))
    rng = np.random.default_rng(1)
    halves = rng.integers(0, 0x7C00, (2000, 512), np.uint16)  # any finite float16, then a sign
    halves |= rng.integers(0, 2, halves.shape, np.uint16) << 15
    subjects = np.arange(3000)
    print(_core.simd_level())
    for threads in thread_counts:
        digest = hashlib.sha256()
        shuffled = np.random.default_rng(2)
        for probe in templates[::5]:
            digest.update(references.compare(probe, threads=threads).tobytes())
            digest.update(references.compare(probe, cutoff=0, threads=threads).tobytes())
            digest.update(index.screen(probe, threads=threads).tobytes())
            digest.update(index.sift(probe, slots, threads=threads).tobytes())
            digest.update(index.refine(probe, slots, threads=threads).tobytes())
            digest.update(index.compare(probe, slots, threads=threads).tobytes())
        tile = FingerTile(index.arrays(), threads=threads)
        for column in tile.near(tile, np.full(len(tile), len(tile), np.int64), 0.0, threads=threads):
            digest.update(column.tobytes())
        digest.update(tile.refine(tile, *pairs, threads=threads).tobytes())
        digest.update(tile.compare(tile, *pairs, threads=threads).tobytes())
        for column in index.arrays().values():
            digest.update(column.tobytes())
        for d in DIMENSIONS:
            rows = np.ascontiguousarray(halves[:, :d])
            digest.update(_core.dot_products(rows[7], rows, None, threads).tobytes())
            digest.update(rotated(rows[:500].view(np.float16)).tobytes())
        tally = _core.Tally()
        for _ in range(3):
            tally.begin(3000)
            tally.next_position()
            tally.add_evidence(shuffled.permutation(3000).astype(np.float32), subjects, True, None)
            for count in (1, 10, 100, 1000, 2000, 2999):
                digest.update(tally.largest(count, None).tobytes())
        print(digest.hexdigest())


def make_templates() -> list[Minutiae]:
    """Three impressions each of some fingers, and some strange ones of each shape."""
    rng = np.random.default_rng(0)
    templates = []
    for size in rng.integers(5, 120, FINGERS):
        finger = make_finger(rng, size)
        templates.append(make_impression(finger, rng))
        templates += [
            make_impression(
                finger,
                rng,
                turn=rng.uniform(-60, 60),
                shift=(rng.uniform(-60, 60), 0),
                resolution=RESOLUTIONS[rng.integers(len(RESOLUTIONS))],
                quality=bool(rng.integers(2)),
            )
            for _ in range(2)
        ]
    return templates + [make_strange(shape, rng) for shape in SHAPES for _ in range(5)]


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]])
