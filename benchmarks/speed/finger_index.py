# SPDX-License-Identifier: Apache-2.0
"""What does the screening of fingers lose, against its time? Real fingers hidden among synthetic ones.

Every impression of the FVC sets, extracted from its image, is both a reference and a probe; a virtual person has two
fingers of one set. A mate is lost if an exhaustive comparison ranks it before all synthetic fingers and the search does
not compare it. Rivals: one vector for a finger (soft VLAD of the cylinders, after Jegou et al., CVPR 2010,
and PCA, fitted on other synthetic fingers), scanned by FAISS. Shortlists are stated for a gallery of a
million: with 100,000 fingers a tenth of their length is used. Times are those of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import faiss
import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis import _core
from abis.comparison import FingerReferences
from abis.index.finger_index import FingerIndex, FingerProbe, ready
from abis.synthetic import Population
from abis.template import Minutiae, Position
from benchmarks.lib.common import SETS, optional, options, print_table, public_data, write
from benchmarks.lib.images import extracted_set

MILLION = 1_000_000
SHARES = (0.003, 0.0075, 0.015, 0.03, 0.1)  # of the gallery that the second look is given
OF_FIRST = (0.03, 0.1, 0.3)  # of those, that the third is given
SHORTLISTS = (50, 150, 500, 1500)  # in a million, compared in full
CUTOFF = 4.0  # raw score: exhaustive comparisons that find less are taken to find nothing
CLEAN = ("fvc2002_db1_b", "fvc2002_db2_b", "fvc2004_db3_b")

WORDS, WORD_DIMENSIONS, VECTOR_DIMENSIONS, SOFTNESS = 64, 32, 256, 4  # of the pooled vectors
FITTED_ON = 4000  # fingers

Floats = npt.NDArray[np.float32]
Figures = dict[str, float | int | str]


class Mates(NamedTuple):
    """All pairs of a probe and a mated reference, (p,) each."""

    finger: npt.NDArray[np.int64]
    data_set: npt.NDArray[np.int64]  # index into SETS
    wanted: npt.NDArray[np.bool_]  # whether an exhaustive comparison finds the mate


def main() -> None:
    """Build, search, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--crowd", type=int, default=100_000, help="synthetic fingers (default: 100,000)")
    parser.add_argument("--no-rivals", action="store_true", help="leave the pooled vectors out")
    arguments = parser.parse_args()
    figures: Figures = {"crowd": arguments.crowd}
    with optional("fingerprints", figures):
        right, owner, data_set = real_fingers()
        left = [right[i] for i in neighbours(owner, data_set)]
        figures["probes"] = len(right)

        crowds = [
            list(synthetic(arguments.seed + 1, arguments.crowd, p))
            for p in (Position.RIGHT_INDEX, Position.LEFT_INDEX)
        ]
        indexes = [built(crowd + real, figures) for crowd, real in zip(crowds, (right, left), strict=True)]
        mated = (owner[:, np.newaxis] == owner) & ~np.eye(len(owner), dtype=bool)
        probe = np.nonzero(mated)[0]
        wanted = exhaustive(crowds[0], right, mated)
        rows: list[list[object]] = []
        for title, probes, ours, found in (
            ("one finger", [right], indexes[:1], wanted),
            ("two fingers", [right, left], indexes, mated),
        ):
            rows += search(
                title,
                probes,
                ours,
                mated,
                Mates(owner[probe], data_set[probe], found[mated]),
                figures=figures,
            )
        print_table(
            f"Mates lost, %, among {arguments.crowd:,}; milliseconds in a million",
            [
                "search",
                "second look",
                "third look",
                "in full",
                "ms",
                "clean sets",
                "95 %",
                "worst of them",
                "all sets",
                "95 %",
            ],
            rows,
            note=f"Clean: {', '.join(CLEAN)}. One finger: of the mates of an exhaustive search; two: of all.",
        )
        if not arguments.no_rivals:
            vectors = PooledVectors(synthetic(arguments.seed + 2, FITTED_ON, Position.RIGHT_INDEX))
            rival(
                vectors,
                crowds[0],
                right,
                mated,
                Mates(owner[probe], data_set[probe], wanted[mated]),
                figures=figures,
            )
    write(arguments.json, figures, seed=arguments.seed)


