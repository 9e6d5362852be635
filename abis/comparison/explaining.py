# SPDX-License-Identifier: Apache-2.0
"""Why two templates have the score that they have, in words, numbers and a drawing, for each modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from abis.comparison.drawing import draw_pair
from abis.comparison.iris import explain_irises
from abis.comparison.iris_drawing import draw_irises
from abis.comparison.minutiae import explain
from abis.template import IrisCode, Minutiae

__all__ = ["Explained", "explained_fingers", "explained_irises"]

Pictures = tuple[str | None, str | None]


class Explained(NamedTuple):
    """The parts of a comparison score.

    Attributes:
        raw: comparison score.
        summary: the result in words, without a full stop.
        terms: numbers that the score is made of, by name.
        details: further values for programs, as JSON can hold them.
        draw: makes an SVG document of a title and the URLs of the pictures of both, None where there is none.
    """

    raw: float
    summary: str
    terms: Mapping[str, float]
    details: Mapping[str, Any]
    draw: Callable[[str, Pictures], str]


def explained_fingers(probe: Minutiae, reference: Minutiae) -> Explained:
    """The paired minutiae. Raises TemplateError where the positions may not be compared."""
    found = explain(probe, reference)
    return Explained(
        found.score,
        f"{len(found.pairs)} minutiae paired of {len(probe)} and {len(reference)}",
        found.terms,
        {"pairs": found.pairs.tolist()},
        lambda title, pictures: draw_pair(probe, reference, found.pairs, title=title, pictures=pictures),
    )


def explained_irises(probe: IrisCode, reference: IrisCode) -> Explained:
    """The bits that agree and differ. Raises TemplateError where the codes may not be compared."""
    found = explain_irises(probe, reference)
    counted, differing = int(found.counted.sum()), int(found.differing.sum())
    degrees = 360 * found.turn / probe.columns
    terms = {
        "bits that count in both": float(counted),
        "bits that differ": float(differing),
        "Hamming distance": differing / counted if counted else 0.5,
        "turn of the reference, degrees": degrees,
    }
    return Explained(
        found.score,
        f"{differing} of {counted} bits differ, with the reference turned by {degrees:.0f} degrees",
        terms,
        {"turn_degrees": degrees, "bits_counted": counted, "bits_differing": differing},
        lambda title, pictures: draw_irises(probe, reference, found, title=title, pictures=pictures),
    )
