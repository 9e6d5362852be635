# SPDX-License-Identifier: Apache-2.0
"""Fit the calibrations that abis ships, and say how well such a fit does on data it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import EXTRACTORS, ROOT, SETS, data_folder, options, print_table, software, write
from lfw import all_scores, at_most, corrected, read_lfw

from abis.calibration import Calibration, threshold_for_fmr
from abis.evaluation import Scores, TrainingScores, cllr, fit, min_cllr, read_folder
from abis.evaluation.folder import compare_samples
from abis.evaluation.protocols import all_pairs

SCRIPT = "benchmarks/fit_calibration.py"
CLAIMED_FMRS = (1e-2, 1e-3)
IMAGES_A_PERSON = 10
"""So that people weigh alike: a few with hundreds of images would else be most of the mated pairs."""

Figures = dict[str, float | int | str]


def main() -> None:
    """Fit, report, save."""
    parser = options(__doc__ or "")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "abis" / "calibrations", help="folder (default: the package's)"
    )
    arguments = parser.parse_args()
    data = data_folder()
    figures: Figures = {}
    fit_minutiae(data, figures).save(arguments.output / "minutiae.json")
    fit_embedding(data, figures, arguments.seed).save(arguments.output / "embedding.json")
    write(arguments.json, figures, seed=arguments.seed)


def fitted(training: Sequence[TrainingScores]) -> Calibration:
    """A fit made now, here."""
    return fit(training, date=datetime.now(UTC).date().isoformat(), software=software(), script=SCRIPT)


# --- fingers --------------------------------------------------------------------------------------------


def fit_minutiae(data: Path, figures: Figures) -> Calibration:
    """One calibration for all extractors: on every set by every one, each weighing the same."""
    training = {
        (extractor, name): training_scores(data / "fingerprints" / extractor / name, f"{extractor} {name}")
        for extractor in EXTRACTORS
        for name in SETS
    }
    # Leave one set out: its fingers, by every extractor.
    held_out: dict[tuple[str, str], LogLikelihoodRatios] = {}
    for name in SETS:
        calibration = fitted([scores for (_, other), scores in training.items() if other != name])
        held_out |= {
            (extractor, name): (
                calibration.llr(training[extractor, name].mated),
                calibration.llr(training[extractor, name].non_mated),
            )
            for extractor in EXTRACTORS
        }
    rows = []
    for extractor in EXTRACTORS:
        sets = [held_out[extractor, name] for name in SETS]
        rows.append((extractor, *quality(f"minutiae_{extractor}_leave_one_set_out", sets, figures)))
    print_table("minutiae, leave one set out (means over sets; FMR pooled)", ["extractor", *HEADINGS], rows)
    calibration = fitted(list(training.values()))
    describe("minutiae", calibration, figures)
    return calibration


def training_scores(folder: Path, name: str) -> TrainingScores:
    """Raw scores of every two samples that could be read."""
    samples = read_folder(folder).samples
    probe, reference = all_pairs(len(samples))
    finger = np.array([sample.finger for sample in samples])
    mated = finger[probe] == finger[reference]
    templates = [sample.template for sample in samples]
    raw = compare_samples(templates, templates)
    made = np.isfinite(raw)
    return TrainingScores(name, raw[made & mated], raw[made & ~mated])


# --- faces ----------------------------------------------------------------------------------------------


def fit_embedding(data: Path, figures: Figures, seed: int) -> Calibration:
    """On all pairs of some LFW images, label notes applied; tested by fitting on one half of the people."""
    lfw = at_most(read_lfw(data), IMAGES_A_PERSON)
    scores = corrected(all_scores(lfw), lfw, data)
    half = np.random.default_rng(seed).permutation(len(lfw.people)) % 2
    rows = []
    for tested in (0, 1):
        first = within(scores, half == 1 - tested)
        second = within(scores, half == tested)
        calibration = fitted([TrainingScores("one half of LFW", first.mated, first.non_mated)])
        llr = calibration.llr(second.mated), calibration.llr(second.non_mated)
        rows.append(
            (f"half {tested + 1} of the people", *quality(f"embedding_half_{tested + 1}", [llr], figures))
        )
    print_table("embedding, fitted on the other half of the people", ["tested on", *HEADINGS], rows)
    everyone = within(scores, np.ones(len(lfw.people), dtype=bool))
    calibration = fitted(
        [TrainingScores("LFW, ArcFace MobileFaceNet w600k", everyone.mated, everyone.non_mated)]
    )
    describe("embedding", calibration, figures)
    return calibration


def within(scores: Scores, people: npt.NDArray[np.bool_]) -> TrainingScores:
    """The scores among some of the people."""
    chosen = people[scores.probe_subject] & people[scores.reference_subject]
    mated = scores.mated
    return TrainingScores("LFW", scores.score[chosen & mated], scores.score[chosen & ~mated])


# --- both -----------------------------------------------------------------------------------------------

HEADINGS = ("Cllr", "min Cllr", "difference", *(f"FMR at threshold for {fmr:.0e}" for fmr in CLAIMED_FMRS))
"""What :func:`quality` returns."""

LogLikelihoodRatios = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def quality(name: str, sets: Sequence[LogLikelihoodRatios], figures: Figures) -> list[str]:
    """Mean Cllr and min Cllr over sets, and the FMR seen at thresholds for some, over all of them."""
    real = float(np.mean([cllr(*one) for one in sets]))
    best = float(np.mean([min_cllr(*one) for one in sets]))
    figures[f"{name}_cllr_bits"], figures[f"{name}_min_cllr_bits"] = real, best
    cells = [f"{real:.4f}", f"{best:.4f}", f"{real - best:.4f}"]
    non_mated = np.concatenate([one[1] for one in sets])
    for fmr in CLAIMED_FMRS:
        observed = float((non_mated >= threshold_for_fmr(fmr)).mean())
        figures[f"{name}_fmr_at_threshold_for_{fmr:.0e}"] = observed
        cells.append(f"{observed:.2e}")
    return cells


def describe(kind: str, calibration: Calibration, figures: Figures) -> None:
    """Print the curve and put it among the figures."""
    figures.update(
        {f"{kind}_{name}": getattr(calibration, name) for name in ("slope", "offset", "minimum", "maximum")}
    )
    print(
        f"{kind}: LLR = {calibration.slope:.4g} * raw {calibration.offset:+.4g}, "
        f"from {calibration.minimum:.2f} to {calibration.maximum:.2f}\n"
    )


if __name__ == "__main__":
    main()