def real_fingers() -> tuple[list[Minutiae], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All impressions of all sets, whose each is, and from which set."""
    templates, owners, sets = [], [], []
    for number, name in enumerate(SETS):
        for s in extracted_set(public_data("images").parent, name).samples:
            assert isinstance(s.template, Minutiae)
            templates.append(s.template)
            owners.append(1000 * number + int(s.finger))
            sets.append(number)
    return templates, np.array(owners), np.array(sets)


def neighbours(owner: npt.NDArray[np.int64], data_set: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each sample the one with the same impression of the set's next finger: a person's other finger."""
    other = np.arange(len(owner))
    for number in np.unique(data_set):
        own = np.flatnonzero(data_set == number)
        other[own] = np.roll(own, -np.count_nonzero(owner == owner[own[0]]))
    return other


def synthetic(seed: int, count: int, position: Position) -> Iterator[Minutiae]:
    """One finger of each of the given number of subjects."""
    population = Population(seed=seed, fingers=(position,), face=False)
    for _, (template,) in population.encounters(range(count)):
        assert isinstance(template, Minutiae)
        yield template


def built(templates: Sequence[Minutiae], figures: Figures) -> FingerIndex:
    """An index of the templates, and how long and large it is."""
    index = FingerIndex()
    begin = time.thread_time()
    index.extend(templates, threads=1)
    figures["build_templates_per_s"] = len(templates) / (time.thread_time() - begin)
    figures["bytes_per_finger"] = index.memory_bytes / len(index)
    figures["minutiae_per_finger"] = float(np.mean([len(t) for t in templates]))
    return index


def exhaustive(
    crowd: Sequence[Minutiae], real: Sequence[Minutiae], mated: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Return which mates score higher than every subject of the crowd."""
    packed, mates = FingerReferences(), FingerReferences()
    packed.extend(crowd)
    mates.extend(real)
    found = np.zeros_like(mated)
    for probe in track(range(len(real)), "exhaustive"):
        best = max(CUTOFF, packed.compare(real[probe], cutoff=CUTOFF).max())
        own = np.flatnonzero(mated[probe])
        found[probe, own] = mates.compare(real[probe], own) > best
    return found


def search(
    title: str,
    probes: Sequence[Sequence[Minutiae]],
    indexes: Sequence[FingerIndex],
    mated: npt.NDArray[np.bool_],
    mates: Mates,
    *,
    figures: Figures,
) -> list[list[object]]:
    """Rows of the table: what is lost at each share and shortlist, and the time that a million would take."""
    crowd = len(indexes[0]) - len(mated)
    screened: list[float] = []  # of each mate: the share of the crowd before it after the first look
    sifted: dict[float, list[float]] = {share: [] for share in SHARES}
    refined: dict[tuple[float, float], list[float]] = {(s, part): [] for s in SHARES for part in OF_FIRST}
    seconds: dict[str, list[float]] = {"ready": [], "screen": [], "sift": [], "refine": [], "compare": []}
    for number in track(range(len(mated)), title):
        begin = time.thread_time()
        fingers = [ready(p[number]) for p in probes]
        seconds["ready"].append(time.thread_time() - begin)
        evidence = timed(seconds["screen"], FingerIndex.screen, indexes, fingers)
        own = crowd + np.flatnonzero(mated[number])
        screened += ahead(evidence[:crowd], evidence[own])
        best = first_of(evidence[:crowd], int(max(SHARES) * crowd))
        slots = np.concatenate([best, own]).astype(np.int64)
        closer = timed(seconds["sift"], FingerIndex.sift, indexes, fingers, slots)
        for share in SHARES:
            taken = int(share * crowd)
            sifted[share] += [rank * taken / crowd for rank in ahead(closer[:taken], closer[len(best) :])]
            order = first_of(closer[:taken], int(max(OF_FIRST) * taken))
            slots = np.concatenate([best[order], own]).astype(np.int64)
            closest = timed(seconds["refine"], FingerIndex.refine, indexes, fingers, slots)
            for part in OF_FIRST:
                few = int(part * taken)
                ranks = ahead(closest[:few], closest[len(order) :])
                refined[share, part] += [rank * few / crowd for rank in ranks]
        timed(seconds["compare"], FingerIndex.compare, indexes, fingers, slots[:20])

    name = title.replace(" ", "_")
    typical = {step: float(np.median(values)) for step, values in seconds.items()}
    figures |= {f"{name}_{step}_ns": 1e9 * value for step, value in typical.items()}
    rows = []
    for share in SHARES:
        for part in OF_FIRST:
            for length in SHORTLISTS:
                lost = mates.wanted & (
                    (np.array(screened) >= share)
                    | (np.array(sifted[share]) >= share * part)
                    | (np.array(refined[share, part]) >= length / MILLION)
                )
                ms = 1e3 * (
                    typical["ready"]
                    + MILLION * typical["screen"]
                    + share * MILLION * typical["sift"]
                    + share * part * MILLION * typical["refine"]
                    + length * typical["compare"]
                )
                key = f"{name}_share_{share:g}_{part:g}_shortlist_{length}"
                ways = [title, f"{share:.2%}", f"{share * part:.3%}", length, f"{ms:.0f}"]
                rows.append([*ways, *summary(lost, mates, key, figures)])
                figures[f"{key}_ms"] = ms
    return rows


def first_of(evidence: Floats, count: int) -> npt.NDArray[np.int64]:
    """Where the most evidence is, best first."""
    best = np.argpartition(-evidence, count)[:count] if count < len(evidence) else np.arange(len(evidence))
    order: npt.NDArray[np.int64] = best[np.argsort(-evidence[best], kind="stable")]
    return order


def timed(
    seconds: list[float],
    look: Callable[..., Floats],
    indexes: Sequence[FingerIndex],
    fingers: Sequence[FingerProbe],
    *slots: npt.NDArray[np.int64],
) -> Floats:
    """The sum over fingers of what a look finds; its time a slot, all fingers together, goes to `seconds`."""
    begin = time.thread_time()
    total: Floats = np.sum(
        [look(index, finger, *slots, threads=1) for index, finger in zip(indexes, fingers, strict=True)],
        axis=0,
    )
    seconds.append((time.thread_time() - begin) / len(total))
    return total


def ahead(crowd: Floats, mates: Floats) -> list[float]:
    """For each mate the share of the crowd that is as good or better."""
    ordered = np.sort(-crowd)
    return [float(rank) / len(crowd) for rank in np.searchsorted(ordered, -mates, side="right")]


def summary(lost: npt.NDArray[np.bool_], mates: Mates, key: str, figures: Figures) -> list[str]:
    """Percentages lost: clean sets with interval, the worst of them, mean of all with interval."""
    by_set = [100 * float(lost[mates.data_set == number].mean()) for number in range(len(SETS))]
    clean = np.isin(mates.data_set, [SETS.index(name) for name in CLEAN])
    for name, value in zip(SETS, by_set, strict=True):
        figures[f"{key}_{name}_lost_percent"] = value
    intervals = [interval(lost[part], mates.finger[part]) for part in (clean, clean | True)]
    figures[f"{key}_lost_percent"] = float(np.mean(by_set))
    return [
        f"{100 * float(lost[clean].mean()):.2f}",
        f"{100 * intervals[0][0]:.2f}-{100 * intervals[0][1]:.2f}",
        f"{max(by_set[SETS.index(name)] for name in CLEAN):.2f}",
        f"{np.mean(by_set):.2f}",
        f"{100 * intervals[1][0]:.2f}-{100 * intervals[1][1]:.2f}",
    ]


def interval(lost: npt.NDArray[np.bool_], finger: npt.NDArray[np.int64]) -> tuple[float, float]:
    """95 % of the share lost, by a bootstrap over fingers: pairs of one finger are not independent."""
    _, number = np.unique(finger, return_inverse=True)
    pairs, losses = np.bincount(number), np.bincount(number, weights=lost)
    drawn = np.random.default_rng(0).integers(0, len(pairs), (2000, len(pairs)))
    low, high = np.quantile(losses[drawn].sum(axis=1) / pairs[drawn].sum(axis=1), (0.025, 0.975))
    return float(low), float(high)


class PooledVectors:
    """One vector a finger: residuals of its cylinders to their nearest words, softly, then PCA."""

    def __init__(self, fingers: Iterator[Minutiae]) -> None:
        rows = [cylinders(finger) for finger in fingers]
        stacked = np.concatenate(rows)
        self._local = faiss.PCAMatrix(stacked.shape[1], WORD_DIMENSIONS)
        self._local.train(stacked)
        words = faiss.Kmeans(WORD_DIMENSIONS, WORDS, niter=15, seed=1)
        words.train(self._local.apply(stacked))
        self._words = np.asarray(words.centroids, np.float32)
        pooled = np.stack([self._pool(row) for row in rows])
        self._whole = faiss.PCAMatrix(pooled.shape[1], VECTOR_DIMENSIONS, -0.25)
        self._whole.train(pooled)

    def __call__(self, fingers: Sequence[Minutiae]) -> Floats:
        """(n, d), of unit length."""
        vectors: Floats = self._whole.apply(np.stack([self._pool(cylinders(finger)) for finger in fingers]))
        faiss.normalize_L2(vectors)
        return vectors

    def _pool(self, rows: Floats) -> Floats:
        local = self._local.apply(rows) if len(rows) else np.zeros((0, WORD_DIMENSIONS), np.float32)
        apart = local[:, np.newaxis] - self._words
        squared = (apart * apart).sum(axis=2)
        weights = np.exp(-SOFTNESS * (squared - squared.min(axis=1, keepdims=True)) / WORD_DIMENSIONS)
        weights /= weights.sum(axis=1, keepdims=True)
        pooled = (weights[:, :, np.newaxis] * apart).sum(axis=0).ravel()
        rooted: Floats = (np.sign(pooled) * np.sqrt(np.abs(pooled))).astype(np.float32)
        return rooted / np.float32(max(1e-6, float(np.linalg.norm(rooted))))


def cylinders(t: Minutiae) -> Floats:
    """(n, bits) of 0 and 1."""
    words = _core.prepare(t.x, t.y, t.direction, t.kind, t.quality, *t.resolution)["cylinders"]
    return np.unpackbits(words.view(np.uint8), axis=1, bitorder="little").astype(np.float32)


def rival(
    vectors: PooledVectors,
    crowd: Sequence[Minutiae],
    real: Sequence[Minutiae],
    mated: npt.NDArray[np.bool_],
    mates: Mates,
    *,
    figures: Figures,
) -> None:
    """Share of the gallery that pooled vectors must pass on, and what they lose."""
    faiss.omp_set_num_threads(1)
    index = faiss.IndexScalarQuantizer(
        VECTOR_DIMENSIONS, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    )
    rows = np.concatenate(
        [vectors(crowd[k : k + 1000]) for k in track(range(0, len(crowd), 1000), "pooling")]
    )
    index.train(rows[:10_000])
    index.add(rows)
    own = vectors(real)
    screened: list[float] = []
    likeness = own @ own.T
    seconds = []
    for number in track(range(len(real)), "pooled vectors"):
        begin = time.thread_time()
        index.search(own[number : number + 1], 1000)
        seconds.append((time.thread_time() - begin) / len(crowd))
        screened += ahead(rows @ own[number], likeness[number, mated[number]])
    ns = 1e9 * float(np.median(seconds))
    figures["pooled_ns"] = ns
    table = []
    for share in (0.001, 0.003, 0.01, 0.03, 0.1):
        lost = mates.wanted & (np.array(screened) >= share)
        key = f"pooled_share_{share:g}"
        table.append([f"{share:.1%}", f"{ns * MILLION / 1e6:.0f}", *summary(lost, mates, key, figures)])
    print_table(
        "Pooled vectors in FAISS (8 bit): mates not within a share, %",
        ["share", "ms", "clean sets", "95 %", "worst of them", "all sets", "95 %"],
        table,
        note="Time without any second look or comparison.",
    )


if __name__ == "__main__":
    main()
