"""What is computed when: every value of a step and of its gradient is sorted by what it depends on.

    once      parameters only                                          before everything
    before    x (or the cotangent of the output), not the state        all T steps at once, in one product
    loop      the state, and the next state needs it                   step by step
    after     the rest                                                 all T steps at once, from the stored states

The same words serve the way back, where the carried cotangent takes the place of the state. Sums and products of many operands
are split so that as little as possible is left in the loops: ``(x W + b) + h W_h``, and ``o (1 - tanh² c)`` before the loop back.
What more is rewritten depends on the sizes: sizes.py. Where each value lives and how it is written is not decided here.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..graph.data import Graph
from ..graph.data import Node as GraphNode
from ..graph.normal import PRODUCT, SUM, _frozen, normal_form
from ..ops import TABLE
from . import sizes
from .adjoint import adjoint
from .trace import Tape
from .value import ASSEMBLE, CARRY, STATE, Value, X, slices_last

Readers = sizes.Readers

DEPENDS = {"x": X, "cotangent": X, "state": STATE, "carry": CARRY, "invariant": 0}
GRAPH_KINDS = {"number": "constant", "invariant": "parameter", "op": "op"}


class Plan:
    """The values of a step and its gradient, and the roles of some of them.

    y, new           outputs of the step: values
    of_x, of_state   gradients of one step's x and state (None where not wanted), given cotangents and carries
    of_invariants    gradient of one step for each invariant: their sum over time is the gradient
    loop, back       ids of the values that are computed step by step, forward and back
    """
    ROLES = ("y", "new", "of_x", "of_state", "of_invariants")
    y: list[Value]
    new: list[Value]
    of_x: list[Value | None]
    of_state: list[Value | None]
    of_invariants: list[Value | None]

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.values: list[Value] = []                       # each behind what it is made from
        self._known: dict[Any, Value] = {}                  # what is the same is one value
        self.wants_gradient = tape.recording and any(n.requires_grad for n in tape.nodes if n.kind in ("x", "state", "invariant"))
        gradients = adjoint(tape)[2:] if self.wants_gradient else ([], [], [])
        self._take(dict(zip(self.ROLES, (tape.y, tape.new, *gradients))))
        self._split()
        sizes.fold_biases(self)
        sizes.gather_gates(self)
        sizes.block_gates(self)
        sizes.take_apart(self)
        sizes.sum_pieces(self)
        sizes.cut_products(self)
        sizes.compute_in_loops(self)

    @property
    def roots(self) -> list[Value]:
        """What leaves a step: everything else is there for these."""
        return [v for role in self.ROLES for v in getattr(self, role) if v is not None]

    def of_kind(self, kind: str) -> list[Value]:
        """Leaves of one kind, by position."""
        return sorted((v for v in self.values if v.kind == kind), key=lambda v: v.position)

    # ---- from the tape ------------------------------------------------------------------------------------------------
    def _take(self, roles: dict[str, list[Any]]) -> None:
        """The values of a tape in normal form."""
        leaves = [n for n in self.tape.nodes if n.op is None and n.kind != "number"]
        normal = normal_form(Graph(
            [GraphNode(n.id, n.op, tuple(i.id for i in n.inputs), n.attributes, np.asarray(n.value), GRAPH_KINDS.get(n.kind, "input"),
                       name=n.name) for n in self.tape.nodes],
            [n.id for nodes in roles.values() for n in nodes if n is not None], [n.id for n in leaves]))
        leaf = dict(zip(normal.inputs, leaves))
        made: dict[int, Value] = {}
        uses = [0] * len(normal.nodes)
        for n in normal.nodes:
            for i in n.inputs:
                uses[i] += 1
        for n in normal.nodes:
            if n.id in leaf:
                source = leaf[n.id]
                made[n.id] = self._add(Value(source.kind, None, (), {}, np.shape(source.value), n.value.dtype, DEPENDS[source.kind],
                                             source.position, name=source.name))
            elif n.op is None:
                made[n.id] = self.number(n.value)
            else:
                made[n.id] = self.make(n.op, [made[i] for i in n.inputs], n.attributes, n.value.shape, n.value.dtype, n.name,
                                       alone=all(uses[i] == 1 for i in n.inputs))
        values = iter([made[i] for i in normal.outputs])
        for role, nodes in roles.items():
            setattr(self, role, [next(values) if n is not None else None for n in nodes])
        self._find_loops()

    def _add(self, value: Value) -> Value:
        value.id = len(self.values)
        self.values.append(value)
        return value

    def number(self, value: Any) -> Value:
        """A constant: numbers stay weak; a shaped one (folded) is an array of the program."""
        value = np.asarray(value)
        key = ("number", value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = self._add(Value("number", None, (), {}, value.shape, value.dtype, 0, number=value))
        return self._known[key]

    def make(self, op: Any, inputs: Sequence[Value], attributes: dict[str, Any], shape: tuple[int, ...], dtype: Any,
             name: str | None = None, alone: bool = True) -> Value:
        """A value, or the one that is the same; ``alone``: nobody else reads the inputs. What has a simpler form gets it."""
        made = self._simpler(op, inputs, attributes, shape, dtype, alone) or self._same(op, inputs, attributes, shape, dtype)
        made.name = made.name or name
        return made

    def _same(self, op: Any, inputs: Sequence[Value], attributes: dict[str, Any], shape: tuple[int, ...], dtype: Any) -> Value:
        key = (op.name, tuple(v.id for v in inputs), _frozen(attributes), dtype)
        if key not in self._known:
            depends = 0
            for v in inputs:
                depends |= v.depends
            self._known[key] = self._add(Value("op", op, inputs, attributes, shape, dtype, depends))
        return self._known[key]

    def _simpler(self, op: Any, inputs: Sequence[Value], attributes: dict[str, Any], shape: tuple[int, ...], dtype: Any,
                 alone: bool) -> Value | None:
        """Slices that are put together are one assembled value; a view the other way, a view twice."""
        if op.name == "scatter_add":
            index = attributes["index"]
            if slices_last(index):
                return self._same(ASSEMBLE, inputs, {"slices": (index[-1],), "shape": tuple(attributes["shape"])}, shape, dtype)
            if not any(isinstance(i, np.ndarray) for i in index) and all(i is None or i is Ellipsis or i == slice(None) for i in index):
                back = tuple(0 if i is None else i for i in index)                     # x[None] the other way
                return self._same(TABLE["getitem"], inputs, {"index": back}, shape, dtype)
        if op is SUM and len(inputs) > 1 and alone and all(v.op is ASSEMBLE for v in inputs):
            slices = [s for v in inputs for s in v.attributes["slices"]]
            spans = sorted(s.indices(shape[-1])[:2] for s in slices)
            if all(a[1] <= b[0] for a, b in zip(spans, spans[1:])):
                return self._same(ASSEMBLE, [p for v in inputs for p in v.inputs], {"slices": tuple(slices), "shape": tuple(shape)},
                                  shape, dtype)
        if op.name == "transpose" and inputs[0].op is op and np.array_equal(
                np.argsort(np.argsort(attributes["axes"])), np.argsort(inputs[0].attributes["axes"])):
            return inputs[0].inputs[0]
        if op is PRODUCT and len(inputs) == 1 and inputs[0].shape == tuple(shape) and inputs[0].dtype == dtype:
            return inputs[0]
        return None

    # ---- regions --------------------------------------------------------------------------------------------------------
    def _find_loops(self) -> None:
        self.loop = self._reach(self.new, STATE)
        self.back = self._reach([v for v in self.of_state if v is not None], CARRY)

    @staticmethod
    def _reach(roots: Iterable[Value], what: int) -> set[int]:
        """Ids of everything that roots need and that depends on ``what``: the body of the loop."""
        seen, stack = set(), list(roots)
        while stack:
            v = stack.pop()
            if v.id not in seen and v.depends & what and v.op is not None:
                seen.add(v.id)
                stack.extend(v.inputs)
        return seen

    def _split(self) -> None:
        """In a loop, a sum or product of many operands is one of two: what is known before the loop, and the rest."""
        def split(v: Value, inputs: Sequence[Value]) -> Sequence[Value]:
            what = STATE if v.id in self.loop else CARRY if v.id in self.back else 0
            if not what or v.op not in (SUM, PRODUCT):
                return inputs
            if v.op is SUM:
                inputs = self._factored(v, inputs, what, readers)
            early = [i for i in inputs if not i.depends & what]
            if len(early) < 2 or all(i.kind == "number" for i in early):
                return inputs
            shape = np.broadcast_shapes(*(i.shape for i in early))
            return [self.make(v.op, early, {}, shape, v.dtype), *(i for i in inputs if i.depends & what)]
        readers = self.readers()
        self.replace({}, split)
        self._find_loops()

    def _factored(self, v: Value, inputs: Sequence[Value], what: int, readers: Readers) -> Sequence[Value]:
        """a g + b g as (a + b) g, where a + b is known before the loop and g is not."""
        groups: dict[Value, list[Value]] = {}
        for before, i in zip(v.inputs, inputs):
            alone = i.op is PRODUCT and i.shape == v.shape and len(readers.get(before.id, ())) == 1
            late = [f for f in i.inputs if f.depends & what] if alone else []
            if len(late) == 1 and late[0].shape == v.shape and len(i.inputs) > 1:
                groups.setdefault(late[0], []).append(i)
        for factor, terms in groups.items():
            if len(terms) > 1:
                rests = []
                for i in terms:
                    rest = [f for f in i.inputs if f is not factor]
                    shape = np.broadcast_shapes(*(f.shape for f in rest))
                    rests.append(rest[0] if len(rest) == 1 else self.make(PRODUCT, rest, {}, shape, v.dtype))
                both = self.make(SUM, rests, {}, np.broadcast_shapes(*(r.shape for r in rests)), v.dtype)
                inputs = [*(i for i in inputs if i not in terms), self.make(PRODUCT, [both, factor], {}, v.shape, v.dtype)]
        return inputs

    def replace(self, new: dict[int, Value], change: Callable[[Value, list[Value]], Sequence[Value]] = lambda v, inputs: inputs) -> None:
        """The same plan with some values replaced (id -> value), and so all that is made from them."""
        for v in [v for v in self.values if v.op is not None and v.id not in new]:
            inputs = change(v, [new.get(i.id, i) for i in v.inputs])
            if len(inputs) != len(v.inputs) or any(a is not b for a, b in zip(inputs, v.inputs)):
                new[v.id] = self.make(v.op, inputs, v.attributes, v.shape, v.dtype, v.name)
        for role in self.ROLES:
            setattr(self, role, [new.get(v.id, v) if v is not None else None for v in getattr(self, role)])

    def renumber(self) -> None:
        """Ids in an order in which every value comes after what it is made from."""
        order, seen, stack = [], set(), [(v, False) for v in reversed(self.roots)]
        while stack:
            v, ready = stack.pop()
            if ready:
                order.append(v)
            elif id(v) not in seen:
                seen.add(id(v))
                stack.append((v, True))
                stack.extend((i, False) for i in reversed(v.inputs) if id(i) not in seen)
        order += [v for v in self.values if id(v) not in seen and v.op is None and v.kind != "number"]
        for k, v in enumerate(order):
            v.id = k
        self.values, self._known = order, {}
        self._find_loops()

    def readers(self) -> Readers:
        """id -> who reads the value, among what the outputs need; a reader from outside is None."""
        readers: dict[int, list[Any]] = {}
        stack, seen = self.roots, set()
        for v in stack:
            readers.setdefault(v.id, []).append(None)
        while stack:
            v = stack.pop()
            if v.id not in seen:
                seen.add(v.id)
                for i in v.inputs:
                    readers.setdefault(i.id, []).append(v)
                    stack.append(i)
        return readers
