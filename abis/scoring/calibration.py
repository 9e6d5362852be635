# SPDX-License-Identifier: Apache-2.0
"""From raw scores to log10 likelihood ratios, and how often non-mated comparisons reach one.

A likelihood ratio of 10**6 says: this raw score is a million times likelier where both templates are of
one subject. Evidence on one such scale can be added; :mod:`abis.scoring.thresholds` finds the sum at which to decide.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from abis.comparison import balance as balance_of
from abis.comparison import raw_scores
from abis.comparison.kind import Kind
from abis.errors import FormatError
from abis.template import Template

__all__ = [
    "MINUTIAE",
    "STEPS_A_DECADE",
    "Calibration",
    "Calibrations",
    "NonMated",
    "Provenance",
    "bent_line",
    "compare",
    "kind_of",
    "shipped",
    "shipped_names",
]

STEPS_A_DECADE = 64
"""Rates of non-mated scores are kept at LLRs that are multiples of 1/64: exact in binary, so sums of them are."""

MINUTIAE = "minutiae"
"""The kind of minutiae of which no extractor is known, or of different ones."""

_FORMAT = "abis calibration"
_VERSION = 3
_READ_VERSIONS = (2, 3)
"""Version 2 knew nothing of balance, and its rates were the limits."""
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
class NonMated:
    """How often comparisons of different subjects reach an LLR.

    Attributes:
        start: the first LLR of the table, in steps of 1 / :data:`STEPS_A_DECADE`.
        rates: ``rates[k]`` is at least the part of non-mated comparisons whose LLR is ``start + k`` steps or
            more. They start at 1 and do not rise; past the last, none.
        limits: as long as ``rates``, none below its rate: the one-sided 95 % limits of what was not counted.
        counted: down to this rate, rates were counted; lower ones are those of a tail fitted to the highest scores.
        pairs: non-mated comparisons they come from.

    Raises:
        ValueError: where the rates break these rules.
    """

    start: int
    rates: tuple[float, ...]
    limits: tuple[float, ...]
    counted: float
    pairs: int

    def __post_init__(self) -> None:
        rates = np.array(self.rates, np.float64)
        if not (len(rates) and rates[0] == 1 and rates[-1] > 0 and (np.diff(rates) <= 0).all()):
            raise ValueError("non_mated: rates do not fall from 1 to above 0")
        limits = np.array(self.limits, np.float64)
        if not (len(limits) == len(rates) and (limits >= rates).all() and (np.diff(limits) <= 0).all()):
            raise ValueError("non_mated: limits do not fall, or are below their rates")
        if not 0 < self.counted <= 1:
            raise ValueError(f"non_mated: counted is {self.counted}; expected a rate above 0 and up to 1")

    def __repr__(self) -> str:
        return f"NonMated({len(self.rates)} rates, counted to {self.counted:.1e}, of {self.pairs:,} pairs)"

    @cached_property
    def table(self) -> npt.NDArray[np.float64]:
        """(2, k) ``rates`` and ``limits``, read-only."""
        table = np.array([self.rates, self.limits], np.float64)
        table.flags.writeable = False
        return table


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing map from raw scores to log10 likelihood ratios (LLR).

    A line, ``slope * raw + offset``, as logistic regression finds it, that bends into ``minimum`` far below
    and into ``maximum`` far above, which it never quite reaches: so of one balance, ranks by LLR are ranks by raw
    score.

    - ``minimum`` is fitted: of some mated pairs too little skin is in common, or the template is poor, and
      they score like non-mated ones; a low score is then no stronger evidence than these are rare.
    - Where it is known how much the two templates hold, it is fitted closer: the *balance*, the lesser content by a
      quarter of the greater, at most 1, says how much of one print can be in the other at all.
      ``equal_minimum`` times the balance then takes
      the place of ``minimum``: of what a print does not show, a low score says nothing.
    - ``maximum`` is set by how much data there was; see :func:`abis.evaluation.fit`.

    Only sums, products, quotients and square roots are used: IEEE 754 rounds these alike everywhere, unlike
    log and exp, so equal raw scores are equal LLRs, to the bit, on every machine.

    Attributes:
        slope: decades per unit of raw score, above 0.
        offset: LLR of the line at a raw score of 0.
        minimum: below 0; where nothing is known but the score.
        equal_minimum: below 0, of templates of which none holds less than a quarter of the other; None where that
            was not fitted, and ``minimum`` serves for all.
        maximum: above 0.
        non_mated: how often non-mated comparisons reach an LLR; None where that was not counted, and
            thresholds rest on Markov's inequality alone.
        provenance: what it was fitted on.

    Raises:
        ValueError: where a number is not finite or breaks these rules.
    """

    kind: str
    slope: float
    offset: float
    minimum: float
    equal_minimum: float | None
    maximum: float
    non_mated: NonMated | None
    provenance: Provenance

    def __post_init__(self) -> None:
        for name, good, rule in (
            ("slope", self.slope > 0, "above 0"),
            ("offset", True, "a number"),
            ("minimum", self.minimum < 0, "below 0"),
            ("equal_minimum", self._equal_minimum < 0, "below 0"),
            ("maximum", self.maximum > 0, "above 0"),
        ):
            value = getattr(self, name)
            if not good or not math.isfinite(0.0 if value is None else value):
                raise ValueError(f"{name} is {value}; expected {rule} and finite")

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        curve = self.slope, self.offset, self.minimum, self.equal_minimum, self.maximum
        return hash((self.kind, curve, self.non_mated))

    @property
    def _equal_minimum(self) -> float:
        return self.minimum if self.equal_minimum is None else self.equal_minimum

    @property
    def lowest(self) -> float:
        """No LLR is below it."""
        return min(self.minimum, self._equal_minimum)

    def llr(self, raw: npt.ArrayLike, balance: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """log10 likelihood ratios of raw scores.

        Args:
            raw: scores, any shape; NaN (no score) stays NaN.
            balance: of the templates, of the same shape, 0 to 1, as :func:`abis.comparison.balance` gives it; None
                where nobody knows.
        """
        raw = np.asarray(raw, dtype=np.float64)
        minimum: Any = self.minimum
        if balance is not None and self.equal_minimum is not None:
            minimum = self.equal_minimum * np.asarray(balance, dtype=np.float64)
        return bent_line(raw, self.slope, self.offset, minimum, self.maximum)

    def to_json(self) -> str:
        """The calibration as JSON text; :meth:`from_json` reads it back to the bit."""
        content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION} | asdict(self)
        if self.non_mated is None:
            return json.dumps(content, indent=2) + "\n"
        for name in _TABLES:  # a line of its own for hundreds of numbers, not one for each
            content["non_mated"][name] = f"{name} stand here"
        text = json.dumps(content, indent=2) + "\n"
        for name in _TABLES:
            text = text.replace(f'"{name} stand here"', json.dumps(getattr(self.non_mated, name)))
        return text

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
        if isinstance(content, dict) and content.get("version") == 2:
            content = _as_version_3(content)
        content = _checked(content, "calibration", {"format": str, "version": int} | _FIELDS)
        if content["format"] != _FORMAT or content["version"] not in _READ_VERSIONS:
            raise FormatError(
                f"calibration has format {content['format']!r}, version {content['version']!r}; "
                f"expected {_FORMAT!r}, version {' or '.join(map(str, _READ_VERSIONS))}"
            )
        origin = _checked(content["provenance"], "provenance", _PROVENANCE_FIELDS)
        if not all(isinstance(name, str) for name in origin["data"]):
            raise FormatError("provenance: data holds something else than names")
        provenance = Provenance(**origin | {"data": tuple(origin["data"])})
        try:
            numbers = {name: float(content[name]) for name in ("slope", "offset", "minimum", "maximum")}
            equal_minimum = content["equal_minimum"]
            return cls(
                kind=content["kind"],
                **numbers,
                equal_minimum=None if equal_minimum is None else float(equal_minimum),
                non_mated=_non_mated(content["non_mated"]),
                provenance=provenance,
            )
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


