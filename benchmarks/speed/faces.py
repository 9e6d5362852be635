# SPDX-License-Identifier: Apache-2.0
"""Search for the nearest face: time and recall of abis beside other libraries, by one thread.

The gallery has synthetic faces and the first image of each person in Labeled Faces in the Wild. Probes are other
images of these people, and other impressions of synthetic ones. Recall@1 is the part of the probes whose nearest face
by comparison with all was found. Indexes that round vectors to bits are re-ranked by float16, as a search of abis is.

Graphs take hours to build over a million faces, so they are built over fewer, and all indexes are measured at that
size too. Exhaustive indexes take a tenth of a second a probe; --others-probes gives them fewer probes.

With --gallery, ``Gallery.identify`` is measured as well: with names from the database, and one candidate. The gallery
is made in the folder, which takes a quarter of an hour for a million faces, or used if it is there.
Graphs need hnswlib and usearch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from abis.comparison.kind import Kind
from abis.gallery import Gallery
from abis.identification.screening import Cuts, Screening
from abis.index.embedding_index import EmbeddingIndex
from abis.index.segments import Block, Probe, Segment
from abis.index.sizes import WorkSizes
from abis.store import Enrollment
from abis.synthetic import Population
from abis.synthetic.face import MODEL
from abis.template import Embedding, Position
from benchmarks.lib.common import (
    library,
    optional,
    options,
    print_table,
    public_data,
    resident_bytes,
    wilson,
    write,
)

DIMENSION = 512
CHUNK = WorkSizes().segment // 3
Search = Callable[[NDArray[np.float32]], int]
Figures = dict[str, float | int | str]


def main() -> None:
    """Build every index, search, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--faces", type=int, default=100_000, help="synthetic ones (default: 100,000)")
    parser.add_argument(
        "--graph-faces", type=int, default=100_000, help="for graphs (default: 100,000); 0: none"
    )
    parser.add_argument("--probes", type=int, default=300, help="of each sort (default: 300)")
    parser.add_argument("--others-probes", type=int, help="of each sort, for other libraries (default: all)")
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FOLDER",
        help="measure Gallery.identify too, with galleries in FOLDER",
    )
    arguments = parser.parse_args()
    figures = Figures()
    with optional("faces", figures):
        public_data("faces", "lfw_arcface_mobile_512.npz")
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        faiss.omp_set_num_threads(1)
        for count in sorted({min(arguments.faces, arguments.graph_faces), arguments.faces} - {0}):
            gallery, every = faces(arguments.seed, count, arguments.probes)
            others = np.arange(len(every)) % arguments.probes < (arguments.others_probes or arguments.probes)
            with_graphs = count <= arguments.graph_faces
            found = measured(gallery, every, others, with_graphs)
            if count == arguments.faces and arguments.gallery is not None:
                folder = arguments.gallery / f"seed{arguments.seed}-{len(gallery)}"
                found |= identified(folder, gallery, every)
            figures |= {f"n{count}_{name}": value for name, value in found.items()}
        figures |= {"probes": 2 * arguments.probes, "others_probes": int(others.sum())}
    write(arguments.json, figures, seed=arguments.seed)


def measured(
    gallery: NDArray[np.float16], every: NDArray[np.float32], others: NDArray[np.bool_], with_graphs: bool
) -> Figures:
    """Every index of one gallery: ours by every probe, the others by some."""
    nearest_of_every = nearest(gallery, every)
    rows, figures = [], Figures()
    for name, build in builders(with_graphs):
        with optional(name, figures):
            probes, expected = every, nearest_of_every
            if name != "abis":
                probes, expected = every[others], nearest_of_every[others]
            before, begin = resident_bytes(), time.process_time()
            searches = build(gallery)
            built = time.process_time() - begin
            per_face = (resident_bytes() - before) / len(gallery)
            for setting, search in searches:
                search(probes[0])
                seconds, right = [], 0
                for probe, best in zip(probes, expected, strict=True):
                    begin = time.perf_counter()
                    found = search(probe)
                    seconds.append(time.perf_counter() - begin)
                    right += found == best
                low, high = wilson(right, len(probes))
                p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
                rows.append(
                    [
                        *(name, setting, f"{p50:.2f}", f"{p95:.2f}", f"{1e3 * min(seconds):.2f}"),
                        f"{100 * right / len(probes):.2f} ({100 * low:.2f} to {100 * high:.2f})",
                        *(f"{built:.0f}", f"{per_face:.0f}"),
                    ]
                )
                key = f"{name}_{setting}".replace(" ", "_")
                figures |= {
                    f"{key}_p50_ms": float(p50),
                    f"{key}_p95_ms": float(p95),
                    f"{key}_least_ms": 1e3 * min(seconds),
                    f"{key}_recall_at_1_percent": 100 * right / len(probes),
                    f"{key}_build_s": built,
                    f"{key}_bytes_per_face": per_face,
                }
            del searches
    print_table(
        f"The nearest of {len(gallery):,} faces, {DIMENSION}-d",
        ["index", "setting", "p50 ms", "p95 ms", "least ms", "recall@1 % (95 %)", "build s", "bytes a face"],
        rows,
        note=f"One thread; {len(every):,} probes by abis, {others.sum():,} by the others. Bytes as the system counts "
        "them.",
    )
    return figures


