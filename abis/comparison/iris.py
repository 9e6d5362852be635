# SPDX-License-Identifier: Apache-2.0
"""Compare iris codes: how many bits agree, at the best of several rotations. The Python interface of ``cpp/iris``.

The raw score is (agreeing less disagreeing bits) / sqrt(bits that count in both), the most over rotations of up to
:data:`REACH_DEGREES` to both sides. It is the fractional Hamming distance with the correction for the number of bits
compared of J. Daugman, "New methods in iris recognition", IEEE Trans. SMC-B 37(5), 2007, section VI: with few bits, a
small distance says less. It is the same to the bit on every CPU and whichever of the two codes is the probe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from abis import _core
from abis.comparison.minutiae import check_array, check_indices, checked_threads
from abis.errors import TemplateError
from abis.template import IrisCode

__all__ = [
    "REACH_DEGREES",
    "IrisExplanation",
    "explain_irises",
    "iris_scores",
    "iris_scores_of_pairs",
    "packed",
    "rotations",
]

REACH_DEGREES = 22.5
"""How far one eye may be turned against the other, as head and camera are: 8 columns of 128."""

_BLOCK = 64  # bytes; kIrisBlock of cpp/iris/iris.h


def rotations(columns: int) -> int:
    """The number of columns by which a code of ``columns`` columns is turned to each side."""
    return min(columns - 1, int(columns * REACH_DEGREES / 360))


def packed(codes: Sequence[IrisCode]) -> npt.NDArray[np.uint8]:
    """(n, 2, bytes of a code, rounded up to 64) uint8: bits and mask of each, as the core takes references.

    Args:
        codes: one or more, of one shape.
    """
    size = codes[0].bits.size
    rows = np.zeros((len(codes), 2, -(-size // _BLOCK) * _BLOCK), np.uint8)
    for row, code in zip(rows, codes, strict=True):
        row[0, :size] = code.bits.reshape(-1)
        row[1, :size] = code.mask.reshape(-1)
    return rows


def iris_scores(
    probe: IrisCode,
    references: npt.NDArray[np.uint8],
    rows: npt.NDArray[np.int64] | None = None,
    *,
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """Raw scores of a probe against references; see the module. About 0.5 microseconds each for 3,072 bits.

    Args:
        probe: one iris.
        references: (n, 2, bytes) as :func:`packed` makes them of codes of the probe's model and shape.
        rows: (m,) int64, the references wanted; all of them where None.
        threads: how many to use; 0 is one a core. Ctrl-C stops them all.

    Returns:
        (m,) float32; 0 where no bit counts in both codes.

    Raises:
        IndexError: where there is no such row.
    """
    check_array("references", references, np.uint8, dimensions=3)
    check_indices("rows", rows)
    reach = rotations(probe.columns)
    return _core.iris_scores(probe.bits, probe.mask, reach, references, rows, checked_threads(threads))


def iris_scores_of_pairs(
    probes: npt.NDArray[np.uint8],
    references: npt.NDArray[np.uint8],
    probe: npt.NDArray[np.int64],
    reference: npt.NDArray[np.int64],
    *,
    shape: tuple[int, int],
    threads: int = 0,
) -> npt.NDArray[np.float32]:
    """:func:`iris_scores` of some pairs, to the bit. Quickest where equal probes follow each other.

    Args:
        probes: (n, 2, bytes) as :func:`packed` makes them.
        references: (m, 2, bytes) of codes of the same model and shape.
        probe: (p,) int64, rows of probes.
        reference: (p,) int64, rows of references.
        shape: of the codes: columns, and bits of one column (rows times planes).
        threads: how many to use; 0 is one a core.

    Returns:
        (p,) float32.

    Raises:
        IndexError: where there is no such row.
    """
    check_array("probes", probes, np.uint8, dimensions=3)
    check_array("references", references, np.uint8, dimensions=3)
    check_indices("probe", probe)
    check_indices("reference", reference)
    scores = np.empty(len(probe), np.float32)
    if not len(probe):
        return scores
    starts = np.flatnonzero(np.diff(probe, prepend=-1))
    columns, each = shape[0], shape[1] // 8
    size = columns * each
    for start, end in zip(starts, np.append(starts[1:], len(probe)), strict=True):
        bits, mask = (
            np.ascontiguousarray(part[:size].reshape(columns, each)) for part in probes[probe[start]]
        )
        scores[start:end] = _core.iris_scores(
            bits, mask, rotations(columns), references, reference[start:end], checked_threads(threads)
        )
    return scores


@dataclass(frozen=True, eq=False)
class IrisExplanation:
    """Which bits of two codes agree.

    Attributes:
        score: raw score.
        turn: columns by which the reference is turned, forwards, to agree best.
        counted: (rows, columns, planes) bool, bits that count in both, in the columns of the probe.
        differing: the same shape, those of them that differ.
    """

    score: float
    turn: int
    counted: npt.NDArray[np.bool_]
    differing: npt.NDArray[np.bool_]


def explain_irises(probe: IrisCode, reference: IrisCode) -> IrisExplanation:
    """Compare two codes and tell which bits agree. Of equally good rotations the smallest is taken.

    Raises:
        TemplateError: the codes may not be compared.
    """
    if not probe.position.is_comparable(reference.position):
        raise TemplateError(
            f"the reference is of {reference.position.name}; the probe, of {probe.position.name}, "
            "is compared with its own position only"
        )
    if (probe.model, probe.shape) != (reference.model, reference.shape):
        raise TemplateError(f"{reference} is of another model or shape than {probe}")
    bits, mask = probe.unpacked()
    their_bits, their_mask = reference.unpacked()
    reach = rotations(probe.columns)
    best = IrisExplanation(0.0, 0, np.zeros_like(mask), np.zeros_like(mask))
    highest = -np.inf
    for turn in sorted(range(-reach, reach + 1), key=abs):
        counted = mask & np.roll(their_mask, turn, axis=1)
        differing = counted & (bits ^ np.roll(their_bits, turn, axis=1))
        n = int(counted.sum())
        score = (n - 2 * int(differing.sum())) / np.sqrt(n) if n else -np.inf
        if score > highest:
            highest = score
            best = IrisExplanation(float(np.float32(score)), turn, counted, differing)
    return best
