# SPDX-License-Identifier: Apache-2.0
"""Whether a template is probably made of the minutiae of two fingers, which then match both."""

from __future__ import annotations

import numpy as np

from abis.template import NO_QUALITY, Minutiae, Template

__all__ = ["FEWEST_MINUTIAE", "coherence", "superimposed"]

_PER_CM = 197.0  # pixels per centimetre of which the radius is
_RADIUS = 25.0  # pixels at 500 dpi, some three ridges: how near minutiae are neighbours
_UNSTATED = 0.6  # confidence of minutiae without a quality
_LIMITS = {"leader-0.1": (70, 0.67)}
_OTHERS = (73, 0.59)
"""Fewest minutiae, and coherence below which a template is doubtful: of extractors by name, and of all others, which
find more false minutiae. Of the real templates in benchmarks/accuracy/doubtful.py, fewer than one in a thousand are
doubtful."""

FEWEST_MINUTIAE = min(fewest for fewest, _ in (_OTHERS, *_LIMITS.values()))
"""Templates of fewer minutiae are never doubtful."""


def superimposed(template: Template) -> str:
    """Say that a template is probably made of two fingers' minutiae; empty if it is not.

    Neighbouring ridges of one finger have similar directions. Ridges of two fingers that lie on each other cross. Few
    minutiae show too little of this, so a template of fewer than some 70 is never doubtful.
    """
    if not isinstance(template, Minutiae):
        return ""
    fewest, limit = _LIMITS.get(template.extractor, _OTHERS)
    if len(template) < fewest or (found := coherence(template)) >= limit:
        return ""
    return (
        f"{len(template)} minutiae, and directions of neighbouring ones do not fit (coherence {found:.2f}): "
        "probably of two fingers, and this template would match both"
    )


def coherence(template: Minutiae) -> float:
    """How similar the directions of neighbouring minutiae are: the mean of cos 2a over pairs, a the angle between them.

    About 60 microseconds for 80 minutiae.

    Returns:
        1 where all ridges of a neighbourhood are parallel, 0 where directions are random; 1 without neighbours.
    """
    scale = _PER_CM / np.array(template.resolution, np.float64)
    x, y = template.x * scale[0], template.y * scale[1]
    near = (x[:, None] - x) ** 2 + (y[:, None] - y) ** 2 < _RADIUS**2
    np.fill_diagonal(near, val=False)
    one, other = np.nonzero(near)
    if not len(one):
        return 1.0
    confidence = np.where(template.quality == NO_QUALITY, _UNSTATED, template.quality / 100.0)
    weight = np.minimum(confidence[one], confidence[other])
    angle = np.radians(2.0 * (template.direction[one].astype(np.float64) - template.direction[other]))
    total = float(weight.sum())
    return float((weight * np.cos(angle)).sum() / total) if total else 1.0
