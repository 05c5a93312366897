"""One time step as data: the cell is run on values that are not computed but followed.

``Tape`` holds what a cell does in one step: calls of ops on x, the state, and whatever else it met (parameters, constants).
The first run builds it; every later run only follows it, op for op, which takes a fraction of a microsecond each, and finds
the parameters of today. A cell that does something else than what the tape says is noticed at once.
"""
from __future__ import annotations

import math
import weakref
from typing import Any, Sequence

import numpy as np

from ..nested import Nested, flatten, rebuild
from ..ops import Op
from ..recurrent.state import Cell
from ..tensor import Tensor, _clock, mode
from .named import name_of, named
from .traced import CannotTrace, Complex, Deviates, Traced, _following

CELLS = 16              # how many cells that share a tape are counted before those that are gone are looked for


class Node:
    """One value of the step. ``kind`` is "x", "state", "invariant", "number", "cotangent" (of the output), "carry" (of the new
    state) or "op"; ``value`` a sample, from which shape and dtype are known."""
    __slots__ = ("id", "kind", "op", "inputs", "attributes", "value", "name", "position", "requires_grad")

    def __init__(self, id: int, kind: str, value: Any, op: Op | None = None, inputs: tuple[Node, ...] = (),
                 attributes: dict[str, Any] | None = None, position: int | None = None, requires_grad: bool = False) -> None:
        self.id, self.kind, self.value, self.op, self.inputs = id, kind, value, op, inputs
        self.attributes: dict[str, Any] = attributes or {}
        self.position: Any = position
        self.requires_grad = requires_grad
        self.name: str | None = None

    def __repr__(self) -> str:
        return f"<{self.id} {self.op.name if self.op else self.kind} {[n.id for n in self.inputs]} {np.shape(self.value)}>"


def traced(node: Node, requires_grad: bool = False) -> Traced:
    out = Traced.__new__(Traced)
    out.array = np.asarray(node.value)
    out.attributes = out.grad = out.name = None
    out.inputs = out.arrays = ()
    out.index, out.requires_grad, out.node = _clock(), requires_grad, node
    return out


class Slot:
    """Where a call takes what the cell met: the tape's invariant number ``position``."""
    __slots__ = ("position",)

    def __init__(self, position: int) -> None:
        self.position = position


class Tape:
    """What a cell does in one step.

    nodes       every value, in the order they were made: leaves, ops, and (after ``adjoint``) those of the gradients
    x, state    the leaves that the cell gets, nested as it gets them
    y, new      what it returned: lists of nodes, flat
    invariants  what it met: a node for each Tensor or array that was not made from x or the state
    """

    def __init__(self, cell: Cell, x: Nested, state: Nested, recording: bool, states: bool = False) -> None:
        self.nodes: list[Node] = []
        self.calls: list[tuple[Op, tuple[Any, ...], Any, Traced]] = []
        self.invariants: list[Node] = []
        self.recording = recording
        self.followed: dict[int, tuple[Any, int]] = {}      # id of a cell -> (weak reference to it, how often it was run along)
        self.x = rebuild(x, [self._leaf("x", v, i) for i, v in enumerate(flatten(x))])
        self.state = rebuild(state, [self._leaf("state", v, i) for i, v in enumerate(flatten(state))])
        run = _Build(self)
        y, new = named(run, lambda: _run(run, cell, self.x, self.state))
        self.nesting = nesting(self.state)
        if nesting(new) != self.nesting:
            raise CannotTrace("it returned a state of another nesting than the one it got")
        self.returned = [y, *flatten(new)]
        for what, t in zip(["its output", *["a state"] * len(self.returned)], self.returned):
            if type(t) is not Traced:
                raise CannotTrace(f"{what} does not depend on x or the state (it is a {type(t).__name__}); return something computed from "
                                  "them, for example by multiplying, or use mg.unroll")
        self.new = [t.node for t in flatten(new)]
        self.y = [y.node, *(self.new if states else ())]
        before = [n for n in self.nodes if n.kind == "state"]
        for n, s in zip(self.new, before):
            if np.shape(n.value) != np.shape(s.value) or n.value.dtype != s.value.dtype:
                raise CannotTrace(f"its state changes from {s.value.dtype} {np.shape(s.value)} to {n.value.dtype} {np.shape(n.value)}")
        if len(self.new) != len(before):
            raise CannotTrace(f"it returned a state of {len(self.new)} parts for one of {len(before)}")
        self.found = run.found

    def _leaf(self, kind: str, value: Any, position: int) -> Traced:
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        grad = isinstance(value, Tensor) and value.requires_grad or kind == "state" and array.dtype.kind == "f"
        node = Node(len(self.nodes), kind, array, position=position, requires_grad=grad and self.recording)
        self.nodes.append(node)
        return traced(node, node.requires_grad)

    def follow(self, cell: Cell) -> list[Any]:
        """Run the cell along the tape: the list of what it met this time, or Deviates."""
        run = _Follow(self)
        y, new = _run(run, cell, self.x, self.state)
        if type(new) is not Traced and nesting(new) != self.nesting:
            raise Deviates
        new = flatten(new)
        if run.at != len(self.calls) or y is not self.returned[0] or len(new) != len(self.returned) - 1 or any(
                a is not b for a, b in zip(new, self.returned[1:])):
            raise Deviates
        return run.bound

    def times(self, cell: Cell) -> int:
        """Counts how often this very cell was run along; 0 for what has no weak references. Cells that are gone are forgotten."""
        ref, times = self.followed.get(id(cell), (None, 0))
        if ref is None or ref() is not cell:
            try:
                ref, times = weakref.ref(cell), 0
            except TypeError:
                return 0
            if len(self.followed) >= CELLS:
                self.followed = {key: known for key, known in list(self.followed.items()) if known[0]() is not None}
        self.followed[id(cell)] = ref, times + 1
        return times + 1


