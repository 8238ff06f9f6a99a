"""Curves as SVG, by hand: small multiples with one legend, nothing to install, the same bytes from the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor

WIDTH, HEIGHT, COLUMNS = 300, 200, 3  # of a panel, and how many stand beside each other
LEFT, TOP, RIGHT, BOTTOM = 44, 28, 10, 34
LEGEND = 26


@dataclass(frozen=True)
class Curve:
    """values: one a round, from 1 on. spread: the least and the largest of each. dashes: as stroke-dasharray."""

    name: str
    colour: str
    dashes: str
    values: tuple[float, ...]
    spread: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Panel:
    """A title, what is above the axis of values, and curves; the x axis is `across`. ticks: its labels, where these are
    no rounds."""

    title: str
    metric: str
    curves: tuple[Curve, ...]
    across: str = "round"
    ticks: tuple[str, ...] = ()


def drawing(panels: Sequence[Panel]) -> str:
    """The whole file."""
    columns = min(COLUMNS, len(panels))
    width, height = columns * WIDTH, ceil(len(panels) / columns) * HEIGHT + LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text { font: 11px sans-serif }</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        *_legend(panels),
    ]
    for place, panel in enumerate(panels):
        x, y = place % columns * WIDTH, place // columns * HEIGHT + LEGEND
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _legend(panels: Sequence[Panel]) -> list[str]:
    curves = {curve.name: curve for panel in panels for curve in panel.curves}
    parts, x = [], 10.0
    for curve in curves.values():
        parts.append(f'<path d="M{x:.0f} 14h28" {_stroke(curve)}/>')
        parts.append(f'<text x="{x + 34:.0f}" y="18">{escape(curve.name)}</text>')
        x += 34 + 6.2 * len(curve.name) + 22
    return parts


def _panel(panel: Panel) -> list[str]:
    low, high = _limits(panel)
    rounds = max(len(curve.values) for curve in panel.curves)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(number: float) -> float:
        return LEFT + (right - LEFT) * (number - 1) / max(rounds - 1, 1)

    def up(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    parts = [f'<text x="{LEFT}" y="14" font-weight="bold">{escape(panel.title)}</text>',
             f'<text x="{right}" y="14" text-anchor="end" fill="#555">{escape(panel.metric)}</text>']  # fmt: skip
    for share in range(5):
        value = low + (high - low) * share / 4
        parts.append(f'<path d="M{LEFT} {up(value):.1f}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{up(value) + 4:.1f}" text-anchor="end" fill="#555">{value:.3g}</text>')
    labels = dict(enumerate(panel.ticks, 1)) or {each: str(each) for each in (1, *range(5, rounds + 1, 5))}
    for number, label in labels.items():
        end = "end" if number == rounds and len(label) > 2 else "middle"  # a word would go beyond the edge
        parts.append(
            f'<text x="{across(number):.1f}" y="{bottom + 14}" text-anchor="{end}" fill="#555">{escape(label)}</text>'
        )
    parts.append(f'<text x="{right}" y="{bottom + 28}" text-anchor="end" fill="#555">{escape(panel.across)}</text>')
    for curve in panel.curves:
        edge = [f"{across(n):.1f},{up(b):.1f}" for n, (_, b) in enumerate(curve.spread, 1)]
        edge += [f"{across(n):.1f},{up(a):.1f}" for n, (a, _) in reversed(list(enumerate(curve.spread, 1)))]
        if edge:
            parts.append(f'<polygon points="{" ".join(edge)}" fill="{curve.colour}" opacity="0.08"/>')
        points = " ".join(f"{across(n):.1f},{up(value):.1f}" for n, value in enumerate(curve.values, 1))
        parts.append(f'<polyline points="{points}" {_stroke(curve)}/>')
    return parts


def _limits(panel: Panel) -> tuple[float, float]:
    """Of the axis of values: round numbers around all curves."""
    values = [value for curve in panel.curves for value in curve.values]
    values += [value for curve in panel.curves for pair in curve.spread for value in pair]
    step = 0.1 if max(values) - min(values) > 0.1 else 0.02
    low = floor(min(values) / step + 1e-9) * step
    return low, max(ceil(max(values) / step - 1e-9) * step, low + step)


def _stroke(curve: Curve) -> str:
    dashes = f' stroke-dasharray="{curve.dashes}"' if curve.dashes else ""
    return f'fill="none" stroke="{curve.colour}" stroke-width="1.6"{dashes}'
