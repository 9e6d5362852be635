# SPDX-License-Identifier: Apache-2.0
"""Irises: comparisons a second on one core, and the time of a search among synthetic eyes with what it loses.

    python benchmarks/speed/iris.py --eyes 1000000 --json benchmarks/results/iris_speed.json

A search of abis looks at every eye coarsely and compares the nearest in full. The loss is the part of mated probes
that comparison of every eye ranks first and the search does not. Beside it stands FAISS' flat binary index of the same
columns of the codes, searched at the same rotations with the masks ignored, and re-ranked in full.

Probes are second impressions of synthetic eyes, and images of CASIA-IrisV1 (session 2) whose eyes (session 1) are
enrolled in the same gallery. A million eyes need 2 GB of memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from abis.comparison import simd_level
from abis.comparison.iris import iris_scores, packed, rotations
from abis.comparison.kind import Kind
from abis.identification.screening import Cuts, Screening
from abis.index.iris_index import IrisIndex, IrisProbe
from abis.index.segments import Block, Probe, Segment
from abis.index.sizes import WorkSizes
from abis.synthetic import Population
from abis.synthetic.iris import COLUMNS, PLANES, ROWS
from abis.template import IrisCode, Position
from benchmarks.fitting.fit_calibration import irises_of
from benchmarks.lib.common import optional, options, print_table, public_data, wilson, write

SHAPES = {"2,048 bits": (8, 128, 2), "3,072 bits": (6, 128, 4)}
MODEL = "synthetic"
EYE = Position.LEFT_EYE
CHUNK = WorkSizes().segment // 3
SHARES = (0.003, 0.03, 0.3)
Figures = dict[str, float | int | str]
Codes = NDArray[np.uint8]


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--eyes", type=int, default=100_000, help="synthetic ones (default: 100,000)")
    parser.add_argument("--probes", type=int, default=500, help="synthetic ones (default: 500)")
    parser.add_argument("--faiss-probes", type=int, default=100, help="of each sort (default: 100)")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    faiss.omp_set_num_threads(1)
    figures: Figures = {"eyes": arguments.eyes, "cpu_level": simd_level()}
    figures |= kernels(arguments.seed)
    gallery = crowd(arguments.seed, arguments.eyes)
    chosen = np.random.default_rng(arguments.seed).choice(arguments.eyes, arguments.probes, replace=False)
    sorts = {"synthetic": (again(arguments.seed, chosen), chosen)}
    with optional("casia", figures):
        enrolled, probes, mates = real(public_data())
        sorts["CASIA-IrisV1"] = (probes, len(gallery) + mates)
        gallery = np.concatenate([gallery, enrolled])
    figures |= searches(gallery, sorts, arguments.faiss_probes)
    write(arguments.json, figures, seed=arguments.seed)


def kernels(seed: int) -> Figures:
    """Full comparisons of random codes; their time does not depend on what the bits are."""
    rng = np.random.default_rng(seed)
    figures, rows = Figures(), []
    for name, shape in SHAPES.items():
        codes = [
            IrisCode(bits=rng.random(shape) < 0.5, mask=rng.random(shape) >= 0.3, model="random")
            for _ in range(2_000)
        ]
        references = np.resize(packed(codes), (100_000, *packed(codes[:1]).shape[1:]))
        seconds = min(timed(lambda c=codes[0], r=references: iris_scores(c, r, threads=1)) for _ in range(5))  # type: ignore[misc]
        figures[f"{name}: comparisons per second and core"] = round(len(references) / seconds)
        rows.append([name, 2 * rotations(shape[1]) + 1, f"{len(references) / seconds:,.0f}"])
    print_table("Comparisons of iris codes", ["code", "rotations", "a second and core"], rows)
    return figures


def timed(call: Callable[[], object]) -> float:
    """Processor seconds of a call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def crowd(seed: int, count: int) -> Codes:
    """(count, 2, bytes) synthetic codes as the index takes them."""
    population = Population(seed=seed)
    codes = np.zeros((count, 2, ROWS * COLUMNS * PLANES // 8), np.uint8)
    for start in track(range(0, count, 8192), "making eyes", transient=True):
        some = range(start, min(start + 8192, count))
        columns = population.iris_columns(some, EYE)
        for side, part in enumerate(columns):
            codes[start : start + len(some), side] = part.reshape(len(some), -1)
    return codes


def again(seed: int, subjects: NDArray[np.int64]) -> list[IrisCode]:
    """Second impressions."""
    columns = Population(seed=seed).iris_columns(subjects.tolist(), EYE, impression=1)
    return [
        IrisCode.of_packed(bits=bits, mask=mask, shape=(ROWS, COLUMNS, PLANES), model=MODEL, position=EYE)
        for bits, mask in zip(*columns, strict=True)
    ]


def real(data: Path) -> tuple[Codes, list[IrisCode], NDArray[np.int64]]:
    """Codes of the first image of each real eye, images of its second session, and the numbers of their eyes."""
    codes = irises_of(data)
    eyes = sorted({name.split("_")[0] for name in codes})
    first = [next(code for name, code in codes.items() if name.startswith(f"{eye}_1")) for eye in eyes]
    later = {name: code for name, code in codes.items() if name.split("_")[1] == "2"}
    mates = np.array([eyes.index(name.split("_")[0]) for name in later], np.int64)
    probes = [
        IrisCode.of_packed(bits=code.bits, mask=code.mask, shape=code.shape, model=MODEL, position=EYE)
        for code in later.values()
    ]
    return packed(first), probes, mates


def searches(
    gallery: Codes, sorts: dict[str, tuple[list[IrisCode], NDArray[np.int64]]], of_faiss: int
) -> Figures:
    """Every kind of search by every sort of probes."""
    segments = segments_of(gallery)
    figures, rows = Figures(), []
    flat = binary_index(gallery)
    for sort, (probes, mates) in sorts.items():
        expected = [int(iris_scores(probe, gallery, threads=1).argmax()) for probe in track(probes, "all")]
        mated = np.array(expected) == mates
        seconds = min(timed(lambda p=probes[0]: iris_scores(p, gallery, threads=1)) for _ in range(3))  # type: ignore[misc]
        rows.append(
            [sort, "every eye in full", f"{1e3 * seconds:.1f}", f"{1e3 * seconds:.1f}", str(len(probes)), "0"]
        )
        figures |= {
            f"{sort}: exhaustive, ms": round(1e3 * seconds, 1),
            f"{sort}: probes": len(probes),
            f"{sort}: mates ranked first by comparison with every eye": int(mated.sum()),
        }
        ways: list[tuple[str, int, Callable[[IrisCode], int]]] = [
            (f"abis, share {share:g}", len(probes), by_abis(segments, len(gallery), share))
            for share in SHARES
        ]
        ways += [
            (
                "FAISS binary flat",
                of_faiss,
                by_faiss(
                    flat, gallery, Cuts.at(0.03, probe=probes[:1], subjects=len(gallery), wanted=1).first
                ),
            )
        ]
        for name, count, search in ways:
            search(probes[0])
            own = np.flatnonzero(mated)[:count]
            times, lost = [], 0
            for number in own:
                begin = time.process_time()  # others may use the machine too
                found = search(probes[number])
                times.append(1e3 * (time.process_time() - begin))
                lost += found != mates[number]
            low, high = wilson(lost, len(own))
            figures |= {
                f"{sort}: {name}: median, ms": round(float(np.median(times)), 2),
                f"{sort}: {name}: least, ms": round(min(times), 2),
                f"{sort}: {name}: searches": len(own),
                f"{sort}: {name}: lost": int(lost),
                f"{sort}: {name}: lost, high %": round(100 * high, 2),
            }
            rows.append(
                [
                    *(sort, name, f"{np.median(times):.1f}", f"{min(times):.1f}", str(len(own))),
                    f"{lost} ({100 * low:.2f} to {100 * high:.2f} %)",
                ]
            )
    print_table(
        f"The nearest of {len(gallery):,} eyes, one thread",
        ["probes", "search", "median ms", "least ms", "searches", "mates lost (95 %)"],
        rows,
        note="Of the mates that comparison with every eye ranks first.",
    )
    return figures


def segments_of(gallery: Codes) -> list[Segment]:
    """The gallery as a search of abis has it."""
    segments = []
    kind = Kind(EYE, MODEL, COLUMNS << 16 | ROWS * PLANES)
    for start in range(0, len(gallery), CHUNK):
        index = IrisIndex(gallery[start : start + CHUNK], (COLUMNS, ROWS * PLANES // 8))
        keys = np.arange(start + 1, start + len(index) + 1, dtype=np.uint32)
        segments.append(Segment(start, start + len(index), (Block(kind, index, keys, keys),)))
    return segments


def by_abis(segments: list[Segment], count: int, share: float) -> Callable[[IrisCode], int]:
    """A search of abis, with the comparison of its shortlist."""

    def search(probe: IrisCode) -> int:
        cuts = Cuts.at(share, probe=[probe], subjects=count, wanted=1)
        own = Probe.of(probe)
        few = next(Screening(segments, [own], cuts, span=count + 1).shortlists())
        scores = [b.index.compare(own.prepared, b.slots_of(few)) for s in segments for b in s.blocks]
        return int(few[np.concatenate(scores).argmax()]) - 1

    return search


def looked_at(probe: IrisCode) -> Codes:
    """(rotations, bytes) the bits of the first look at each coarse rotation, masks ignored."""
    own = IrisProbe.of(probe)
    turned = own.turned[: own.coarse, 0]
    return np.ascontiguousarray(turned).view(np.uint8)


def binary_index(gallery: Codes) -> faiss.IndexBinary:
    """FAISS' flat index of the bits that the first look of abis compares."""
    index = IrisIndex(gallery, (COLUMNS, ROWS * PLANES // 8))
    bits = index.blocks[:, 0].transpose(0, 2, 1).reshape(-1, index.blocks.shape[2])[: len(gallery)]
    rows = np.ascontiguousarray(bits).view(np.uint8)
    flat = faiss.IndexBinaryFlat(8 * rows.shape[1])
    flat.add(rows)
    return flat


def by_faiss(flat: faiss.IndexBinary, gallery: Codes, count: int) -> Callable[[IrisCode], int]:
    """The ``count`` nearest at each rotation, compared in full."""

    def search(probe: IrisCode) -> int:
        _, found = flat.search(looked_at(probe), count)
        few = np.unique(found)
        return int(few[iris_scores(probe, gallery, few, threads=1).argmax()])

    return search


if __name__ == "__main__":
    main()
