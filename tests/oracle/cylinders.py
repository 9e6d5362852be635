# SPDX-License-Identifier: Apache-2.0
"""Descriptors [MCC, section 3]; ``cpp/fingerprint/cylinder.cpp``. Equal to the core to the bit."""

from functools import cache

import numpy as np
import numpy.typing as npt

from oracle.angle import Floats, Ints, cosine, rounded, sine, wrapped
from oracle.constants import C
from oracle.template import Normalised

SCALE = 1 << 13  # contributions are whole numbers: each kernel's peak is this
REACH = int(np.float32(3) * np.float32(C["kCellSigma"]))  # pixels, beyond which a Gaussian is nothing
SECTORS = int(C["kSectors"])
SECTOR_WIDTH = 256 / SECTORS  # units


def cylinders(minutiae: Normalised) -> npt.NDArray[np.uint64]:
    """One cylinder a minutia as (n, words) of bits; none set where too few minutiae reach into it."""
    cells = cell_centres()
    bits = np.zeros((len(minutiae), len(cells) * SECTORS), np.bool_)
    for m in range(len(minutiae)):
        neighbours, sums = _sums(minutiae, m, cells)
        if neighbours >= C["kLeastNeighbours"]:
            bits[m] = (sums > threshold()).ravel()
    words = -(-bits.shape[1] // 64)
    padded = np.zeros((len(minutiae), 64 * words), np.bool_)
    padded[:, : bits.shape[1]] = bits
    return np.packbits(padded, axis=1, bitorder="little").view("<u8")


@cache
def cell_centres() -> npt.NDArray[np.float32]:
    """(cells, 2) pixels, in the minutia's own frame [MCC, equation 1]: those within the radius."""
    radius, across = np.float32(C["kCylinderRadius"]), int(C["kCellsAcross"])
    side = np.float32(2) * radius / np.float32(across)
    along = (np.arange(across, dtype=np.float32) + np.float32(0.5)) * side - radius
    x, y = np.meshgrid(along, along, indexing="ij")
    inside = x * x + y * y <= radius * radius
    return np.stack([x[inside], y[inside]], axis=1)


@cache
def spatial_kernel() -> Ints:
    """Contribution by squared distance in pixels [MCC, equation 7], of peak SCALE."""
    squared = np.arange(REACH * REACH + 1)
    return rounded(SCALE * np.exp(-squared / (2 * C["kCellSigma"] ** 2)))


@cache
def directional_kernel() -> Ints:
    """(256, sectors): contribution by difference of directions [MCC, equation 9], of peak SCALE."""
    difference, sector = np.meshgrid(np.arange(256), np.arange(SECTORS), indexing="ij")
    offset = wrapped(-128 + (sector + 0.5) * SECTOR_WIDTH - wrapped(difference))
    return rounded(SCALE * _sector_mass(offset) / _sector_mass(np.zeros(())))


@cache
def threshold() -> int:
    """What a sum of contributions must exceed to set a bit; the true peaks of both kernels stand here."""
    spatial_peak = 1 / (C["kCellSigma"] * np.sqrt(2 * np.pi))
    return int(C["kCellThreshold"] / (spatial_peak * float(_sector_mass(np.zeros(())))) * SCALE * SCALE)


def _sector_mass(offset: Floats) -> Floats:
    """Of a Gaussian over a sector whose centre is `offset` away, by 64 midpoints [MCC, equation 11]."""
    midpoints = SECTOR_WIDTH * ((np.arange(64) + 0.5) / 64 - 0.5)
    z = (offset[..., None] + midpoints) / C["kSectorSigma"]
    density = np.exp(-z * z / 2) / (C["kSectorSigma"] * np.sqrt(2 * np.pi))
    return np.asarray(density.mean(axis=-1) * SECTOR_WIDTH)


def _sums(minutiae: Normalised, m: int, cells: npt.NDArray[np.float32]) -> tuple[int, Ints]:
    """How many minutiae reach into the cylinder of m, and (cells, sectors) of what they contribute."""
    dx = (minutiae.x - minutiae.x[m]).astype(np.float32)
    dy = (minutiae.y - minutiae.y[m]).astype(np.float32)
    farthest = np.float32(C["kCylinderRadius"]) + np.float32(REACH)
    near = (dx * dx + dy * dy <= farthest * farthest) & (np.arange(len(minutiae)) != m)
    dx, dy = dx[near], dy[near]
    c, s = np.float32(cosine(minutiae.direction[m])), np.float32(sine(minutiae.direction[m]))
    ex = cells[:, 0] - (dx * c + dy * s)[:, None]
    ey = cells[:, 1] - (dy * c - dx * s)[:, None]
    squared = ex * ex + ey * ey
    within = squared <= np.float32(REACH * REACH)
    weight = np.where(within, spatial_kernel()[np.where(within, squared, 0).astype(np.int64)], 0)
    by_sector = directional_kernel()[(minutiae.direction[m] - minutiae.direction[near]) % 256]
    return int(within.any(axis=1).sum()), np.einsum("tc,ts->cs", weight, by_sector)
