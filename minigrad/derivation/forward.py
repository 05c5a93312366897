"""What one time step of a cell computes, each value a Reference with an expression.

How the step is run is ``trace.py``'s business; here its graph is read, names included. Its adjoint is written by the ops' own rules, run on
Symbols (``adjoint.py``). Then every value is either inlined or keeps a line of its own: the author's variables do, and what is used more
than once (``settle.py``).
"""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..graph import Graph, Node
from ..ops import TABLE
from ..recurrent.state import called
from ..tensor import Tensor
from .algebra import build
from .expression import Expression, Gradient, Reference, Static, number
from .step import State, Step
from .symbol import WRITTEN, Symbol, as_expression
from .trace import Roles


class Reader:
    """Reads the graph of a step: ``step``, of which the forward part is filled in; ``of_node`` and ``known``, which the adjoint needs."""

    def __init__(self, cell: Any, graph: Graph, roles: Roles) -> None:
        self.cell, self.graph, self.roles, self.rows = cell, graph, roles, roles.rows
        widths = [s.shape[-1] for s in roles.leaves if s.ndim in (1, 2) and s.shape[-1] > 1]
        hidden = getattr(cell, "hidden_size", None)
        widths = widths if widths or not isinstance(hidden, int) or hidden < 2 else [hidden]
        self.letters = {**{n: "H" for n in widths[:1]}, **({self.rows: "B"} if self.rows else {})}
        self.by_tensor = {id(n.tensor): n for n in graph.nodes if n.tensor is not None}
        self.step = Step()
        self.step.notes, self.step.rows, self.step.width = [], self.rows, widths[0] if widths else None
        self.of_node: dict[int, Symbol] = {}                # node id -> Symbol of a Reference
        self.known: dict[Expression, Reference] = {}        # expression -> Reference that is defined as it
        self.read()

    def node(self, tensor: Tensor) -> Node:
        return self.by_tensor[id(tensor)]

    def read(self) -> None:
        graph, roles, step = self.graph, self.roles, self.step
        moving = {n.id for n in graph.nodes if n.tensor is not None and any(
            n.tensor is t for t in (roles.x, roles.target, *roles.leaves))}
        for n in graph.nodes:
            if any(i in moving for i in n.inputs):
                moving.add(n.id)
        self.moving = moving
        step.parameters, step.constants, step.states = {}, {}, []
        named = self._names()
        step.target = None
        for n in graph.nodes:
            if n.op is None:
                self._leaf(n)
        forward: list[Reference] = []
        for n in graph.nodes:
            if n.op is not None:
                forward += self._op(n, named)
        step.forward = [r for r in forward if not r.once]
        step.once = [r for r in forward if r.once]
        step.y = self._reference(roles.y)
        step.loss = self._reference(roles.loss) if roles.loss is not None else None
        self._states()

    def _names(self) -> dict[int, str]:
        """node id -> name, where the author gave one: equal names are told apart by layers or primes."""
        graph, roles = self.graph, self.roles
        names = {n.id: n.name for n in graph.nodes if n.name and n.kind in ("op", "input")}
        for leaf, new, label in zip(roles.leaves, roles.new, roles.labels):
            node = self.by_tensor.get(id(new))
            if node is not None and node.op is not None and node.id not in names:
                names[node.id] = label or (self.node(leaf).name or "h").split(".")[-1]
        if roles.y.op is not None and self.node(roles.y).id not in names:
            names[self.node(roles.y).id] = "y"
        if roles.loss is not None:
            names[self.node(roles.loss).id] = "L"
        groups: dict[str, list[int]] = {}
        for i, name in names.items():
            if graph.nodes[i].op is not None:
                groups.setdefault(name, []).append(i)
        leaves = {_spoken(n.name or "").partition(".")[0] for n in graph.nodes if n.kind == "parameter" and n.step != 0} | {
            self.node(roles.x).name or "x"}
        result: dict[int, str] = {}
        last = {self.by_tensor[id(t)].id for t in roles.new if id(t) in self.by_tensor}
        for name, ids in groups.items():
            if len([i for i in ids if i in last]) > 1:          # layers
                for k, i in enumerate(sorted(ids), 1):
                    result[i] = f"{name}.{k}"
                continue
            main, taken = max(ids, key=lambda i: (i in last, i)), name in leaves            # x = x @ W is another x
            result[main] = name + "′" * taken
            for k, i in enumerate(sorted((i for i in ids if i != main), reverse=True), 1 + taken):
                result[i] = name + "′" * k
        return result

    def _leaf(self, n: Node) -> None:
        roles, step = self.roles, self.step
        if n.tensor is roles.x:
            step.x = self._enter(n, Reference("value", n.name or "x", n.value.shape, named=True))
        elif n.tensor is not None and n.tensor is roles.target or n.kind == "constant" and self._is_target(n.value):
            step.target = self._enter(n, Reference("target", "y", n.value.shape, named=True))
        elif n.tensor is not None and any(n.tensor is s for s in roles.leaves):
            self._enter(n, Reference("value", (n.name or "h").split(".")[-1], n.value.shape, named=True))     # renamed in _states
        elif n.kind == "parameter":
            name = _spoken(n.name or f"θ{len(step.parameters) + 1}")
            ref = self._enter(n, Reference("parameter", name, n.value.shape, once=True, named=True))
            step.parameters[ref] = n.tensor
        elif n.value.ndim == 0 and n.kind == "constant":
            self.of_node[n.id] = Symbol(self._number(n.value), n.value, self.letters)
        else:
            self.check_frozen(n.value, "met an array")
            name = n.name or self._attribute(n.value) or f"C{len(step.constants) + 1}"
            ref = self._enter(n, Reference("constant", name, n.value.shape, once=True, named=True))
            step.constants[ref] = n.value

    def _is_target(self, array: np.ndarray) -> bool:
        """Softmax cross-entropy takes its probabilities as they are, without the Tensor."""
        target = self.roles.target
        return target is not None and array.ndim > 0 and np.array_equal(array, target.array)

    def check_frozen(self, array: np.ndarray, what: str) -> None:
        if self.rows is not None and self.rows in np.shape(array):
            raise ValueError(f"derive(): one step of {called(self.cell)} {what} of shape {np.shape(array)} that was made from the batch. "
                             "Numbers read from x or the state (a condition of np.where, an index, stop_gradient, a random mask) have no "
                             "written form: use relu, maximum, abs, … of Tensors, one-hot rows times a matrix instead of an index, .eval()")

    def _number(self, value: np.ndarray) -> Expression:
        """A number; by the name of the cell's attribute if it is one, and not one of the numbers that stand in every equation."""
        if value.dtype.kind == "f" and float(value) not in (-2., -1., -0.5, 0., 0.5, 1., 2.):
            for sign in (1, -1):
                names = [k for k, v in vars(self.cell).items() if type(v) is float and v == sign * float(value)] \
                    if hasattr(self.cell, "__dict__") else []
                if len(names) == 1:
                    ref = next((r for r in self.step.constants if r.name == names[0]), None)
                    if ref is None:
                        ref = Reference("constant", names[0], (), once=True, named=True)
                        self.step.constants[ref] = np.asarray(sign * float(value))
                    return ref.e if sign > 0 else build("mul", (number(-1), ref.e), None, ())
        return number(value)

    def _attribute(self, value: np.ndarray) -> str | None:
        for k, v in getattr(self.cell, "__dict__", {}).items():
            if isinstance(v, np.ndarray) and v.shape == value.shape and np.array_equal(v, value):
                return k
        return None

    def _enter(self, n: Node, ref: Reference) -> Reference:
        ref.index = n.id
        self.of_node[n.id] = Symbol(ref.e, n.value, self.letters)
        return ref

    def _op(self, n: Node, named: dict[int, str]) -> list[Reference]:
        """References of one node: itself, and what is shown of a loss on the way to it (ŷ)."""
        made, name = [], n.op.name
        for i in n.attributes.get("index", ()):
            self.check_frozen(i, "indexed with an array") if isinstance(i, np.ndarray) else None
        arguments = [self.of_node[i] for i in n.inputs]
        if name in _SHOWN:
            shown = _SHOWN[name](arguments[0])
            if shown.e not in self.known:
                made.append(self._define("ŷ", shown.e, n))
        e, name = written(n, arguments), named.get(n.id, "")
        if e.op == "ref":
            ref: Reference = e.extra[0]
            if ref.kind == "value" and ref.computed and not (name and ref.named):           # 1 x is x
                ref.name, ref.named = (name, True) if name else (ref.name, ref.named)
                self.of_node[n.id] = Symbol(e, n.value, self.letters)
                return made
        return made + [self._enter(n, self._define(name, e, n))]

    def _define(self, name: str, e: Expression, n: Node) -> Reference:
        ref = Reference("value", name, e.shape, once=n.id not in self.moving, definition=e, named=bool(name), index=n.id)
        if e.op != "zeros":
            self.known.setdefault(e, ref)
        return ref

    def _reference(self, tensor: Tensor) -> Reference:
        return self.of_node[self.node(tensor).id].e.extra[0]

    def _states(self) -> None:
        """Pair old and new parts of the state; a part that is no value of its own (it is x, another part, …) gets a line: p_t = x_t."""
        step, taken, names = self.step, set(), {r.name for r in self.step.forward + self.step.once}
        for leaf, new, label in zip(self.roles.leaves, self.roles.new, self.roles.labels):
            before, after = self._reference(leaf), self._reference(new)
            if not after.computed or after in taken or after.once:
                name = label or before.name
                while name in names:
                    name += "′"
                after = Reference("value", name, after.shape, definition=after.e, named=True, index=len(self.graph.nodes))
                step.forward.append(after)
            names.add(after.name)
            taken.add(after)
            after.named = True
            step.states.append(State(before, after, Gradient("carry", before), Gradient("given", after), leaf.requires_grad))


