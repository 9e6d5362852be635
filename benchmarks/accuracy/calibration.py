# SPDX-License-Identifier: Apache-2.0
"""Do scores and thresholds keep their promise on data that they were not fitted on?

Fingers with one FVC set left out, and faces with half of LFW's people left out: Cllr, and the FMR observed
at the thresholds for given FMRs. Sums of two scores of BSSR1: the FMR observed if two positions are taken
as independent. Galleries of synthetic fingers and faces, and of LFW: the FPIR observed and the FPIR
predicted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.progress import track

from abis.comparison import FingerReferences, cosine
from abis.evaluation import NonMatedScores, TrainingScores, cllr, min_cllr
from abis.extraction.fingers import EXTRACTOR
from abis.scoring.calibration import Calibration
from abis.scoring.thresholds import fmr_at, threshold_for_fmr, threshold_for_fpir
from abis.synthetic import Population
from abis.template import Embedding, Minutiae, Position
from benchmarks.fitting.fit_calibration import (
    Figures,
    Fingers,
    fit_faces,
    fit_fingers,
    fitted,
    lfw_scores,
    within,
)
from benchmarks.lib.bssr1 import read_bssr1
from benchmarks.lib.common import EXTRACTORS, SETS, optional, options, print_table, public_data, wilson, write
from benchmarks.lib.lfw import MODEL, at_most, read_lfw
from benchmarks.lib.svg import plot

CLAIMED_FMRS = (1e-2, 1e-3, 1e-4, 1e-6)
PREDICTED_FPIR = 0.05
FIT_SEED, TEST_SEED = 101, 202  # of populations without a common subject
CUTOFF = 2.4  # raw scores of fingers below it are only bounded, which tails do not mind

T = TypeVar("T", Minutiae, Embedding)
Floats = npt.NDArray[np.float64]


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000], help="of the galleries")
    parser.add_argument("--probes", type=int, default=1000, help="searches without a mate (default: 1000)")
    parser.add_argument(
        "--pictures", type=Path, metavar="FOLDER", help="draw the documentation's (docs/pictures)"
    )
    parser.add_argument(
        "--only-galleries", action="store_true", help="leave the other figures of --json FILE as they are"
    )
    arguments = parser.parse_args()
    figures: Figures = {}
    if arguments.only_galleries:
        figures = json.loads(arguments.json.read_text())
    else:
        with optional("fingers", figures):
            held_out = fingers(public_data("fingerprints").parent, figures)
            if arguments.pictures is not None:
                draw(held_out, arguments.pictures)
        with optional("faces", figures):
            faces(public_data("faces").parent, figures, arguments.seed)
        with optional("sums", figures):
            sums(figures)
    galleries(arguments.sizes, arguments.probes, figures)
    write(arguments.json, figures, seed=arguments.seed)


# --- sets left out --------------------------------------------------------------------------------------


def fingers(data: Path, figures: Figures) -> dict[str, list[HeldOut]]:
    """Every set by calibrations of the other sets: of its own extractor, of all of them, of the other two.

    Templates of abis.extraction are judged by their own calibration alone, as in a gallery. Returns the first, by
    extractor.
    """
    every = (EXTRACTOR, *EXTRACTORS)
    by_extractor = {extractor: Fingers(data, extractor) for extractor in every}
    rows = []
    by_own: dict[str, list[HeldOut]] = {}
    for label, tested, teachers in (
        ("own", every, lambda extractor: [extractor]),
        ("all extractors", EXTRACTORS, lambda extractor: list(EXTRACTORS)),
        ("other extractors", EXTRACTORS, lambda extractor: [one for one in EXTRACTORS if one != extractor]),
    ):
        fits: dict[tuple[str, ...], Calibration] = {}
        found: dict[tuple[str, bool], list[HeldOut]] = {}
        for extractor, name in product(tested, track(SETS, label, transient=True)):
            key = (name, *teachers(extractor))
            if key not in fits:
                others = [other for other in SETS if other != name]
                fits[key] = fit_fingers([by_extractor[teacher] for teacher in teachers(extractor)], others)
            test = by_extractor[extractor].training(name)
            for alone in (False, True):
                one = HeldOut(fits[key], test, by_score_alone=alone)
                found.setdefault((extractor, alone), []).append(one)
        for alone in (False, True):
            sets = {extractor: found[extractor, alone] for extractor in tested}
            sets["all"] = [one for extractor in EXTRACTORS for one in sets[extractor]]
            name = f"{label}, by score alone" if alone else label
            for extractor, own in sets.items():
                key_ = f"minutiae_{extractor}_{name}".replace(",", "").replace(" ", "_")
                rows.append((f"{extractor}, calibration of {name}", *quality(key_, own, figures)))
        by_own = by_own or {extractor: found[extractor, False] for extractor in tested}
    print_table("fingers, each FVC set by the calibration of the others", HEADINGS, rows, note=NOTE)
    return by_own


def faces(data: Path, figures: Figures, seed: int) -> None:
    """Each half of the people by the calibration of the other half."""
    scores = lfw_scores(data)
    people = 1 + max(int(scores.probe_subject.max()), int(scores.reference_subject.max()))
    half = np.random.default_rng(seed).permutation(people) % 2
    sets = []
    for tested in (0, 1):
        calibration = fit_faces(within(scores, half == 1 - tested), MODEL, "one half of LFW")
        test = within(scores, half == tested)
        sets.append(HeldOut(calibration, test))
    rows = [("LFW, both halves", *quality("embedding_halves", sets, figures))]
    print_table("faces, each half of the people by the calibration of the other", HEADINGS, rows, note=NOTE)


class HeldOut:
    """Scores by a calibration that has not seen them, and whether they reach its thresholds."""

    def __init__(
        self, calibration: Calibration, test: TrainingScores, *, by_score_alone: bool = False
    ) -> None:
        self.calibration = calibration
        balance = (None, None) if by_score_alone else (test.mated_balance, test.non_mated_balance)
        self.mated = calibration.llr(test.mated, balance[0])
        self.non_mated = calibration.llr(test.non_mated, balance[1])
        self.thresholds = [threshold_for_fmr(fmr, [[calibration]]) for fmr in CLAIMED_FMRS]


HEADINGS = (
    *("", "Cllr", "min", "less min"),
    *(f"{what} {fmr:.0e}" for fmr in CLAIMED_FMRS for what in ("FMR", "FNMR")),
    "Markov",
)
NOTE = (
    "Means over sets. FMR and FNMR pooled, each set at the threshold that its calibration gives for the FMR named. "
    "\nMarkov: FNMR at a score of 6, which would be the threshold for 1e-06 if nothing were counted."
)


def quality(name: str, sets: Sequence[HeldOut], figures: Figures) -> list[str]:
    """Mean Cllr and min Cllr over sets, and error rates at thresholds, over all of them."""
    real = float(np.mean([cllr(one.mated, one.non_mated) for one in sets]))
    best = float(np.mean([min_cllr(one.mated, one.non_mated) for one in sets]))
    figures[f"{name}_cllr_bits"], figures[f"{name}_min_cllr_bits"] = real, best
    cells = [f"{real:.4f}", f"{best:.4f}", f"{real - best:.4f}"]
    for place, fmr in enumerate(CLAIMED_FMRS):
        false_matches = sum(int((one.non_mated >= one.thresholds[place]).sum()) for one in sets)
        misses = sum(int((one.mated < one.thresholds[place]).sum()) for one in sets)
        observed = false_matches / sum(len(one.non_mated) for one in sets)
        missed = misses / sum(len(one.mated) for one in sets)
        figures[f"{name}_fmr_at_claimed_{fmr:.0e}"] = observed
        figures[f"{name}_fnmr_at_claimed_{fmr:.0e}"] = missed
        cells += [f"{observed:.2e}", f"{100 * missed:.2f} %"]
    by_markov = float(np.mean(np.concatenate([one.mated for one in sets]) < 6))
    figures[f"{name}_fnmr_at_markov_1e-06"] = by_markov
    return [*cells, f"{100 * by_markov:.2f} %"]


def draw(held_out: dict[str, list[HeldOut]], folder: Path) -> None:
    """Draw likelihood ratios stated and observed, and FMRs asked for and observed."""
    plot(
        folder / "reliability.svg",
        title="Likelihood ratios stated and observed",
        x=("score: log10 likelihood ratio stated", -2, 5),
        y=("log10 likelihood ratio observed", -2, 5),
        lines={extractor: reliability(sets) for extractor, sets in held_out.items()},
    )
    claimed = 10.0 ** np.arange(-4, -0.2, 0.125)
    plot(
        folder / "claimed_fmr.svg",
        title="False match rates asked for and observed",
        x=("false match rate asked for", -4, 0),
        y=("false match rate observed", -5, 0),
        lines={extractor: seen_fmr(sets, claimed) for extractor, sets in held_out.items()},
        decades=True,
    )


def reliability(sets: Sequence[HeldOut], width: float = 0.5, least: int = 10) -> list[tuple[float, float]]:
    """Of the scores in each bin, the mated share by the non-mated share; bins with few of either are left out."""
    mated, non_mated = (
        np.concatenate([getattr(one, kind) for one in sets]) for kind in ("mated", "non_mated")
    )
    points = []
    for low in np.arange(-2.5, 6, width):
        own, strange = (kind[(kind >= low) & (kind < low + width)] for kind in (mated, non_mated))
        if min(len(own), len(strange)) >= least:
            seen = np.log10(len(own) / len(mated) / (len(strange) / len(non_mated)))
            points.append((float(np.concatenate([own, strange]).mean()), float(seen)))
    return points


def seen_fmr(sets: Sequence[HeldOut], claimed: Floats) -> list[tuple[float, float]]:
    """log10 of FMR asked for and seen, pooled."""
    points = []
    for fmr in claimed:
        matches = sum(
            int((one.non_mated >= threshold_for_fmr(fmr, [[one.calibration]])).sum()) for one in sets
        )
        if matches:
            seen = matches / sum(len(one.non_mated) for one in sets)
            points.append((float(np.log10(fmr)), float(np.log10(seen))))
    return points


# --- are positions independent? -------------------------------------------------------------------------


def sums(figures: Figures) -> None:
    """FMR of two fingers' sum, and of finger and face, at thresholds that take them as independent."""
    people = read_bssr1()
    rows = []
    for pair in (("finger-left", "finger-right"), ("face-G", "finger-right"), ("face-G", "face-C")):
        known = np.logical_and(*(np.isfinite(people[name]) for name in pair))
        strange = known & ~np.eye(len(known), dtype=np.bool_)
        mated = known & np.eye(len(known), dtype=np.bool_)
        subjects = np.stack(np.nonzero(strange), axis=1)
        calibrations = [
            fitted([TrainingScores(name, people[name][mated], people[name][strange], subjects)], name)
            for name in pair
        ]
        llr = np.sum(
            [c.llr(people[name][strange]) for c, name in zip(calibrations, pair, strict=True)], axis=0
        )
        row = [" + ".join(pair), f"{int(strange.sum()):,}"]
        for fmr in CLAIMED_FMRS[:3]:
            threshold = threshold_for_fmr(fmr, [[calibration] for calibration in calibrations])
            observed = float((llr >= threshold).mean())
            figures[f"sum_{'_'.join(pair)}_fmr_at_claimed_{fmr:.0e}"] = observed
            row.append(f"{observed:.2e}")
        rows.append(row)
    print_table(
        "BSSR1: two positions of one person, taken as independent",
        ["", "non-mated", *(f"FMR at {fmr:.0e}" for fmr in CLAIMED_FMRS[:3])],
        rows,
        note="Two matchers on one photograph (last line) are not two positions: fit a fusion for those.",
    )


