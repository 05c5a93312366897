"""The normal form of a graph: sums and products flattened, constants folded, equal values computed once.

``a - b`` becomes ``a + (-1) b``, ``(a + b) + c`` one sum of three, ``(a b) c`` one product of three, with operands sorted, so that
two people's ways of writing an equation become the same graph.
"""
from __future__ import annotations

import functools
from typing import Any, Iterable

import numpy as np

from ..ops import Op
from .data import Graph, Node


SUM = Op("sum_of", lambda *terms: functools.reduce(np.add, terms), (lambda i, g, y, terms: g,), "{+}", variadic=True)
PRODUCT = Op("product_of", lambda *factors: functools.reduce(np.multiply, factors),
             (lambda i, g, y, xs: functools.reduce(np.multiply, [x for j, x in enumerate(xs) if j != i], g),), "{·}", variadic=True)


def normal_form(graph: Graph) -> Graph:
    """A Graph with the same outputs; see the module's first lines. Inputs keep their order."""
    made = _Normal(graph)
    for node in graph.nodes:
        more = dict(name=node.name, step=node.step, loop=node.loop, tensor=node.tensor, requires_grad=node.requires_grad)
        made.new[node.id] = made.leaf(node, more) if node.op is None else made.result(node, more)
    return _prune(Graph(made.nodes, [made.new[i] for i in graph.outputs], [made.new[i] for i in graph.inputs]))


class _Normal:
    """The nodes so far, equal values only once; ``new`` says what a node of the graph has become."""
    def __init__(self, graph: Graph) -> None:
        self.nodes: list[Node] = []
        self.new: dict[int, int] = {}
        self.known: dict[Any, int] = {}
        self.inputs = set(graph.inputs)
        self.shared = {i for i, users in enumerate(graph.users()) if len(users) > 1} | set(graph.outputs)

    def add(self, op: Op | None, inputs: tuple[int, ...], attributes: dict[str, Any], value: np.ndarray, kind: str = "op",
            **more: Any) -> int:
        key = (op.name, inputs, _frozen(attributes)) if op else _frozen(value) if not more else None
        if key is not None and key in self.known:
            return self.known[key]
        self.nodes.append(Node(len(self.nodes), op, inputs, attributes, value, kind, **more))
        if key is not None:
            self.known[key] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def constant(self, value: Any) -> int:
        return self.add(None, (), {}, np.asarray(value), "constant")

    def leaf(self, node: Node, more: dict[str, Any]) -> int:
        if node.kind == "constant" and node.id not in self.inputs and node.name is None:
            return self.constant(node.value)
        return self.add(None, (), {}, node.value, node.kind, **more)

    def result(self, node: Node, more: dict[str, Any]) -> int:
        name, operands, value = node.op.name, node.inputs, node.value
        if all([self.nodes[self.new[i]].kind == "constant" for i in operands]) and node.id not in self.inputs:
            return self.constant(value)
        if name == "add":
            return self.add(SUM, self.in_order(self.parts(operands[0], SUM) + self.parts(operands[1], SUM)), {}, value, **more)
        if name == "subtract":
            other = self.nodes[self.new[operands[1]]].value
            minus = self.product(operands[1:], -(other.astype(value.dtype) if other.dtype.kind in "bu" else other), {}, -1.0)
            return self.add(SUM, self.in_order((*self.parts(operands[0], SUM), minus)), {}, value, **more)
        if name in ("multiply", "negative"):
            return self.product(operands, value, more, -1.0 if name == "negative" else None)
        return self.add(node.op, tuple([self.new[i] for i in operands]), node.attributes, value, **more)

    def parts(self, i: int, op: Op) -> tuple[int, ...]:
        """The operands of a sum or product that only this one user needs are its own."""
        j = self.new[i]
        return self.nodes[j].inputs if self.nodes[j].op is op and i not in self.shared else (j,)

    def product(self, operands: tuple[int, ...], value: np.ndarray, more: dict[str, Any], number: float | None) -> int:
        """Scalar constants multiplied into one, in front; a 1 disappears."""
        nodes = [self.nodes[j] for i in operands for j in self.parts(i, PRODUCT)]
        factors = [n.id for n in nodes if n.kind != "constant" or n.value.ndim]
        numbers = [n.value for n in nodes if n.kind == "constant" and not n.value.ndim]
        numbers += [] if number is None else [np.asarray(number, value.dtype)]
        if numbers:
            total = np.asarray(functools.reduce(np.multiply, numbers), value.dtype)
            if not factors:
                return self.constant(total)
            if total != 1:
                factors.append(self.constant(total))
            elif len(factors) == 1 and self.nodes[factors[0]].value.shape == value.shape:
                return factors[0]
        return self.add(PRODUCT, self.in_order(factors), {}, value, **more)

    def in_order(self, ids: Iterable[int]) -> tuple[int, ...]:
        """Constants first, then parameters, inputs, and what was computed, each in the order it was made."""
        return tuple(sorted(ids, key=lambda i: (("constant", "parameter", "input", "op").index(self.nodes[i].kind), i)))


def _frozen(x: Any) -> Any:
    if isinstance(x, dict):
        return tuple((k, _frozen(v)) for k, v in x.items())
    if isinstance(x, (tuple, list)):
        return tuple(_frozen(v) for v in x)
    if isinstance(x, slice):
        return ("slice", x.start, x.stop, x.step)
    if isinstance(x, np.ndarray):
        return (x.shape, x.dtype.str, x.tobytes())
    return x if isinstance(x, (int, float, str, bool, bytes, type(None), type(Ellipsis))) else id(x)


def _prune(graph: Graph) -> Graph:
    """Only what outputs and inputs need, renumbered."""
    needed = {*graph.outputs, *graph.inputs}
    for node in reversed(graph.nodes):
        if node.id in needed:
            needed.update(node.inputs)
    nodes = [node for node in graph.nodes if node.id in needed]
    new = {node.id: i for i, node in enumerate(nodes)}
    for node in nodes:
        node.id, node.inputs = new[node.id], tuple([new[i] for i in node.inputs])
    return Graph(nodes, [new[i] for i in graph.outputs], [new[i] for i in graph.inputs])
