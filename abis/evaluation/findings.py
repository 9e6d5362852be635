# SPDX-License-Identifier: Apache-2.0
"""The findings of an evaluation: the one object from which text, JSON and the report are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abis.answers import Answer
from abis.evaluation.datasets import FailureToAcquire
from abis.evaluation.discard import ErrorVersusDiscard
from abis.evaluation.error_rates import ErrorRates
from abis.evaluation.identification import IdentificationRates
from abis.evaluation.intervals import Estimate
from abis.evaluation.likelihood_ratios import cllr, min_cllr
from abis.evaluation.reliability import Reliability
from abis.evaluation.scores import FAILED, Scores
from abis.evaluation.summary import Summary, summarise
from abis.evaluation.thresholds import promises
from abis.scoring.calibration import Calibration
from abis.template import Template
from abis.text import counted

__all__ = [
    "DISCARDED",
    "Accuracy",
    "Findings",
    "Pair",
    "Protocol",
    "assess",
    "extremes",
    "pairs_of",
    "unit_of",
]

DISCARDED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""Fractions of the mated comparisons at which text and report state the error-versus-discard curve."""

_A_TENTH = 0.1
_FEW = 30  # comparisons: where none fails, an error rate of up to 3 / 30 is possible (rule of three, 95 %)
_WORST = 10  # mated pairs and non-mated pairs listed
_PART = 1 << 20
_STEPS_A_DECADE = 200  # of an error rate, in the curves for JSON
_LOWEST_RATE = 1e-12  # in place of 0, which has no logarithm


@dataclass(frozen=True)
class Pair:
    """One of the worst comparisons: a mated pair with a low score or a non-mated pair with a high score.

    Attributes:
        probe: name of the probe's sample.
        reference: name of the reference's sample.
        mated: whether both samples are of one subject.
        score: log10 likelihood ratio if the findings are ``calibrated``; otherwise the raw score.
        templates: templates of probe and reference, for a drawing. None: no templates.
        files: files of probe and reference, for their images. None: the samples are not files.
    """

    probe: str
    reference: str
    mated: bool
    score: float
    templates: tuple[Template | None, Template | None] | None = field(default=None, repr=False)
    files: tuple[Path, Path] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Protocol:
    """A set of comparisons, by the name of its rule, and their error rates.

    Attributes:
        name: name of the rule, such as "FVC protocol".
        summary: error rates of the comparisons.
    """

    name: str
    summary: Summary


@dataclass(frozen=True)
class Accuracy:
    """Accuracy over the folds of a protocol such as LFW's.

    Attributes:
        mean: mean over the folds of the fraction of pairs decided correctly.
        standard_error: standard error of the mean.
        folds: number of folds.
    """

    mean: float
    standard_error: float
    folds: int


