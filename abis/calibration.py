# SPDX-License-Identifier: Apache-2.0
"""From raw scores to log10 likelihood ratios, and from wanted error rates to thresholds on them.

A likelihood ratio of 10**6 says: this raw score is a million times likelier where both templates are of
one subject. Evidence on one such scale can be added, and thresholds follow from error rates.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from abis.comparison import raw_scores
from abis.errors import FormatError
from abis.template import Embedding, Minutiae, Template

__all__ = [
    "Calibration",
    "Provenance",
    "bent_line",
    "compare",
    "default_calibration",
    "threshold_for_fmr",
    "threshold_for_fpir",
]

_FORMAT = "abis calibration"
_VERSION = 1
_BEND = 2 * math.log10(2)
"""Width of the bends at both ends, decades: there the curve is as far from both its asymptotes as
log10(10**a + 10**b) is from a and b where a = b, the curve of a mixture of two likelihoods."""


@dataclass(frozen=True)
class Provenance:
    """Where a calibration comes from.

    Attributes:
        data: names of the sets of scores, which weighed the same.
        mated, non_mated: scores in all of them.
        date: of the fit, ISO 8601.
        software: name and version of what made the raw scores.
        script: how to fit it again.
    """

    data: tuple[str, ...]
    mated: int
    non_mated: int
    date: str
    software: str
    script: str


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing map from raw scores to log10 likelihood ratios (LLR).

    A line, ``slope * raw + offset``, as logistic regression finds it, that bends into ``minimum`` far below
    and into ``maximum`` far above, which it never quite reaches: so ranks by LLR are ranks by raw score.

    - ``minimum`` is fitted: of some mated pairs too little skin is in common, or the template is poor, and
      they score like non-mated ones; a low score is then no stronger evidence than these are rare.
    - ``maximum`` is set by how much data there was; see :func:`abis.evaluation.fit`.

    Only sums, products, quotients and square roots are used: IEEE 754 rounds these alike everywhere, unlike
    log and exp, so equal raw scores are equal LLRs, to the bit, on every machine.

    Attributes:
        slope: decades per unit of raw score, above 0.
        offset: LLR of the line at a raw score of 0.
        minimum: below 0.
        maximum: above 0.
        provenance: what it was fitted on.

    Raises:
        ValueError: where a number is not finite or breaks these rules.
    """

    slope: float
    offset: float
    minimum: float
    maximum: float
    provenance: Provenance

    def __post_init__(self) -> None:
        for name, good, rule in (
            ("slope", self.slope > 0, "above 0"),
            ("offset", True, "a number"),
            ("minimum", self.minimum < 0, "below 0"),
            ("maximum", self.maximum > 0, "above 0"),
        ):
            value = getattr(self, name)
            if not good or not math.isfinite(value):
                raise ValueError(f"{name} is {value}; expected {rule} and finite")

    def llr(self, raw: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """log10 likelihood ratios of raw scores, any shape; NaN (no score) stays NaN."""
        return bent_line(
            np.asarray(raw, dtype=np.float64), self.slope, self.offset, self.minimum, self.maximum
        )

    def to_json(self) -> str:
        """The calibration as JSON text; :meth:`from_json` reads it back to the bit."""
        content = {"format": _FORMAT, "version": _VERSION} | asdict(self)
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            FormatError: naming the first thing that is missing, unknown or out of range.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"calibration is no JSON: {error}") from error
        content = _checked(content, "calibration", {"format": str, "version": int} | _FIELDS)
        if (content["format"], content["version"]) != (_FORMAT, _VERSION):
            raise FormatError(
                f"calibration has format {content['format']!r}, version {content['version']!r}; "
                f"expected {_FORMAT!r}, version {_VERSION}"
            )
        origin = _checked(content["provenance"], "provenance", _PROVENANCE_FIELDS)
        if not all(isinstance(name, str) for name in origin["data"]):
            raise FormatError("provenance: data holds something else than names")
        provenance = Provenance(**origin | {"data": tuple(origin["data"])})
        try:
            numbers = {name: float(content[name]) for name in ("slope", "offset", "minimum", "maximum")}
            return cls(**numbers, provenance=provenance)
        except (ValueError, OverflowError) as error:
            raise FormatError(f"calibration: {error}") from error

    def save(self, path: Path) -> None:
        """Write :meth:`to_json` to a file."""
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file written by :meth:`save`; raises as :meth:`from_json`, naming the file."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except (FormatError, UnicodeDecodeError) as error:
            raise FormatError(f"{path}: {error}") from error


