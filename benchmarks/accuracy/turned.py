# SPDX-License-Identifier: Apache-2.0
"""Is a turned finger found? Real probes of the eight FVC sets, turned, among synthetic fingers.

Impression 1 of each finger is enrolled. Impression 2 is the probe, turned about the centre of its image.
The first look covers about 50 degrees either way (docs/decisions/0015-first-look.md); ``share=1`` sends
every subject to the second look, which covers every turn.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator

import numpy as np

from abis.evaluation.datasets import read_folder
from abis.gallery import Gallery
from abis.store import Enrollment
from abis.synthetic import Population
from abis.template import Minutiae, Position
from benchmarks.lib.common import SETS, optional, options, print_table, public_data, wilson, write

EXTRACTOR = "leader"
TURNS = (0, 30, 45, 60, 90, 180)  # degrees


def main() -> None:
    """Enroll, search by turned probes, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--crowd", type=int, default=10_000, help="synthetic subjects (default: 10,000)")
    arguments = parser.parse_args()
    figures: dict[str, float | int | str] = {"crowd": arguments.crowd}
    with optional("fingers", figures):
        pairs = list(real_pairs())
        population = Population(seed=arguments.seed, fingers=(Position.RIGHT_INDEX,), face=False)
        rows: list[list[object]] = []
        with tempfile.TemporaryDirectory() as folder, Gallery.open(folder) as gallery:
            gallery.enroll_many(
                Enrollment(name, t) for name, t in population.encounters(range(arguments.crowd))
            )
            gallery.enroll_many(Enrollment(name, [enrolled]) for name, enrolled, _ in pairs)
            for turn in TURNS:
                probes = [(name, turned(probe, turn)) for name, _, probe in pairs]
                row: list[object] = [f"{turn}"]
                for label, share in (("default", 0.03), ("share_1", 1.0)):
                    right = sum(
                        [c.subject_id for c in gallery.identify([probe], share=share, max_candidates=1)]
                        == [name]
                        for name, probe in probes
                    )
                    low, high = wilson(right, len(probes))
                    row.append(f"{100 * right / len(probes):.1f} ({100 * low:.1f}-{100 * high:.1f})")
                    figures[f"turned_{turn}_{label}_rank_1_percent"] = 100 * right / len(probes)
                rows.append(row)
        figures["probes"] = len(pairs)
        print_table(
            f"Mate at rank 1 among {arguments.crowd:,}, %, {len(pairs)} probes",
            ["turned by, degrees", "as identify does", "share=1"],
            rows,
            note="One finger; LEADER; in brackets 95 % intervals.",
        )
    write(arguments.json, figures, seed=arguments.seed)


def real_pairs() -> Iterator[tuple[str, Minutiae, Minutiae]]:
    """Name, first and second impression of every finger."""
    for name in SETS:
        by_finger: dict[str, dict[str, Minutiae]] = {}
        for s in read_folder(public_data("fingerprints", EXTRACTOR, name)).samples:
            assert isinstance(s.template, Minutiae)
            by_finger.setdefault(s.finger, {})[s.impression] = s.template
        for finger, own in by_finger.items():
            yield f"{name}/{finger}", turned(own["1"], 0), turned(own["2"], 0)


def turned(m: Minutiae, degrees: float) -> Minutiae:
    """The same finger turned counter-clockwise, as a right index finger, on an image that has room for it."""
    angle = math.radians(degrees)
    x, y = m.x - m.width / 2, m.y - m.height / 2
    side = math.ceil(math.hypot(m.width, m.height)) + 2
    return Minutiae(  # y points down
        x=np.rint(x * math.cos(angle) + y * math.sin(angle) + side / 2),
        y=np.rint(y * math.cos(angle) - x * math.sin(angle) + side / 2),
        direction=(m.direction + degrees) % 360,
        kind=m.kind,
        quality=m.quality,
        width=side,
        height=side,
        resolution=m.resolution,
        position=Position.RIGHT_INDEX,
    )


if __name__ == "__main__":
    main()
