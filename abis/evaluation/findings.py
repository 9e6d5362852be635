# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, whatever it began with: one object that text, JSON and report are made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.evaluation.datasets import FailureToAcquire
from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.intervals import Estimate
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.scores import FAILED, Scores
from abis.evaluation.summary import Summary, summarise
from abis.evaluation.thresholds import promises
from abis.scoring.calibration import Calibration
from abis.template import Template

__all__ = ["DISCARDED", "Accuracy", "Findings", "Pair", "Protocol", "assess", "extremes", "pairs_of"]

DISCARDED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Parts of the mated comparisons that are discarded at most, by their quality."""

_A_TENTH = 0.1
_WORST = 10  # pairs of a kind
_PART = 1 << 20


@dataclass(frozen=True)
class Pair:
    """One comparison among the worst.

    Attributes:
        probe, reference: names of the samples.
        mated: what is true.
        score: log10 likelihood ratio where the findings' ``calibrated``, else the score given.
        templates: of probe and reference, where they may be drawn.
    """

    probe: str
    reference: str
    mated: bool
    score: float
    templates: tuple[Template | None, Template | None] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Protocol:
    """Which comparisons were made, and their error rates."""

    name: str
    summary: Summary


@dataclass(frozen=True)
class Accuracy:
    """The part of pairs decided right over the folds of a protocol such as LFW's, a fraction."""

    mean: float
    standard_error: float
    folds: int


