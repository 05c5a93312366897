"""A recorded graph taken apart into *edges*, each of which a person would write as one factor of one line of the derivation:
``da = dh * (1 - h*h)``, ``dh[t-1] += da @ W_h.T``, ``dW_h += h[t-1].T @ da``.

The author's unnamed sums and products are folded into the edge between two *anchors*: values that have a name, the arguments and
results of functions, the operands and results of matrix products, leaves. No cell and no formula of a cell is known here.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import Graph, Node
from ..tensor import Tensor
from .phrases import Phrases

Line = tuple[Any, ...]                              # what an edge is called, the same in every step
Factor = tuple[np.ndarray, Any, int | None]         # of a local derivative: its value, its text ("-", or whose rule), the other operand
Way = tuple[Factor, ...]
Ways = dict[int, tuple[list[Way], tuple[Node, int]]]            # target -> (the ways there, where the first of them ends)

ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative"}
NOT_ELEMENTWISE = {"matmul", "solve", "inv", "matrix_exp"}


def elementwise(op: Any) -> bool:
    return op is not None and op.call is None and not op.variadic and op.name not in NOT_ELEMENTWISE


@dataclass(eq=False)
class Edge:
    """From the adjoint of ``source`` to a part of the adjoint of ``target``: part = rule(g)."""
    source: int
    target: int
    kind: str                       # "scale": g * D; "left": g @ Bᵀ; "right": Aᵀ @ g; "op": the op's own rule
    step: int | None                # in time: the step whose line this is
    line: Line
    node: Node                      # the recorded op, for the last three kinds, and the operand's position
    position: int
    leaf: bool                      # target is a leaf
    paths: tuple[Way, ...] = ()     # of "scale": the ways from target to source
    D: np.ndarray = field(default_factory=lambda: np.ones(()))      # of "scale": ∂source/∂target, elementwise

    def __hash__(self) -> int:
        return id(self)


Steps = dict[Any, Edge]         # step -> the edge that is a line there; None: outside of time


class Edges:
    """The edges of a scalar loss's graph.

    nodes, edges      the graph's nodes; the edges in the order of the walk
    incoming          node id -> edges whose parts add up to its adjoint; ``outgoing``: node id -> edges it feeds
    lines             line -> {step: edge}
    leaves            name -> node id of every named leaf that requires gradients
    T                 number of steps
    """

    def __init__(self, loss: Tensor, column: bool = False) -> None:
        if loss.array.size != 1:
            raise ValueError(f"diagnose needs a scalar loss, got shape {loss.array.shape}; reduce it with .sum() or .mean()")
        self.graph = graph = Graph.of(loss)
        self.nodes, self.root = graph.nodes, graph.outputs[0]
        self.users = graph.users()
        self.keys: list[tuple[Any, ...]] = []
        for n in self.nodes:
            self.keys.append(self._key(n))
        self.anchor = [self._is_anchor(n) for n in self.nodes]
        self.edges: list[Edge] = []
        self.lines: dict[Line, Steps] = {}
        self.incoming: dict[int, list[Edge]] = {n.id: [] for n in self.nodes}
        self.outgoing: dict[int, list[Edge]] = {n.id: [] for n in self.nodes}
        reached = {self.root}
        for node in reversed(self.nodes):
            if node.id in reached and node.op is not None and node.requires_grad and self.anchor[node.id]:
                for edge in self._edges_of(node):
                    reached.add(edge.target)
                    self._enter(edge)
        self.steps = sorted({e.step for e in self.edges if e.step})
        self.T = max(self.steps, default=0)
        self.leaves: dict[str, int] = {}
        unnamed = 0
        for n in self.nodes:
            if n.kind == "parameter" and n.id in reached:
                unnamed += n.name is None
                self.leaves[n.name or f"parameter {unnamed}"] = n.id
        self.by_step: dict[tuple[int | None, tuple[Any, ...]], int] = {}      # (step, key) -> id, for every value that has a place in time
        for n in self.nodes:
            if n.step is not None and n.kind != "constant":
                self.by_step.setdefault((n.step, self.keys[n.id]), n.id)
        self.phrases = Phrases(self, column)
        self.blocks: dict[int, tuple[int, ...]] = {}
        for node in reversed(self.nodes):
            self._find_blocks(node)

    def _key(self, node: Node) -> tuple[Any, ...]:
        """What is the same for this value in every step: how manieth of its step it was made, by what, in which shape."""
        place = node.tensor.place if node.tensor is not None else None
        if place is not None and node.kind != "parameter" and place.start is not None:
            return (place.loop.id, node.tensor.index - place.start, node.op.name if node.op else node.kind, node.value.shape)
        if node.op is not None and node.step is not None:
            return ("out", node.op.name, *(self.keys[i] for i in node.inputs if self.nodes[i].kind != "constant"))
        return ("one", node.id)

    def _is_anchor(self, node: Node) -> bool:
        """Unnamed sums and products that only other sums and products of the same shape use belong to their user."""
        if node.op is None or node.id == self.root or node.op.name not in ARITHMETIC:
            return True
        users = [self.nodes[i] for i, _ in self.users[node.id]]
        scalar = node.value.size == 1
        if (node.name is not None and not scalar) or not users:
            return True
        return not all(u.op.name in ARITHMETIC and u.value.shape == node.value.shape for u in users)

    def _edges_of(self, node: Node) -> Iterator[Edge]:
        value = node.value
        if elementwise(node.op):
            found: Ways = {}
            order: list[int] = []
            self._trace(node, (), found, order)
            for target in order:
                D: Any = sum(product(path, value) for path in found[target][0])
                yield self._edge(node, target, "scale", *found[target][1], paths=tuple(found[target][0]), D=np.broadcast_to(D, value.shape))
            return
        for position, i in enumerate(node.inputs):
            x = self.nodes[i]
            if x.requires_grad and node.op.rule(position) is not None:
                kind = "op"
                if node.op.name == "matmul" and value.ndim >= 2:
                    kind = ("left", "right")[position]
                yield self._edge(node, i, kind, node, position)

    def _trace(self, node: Node, path: Way, found: Ways, order: list[int]) -> None:
        """All ways down from an elementwise node to anchors; a way is the tuple of factors that it multiplies."""
        op, y = node.op, node.value
        arrays = [self.nodes[i].value for i in node.inputs]
        for position, i in enumerate(node.inputs):
            x = self.nodes[i]
            if not x.requires_grad or op.rule(position) is None:
                continue
            factor = op.rule(position)(np.ones_like(y), y, *arrays, **node.attributes)
            way = path
            if op.name == "negative" or op.name == "subtract" and position == 1:
                way = path + ((-np.ones((), y.dtype), "-", None),)
            elif op.name != "add" and not (op.name == "subtract"):
                way = path + ((factor, (node.id, position), node.inputs[1 - position] if op.name == "multiply" else None),)
            if not self.anchor[i]:
                self._trace(x, way, found, order)
            else:
                if i not in found:
                    found[i] = [], (node, position)
                    order.append(i)
                found[i][0].append(way)

    def _edge(self, source: Node, target: int, kind: str, node: Node, position: int, **more: Any) -> Edge:
        x = self.nodes[target]
        scalar = source.value.size == 1
        step = x.step if (scalar or source.step is None) and x.step is not None else source.step
        line: Line
        if scalar or source.step is None:
            line = ("to", self.keys[source.id] if not scalar else "loss", self.keys[target], position if node.op.name != "stack" else 0)
        else:
            line = (*self.keys[node.id], position)
        return Edge(source.id, target, kind, step, line, node, position, x.op is None, **more)

    def _enter(self, edge: Edge) -> None:
        steps = self.lines.setdefault(edge.line, {})
        if edge.step in steps:                                 # a second one in the same step: a line of its own
            edge.line = (*edge.line, edge.source, edge.target)
            steps = self.lines.setdefault(edge.line, {})
        steps[edge.step] = edge
        self.edges.append(edge)
        self.incoming[edge.target].append(edge)
        self.outgoing[edge.source].append(edge)

    def _find_blocks(self, node: Node) -> None:
        """Where the columns of a packed value are taken apart: boundaries along the last axis, from its users' slices."""
        cuts: set[int] = set()
        for i, _ in self.users[node.id]:
            user = self.nodes[i]
            if user.op.name == "getitem":
                index = user.attributes["index"]
                last = index[-1]
                whole = all(i is Ellipsis or isinstance(i, slice) and i == slice(None) for i in index[:-1])
                if isinstance(last, slice) and whole and last.step in (None, 1) and node.value.ndim > 1:
                    start, stop, _ = last.indices(node.value.shape[-1])
                    cuts |= {start, stop} | {start + c for c in self.blocks.get(i, ())}
            elif elementwise(user.op) and user.value.shape == node.value.shape:
                cuts |= set(self.blocks.get(i, ()))
        cuts -= {0, node.value.shape[-1] if node.value.ndim else 0}
        if cuts:
            self.blocks[node.id] = tuple(sorted(cuts))

    def blocks_of(self, edge: Edge) -> tuple[slice, ...]:
        """The column blocks of the adjoint that the edge receives: slices; () if it is not packed."""
        cuts = self.blocks.get(edge.source, ())
        if not cuts:
            return ()
        ends = (0, *cuts, self.nodes[edge.source].value.shape[-1])
        return tuple(slice(a, b) for a, b in zip(ends, ends[1:]))

    def derivative(self, edge: Edge, instead: dict[int, np.ndarray] | None = None, flip: tuple[int, int, int] | None = None) -> np.ndarray:
        """The D of a "scale" edge computed again: with values replaced ({node id: array}), or with a changed sign or a term left out in an
        unnamed sum, ``flip`` = (node id, position, factor: -1 or 0)."""
        given = instead or {}

        def value(i: int, top: bool = False) -> np.ndarray:
            node = self.nodes[i]
            if i in given and not top:
                return given[i]
            if self.anchor[i] or node.op is None:
                return node.value
            a = [value(j) for j in node.inputs]
            if flip is not None and flip[0] == i:
                a[flip[1]] = a[flip[1]] * flip[2]
            return node.op.evaluate(*a, **node.attributes)

        def down(i: int, g: np.ndarray) -> Any:
            node = self.nodes[i]
            a = [value(j) for j in node.inputs]
            total: Any = 0
            for position, j in enumerate(node.inputs):
                x = self.nodes[j]
                if x.requires_grad and node.op.rule(position) is not None:
                    part = node.op.rule(position)(g, node.value if i == edge.source else value(i), *a, **node.attributes)
                    if j == edge.target:
                        total = total + part
                    elif not self.anchor[j]:
                        total = total + down(j, part)
            return total
        return np.asarray(down(edge.source, np.ones_like(self.nodes[edge.source].value)) + np.zeros_like(self.nodes[edge.source].value))

    def inside(self, edge: Edge) -> tuple[list[int], list[int]]:
        """Of a "scale" edge: (anchors whose values its D may contain, unnamed sums in its factors)."""
        anchors: list[int] = []
        sums: list[int] = []
        stack, seen = [edge.source], set()
        while stack:
            i = stack.pop()
            node = self.nodes[i]
            if i in seen:
                continue
            seen.add(i)
            for j in node.inputs:
                x = self.nodes[j]
                if self.anchor[j] or x.op is None:
                    if j not in anchors and x.value.size > 1:
                        anchors.append(j)
                else:
                    stack.append(j)
            if i != edge.source and node.op.name in ("add", "subtract"):
                sums.append(i)
        return anchors, sums

    # ---- looking things up --------------------------------------------------------------------------------------------------------

    def value(self, id: int) -> np.ndarray:
        return self.nodes[id].value

    def at(self, id: int, step: int | None) -> int | None:
        """The node that is at another step what this one is at its own; None if there is none."""
        return self.by_step.get((step, self.keys[id]))

    def crossing(self, edge: Edge) -> bool:
        """Does the edge hand something to the step before?"""
        x = self.nodes[edge.target]
        return edge.step is not None and x.step is not None and x.step < edge.step

    def beside(self, id: int, d: int) -> int | None:
        """What a value is d steps away: an id, or None. A state is the initial one before the first step."""
        for line in self.crossings():
            first = self.lines[line].get(1)
            states = [first.target if first else None, *(self.state(line, t) for t in range(1, self.T + 1))]
            if id in states:
                k = states.index(id) + d
                return states[k] if 0 <= k <= self.T else None
        step = self.nodes[id].step
        return None if step is None else self.at(id, step + d)

    def entries(self) -> dict[int, list[Edge]]:
        """Where the loss enters time: edges from outside (or from a scalar) to a value of a step, by step."""
        found: dict[int, list[Edge]] = {}
        for e in self.edges:
            x, y = self.nodes[e.target], self.nodes[e.source]
            if x.value.size > 1 and x.step and x.kind != "parameter" and (y.value.size == 1 or y.step is None):
                found.setdefault(x.step, []).append(e)
        return found

    def exits(self) -> dict[int, list[Edge]]:
        """Where time is left: edges from a step to a leaf, or to a value outside of time, by step."""
        found: dict[int, list[Edge]] = {}
        for e in self.edges:
            y = self.nodes[e.source]
            if e.step and y.step and y.value.size > 1 and (e.leaf or self.nodes[e.target].step is None):
                found.setdefault(e.step - self.crossing(e), []).append(e)      # the initial state is left at step 0
        return found

    def state(self, line: Line, step: int) -> int | None:
        """The state, at a step, that a line which hands something back in time hands it to; None if it only reaches an initial one."""
        made = next((e.target for e in self.lines[line].values() if self.nodes[e.target].op is not None), None)
        return None if made is None else self.at(made, step)

    def crossings(self) -> list[Line]:
        """The lines that hand something to the step before."""
        return [line for line, steps in self.lines.items() if any(self.crossing(e) for e in steps.values())]


def product(path: Way, like: np.ndarray) -> np.ndarray:
    total = np.ones((), like.dtype)
    for factor, *_ in path:
        total = total * factor
    return total
