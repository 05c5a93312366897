"""What is written into the shapes: names with the step, operations, shapes, values, tooltips."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import marks as marking
from . import text, theme
from .block import Style
from .heat import Gradients
from .marks import Mark
from .text import Label

Lines = list[tuple[Label, float]]


def style(graph: Any, *, values: bool, shapes: bool, gradients: Gradients | None, backwards: bool = False) -> Style:
    """How this picture's shapes are inscribed."""

    def describe(mark: Mark, step: Any) -> tuple[Lines, Lines, str]:
        node = graph.nodes[mark.nodes[-1]] if mark.nodes else None
        name = title(mark, step)
        words = mark.words
        if mark.role == "loss" and mark.name and marking.is_loss(mark.op):
            words = name
        elif mark.name and not mark.circle:
            # A sum of several arrows with a name of its own: "gates = Σ + b".
            many = mark.op == "add" and len(mark.sources) > 1
            words = text.join(name, " = Σ " if many and mark.sums else " = ", mark.words)
        box: Lines = [(words, theme.SIZE)]
        circle: Lines = [(name, theme.SIZE)]
        if node is None:
            return box, circle, ""
        value = np.asarray(node.value)
        if values and mark.op != "elsewhere":
            (circle if mark.circle else box).append((text.label(summary(value)), theme.TINY))
        elif shapes and mark.circle and value.ndim:
            circle.append((text.label(marking.shape_text(value.shape)), theme.TINY))
        return box, circle, tooltip(mark, node, step)

    def tooltip(mark: Mark, node: Any, step: Any) -> str:
        parts = [text.flat(title(mark, step)), marking.op_name(node) if node.op is not None else node.kind,
                 f"shape {tuple(node.value.shape)}"]
        if gradients is not None and node.tensor is not None:
            found = gradients.get(mark.nodes[-1])
            parts.append("no gradient" if found is None else f"|gradient| = {np.linalg.norm(found):.3g}")
        return "  ".join(part for part in dict.fromkeys(parts) if part)

    return Style(describe, backwards or gradients is not None)


def title(mark: Mark, step: Any) -> Label:
    """The mark's name with its step, or what it says if it has no name."""
    if mark.op == "elsewhere":
        return mark.words
    if mark.name:
        return text.name_label(mark.name, step)
    return mark.words if not (mark.role == "input" and step) else text.join(mark.words, ((str(step), True),))


def summary(value: np.ndarray) -> str:
    """A few numbers: all of them up to three, else mean ± standard deviation."""
    if value.dtype.kind not in "fiubc":
        return str(value.dtype)
    if value.size == 0:
        return "empty"
    if value.size <= 3:
        flat = value.reshape(-1)
        digits = ", ".join(marking.number(round_off(v.item())) for v in flat)
        return digits if value.ndim == 0 else f"[{digits}]"
    with np.errstate(all="ignore"):
        mean, spread = np.abs(value).mean() if value.dtype.kind == "c" else value.mean(), value.std()
    return f"{marking.number(round_off(float(mean)))} ± {float(spread):.2g}"


def round_off(value: Any) -> Any:
    """Three significant digits are enough on a picture."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