# --- galleries ------------------------------------------------------------------------------------------


def galleries(sizes: Sequence[int], probes: int, figures: Figures) -> None:
    """FPIR at the threshold that is said to give :data:`PREDICTED_FPIR`, by calibrations of other people."""
    rows = made_up_galleries(sizes, probes, figures) if sizes else []
    with optional("galleries of faces", figures):
        rows += [real_faces(public_data("faces").parent, seed, figures) for seed in range(2)]
    print_table(
        f"Galleries: FPIR at the threshold for {PREDICTED_FPIR:.0%}",
        [
            "",
            "searches",
            "threshold",
            "FPIR predicted",
            "at most",
            "subjects",
            "FPIR seen",
            "seen / predicted",
        ],
        rows,
        note="At most: by the upper 95 % limits of the rates. Subjects: listed in a search, on average.\n"
        "[ ]: 95 % interval.",
    )


def made_up_galleries(sizes: Sequence[int], probes: int, figures: Figures) -> list[list[str]]:
    """A row for fingers and one for faces, of each size."""
    rows = []
    finger, face = synthetic_fingers(), synthetic_faces()
    for size in sizes:
        people = Population(seed=TEST_SEED, fingers=(Position.RIGHT_INDEX,), face=False)
        gallery = FingerReferences()
        cutoff = raw_score_at(finger, threshold_for_fpir(PREDICTED_FPIR, size, [[finger]]))
        for first in track(range(0, size, 5000), f"{size:,} fingers", transient=True):
            last = min(first + 5000, size)
            gallery.extend(
                [t for _, (t,) in people.encounters(range(first, last)) if isinstance(t, Minutiae)]
            )
        strangers = people.encounters(range(size, size + probes), impression=1)
        highest = [
            top(gallery.compare(probe, cutoff=cutoff))
            for _, (probe,) in track(strangers, "searches", total=probes, transient=True)
            if isinstance(probe, Minutiae)
        ]
        rows.append(predicted(f"made-up fingers, {size:,}", finger, np.stack(highest), size, figures))
        faces_ = Population(seed=TEST_SEED, fingers=())
        vectors = np.concatenate(
            [faces_.face_vectors(range(k, min(k + 5000, size))) for k in range(0, size, 5000)]
        )
        strangers = faces_.encounters(range(size, size + probes), impression=1)
        highest = [top(cosine(probe, vectors)) for _, (probe,) in strangers if isinstance(probe, Embedding)]
        rows.append(predicted(f"made-up faces, {size:,}", face, np.stack(highest), size, figures))
    return rows