@dataclass(frozen=True, eq=False)
class Findings:
    """Error rates of a data set, and what else was seen.

    Attributes:
        name: of the data set.
        compared: what was compared with what, a clause for people.
        unit: what the bootstrap drew: "fingers", "subjects" or "comparisons".
        samples: templates or images, failed ones included; None where nobody says.
        subjects: whose they are; None likewise.
        from_files: whether each sample was a file of its own, that could fail to be read.
        failures: samples without a template, and why.
        ignored: names of files left alone.
        protocols: the main one first.
        calibrated: whether scores are log10 likelihood ratios.
        cllr: bits, of the main protocol's likelihood ratios; None where scores are not.
        min_cllr: bits; see :func:`abis.evaluation.min_cllr`.
        identification: the rates of 1:N searches, where they can be had.
        accuracy: where the pairs come in folds.
        discard: whether the templates' quality predicts error in the main protocol, where they state one.
        worst: up to ten mated pairs that score lowest, then ten non-mated that score highest.
    """

    name: str
    compared: str
    unit: str
    samples: int | None
    subjects: int | None
    from_files: bool
    failures: tuple[FailureToAcquire, ...]
    ignored: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    calibrated: bool
    cllr: float | None
    min_cllr: float
    identification: IdentificationRates | None = None
    accuracy: Accuracy | None = None
    discard: ErrorVersusDiscard | None = None
    worst: tuple[Pair, ...] = ()

    @property
    def main(self) -> Summary:
        """The error rates of the main protocol."""
        return self.protocols[0].summary

    def figures(self) -> dict[str, object]:
        """All figures, for JSON."""
        return {
            "name": self.name,
            "samples": self.samples,
            self.unit if self.unit != "comparisons" else "subjects": self.subjects,
            "failures": [{"name": failure.name, "reason": failure.reason} for failure in self.failures],
            "ignored": list(self.ignored),
            **{
                protocol.name.lower().replace(" ", "_"): _rates(protocol.summary)
                for protocol in self.protocols
            },
            "cllr_bits": self.cllr,
            "min_cllr_bits": self.min_cllr,
            "identification": None if self.identification is None else _searches(self.identification),
            "accuracy": None
            if self.accuracy is None
            else {
                "mean_percent": 100 * self.accuracy.mean,
                "standard_error_percent": 100 * self.accuracy.standard_error,
                "folds": self.accuracy.folds,
            },
            "error_versus_discard": None if self.discard is None else _discards(self.discard),
            "worst_pairs": [
                {"probe": p.probe, "reference": p.reference, "mated": p.mated, "score": p.score}
                for p in self.worst
            ],
        }

    def __str__(self) -> str:
        """A table for people."""
        return "\n".join([*self._head(), "", *self._rates(), "", *self._notes()])

    def _head(self) -> Iterator[str]:
        if self.samples is None:
            yield f"{self.name}: {self.main.mated + self.main.non_mated:,} comparisons"
            return
        yield f"{self.name}: {self.samples:,} samples of {self.subjects:,} {self.unit}"
        if self.from_files:
            yield f"{len(self.failures):,} of them failed to be read"
            yield f"{len(self.ignored):,} other files ignored"

    def _rates(self) -> Iterator[str]:
        summaries = [protocol.summary for protocol in self.protocols]
        yield f"{'':22}" + "".join(f"{protocol.name:>26}" for protocol in self.protocols)
        rows = [
            ("mated", [f"{side.mated:,}" for side in summaries]),
            ("  of them failed", [f"{side.mated_failed:,}" for side in summaries]),
            ("non-mated", [f"{side.non_mated:,}" for side in summaries]),
            ("  of them failed", [f"{side.non_mated_failed:,}" for side in summaries]),
            ("EER", [str(side.eer) for side in summaries]),
            ("FMR100  (FMR <= 1 %)", [str(side.fmr100) for side in summaries]),
            ("FMR1000 (FMR <= 0.1 %)", [str(side.fmr1000) for side in summaries]),
            ("ZeroFMR (FMR = 0)", [str(side.zero_fmr) for side in summaries]),
        ]
        for name, cells in rows:
            yield f"{name:22}" + "".join(f"{cell:>26}" for cell in cells)
        if (found := self.identification) is not None:
            yield ""
            yield f"{found.mated:,} searches among {found.gallery_size:,} {self._enrolled}, {_without(found)}"
            yield f"{'FNIR, rank 1':22}{found.rank_1!s:>26}"
            for row in found.fnir_at:
                limit = f"FPIR <= {100 * row.wanted:g} %" if row.wanted else "FPIR = 0"
                yield f"{f'  at {limit}':22}{row.fnir!s:>26}"

    @property
    def _enrolled(self) -> str:
        return "subjects" if self.unit == "comparisons" else self.unit

    def _notes(self) -> Iterator[str]:
        if self.accuracy is not None:
            mean, error = 100 * self.accuracy.mean, 100 * self.accuracy.standard_error
            yield f"Accuracy over {self.accuracy.folds} folds: {mean:.2f} % (standard error {error:.2f})."
        yield f"FNMR at the FMR named; [ ]: 95 % interval by bootstrap over {self.unit}."
        if self.cllr is not None:
            yield f"Likelihood ratios: Cllr {self.cllr:.3f} bits, at best {self.min_cllr:.3f}."
        else:
            yield f"Scores of unknown scale: Cllr of the best likelihood ratios they can give {self.min_cllr:.3f}."
        if self.discard is not None:
            first, left = (100 * self.discard.at(part) for part in (0, _A_TENTH))
            yield f"Quality: without the lowest {100 * _A_TENTH:g} %, an FNMR of {first:.1f} % becomes {left:.1f} %."
        yield from (f"failed: {failure.name}: {failure.reason}" for failure in self.failures)


def assess(
    name: str, scores: Scores, *, calibrated: bool, calibration: Calibration | None, seed: int
) -> tuple[Protocol, float | None, float]:
    """A protocol's error rates, and Cllr (None where scores are not calibrated) and least Cllr.

    ``calibration`` is what made the scores, where that is known.
    """
    summary = summarise(scores, seed=seed, promises=promises(calibration) if calibrated else ())
    made = [
        kind[np.searchsorted(kind, FAILED, side="right") :]
        for kind in (summary.rates.mated, summary.rates.non_mated)
    ]
    if not all(len(kind) for kind in made):
        return Protocol(name, summary), None, 1.0
    return Protocol(name, summary), cllr(*made) if calibrated else None, min_cllr(*made)


