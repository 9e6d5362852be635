# SPDX-License-Identifier: Apache-2.0
"""What minutiae templates look like, alone and in mated pairs, for the benchmark of synthetic ones.

Every statistic is a sample, (m,) float64, pooled over templates; shares are means of zeros and ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RBFInterpolator
from scipy.spatial import ConvexHull, Delaunay

from abis.synthetic.randomness import kernel
from abis.template import Minutiae

__all__ = ["Statistics", "of_mates", "of_templates"]

Statistics = dict[str, npt.NDArray[np.float64]]
Samples = dict[str, list[npt.NDArray[Any]]]
Points = npt.NDArray[np.float64]

LEAST_MINUTIAE = 12  # of a template whose neighbourhoods are looked at
CLOSE_PX, CLOSE_DEGREES = 14.0, 25.0  # within which two minutiae may be one
QUALITIES = ((0, 20), (20, 40), (40, 60), (60, 80), (80, 101))  # bands: from, to below
CERTAIN = 60  # quality from which pyfing keeps minutiae
LARGEST_TURN_DEGREES = 50.0


def of_templates(templates: Sequence[Minutiae]) -> Statistics:
    """Number, area, spacing, directions and kinds."""
    samples: Samples = defaultdict(list)
    for template in templates:
        points, degrees = _geometry(template)
        samples["minutiae"].append(np.array([len(points)]))
        samples["minutiae of quality 60 and more"].append(np.array([(template.quality >= CERTAIN).sum()]))
        samples["quality"].append(template.quality)
        samples["ending, share"].append(template.kind == 1)
        if len(points) < LEAST_MINUTIAE:
            continue
        samples["hull area, px²"].append(np.array([ConvexHull(points).volume]))
        distance = np.linalg.norm(points[:, None] - points, axis=2)
        np.fill_diagonal(distance, np.inf)
        samples["nearest neighbour, px"].append(distance.min(axis=1))
        turn = np.abs(_wrapped(degrees[:, None] - degrees))
        flow_turn = np.minimum(turn, 180 - turn)
        for low, high in ((9, 20), (20, 50), (50, 100)):
            ring = (distance >= low) & (distance < high)
            samples[f"ridge turn at {low}-{high} px, °"].append(flow_turn[ring])
            samples[f"same sense at {low}-{high} px, share"].append(turn[ring] < 90)
        samples["up the divergence, share"].append(_divergence(points, degrees) > 0)
    return _pooled(samples)


def of_mates(pairs: Sequence[tuple[Minutiae, Minutiae]]) -> Statistics:
    """What changes from one impression of a finger to another, where the two can be aligned."""
    samples: Samples = defaultdict(list)
    for first, second in pairs:
        is_aligned = _add_mates(samples, first, second)
        samples["aligned, share"].append(np.array([is_aligned]))
    return _pooled(samples)


def _add_mates(samples: Samples, first: Minutiae, second: Minutiae) -> bool:
    points, degrees = _geometry(first)
    others, other_degrees = _geometry(second)
    pairs = np.array(_consensus(points, degrees, others, other_degrees), dtype=np.int64).reshape(-1, 2)
    needed = max(8.0, 0.3 * min(len(points), len(others)))
    for _ in range(3):
        if len(pairs) < needed:
            return False
        moved, turned = _rigid(points, degrees, points[pairs[:, 0]], others[pairs[:, 1]])
        pairs = _one_to_one(moved, turned, others, other_degrees)
    if len(pairs) < needed:
        return False
    mine, theirs = pairs.T
    displacement = others[theirs] - moved[mine]
    samples["turned, |°|"].append(np.abs(_wrapped(turned[:1] - degrees[:1])))
    near = np.linalg.norm(moved[mine][:, None] - moved[mine], axis=2)
    strain = np.linalg.norm(displacement[:, None] - displacement, axis=2) / 2  # per coordinate and impression
    for low, high in ((10, 30), (60, 100), (150, 200)):
        samples[f"distortion at {low}-{high} px, px"].append(strain[(near >= low) & (near < high)])

    # The skin's distortion taken out, what is left is the extractor's.
    spline = RBFInterpolator(moved[mine], displacement, smoothing=3e3)
    moved = moved + spline(moved)
    pairs = _one_to_one(moved, turned, others, other_degrees)
    if len(pairs) < needed:
        return False
    mine, theirs = pairs.T
    in_theirs, in_mine = _is_inside(moved, others), _is_inside(others, moved)
    samples["in the overlap, share"].append(np.concatenate([in_theirs, in_mine]))
    is_found, is_found_back = np.isin(np.arange(len(moved)), mine), np.isin(np.arange(len(others)), theirs)
    for quality, found, inside in (
        (first.quality, is_found, in_theirs),
        (second.quality, is_found_back, in_mine),
    ):
        if inside.sum() >= 8:
            samples["of the overlap found again, share a print"].append(np.array([found[inside].mean()]))
        samples["quality, found again"].append(quality[inside & found])
        samples["quality, not found again"].append(quality[inside & ~found])
        for low, high in QUALITIES:
            banded = inside & (quality >= low) & (quality < high)
            samples[f"quality {low}-{min(high, 100)} found again, share"].append(found[banded])
    both = np.stack([first.quality[mine], second.quality[theirs]]).astype(np.float64)
    samples["quality differs"].append(np.abs(both[0] - both[1]))
    samples["quality of both, lower one"].append(both.min(axis=0))
    apart = np.linalg.norm(others[theirs] - moved[mine], axis=1)
    is_certain = both.min(axis=0) >= CERTAIN
    samples["position differs, px"].append(apart)
    samples["position differs, one is uncertain, px"].append(apart[~is_certain])
    turn = np.abs(_wrapped(other_degrees[theirs] - turned[mine]))
    samples["direction differs, |°|"].append(turn)
    samples["direction differs, one is uncertain, |°|"].append(turn[~is_certain])
    samples["other kind, share"].append(first.kind[mine] != second.kind[theirs])
    return True


def _geometry(template: Minutiae) -> tuple[Points, npt.NDArray[np.float64]]:
    """Positions at 500 dpi, y upwards, and directions in degrees."""
    per_cm = np.array(template.resolution)
    return np.stack([template.x, -template.y.astype(float)], axis=1) * (
        197 / per_cm
    ), template.direction.astype(np.float64)


def _wrapped(degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return (degrees + 180) % 360 - 180


def _pooled(samples: Samples) -> Statistics:
    return {name: np.concatenate(parts).astype(np.float64) for name, parts in samples.items()}


def _divergence(points: Points, degrees: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Divergence of the ridges along each minutia's direction, by a plane through its neighbours' turns."""
    divergence = []
    for point, along in zip(points, np.radians(degrees), strict=True):
        offset = points - point
        distance = np.linalg.norm(offset, axis=1)
        turn = (np.radians(degrees) - along + np.pi / 2) % np.pi - np.pi / 2
        used = (distance > 12) & (distance < 70) & (np.abs(turn) < np.radians(50))
        if used.sum() >= 4:
            axes = np.array([[np.cos(along), np.sin(along)], [-np.sin(along), np.cos(along)]])
            divergence.append(np.linalg.lstsq(offset[used] @ axes.T, turn[used])[0][1])
    return np.array(divergence)