@dataclass(frozen=True)
class Calibrations:
    """The calibrations in force: those given, and the shipped ones for all other kinds of templates.

    Attributes:
        own: by :attr:`Calibration.kind`.
    """

    own: Mapping[str, Calibration]

    @classmethod
    def of(cls, calibrations: Iterable[Calibration] = ()) -> Self:
        """These before the shipped ones."""
        return cls({calibration.kind: calibration for calibration in calibrations})

    def for_template(self, template: Template) -> Calibration:
        """The calibration of comparisons between templates of this kind.

        Minutiae of an extractor without a calibration of its own get the calibration ``minutiae``.
        Embeddings of a model without one get the calibration ``embedding``: the curve of another
        network, and thresholds by Markov's inequality, which are only as good as that curve. Fit your own.
        """
        return self.for_kind(kind_of(template))

    def for_templates(self, templates: Iterable[Template]) -> Calibration:
        """The calibration of all comparisons among some templates of one modality.

        Raises:
            ValueError: there is no template.
        """
        kinds = list(dict.fromkeys(map(kind_of, templates)))
        if not kinds:
            raise ValueError("no templates: nothing says which calibration to take")
        return self.for_kind(kinds[0]) if len(kinds) == 1 else self.for_pair(kinds[0], kinds[1])

    def for_pair(self, probe: str, reference: str) -> Calibration:
        """The calibration of comparisons between templates of two kinds, as :func:`kind_of` names them.

        Minutiae of two different extractors get the calibration ``minutiae``.
        """
        return self.for_kind(probe if probe == reference else MINUTIAE)

    def for_kind(self, kind: str) -> Calibration:
        """The calibration of comparisons between templates of one kind, as :func:`kind_of` names it."""
        if kind in self.own:
            return self.own[kind]
        if kind in shipped_names():
            return shipped(kind)
        modality = kind.partition("-")[0]
        return self.for_kind(modality) if modality == MINUTIAE else shipped(modality)