def _spoken(name: str) -> str:
    """A parameter's name, with the numbers that tell it from others behind it: W_h.1 of the first layer, kernel.0 of a list."""
    parts = name.split(".")
    return ".".join(["_".join(p for p in parts if not p.isdigit()), *(p for p in parts if p.isdigit())])


def written(n: Node, arguments: list[Symbol]) -> Expression:
    """The expression of a node of the graph."""
    name, attributes, shape = n.op.name, n.attributes, n.value.shape
    es = [a.e for a in arguments]
    if TABLE.get(name) is not n.op:
        return build(name, es, Static(n.op), shape)
    if name == "getitem":
        return build("index", es, Static(attributes["index"]), shape)
    if name == "scatter_add":
        return build("scatter", es, Static((tuple(attributes["index"]), tuple(attributes["shape"]))), shape)
    if name in ("concatenate", "stack"):
        return build(name, es, attributes["axis"], shape)
    if name == "einsum":
        return build(name, es, ",".join("..." + t for t in attributes["terms"]) + "->..." + attributes["out"], shape)
    if name == "astype":
        return es[0]
    if name in WRITTEN:
        op, operands, extra = WRITTEN[name](shape, *arguments, **attributes)
        return build(op, tuple(as_expression(x) for x in operands), extra, shape)
    return build(name, es, Static(tuple(sorted(attributes.items()))) if attributes else None, shape)


_SHOWN: dict[str, Callable[[Any], Symbol]] = {
    "softmax_cross_entropy": lambda o: Symbol(build("softmax", (o.e,), -1, o.shape), o.value, o.letters),
    "binary_cross_entropy": lambda z: Symbol(build("sigmoid", (z.e,), None, z.shape), z.value, z.letters)}