@kernel
def _consensus(
    points: Points, degrees: npt.NDArray[np.float64], others: Points, other_degrees: npt.NDArray[np.float64]
) -> list[tuple[int, int]]:
    """The pairs that agree with the one pair whose rotation and shift most minutiae agree with."""
    best = [(0, 0)]
    for i in range(len(points)):
        for j in range(len(others)):
            turn = (other_degrees[j] - degrees[i] + 180) % 360 - 180
            if abs(turn) > LARGEST_TURN_DEGREES:
                continue
            cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
            agreed = [(i, j) for _ in range(0)]
            for k in range(len(points)):
                dx, dy = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1]
                x, y = others[j, 0] + cos * dx - sin * dy, others[j, 1] + sin * dx + cos * dy
                for m in range(len(others)):
                    if abs(others[m, 0] - x) < CLOSE_PX and abs(others[m, 1] - y) < CLOSE_PX:
                        differs = (degrees[k] + turn - other_degrees[m] + 180) % 360 - 180
                        if abs(differs) < CLOSE_DEGREES:
                            agreed.append((k, m))
                            break
            if len(agreed) > len(best):
                best = agreed
    return best


def _rigid(
    points: Points, degrees: npt.NDArray[np.float64], source: Points, target: Points
) -> tuple[Points, npt.NDArray[np.float64]]:
    """Points and directions after the rotation and shift that best bring source to target."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    angle = np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - source.mean(axis=0)) @ rotation.T + target.mean(axis=0), degrees + np.degrees(angle)


def _one_to_one(
    points: Points, degrees: npt.NDArray[np.float64], others: Points, other_degrees: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Pairs, (m, 2), nearest first, each minutia once."""
    distance = np.linalg.norm(points[:, None] - others, axis=2)
    turn = np.abs(_wrapped(degrees[:, None] - other_degrees))
    cost = distance / CLOSE_PX + turn / CLOSE_DEGREES
    cost[(distance > CLOSE_PX) | (turn > CLOSE_DEGREES)] = np.inf
    pairs = []
    while np.isfinite(cost.min(initial=np.inf)):
        i, j = np.unravel_index(cost.argmin(), cost.shape)
        pairs.append((i, j))
        cost[i], cost[:, j] = np.inf, np.inf
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _is_inside(points: Points, others: Points) -> npt.NDArray[np.bool_]:
    """Which points lie within the convex hull of the others."""
    inside: npt.NDArray[np.bool_] = Delaunay(others).find_simplex(points) >= 0
    return inside
