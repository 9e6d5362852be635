# SPDX-License-Identifier: Apache-2.0
"""Calibrations: raw scores to log10 likelihood ratios (LLR), and how often non-mated comparisons reach an LLR.

An LLR of 6 means that the raw score is a million times likelier if both templates are of one subject than if they
are of two. LLRs of independent evidence add. :mod:`abis.scoring.thresholds` finds the sum from which on the decision
is *match*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Self

import msgspec
import numpy as np
import numpy.typing as npt

from abis.comparison import balance as balance_of
from abis.comparison import raw_scores
from abis.comparison.kind import Kind
from abis.errors import FormatError
from abis.scoring.json_file import JsonFile, decode, encode
from abis.template import Template, modality

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
"""Steps per decade at which rates of non-mated scores are stored; multiples of 1/64 and their sums are exact."""

MINUTIAE = "minutiae"
"""Kind of a calibration for minutiae of an unknown extractor, and for pairs of two different extractors."""

_FORMAT = "abis calibration"
_BEND = 2 * math.log10(2)
"""Width of the bends at both ends, in decades.

At a bend the curve is log10(2) from both asymptotes, as log10(10**a + 10**b), the curve of a mixture of two
likelihoods, is from a and b at a = b.
"""


@dataclass(frozen=True)
class Provenance:
    """Origin of a calibration: its data, date and software.

    Attributes:
        data: names of the data sets of the fit; each has the same weight.
        mated: number of mated scores in all data sets.
        non_mated: number of non-mated scores in all data sets.
        date: date of the fit, ISO 8601.
        software: name and version of the software that computed the raw scores.
        script: script or command that repeats the fit.
    """

    data: tuple[str, ...]
    mated: int
    non_mated: int
    date: str
    software: str
    script: str


@dataclass(frozen=True)
class NonMated:
    """False match rates: the fraction of non-mated comparisons that reach each LLR.

    Attributes:
        start: first LLR of the table, in steps of 1 / :data:`STEPS_A_DECADE`.
        rates: ``rates[k]`` is the fraction, rounded up, of non-mated comparisons with an LLR of ``start + k`` steps
            or more. The first rate is 1, and rates never rise. The rate beyond the table is 0.
        limits: one-sided upper 95 % limit of each rate; ``limits[k]`` is at least ``rates[k]``.
        counted: lowest rate that was counted; lower rates follow a tail fitted to the highest scores.
        pairs: number of non-mated comparisons behind the rates.

    Raises:
        ValueError: the rates or limits break these rules.
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
            raise ValueError(
                "non_mated: limits do not fall, or are below their rates; expected a limit for each rate"
            )
        if not 0 < self.counted <= 1:
            raise ValueError(f"non_mated: counted is {self.counted}; expected a rate above 0 and at most 1")

    def __repr__(self) -> str:
        return f"NonMated({len(self.rates)} rates, counted to {self.counted:.1e}, of {self.pairs:,} pairs)"

    @cached_property
    def table(self) -> npt.NDArray[np.float64]:
        """(2, k) float64, ``rates`` and ``limits``, read-only."""
        table = np.array([self.rates, self.limits], np.float64)
        table.flags.writeable = False
        return table


