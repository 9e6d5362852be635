# SPDX-License-Identifier: Apache-2.0
"""Are templates of two fingers, and faces made to match many people, detected?

    python benchmarks/accuracy/doubtful.py --json benchmarks/results/doubtful.json

*Double identity*: the union of the minutiae of two fingers matches both. Of random pairs of fingers of a set, once as
they stand and once turned and moved as fits their ridges best in 30 trials: how many unions match both
fingers at a false match rate of 1e-4, and how many does `abis.template.superposition` call doubtful? How many real
templates does it call so, of all sets and extractors, uncertain minutiae included?

*Master faces*: a vector optimised on 2,000 people of LFW, to match as many of them as it can. How often does it match
2,000 other people, against the rate asked for? How does its cosine to the mean of all faces compare with those of real
faces? Also with the optimisation limited to cosines that real faces have.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

import abis
from abis.errors import AbisError
from abis.gallery import Gallery
from abis.scoring.calibration import shipped
from abis.scoring.thresholds import threshold_for_fmr
from abis.store import Enrollment
from abis.template import Embedding, Minutiae
from abis.template.superposition import coherence, superimposed
from benchmarks.lib.common import EXTRACTORS, optional, options, print_table, public_data, write
from benchmarks.lib.images import IMAGE_SETS, extracted_set
from benchmarks.lib.lfw import MODEL

FMR = 1e-4
TRIALS = 30  # of an attacker who aligns two fingers
PEOPLE = 2_000  # of each half of LFW
REAL = 1_000  # faces of other people that the gallery is asked about
Figures = dict[str, float | int | str]


def templates_of(extractor: str) -> Iterator[tuple[str, str, Minutiae]]:
    """Set, name and template of each file of an extractor among the public data."""
    for path in sorted(public_data("fingerprints", extractor).glob("*/*")):
        try:
            (template, *_) = abis.read(path.read_bytes(), lenient=True)
        except AbisError:
            continue
        if isinstance(template, Minutiae):
            yield path.parent.name, path.stem, template


def extracted(sets: int) -> Iterator[tuple[str, str, Minutiae]]:
    """The same of abis's own extractor."""
    for name in IMAGE_SETS[:sets]:
        for sample in extracted_set(public_data(), name).samples:
            if isinstance(sample.template, Minutiae):
                yield name, sample.name.rpartition("/")[2], sample.template


def union(one: Minutiae, other: Minutiae, dice: np.random.Generator | None) -> Minutiae:
    """The minutiae of both; those of the other turned by up to 30 degrees and moved, where dice are given."""
    x, y = other.x.astype(np.float64), other.y.astype(np.float64)
    turn = 0.0 if dice is None else dice.uniform(-30, 30)
    if dice is not None and len(other):
        cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        x, y = x - x.mean(), y - y.mean()
        x, y = cosine * x + sine * y, cosine * y - sine * x
        x, y = x + one.x.mean() + dice.normal(0, 30), y + one.y.mean() + dice.normal(0, 30)
    inside = (x >= 0) & (y >= 0) & (x < one.width) & (y < one.height)
    columns: dict[str, NDArray[np.generic]] = {
        "x": np.concatenate([one.x, np.rint(x[inside])]).clip(0, one.width - 1),
        "y": np.concatenate([one.y, np.rint(y[inside])]).clip(0, one.height - 1),
        "direction": np.concatenate(
            [one.direction, np.float32(np.rint(other.direction[inside] + turn)) % 360]
        ),
        "kind": np.concatenate([one.kind, other.kind[inside]]),
        "quality": np.concatenate([one.quality, other.quality[inside]]),
    }
    return Minutiae(
        **{name: column[:255] for name, column in columns.items()},  # type: ignore[arg-type]
        width=one.width,
        height=one.height,
        resolution=one.resolution,
        extractor=one.extractor,
    )


def again(finger: str, own: list[tuple[str, Minutiae]], dice: np.random.Generator) -> Minutiae:
    """Another impression of a finger."""
    number = finger.partition("_")[0]
    others = [template for other, template in own if other.partition("_")[0] == number and other != finger]
    return others[int(dice.integers(len(others)))]


