# SPDX-License-Identifier: Apache-2.0
"""The calibration of DNA: allele frequencies and rates, from which the likelihood ratio follows without a fit.

A gallery keeps it as it keeps calibrations of other kinds, and shards of a cluster share it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from abis.comparison.dna import DnaModel
from abis.errors import AbisError, FormatError
from abis.scoring.calibration import Calibration, Provenance
from abis.template.alleles import AlleleFrequencies, allele_in_tenths, allele_text

__all__ = ["DNA", "DnaCalibration", "calibration_of_json", "load_calibration"]

DNA = "dna"
"""Kind of the calibration of DNA profiles."""

_FORMAT = "abis dna calibration"
_VERSION = 1
_RATES = ("theta", "drop_out", "drop_in", "mix_up")


@dataclass(frozen=True, eq=False)
class DnaCalibration(Calibration):
    """A calibration whose raw scores are log10 likelihood ratios already.

    There are no counted rates of non-mated scores: thresholds follow from Markov's inequality. It holds for unrelated
    people. A search that finds relatives or an identical twin is beyond it; docs/dna.md says how far.

    Attributes:
        model: allele frequencies and rates. The other attributes follow from it.
    """

    model: DnaModel

    @classmethod
    def of(cls, model: DnaModel) -> Self:
        """The calibration of a model."""
        population = model.frequencies.population
        return cls(
            kind=DNA,
            slope=1.0,
            offset=0.0,
            minimum=model.lowest,
            equal_minimum=None,
            maximum=model.highest + 1e-3,  # as float32 rounds it
            non_mated=None,
            provenance=Provenance((population,), 0, 0, "", "", "allele frequencies"),
            model=model,
        )

    @property
    def basis(self) -> DnaModel:
        """What comparisons depend on."""
        return self.model

    def llr(self, raw: npt.ArrayLike, balance: npt.ArrayLike | None = None) -> npt.NDArray[np.float64]:
        """The raw scores, which are log10 likelihood ratios, as float64.

        Args:
            raw: raw scores of any shape.
            balance: not used.
        """
        return np.asarray(raw, np.float64)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DnaCalibration) and self.model == other.model

    def __hash__(self) -> int:
        return hash(self.model)

    def to_json(self) -> str:
        """Return the calibration as JSON text; :func:`calibration_of_json` restores it without loss."""
        frequencies = self.model.frequencies
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            **{name: getattr(self.model, name) for name in _RATES},
            "population": frequencies.population,
            "people": dict(frequencies.people),
            "frequencies": {
                locus: {allele_text(allele): frequency for allele, frequency in table.items()}
                for locus, table in frequencies.frequencies.items()
            },
        }
        return json.dumps(content, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a calibration from the JSON text of :meth:`to_json`.

        Raises:
            FormatError: the text is not a calibration of DNA; the message names the field.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"calibration of DNA is not valid JSON: {error}") from error
        try:
            if (content["format"], content["version"]) != (_FORMAT, _VERSION):
                raise FormatError(
                    f"calibration of DNA has format {content['format']!r}, version {content['version']!r}; "
                    f"expected {_FORMAT!r}, version {_VERSION}"
                )
            frequencies = AlleleFrequencies(
                content["population"],
                content["people"],
                {
                    locus: {allele_in_tenths(allele): float(value) for allele, value in table.items()}
                    for locus, table in content["frequencies"].items()
                },
            )
            rates: dict[str, Any] = {name: float(content[name]) for name in _RATES}
            return cls.of(DnaModel(frequencies, **rates))
        except (KeyError, TypeError, AttributeError, AbisError) as error:
            raise FormatError(f"calibration of DNA: {error}") from error


def calibration_of_json(text: str) -> Calibration:
    """Read a calibration of any kind from the JSON text of its ``to_json``.

    Raises:
        FormatError: the text is not a calibration.
    """
    return DnaCalibration.from_json(text) if f'"format": "{_FORMAT}"' in text else Calibration.from_json(text)


def load_calibration(path: Path) -> Calibration:
    """Read a calibration of any kind from a file.

    Raises:
        FormatError: the file is not a calibration; the message names the file and the field.
        OSError: the file cannot be read.
    """
    try:
        return calibration_of_json(path.read_text(encoding="utf-8"))
    except (FormatError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: {error}") from error