def kind_of(template: Template) -> str:
    """What a calibration is for.

    Returns:
        ``minutiae``, or ``minutiae-`` and the name of their extractor where it is known; ``embedding-`` and the
        name of a model, and so of other modalities.
    """
    return Kind.of(template).calibrated_as


@cache
def shipped_names() -> frozenset[str]:
    """Calibrations that abis brings; docs/scores.md tells them apart."""
    folder = files("abis.scoring").joinpath("calibrations")
    return frozenset(
        file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")
    )


@cache
def shipped(name: str) -> Calibration:
    """A calibration that abis brings.

    Raises:
        KeyError: naming those there are.

    >>> shipped("minutiae-leader").kind
    'minutiae'
    """
    if name not in shipped_names():
        raise KeyError(f"no calibration {name!r} is shipped; there are {', '.join(sorted(shipped_names()))}")
    text = files("abis.scoring").joinpath("calibrations", f"{name}.json").read_text(encoding="utf-8")
    return Calibration.from_json(text)


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

    >>> from abis.template import Embedding
    >>> face = Embedding(vector=[0.6, 0.8, 0.0], model="demo")
    >>> other = Embedding(vector=[-0.8, 0.6, 0.0], model="demo")
    >>> compare(face, [face, other]) > 6
    array([ True, False])
    """
    raw = raw_scores(probe, references)
    balance = balance_of(probe, references)
    llr = np.empty(len(raw))
    kinds = [kind_of(reference) for reference in references]
    for kind in set(kinds):
        chosen = np.array([other == kind for other in kinds])
        calibration = Calibrations.of().for_pair(kind_of(probe), kind)
        llr[chosen] = calibration.llr(raw[chosen], None if balance is None else balance[chosen])
    return llr


# --- the curve ------------------------------------------------------------------------------------------


def bent_line(
    raw: npt.NDArray[np.float64],
    slope: float,
    offset: float,
    minimum: float | npt.NDArray[np.float64],
    maximum: float,
) -> npt.NDArray[np.float64]:
    """The curve of :class:`Calibration`, from its numbers; a minimum for all or for each."""
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
_TABLES = ("rates", "limits")
_FIELDS: dict[str, Any] = {
    "kind": str,
    **dict.fromkeys(("slope", "offset", "minimum", "maximum"), _NUMBER),
    "equal_minimum": _NUMBER | None,
    "non_mated": dict | None,
    "provenance": dict,
}
_NON_MATED_FIELDS: dict[str, Any] = {
    "start": int,
    **dict.fromkeys(_TABLES, list),
    "counted": _NUMBER,
    "pairs": int,
}
_PROVENANCE_FIELDS: dict[str, Any] = {
    "data": list,
    "mated": int,
    "non_mated": int,
    **dict.fromkeys(("date", "software", "script"), str),
}


def _non_mated(content: object) -> NonMated | None:
    if content is None:
        return None
    fields = _checked(content, "non_mated", _NON_MATED_FIELDS)
    tables = {}
    for name in _TABLES:
        if not all(isinstance(rate, _NUMBER) for rate in fields[name]):
            raise FormatError(f"non_mated: {name} holds something else than numbers")
        tables[name] = tuple(map(float, fields[name]))
    return NonMated(**fields | tables)


def _as_version_3(content: dict[str, Any]) -> dict[str, Any]:
    non_mated = content.get("non_mated")
    if isinstance(non_mated, dict) and "rates" in non_mated:
        non_mated = {"limits": non_mated["rates"]} | non_mated
    return {"equal_minimum": None} | content | {"non_mated": non_mated}


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
