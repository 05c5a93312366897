"""The reverse walk along the edges of a recorded graph, and every small way to get it wrong: ``run(changes)`` walks again with some
edges' parts replaced. Which changes are worth a try is slips/'s business.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..autodiff import _unbroadcast
from ..ops import Later
from ..tensor import Tensor
from .edges import Edge, Edges, Line

Arriving = dict[int, Any]               # node id -> what arrives at its adjoint: an array
Parts = dict[Edge, np.ndarray]          # what an edge makes of the adjoint of its source


class Run:
    """One walk: adjoints ``g`` by node id, None where nothing arrives; parts by edge."""

    def __init__(self, reverse: Reverse, g: list[Any], parts: Parts) -> None:
        self.reverse, self.g, self.parts = reverse, g, parts

    def gradient(self, leaf: int) -> np.ndarray:
        r = self.reverse
        parts = [self.parts.get(e, r.parts.get(e)) for e in r.incoming[leaf]]
        found = [p for p in parts if p is not None]
        total: Any = sum(found)
        return total if found else np.zeros_like(r.nodes[leaf].value)

    def gradients(self) -> dict[str, np.ndarray]:
        return {name: self.gradient(i) for name, i in self.reverse.leaves.items()}

    def flat(self) -> np.ndarray:
        """All gradients in one vector, in the order of ``reverse.leaves``."""
        return np.concatenate([np.ravel(g) for g in self.gradients().values()])


Change = Callable[[Run, Edge, np.ndarray], np.ndarray]         # what an edge makes of the adjoint that arrives, instead of its part


class Reverse(Edges):
    """Back-propagation from a scalar loss, edge by edge: ``g``, the adjoints by node id; ``parts``, by edge; ``slope``, of the leaves."""

    def __init__(self, loss: Tensor, column: bool = False) -> None:
        super().__init__(loss, column)
        self.g: list[Any] = [None] * len(self.nodes)
        self.parts: Parts = {}
        reference = self.run({}, first=True)
        self.g, self.parts = reference.g, reference.parts
        self.slope = {i: reference.gradient(i) for i in self.leaves.values()}
        self._terms: dict[tuple[int, int], np.ndarray] | None = None

    def part(self, edge: Edge, g: np.ndarray, D: np.ndarray | None = None, a: np.ndarray | None = None) -> np.ndarray:
        """What an edge makes of an adjoint: its rule, with its local derivative D or its other operand ``a`` replaced on request."""
        x = self.nodes[edge.target].value
        part: Any
        if edge.kind == "scale":
            part = g * (edge.D if D is None else D)
        elif edge.kind == "left":
            part = g @ (self.nodes[edge.node.inputs[1]].value if a is None else a).mT
        elif edge.kind == "right":
            part = (self.nodes[edge.node.inputs[0]].value if a is None else a).mT @ g
        else:
            node = edge.node
            more = dict(node.attributes)
            if node.op.saves:
                more["saved"] = None
            part = node.op.rule(edge.position)(g, node.value, *(self.nodes[i].value for i in node.inputs), **more)
            if isinstance(part, Later):
                part = part.dense()
        part = np.asarray(part)
        return part if part.shape == x.shape else _unbroadcast(part, x.shape, 0)

    def run(self, changes: Mapping[Edge, Change], *, first: bool = False, pinned: Mapping[int, np.ndarray] | None = None) -> Run:
        """Walk again. ``changes``: edge -> function(run, edge, g) of the adjoint that arrives, returning the edge's part.

        pinned  node id -> the adjoint that is taken there instead of the sum of what arrives
        """
        g = list(self.g)
        new: Parts = {}
        late: list[Edge] = []
        run = Run(self, g, new)
        pinned = pinned or {}
        if first:
            g[self.root] = np.ones_like(self.nodes[self.root].value)
        for node in reversed(self.nodes):
            i = node.id
            if node.op is None:
                continue
            arriving, outgoing = self.incoming[i], self.outgoing[i]
            dirty = first
            if i in pinned:
                g[i], dirty = pinned[i], True
            elif arriving and (first or any(e in new for e in arriving)):
                g[i] = _total([new[e] if e in new else self.parts[e] for e in arriving])
                dirty = True
            for e in outgoing:
                if dirty or e in changes:
                    if e.leaf:
                        late.append(e)
                    else:
                        new[e] = changes[e](run, e, g[i]) if e in changes else self.part(e, g[i])
        for e in late:
            new[e] = changes[e](run, e, g[e.source]) if e in changes else self.part(e, g[e.source])
        return run

    def terms(self) -> dict[tuple[int, int], np.ndarray]:
        """C[t, k]: the gradients, as flat vectors, of what enters at step t and leaves at step k; a dict (t, k) -> vector."""
        if self._terms is None:
            entries, exits = self.entries(), self.exits()
            found, outside = {}, self.run({e: _zero for s in entries for e in entries[s]}).flat()
            for t in entries:
                others = {e: _zero for s in entries if s != t for e in entries[s]}
                for k in exits:                   # also k > t: some networks read the sequence from its end
                    found[t, k] = self.run({**others, **{e: _zero for s in exits if s != k for e in exits[s]}}).flat() - outside
            self._terms, self.outside = found, outside
        return self._terms

    # ---- one step at a time -----------------------------------------------------------------------------------------------------
    def through(self, step: int, arriving: Arriving) -> Parts:
        """The parts that one step's edges make of what arrives from outside it: {node id: adjoint} -> {edge: part}."""
        g = dict(arriving)
        parts: Parts = {}
        for edge in self.edges:
            if edge.step == step and edge.source in g and self.nodes[edge.source].step == step:
                part = parts[edge] = self.part(edge, g[edge.source])
                x = self.nodes[edge.target]
                if x.step == step and not edge.leaf:
                    g[edge.target] = g[edge.target] + part if edge.target in g else part
        return parts

    def sweep(self, times: Iterable[int], carry: dict[Line, np.ndarray] | None = None,
              entering: Callable[[int, Arriving], Arriving] | None = None,
              leaving: Callable[[int, Arriving, Parts], Parts] | None = None) -> tuple[np.ndarray, dict[Line, np.ndarray]]:
        """Back-propagation step by step, in the order ``times``: (gradients as a flat vector, what is carried out, by line).

        carry     line -> adjoint, what the first of ``times`` gets from "later" steps
        entering  function (step, arriving) -> arriving: what the loss contributes to a step
        leaving   function (step, arriving, parts) -> parts: from which the leaves' gradients are taken
        """
        entries, carry = self.entries(), dict(carry or {})
        total: Arriving = {}
        for e in self.edges:                                   # what never was in a step stays as it is
            if e.leaf and not self.nodes[e.source].step:
                total[e.target] = total.get(e.target, 0) + self.parts[e]
        for t in times:
            arriving: Arriving = {}
            for e in entries.get(t, ()):
                arriving[e.target] = arriving.get(e.target, 0) + self.parts[e]
            if entering is not None:
                arriving = entering(t, arriving)
            for line, part in carry.items():
                state = self.state(line, t)
                assert state is not None        # only networks whose every carry has one are swept
                arriving[state] = arriving.get(state, 0) + part
            parts = self.through(t, arriving)
            carry = {e.line: p for e, p in parts.items() if self.crossing(e)}
            for e, p in (leaving(t, arriving, parts) if leaving else parts).items():
                if e.leaf and not self.crossing(e):
                    total[e.target] = total.get(e.target, 0) + p
        for line, part in carry.items():
            first = self.lines[line].get(1)
            if first is not None and first.leaf:
                total[first.target] = total.get(first.target, 0) + part
        return np.concatenate([np.ravel(total.get(i, np.zeros_like(self.nodes[i].value)) + np.zeros_like(self.nodes[i].value))
                               for i in self.leaves.values()]), carry


def _total(parts: list[np.ndarray]) -> np.ndarray:
    total = parts[0]
    for p in parts[1:]:
        total = total + p
    return total


def _zero(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
    return np.zeros_like(run.reverse.nodes[edge.target].value)
