# SPDX-License-Identifier: Apache-2.0
"""Irises from image to decision on CASIA-IrisV1: 54 eyes, seven images each, every pair of images.

Calibrations are fitted on one half of the eyes and measured on the other, both ways round. The constants of the
extraction were chosen with all of these eyes in view; benchmarks/fitting/fit_irises.py chooses them on one half and
measures on the other.

Irises are then fused with fingers and faces, of people put together by chance: each has an eye of CASIA-IrisV1, a
finger of the FVC sets (templates by LEADER) and a face of Labeled Faces in the Wild, with seven captures of each.
Scores are sums of log likelihood ratios by the shipped calibrations, for irises by the calibration of the other half
of the eyes.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt

from abis.comparison import balance, raw_scores
from abis.evaluation import cllr, min_cllr
from abis.evaluation.error_rates import ErrorRates
from abis.formats import read_file
from abis.scoring.calibration import Calibration, shipped
from abis.template import Position
from benchmarks.fitting.fit_calibration import Irises, fit_irises
from benchmarks.lib.common import ONE_FINGER_IN_TWO_SETS, SETS, optional, options, public_data, write
from benchmarks.lib.lfw import MODEL, read_lfw

DRAWS = 200

Floats = npt.NDArray[np.floating]
Chosen = npt.NDArray[np.bool_]


def main() -> None:
    """Extract, compare, print."""
    arguments = options(__doc__ or "").parse_args()
    irises = Irises(public_data())
    figures: dict[str, float | int | str] = {
        "images": len(irises.eye) + len(irises.failed),
        "failures_to_extract": len(irises.failed),
        "mean_visible_percent": round(float(irises.quality.mean()), 1),
    }
    halves = {"all": irises.eye > 0, "odd eyes": irises.eye % 2 == 1, "even eyes": irises.eye % 2 == 0}
    for name, eyes in halves.items():
        figures |= {f"{name} {key}": value for key, value in rates(irises, eyes, arguments.seed).items()}
    for fitted_on, measured_on in (("odd eyes", "even eyes"), ("even eyes", "odd eyes")):
        calibration = fit_irises(irises, halves[fitted_on])
        found = promises(irises, halves[measured_on], calibration)
        figures |= {f"{measured_on}, calibrated on {fitted_on}: {key}": value for key, value in found.items()}
    with optional("fusion", figures):
        figures |= fused(irises, {key: fit_irises(irises, eyes) for key, eyes in halves.items()}, halves)
    for key, value in figures.items():
        print(f"{key}: {value}")
    write(arguments.json, figures, seed=arguments.seed)


def rates(irises: Irises, eyes: Chosen, seed: int) -> dict[str, float | int]:
    """Error rates of raw scores, per cent, with 95 % intervals by drawing eyes with replacement."""
    first, second = irises.pairs(eyes)
    mated = irises.eye[first] == irises.eye[second]
    raw = irises.raw[first, second]
    found = _rates(raw[mated], raw[~mated])
    figures: dict[str, float | int] = {
        "mated pairs": int(mated.sum()),
        "non-mated pairs": int((~mated).sum()),
    }
    rng = np.random.default_rng(seed)
    names = np.unique(irises.eye[eyes])
    drawn = []
    for _ in range(DRAWS):
        times = np.bincount(rng.choice(names, len(names)), minlength=int(names.max()) + 1)
        weight = times[irises.eye[first]] * np.where(mated, 1, times[irises.eye[second]])
        drawn.append(_rates(np.repeat(raw[mated], weight[mated]), np.repeat(raw[~mated], weight[~mated])))
    for key, value in found.items():
        low, high = np.percentile([each[key] for each in drawn], (2.5, 97.5))
        figures |= {
            key: round(value, 3),
            f"{key}, low": round(float(low), 3),
            f"{key}, high": round(float(high), 3),
        }
    return figures


def _rates(mated: Floats, non_mated: Floats) -> dict[str, float]:
    found = ErrorRates(mated, non_mated)
    figures = {"EER %": 100 * found.eer}
    for fmr in (1e-2, 1e-3, 1e-4):
        figures[f"FNMR % at FMR {fmr:g}"] = 100 * found.at_fmr(fmr).fnmr
    return figures


def promises(irises: Irises, eyes: Chosen, calibration: Calibration) -> dict[str, float]:
    """What a calibration is worth on eyes that it was not fitted on."""
    first, second = irises.pairs(eyes)
    mated = irises.eye[first] == irises.eye[second]
    llr = calibration.llr(irises.raw[first, second])
    return {
        "Cllr": round(float(cllr(llr[mated], llr[~mated])), 4),
        "least Cllr": round(float(min_cllr(llr[mated], llr[~mated])), 4),
        "non-mated above LLR 3, per million": round(1e6 * float((llr[~mated] > 3).mean()), 1),
    }


def fused(
    irises: Irises, calibrations: dict[str, Calibration], halves: dict[str, Chosen]
) -> dict[str, float | int | str]:
    """Error rates of irises, fingers and faces, alone and together, each half of the people by itself, pooled."""
    names, person = np.unique(irises.eye, return_inverse=True)
    order = np.array([int((person[:n] == person[n]).sum()) for n in range(len(person))])  # 0 to 6
    fingers = finger_scores(person, order)
    faces = face_scores(person, order)
    parts: dict[str, list[tuple[Floats, Floats]]] = {}
    for measured_on, fitted_on in (("odd eyes", "even eyes"), ("even eyes", "odd eyes")):
        first, second = irises.pairs(halves[measured_on])
        mated = irises.eye[first] == irises.eye[second]
        own = {
            "iris": calibrations[fitted_on].llr(irises.raw[first, second]),
            "finger": fingers[first, second],
            "face": faces[first, second],
        }
        for size in (1, 2, 3):
            for chosen in combinations(own, size):
                score = np.sum([own[name] for name in chosen], axis=0)
                parts.setdefault(" + ".join(chosen), []).append((score[mated], score[~mated]))
    figures: dict[str, float | int | str] = {"chimeric people": len(names)}
    for name, halves_of in parts.items():
        mated, non_mated = (np.concatenate(side) for side in zip(*halves_of, strict=True))
        figures |= {
            f"fused {name}: {key}": round(value, 3) for key, value in _rates(mated, non_mated).items()
        }
        for limit in (3.0, 4.0):
            figures[f"fused {name}: non-mated at LLR {limit:g} or more, per million"] = round(
                1e6 * float((non_mated >= limit).mean()), 1
            )
            figures[f"fused {name}: mated below LLR {limit:g}, %"] = round(
                100 * float((mated < limit).mean()), 3
            )
    figures["fused pairs, mated"] = len(mated)
    figures["fused pairs, non-mated"] = len(non_mated)
    return figures


def finger_scores(person: npt.NDArray[np.intp], capture: npt.NDArray[np.intp]) -> Floats:
    """(n, n) log likelihood ratios of a finger of each person, at the given captures."""
    fingers = [
        [
            read_file(public_data("fingerprints", "leader", name, f"{finger}_{impression}.fmr"))[0].at(
                Position.UNKNOWN_FINGER
            )
            for impression in range(1, 8)
        ]
        for name in SETS
        for finger in range(101, 111)
        if (name, str(finger)) not in ONE_FINGER_IN_TWO_SETS[:1]
    ]
    templates = [fingers[p][c] for p, c in zip(person, capture, strict=True)]
    calibration = shipped("minutiae-leader")
    return np.stack([calibration.llr(raw_scores(t, templates), balance(t, templates)) for t in templates])


def face_scores(person: npt.NDArray[np.intp], capture: npt.NDArray[np.intp]) -> Floats:
    """(n, n) log likelihood ratios of the face of each person, at the given captures."""
    lfw = read_lfw(public_data("faces").parent)
    known, counts = np.unique(lfw.person, return_counts=True)
    people = known[counts >= 7]
    rows = np.array(
        [np.flatnonzero(lfw.person == people[p])[c] for p, c in zip(person, capture, strict=True)]
    )
    vectors = lfw.embedding[rows].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return shipped(f"embedding-{MODEL}").llr(vectors @ vectors.T)


if __name__ == "__main__":
    main()
