# SPDX-License-Identifier: Apache-2.0
"""How often comparison errs: fingerprints on the FVC "B" sets by three extractors, faces on LFW."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import EXTRACTORS, SETS, data_folder, options, print_table, write
from lfw import all_scores, corrected, read_lfw, verification_accuracy

from abis.evaluation import (
    ErrorRates,
    Estimate,
    Evaluation,
    Summary,
    evaluate_folder,
    mean_estimate,
    pooled,
    summarise,
)
from abis.evaluation.folder import compare_samples
from abis.evaluation.intervals import bootstrap

MEASURES = ("eer", "fmr100", "fmr1000", "zero_fmr")
LFW_FMRS = (1e-3, 1e-4, 1e-5)

BEST_OPEN = {
    "leader": {"mean_eer": 2.0, "mean_fmr1000": 3.5, "pooled_eer": 2.1, "pooled_fmr100": 2.6}
    | {"pooled_fmr1000": 4.8, "pooled_zero_fmr": 7.5},
    "fingerjetfx": {"mean_eer": 5.5, "pooled_eer": 6.6, "pooled_fmr100": 11.2, "pooled_fmr1000": 17.9}
    | {"pooled_zero_fmr": 23.6},
    "mindtct": {"mean_eer": 6.2, "pooled_eer": 6.9, "pooled_fmr100": 11.2, "pooled_fmr1000": 18.3}
    | {"pooled_zero_fmr": 28.8},
}
"""The best of OpenAFIS, bozorth3, SourceAFIS 3.18 and MCC (LSSR, mpi-afis) on the same templates and pairs,
all against all, in %: MCC everywhere, but SourceAFIS for ZeroFMR. (bozorth3 has an EER of 6.8 on mindtct.)"""

Figures = dict[str, float | int | str]


def main() -> None:
    """Parse, measure, print, write."""
    parser = options(__doc__ or "")
    parser.add_argument("--extractor", choices=[*EXTRACTORS, "all"], default="all")
    parser.add_argument("--no-lfw", action="store_true", help="fingerprints only: faces take a minute")
    arguments = parser.parse_args()
    data = data_folder()
    extractors = EXTRACTORS if arguments.extractor == "all" else (arguments.extractor,)
    figures: Figures = {}
    evaluations = {extractor: evaluate_sets(data, extractor, arguments.seed) for extractor in extractors}
    for extractor, sets in evaluations.items():
        report_sets(extractor, sets, figures, arguments.seed)
        report_worst_pairs(extractor, sets)
    if len(extractors) > 1:
        report_across_extractors(evaluations, figures)
    figures["raw_scores_sha256"] = checksum([one.raw for sets in evaluations.values() for one in sets])
    print(f"SHA-256 of all raw scores: {figures['raw_scores_sha256']}")
    if not arguments.no_lfw:
        report_lfw(data, figures, arguments.seed)
    write(arguments.json, figures, seed=arguments.seed)


def evaluate_sets(data: Path, extractor: str, seed: int) -> list[Evaluation]:
    """Every set of one extractor; each with draws of its own, since their fingers are different ones."""
    folder = data / "fingerprints" / extractor
    return [evaluate_folder(folder / name, seed=seed + i) for i, name in enumerate(SETS)]


def report_sets(extractor: str, sets: Sequence[Evaluation], figures: Figures, seed: int) -> None:
    """Error rates of each set, their means, and those at one threshold for all sets, beside the best open."""
    for protocol, prefix, summaries, scores in (
        ("all against all", "", [one.all_against_all for one in sets], [one.scores() for one in sets]),
        (
            "FVC protocol",
            "fvc_",
            [one.fvc_protocol for one in sets],
            [one.scores().select(one.fvc) for one in sets],
        ),
    ):
        lines = {name: estimates(summary) for name, summary in zip(SETS, summaries, strict=True)}
        means = {m: mean_estimate([line[m] for line in lines.values()]) for m in MEASURES}
        together = summarise(pooled(scores), seed=seed)
        lines |= {"mean": means, "pooled": estimates(together)}
        for name, line in lines.items():
            for measure, estimate in line.items():
                record(figures, f"{extractor}_{name}_{prefix}{measure}", estimate)
        rows = [(name, *line.values()) for name, line in lines.items()]
        if not prefix:
            rows += [(f"best open, {kind}", *best_open(extractor, kind)) for kind in ("mean", "pooled")]
        failed = sum(len(one.data_set.failures) for one in sets)
        print_table(
            f"{extractor}, {protocol}: {together.mated:,} mated and {together.non_mated:,} non-mated pairs",
            ["set", "EER", "FMR100", "FMR1000", "ZeroFMR"],
            rows,
            note=f"[ ]: 95 % interval, bootstrap over fingers. Pooled: one threshold. {failed} files failed.",
        )
    for name in ("cllr", "min_cllr"):
        figures[f"{extractor}_mean_{name}_bits"] = float(np.mean([getattr(one, name) for one in sets]))
    print(
        f"{extractor}: mean Cllr {figures[f'{extractor}_mean_cllr_bits']:.3f} bits, at best "
        f"{figures[f'{extractor}_mean_min_cllr_bits']:.3f} (the shipped calibration, fitted on these sets)\n"
    )


def estimates(summary: Summary) -> dict[str, Estimate]:
    """The measures of a summary by name."""
    return {measure: getattr(summary, measure) for measure in MEASURES}


def record(figures: Figures, name: str, estimate: Estimate) -> None:
    """Put an estimate and its interval among the figures, in %."""
    figures[f"{name}_percent"] = 100 * estimate.value
    figures[f"{name}_percent_low"] = 100 * estimate.low
    figures[f"{name}_percent_high"] = 100 * estimate.high


def best_open(extractor: str, kind: str) -> list[str]:
    """What is known of :data:`BEST_OPEN`, measure by measure."""
    known = BEST_OPEN[extractor]
    return [f"{known[key]} %" if (key := f"{kind}_{measure}") in known else "" for measure in MEASURES]


def report_worst_pairs(extractor: str, sets: Sequence[Evaluation]) -> None:
    """The ten mated pairs that look least alike, and the ten non-mated ones that look most alike."""
    raw = np.concatenate([one.raw for one in sets])
    mated = np.concatenate([one.mated for one in sets])
    names = [
        (f"{name} {one.data_set.samples[probe].name}", one.data_set.samples[reference].name, score)
        for name, one in zip(SETS, sets, strict=True)
        for probe, reference, score in zip(one.probe, one.reference, one.score, strict=True)
    ]
    order = np.argsort(raw, kind="stable")
    lowest = order[mated[order]][:10]
    highest = order[~mated[order]][::-1][:10]
    print_table(
        f"{extractor}: worst pairs",
        ["mated", "reference", "raw", "LLR", "non-mated", "reference", "raw", "LLR"],
        [
            (
                *names[i][:2],
                f"{raw[i]:.3f}",
                f"{names[i][2]:.2f}",
                *names[j][:2],
                f"{raw[j]:.3f}",
                f"{names[j][2]:.2f}",
            )
            for i, j in zip(lowest, highest, strict=True)
        ],
    )


def report_across_extractors(evaluations: dict[str, list[Evaluation]], figures: Figures) -> None:
    """Mean EER with the probe's minutiae by one extractor and the reference's by another."""
    rows = []
    for probe_extractor, probe_sets in evaluations.items():
        row = [probe_extractor]
        for reference_extractor, reference_sets in evaluations.items():
            eers = []
            for probes, references in zip(probe_sets, reference_sets, strict=True):
                raw = compare_samples(
                    [sample.template for sample in probes.data_set.samples],
                    [sample.template for sample in references.data_set.samples],
                )
                eers.append(ErrorRates(raw[probes.mated], raw[~probes.mated]).eer)
            mean = 100 * float(np.mean(eers))
            figures[f"cross_{probe_extractor}_{reference_extractor}_mean_eer_percent"] = mean
            row.append(f"{mean:.2f} %")
        rows.append(row)
    print_table("mean EER across extractors", ["probe \\ reference", *evaluations], rows)


def checksum(scores: Sequence[npt.NDArray[np.float32]]) -> str:
    """SHA-256 of raw scores, little-endian: what a change that should change nothing leaves as it is."""
    return hashlib.sha256(b"".join(part.astype("<f4").tobytes() for part in scores)).hexdigest()


def report_lfw(data: Path, figures: Figures, seed: int) -> None:
    """LFW's own protocol, and all pairs of images, with the labels as they are and with notes applied."""
    lfw = read_lfw(data)
    accuracy = 100 * verification_accuracy(lfw, data)
    figures["lfw_accuracy_percent"] = float(accuracy.mean())
    figures["lfw_accuracy_percent_standard_error"] = float(accuracy.std(ddof=1) / np.sqrt(len(accuracy)))
    rows = []
    as_labelled = all_scores(lfw)
    for name, scores in (
        ("labels as they are", as_labelled),
        ("label notes applied", corrected(as_labelled, lfw, data)),
    ):
        mated = scores.mated
        rates = ErrorRates(scores.score[mated], scores.score[~mated])
        replicates = bootstrap(scores, seed=seed)
        row = [name, f"{len(rates.mated):,}", f"{len(rates.non_mated):,}"]
        for fmr in LFW_FMRS:
            estimate = Estimate(
                value=rates.at_fmr(fmr).fnmr, replicates=replicates.fnmr_at_fmr(fmr), trials=len(rates.mated)
            )
            record(figures, f"lfw_{name.replace(' ', '_')}_fnmr_at_fmr_{fmr:.0e}", estimate)
            row.append(str(estimate))
        rows.append(row)
    print_table(
        f"LFW: ten-fold accuracy {accuracy.mean():.2f} %; every two of {len(lfw.name):,} images:",
        ["", "mated", "non-mated", *(f"FNMR at FMR {fmr:.0e}" for fmr in LFW_FMRS)],
        rows,
        note="[ ]: 95 % interval, bootstrap over people.",
    )


if __name__ == "__main__":
    main()
