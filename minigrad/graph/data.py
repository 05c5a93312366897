"""The recorded graph as plain data: Graph, its nodes and their places in time. Every reader starts here."""
from __future__ import annotations

from typing import Any, Iterable, Sequence

import numpy as np

from ..autodiff import history
from ..tensor import Tensor
from .unfold import unfolded


class Node:
    """One value of a graph.

    id          position in ``graph.nodes``, a topological order        op      its record in the op table; None for a leaf
    inputs      ids of the operands, in order, with multiplicity        attributes  static arguments
    value       ndarray                                                 tensor  the recorded Tensor, None for raw constants
    kind        "parameter" (a leaf requiring gradients), "input" (a leaf Tensor without), "constant" (a raw array or number), "op"
    name        the author's variable, or None
    step, loop  time step 1 … T (0: initial state, None: outside time), and the number of the loop
    call        which of the functions that a step calls gave the name: it tells the h of two layers apart
    source      the line of the cell that made it, (function, line number, text), where a cell was unrolled
    """
    __slots__ = ("id", "op", "inputs", "attributes", "value", "kind", "name", "step", "loop", "tensor", "requires_grad", "call", "source")

    def __init__(self, id: int, op: Any, inputs: tuple[int, ...], attributes: dict[str, Any], value: np.ndarray, kind: str, *,
                 name: str | None = None, step: int | None = None, loop: int | None = None, tensor: Any = None,
                 requires_grad: bool = False) -> None:
        self.id, self.op, self.inputs, self.attributes, self.value, self.kind = id, op, inputs, attributes, value, kind
        self.name, self.step, self.loop, self.tensor, self.requires_grad = name, step, loop, tensor, requires_grad
        self.call: int | None = None
        self.source: tuple[str, int, str] | None = None

    def __repr__(self) -> str:
        what = self.op.name if self.op else self.kind
        return f"<{self.id} {what}{' ' + self.name if self.name else ''}{f' t={self.step}' if self.step is not None else ''}>"


class Graph:
    """Nodes in topological order, with the ids of inputs and outputs.

    >>> import minigrad as mg
    >>> x = mg.parameter(2., name="x")
    >>> [n.op.name if n.op else n.name for n in Graph.of(x * x + x).nodes]
    ['x', 'multiply', 'add']
    """
    __slots__ = ("nodes", "inputs", "outputs")

    def __init__(self, nodes: list[Node], outputs: Iterable[int], inputs: Iterable[int] = ()) -> None:
        self.nodes, self.outputs, self.inputs = nodes, list(outputs), list(inputs)

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        return f"<Graph of {len(self.nodes)} nodes, {len(self.outputs)} outputs>"

    @classmethod
    def of(cls, *roots: Tensor, inputs: Sequence[Tensor] = (), names: bool = True) -> Graph:
        """Everything that roots depend on; ``names=False`` leaves the author's names out (faster for long sequences)."""
        for root in roots:
            if type(root) is not Tensor:
                raise TypeError(f"Graph.of() needs Tensors, got {type(root).__name__}")
        roots, aliases = unfolded(*roots)
        nodes: list[Node] = []
        ids: dict[int, int] = {}
        for t in history([*roots, *inputs]):
            operands = []
            for x, array in zip(t.inputs, t.arrays):
                if type(x) is Tensor:
                    operands.append(ids[id(x)])
                else:
                    nodes.append(Node(len(nodes), None, (), {}, np.asarray(array), "constant"))
                    operands.append(len(nodes) - 1)
            kind = "op" if t.op else "parameter" if t.requires_grad else "input"
            place = t.place if kind != "parameter" else None
            ids[id(t)] = len(nodes)
            nodes.append(Node(len(nodes), t.op, tuple(operands), t.attributes or {}, t.array, kind, name=t.name,
                              step=place.step if place else None, loop=place.loop.id if place else None,
                              tensor=t, requires_grad=t.requires_grad))
        graph = cls(nodes, [ids[id(r)] for r in roots], [ids[id(x)] for x in inputs])
        if names:
            from .names import name_nodes
            name_nodes(graph, aliases)
        _place(graph)
        return graph

    def through(self, id: int) -> int:
        """The element that an integer index takes out of a stack along its first axis (unroll's ``ys[t]``); else id itself."""
        node = self.nodes[id]
        while node.op is not None and node.op.name == "getitem":
            source, index = self.nodes[node.inputs[0]], node.attributes["index"]
            first = -source.value.ndim
            if source.op is None or source.op.name != "stack" or source.attributes["axis"] != first or not isinstance(index[1], int) \
                    or any(i != slice(None) for i in index[2:]):
                break
            node = self.nodes[source.inputs[index[1]]]
        return node.id

    def users(self) -> list[list[tuple[int, int]]]:
        """For every node the list of (user id, operand position)."""
        users: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for position, i in enumerate(node.inputs):
                users[i].append((node.id, position))
        return users


def _place(graph: Graph) -> None:
    """An op outside a step takes the place of its inputs if they share one; taking a step out of a stack takes that step's."""
    nodes = graph.nodes
    for node in nodes:
        if node.op is None or node.step is not None or node.tensor is None or node.tensor.place is not None:
            continue
        source = graph.through(node.id)
        if source != node.id:
            node.step, node.loop = nodes[source].step, nodes[source].loop
            continue
        places = {(nodes[i].step, nodes[i].loop) for i in node.inputs if nodes[i].kind not in ("parameter", "constant")}
        if len(places) == 1:
            (node.step, node.loop), = places
        if node.step == 0:
            node.step = node.loop = None