def top(raw: npt.NDArray[np.float32], count: int = 50) -> npt.NDArray[np.float32]:
    """The highest scores: more reach no threshold."""
    return np.partition(raw, -count)[-count:]


def predicted(
    name: str,
    calibration: Calibration,
    highest: npt.NDArray[np.floating[Any]],
    size: int,
    figures: Figures,
) -> list[str]:
    """One row: how many searches end above the threshold; ``highest`` has a row of raw scores for each."""
    threshold = threshold_for_fpir(PREDICTED_FPIR, size, [[calibration]])
    promised, limit = (size * fmr_at(threshold, [[calibration]], limit=limit) for limit in (False, True))
    reached = calibration.llr(highest) >= threshold
    searches = len(highest)
    listed, wrong = float(reached.sum() / searches), int(reached.any(axis=1).sum())
    low, high = wilson(wrong, searches)
    seen = wrong / searches
    key = name.replace(",", "").replace(" ", "_")
    for what, value in (("seen", seen), ("seen_low", low), ("seen_high", high), ("predicted", promised)):
        figures[f"fpir_{what}_{key}"] = value
    figures[f"fpir_limit_{key}"], figures[f"listed_{key}"] = limit, listed
    return [
        *(name, f"{searches:,}", f"{threshold:.2f}", f"{promised:.3f}", f"{limit:.3f}", f"{listed:.3f}"),
        f"{seen:.3f} [{low:.3f}, {high:.3f}]",
        f"{seen / promised:.2f}",
    ]


