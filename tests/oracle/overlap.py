# SPDX-License-Identifier: Apache-2.0
"""Where the other print reaches; ``cpp/fingerprint/overlap.cpp``."""

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats
from oracle.edges import Edges


def inside_hull(points: Floats, of: Floats, margin: float, edges: Edges) -> npt.NDArray[np.bool_]:
    """(k,): which points lie in the convex hull of others, each of its edges moved outwards by a margin."""
    if len(points) == 0:
        return np.zeros(0, np.bool_)
    normals, offsets = _half_planes(of, edges)
    beyond = (points @ normals.T - offsets - margin).max(axis=1)
    edges.note(beyond, 2e-3)
    return np.asarray(beyond <= 0)


def _half_planes(of: Floats, edges: Edges) -> tuple[Floats, Floats]:
    """(e, 2) outward normals and (e,) offsets of the edges; a line has ends, a single place four sides."""
    places = np.unique(of, axis=0)
    corners = _corners(places)
    if len(corners) == 1:
        normals = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float64)
        return normals, normals @ corners[0]
    along = np.roll(corners, -1, axis=0) - corners
    along /= np.hypot(along[:, 0], along[:, 1])[:, None]
    normals = np.stack([along[:, 1], -along[:, 0]], axis=1)
    is_whole = bool((of == np.rint(of)).all())
    if len(places) > 2 and not is_whole:  # rounding makes a sliver of a line, and its ends reach far
        edges.note(min(float(np.ptp(of @ normal)) for normal in normals), 1e-2)
    if len(corners) == 2:
        normals = np.concatenate([normals, along])
    return normals, (of @ normals.T).max(axis=0)


def _corners(points: Floats) -> Floats:
    """The convex hull of points in lexicographic order, anticlockwise: the monotone chain (Andrew 1979)."""

    def chain(ordered: Floats) -> list[Floats]:
        hull: list[Floats] = []
        for p in ordered:
            while len(hull) >= 2 and _cross(hull[-1] - hull[-2], p - hull[-2]) <= 0:
                hull.pop()
            hull.append(p)
        return hull[:-1]

    return points if len(points) < 2 else np.array(chain(points) + chain(points[::-1]))


def _cross(a: Floats, b: Floats) -> float:
    return float(a[0] * b[1] - a[1] * b[0])