def default_calibration(kind: type[Minutiae] | type[Embedding]) -> Calibration:
    """The calibration shipped for comparisons of this kind of template.

    For embeddings, fitted on one network; another network's cosines have another scale, so fit your own.
    """
    return _shipped("minutiae" if kind is Minutiae else "embedding")


def compare(probe: Template, references: Sequence[Template]) -> npt.NDArray[np.float64]:
    """Compare one probe with references of the same kind: 1:1, or 1:n.

    The references are prepared anew at each call; to search the same ones again and again, enroll them in
    a :class:`abis.Gallery`. Any number of threads may call at once.

    Args:
        probe: minutiae or an embedding.
        references: templates that may be compared with the probe: fingers of the same or an unknown
            position, embeddings of the same position and model.

    Returns:
        (len(references),) float64, calibrated log10 likelihood ratios: 6 means that this much likeness is a
        million times likelier where both templates are of one subject.

    Raises:
        TemplateError: naming the first reference that may not be compared with the probe.

    >>> face = Embedding(vector=[0.6, 0.8, 0.0], model="demo")
    >>> other = Embedding(vector=[-0.8, 0.6, 0.0], model="demo")
    >>> compare(face, [face, other]) >= threshold_for_fmr(1e-6)
    array([ True, False])
    """
    return default_calibration(type(probe)).llr(raw_scores(probe, references))


@cache
def _shipped(name: str) -> Calibration:
    text = files("abis").joinpath("calibrations", f"{name}.json").read_text(encoding="utf-8")
    return Calibration.from_json(text)


def threshold_for_fmr(fmr: float) -> float:
    """The LLR at which at most ``fmr`` of non-mated comparisons match, single or fused: -log10(fmr).

    The mean likelihood ratio of non-mated comparisons is 1, so by Markov's inequality a ratio of 1 / fmr or
    more has a probability of at most fmr, as far as the ratios are calibrated.

    >>> threshold_for_fmr(1e-6)
    6.0
    """
    _check_rate("fmr", fmr)
    return -math.log10(fmr)


def threshold_for_fpir(fpir: float, gallery_size: int) -> float:
    """The LLR at which at most ``fpir`` of searches without a mate return any of ``gallery_size`` subjects.

    The chance that any matches is at most the sum of the chances that each does (union bound), so each
    comparison is allowed an FMR of ``fpir / gallery_size``.

    >>> threshold_for_fpir(1e-3, 1_000_000)
    9.0
    """
    _check_rate("fpir", fpir)
    if gallery_size < 1:
        raise ValueError(f"gallery_size is {gallery_size}; expected at least 1")
    return math.log10(gallery_size) - math.log10(fpir)


def _check_rate(name: str, rate: float) -> None:
    if not 0 < rate <= 1:
        raise ValueError(f"{name} is {rate}; expected a rate above 0 and up to 1")


# --- the curve ------------------------------------------------------------------------------------------


def bent_line(
    raw: npt.NDArray[np.float64], slope: float, offset: float, minimum: float, maximum: float
) -> npt.NDArray[np.float64]:
    """The curve of :class:`Calibration`, from its four numbers."""
    line = slope * raw + offset
    raised = np.maximum(line, minimum) + _rounding(line - minimum)
    return np.asarray(np.minimum(raised, maximum) - _rounding(raised - maximum))


def _rounding(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far a bend stays off the corner, at a signed distance from it: (sqrt(d*d + w*w) - |d|) / 2.

    Written as a quotient, which loses no digits far away; 0 at infinity.
    """
    distance = np.abs(distance)
    return np.asarray((_BEND * _BEND / 2) / (np.sqrt(distance * distance + _BEND * _BEND) + distance))


# --- reading JSON ---------------------------------------------------------------------------------------

_NUMBER = int | float
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(("slope", "offset", "minimum", "maximum"), _NUMBER),
    "provenance": dict,
}
_PROVENANCE_FIELDS: dict[str, Any] = {
    "data": list,
    "mated": int,
    "non_mated": int,
    **dict.fromkeys(("date", "software", "script"), str),
}


def _checked(content: object, what: str, expected: Mapping[str, Any]) -> dict[str, Any]:
    """``content`` as an object of just the expected fields of the expected types, or FormatError."""
    if not isinstance(content, dict):
        raise FormatError(f"{what} is {type(content).__name__}; expected an object")
    for name, kind in expected.items():
        if name not in content:
            raise FormatError(f"{what} has no {name!r}")
        if not isinstance(content[name], kind) or isinstance(content[name], bool):
            raise FormatError(
                f"{what}: {name} is {content[name]!r}; expected {getattr(kind, '__name__', kind)}"
            )
    for name in content:
        if name not in expected:
            raise FormatError(f"{what} has an unknown field {name!r}")
    return content