def _run(run: Any, cell: Cell, x: Nested, state: Nested) -> tuple[Any, ...]:
    before, _following.run = _following.run, run
    try:
        result = cell(x, state)
    finally:
        _following.run = before
    if run.refused:
        raise CannotTrace(run.refused)
    if type(result) is not tuple or len(result) != 2:
        raise CannotTrace(f"the cell returned {type(result).__name__}; expected a pair (y, state)")
    return result


def nesting(state: Nested) -> Any:
    """How a value is nested, without its leaves: what two calls must share if one tape is to serve both."""
    if isinstance(state, dict):
        return type(state), *[(k, nesting(v)) for k, v in state.items()]
    if isinstance(state, (tuple, list)):
        return type(state), *map(nesting, state)
    return state is None


class _Build:
    """The first run: write down what the cell does, and compute one step's values for shapes and dtypes."""
    rules = False
    refused: str | None = None

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.found: list[Any] = []
        self.kept: list[Any] = []
        self.by_id: dict[int, Slot] = {}

    def follow(self, op: Op, inputs: Sequence[Any], attributes: dict[str, Any] | None) -> Traced:
        tape = self.tape
        if mode.recording is not tape.recording:
            raise CannotTrace("its step switches gradients off or on (mg.no_grad); cut single values with .detach()")
        nodes: list[Node] = []
        matchers: list[Any] = []
        for x in inputs:
            if type(x) is Traced:
                nodes.append(x.node)
                matchers.append(x)
            elif self.rules and isinstance(x, np.ndarray):          # made by a rule, from shapes alone
                nodes.append(self.constant(x))
            elif isinstance(x, Tensor) or isinstance(x, np.ndarray) and x.ndim:
                slot = self.invariant(x)
                nodes.append(tape.invariants[slot.position])
                matchers.append(slot)
            else:
                x = x.item() if isinstance(x, (np.ndarray, np.generic)) else x
                x = int(x) if isinstance(x, bool) else x
                if not isinstance(x, (int, float)):
                    if isinstance(x, (list, tuple)):
                        raise CannotTrace(f"{op.name} got a {type(x).__name__}; make it an array once, outside of the step")
                    raise CannotTrace(f"{op.name} got a {type(x).__name__}; a compiled step computes with real numbers")
                nodes.append(self.constant(x))
                matchers.append(x)
        given: Any = attributes
        attributes = attributes or {}
        for value in attributes.get("index", ()):
            if isinstance(value, Traced):
                raise CannotTrace("indexing with a value of the step has no compiled form; multiply one-hot rows instead, or use mg.unroll")
        value = op.evaluate(*(n.value for n in nodes), **attributes)
        grad = any(n.requires_grad for n in nodes) and any(r is not None for r in op.rules)
        node = Node(len(tape.nodes), "op", np.asarray(value), op, tuple(nodes), attributes, requires_grad=grad)
        tape.nodes.append(node)
        out = traced(node, grad)
        if not self.rules:
            if "index" in attributes:
                given = _Index(attributes)
            tape.calls.append((op, tuple(matchers), given, out))
        return out

    def constant(self, x: Any) -> Node:
        self.tape.nodes.append(Node(len(self.tape.nodes), "number", x))
        return self.tape.nodes[-1]

    def invariant(self, x: Any) -> Slot:
        slot = self.by_id.get(id(x))
        if slot is None:
            tape = self.tape
            array = x.array if isinstance(x, Tensor) else x.copy()
            if array.dtype.kind == "c":
                raise Complex
            grad = isinstance(x, Tensor) and x.requires_grad and tape.recording
            node = Node(len(tape.nodes), "invariant", array, position=len(tape.invariants), requires_grad=grad)
            node.name = name_of(x)
            tape.nodes.append(node)
            slot = self.by_id[id(x)] = Slot(node.position)
            tape.invariants.append(node)
            self.found.append(x if isinstance(x, Tensor) else array)
            self.kept.append(x)                             # an id is used again when its owner is gone
        elif type(x) is np.ndarray and not _equal(x, self.found[slot.position]):
            raise CannotTrace("an array that its step uses twice is changed in between; use two arrays")
        return slot


