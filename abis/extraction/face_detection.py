# SPDX-License-Identifier: Apache-2.0
"""Faces in an image, by YuNet (Wu et al., Machine Intelligence Research 20, 2023) of OpenCV Zoo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL.Image

from abis.extraction.models import face_detector

__all__ = ["Face", "UprightFaces", "find_faces", "find_upright_faces"]

_SIDE = 640  # pixels: of the network's input
_STRIDES = (8, 16, 32)  # pixels: its three grids
_LEAST_SCORE = 0.6  # as in OpenCV Zoo's demonstration
_MOST_OVERLAP = 0.3  # as there: of two boxes, intersection over union
_SMALL_SIDE = 256  # pixels: of the second look
_QUARTERS = (90, 180, 270)  # degrees anticlockwise
_TILTS = tuple(angle for angle in range(30, 360, 30) if angle % 90)
_CLEARLY_SURER = 0.01  # of scores
_SURELY_UPRIGHT = 0.91
"""A score that no turned portrait of LFW, fold 1, reaches (of 1,614), and 95 % of the upright ones do."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image; all in its pixels, from the centre of the first.

    Attributes:
        box: left, top, width, height.
        points: (5, 2) x and y of right eye, left eye, nose, right and left corner of the mouth; right and left are
            the person's own.
        score: how sure the network is, 0 to 1.
    """

    box: tuple[float, float, float, float]
    points: npt.NDArray[np.float64]
    score: float

    @property
    def eye_distance(self) -> float:
        """Pixels."""
        return float(np.hypot(*(self.points[1] - self.points[0])))

    @property
    def aside(self) -> float:
        """How far the nose lies beside the middle of the eyes, along their line, in eye distances; a sign of yaw."""
        right, left, nose = self.points[:3]
        axis = left - right
        return float((nose - (right + left) / 2) @ axis / (axis @ axis)) if axis.any() else 0.0


def find_faces(image: npt.NDArray[np.uint8]) -> list[Face]:
    """The faces of an (h, w, 3) image, red first; the surest first.

    The network knows faces of up to some 300 pixels. Where it finds none, it looks again at a smaller image, for a
    face that fills the picture.
    """
    largest = max(image.shape[:2])
    for side in (min(largest, _SIDE), _SMALL_SIDE):
        if faces := _find(image, min(1.0, side / largest)):
            return faces
    return []


@dataclass(frozen=True, eq=False)
class UprightFaces:
    """What was found in an image, and how it was turned to find it.

    Attributes:
        image: (h, w, 3), red first: the image that was given, turned.
        faces: in its pixels, the surest first.
        turned: degrees anticlockwise; 0 for an image as it was given.
    """

    image: npt.NDArray[np.uint8]
    faces: list[Face]
    turned: int

    @property
    def score(self) -> float:
        """Of the surest face, 0 where there is none."""
        return self.faces[0].score if self.faces else 0.0


def find_upright_faces(image: npt.NDArray[np.uint8]) -> UprightFaces:
    """The faces of an image that may lie on a side or upside down, or of a head that is tilted.

    The network finds most turned faces too, with points that mislead the alignment: those of an upside-down face are
    those of an upright one. But it is surer of the same face upright. So unless a face is surely upright, the image is
    looked at in all four orientations, and where that leaves doubt, at every 30 degrees.
    """
    best = UprightFaces(image, find_faces(image), 0)
    for angles in (_QUARTERS, _TILTS):
        if best.score >= _SURELY_UPRIGHT:
            break
        for angle in angles:
            turned = _turned(image, angle)
            found = UprightFaces(turned, find_faces(turned), angle)
            if found.score > best.score + _CLEARLY_SURER:
                best = found
    return best


def _turned(image: npt.NDArray[np.uint8], angle: int) -> npt.NDArray[np.uint8]:
    """The whole image turned anticlockwise by degrees; corners are black."""
    if angle % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, angle // 90))
    picture = PIL.Image.fromarray(image)
    return np.asarray(picture.rotate(angle, PIL.Image.Resampling.BICUBIC, expand=True))


def _find(image: npt.NDArray[np.uint8], scale: float) -> list[Face]:
    """Faces found in the image at ``scale``."""
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    if scale < 1:
        picture = PIL.Image.fromarray(image).resize((width, height), PIL.Image.Resampling.BILINEAR)
        image = np.asarray(picture)
    canvas = np.zeros((1, 3, _SIDE, _SIDE), np.float32)
    canvas[0, :, :height, :width] = image[..., ::-1].transpose(2, 0, 1)  # blue first
    network = face_detector()
    names = [output.name for output in network.get_outputs()]
    maps = dict(zip(names, network.run(None, {"input": canvas}), strict=True))
    boxes, points, scores = (
        np.concatenate(parts) for parts in zip(*(_decode(maps, s) for s in _STRIDES), strict=True)
    )
    return [
        Face(tuple((boxes[i] / scale).tolist()), points[i] / scale, float(scores[i]))
        for i in _strongest(boxes, scores)
    ]


def _decode(
    maps: dict[str, npt.NDArray[np.float32]], stride: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(k, 4) boxes, (k, 5, 2) points and (k,) scores that are high enough, of one grid."""
    product = maps[f"cls_{stride}"].clip(0, 1) * maps[f"obj_{stride}"].clip(0, 1)
    scores = np.sqrt(product.astype(np.float64)).ravel()
    found = np.flatnonzero(scores >= _LEAST_SCORE)
    corner = np.column_stack([found % (_SIDE // stride), found // (_SIDE // stride)])
    box = maps[f"bbox_{stride}"][0, found].astype(np.float64)
    size = np.exp(box[:, 2:]) * stride
    centre = (corner + box[:, :2]) * stride
    points = maps[f"kps_{stride}"][0, found].reshape(-1, 5, 2).astype(np.float64)
    return np.hstack([centre - size / 2, size]), (points + corner[:, np.newaxis]) * stride, scores[found]


def _strongest(boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.float64]) -> list[int]:
    """The places of those boxes that overlap no surer one."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if all(_overlap(boxes[i], boxes[j]) <= _MOST_OVERLAP for j in kept):
            kept.append(i)
    return kept


def _overlap(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    """Intersection over union."""
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    common = float(np.prod((high - low).clip(0)))
    return common / float(np.prod(first[2:]) + np.prod(second[2:]) - common)
