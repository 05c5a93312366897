"""Graphs made by running functions, evaluated with parts replaced, differentiated into graphs again; and what flows back along one edge."""
from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np

from ..autodiff import _unbroadcast, grad
from ..ops import Later
from ..tensor import Tensor, _leaf, record
from .data import Graph, Node


def trace(fn: Callable[..., Any], *arguments: Any, names: bool = True) -> Graph:
    """The graph of ``fn(*arguments)``: arguments become fresh leaves that require gradients (integers stay constants).

    Returns a Graph whose ``inputs`` are the arguments and ``outputs`` what fn returned.
    """
    fresh = []
    for a in arguments:
        array = a.data if isinstance(a, Tensor) else np.asarray(a)
        fresh.append(Tensor(array, requires_grad=array.dtype.kind in "fc", name=a.name if isinstance(a, Tensor) else None))
    result = fn(*fresh)
    roots = list(result) if isinstance(result, (tuple, list)) else [result]
    for r in roots:
        if type(r) is not Tensor:
            raise TypeError(f"trace: the function returned a {type(r).__name__}; expected Tensors")
    return Graph.of(*roots, inputs=fresh, names=names)


def replay(graph: Graph, nodes: dict[int, Any] | None = None, edges: dict[tuple[int, int], Any] | None = None,
           inputs: Sequence[Any] | None = None) -> list[Any]:
    """Evaluate a graph again, with parts replaced: the list of all values, by node id.

    nodes   {id: value, or a function of the recomputed value}
    edges   {(id, position): value, or a function of the value that flows along the edge}
    inputs  values for ``graph.inputs``, in order

    Values that are arrays give arrays; where a replacement is a Tensor, what depends on it is recorded.
    """
    nodes, edges = dict(nodes or {}), edges or {}
    if inputs is not None:
        if len(inputs) != len(graph.inputs):
            raise ValueError(f"replay got {len(inputs)} inputs for a graph of {len(graph.inputs)}")
        nodes.update(zip(graph.inputs, inputs))
    for i in list(nodes) + [i for i, _ in edges]:
        if not 0 <= i < len(graph.nodes):
            raise ValueError(f"replay got node {i}; the graph has nodes 0 … {len(graph.nodes) - 1}")
    affected = set(nodes) | {i for i, _ in edges}
    values: list[Any] = []
    for node in graph.nodes:
        value: Any = node.value
        if node.op is not None and (node.id in affected or any(i in affected for i in node.inputs)):
            affected.add(node.id)
            if node.id not in nodes or callable(nodes[node.id]):
                operands = [_weak(graph.nodes[i], values[i]) for i in node.inputs]
                operands = [_replaced(edges.get((node.id, position), x), x) for position, x in enumerate(operands)]
                value = record(node.op, tuple(operands), node.attributes or None) if any(type(x) is Tensor for x in operands) else \
                    np.asarray(node.op.evaluate(*operands, **node.attributes))
        values.append(_replaced(nodes.get(node.id, value), value))
    return values


def _replaced(new: Any, value: Any) -> Any:
    return new(value) if callable(new) else new


def _weak(node: Node, value: Any) -> Any:
    """A Python number of the recorded program is one again, so that float32 stays float32."""
    if node.kind == "constant" and node.tensor is None and type(value) is np.ndarray and value.ndim == 0:
        return value.item()
    return value


def adjoint(graph: Graph, wanted: Sequence[int] | None = None, cotangent: Any = None) -> Graph:
    """The graph that computes the gradients: inputs as in ``graph``, outputs its output followed by one gradient per wanted node.

    wanted     ids (default: the graph's inputs that require gradients, or all parameters)
    cotangent  of the first output; default ones
    """
    if wanted is None:
        wanted = [i for i in graph.inputs if graph.nodes[i].requires_grad] or [n.id for n in graph.nodes if n.kind == "parameter"]
    leaves = {n.id: _leaf(n.value, n.requires_grad, n.name) for n in graph.nodes if n.op is None and n.kind != "constant"}
    values = replay(graph, leaves)
    root = values[graph.outputs[0]]
    given = _leaf(np.ones(root.shape, root.dtype)) if cotangent is None else Tensor(cotangent, name="cotangent")
    gradients = grad(root, [values[i] for i in wanted], cotangent=given, create_graph=True)
    result = Graph.of(root, *gradients, inputs=[leaves[i] for i in graph.inputs], names=False)
    for node in result.nodes:
        if node.tensor is given and cotangent is None:
            node.kind = "constant"
    return result


def through(node: Any, position: int, g: np.ndarray, lead: int = 0) -> np.ndarray | None:
    """The part of a gradient that ``node`` hands to its operand at ``position``: the op's own rule, broadcasting undone.

    node      a recorded Tensor, the result of an op
    g         array, the gradient that arrived at node, with ``lead`` axes in front that stand for several at once
    Returns an array of the operand's shape, the leading axes in front; None if the op gives this operand no gradient.

    >>> import minigrad as mg
    >>> y = mg.parameter([3.]) * mg.parameter([4.])
    >>> through(y, 0, np.array([1.]))
    array([4.])
    """
    rule = node.op.rule(position)
    if rule is None:
        return None
    more = dict(node.attributes or {}, saved=node.saved) if node.op.saves else node.attributes or {}
    part: Any = rule(g, node.array, *node.arrays, **more)
    if isinstance(part, Later):
        part = part.dense()
    shape = np.shape(node.arrays[position])
    return part if part.shape[lead:] == shape else _unbroadcast(part, shape, lead)
