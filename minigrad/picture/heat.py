"""Gradient heat: fills and arrow widths by the logarithm of gradient norms, own marks for zero, NaN, inf and none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import text, theme
from .scene import Panel, Scene, Shape, Words


def gradients(graph: Any, of: Any = None, what: str = "draw(heat=True)") -> Gradients:
    """Node id -> gradient of the graph's one output, or of the number `of`, with respect to it; nothing is left on the tensors."""
    from ..autodiff import cotangents
    if of is None:
        if len(graph.outputs) != 1:
            raise ValueError(f"{what} got {len(graph.outputs)} roots: heat shows the gradients of one number; "
                             "draw one loss, or the sum of them")
        root, name = graph.nodes[graph.outputs[0]].tensor, "the root"
    else:
        root, name = of, "this number"
    if root is None or not root.requires_grad:
        raise ValueError(f"{what}: {name} does not depend on anything that requires gradients, so there are "
                         "none to show; make the weights with mg.parameter, compute outside mg.no_grad(), or draw "
                         "without heat")
    if root.size != 1:
        raise ValueError(f"{what}: {name} has shape {tuple(root.shape)}, gradients are those of one "
                         "number; draw a loss, for example root.sum()" + (", or one entry, h[0, 2]" if of is not None else ""))
    found = Gradients(graph, cotangents(root))
    if of is not None and all(found.get(node.id) is None for node in graph.nodes):
        raise ValueError(f"{what}: nothing in this picture leads to the number that was given; it belongs to another graph: "
                         "take both from the same forward pass")
    return found


class Gradients:
    """Node id -> its gradient, looked up when asked for."""

    def __init__(self, graph: Any, by_index: dict[int, np.ndarray]) -> None:
        self._graph, self._by_index = graph, by_index

    def get(self, number: int) -> np.ndarray | None:
        """The gradient that reached this node, None if there is none."""
        tensor = self._graph.nodes[number].tensor
        found = self._by_index.get(tensor.index) if tensor is not None else None
        return None if found is None else np.asarray(found)


def kind(gradient: np.ndarray | None) -> tuple[str, float]:
    """("" and log10 of the norm) for an ordinary gradient, else the name of its mark."""
    if gradient is None:
        return "missing", 0.0
    if np.isnan(gradient).any():
        return "nan", 0.0
    if np.isinf(gradient).any():
        return "inf", 0.0
    largest = float(np.abs(gradient).max(initial=0.0))
    if largest == 0.0:
        return "zero", 0.0
    # Scaled, so that the squares of tiny gradients do not vanish.
    return "", math.log10(largest) + math.log10(float(np.linalg.norm(gradient / largest)))


class Scale:
    """From the smallest to the largest of these logarithms; one decade at least, so that equal gradients look equal."""

    def __init__(self, logs: list[float]) -> None:
        self.low, self.high = (min(logs), max(logs)) if logs else (0.0, 0.0)
        if self.high - self.low < 1.0:
            wider = (1 - (self.high - self.low)) / 2
            self.low, self.high = self.low - wider, self.high + wider

    def share(self, log: float) -> float:
        """Where this logarithm is, in 0..1."""
        return min(max((log - self.low) / (self.high - self.low), 0.0), 1.0)


def paint_shape(shape: Shape, odd: str, log: float, scale: Scale) -> None:
    """Fill one shape by its gradient."""
    if odd:
        fill, rim, dash, _, _ = theme.ODD[odd]
        shape.fill, shape.dash, shape.hatched = fill, dash or shape.dash, odd == "constant"
        shape.rim = shape.rim if shape.role in ("state", "parameter") and odd != "nan" else rim
    else:
        shape.fill = theme.heat_colour(scale.share(log))
    shape.ink = theme.ink_on(shape.fill)


def paint(scene: Scene, graph: Any, found: Gradients, of: Any = None) -> None:
    """Colour the finished scene and add the legend; the shape of the number `of`, if it is drawn, gets a rim."""
    heat: dict[int, tuple[str, float]] = {}
    for index, shape in enumerate(scene.shapes):
        if shape.nodes and shape.role != "port":
            odd, log = kind(found.get(shape.nodes[-1]))
            heat[index] = ("constant" if odd == "missing" and not graph.nodes[shape.nodes[-1]].requires_grad else odd, log)
    scale = Scale([log for odd, log in heat.values() if not odd])
    for index, (odd, log) in heat.items():
        shape = scene.shapes[index]
        paint_shape(shape, odd, log, scale)
        badge = theme.ODD[odd][3] if odd else ""
        if badge and shape.role != "rail":
            scene.texts.append(Words(shape.x + shape.width / 2, shape.y + shape.height / 2 + 3,
                                     text.label(badge), theme.TINY, theme.INK))
        if of is not None and graph.nodes[shape.nodes[-1]].tensor is of:
            shape.rim, shape.rim_width = theme.RED, 3.2
    flows = _flows(scene, graph, found)
    for index, arrow in enumerate(scene.arrows):
        # Where the part that flows along this arrow is not known, what arrives at its far end stands for it.
        odd, log = kind(flows[index]) if index in flows else (
            heat.get(arrow.ends[1]) or heat.get(arrow.ends[0]) or ("missing", 0.0))
        near = heat.get(arrow.ends[0])
        none = ("missing", "constant")
        if arrow.cut and arrow.ends == (-1, -1):
            continue                                   # the strokes of a cut
        if arrow.cut or near is not None and near[0] in none or odd in none:
            arrow.colour, arrow.width, arrow.dash = "#AAAAAA", 1.0, "3,3"
        elif odd:
            arrow.colour, arrow.width = (theme.ODD[odd][0] if odd != "zero" else "#999999"), 1.2
            arrow.dash = "2,3" if odd == "zero" else ""
        else:
            arrow.tooltip = f"|gradient| = {text.flat(_power(log))}"
            arrow.colour, arrow.width = theme.RED, round(1.0 + 2.4 * scale.share(log), 2)
    _legend(scene, scale.low, scale.high, [odd for odd in theme.ODD if any(o == odd for o, _ in heat.values())])


