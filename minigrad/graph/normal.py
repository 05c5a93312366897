"""The normal form of a graph: sums and products flattened, constants folded, equal values computed once.

``a - b`` becomes ``a + (-1) b``, ``(a + b) + c`` one sum of three, ``(a b) c`` one product of three, with operands sorted, so that
two people's ways of writing an equation become the same graph.
"""
from __future__ import annotations

import functools
from typing import Any, Callable

import numpy as np

from ..ops import Op
from .data import Graph, Node

Add = Callable[..., int]            # (op, inputs, attributes, value, **more) -> the new node's id
Constant = Callable[[np.ndarray], int]


def _sum_rule(i: int, g: Any, y: Any, terms: Any) -> Any:
    return g


def _product_rule(i: int, g: Any, y: Any, factors: Any) -> Any:
    for j, f in enumerate(factors):
        g = g if j == i else g * f
    return g


SUM = Op("sum_of", lambda *terms: functools.reduce(np.add, terms), (_sum_rule,), "{+}", variadic=True)
PRODUCT = Op("product_of", lambda *factors: functools.reduce(np.multiply, factors), (_product_rule,), "{·}", variadic=True)


def normal_form(graph: Graph) -> Graph:
    """A Graph with the same outputs; see the module's first lines. Inputs keep their order."""
    uses = [0] * len(graph.nodes)
    for node in graph.nodes:
        for i in node.inputs:
            uses[i] += 1
    for i in graph.outputs:
        uses[i] += 2                      # an output is never folded into its user
    nodes: list[Node] = []
    new: dict[int, int] = {}
    known: dict[Any, int] = {}

    def add(op: Op | None, inputs: tuple[int, ...], attributes: dict[str, Any], value: np.ndarray, **more: Any) -> int:
        key = (op.name, inputs, _frozen(attributes)) if op else None
        if key is not None and key in known:
            return known[key]
        i = len(nodes)
        nodes.append(Node(i, op, inputs, attributes, value, more.pop("kind", "op"), **more))
        if key is not None:
            known[key] = i
        return i

    def constant(value: np.ndarray) -> int:
        key = ("constant", value.dtype.str, value.shape, value.tobytes())
        if key not in known:
            known[key] = add(None, (), {}, value, kind="constant")
        return known[key]

    def parts(i: int, op: Op) -> tuple[int, ...]:
        """The operands of a sum or product that only this one user needs are its own."""
        j = new[i]
        return nodes[j].inputs if nodes[j].op is op and uses[i] == 1 else (j,)

    for node in graph.nodes:
        more = dict(name=node.name, step=node.step, loop=node.loop, tensor=node.tensor, requires_grad=node.requires_grad)
        if node.op is None:
            known_constant = node.kind == "constant" and node.id not in graph.inputs and node.name is None
            new[node.id] = constant(node.value) if known_constant else add(None, (), {}, node.value, kind=node.kind, **more)
            continue
        name, operands, value = node.op.name, node.inputs, node.value
        if all(nodes[new[i]].kind == "constant" for i in operands) and node.id not in graph.inputs:
            new[node.id] = constant(np.asarray(value))
            continue
        if name in ("add", "subtract"):
            a, b = operands
            terms = parts(a, SUM) + (parts(b, SUM) if name == "add" else (minus(b, add, constant, parts, nodes, new, node.value.dtype),))
            new[node.id] = add(SUM, tuple(sorted(terms, key=lambda i: _rank(nodes[i]))), {}, value, **more)
        elif name in ("multiply", "negative"):
            if name == "negative":
                factors = (constant(np.asarray(-1.0, node.value.dtype)),) + parts(operands[0], PRODUCT)
            else:
                factors = parts(operands[0], PRODUCT) + parts(operands[1], PRODUCT)
            new[node.id] = product(factors, value, add, constant, nodes, more)
        else:
            new[node.id] = add(node.op, tuple(new[i] for i in operands), node.attributes, value, **more)
    return _prune(Graph(nodes, [new[i] for i in graph.outputs], [new[i] for i in graph.inputs]))


def minus(b: int, add: Add, constant: Constant, parts: Callable[[int, Op], tuple[int, ...]],
          nodes: list[Node], new: dict[int, int], dtype: np.dtype) -> int:
    """-b as a product with -1."""
    value = nodes[new[b]].value
    value = value.astype(dtype) if value.dtype.kind in "bu" else value
    factors = (constant(np.asarray(-1.0, value.dtype)),) + parts(b, PRODUCT)
    return product(factors, -value, add, constant, nodes, {})


def product(factors: tuple[int, ...], value: np.ndarray, add: Add, constant: Constant, nodes: list[Node],
            more: dict[str, Any]) -> int:
    """Scalar constants multiplied into one, in front; a 1 disappears."""
    numbers = [nodes[i].value for i in factors if nodes[i].kind == "constant" and nodes[i].value.ndim == 0]
    rest = [i for i in factors if not (nodes[i].kind == "constant" and nodes[i].value.ndim == 0)]
    if numbers:
        number = np.asarray(functools.reduce(np.multiply, numbers), value.dtype)
        if not rest:
            return constant(number)
        if number != 1:
            rest.insert(0, constant(number))
        elif len(rest) == 1 and nodes[rest[0]].value.shape == value.shape:
            return rest[0]
    return add(PRODUCT, tuple(sorted(rest, key=lambda i: _rank(nodes[i]))), {}, value, **more)


def _rank(node: Node) -> tuple[Any, ...]:
    """Constants first, then parameters, inputs, and what was computed, each in the order it was made."""
    return {"constant": 0, "parameter": 1, "input": 2, "op": 3}[node.kind], node.id


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
    keep, stack = set(graph.inputs), list(graph.outputs)
    while stack:
        i = stack.pop()
        if i not in keep:
            keep.add(i)
            stack.extend(graph.nodes[i].inputs)
    order = sorted(keep)
    new = {old: i for i, old in enumerate(order)}
    nodes = []
    for old in order:
        n = graph.nodes[old]
        n.id, n.inputs = new[old], tuple(new[i] for i in n.inputs)
        nodes.append(n)
    return Graph(nodes, [new[i] for i in graph.outputs], [new[i] for i in graph.inputs])
