"""Back-propagation through time as a sum: under every column what its step adds to the gradient of a parameter.

The dark bar is the contribution's part along the gradient: these parts, signs included, add up to the gradient's norm. The
pale bar is the contribution's own norm, which is longer where contributions point elsewhere and cancel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import marks as marking, text, theme
from .scene import Panel, Scene, Words

HEIGHT = 54.0                      # of the longest bar
DARK, PALE, AGAINST = theme.BLUE, "#CFE2F1", theme.ORANGE


def contributions(bars: Any) -> tuple[str, np.ndarray, float]:
    """(name of the parameter, (T, numbers) what each step adds, norm of what enters no step) of a double sum or an array."""
    if hasattr(bars, "terms") and hasattr(bars, "gradient"):
        parts = np.zeros(bars.terms.shape[1:])
        for i in range(len(bars.terms)):
            parts += np.asarray(bars.terms[i])
        outside = float(np.linalg.norm(np.asarray(bars.gradient) - parts.sum(axis=0)))
        scale = float(np.linalg.norm(bars.gradient))
        return str(bars.name), parts.reshape(len(parts), -1), outside if outside > 1e-6 * scale else 0.0
    parts = np.asarray(bars)
    if parts.dtype.kind not in "fiu" or not parts.ndim or not parts.size:
        raise TypeError(f"draw(bars=...) got a {type(bars).__name__}: expected what mg.check.bptt returned, or an array (T, ...) whose "
                        "entry t is what step t + 1 adds")
    return "", parts.reshape(len(parts), -1).astype(float), 0.0


def draw(scene: Scene, bars: Any) -> None:
    """Bars under the panels of the steps."""
    name, parts, outside = contributions(bars)
    columns = {panel.step: (panel.left, panel.right) for panel in scene.panels if panel.step is not None}
    if not columns or max(columns) > len(parts):
        raise ValueError(f"draw(bars=...): the contributions are those of {len(parts)} steps, and the picture has "
                         + (f"step {max(columns)}" if columns else "no steps"))
    norms, total = np.linalg.norm(parts, axis=1), parts.sum(axis=0)
    length = float(np.linalg.norm(total))
    along = parts @ total / length if length else np.zeros(len(parts))
    unit = HEIGHT / (float(norms.max()) or 1.0)
    down = max(0.0, -float(np.min(along))) * unit
    _, low, right, _ = scene.bounds()
    base = low - 34 - HEIGHT
    for step, (a, b) in sorted(columns.items()):
        middle, norm, part = (a + b) / 2, float(norms[step - 1]), float(along[step - 1])
        _bar(scene, middle, 22, base, norm * unit, PALE, "#9DB9CF")
        _bar(scene, middle, 12, base, part * unit, DARK if part >= 0 else AGAINST, DARK if part >= 0 else AGAINST)
        scene.texts.append(Words(middle, base - down - 10, text.label(_signed(part)), theme.SMALL, theme.INK))
    left, end = min(a for a, _ in columns.values()), max(b for _, b in columns.values())
    scene.panels.append(Panel(left, base - 0.3, end, base + 0.3, theme.GREY, theme.GREY, rounded=False))
    _folded(scene, columns, along, base - down - 10, HEIGHT / 2 + base)
    words = [text.join("= ", marking.number(float(f"{length:.3g}"))), text.label("norm of the sum" if not name else "norm of")]
    words += [text.join("∂L/∂", text.name_label(name))] if name else []
    words += [text.label(f"and {outside:.2g} outside the steps")] if outside else []
    x = end + theme.GUTTER
    for number, line in enumerate(words):
        size = theme.SIZE if not number else theme.SMALL
        scene.texts.append(Words(x + text.width(line, size) / 2, base + 26 - 13 * number, line, size, theme.INK))
    caption = text.join("what each step adds", text.join(" to ∂L/∂", text.name_label(name)) if name else "",
                        "; dark: its part along the gradient, pale: its norm")
    scene.texts.append(Words(max((left + end) / 2, left + text.width(caption, theme.SMALL) / 2), base - down - 26, caption, theme.SMALL))


def _bar(scene: Scene, middle: float, width: float, base: float, height: float, fill: str, rim: str) -> None:
    low, high = sorted((base, base + height))
    scene.panels.append(Panel(middle - width / 2, low, middle + width / 2, high, fill, rim, rounded=False))


def _folded(scene: Scene, columns: dict[int, tuple[float, float]], along: np.ndarray, y: float, middle: float) -> None:
    """What the steps add that are folded away."""
    steps = sorted(columns)
    for a, b in zip(steps, steps[1:]):
        if b > a + 1:
            x = (columns[a][1] + columns[b][0]) / 2
            scene.texts += [Words(x, y, text.label(_signed(float(along[a:b - 1].sum()))), theme.SMALL, theme.INK),
                            Words(x, middle, text.label("⋯"), 18, theme.GREY)]


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "−") + f"{abs(value):.2g}".replace("e-0", "e−").replace("e-", "e−")