def identified(folder: Path, gallery: NDArray[np.float16], probes: NDArray[np.float32]) -> Figures:
    """Time and recall@1 of Gallery.identify by a face alone."""
    expected = nearest(gallery, probes)
    if not folder.exists():
        with Gallery.open(folder, load=False) as made:
            made.enroll_many(
                Enrollment(str(n), [Embedding(vector=vector, model=MODEL)])
                for n, vector in enumerate(track(gallery, "enrolling", transient=True))
            )
    seconds, right = [], 0
    with Gallery.open(folder) as opened:
        for probe in probes[:20]:  # warms up
            opened.identify([Embedding(vector=probe, model=MODEL)], max_candidates=1)
        for probe, best in zip(probes, expected, strict=True):
            template = Embedding(vector=probe, model=MODEL)
            begin = time.perf_counter()
            found = opened.identify([template], max_candidates=1)
            seconds.append(time.perf_counter() - begin)
            right += found[0].subject_id == str(best)
    p50, p95 = np.percentile(seconds, [50, 95]) * 1e3
    low, high = wilson(right, len(probes))
    recall = f"{100 * right / len(probes):.2f} ({100 * low:.2f} to {100 * high:.2f})"
    print_table(
        f"Gallery.identify by a face alone, {len(gallery):,} subjects",
        ["p50 ms", "p95 ms", "least ms", "recall@1 % (95 %)"],
        [[f"{p50:.2f}", f"{p95:.2f}", f"{1e3 * min(seconds):.2f}", recall]],
        note=f"One thread; {len(probes):,} probes.",
    )
    return {
        "identify_p50_ms": float(p50),
        "identify_p95_ms": float(p95),
        "identify_least_ms": 1e3 * min(seconds),
        "identify_recall_at_1_percent": 100 * right / len(probes),
    }


def faces(seed: int, count: int, probes: int) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """The gallery, and probes that have a mate in it."""
    with np.load(public_data("faces", "lfw_arcface_mobile_512.npz")) as found:
        real, identity = found["embeddings"], found["identity"]
    _, first = np.unique(identity, return_index=True)
    later = np.setdiff1d(np.arange(len(real)), first)
    population = Population(seed=seed)
    crowd = np.empty((count + len(first), DIMENSION), np.float16)
    for start in track(range(0, count, CHUNK), "making faces", transient=True):
        some = range(start, min(start + CHUNK, count))
        crowd[start : start + len(some)] = population.face_vectors(some)
    crowd[count:] = real[first]
    rng = np.random.default_rng(seed)
    again = population.face_vectors(
        rng.choice(count, min(probes, count), replace=False).tolist(), impression=1
    )
    return crowd, np.concatenate([real[rng.choice(later, probes, replace=False)], again]).astype(np.float32)


def nearest(gallery: NDArray[np.float16], probes: NDArray[np.float32]) -> NDArray[np.int64]:
    """By comparison with all."""
    best, where = np.full(len(probes), -np.inf, np.float32), np.zeros(len(probes), np.int64)
    for start in range(0, len(gallery), CHUNK):
        cosines = probes @ gallery[start : start + CHUNK].astype(np.float32).T
        place = cosines.argmax(axis=1)
        better = cosines[np.arange(len(probes)), place] > best
        best[better] = cosines[better, place[better]]
        where[better] = start + place[better]
    return where


Searches = list[tuple[str, Search]]
Build = Callable[[NDArray[np.float16]], Searches]


def builders(with_graphs: bool) -> Iterator[tuple[str, Build]]:
    yield "abis", ours
    yield "faiss flat", partial(flat, faiss.IndexFlatIP(DIMENSION))
    for kind in ("QT_fp16", "QT_8bit"):
        quantizer = getattr(faiss.ScalarQuantizer, kind)
        index = faiss.IndexScalarQuantizer(DIMENSION, quantizer, faiss.METRIC_INNER_PRODUCT)
        yield f"faiss {kind[3:]}", partial(flat, index)
    yield "faiss PQ fast-scan", partial(fast_scan, "RR512,PQ64x4fs")
    yield "faiss IVF RaBitQ", partial(inverted, "IVF{},RaBitQ")
    if with_graphs:
        yield "hnswlib", hnsw
        yield "usearch", usearch


