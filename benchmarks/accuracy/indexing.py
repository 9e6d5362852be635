# SPDX-License-Identifier: Apache-2.0
"""Penetration against error of the screening of fingers, in the terms of published work on fingerprint indexing.

The protocol is that of Cappelli, Ferrara and Maio 2011 ("Fingerprint indexing based on minutia cylinder-code", IEEE
TPAMI 33(5)): the first impression of each finger is enrolled, and the others are probes. *Penetration* is the part of
the enrolled references that a search may look at. *Error* is the part of the probes whose mate is not among these. The
mean penetration is that of a search that goes on until it meets the mate.

The public "B" sets have ten fingers, where the "A" sets of the published results have a hundred, so ten references
are not enough to order. References are therefore all impressions of the other fingers of the same set (72 for each
probe, of the same sensor), or synthetic fingers. Templates are those of ``abis.extraction``, which needs the extra
``abis[extraction]``. All looks take all references here, so each shows what its evidence says by itself.

    python -m benchmarks.accuracy.indexing --json benchmarks/results/indexing.json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from abis.index.finger_index import FingerIndex, ready
from abis.template import Minutiae, Position
from benchmarks.lib.common import optional, options, print_table, public_data, write
from benchmarks.lib.images import FVC2000, extracted_set
from benchmarks.speed.finger_index import synthetic

DATA_SETS = (*FVC2000, *(f"fvc2002_db{i}_b" for i in (1, 2, 3, 4)))
LOOKS = ("first", "second", "third")
PENETRATIONS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
ERROR = 0.05  # at which a penetration is stated, beside that without any error
REFERENCES = ("same_sensor", "synthetic")

Floats = NDArray[np.float32]
Figures = dict[str, float | int | str]


class Sample(NamedTuple):
    """A template, and its finger and impression in the set."""

    finger: str
    impression: int
    template: Minutiae


def main() -> None:
    """Look at all references with every probe, print the table, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--crowd", type=int, default=10_000, help="synthetic fingers (default: %(default)s)")
    arguments = parser.parse_args()
    figures: Figures = {"crowd": arguments.crowd}
    with optional("images", figures):
        data = public_data("images").parent
        crowd = FingerIndex.of(list(synthetic(arguments.seed + 1, arguments.crowd, Position.RIGHT_INDEX)))
        for name in DATA_SETS:
            samples = [
                Sample(s.finger, int(s.impression), s.template)
                for s in extracted_set(data, name).samples
                if isinstance(s.template, Minutiae)
            ]
            report(name, before_mates(name, samples, crowd), figures)
        show(figures)
    write(arguments.json, figures, seed=arguments.seed)


def before_mates(name: str, samples: Sequence[Sample], crowd: FingerIndex) -> dict[tuple[str, str], Floats]:
    """By look and kind of reference: for each probe the part of the references that comes before its mate."""
    index = FingerIndex.of([s.template for s in samples])
    finger = np.array([s.finger for s in samples])
    first = {s.finger: k for k, s in enumerate(samples) if s.impression == 1}
    found: dict[tuple[str, str], list[float]] = {(look, of): [] for look in LOOKS for of in REFERENCES}
    for sample in track([s for s in samples if s.impression != 1 and s.finger in first], name):
        for look, own, others in zip(
            LOOKS, every_look(index, sample.template), every_look(crowd, sample.template), strict=True
        ):
            mate = own[first[sample.finger]]
            for of, references in (("same_sensor", own[finger != sample.finger]), ("synthetic", others)):
                found[look, of].append(float(np.mean(references >= mate)))
    return {key: np.array(values, np.float32) for key, values in found.items()}


def every_look(index: FingerIndex, probe: Minutiae) -> tuple[Floats, Floats, Floats]:
    """The evidence of the three looks at all references."""
    prepared, slots = ready(probe), np.arange(len(index))
    return index.screen(prepared), index.sift(prepared, slots), index.refine(prepared, slots)


def report(name: str, before: dict[tuple[str, str], Floats], figures: Figures) -> None:
    """The figures of one set."""
    for (look, of), parts in before.items():
        key = f"{name}_{look}_{of}"
        figures["probes_" + name] = len(parts)
        figures[f"{key}_mean_penetration_percent"] = 100 * float(parts.mean())
        for penetration in PENETRATIONS:
            lost = 100 * float(np.mean(parts >= penetration))
            figures[f"{key}_error_percent_at_{penetration:g}"] = lost
        most_first = np.sort(parts)[::-1]
        figures[f"{key}_penetration_percent_at_no_error"] = 100 * float(most_first[0])
        figures[f"{key}_penetration_percent_at_error_{ERROR:g}"] = 100 * float(
            most_first[int(ERROR * len(parts))]
        )


def show(figures: Figures) -> None:
    """A row for each set, look and kind of reference."""
    rows = []
    for name in DATA_SETS:
        for look in LOOKS:
            for of in REFERENCES:
                key = f"{name}_{look}_{of}"
                rows.append(
                    [
                        f"{name}, {look} look, {of.replace('_', ' ')}",
                        *(f"{float(figures[f'{key}_error_percent_at_{p:g}']):.1f}" for p in PENETRATIONS),
                        f"{float(figures[f'{key}_penetration_percent_at_error_{ERROR:g}']):.2f}",
                        f"{float(figures[f'{key}_penetration_percent_at_no_error']):.2f}",
                        f"{float(figures[f'{key}_mean_penetration_percent']):.2f}",
                    ]
                )
    print_table(
        "Probes whose mate is not within a penetration, %; penetration at an error, %",
        [
            "set, look, references",
            *(f"{p:.1%}" for p in PENETRATIONS),
            f"at error {ERROR:.0%}",
            "without error",
            "mean",
        ],
        rows,
        note="Ten fingers a set, one enrolled impression and seven probes of each: 1.4 % is one probe.",
    )


if __name__ == "__main__":
    main()
