# SPDX-License-Identifier: Apache-2.0
"""A few synthetic people for the tests, which need to be different, not realistic."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext

import numpy as np

from abis.template import Embedding, Minutiae, Position, Template

RIGHT, LEFT = Position.RIGHT_INDEX, Position.LEFT_INDEX


def finger(
    person: int,
    position: Position = RIGHT,
    impression: int = 0,
    *,
    stated: Position | None = None,
    extractor: str = "",
) -> Minutiae:
    """An impression of a finger: its own minutiae, each a little off and some missing."""
    own = np.random.default_rng([person, position])
    noise = np.random.default_rng([person, position, impression])
    n = 36
    x, y, direction = own.uniform(40, 260, n), own.uniform(40, 360, n), own.uniform(0, 360, n)
    kept = noise.random(n) < (0.85 if impression else 1.0)
    return Minutiae(
        x=np.rint(x + noise.normal(0, 2, n))[kept],
        y=np.rint(y + noise.normal(0, 2, n))[kept],
        direction=(np.rint((direction + noise.normal(0, 4, n)) / 2) * 2 % 360)[kept],
        width=300,
        height=400,
        position=position if stated is None else stated,
        extractor=extractor,
    )


def face(person: int, impression: int = 0, *, model: str = "test", dimension: int = 32) -> Embedding:
    """An embedding near the person's own direction."""
    own = np.random.default_rng([person, 1000]).normal(size=dimension)
    noise = np.random.default_rng([person, 1000, impression]).normal(size=dimension)
    return Embedding(vector=own + 0.4 * noise, model=model)


def processes() -> ForkServerContext:
    """Further processes, free of this one's threads and quick to start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["abis.gallery", "hypothesis.strategies", "people", "pytest"])
    return context


def everything(person: int, impression: int = 0) -> Sequence[Template]:
    """Two fingers and a face."""
    return [finger(person, RIGHT, impression), finger(person, LEFT, impression), face(person, impression)]
