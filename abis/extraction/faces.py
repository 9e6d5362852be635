# SPDX-License-Identifier: Apache-2.0
"""A portrait to an embedding: the face is found, aligned by five points, and shown to a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from abis.errors import ExtractionError
from abis.extraction.face_detection import Face, find_upright_faces
from abis.extraction.models import face_embedder, face_model_name
from abis.extraction.portrait_quality import poor_by_aligned_face, poor_by_vector
from abis.template import Embedding

__all__ = ["extract_embedding"]

_SIDE = 112  # pixels of the aligned face
_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose and corners of the mouth lie in an aligned face: ArcFace (Deng et al., CVPR 2019), as SFace and
most networks since have it."""
_LEAST_EYE_DISTANCE = 10.0  # pixels, below which there is nothing to recognise
_MOST_ASIDE = 0.5  # of LFW's first fold, 99 % are below 0.45


def extract_embedding(
    image: npt.NDArray[np.uint8], *, model: Path | None = None, allow_poor: bool = False
) -> tuple[Embedding, str]:
    """The embedding of the large central face, and what should be known about it.

    Some 50 ms on one core; one that is not clearly upright takes up to 0.4 s.

    Args:
        image: (h, w, 3), red first; turned or tilted as it may be.
        model: an ONNX file that takes aligned faces as ArcFace's networks of InsightFace do, (n, 3, 112, 112) RGB
            scaled to -1 to 1; SFace by default.
        allow_poor: make an embedding of a poor portrait too, and note what is poor about it.

    Returns:
        The template, and notes or "". Its quality is the length of the vector as the network gives it: of all that
        is known about a face, the best predictor of mated scores (benchmarks/accuracy/extraction.py).

    Raises:
        ExtractionError: no face is to be seen, only tiny ones, or the portrait is too poor: see
            :mod:`abis.extraction.portrait_quality`.
    """
    found = find_upright_faces(image)
    if not found.faces:
        raise ExtractionError("no face found")
    image, faces = found.image, found.faces
    face = max(faces, key=lambda face: _prominence(face, image.shape))
    if face.eye_distance < _LEAST_EYE_DISTANCE:
        raise ExtractionError(
            f"the face is too small: {face.eye_distance:.0f} pixels from eye to eye; "
            f"expected at least {_LEAST_EYE_DISTANCE:.0f}"
        )
    aligned = _aligned(image, face)
    vector = _embed(aligned, model)
    length = float(np.linalg.norm(vector))
    poor = poor_by_aligned_face(aligned, face.score) or (poor_by_vector(length) if model is None else "")
    if poor and not allow_poor:
        raise ExtractionError(f"quality too low: the portrait is {poor}")
    template = Embedding(vector=vector, model=face_model_name(model), quality=length)
    notes = (
        f"the image was turned by {found.turned} degrees" if found.turned else "",
        f"{len(faces)} faces; the large central one was taken" if len(faces) > 1 else "",
        "the face looks aside" if abs(face.aside) > _MOST_ASIDE else "",
        f"quality too low: the portrait is {poor}" if poor else "",
    )
    return template, "; ".join(filter(None, notes))


def _prominence(face: Face, shape: tuple[int, ...]) -> float:
    """Area less twice the squared distance from the centre of the image, pixels."""
    left, top, width, height = face.box
    across = left + width / 2 - shape[1] / 2
    down = top + height / 2 - shape[0] / 2
    return float(width * height - 2 * (across**2 + down**2))


def _aligned(image: npt.NDArray[np.uint8], face: Face) -> npt.NDArray[np.uint8]:
    """(112, 112, 3): the image turned, scaled and moved so that the five points lie where they should."""
    cosine, sine, shift = _similarity(_POINTS, face.points)
    picture = PIL.Image.fromarray(image)
    shrink = max(1, int(np.hypot(cosine, sine)))
    if shrink > 1:  # bilinear sampling would step over pixels
        picture = picture.reduce(shrink)
    matrix = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
    # Points count from the centre of a pixel, Pillow from its corner.
    matrix[:, 2] += 0.5 - matrix[:, :2].sum(axis=1) / 2
    coefficients = tuple((matrix / shrink).ravel().tolist())
    turned = picture.transform(
        (_SIDE, _SIDE), PIL.Image.Transform.AFFINE, coefficients, resample=PIL.Image.Resampling.BILINEAR
    )
    return np.asarray(turned)


def _similarity(
    source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]
) -> tuple[float, float, npt.NDArray[np.float64]]:
    """Least squares (scale cosine, scale sine, shift) that take points of (n, 2) to others, without reflection.

    Umeyama, IEEE TPAMI 13(4), 1991; in two dimensions a quotient of complex numbers.
    """
    from_centre, to_centre = source.mean(axis=0), target.mean(axis=0)
    before = (source - from_centre) @ np.array([1, 1j])
    after = (target - to_centre) @ np.array([1, 1j])
    turn = np.vdot(before, after) / np.vdot(before, before).real
    moved = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]]) @ from_centre
    return turn.real, turn.imag, to_centre - moved


def _embed(face: npt.NDArray[np.uint8], model: Path | None) -> npt.NDArray[np.float32]:
    """(d,) as the network gives it."""
    network = face_embedder(model)
    pixels = face.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    if model is not None:
        pixels = (pixels - 127.5) / 127.5  # SFace does so itself
    (vectors,) = network.run(None, {network.get_inputs()[0].name: pixels})
    return np.asarray(vectors, np.float32).reshape(-1)