@dataclass(frozen=True)
class Calibration(JsonFile):
    """A strictly increasing map from raw scores to log10 likelihood ratios (LLR).

    The map is the line ``slope * raw + offset`` of a logistic regression. Low scores approach ``minimum`` and high
    scores approach ``maximum``; neither is ever reached. Pairs of one balance therefore have the same ranks by LLR
    as by raw score.

    - ``minimum`` is fitted. Some mated pairs share little skin, or have a poor template, and score like non-mated
      pairs. Their share limits how strong the evidence of a low score is.
    - ``equal_minimum`` refines ``minimum`` where the contents of both templates are known. The *balance* of a pair
      is the lesser content divided by a quarter of the greater, at most 1. It measures how much of one print can be
      in the other. ``equal_minimum`` times the balance takes the place of ``minimum``: a low score is weak evidence
      if one print shows only a small part of the other.
    - ``maximum`` follows from the number of scores of the fit; see :func:`abis.evaluation.fit`.

    The map uses sums, products, quotients and square roots only. IEEE 754 defines their rounding, unlike that of log
    and exp, so LLRs are bit-identical on every machine.

    Attributes:
        kind: kind of templates, as :func:`kind_of` names it.
        slope: decades per unit of raw score, above 0.
        offset: LLR of the line at a raw score of 0.
        minimum: LLR that low scores approach if the balance is unknown; below 0.
        equal_minimum: LLR that low scores approach at a balance of 1; below 0. None: not fitted, and ``minimum``
            holds for every balance.
        maximum: LLR that high scores approach; above 0.
        non_mated: fraction of non-mated comparisons that reach each LLR. None: not counted, and thresholds follow
            from Markov's inequality alone.
        provenance: data, date and software of the fit.

    Raises:
        ValueError: a number is not finite or breaks these rules.
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
    def basis(self) -> Any:
        """What raw scores themselves depend on: the allele frequencies of DNA. None for other kinds."""
        return None

    @property
    def lowest(self) -> float:
        """Lower bound of every LLR of this calibration."""
        return min(self.minimum, self._equal_minimum)

    def llr(self, raw: npt.ArrayLike, balance: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """Convert raw scores to log10 likelihood ratios.

        Args:
            raw: raw scores of any shape; NaN (no score) stays NaN.
            balance: balance of each pair of templates, 0 to 1, of the shape of ``raw``; the result of
                :func:`abis.comparison.balance`. None: unknown, and ``minimum`` holds for every score.

        Returns:
            float64 log10 likelihood ratios of the shape of ``raw``.
        """
        raw = np.asarray(raw, dtype=np.float64)
        minimum: Any = self.minimum
        if balance is not None and self.equal_minimum is not None:
            minimum = self.equal_minimum * np.asarray(balance, dtype=np.float64)
        return bent_line(raw, self.slope, self.offset, minimum, self.maximum)

    def to_json(self) -> str:
        """Return the calibration as JSON text; :meth:`from_json` restores it without loss."""
        return encode(msgspec.convert({"format": _FORMAT, "version": 3} | asdict(self), _CalibrationFile))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a calibration from the JSON text of :meth:`to_json`.

        Args:
            text: JSON text of version 2 or 3 of the format.

        Raises:
            FormatError: the text is not a calibration; the message names the first field that is missing, unknown
                or out of range.
        """
        documents: dict[int, type[_CalibrationFile2]] = {2: _CalibrationFile2, 3: _CalibrationFile}
        document = decode(text, _FORMAT, documents, command="abis calibrate")
        fields = msgspec.structs.asdict(document)
        del fields["format"], fields["version"]
        fields["provenance"] = Provenance(**msgspec.structs.asdict(document.provenance))
        try:
            if document.non_mated is not None:
                table = msgspec.structs.asdict(document.non_mated)
                fields["non_mated"] = NonMated(**{"limits": document.non_mated.rates} | table)
            return cls(**{"equal_minimum": None} | fields)
        except ValueError as error:
            raise FormatError(f"calibration: {error}; expected the output of `abis calibrate`") from error


@dataclass(frozen=True)
class Calibrations:
    """The calibrations in force: the caller's own, and the shipped ones for all other kinds of templates.

    Attributes:
        own: the caller's calibrations by :attr:`Calibration.kind`.
    """

    own: Mapping[str, Calibration]

    @classmethod
    def of(cls, calibrations: Iterable[Calibration] = ()) -> Self:
        """Return calibrations in which the given ones take precedence over the shipped ones."""
        return cls({calibration.kind: calibration for calibration in calibrations})

    def for_template(self, template: Template) -> Calibration:
        """Return the calibration for comparisons between templates of the kind of this template.

        Minutiae of an extractor without a calibration get the calibration ``minutiae``. Embeddings of a model without
        a calibration get the calibration ``embedding``. It has the curve of another network and thresholds by
        Markov's inequality, so their error rates are not assured: fit a calibration with `abis calibrate`.
        """
        return self.for_kind(kind_of(template))

    def for_templates(self, templates: Iterable[Template]) -> Calibration:
        """Return the calibration for all comparisons among templates of one modality.

        Raises:
            ValueError: ``templates`` is empty.
        """
        kinds = list(dict.fromkeys(map(kind_of, templates)))
        if not kinds:
            raise ValueError("no templates; expected at least one to choose a calibration by")
        return self.for_kind(kinds[0]) if len(kinds) == 1 else self.for_pair(kinds[0], kinds[1])

    def for_pair(self, probe: str, reference: str) -> Calibration:
        """Return the calibration for comparisons between templates of two kinds.

        Minutiae of two different extractors get the calibration ``minutiae``.

        Args:
            probe: kind of the probe, as :func:`kind_of` names it.
            reference: kind of the reference, as :func:`kind_of` names it.
        """
        return self.for_kind(probe if probe == reference else _general(probe))

    def for_kind(self, kind: str) -> Calibration:
        """Return the calibration for comparisons between templates of one kind, as :func:`kind_of` names it.

        Raises:
            NotCalibrated: voices have no calibration for their model, or DNA has no allele frequencies. abis ships
                none.
        """
        if kind in self.own:
            return self.own[kind]
        if kind in shipped_names():
            return shipped(kind)
        general = _general(kind)
        if general in self.own:
            return self.own[general]
        return next(m for m in modality.MODALITIES if m.calibration == general).uncalibrated(kind)


def _general(kind: str) -> str:
    """The kind without the name of a model or extractor."""
    return kind.partition("-")[0]