def _flows(scene: Scene, graph: Any, found: Gradients) -> dict[int, np.ndarray]:
    """Arrow -> the part of the gradient that flows back along it: the operation's own rule for that operand."""
    flows: dict[int, np.ndarray] = {}
    leaving: dict[int, list[int]] = {}
    for index, arrow in enumerate(scene.arrows):
        leaving.setdefault(arrow.ends[0], []).append(index)
        if min(arrow.ends) < 0:
            continue
        lower, upper = (scene.shapes[end] for end in arrow.ends)
        if not lower.nodes or not upper.nodes:
            continue
        if lower.nodes == upper.nodes and upper.role not in ("port", "rail"):
            part = found.get(upper.nodes[-1])    # an operation's box and its value's circle
        else:
            part = _part(graph, found, lower.nodes[-1], upper.nodes)
        if part is not None:
            flows[index] = part
    for index, arrow in enumerate(scene.arrows):
        if arrow.ends[1] >= 0 and scene.shapes[arrow.ends[1]].role == "port":
            onwards = [flows[i] for i in leaving.get(arrow.ends[1], []) if i in flows]
            if onwards:
                with np.errstate(all="ignore"):
                    flows[index] = sum(onwards[1:], onwards[0])
    return flows


def _part(graph: Any, found: Gradients, operand: int, users: tuple[int, ...]) -> np.ndarray | None:
    """What the operation in `users` that reads `operand` gives back to it."""
    total = None
    for number in users:
        node = graph.nodes[number]
        arrived = found.get(number)
        if arrived is None or not hasattr(node.op, "rule"):
            continue
        for position, source in enumerate(node.inputs):
            if source != operand:
                continue
            rule = node.op.rule(position)
            if rule is None:
                continue
            saved = {"saved": None} if getattr(node.op, "saves", False) else {}
            with np.errstate(all="ignore"):
                part = rule(arrived, node.value, *(graph.nodes[i].value for i in node.inputs), **saved,
                            **node.attributes)
            part = np.asarray(part.dense() if hasattr(part, "dense") else part)   # an index's part lives there only
            part = _fold_back(part, graph.nodes[source].value.shape)
            total = part if total is None else total + part
    return total


def _fold_back(part: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo broadcasting: sum over the axes that the operand did not have."""
    if part.ndim < len(shape):
        return part
    part = part.sum(axis=tuple(range(part.ndim - len(shape))))
    return part.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and part.shape[i] != 1), keepdims=True)


def _legend(scene: Scene, low: float, high: float, odd: list[str]) -> None:
    """A strip of the scale, and the marks that occur."""
    left, foot, _, _ = scene.bounds()
    top = foot - 26
    words = text.label("gradient norm")
    at = left + text.width(words, theme.SMALL)
    scene.texts.append(Words(left + text.width(words, theme.SMALL) / 2, top - 7, words, theme.SMALL))
    bar, cells = at + 12, 24
    for i in range(cells):
        colour = theme.heat_colour(i / (cells - 1))
        scene.panels.append(Panel(bar + i * 6, top - 13, bar + i * 6 + 6, top - 1, colour, colour, rounded=False))
    for end, x in ((low, bar), (high, bar + cells * 6)):
        scene.texts.append(Words(x, top - 22, _power(end), theme.SMALL))
    if high - low > 3:
        scene.texts.append(Words(bar + cells * 3, top - 22, _power((low + high) / 2), theme.SMALL))
    at = bar + cells * 6 + 26
    for name in odd:
        fill, rim, dash, badge, meaning = theme.ODD[name]
        scene.shapes.append(Shape(at + 11, top - 7, 22, 14, "box", [(text.label(badge), theme.TINY)] if badge else [],
                                  fill, rim, 1.1, dash, ink=theme.ink_on(fill), role="legend", hatched=name == "constant"))
        words = text.label(meaning)
        wide = text.width(words, theme.SMALL)
        scene.texts.append(Words(at + 28 + wide / 2, top - 7, words, theme.SMALL))
        at += 28 + wide + 20


def _power(log: float) -> text.Label:
    if not -300 < log < 300:
        return text.label(f"1e{log:.0f}".replace("-", "−"))
    return text.label(f"{10 ** log:.2g}".replace("e-0", "e-").replace("e+0", "e+").replace("-", "−"))
