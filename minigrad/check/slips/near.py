"""What a value could be confused with: the same one of another step, another one of the same step, another parameter."""
from __future__ import annotations

from typing import Any

import numpy as np

from ...formulas import atom
from ..edges import Edge
from ..perturb import Reverse

Key = tuple[str, Any]               # of a value that could be confused: ("same", its node) or ("before", the line that hands it on)


def shifted(r: Reverse, edge: Edge, d: int) -> np.ndarray | None:
    """The local derivative of the same line at another step; before the first, of the initial state if it has that; None without one."""
    other = r.lines[edge.line].get((edge.step or 0) + d)
    if other is not None:
        return other.D
    node, before = r.nodes[edge.source], r.beside(edge.source, d)
    if before is None or len(node.inputs) > 1:
        return None
    y = r.value(before)
    return np.asarray(node.op.rule(0)(np.ones_like(y), y, y, **node.attributes))


def slope_at_argument(r: Reverse, edge: Edge) -> np.ndarray:
    """f′ with the argument in place of the result, as 1 - a² for tanh."""
    node = r.nodes[edge.source]
    x = r.value(node.inputs[0])
    return np.asarray(node.op.rule(0)(np.ones_like(x), x, x, **node.attributes))


def operand(r: Reverse, edge: Edge, d: int, border: str) -> np.ndarray:
    """The other operand of a matrix product, of another step; where there is none: 0, the nearest one ("clamp"), the farthest ("wrap")."""
    steps, a = r.lines[edge.line], other_operand(edge)
    beside = r.beside(a, d)
    if beside is not None:
        return r.value(beside)
    if border == "drop":
        return np.zeros_like(r.value(a))
    at = min(steps) if (border == "clamp") == (d < 0) else max(steps)
    return r.value(other_operand(steps[at]))


def other_operand(edge: Edge) -> int:
    """The id of the other operand of an edge of a matrix product."""
    return edge.node.inputs[1 if edge.kind == "left" else 0]


def values(r: Reverse, edge: Edge, shape: tuple[int, ...]) -> list[tuple[Key, str]]:
    """(key, name) of what a person could have confused with what stands here: values of the same step and shape, and states before it."""
    if edge.step is None:
        return []
    say = r.phrases
    found: dict[str, tuple[Key, str]] = {}
    for node in r.nodes:
        if node.step == edge.step and node.value.shape == shape and node.kind != "constant" and (r.anchor[node.id] or node.op is None):
            name = say.name(node.id)
            found.setdefault(name, (("same", node.id), atom(name)))
    for e in r.edges:
        if e.step == edge.step and r.crossing(e) and r.value(e.target).shape == shape:
            name = say.name(e.target, e.step)
            found.setdefault(name, (("before", e.line), name))
    return list(found.values())


def value(r: Reverse, edge: Edge, key: Key, default: np.ndarray | None) -> np.ndarray | None:
    """The value of such a key, at an edge's step."""
    how, which = key
    if how == "before":
        e = r.lines[which].get(edge.step)
        return default if e is None else r.value(e.target)
    i = r.at(which, edge.step)
    return default if i is None else r.value(i)


def parameters(r: Reverse, id: int) -> list[tuple[int, str]]:
    """(id, name) of the parameters of the same shape."""
    shape = r.value(id).shape
    return [(i, name) for name, i in r.leaves.items() if i != id and r.value(i).shape == shape and r.nodes[i].step is None]


def activation_above(r: Reverse, id: int) -> Edge | None:
    """The edge of the activation whose argument is the sum that this value enters; None without one."""
    while True:
        arriving = r.incoming[id]
        if len(arriving) != 1 or arriving[0].kind != "scale":
            return None
        e = arriving[0]
        if len(r.nodes[e.source].inputs) == 1 and r.nodes[e.source].op.name != "negative":
            return e
        if any(e.paths):
            return None
        id = e.source


def is_above(r: Reverse, upper: int, lower: int) -> bool:
    """Is ``upper`` one of the next few values that ``lower`` goes into?"""
    stack = [lower]
    seen: set[int] = set()
    while stack:
        i = stack.pop()
        if i == upper:
            return True
        if i not in seen and len(seen) < 6:
            seen.add(i)
            stack += [e.source for e in r.incoming[i] if e.kind == "scale" and e.step == r.nodes[i].step]
    return False
