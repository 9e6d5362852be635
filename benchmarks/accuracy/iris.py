# SPDX-License-Identifier: Apache-2.0
"""Irises from image to decision on CASIA-IrisV1: 54 eyes, seven images each, every pair of images.

Calibrations are fitted on one half of the eyes and measured on the other, both ways round. The constants of the
extraction were chosen with all of these eyes in view, so expect higher errors on others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abis.evaluation import cllr, min_cllr
from abis.evaluation.error_rates import ErrorRates
from abis.scoring.calibration import Calibration
from benchmarks.fitting.fit_calibration import Irises, fit_irises
from benchmarks.lib.common import options, public_data, write

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


if __name__ == "__main__":
    main()
