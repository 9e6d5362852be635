# SPDX-License-Identifier: Apache-2.0
"""Small line plots as SVG, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["Line", "plot"]

Line = Sequence[tuple[float, float]]

_WIDTH, _HEIGHT = 520, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 20, 55
_COLOURS = ("#1f6fb4", "#c8501e", "#2e8b57", "#7d4fa0", "#444444")


def plot(
    path: Path,
    *,
    title: str,
    x: tuple[str, float, float],
    y: tuple[str, float, float],
    lines: Mapping[str, Line],
    decades: bool = False,
) -> None:
    """Draw lines and the diagonal, on which what was said is what was seen.

    Args:
        path: of the file.
        title: for screen readers.
        x: name and ends of the axis, whole numbers.
        y: likewise.
        lines: by name, points; what is outside the axes is left out.
        decades: whether the numbers are powers of 10.
    """
    (x_name, x0, x1), (y_name, y0, y1) = x, y

    def at(px: float, py: float) -> tuple[float, float]:
        return (
            _LEFT + (px - x0) / (x1 - x0) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - (py - y0) / (y1 - y0) * (_HEIGHT - _TOP - _BOTTOM),
        )

    def text(place: tuple[float, float], content: str, more: str = "") -> str:
        return f'<text x="{place[0]:.1f}" y="{place[1]:.1f}"{more}>{content}</text>'

    def label(value: int) -> str:
        if not decades:
            return f"{value}"
        return f'10<tspan dy="-5" font-size="9">{value}</tspan>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">',
        '<g font-family="sans-serif" font-size="12">',
        f"<title>{title}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for value in range(int(x0), int(x1) + 1):
        (left, low), (_, high) = at(value, y0), at(value, y1)
        parts.append(f'<path d="M{left:.1f},{low:.1f}V{high:.1f}" stroke="#e0e0e0"/>')
        parts.append(text((left, low + 18), label(value), ' text-anchor="middle"'))
    for value in range(int(y0), int(y1) + 1):
        (left, low), (right, _) = at(x0, value), at(x1, value)
        parts.append(f'<path d="M{left:.1f},{low:.1f}H{right:.1f}" stroke="#e0e0e0"/>')
        parts.append(text((left - 8, low + 4), label(value), ' text-anchor="end"'))
    parts.append(text(((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 14), x_name, ' text-anchor="middle"'))
    middle = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(text((18, middle), y_name, f' text-anchor="middle" transform="rotate(-90 18 {middle})"'))
    low, high = max(x0, y0), min(x1, y1)
    parts.append(_path([at(low, low), at(high, high)], "#888888", ' stroke-dasharray="4 4"'))
    for place, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        inside = [at(px, py) for px, py in line if x0 <= px <= x1 and y0 <= py <= y1]
        parts.append(_path(inside, colour, ' stroke-width="2"'))
        parts.append(text((_LEFT + 14, _TOP + 18 + 16 * place), name, f' fill="{colour}"'))
    path.write_text("\n".join([*parts, "</g>", "</svg>"]) + "\n", encoding="utf-8")


def _path(points: Sequence[tuple[float, float]], colour: str, more: str) -> str:
    steps = "L".join(f"{px:.1f},{py:.1f}" for px, py in points)
    return f'<path d="M{steps}" fill="none" stroke="{colour}"{more}/>'
