# SPDX-License-Identifier: Apache-2.0
"""A face: an embedding whose mated and non-mated cosines are spread as those of real ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from abis.synthetic.randomness import kernel, normal, normals, stream, uniform

__all__ = ["DIMENSIONS", "MODEL", "make_faces"]

DIMENSIONS = 512  # a power of two
MODEL = "synthetic"

_FACE = 32  # abis.template.Position.FACE; the next code is free for the groups
_GROUP = 33

# Fitted by hand to the ArcFace MobileFaceNet embeddings of Labeled Faces in the Wild, whose figures
# benchmarks/accuracy/synthetic.py prints beside those of this module.
DECAY = 244.0  # components over which standard deviations fall by e; also the effective dimension
GROUPS = 60  # of people who look alike, by descent, age and sex
GROUP_SHARE = 0.2  # of the variance of an identity
# Log of the ratio of variances, sample's noise to identity: mean, spread over subjects, over samples.
NOISE, NOISE_SUBJECT, NOISE_SAMPLE = -0.52, 0.2, 0.5
BAD_SHARE, BAD_NOISE = 0.02, 1.0  # bad samples; the mean of what they add to it, exponential


@kernel
def make_faces(seed: int, subjects: npt.NDArray[np.int64], impression: int) -> npt.NDArray[np.float32]:
    """Embeddings, (n, DIMENSIONS), of one impression of each subject; not yet of unit length."""
    spread = np.exp(-np.arange(DIMENSIONS) / DECAY)
    faces = np.empty((len(subjects), DIMENSIONS), np.float32)
    for row in range(len(subjects)):
        trait = stream(seed, subjects[row], _FACE, 0)
        group = int(GROUPS * uniform(trait))
        noisiness = NOISE + NOISE_SUBJECT * normal(trait)
        identity = math.sqrt(1.0 - GROUP_SHARE) * normals(trait, DIMENSIONS)
        identity += math.sqrt(GROUP_SHARE) * normals(stream(seed, group, _GROUP, 0), DIMENSIONS)

        state = stream(seed, subjects[row], _FACE, 1 + impression)
        noisiness += NOISE_SAMPLE * normal(state)
        if uniform(state) < BAD_SHARE:
            noisiness -= BAD_NOISE * math.log(1.0 - uniform(state))
        vector = spread * (identity + math.exp(0.5 * noisiness) * normals(state, DIMENSIONS))
        _mix_components(vector)
        faces[row] = vector
    return faces


@kernel
def _mix_components(vector: npt.NDArray[np.float64]) -> None:
    """Turns a vector by a fixed rotation (and scales it): in real embeddings no component is special.

    A Walsh-Hadamard transform, in place.
    """
    half = 1
    while half < len(vector):
        for first in range(0, len(vector), 2 * half):
            for k in range(first, first + half):
                vector[k], vector[k + half] = vector[k] + vector[k + half], vector[k] - vector[k + half]
        half *= 2