@dataclass(frozen=True, eq=False, repr=False)
class Findings(Answer):
    """Error rates of a data set, and further results of its evaluation.

    Attributes:
        name: name of the data set.
        compared: clause that states which samples were compared, for text output.
        unit: unit that the bootstrap draws: "fingers", "eyes", "people", "subjects" or "comparisons".
        samples: number of templates or images, failed ones included. None: unknown.
        subjects: number of subjects of the samples. None: unknown.
        from_files: whether each sample was a file of its own, which could be unreadable.
        failures: samples without a template, with the reasons.
        ignored: names of files that are not part of the data set.
        protocols: error rates of each protocol, the main one first.
        calibrated: whether scores are log10 likelihood ratios.
        cllr: Cllr of the main protocol's likelihood ratios, in bits. None: scores are not likelihood ratios.
        min_cllr: least Cllr of the main protocol's scores, in bits; see :func:`abis.evaluation.min_cllr`.
        identification: error rates of 1:N searches. None: not measured.
        accuracy: accuracy over folds. None: the pairs have no folds.
        discard: error-versus-discard curve of the templates' quality in the main protocol. None: not measured.
        worst: at most ten mated pairs with the lowest scores, then at most ten non-mated pairs with the highest.
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

    @property
    def enrolled(self) -> str:
        """Noun for the subjects: the unit, or "subjects" if the unit is "comparisons"."""
        return "subjects" if self.unit == "comparisons" else self.unit

    def to_dict(self) -> dict[str, Any]:
        """All figures, as :meth:`figures` returns them."""
        return self.figures()

    def rows(self) -> list[dict[str, Any]]:
        """A row for each protocol, with its counts and error rates in per cent."""
        return [
            {"protocol": protocol.name}
            | {name: value for name, value in _rates(protocol.summary).items() if not isinstance(value, list)}
            for protocol in self.protocols
        ]

    def __repr__(self) -> str:
        return f"Findings({self.name!r}: {self.main.mated:,} mated, {self.main.non_mated:,} non-mated)"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to trust the figures, in words: too few comparisons."""
        counts = {"mated": self.main.mated, "non-mated": self.main.non_mated}
        return tuple(
            f"{counted(count, f'{kind} comparison')} only; an error rate below {100 * min(3 / count, 1):.0f} % cannot "
            "be distinguished from 0"
            for kind, count in counts.items()
            if count < _FEW
        )

    def figures(self) -> dict[str, Any]:
        """Return all figures and the points of all curves as a dictionary for JSON."""
        return {
            "name": self.name,
            "samples": self.samples,
            self.enrolled: self.subjects,
            "failures": [{"name": failure.name, "reason": failure.reason} for failure in self.failures],
            "ignored": list(self.ignored),
            "warnings": list(self.warnings),
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
            "error_versus_discard_curve": None
            if self.discard is None
            else {
                "discarded_percent": (100 * self.discard.discarded).tolist(),
                "fnmr_percent": (100 * self.discard.fnmr).tolist(),
            },
            "worst_pairs": [
                {"probe": p.probe, "reference": p.reference, "mated": p.mated, "score": p.score}
                for p in self.worst
            ],
        }

    def __str__(self) -> str:
        """Return the findings as a text table."""
        return "\n".join([*self._head(), "", *self._rates(), "", *self._notes()])

    def _head(self) -> Iterator[str]:
        if self.samples is None:
            yield f"{self.name}: {self.main.mated + self.main.non_mated:,} comparisons"
            return
        yield f"{self.name}: {self.samples:,} samples of {self.subjects:,} {self.unit}"
        if self.from_files:
            yield f"{len(self.failures):,} samples could not be read"
            yield f"{len(self.ignored):,} other files ignored"

    def _rates(self) -> Iterator[str]:
        summaries = [protocol.summary for protocol in self.protocols]
        yield f"{'':22}" + "".join(f"{protocol.name:>26}" for protocol in self.protocols)
        rows = [
            ("mated", [f"{side.mated:,}" for side in summaries]),
            ("  failed", [f"{side.mated_failed:,}" for side in summaries]),
            ("non-mated", [f"{side.non_mated:,}" for side in summaries]),
            ("  failed", [f"{side.non_mated_failed:,}" for side in summaries]),
            ("EER", [str(side.eer) for side in summaries]),
            ("FMR100  (FMR <= 1 %)", [str(side.fmr100) for side in summaries]),
            ("FMR1000 (FMR <= 0.1 %)", [str(side.fmr1000) for side in summaries]),
            ("ZeroFMR (FMR = 0)", [str(side.zero_fmr) for side in summaries]),
        ]
        for name, cells in rows:
            yield f"{name:22}" + "".join(f"{cell:>26}" for cell in cells)
        if (found := self.identification) is not None:
            yield ""
            yield f"{found.mated:,} mated searches in {found.gallery_size:,} {self.enrolled}, {_non_mated(found)}"
            yield f"{'FNIR, rank 1':22}{found.rank_1!s:>26}"
            for row in found.fnir_at:
                limit = f"FPIR <= {100 * row.wanted:g} %" if row.wanted else "FPIR = 0"
                yield f"{f'  at {limit}':22}{row.fnir!s:>26}"

    def _notes(self) -> Iterator[str]:
        if self.accuracy is not None:
            mean, error = 100 * self.accuracy.mean, 100 * self.accuracy.standard_error
            yield f"Accuracy over {self.accuracy.folds} folds: {mean:.2f} % (standard error {error:.2f})."
        yield f"Each FNMR is at the FMR of its row; [ ]: 95 % interval by bootstrap over {self.unit}."
        if self.cllr is not None:
            yield f"Likelihood ratios: Cllr {self.cllr:.3f} bits; least Cllr of these scores {self.min_cllr:.3f}."
        else:
            yield f"Scores are not calibrated; least Cllr after calibration {self.min_cllr:.3f} bits."
        if self.discard is not None:
            first, left = (100 * self.discard.at(part) for part in (0, _A_TENTH))
            yield f"Quality: without the lowest {100 * _A_TENTH:g} %, an FNMR of {first:.1f} % becomes {left:.1f} %."
        yield from (f"Warning: {warning}." for warning in self.warnings)
        yield from (f"failed: {failure.name}: {failure.reason}" for failure in self.failures)


