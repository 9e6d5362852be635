# SPDX-License-Identifier: Apache-2.0
"""Fit the calibrations that abis ships. Run it after every change of the comparator's scores.

``benchmarks/accuracy/calibration.py`` measures how well such fits do on data that they have not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from abis.comparison import FingerReferences, balances, contents, cosine
from abis.comparison.iris import iris_scores, packed
from abis.errors import ExtractionError
from abis.evaluation import NonMatedScores, Scores, TrainingScores, fit
from abis.extraction.fingers import EXTRACTOR
from abis.extraction.iris import MODEL as IRIS_MODEL
from abis.extraction.iris import extract_iris
from abis.scoring.calibration import Calibration
from abis.synthetic import Population
from abis.synthetic.face import MODEL as SYNTHETIC_MODEL
from abis.template import Embedding, IrisCode, Minutiae
from benchmarks.lib.common import (
    EXTRACTORS,
    ONE_FINGER_IN_TWO_SETS,
    ROOT,
    SETS,
    optional,
    options,
    public_data,
    software,
    write,
)
from benchmarks.lib.images import templates_of
from benchmarks.lib.lfw import MODEL, all_scores, at_most, corrected, read_lfw

SCRIPT = "benchmarks/fitting/fit_calibration.py"
IMAGES_A_PERSON = 10
"""So that people weigh alike: a few with hundreds of images would else be most of the mated pairs."""
SYNTHETIC_FACES = 4000

Figures = dict[str, float | int | str]


def main() -> None:
    """Fit, save, print."""
    parser = options(__doc__ or "")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "abis" / "scoring" / "calibrations",
        help="folder (default: the package's)",
    )
    arguments = parser.parse_args()
    figures: Figures = {}
    with optional("public_data", figures):
        data = public_data()
        fingers = [Fingers(data, extractor) for extractor in EXTRACTORS]
        calibrations = {f"minutiae-{one.extractor}": fit_fingers([one]) for one in fingers}
        calibrations["minutiae"] = fit_fingers(fingers)
        kind = f"minutiae-{EXTRACTOR}"
        calibrations[kind] = fit_fingers([Fingers(data, EXTRACTOR)], kind=kind)
        faces = fit_faces(within(lfw_scores(data)), MODEL, "LFW, ArcFace MobileFaceNet w600k")
        calibrations[f"embedding-{MODEL}"] = faces
        calibrations["embedding"] = replace(faces, kind="embedding", non_mated=None)
        calibrations[f"embedding-{SYNTHETIC_MODEL}"] = fit_faces(
            synthetic_faces(arguments.seed), SYNTHETIC_MODEL, f"{SYNTHETIC_FACES} made-up faces"
        )
        irises = fit_irises(Irises(data))
        calibrations[f"iris-{IRIS_MODEL}"] = irises
        calibrations["iris"] = replace(irises, kind="iris", non_mated=None)
        for name, calibration in calibrations.items():
            describe(name, calibration, figures)
            calibration.save(arguments.output / f"{name}.json")
    write(arguments.json, figures, seed=arguments.seed)


def fitted(
    training: Sequence[TrainingScores], kind: str, non_mated: Sequence[NonMatedScores] | None = None
) -> Calibration:
    """A fit made now, here."""
    return fit(
        training,
        kind=kind,
        non_mated=non_mated,
        date=datetime.now(UTC).date().isoformat(),
        software=software(),
        script=SCRIPT,
    )


# --- fingers --------------------------------------------------------------------------------------------


class Fingers:
    """All samples of the FVC sets by one extractor, each compared with each.

    Attributes:
        raw: (n, n) comparison scores.
        set_number: (n,) place in SETS.
        finger: (n,) number; one that stands in two sets has one number.
        content: (n,) how much there is of each to compare.
    """

    def __init__(self, data: Path, extractor: str) -> None:
        self.extractor = extractor
        templates: list[Minutiae] = []
        finger: list[tuple[str, str]] = []
        for name in SETS:
            for sample in templates_of(data, extractor, name).samples:
                assert isinstance(sample.template, Minutiae), f"{extractor} {name} {sample.name}"
                templates.append(sample.template)
                finger.append((name, sample.finger))
        again, first = ONE_FINGER_IN_TWO_SETS
        names = sorted(set(finger))
        self.finger = np.array([names.index(first if own == again else own) for own in finger])
        self.set_number = np.array([SETS.index(name) for name, _ in finger])
        self.content = contents(templates)
        references = FingerReferences()
        references.extend(templates)
        self.raw = np.stack([references.compare(template) for template in templates])

    def training(self, name: str) -> TrainingScores:
        """All pairs of one set."""
        own = np.flatnonzero(self.set_number == SETS.index(name))
        first, second = own[np.array(np.triu_indices(len(own), 1))]
        mated = self.finger[first] == self.finger[second]
        raw = self.raw[first, second]
        subjects = np.stack([self.finger[first], self.finger[second]], axis=1)
        balance = balances(self.content[first], self.content[second])
        return TrainingScores(
            f"{self.extractor} {name}",
            raw[mated],
            raw[~mated],
            subjects[~mated],
            balance[mated],
            balance[~mated],
        )

    def non_mated(self, sets: Sequence[str]) -> NonMatedScores:
        """Counted within sets; the tail from pairs across them as well."""
        chosen = np.flatnonzero(np.isin(self.set_number, [SETS.index(name) for name in sets]))
        first, second = chosen[np.array(np.triu_indices(len(chosen), 1))]
        strange = self.finger[first] != self.finger[second]
        first, second = first[strange], second[strange]
        within_sets = [self.training(name) for name in sets]
        return NonMatedScores(
            [scores.non_mated for scores in within_sets],
            self.raw[first, second],
            np.stack([self.finger[first], self.finger[second]], axis=1),
            [scores.non_mated_balance for scores in within_sets],
        )


def fit_fingers(
    fingers: Sequence[Fingers], sets: Sequence[str] = SETS, *, kind: str = "minutiae"
) -> Calibration:
    """On every set by every extractor, each weighing the same; non-mated rates are those of the worst."""
    training = [one.training(name) for one in fingers for name in sets]
    return fitted(training, kind, [one.non_mated(sets) for one in fingers])


# --- faces ----------------------------------------------------------------------------------------------


def lfw_scores(data: Path) -> Scores:
    """All pairs of some LFW images, label notes applied."""
    lfw = at_most(read_lfw(data), IMAGES_A_PERSON)
    return corrected(all_scores(lfw), lfw, data)


def within(scores: Scores, people: npt.NDArray[np.bool_] | None = None) -> TrainingScores:
    """The scores among some of the people, or all."""
    mated = scores.mated
    chosen: Any = slice(None)
    if people is not None:
        chosen = people[scores.probe_subject] & people[scores.reference_subject]
        mated = mated[chosen]
    score = scores.score[chosen]
    probe, reference = scores.probe_subject[chosen][~mated], scores.reference_subject[chosen][~mated]
    return TrainingScores("LFW", score[mated], score[~mated], np.stack([probe, reference], axis=1))


def synthetic_faces(seed: int) -> TrainingScores:
    """First impressions of made-up people against second ones."""
    people = Population(seed=seed + 1, fingers=())
    first, second = (
        [t for _, (t,) in people.encounters(range(SYNTHETIC_FACES), impression) if isinstance(t, Embedding)]
        for impression in (0, 1)
    )
    gallery = np.array([template.vector for template in first])
    raw = np.stack([cosine(template, gallery) for template in second])
    same = np.eye(len(raw), dtype=np.bool_)
    subjects = np.stack(np.nonzero(~same), axis=1).astype(np.uint16)
    return TrainingScores("synthetic", raw[same], raw[~same], subjects)


def fit_faces(scores: TrainingScores, model: str, name: str) -> Calibration:
    """On all scores of one population."""
    return fitted([replace(scores, name=name)], f"embedding-{model}")


# --- irises ---------------------------------------------------------------------------------------------


def irises_of(data: Path) -> dict[str, IrisCode]:
    """The codes of all images of CASIA-IrisV1 by the images' names, without failures. A minute and a half."""
    codes = {}
    for file in sorted((data / "iris" / "casia_v1").glob("*.png")):
        with suppress(ExtractionError):
            codes[file.stem] = extract_iris(np.asarray(PIL.Image.open(file).convert("L")))
    return codes


