# SPDX-License-Identifier: Apache-2.0
"""Whether an embedding resembles unusually many enrolled subjects, as a master face does.

Embeddings of faces have a mean that is not zero. A vector that was optimised to match many people lies far in the
direction of that mean; real faces do not. So the mean cosine of a probe to a sample of the references is compared with
the mean cosines that references of the gallery itself have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from abis.comparison.kind import Kind
from abis.gallery.internals import Internals, Typical
from abis.index.segments import Block, Probe, comparable_blocks
from abis.store import Mark
from abis.template import Embedding, Template

__all__ = ["unusual"]

_FEWEST = 1_000  # references: of fewer, the mean says little
_SAMPLE = 4_000  # references that a mean cosine is over
_OTHERS = 200  # references whose mean cosines are compared with
_GROWN = 1.25  # times as many subjects, from which on the others are compared again
_DEVIATIONS = 5.0  # standard deviations above their mean: no real face of LFW is beyond 3.5


def unusual(internals: Internals, templates: Sequence[Template]) -> list[str]:
    """Words about each embedding that resembles unusually many enrolled subjects; empty if there is none.

    Args:
        internals: of the gallery; its references are loaded if they are not.
        templates: of a probe, or to be enrolled. Embeddings of which the gallery has fewer than 1,000 comparable
            references are passed over.
    """
    embeddings = [template for template in templates if isinstance(template, Embedding)]
    deviations = [_deviations(internals, embedding) for embedding in embeddings]
    return [
        f"the {embedding.position.name} embedding resembles unusually many subjects ({found:.1f} standard deviations "
        "above the mean): it may have been made to match many people"
        for embedding, found in zip(embeddings, deviations, strict=True)
        if found > _DEVIATIONS
    ]


def _deviations(internals: Internals, template: Embedding) -> float:
    view = internals.references.view()
    blocks = list(comparable_blocks(view.segments, template))
    if sum(block.present for block in blocks) < _FEWEST:
        return 0.0
    kind = Kind.of(template)
    known = internals.typical.get(kind)
    if known is None or not known.subjects / _GROWN < view.subjects < known.subjects * _GROWN:
        stored = internals.store.tail(Mark(), limit=20 * _OTHERS).enrolled
        others = [one.template for one in stored if Kind.of(one.template) == kind][:_OTHERS]
        means = np.array([_mean(other, blocks) for other in others])
        known = Typical(view.subjects, float(means.mean()), float(means.std()))
        internals.typical[kind] = known
    return (_mean(template, blocks) - known.mean) / known.spread if known.spread else 0.0


def _mean(template: Template, blocks: Sequence[Block]) -> float:
    """Mean cosine to a sample of references; without the largest, which may be the subject's own."""
    probe = Probe.of(template).prepared
    step = max(1, sum(block.present for block in blocks) // _SAMPLE)
    every = np.concatenate([block.index.compare(probe, block.present_slots()[::step]) for block in blocks])
    return float((every.sum(dtype=np.float64) - every.max()) / max(len(every) - 1, 1))