def kind_of(template: Template) -> str:
    """Return the kind of a template, which determines its calibration.

    Returns:
        ``minutiae-`` and the name of the extractor, or ``minutiae`` if the extractor is unknown; ``embedding-`` and
        the name of the model; the same form for other modalities.
    """
    return Kind.of(template).calibrated_as


@cache
def shipped_names() -> frozenset[str]:
    """Names of the calibrations that abis ships; docs/scores.md describes them."""
    folder = files("abis.scoring").joinpath("calibrations")
    return frozenset(
        file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json")
    )


@cache
def shipped(name: str) -> Calibration:
    """Return a calibration that abis ships.

    Args:
        name: one of :func:`shipped_names`.

    Raises:
        KeyError: no calibration of this name is shipped; the message lists the names.

    >>> shipped("minutiae-leader").kind
    'minutiae'
    """
    if name not in shipped_names():
        raise KeyError(f"no calibration {name!r} is shipped; there are {', '.join(sorted(shipped_names()))}")
    text = files("abis.scoring").joinpath("calibrations", f"{name}.json").read_text(encoding="utf-8")
    return Calibration.from_json(text)


def compare(
    probe: Template, references: Sequence[Template], *, calibration: Calibration | None = None
) -> npt.NDArray[np.float64]:
    """Compare one probe with references of the same kind: 1:1, or 1:n.

    Each call prepares the references again. To search the same references repeatedly, enroll them in a
    :class:`abis.Gallery`. Calls from several threads at once are safe.

    Args:
        probe: any template.
        references: templates that are comparable with the probe: fingers of the same or an unknown position, or
            embeddings of the same position and model.
        calibration: calibration of such templates. None: the shipped ones; voices and DNA have none.

    Returns:
        (len(references),) float64, calibrated log10 likelihood ratios. A value of 6 means that the raw score is a
        million times likelier if both templates are of one subject.

    Raises:
        TemplateError: a reference is not comparable with the probe; the message names the first one.
        NotCalibrated: no calibration is given, and abis ships none for such templates.

    >>> from abis.template import Embedding
    >>> face = Embedding(vector=[0.6, 0.8, 0.0], model="demo")
    >>> other = Embedding(vector=[-0.8, 0.6, 0.0], model="demo")
    >>> compare(face, [face, other]) > 6
    array([ True, False])
    """
    in_force = Calibrations.of([] if calibration is None else [calibration])
    raw = raw_scores(probe, references, calibration=in_force.for_template(probe))
    balance = balance_of(probe, references)
    llr = np.empty(len(raw))
    kinds = [kind_of(reference) for reference in references]
    for kind in set(kinds):
        chosen = np.array([other == kind for other in kinds])
        llr[chosen] = in_force.for_pair(kind_of(probe), kind).llr(
            raw[chosen], None if balance is None else balance[chosen]
        )
    return llr


# --- the curve ------------------------------------------------------------------------------------------


def bent_line(
    raw: npt.NDArray[np.float64],
    slope: float,
    offset: float,
    minimum: float | npt.NDArray[np.float64],
    maximum: float,
) -> npt.NDArray[np.float64]:
    """Evaluate the curve of :class:`Calibration` from its parameters.

    Args:
        raw: raw scores, any shape.
        slope: decades per unit of raw score, above 0.
        offset: LLR of the line at a raw score of 0.
        minimum: LLR that low scores approach: one for all scores, or an array of the shape of ``raw``.
        maximum: LLR that high scores approach.

    Returns:
        float64 log10 likelihood ratios of the shape of ``raw``.
    """
    line = slope * raw + offset
    raised = np.maximum(line, minimum) + _rounding(line - minimum)
    return np.asarray(np.minimum(raised, maximum) - _rounding(raised - maximum))


def _rounding(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gap between a bend and its corner, at a signed distance d from the corner: (sqrt(d*d + w*w) - |d|) / 2.

    The quotient below is equal to it and keeps all digits at large distances; it is 0 at infinity.
    """
    distance = np.abs(distance)
    return np.asarray((_BEND * _BEND / 2) / (np.sqrt(distance * distance + _BEND * _BEND) + distance))


# --- the file -------------------------------------------------------------------------------------------


class _Provenance(msgspec.Struct, forbid_unknown_fields=True):
    """Fields of :class:`Provenance`."""

    data: tuple[str, ...]
    mated: int
    non_mated: int
    date: str
    software: str
    script: str


class _NonMated2(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Fields of :class:`NonMated` in version 2; its rates are read as the limits."""

    start: int
    rates: tuple[float, ...]
    counted: float
    pairs: int


class _NonMated(_NonMated2):
    limits: tuple[float, ...]


class _CalibrationFile2(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A file of version 2, which has no ``equal_minimum``."""

    format: str
    version: int
    kind: str
    slope: float
    offset: float
    minimum: float
    maximum: float
    non_mated: _NonMated2 | None
    provenance: _Provenance


class _CalibrationFile(_CalibrationFile2):
    """A file of version 3."""

    equal_minimum: float | None
    non_mated: _NonMated | None