class Irises:
    """All images of CASIA-IrisV1, each compared with each. A minute and a half of extraction.

    Attributes:
        raw: (n, n) comparison scores.
        eye: (n,) number of each one's eye.
        failed: names of the images without a template.
        quality: (n,) visible part of the iris, per cent.
    """

    def __init__(self, data: Path) -> None:
        made = irises_of(data)
        names = sorted(file.stem for file in (data / "iris" / "casia_v1").glob("*.png"))
        self.failed = [name for name in names if name not in made]
        codes = list(made.values())
        self.eye = np.array([int(name.split("_")[0]) for name in made])
        self.quality = np.array([code.quality for code in codes], np.float64)
        references = packed(codes)
        self.raw = np.stack([iris_scores(code, references) for code in codes])

    def pairs(
        self, eyes: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Every pair of images, or those of which both are of eyes chosen by (n,) ``eyes``."""
        chosen = np.arange(len(self.eye)) if eyes is None else np.flatnonzero(eyes)
        first, second = np.triu_indices(len(chosen), 1)
        return chosen[first], chosen[second]

    def training(self, eyes: npt.NDArray[np.bool_] | None = None) -> TrainingScores:
        """Every pair, within some of the eyes or all."""
        first, second = self.pairs(eyes)
        mated = self.eye[first] == self.eye[second]
        raw = self.raw[first, second]
        subjects = np.stack([self.eye[first], self.eye[second]], axis=1)
        return TrainingScores("CASIA-IrisV1, 54 eyes", raw[mated], raw[~mated], subjects[~mated])


def fit_irises(irises: Irises, eyes: npt.NDArray[np.bool_] | None = None) -> Calibration:
    """On all pairs of images of some of the eyes, or of all."""
    return fitted([irises.training(eyes)], f"iris-{IRIS_MODEL}")


def describe(name: str, calibration: Calibration, figures: Figures) -> None:
    """Print the curve and put it among the figures."""
    figures.update(
        {f"{name}_{part}": getattr(calibration, part) for part in ("slope", "offset", "minimum", "maximum")}
    )
    if calibration.equal_minimum is not None:
        figures[f"{name}_equal_minimum"] = calibration.equal_minimum
    print(
        f"{name}: LLR = {calibration.slope:.4g} * raw {calibration.offset:+.4g}, "
        f"from {calibration.minimum:.2f}"
        + ("" if calibration.equal_minimum is None else f" ({calibration.equal_minimum:.2f} times balance)")
        + f" to {calibration.maximum:.2f}; {calibration.non_mated}"
    )


if __name__ == "__main__":
    main()