def ours(gallery: NDArray[np.float16]) -> Searches:
    segments = []
    kind = Kind(Position.FACE, MODEL, DIMENSION)
    for start in range(0, len(gallery), CHUNK):
        index = EmbeddingIndex(gallery[start : start + CHUNK].copy())
        keys = np.arange(start + 1, start + len(index) + 1, dtype=np.uint32)
        segments.append(Segment(start, start + len(index), (Block(kind, index, keys, keys),)))

    def search(share: float) -> Search:
        def one(probe: NDArray[np.float32]) -> int:
            template = Embedding(vector=probe, model=MODEL)
            cuts = Cuts.at(share, probe=[template], subjects=len(gallery), wanted=1)
            own = Probe.of(template)
            few = next(Screening(segments, [own], cuts, span=len(gallery) + 1).shortlists())
            scores = np.concatenate(
                [b.index.compare(own.prepared, b.slots_of(few)) for s in segments for b in s.blocks]
            )
            return int(few[scores.argmax()]) - 1

        return one

    return [(f"share {share:g}", search(share)) for share in (0.003, 0.03, 0.3)]


def flat(index: faiss.Index, gallery: NDArray[np.float16]) -> Searches:
    index.train(gallery[:CHUNK].astype(np.float32))
    add_all(index, gallery)
    return [("all", lambda probe: int(index.search(probe[np.newaxis], 1)[1][0, 0]))]


def add_all(index: Any, gallery: NDArray[np.float16]) -> None:
    """Portion by portion, as float32."""
    for start in range(0, len(gallery), CHUNK):
        index.add(gallery[start : start + CHUNK].astype(np.float32))


def fast_scan(recipe: str, gallery: NDArray[np.float16]) -> Searches:
    """All faces, in as many bytes as ours; the nearest ones re-ranked in float16."""
    index: Any = faiss.index_factory(DIMENSION, recipe, faiss.METRIC_INNER_PRODUCT)
    index.train(gallery[:: max(1, len(gallery) // 65_536)].astype(np.float32))
    add_all(index, gallery)
    return [(f"best {n}", partial(reranked, index, gallery, n)) for n in (100, 1_500)]


def reranked(index: Any, gallery: NDArray[np.float16], count: int, probe: NDArray[np.float32]) -> int:
    """The nearest by float16 of the ``count`` nearest by the index."""
    few = index.search(probe[np.newaxis], count)[1][0]
    few = few[few >= 0]
    return int(few[(gallery[few].astype(np.float32) @ probe).argmax()])


def inverted(recipe: str, gallery: NDArray[np.float16]) -> Searches:
    """Re-ranked by float16: RaBitQ's nearest 100."""
    lists = int(np.sqrt(len(gallery)))
    index: Any = faiss.index_factory(DIMENSION, recipe.format(lists), faiss.METRIC_INNER_PRODUCT)
    index.train(gallery[:: max(1, len(gallery) // (40 * lists))].astype(np.float32))
    add_all(index, gallery)

    def search(probes: int) -> Search:
        def one(probe: NDArray[np.float32]) -> int:
            index.nprobe = probes
            return reranked(index, gallery, 100, probe)

        return one

    return [(f"{n} of {lists} lists", search(n)) for n in (lists // 32, lists // 8, lists // 4)]


def hnsw(gallery: NDArray[np.float16]) -> Searches:
    index = library("hnswlib").Index(space="ip", dim=DIMENSION)
    index.init_index(max_elements=len(gallery), ef_construction=100, M=16)
    for start in track(range(0, len(gallery), 4096), "hnswlib", transient=True):
        index.add_items(gallery[start : start + 4096].astype(np.float32), num_threads=1)

    def search(ef: int) -> Search:
        def one(probe: NDArray[np.float32]) -> int:
            index.set_ef(ef)
            return int(index.knn_query(probe, k=1, num_threads=1)[0][0, 0])

        return one

    return [(f"ef {ef}", search(ef)) for ef in (100, 400, 1600)]


def usearch(gallery: NDArray[np.float16]) -> Searches:
    index = library("usearch.index").Index(
        ndim=DIMENSION, metric="ip", dtype="f16", connectivity=16, expansion_add=100
    )
    for start in track(range(0, len(gallery), 4096), "usearch", transient=True):
        some = gallery[start : start + 4096]
        index.add(np.arange(start, start + len(some)), some, threads=1)

    def search(expansion: int) -> Search:
        def one(probe: NDArray[np.float32]) -> int:
            index.expansion_search = expansion
            return int(index.search(probe, 1, threads=1).keys[0])

        return one

    return [(f"expansion {n}", search(n)) for n in (100, 400, 1600)]


if __name__ == "__main__":
    main()