def assess(
    name: str, scores: Scores, *, calibrated: bool, calibration: Calibration | None, seed: int
) -> tuple[Protocol, float | None, float]:
    """Measure the error rates of a protocol, its Cllr and its least Cllr.

    Args:
        name: name of the protocol.
        scores: scores of all comparisons of the protocol.
        calibrated: whether the scores are log10 likelihood ratios.
        calibration: calibration of the scores. None: unknown.
        seed: seed of the bootstrap.

    Returns:
        The protocol; its Cllr in bits, None if the scores are not calibrated or all comparisons of a kind failed; its
        least Cllr in bits.
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
    """Return the places of the lowest mated and of the highest non-mated scores, the worst first.

    Failed comparisons are left out.

    Args:
        scores: scores of all comparisons.
        rates: error rates of the same scores.

    Returns:
        Places in ``scores`` of at most ten mated and at most ten non-mated comparisons.
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


def _non_mated(found: IdentificationRates) -> str:
    left_out = (
        ", with the own subject left out" if found.gallery_size_without_mate < found.gallery_size else ""
    )
    return f"{found.non_mated:,} non-mated{left_out}"


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
    rates["det"] = _det(summary.rates, ("fmr", "fnmr"))
    rates["reliability"] = None if summary.reliability is None else _bins(summary.reliability)
    return rates


def _det(rates: ErrorRates, names: tuple[str, str]) -> dict[str, list[float]]:
    """Return the points of a DET curve, one for each change of a rate by about 1 %."""
    curve = rates.det()
    finite = np.isfinite(curve.threshold)  # JSON has no infinity
    columns = np.array([curve.threshold, curve.fmr, curve.fnmr])[:, finite]
    steps = np.floor(_STEPS_A_DECADE * np.log10(np.maximum(columns[1:], _LOWEST_RATE)))
    kept = np.append(True, (np.diff(steps, axis=1) != 0).any(axis=0))
    threshold, fmr, fnmr = columns[:, kept].tolist()
    return {
        "threshold": threshold,
        f"{names[0]}_percent": [100 * rate for rate in fmr],
        f"{names[1]}_percent": [100 * rate for rate in fnmr],
    }


def _bins(reliability: Reliability) -> list[dict[str, float | int | None]]:
    """Return the bins of the reliability figure; None where there is no bound."""
    columns = {
        "claimed_lowest": reliability.lowest,
        "claimed_highest": reliability.highest,
        "observed": reliability.observed,
        "observed_low": reliability.low,
        "observed_high": reliability.high,
    }
    return [
        {name: float(column[k]) if np.isfinite(column[k]) else None for name, column in columns.items()}
        | {"mated": int(reliability.mated[k]), "non_mated": int(reliability.non_mated[k])}
        for k in range(len(reliability.lowest))
    ]


def _discards(curve: ErrorVersusDiscard) -> list[dict[str, float]]:
    places = sorted({curve.place(part) for part in DISCARDED})
    return [
        {
            "discarded_percent": 100 * float(curve.discarded[place]),
            "lowest_quality": float(curve.quality[place]),
            "fnmr_percent": 100 * float(curve.fnmr[place]),
        }
        for place in places
        if np.isfinite(
            curve.quality[place]
        )  # JSON has no infinity, the quality where failed samples are kept
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
        "det": _det(found.rates, ("fpir", "fnir")),
    }


def pairs_of(
    names: Sequence[str],
    templates: Sequence[Template | None] | None,
    samples_of: Callable[[int], tuple[int, int]],
    scores: Scores,
    rates: ErrorRates,
    *,
    files: Sequence[Path] | None = None,
) -> tuple[Pair, ...]:
    """Return the worst pairs: the lowest mated scores, then the highest non-mated scores.

    Args:
        names: names of all samples.
        templates: templates of all samples, for drawings. None: no drawings.
        samples_of: function from the place of a comparison to the places of its probe and reference in ``names``.
        scores: scores of all comparisons.
        rates: error rates of the same scores.
        files: files of all samples. None (default): the samples are not files.
    """
    found = []
    for mated, places in zip((True, False), extremes(scores, rates), strict=True):
        for place in places.tolist():
            probe, reference = samples_of(place)
            both = None if templates is None else (templates[probe], templates[reference])
            paths = None if files is None else (files[probe], files[reference])
            found.append(Pair(names[probe], names[reference], mated, float(scores.score[place]), both, paths))
    return tuple(found)


def unit_of(templates: Iterable[Template | None]) -> str:
    """Return what the subjects of a data set are: "fingers", "eyes", or "people" for other samples of people.

    Args:
        templates: templates of all samples; None for a failed sample.
    """
    positions = {template.position for template in templates if template is not None}
    if positions and all(position.is_finger for position in positions):
        return "fingers"
    return "eyes" if positions and all(position.is_eye for position in positions) else "people"