def fingers(name: str, real: list[tuple[str, str, Minutiae]], pairs: int, seed: int) -> Figures:
    """The figures of one extractor."""
    dice = np.random.default_rng(seed)
    threshold = threshold_for_fmr(FMR, [[shipped("minutiae")]])
    figures: Figures = {
        f"{name}_real": len(real),
        f"{name}_real_doubtful": sum(bool(superimposed(template)) for *_, template in real),
    }
    sets = sorted({one for one, *_ in real})
    for way in ("plain", "aligned"):
        made = both = doubtful = doubtful_of_both = 0
        for one in sets:
            own = [(finger, template) for of, finger, template in real if of == one and len(template) >= 12]
            for _ in range(pairs // len(sets)):
                (a, first), (b, second) = (own[i] for i in dice.choice(len(own), 2, replace=False))
                if a.partition("_")[0] == b.partition("_")[0]:
                    continue
                if way == "plain":
                    template = union(first, second, None)
                else:
                    tried = (union(first, second, dice) for _ in range(TRIALS))
                    template = max(tried, key=coherence)
                later = [again(finger, own, dice) for finger in (a, b)]
                scores = abis.compare(template, later)
                matches, found = bool(min(scores) >= threshold), bool(superimposed(template))
                made, both, doubtful = made + 1, both + matches, doubtful + found
                doubtful_of_both += matches and found
        figures |= {
            f"{name}_{way}_unions": made,
            f"{name}_{way}_match_both": both,
            f"{name}_{way}_doubtful": doubtful,
            f"{name}_{way}_doubtful_of_both": doubtful_of_both,
        }
    return figures


def optimised(
    people: NDArray[np.float32], threshold: float, limit: float, dice: np.random.Generator
) -> NDArray[np.float32]:
    """A vector that matches as many of some people as an ascent from six faces finds.

    Args:
        people: (n, d) unit vectors.
        threshold: cosine of a match.
        limit: largest cosine to the mean of the people; 1 for none.
        dice: chooses the faces.
    """
    mean = people.mean(0)
    mean /= np.linalg.norm(mean)
    best, most = people[0], -1.0
    for start in dice.choice(len(people), 6, replace=False):
        vector = people[start].copy()
        for step in range(150):
            near = 1 / (1 + np.exp(-(people @ vector - threshold) / 0.03))
            ascent = (near * (1 - near)) @ people
            vector = vector + 0.3 * (1 - step / 150) * ascent / np.linalg.norm(ascent)
            vector /= np.linalg.norm(vector)
            along = float(vector @ mean)
            if along > limit:
                rest = vector - along * mean
                vector = limit * mean + math.sqrt(1 - limit * limit) * rest / np.linalg.norm(rest)
        matched = float((people @ vector > threshold).mean())
        if matched > most:
            best, most = vector, matched
    return np.asarray(best)


def faces(seed: int) -> Figures:
    """The figures of master faces."""
    data = np.load(public_data("faces", "lfw_arcface_mobile_512.npz"))
    vectors = data["embeddings"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    _, first = np.unique(data["identity"], return_index=True)
    dice = np.random.default_rng(seed)
    order = dice.permutation(first)
    seen, unseen, rest = (vectors[part] for part in np.split(order, [PEOPLE, 2 * PEOPLE]))
    mean = unseen.mean(0)
    mean /= np.linalg.norm(mean)
    threshold = float(np.quantile(rest @ unseen.T, 1 - FMR))
    along = rest @ mean
    figures: Figures = {
        "faces_real": len(rest),
        "faces_along_p999": float(np.quantile(along, 0.999)),
        "faces_along_max": float(along.max()),
    }
    with tempfile.TemporaryDirectory() as folder, Gallery.open(f"{folder}/g") as gallery:
        gallery.enroll_many(Enrollment(str(n), [face(vector)]) for n, vector in enumerate(unseen))
        figures["faces_real_unusual"] = sum(bool(gallery.unusual([face(vector)])) for vector in rest[:REAL])
        figures["faces_real_asked"] = min(REAL, len(rest))
        for name, limit in (("master", 1.0), ("limited_master", float(np.quantile(along, 0.999)))):
            vector = optimised(seen, threshold, limit, dice)
            figures |= {
                f"{name}_along": float(vector @ mean),
                f"{name}_times": float((unseen @ vector > threshold).mean() / FMR),
                f"{name}_unusual": int(bool(gallery.unusual([face(vector)]))),
            }
    return figures


def face(vector: NDArray[np.float32]) -> Embedding:
    """A face of LFW's network."""
    return Embedding(vector=vector, model=MODEL)


def main() -> None:
    """Measure, print the tables, write the figures."""
    parser = options(__doc__ or "")
    parser.add_argument("--pairs", type=int, default=400, help="of fingers, of each extractor and way (400)")
    parser.add_argument("--images", type=int, default=len(IMAGE_SETS), help="sets of images (all)")
    arguments = parser.parse_args()
    figures: Figures = {"fmr": FMR}
    names = [*EXTRACTORS, "secugen"]
    for name in names:
        with optional(name, figures):
            figures |= fingers(name, list(templates_of(name)), arguments.pairs, arguments.seed)
    with optional("images", figures):
        figures |= fingers("own", list(extracted(arguments.images)), arguments.pairs, arguments.seed)
        names.append("own")
    with optional("faces", figures):
        figures |= faces(arguments.seed)
    columns = ["real", "real_doubtful"]
    columns += [
        f"{way}_{what}" for way in ("plain", "aligned") for what in ("unions", "match_both", "doubtful")
    ]
    print_table(
        "Unions of two fingers",
        ["", *(column.replace("_", " ") for column in columns)],
        [
            [name, *(figures[f"{name}_{column}"] for column in columns)]
            for name in names
            if f"{name}_real" in figures
        ],
    )
    print_table(
        "Master faces",
        ["", "figure"],
        [[n, f"{v:.3f}"] for n, v in figures.items() if "along" in n or "times" in n],
    )
    write(arguments.json, figures, seed=arguments.seed)


if __name__ == "__main__":
    main()