def raw_score_at(calibration: Calibration, llr: float) -> float:
    """A raw score whose LLR is little below: what decides is compared in full, and the rest need not be."""
    raw = np.linspace(-10, 30, 4001)
    return float(raw[np.searchsorted(calibration.llr(raw), llr) - 1])


def synthetic_fingers(people: int = 7000) -> Calibration:
    """Of other made-up people than the galleries': all scores of some, the high scores of many more."""
    population = Population(seed=FIT_SEED, fingers=(Position.RIGHT_INDEX,), face=False)
    references = FingerReferences()
    references.extend([t for _, (t,) in population.encounters(range(people)) if isinstance(t, Minutiae)])
    probes = [t for _, (t,) in population.encounters(range(people), impression=1) if isinstance(t, Minutiae)]
    full = square(references.compare, probes[:150], "scores")
    high = square(lambda t: references.compare(t, cutoff=CUTOFF), probes, "high scores")
    mated = np.array([references.compare(t, np.array([k]))[0] for k, t in enumerate(probes)])
    strange = ~np.eye(people, dtype=np.bool_)
    training = TrainingScores("synthetic", mated, full[strange[:150]])
    subjects = np.stack(np.nonzero(strange), axis=1).astype(np.uint16)
    return fitted([training], "minutiae", [NonMatedScores([high[strange]], high[strange], subjects)])


def synthetic_faces(people: int = 8000) -> Calibration:
    """Of other made-up people than the galleries'."""
    population = Population(seed=FIT_SEED, fingers=())
    gallery = population.face_vectors(range(people))
    probes = [t for _, (t,) in population.encounters(range(people), impression=1) if isinstance(t, Embedding)]
    raw = square(lambda t: cosine(t, gallery), probes, "faces")
    same = np.eye(people, dtype=np.bool_)
    subjects = np.stack(np.nonzero(~same), axis=1).astype(np.uint16)
    return fitted([TrainingScores("synthetic", raw[same], raw[~same], subjects)], "embedding-synthetic")


def real_faces(data: Path, seed: int, figures: Figures) -> list[str]:
    """Half of LFW's people fit the calibration; of the others, one half is searched for in the other."""
    lfw = at_most(read_lfw(data), 10)
    group = np.random.default_rng(1000 + seed).permutation(len(lfw.people)) % 4
    group[group == 3] = 2  # 0: probes, 1: gallery, 2: fit
    calibration = fit_faces(within(lfw_scores(data), group == 2), MODEL, "one half of LFW")
    image_group = group[lfw.person]
    _, first = np.unique(lfw.person, return_index=True)
    first_image = np.zeros(len(lfw.person), np.bool_)
    first_image[first] = True
    gallery = lfw.embedding[(image_group == 1) & first_image].astype(np.float32)
    probe = lfw.embedding[(image_group == 0) & first_image].astype(np.float32)
    highest = np.partition(probe @ gallery.T, -50, axis=1)[:, -50:]
    return predicted(f"LFW, quarter {seed}, {len(gallery):,}", calibration, highest, len(gallery), figures)


def square(
    compare: Callable[[T], npt.NDArray[np.float32]], probes: Iterable[T], label: str
) -> npt.NDArray[np.float32]:
    """A row for each probe."""
    return np.stack([compare(probe) for probe in track(list(probes), label, transient=True)])


if __name__ == "__main__":
    main()
