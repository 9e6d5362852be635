# SPDX-License-Identifier: Apache-2.0
"""Which templates may be compared with each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from abis.errors import TemplateError
from abis.template import Position, Template
from abis.template.modality import modality_at, modality_of

__all__ = ["Kind", "check_models", "nothing_comparable"]


class Kind(NamedTuple):
    """The properties that templates must share to be compared.

    Attributes:
        position: of the template; an unknown finger is comparable with every finger.
        model: of an embedding or an iris code, whose different models are not comparable; extractor of minutiae,
            whose different extractors are.
        dimension: the number that tells shapes apart (:attr:`abis.template.modality.Modality.model`): the dimension
            of an embedding; 65,536 times the columns of an iris code and the bits of one; 0 for a finger.
    """

    position: Position
    model: str
    dimension: int

    @classmethod
    def of(cls, template: Template) -> Kind:
        """The kind of a template."""
        return cls(template.position, *modality_of(template).model(template))

    @property
    def calibrated_as(self) -> str:
        """The name of the kind for calibrations; see :func:`abis.scoring.calibration.kind_of`."""
        name = modality_at(self.position).calibration
        return f"{name}-{self.model}" if self.dimension or self.model else name

    def is_comparable(self, other: Kind) -> bool:
        """Whether templates of the two kinds may be compared."""
        is_alike = self.dimension == other.dimension and (self.dimension == 0 or self.model == other.model)
        return is_alike and self.position.is_comparable(other.position)

    def is_rival(self, other: Kind) -> bool:
        """True where only the model, or the shape, keeps templates of the two kinds from being compared."""
        return self.position.is_comparable(other.position) and not self.is_comparable(other)

    def __str__(self) -> str:
        if not self.dimension:
            return f"{self.position.name} by {self.model!r}" if self.model else self.position.name
        shape = modality_at(self.position).shape(self.dimension)
        return f"{self.position.name} by {self.model!r} ({shape})"


def check_models(probe: Sequence[Template], kinds: Iterable[Kind]) -> None:
    """Raise if no reference is comparable with a probe because their embeddings are of other models.

    Args:
        probe: templates of the probe.
        kinds: kinds of the references.

    Raises:
        TemplateError: if nothing is comparable and there are embeddings of the probe's positions by other models.
    """
    own = {Kind.of(template) for template in probe}
    kinds = set(kinds)
    if any(mine.is_comparable(kind) for mine in own for kind in kinds):
        return
    others = {kind for kind in kinds if kind.dimension and kind.position in {mine.position for mine in own}}
    if others:
        raise TemplateError(nothing_comparable(probe, others))


def nothing_comparable(probe: Sequence[Template], kinds: Iterable[Kind]) -> str:
    """Return the reason why no template of a probe is comparable with references of these kinds."""
    own = {Kind.of(template) for template in probe}
    return (
        f"the probe has {', '.join(sorted(map(str, own)))}, which cannot be compared with "
        f"the references' {', '.join(sorted(map(str, set(kinds))))}"
    )
