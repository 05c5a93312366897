"""Two small figures as SVG text, with no plotting library: curves over time, and a matrix as heat."""
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

Curve = tuple[Sequence[float], Sequence[float]]
INK, PALE = "#333333", "#dddddd"
HUES = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"                   # Okabe and Ito's hues


def _text(x: float, y: float, words: Any, anchor: str = "middle", colour: str = INK, size: int = 12) -> str:
    look = f'text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(str(words))}</text>'


def _shade(share: float) -> str:
    """From white (0) to vermilion (1)."""
    return f"rgb({255 - 42 * share:.0f},{255 - 161 * share:.0f},{255 - 255 * share:.0f})"


def _svg(width: int, height: int, parts: Iterable[str]) -> str:
    size = f'width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} font-family="sans-serif">'
    return "\n".join([head, f'<rect {size} fill="white"/>', *parts, "</svg>", ""])


def _step(low: float, high: float, count: int = 5) -> float:
    """A round distance, so that about ``count`` of it fit between low and high."""
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high."""
    step = _step(low, high)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _powers(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten from low to high; the powers alone if those are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [m * 10.0 ** k for k in decades for m in ((1, 2, 5) if len(decades) < 5 else (1,))]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


def _apart(places: Iterable[float], gap: float, bottom: float) -> list[float]:
    """Sorted places moved so that they are ``gap`` apart and not below ``bottom``, if they fit."""
    moved: list[float] = []
    for place in places:                                            # from the top down, each below the one before
        moved.append(max(place, moved[-1] + gap) if moved else place)
    for i in range(len(moved) - 1, -1, -1):                         # and those that fell off the bottom up again
        moved[i] = min(moved[i], bottom)
        bottom = moved[i] - gap
    return moved


def decades(ys: Sequence[float]) -> bool:
    """Are these numbers positive and so far apart that a logarithmic axis shows them better?"""
    return min(ys) > 0 and max(ys) / min(ys) > 20


def curves(lines: Mapping[str, Curve], levels: Mapping[str, float], title: str, x_label: str, y_label: str, *,
           bands: Mapping[str, Curve] | None = None, log: bool = False) -> str:
    """lines: name -> (xs, ys), drawn as curves; levels: name -> y, dashed across. Returns SVG text.

    bands: name of a line -> (lows, highs), a pale area around it.   log: the y axis is logarithmic.
    """
    right = max(150, 70 + 7 * max(map(len, [*lines, *levels]), default=0))                # room for the longest label
    width, height, left, top, bottom = 570 + right, 420, 60, 40, 50
    bands = bands or {}
    xs = [x for line in lines.values() for x in line[0]] or [0, 1]
    ys = [y for line in [*lines.values(), *bands.values()] for y in line[1]] + [y for low, _ in bands.values() for y in low]
    ys = ys + list(levels.values()) or [0, 1]
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    if not log:
        step = _step(y0, y1)
        y0, y1 = step * math.floor(y0 / step + 1e-9), step * math.ceil(y1 / step - 1e-9)
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def across(x: float) -> float:
        return left + (width - left - right) * (x - x0) / (x1 - x0)

    def up(y: float) -> float:
        share = math.log(y / y0) / math.log(y1 / y0) if log else (y - y0) / (y1 - y0)
        return height - bottom - (height - top - bottom) * share

    parts = [_text(left, 22, title, "start", size=15), _text((left + width - right) / 2, height - 10, x_label),
             f'<g transform="translate(16 {height / 2}) rotate(-90)">{_text(0, 0, y_label)}</g>']
    for y in _powers(y0, y1) if log else _ticks(y0, y1):
        parts += [f'<path d="M{left} {up(y):.1f}H{width - right}" stroke="{PALE}"/>',
                  _text(left - 8, up(y) + 4, f"{y:g}", "end")]
    for x in _ticks(x0, x1):
        parts += [f'<path d="M{across(x):.1f} {height - bottom}v5" stroke="{INK}"/>',
                  _text(across(x), height - bottom + 18, f"{x:g}")]
    labels, digits = [], ".3g" if log else f".{max(2, 1 - math.floor(math.log10(step)))}f"
    for name, y in levels.items():
        parts.append(f'<path d="M{left} {up(y):.1f}H{width - right}" stroke="{INK}" stroke-dasharray="5 4"/>')
        labels.append((up(y), f"{name} {y:{digits}}", INK))
    for i, (name, (line_x, line_y)) in enumerate(lines.items()):
        hue, dashes = HUES[i % len(HUES)], i // len(HUES) * 2
        if name in bands:
            low, high = bands[name]
            edge = [*zip(line_x, high), *reversed([*zip(line_x, low)])]
            points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in edge)
            parts.append(f'<polygon points="{points}" fill="{hue}" fill-opacity="0.15"/>')
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(line_x, line_y))
        look = f' stroke-dasharray="{dashes} 3"' if dashes else ""
        parts.append(f'<polyline points="{points}" fill="none" stroke="{hue}" stroke-width="1.8"{look}/>')
        if line_y:
            labels.append((up(line_y[-1]), f"{name} {line_y[-1]:{digits}}", hue))
    labels.sort()
    for place, (_, words, hue) in zip(_apart([y for y, _, _ in labels], 15, height - 12), labels):
        parts.append(_text(width - right + 8, place + 4, words, "start", hue))
    return _svg(width, height, parts)


def heat(matrix: Sequence[Sequence[float | None]], title: str, x_label: str, y_label: str) -> str:
    """A matrix of sizes as squares, red by log10; None leaves a square out. Steps count from 1. Returns SVG text."""
    rows, columns = len(matrix), len(matrix[0])
    logs = [math.log10(v) for row in matrix for v in row if v]
    high = math.ceil(max(logs, default=0))
    low = max(math.floor(min(logs, default=-1)), high - 8)
    low = min(low, high - 1)
    cell, left, top = min(18, 480 / max(rows, columns)), 70, 50
    parts = [_text(left, 24, title, "start", size=15)]
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            if value is not None:
                share = min(max((math.log10(value) - low) / (high - low), 0.0), 1.0) if value else 0.0
                words = escape(f"{y_label} {i + 1}, {x_label} {j + 1}: {value:.2e}")
                parts.append(f'<rect x="{left + j * cell:.1f}" y="{top + i * cell:.1f}" width="{cell:.1f}" '
                             f'height="{cell:.1f}" fill="{_shade(share)}" stroke="{PALE}" stroke-width="0.5">'
                             f'<title>{words}</title></rect>')
    every = max(1, round(columns / 8))
    for k in range(0, max(rows, columns), every):
        if k < columns:
            parts.append(_text(left + (k + 0.5) * cell, top + rows * cell + 16, k + 1, size=11))
        if k < rows:
            parts.append(_text(left - 6, top + (k + 0.7) * cell, k + 1, "end", size=11))
    width, height = left + columns * cell + 120, top + rows * cell + 55
    parts += [_text(left + columns * cell / 2, height - 12, x_label),
              f'<g transform="translate(20 {top + rows * cell / 2:.1f}) rotate(-90)">{_text(0, 0, y_label)}</g>']
    for k in range(9):                                               # the legend
        share, x = 1 - k / 8, left + columns * cell + 24
        parts.append(f'<rect x="{x:.1f}" y="{top + 14 * k}" width="16" height="14" fill="{_shade(share)}" '
                     f'stroke="{PALE}" stroke-width="0.5"/>')
        if k in (0, 8):
            parts.append(_text(x + 22, top + 14 * k + 11, f"1e{low + (high - low) * share:+.0f}", "start", size=11))
    return _svg(math.ceil(width), math.ceil(max(height, top + 140)), parts)