def extremes(scores: Scores, rates: ErrorRates) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The comparisons among the lowest mated and the highest non-mated scores, the worst first.

    Failed comparisons are not among them: they are listed with their reason.
    """
    made = rates.mated[np.searchsorted(rates.mated, FAILED, side="right") :]
    lowest = made[: _WORST + 1][-1:].max(initial=FAILED)
    highest = rates.non_mated[-_WORST:].min()
    found: tuple[list[npt.NDArray[np.int64]], list[npt.NDArray[np.int64]]] = ([], [])
    for start in range(0, len(scores), _PART):
        score = scores.score[start : start + _PART]
        mated = scores.probe_subject[start : start + _PART] == scores.reference_subject[start : start + _PART]
        found[0].append(start + np.flatnonzero(mated & (score <= lowest) & (score > FAILED)))
        found[1].append(start + np.flatnonzero(~mated & (score >= highest) & (score > FAILED)))
    low, high = (np.concatenate(parts) for parts in found)
    return (
        low[np.argsort(scores.score[low], kind="stable")][:_WORST],
        high[np.argsort(-scores.score[high], kind="stable")][:_WORST],
    )


def _without(found: IdentificationRates) -> str:
    taken = ", their own taken out" if found.gallery_size_without_mate < found.gallery_size else ""
    return f"{found.non_mated:,} for somebody not there{taken}"


def _estimate(name: str, estimate: Estimate) -> dict[str, float | int]:
    return {
        f"{name}_percent": 100 * estimate.value,
        f"{name}_low_percent": 100 * estimate.low,
        f"{name}_high_percent": 100 * estimate.high,
    }


def _rates(summary: Summary) -> dict[str, Any]:
    rates: dict[str, Any] = {
        name: getattr(summary, name) for name in ("mated", "non_mated", "mated_failed", "non_mated_failed")
    }
    for name in ("eer", "fmr100", "fmr1000", "zero_fmr"):
        rates |= _estimate(name, getattr(summary, name))
    rates["fnmr_at"] = [
        {"fmr_wanted": row.wanted, "fmr": row.fmr, "threshold": row.threshold} | _estimate("fnmr", row.fnmr)
        for row in summary.fnmr_at
    ]
    rates["thresholds"] = [
        {
            "wanted": str(claim.promise),
            "rate": claim.promise.rate,
            "gallery_size": claim.promise.gallery_size,
            "threshold": claim.promise.threshold,
        }
        | _estimate("fmr", claim.fmr)
        | _estimate("fnmr", claim.fnmr)
        for claim in summary.claims
    ]
    return rates


def _discards(curve: ErrorVersusDiscard) -> list[dict[str, float]]:
    places = sorted({curve.place(part) for part in DISCARDED})
    return [
        {
            "discarded_percent": 100 * float(curve.discarded[place]),
            "lowest_quality": float(curve.quality[place]),
            "fnmr_percent": 100 * float(curve.fnmr[place]),
        }
        for place in places
        if np.isfinite(curve.quality[place])  # JSON has no infinity; with failures in, there is no quality
    ]


def _searches(found: IdentificationRates) -> dict[str, Any]:
    return {
        "gallery_size": found.gallery_size,
        "gallery_size_without_mate": found.gallery_size_without_mate,
        "mated_searches": found.mated,
        "non_mated_searches": found.non_mated,
        "list_length": found.list_length,
        **_estimate("fnir_rank_1", found.rank_1),
        "fnir_at": [
            {"rank": row.rank, "fpir_wanted": row.wanted, "fpir": row.fpir, "threshold": row.threshold}
            | _estimate("fnir", row.fnir)
            for row in found.fnir_at
        ],
        "cmc_percent": (100 * found.cmc.hits).tolist(),
    }


def pairs_of(
    names: Sequence[str],
    templates: Sequence[Template | None] | None,
    samples_of: Callable[[int], tuple[int, int]],
    scores: Scores,
    rates: ErrorRates,
) -> tuple[Pair, ...]:
    """The worst pairs.

    Args:
        names: of the samples.
        templates: of the samples, where they may be drawn.
        samples_of: gives the samples of probe and reference of a comparison.
        scores: of all comparisons.
        rates: of the same.
    """
    found = []
    for mated, places in zip((True, False), extremes(scores, rates), strict=True):
        for place in places.tolist():
            probe, reference = samples_of(place)
            both = None if templates is None else (templates[probe], templates[reference])
            found.append(Pair(names[probe], names[reference], mated, float(scores.score[place]), both))
    return tuple(found)
