"""Two small figures as SVG text, with no plotting library: curves over time, and a matrix as heat."""
import math
from html import escape

INK, PALE, HUES = "#333333", "#dddddd", ("#0072b2", "#d55e00", "#009e73", "#cc79a7")      # Okabe and Ito's hues


def _text(x, y, words, anchor="middle", colour=INK, size=12):
    look = f'text-anchor="{anchor}" fill="{colour}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(str(words))}</text>'


def _shade(share):
    """From white (0) to vermilion (1)."""
    return f"rgb({255 - 42 * share:.0f},{255 - 161 * share:.0f},{255 - 255 * share:.0f})"


def _svg(width, height, parts):
    size = f'width="{width}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size} font-family="sans-serif">'
    return "\n".join([head, f'<rect {size} fill="white"/>', *parts, "</svg>", ""])


def _ticks(low, high, count=5):
    """Round numbers from low to high, at most about ``count`` of them."""
    rough = (high - low) / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def curves(lines, levels, title, x_label, y_label):
    """lines: name -> (xs, ys), drawn as curves; levels: name -> y, dashed across. Returns SVG text."""
    width, height, left, right, top, bottom = 720, 420, 60, 150, 40, 50
    xs = [x for line in lines.values() for x in line[0]] or [0, 1]
    ys = [y for line in lines.values() for y in line[1]] + list(levels.values()) or [0, 1]
    x0, x1, y0, y1 = min(xs), max(xs), math.floor(min(ys)), math.ceil(max(ys))
    x1, y1 = (x1 if x1 > x0 else x0 + 1), (y1 if y1 > y0 else y0 + 1)

    def across(x):
        return left + (width - left - right) * (x - x0) / (x1 - x0)

    def up(y):
        return height - bottom - (height - top - bottom) * (y - y0) / (y1 - y0)

    parts = [_text(left, 22, title, "start", size=15), _text((left + width - right) / 2, height - 10, x_label),
             f'<g transform="translate(16 {height / 2}) rotate(-90)">{_text(0, 0, y_label)}</g>']
    for y in _ticks(y0, y1):
        parts += [f'<path d="M{left} {up(y):.1f}H{width - right}" stroke="{PALE}"/>',
                  _text(left - 8, up(y) + 4, f"{y:g}", "end")]
    for x in _ticks(x0, x1):
        parts += [f'<path d="M{across(x):.1f} {height - bottom}v5" stroke="{INK}"/>',
                  _text(across(x), height - bottom + 18, f"{x:g}")]
    labels = []
    for name, y in levels.items():
        parts.append(f'<path d="M{left} {up(y):.1f}H{width - right}" stroke="{INK}" stroke-dasharray="5 4"/>')
        labels.append((up(y), f"{name} {y:.2f}", INK))
    for (name, (line_x, line_y)), hue in zip(lines.items(), HUES):
        points = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in zip(line_x, line_y))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{hue}" stroke-width="1.8"/>')
        if line_y:
            labels.append((up(line_y[-1]), f"{name} {line_y[-1]:.2f}", hue))
    floor = -math.inf
    for place, words, hue in sorted(labels):                        # from the top down, each below the one before
        floor = max(place, floor + 15)
        parts.append(_text(width - right + 8, floor + 4, words, "start", hue))
    return _svg(width, height, parts)


def heat(matrix, title, x_label, y_label):
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