class _Follow:
    """A later run: is it what the tape says, and what does it meet?"""
    rules = False
    refused: str | None = None

    def __init__(self, tape: Tape) -> None:
        self.calls, self.invariants, self.at = tape.calls, tape.invariants, 0
        self.recording, self.mode = tape.recording, mode.__dict__           # this thread's, looked up once
        self.bound: list[Any] = [None] * len(tape.invariants)          # Tensors, and copies of arrays: their owner may change them
        self.met = self.bound[:]

    def follow(self, op: Op, inputs: Sequence[Any], attributes: dict[str, Any] | None) -> Traced:
        at = self.at
        try:
            expected_op, expected, expected_attributes, out = self.calls[at]
        except IndexError:
            raise Deviates from None
        if op is not expected_op or len(inputs) != len(expected) or self.mode["recording"] is not self.recording:
            raise Deviates
        for x, e in zip(inputs, expected):
            if x is not e:
                if type(e) is Slot:
                    held = self.met[e.position]
                    if held is None:
                        self.met[e.position], self.bound[e.position] = x, self.accept(x, self.invariants[e.position])
                    elif held is not x or type(x) is np.ndarray and not _equal(x, self.bound[e.position]):
                        raise Deviates
                elif not _same_number(x, e):
                    raise Deviates
        if attributes is not expected_attributes and attributes != expected_attributes:
            raise Deviates
        self.at = at + 1
        return out

    def accept(self, x: Any, node: Node) -> Any:
        array = node.value
        if isinstance(x, Tensor):
            if type(x) is Traced or x.array.shape != array.shape or x.array.dtype != array.dtype or (
                    self.recording and x.requires_grad) != node.requires_grad:
                raise Deviates
        elif type(x) is not np.ndarray or x.shape != array.shape or x.dtype != array.dtype or node.requires_grad:
            raise Deviates
        else:
            return x.copy()
        return x


def _same_number(x: Any, e: Any) -> bool:
    """Whether x is the Python number e: of its type too, and of its sign if it is zero."""
    if isinstance(x, (np.generic, np.ndarray)) and not x.ndim:
        x = x.item()
    x = int(x) if type(x) is bool else x
    return type(x) is type(e) and x == e and (x != 0 or math.copysign(1, x) == math.copysign(1, e))


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same numbers, bit for bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


class _Index:
    """Attributes with an index, compared by types first: to ``==`` an array that holds 1 is a 1."""
    __slots__ = ("attributes", "types")

    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes, self.types = attributes, [*map(type, attributes["index"])]

    def __ne__(self, other: object) -> bool:
        if type(other) is not dict or [*map(type, other.get("index", ()))] != self.types:
            return True
        if np.ndarray not in self.types:
            return self.attributes != other
        a, b = self.attributes, other
        return a.keys() != b.keys() or any(a[k] != b[k] for k in a if k != "index") or any(
            not _equal(i, j) if type(i) is np.ndarray else i != j for i, j in zip(a["index"], b["index"]))
