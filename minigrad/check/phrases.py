"""A recorded graph in words: what a value is called, and the line of the derivation that an edge of the reverse walk stands for.

Formulas of rules are not written down here: a rule of the op table is called with ``Symbol``s, and says itself what it computes.
"""
from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..formulas import Symbol, atom
from ..graph import Node

if TYPE_CHECKING:
    from .edges import Edge, Edges


class Phrases:
    """Names of values and lines, for one ``Reverse``; ``column``: as someone writes them who has our matrices' transposes."""

    def __init__(self, reverse: Edges, column: bool) -> None:
        self.reverse, self.nodes, self.column = reverse, reverse.nodes, column
        self.known: dict[int, str] = {}
        self.arguments: dict[int, int] = {}                                   # the unnamed argument of a function -> the function's node
        for node in self.nodes:
            if node.op is not None and len(node.inputs) == 1 and node.op.call is None and node.op.name not in ("negative",):
                x = self.nodes[node.inputs[0]]
                if x.name is None and x.op is not None and x.requires_grad:
                    self.arguments.setdefault(x.id, node.id)
        same: dict[tuple[str, int], list[int]] = {}           # the h of two layers are 1.h and 2.h, as in taps
        for node in self.nodes:
            if node.name and node.op is not None and node.step:
                same.setdefault((node.name, node.step), []).append(node.id)
        self.apart = {i: f"{k}.{name}" for (name, _), ids in same.items() if len(ids) > 1 for k, i in enumerate(ids, 1)}
        self.alone = {s: [i for i in self.arguments if self.nodes[i].step == s] for s in {self.nodes[i].step for i in self.arguments}}

    def name(self, id: int, step: int | None = None) -> str:
        """What the value is called; ``[t-1]`` behind it if it belongs to the step before ``step``."""
        node = self.nodes[id]
        if id not in self.known:
            self.known[id] = self._name(node)
        late = step is not None and node.step is not None and node.step == step - 1 and node.kind != "parameter"
        return self.known[id] + ("[t-1]" if late else "")

    def _name(self, node: Node) -> str:
        if node.kind == "constant":
            return f"{node.value.item():g}" if node.value.size == 1 else "constant"
        if node.name:
            return self.apart.get(node.id, node.name)
        if node.op is not None and node.op.name == "stack":
            return f"{self.name(node.inputs[-1])}[1…{len(node.inputs)}]"
        if node.id in self.arguments:
            if len(self.alone[node.step]) == 1:
                return "a"
            result = self.nodes[self.arguments[node.id]]
            return f"a_{self.apart.get(result.id, result.name) or self.alone[node.step].index(node.id) + 1}"
        return self.formula(node.id) if node.op is not None else node.kind

    def formula(self, id: int, step: int | None = None) -> str:
        """How the value is computed, in names: ``tanh(a)``, ``x @ W_x + h[t-1] @ W_h + b``."""
        return self._symbol(id, step if step is not None else self.nodes[id].step, True).text

    def _symbol(self, id: int, step: int | None, top: bool = False) -> Symbol:
        node = self.nodes[id]
        if node.op is None or not top and (node.name or id in self.arguments):
            return Symbol(self.name(id, step))
        operands = [self._symbol(i, step) for i in node.inputs]
        name = node.op.name
        if name in ("add", "subtract", "multiply", "divide", "matmul"):
            sign = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}[name]
            operands = operands[::-1] if sign == "@" and self.column else operands
            return operands[0]._two(operands[1], sign, 1 if sign in "+-" else 2)
        if name == "negative":
            return -operands[0]
        if name == "getitem":
            return Symbol(f"{operands[0].at(3)}[{_index(node.attributes['index'], self.nodes[node.inputs[0]].value.ndim)}]")
        if name in ("stack", "concatenate"):
            return Symbol(f"{name}([{', '.join(o.text for o in operands)}])" if len(operands) < 4 else f"{name}(…)")
        if node.op.call is None:
            return Symbol(f"{name}({', '.join(o.text for o in operands)})")
        return Symbol(f"{name}({operands[0].text}{', …' if len(operands) > 1 else ''})")

    def coefficient(self, edge: Edge) -> Symbol:
        """The local derivative of a "scale" edge as text: one term per way from target to source."""
        total: Symbol | None = None
        for path in edge.paths:
            term, negative = Symbol("1"), False
            for _, text, _ in path:
                if text == "-":
                    negative = not negative
                else:
                    term = term * self._rule(self.nodes[text[0]], text[1], Symbol("1"), edge.step)
            if total is None:
                total = -term if negative else term
            elif total.text == term.text and not negative:
                total = Symbol("2") * term
            else:
                total = total - term if negative else total + term
        return total or Symbol("1")

    def _rule(self, node: Node, position: int, g: Symbol, step: int | None) -> Symbol:
        try:
            operands = [self._symbol(i, step) for i in node.inputs]
            found = node.op.rule(position)(g, Symbol(self.name(node.id, step)), *operands, **node.attributes)
            return Symbol(re.sub(r"<[^<>]* object at 0x\w+>", "…", found.text), found.tight)       # a comparison's other side
        except Exception:                                     # a rule that does more than calculate
            return g * Symbol(f"∂{node.op.name}")

    def adjoint(self, id: int, step: int | None = None) -> str:
        """What a derivation calls ∂L/∂value: ``da``; where a value only enters a sum, the sum's own."""
        arriving = self.reverse.incoming[id]
        if self.nodes[id].name is None and id not in self.arguments and len(arriving) == 1 and arriving[0].kind == "scale":
            source = arriving[0].source
            if self.coefficient(arriving[0]).text == "1" and self.nodes[source].value.shape == self.nodes[id].value.shape:
                return self.adjoint(source, step)
        return "d" + atom(self.name(id, step))

    def line(self, edge: Edge) -> str:
        """The line of a derivation that this edge stands for, right."""
        r, x, y = self.reverse, self.nodes[edge.target], self.nodes[edge.source]
        dx, dy = self.adjoint(edge.target, edge.step), Symbol(self.adjoint(edge.source))
        several = " +=" if len(r.incoming[edge.target]) > 1 else " ="
        if edge.source == r.root:
            dy = Symbol("1")
        if edge.kind == "scale":
            right = (dy * self.coefficient(edge)).text
            if x.value.shape != y.value.shape and x.value.size < y.value.size:
                right = f"sum {'over the batch ' if x.value.size > 1 else ''}of {right}"
        elif edge.kind == "left":
            right = self.times(True, dy.text, f"{self._symbol(edge.node.inputs[1], edge.step).at(3)}.T")
        elif edge.kind == "right":
            right = self.times(False, dy.text, f"{self._symbol(edge.node.inputs[0], edge.step).at(3)}.T")
        elif edge.node.op.name in ("softmax_cross_entropy", "binary_cross_entropy", "squared_error"):
            right = {"so": f"softmax({self.name(edge.target)}) - y", "bi": f"sigmoid({self.name(edge.target)}) - y",
                     "sq": f"2 * ({self.name(edge.target)} - y)"}[edge.node.op.name[:2]]
            right = self.weighted(edge, right)
        elif edge.node.op.name in ("stack", "concatenate"):
            right = f"{dy.at(3)}[{self.part(edge)}]"
        elif edge.node.op.name in ("reshape", "transpose"):
            right = f"{dy.text}, {edge.node.op.name}d"
        elif edge.node.op.name in ("sum", "mean"):
            right = f"{dy.text}{f' / {x.value.size // y.value.size}' if edge.node.op.name == 'mean' else ''}, in every entry"
        elif edge.node.op.name == "getitem":
            right = f"{dy.text}, at [{_index(edge.node.attributes['index'], x.value.ndim)}]"
        else:
            right = self._rule(edge.node, edge.position, dy, edge.step).text
        return f"{dx}{several} {right}"

    def part(self, edge: Edge) -> str:
        """Where an operand stands in what it was joined to, as an index."""
        axis, at = edge.node.attributes["axis"], edge.position
        if edge.node.op.name == "stack":
            own = str(at)
        else:
            ends = np.cumsum([0, *(self.nodes[i].value.shape[axis] for i in edge.node.inputs)])
            own = f"{ends[at] or ''}:{'' if at == len(ends) - 2 else ends[at + 1]}"
        return f"..., {own}" + ", :" * (-axis - 1)

    def times(self, left: bool, g: str, other: str) -> str:
        """An adjoint of the left, or right, operand of a matrix product: g times the other operand."""
        return f"{g} @ {other}" if left != self.column else f"{other} @ {g}"

    def weighted(self, edge: Edge, text: str) -> str:
        """A loss's derivative times what it is multiplied by."""
        weight = self._weight(edge)
        return f"({text}){weight}" if weight else text

    def _weight(self, edge: Edge) -> str:
        """What that is: one over the rows of a mean, and what stands in front of the loss."""
        arriving = self.reverse.incoming[edge.source]
        text = self.coefficient(arriving[0]).text if len(arriving) == 1 and arriving[0].kind == "scale" else "1"
        if edge.node.attributes["reduction"] == "mean":
            x = self.nodes[edge.target].value
            return f" / {x.size // x.shape[-1] if edge.node.op.name[:2] == 'so' else x.size}" + (f" * {atom(text)}" if text != "1" else "")
        return "" if text == "1" else f" / {text[4:]}" if text.startswith("1 / ") else f" * {atom(text)}"

    def why(self, edge: Edge) -> str:
        """The forward equation from which the line follows, and how."""
        y, step = self.nodes[edge.source], edge.step
        left = self.name(edge.source)
        right = self.formula(edge.source)
        forward = f"{left} = {right}" if left != right else left
        what = self.name(edge.target, step)
        if edge.kind in ("left", "right"):
            other, before = (1, False) if edge.kind == "left" else (0, True)
            there = f"from the {'left' if before != self.column else 'right'}"
            shared = "; every step and row adds its part" if self.nodes[edge.target].step is None and edge.leaf else ""
            return f"{forward}  ⇒  ∂/∂{atom(what)} multiplies by {atom(self.name(edge.node.inputs[other], step))}.T {there}{shared}"
        if edge.kind == "scale":
            shapes = y.value.shape != self.nodes[edge.target].value.shape
            return f"{forward}  ⇒  ∂{atom(left)}/∂{atom(what)} = {self.coefficient(edge).text}, entry by entry" + (
                "; it serves every row, so the rows add up" if shapes else "")
        return forward


def _index(index: tuple[Any, ...], ndim: int) -> str:
    """The author's index: a full one needs no dots."""
    def one(i: Any) -> str:
        if i is Ellipsis:
            return "..."
        if isinstance(i, slice):
            return f"{'' if i.start is None else i.start}:{'' if i.stop is None else i.stop}"
        return str(i) if not isinstance(i, np.ndarray) else "…"
    return ", ".join(map(one, index[1:] if len(index) == ndim + 1 and index[0] is Ellipsis else index))


def renamed(text: str, old: str, new: str) -> str:
    """``new`` for the name ``old`` in a formula."""
    return re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w\[])", lambda _: new, text)
