"""A recorded graph read into the rows and cells of a tableau: which nodes are one line of the code, what they are called, their numbers."""
from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np

from ..graph import Graph
from ..graph.evaluate import through
from ..queries.cost import MOVES

ALL = None                                      # the column of what belongs to no step
SHORT = 30                                      # of a formula that needs no name


class Cell(NamedTuple):
    """One node at one step: arrays, or None where there is none. ``local`` is a dict: operand -> array."""
    value: Any
    local: dict[int, Any]
    adjoint: Any


class Row:
    """One node through time: ``name`` (None if the author gave none), ``formula``, ``given`` (no op made it), and what is in it."""

    def __init__(self, given: bool) -> None:
        self.given, self.formula = given, ""
        self.last: Any = None                               # the node that the formula is read off
        self.name: str | None = None
        self.nodes: dict[int | None, Any] = {}
        self.operands: dict[int, Any] = {}
        self.adjoints: dict[int | None, Any] = {}

    @property
    def label(self) -> str:
        return self.name or self.formula

    @property
    def title(self) -> str:
        return f"{self.name} = {self.formula}" if self.name and self.formula else self.label


class Reading:
    """The rows of a graph. The same offset in every step is the same line of the cell."""

    def __init__(self, graph: Graph, adjoints: dict[int, Any]) -> None:
        self.graph = graph
        self.rows: list[Row] = []
        self.row_of: dict[int, Row] = {}
        self.adjoints = {n.id: adjoints[n.tensor.index] for n in graph.nodes if n.tensor is not None and n.tensor.index in adjoints}
        self.source, self.users = list(range(len(graph.nodes))), graph.users()
        known: dict[tuple[Any, ...], Row] = {}
        for node in graph.nodes:
            aside = self.users[node.id] and all(graph.through(i) != i for i, _ in self.users[node.id])
            if node.kind == "constant" or aside and node.op.name == "stack":       # a stack that is only indexed
                continue
            source = self._same(node)
            if source != node.id:
                self.source[node.id], self.row_of[node.id] = source, self.row_of[source]
                graph.nodes[source].name = graph.nodes[source].name or node.name
                continue
            key = self._key(node)
            while key in known and node.step in known[key].nodes:
                key += ("′",)
            if key not in known:
                known[key] = Row(node.op is None)
                self.rows.append(known[key])
            known[key].nodes[node.step] = node
            self.row_of[node.id] = known[key]
        self._join_initial_states()
        self._name()
        self._contribute()
        self.rows.sort(key=lambda row: ALL in row.nodes and (2 if next(iter(row.nodes.values())).kind == "parameter" else 1))
        self.top = graph.nodes[graph.outputs[0]]

    def _same(self, node: Any) -> int:
        """The node that this one only shows again: ys[t] the step's own, x[None, :] and a reshape what they are made of, unless the author
        has names for both."""
        source = self.graph.through(node.id)
        if source == node.id and node.op is not None and (node.op.name == "reshape" or node.op.name == "getitem" and all(
                i is None or i is Ellipsis or i == slice(None) for i in node.attributes["index"] if not isinstance(i, np.ndarray))
                and not any(isinstance(i, np.ndarray) for i in node.attributes["index"])):
            before = self.graph.nodes[node.inputs[0]]
            if node.name is None or before.name is None and len(self.users[before.id]) == 1:
                source = before.id
        return self.source[source]

    def _key(self, node: Any) -> tuple[Any, ...]:
        place = node.tensor.place
        if node.kind == "parameter" or place is None and node.op is None:
            return "leaf", node.id
        if place is not None:
            return place.loop.id, node.tensor.index - place.start, node.op and node.op.name
        return (node.op.name, *(id(self.row_of[i]) if i in self.row_of else None for i in node.inputs))

    def _join_initial_states(self) -> None:
        """An initial state is column 0 of the row that takes its place in the second step."""
        for user in [row.nodes[1] for row in self.rows if 1 in row.nodes and 2 in row.nodes]:
            for first, second in zip(user.inputs, self.row_of[user.id].nodes[2].inputs):
                initial, row = self.graph.nodes[self.source[first]], self.row_of.get(second)
                if initial.op is None and initial.step == 0 and row not in (None, self.row_of[initial.id]) and 0 not in row.nodes:
                    own = self.row_of[initial.id]
                    self.rows.remove(own)
                    self.row_of.update((i, row) for i, r in list(self.row_of.items()) if r is own)
                    row.nodes[0] = initial

    # ---- names and formulas ------------------------------------------------------------------------------------------------
    def _name(self) -> None:
        taken = set()
        for row in sorted(self.rows, key=lambda row: list(row.nodes) == [0]):       # what is there in every step has the name first
            last = max((n for n in row.nodes.values() if n.step != 0), key=lambda n: n.id, default=None) or row.nodes[0]
            row.last = last
            row.name = last.name or next((n.name for n in row.nodes.values() if n.name), None)
            while row.name is not None and row.name in taken:
                row.name += "′"
            taken.add(row.name) if row.name else None
        earlier = {id(self.row_of[i]) for row in self.rows for i in row.last.inputs
                   if i in self.row_of and self.graph.nodes[self.source[i]].step not in (row.last.step, ALL)}
        number = 0
        for row in self.rows:
            if row.last.op is not None:
                row.formula = self._formula(row.last)
            if row.name is None and (len(row.formula) > SHORT or id(row) in earlier or row.formula in taken or not row.formula):
                number += 1
                while f"v{number}" in taken:
                    number += 1
                row.name = f"v{number}"
            taken.add(row.label)
        for row in self.rows:
            if row.last.op is not None:
                row.formula = self._formula(row.last)
            for position, i in enumerate(row.last.inputs):
                if self._differentiable(row.last, position):
                    name = self.reference(i, row.last.step)
                    while name in row.operands.values():            # x * x has two derivatives by x
                        name += "′"
                    row.operands[position] = name

    def _formula(self, node: Any) -> str:
        operands = [self._operand(node, i) for i in node.inputs]
        reads = node.op.reads or node.op.name + "({*})"
        infix = re.fullmatch(r"\{0\}(.*)\{1\}|\{0\}(ᵀ|\^2|\[\{index\}\])|-\{0\}", reads)
        if infix and reads != "{0} + {1}" or reads == "Σ {0}":
            loose = " " if infix else r" [-+] "                             # a sum of products needs none
            operands = [f"({o})" if re.search(loose, _outside(o)) else o for o in operands]
        if "{*}" in reads:
            shown = operands if len(operands) < 5 else [*operands[:2], "…", operands[-1]]
            return reads.replace("{*}", ", ".join(shown))
        if "{index}" in reads:
            reads = reads.replace("{index}", _index(node.attributes["index"], self.graph.nodes[node.inputs[0]].value.ndim))
        for position, operand in enumerate(operands):
            reads = reads.replace(f"{{{position}}}", operand)
        return reads

    def reference(self, i: int, step: int | None) -> str:
        """How a node is called in the formula of another one at ``step``."""
        node = self.graph.nodes[self.source[i]]
        if i not in self.row_of:
            return f"{node.value.item():.6g}" if node.value.size == 1 else "data"
        label = self.row_of[i].label or "…"
        shift = "" if node.step in (ALL, step) else f"[{node.step}]" if step is ALL else f"[t{node.step - step:+d}]"
        return f"({label}){shift}" if shift and " " in label else label + shift

    def _operand(self, node: Any, i: int) -> str:
        """How it is called there, and a new axis, which has no row of its own; that a product of vectors has some is NumPy's business."""
        text, shown = self.reference(i, node.step), self.graph.nodes[i]
        if node.op.name == "matmul" or shown.op is None or shown.op.name != "getitem" or self.source[i] == i \
                or None not in shown.attributes["index"]:
            return text
        return (f"({text})" if " " in _outside(text) else text) + f"[{_index(shown.attributes['index'])}]"

    def _differentiable(self, node: Any, position: int) -> bool:
        return self.graph.nodes[node.inputs[position]].requires_grad and node.op.rule(position) is not None

    # ---- numbers -----------------------------------------------------------------------------------------------------------
    def _contribute(self) -> None:
        """What each step adds to the gradient of a parameter."""
        for node in self.graph.nodes:
            if node.op is None or node.step is None or node.id not in self.adjoints:
                continue
            for position, i in enumerate(node.inputs):
                row = self.row_of.get(i)
                if row is not None and row.last.kind == "parameter" and ALL in row.nodes and self._differentiable(node, position):
                    part = through(node.tensor, position, self.adjoints[node.id])
                    row.adjoints[node.step] = row.adjoints[node.step] + part if node.step in row.adjoints else part

    def cell(self, row: Row, step: int | None) -> Cell:
        node = row.nodes.get(step)
        if node is None:
            return Cell(None, {}, row.adjoints.get(step))
        local = {name: self.local(node, p) for p, name in row.operands.items() if p < len(node.inputs) and self._differentiable(node, p)}
        return Cell(node.value, local, self.adjoints.get(node.id))

    def local(self, node: Any, position: int) -> Any:
        """∂node/∂operand: the other factor of a product of matrices, the slope of an elementwise op, else the Jacobian."""
        value, name = node.tensor, node.op.name
        operand = node.tensor.arrays[position]
        if name == "matmul":
            return np.asarray(node.tensor.arrays[1 - position]).mT
        if name in MOVES and name != "where":
            return np.ones(())
        if value.size == 1:
            return through(value, position, np.ones(value.shape, value.dtype))
        slope = self._slope(node, position)
        if slope is not None:
            return slope
        if value.size ** 2 * np.size(operand) > 10 ** 6:
            return None
        rows = np.eye(value.size, dtype=value.dtype).reshape(value.size, *value.shape)
        found: Any = through(value, position, rows, lead=1)
        return found.reshape(value.size, -1)

    @staticmethod
    def _slope(node: Any, position: int) -> Any:
        """The slope of an elementwise op: its rule only scales what arrives."""
        tensor, rule = node.tensor, node.op.rule(position)
        more = dict(node.attributes, saved=tensor.saved) if node.op.saves else node.attributes
        ones = np.ones(tensor.shape, tensor.dtype)
        some = np.random.default_rng(0).uniform(0.5, 1.5, tensor.shape).astype(tensor.dtype)
        with np.errstate(all="ignore"):
            slope, scaled = (rule(g, tensor.array, *tensor.arrays, **more) for g in (ones, some))
        if np.shape(slope) != tensor.shape or np.shape(scaled) != tensor.shape:
            return None
        return slope if np.allclose(scaled, some * slope, rtol=1e-5, atol=0, equal_nan=True) else None

    def symbol(self, node: Any, position: int) -> Any:
        """A factor that is a parameter is told by its name: its numbers stand in its own row."""
        if node.op.name == "matmul":
            other = self.graph.nodes[self.source[node.inputs[1 - position]]]
            if other.kind == "parameter" and ALL in self.row_of[other.id].nodes:
                return self.reference(other.id, node.step) + "ᵀ"
        return None


def _outside(formula: str) -> str:
    """A formula without what stands in its parentheses and brackets."""
    depth, kept = 0, ""
    for ch in formula:
        depth -= ch in ")]"
        kept += "" if depth else ch
        depth += ch in "(["
    return kept


def _index(index: Any, axes: int = 0) -> str:
    parts = []
    for i in index:
        if isinstance(i, slice):
            ends = (i.start, i.stop) if i.step is None else (i.start, i.stop, i.step)
            parts.append(":".join("" if x is None else str(x) for x in ends))
        else:
            parts.append("..." if i is Ellipsis else str(i) if isinstance(i, (int, np.integer)) else "None" if i is None else "rows")
    while len(parts) > 2 and parts[0] == "..." and parts[1] == ":":
        del parts[1]
    return ", ".join(parts[1:] if len(parts) == 2 and axes == 1 and ":" not in parts[1] else parts)
