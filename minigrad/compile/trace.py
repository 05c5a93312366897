"""One time step as data: the cell is run on values that are not computed but followed.

``Tape`` holds what a cell does in one step: calls of ops on x, the state, and whatever else it met (parameters, constants).
The first run builds it; every later run only follows it, op for op, which takes a fraction of a microsecond each, and finds
the parameters of today. A cell that does something else than what the tape says is noticed at once.
"""
import math
import os
import sys
import threading

import numpy as np

from ..nested import flatten, rebuild
from ..ops import FUNCTIONS, HANDLERS, TABLE, Op
from ..tensor import _WITHOUT_GRADIENT_UFUNCS, Tensor, _clock, mode


class CannotTrace(TypeError):
    """A cell does what cannot be compiled; the message says what, and what to write instead."""


class ReadsNumbers(CannotTrace):
    """A cell looks at the numbers of its step."""


class Complex(CannotTrace):
    """A complex step goes through the cell: the unroll takes it, and nothing is wrong."""


class Deviates(Exception):
    """A run of the cell is not what the tape says."""


class _Following(threading.local):
    run = None


_following = _Following()


class Traced(Tensor):
    """A value of the step being traced: its shape and dtype are known, its numbers are not."""
    __slots__ = ("node",)
    traced = True

    def follow(self, op, inputs, attributes):
        run = _following.run
        if run is None:
            raise CannotTrace(f"a value of a traced step ({op.name} of it) was used after its step; a cell must keep nothing "
                              "besides its state")
        return run.follow(op, inputs, attributes)

    # what steps are mostly made of goes to the run at once, not by way of Tensor and record
    def __add__(self, other):
        return _following.run.follow(_ADD, (self, other), None)

    def __radd__(self, other):
        return _following.run.follow(_ADD, (other, self), None)

    def __sub__(self, other):
        return _following.run.follow(_SUBTRACT, (self, other), None)

    def __rsub__(self, other):
        return _following.run.follow(_SUBTRACT, (other, self), None)

    def __mul__(self, other):
        return _following.run.follow(_MULTIPLY, (self, other), None)

    def __rmul__(self, other):
        return _following.run.follow(_MULTIPLY, (other, self), None)

    def __matmul__(self, other):
        if type(other) is Tensor and other.array.ndim > 1 and self.array.ndim > 1:
            return _following.run.follow(_MATMUL, (self, other), None)
        return Tensor.__matmul__(self, other)

    def _unknown(self, what):
        reason = (f"{what} of a value of the step needs its numbers, which differ from step to step; choose with np.where(…), "
                  "np.maximum(…) or arithmetic, or use mg.unroll")
        if _following.run is not None:
            _following.run.refused = reason                 # also if the cell catches the error and goes another way
        raise ReadsNumbers(reason)

    @property                   # type: ignore[misc]
    def place(self):
        self._unknown("the place in time")

    @property                   # type: ignore[misc]
    def op(self):                       # also what mg.grad inside of a step goes by
        self._unknown("the history")

    def __reduce__(self):
        self._unknown("a copy")

    def __deepcopy__(self, memo):
        self._unknown("a copy")

    def __format__(self, spec):
        self._unknown("the text")

    def __repr__(self):
        return f"<a value of the step, {self.array.dtype} {self.array.shape}>"

    @property                   # type: ignore[misc]
    def data(self):
        if getattr(_following.run, "rules", False):         # a rule looks at the real part: comparisons are traced too
            return self
        self._unknown("reading .data")

    def item(self):
        self._unknown("item()")

    def numpy(self):
        self._unknown("numpy()")

    def argmax(self, axis=None):
        self._unknown("argmax()")

    def any(self, axis=None):
        self._unknown("any()")

    argmin, all = argmax, any

    def __array__(self, dtype=None, copy=None):
        self._unknown("turning into an array")

    def __float__(self):
        self._unknown("float()")

    def __int__(self):
        self._unknown("int()")

    def __index__(self):
        self._unknown("int()")

    def __bool__(self):
        self._unknown("bool()")

    def detach(self):
        return self.follow(STOP, (self,), None)

    def astype(self, dtype):
        dtype = np.dtype(dtype)
        return self if dtype == self.array.dtype else self.follow(_ASTYPE, (self,), {"dtype": dtype})

    def __lt__(self, other):
        return self.follow(_without_gradient(np.less), (self, other), None)

    def __le__(self, other):
        return self.follow(_without_gradient(np.less_equal), (self, other), None)

    def __gt__(self, other):
        return self.follow(_without_gradient(np.greater), (self, other), None)

    def __ge__(self, other):
        return self.follow(_without_gradient(np.greater_equal), (self, other), None)

    def __eq__(self, other):        # type: ignore[override]
        return self.follow(_without_gradient(np.equal), (self, other), None)

    def __ne__(self, other):        # type: ignore[override]
        return self.follow(_without_gradient(np.not_equal), (self, other), None)

    __hash__ = object.__hash__

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if len(inputs) == 1 and not kwargs and ufunc in _UNARY and method == "__call__":
            return _following.run.follow(_UNARY[ufunc], inputs, None)
        if ufunc in _WITHOUT_GRADIENT_UFUNCS and method == "__call__" and not kwargs:
            return self.follow(_without_gradient(ufunc), inputs, None)
        return Tensor.__array_ufunc__(self, ufunc, method, *_weak(inputs), **kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if function in _OF_SHAPES:
            return function(*(x.array if isinstance(x, Tensor) else x for x in args), **kwargs)
        if function is np.sign:
            return self.follow(_without_gradient(function), args, None)
        if function in _OF_NUMBERS:
            self._unknown(f"np.{function.__name__}")
        return Tensor.__array_function__(self, function, types, _weak(args), kwargs)


def _weak(inputs):
    """NumPy's numbers as Python's, as an op takes them."""
    inputs = [x.item() if isinstance(x, (np.generic, np.ndarray)) and not x.ndim else x for x in inputs]
    return tuple([int(x) if type(x) is bool else x for x in inputs])


_OF_SHAPES = {np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.result_type, np.iscomplexobj, np.isrealobj,
              np.broadcast_shapes, np.common_type, np.can_cast}
_OF_NUMBERS = {np.any, np.all, np.allclose, np.isclose, np.array_equal, np.argmax, np.argmin, np.argsort, np.nonzero, np.argwhere,
               np.count_nonzero, np.searchsorted, np.array2string, np.array_repr, np.array_str, np.round, np.around, np.full_like,
               np.digitize, np.isin}
_ops: dict = {}


def _without_gradient(ufunc):
    """A comparison (or rounding) as an op: on a Tensor it gives a plain array, in a traced step it must stay in the step."""
    if ufunc not in _ops:
        _ops[ufunc] = Op(ufunc.__name__, ufunc, (None,) * ufunc.nin, None, f"{ufunc.__name__}({{*}})", False, False, None)
    return _ops[ufunc]


HANDLERS[Traced] = HANDLERS[Tensor]
_ADD, _SUBTRACT, _MULTIPLY, _MATMUL = (TABLE[name] for name in ("add", "subtract", "multiply", "matmul"))
_UNARY = {f: op for f, op in FUNCTIONS.items() if isinstance(f, np.ufunc) and f.nin == 1 and type(op) is Op and op.call is None
          and op.compose is None}
STOP = Op("stop_gradient", lambda x: x, (None,), None, "{0}", False, False, None)
_ASTYPE = Op("astype", lambda x, dtype: x.astype(dtype), (lambda g, y, x, dtype: g.astype(x.dtype),), None, "{0}", False, False, None)


class Node:
    """One value of the step. ``kind`` is "x", "state", "invariant", "number", "cotangent" (of the output), "carry" (of the new
    state) or "op"; ``value`` a sample, from which shape and dtype are known."""
    __slots__ = ("id", "kind", "op", "inputs", "attributes", "value", "name", "position", "requires_grad")

    def __init__(self, id, kind, value, op=None, inputs=(), attributes=None, position=None, requires_grad=False):
        self.id, self.kind, self.value, self.op, self.inputs = id, kind, value, op, inputs
        self.attributes, self.position, self.requires_grad, self.name = attributes or {}, position, requires_grad, None

    def __repr__(self):
        return f"<{self.id} {self.op.name if self.op else self.kind} {[n.id for n in self.inputs]} {np.shape(self.value)}>"


def traced(node, requires_grad=False):
    out = Traced.__new__(Traced)
    out.array = np.asarray(node.value)
    out.attributes = out.grad = out.name = None
    out.inputs = out.arrays = ()
    out.index, out.requires_grad, out.node = _clock(), requires_grad, node
    return out


class Slot:
    """Where a call takes what the cell met: the tape's invariant number ``position``."""
    __slots__ = ("position",)

    def __init__(self, position):
        self.position = position


class Tape:
    """What a cell does in one step.

    nodes       every value, in the order they were made: leaves, ops, and (after ``adjoint``) those of the gradients
    x, state    the leaves that the cell gets, nested as it gets them
    y, new      what it returned: lists of nodes, flat
    invariants  what it met: a node for each Tensor or array that was not made from x or the state
    """

    def __init__(self, cell, x, state, recording, states=False):
        self.nodes, self.calls, self.invariants = [], [], []
        self.recording = recording
        self.x = rebuild(x, [self._leaf("x", v, i) for i, v in enumerate(flatten(x))])
        self.state = rebuild(state, [self._leaf("state", v, i) for i, v in enumerate(flatten(state))])
        run = _Build(self)
        y, new = _named(run, lambda: _run(run, cell, self.x, self.state))
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

    def _leaf(self, kind, value, position):
        array = value.array if isinstance(value, Tensor) else np.asarray(value)
        grad = isinstance(value, Tensor) and value.requires_grad or kind == "state" and array.dtype.kind == "f"
        node = Node(len(self.nodes), kind, array, position=position, requires_grad=grad and self.recording)
        self.nodes.append(node)
        return traced(node, node.requires_grad)

    def follow(self, cell):
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


def _named(run, fn):
    """Run fn; the nodes of the values that it keeps in variables get the variables' names, the caller's before the callee's."""
    depths, here, before = {}, sys._getframe(), sys.gettrace()

    def read(frame, depth):                         # pragma: no cover: a trace function is not traced itself
        for name, value in frame.f_locals.items():
            if isinstance(value, Tensor) and name[0] != "_":
                if type(value) is Traced:
                    node = value.node
                elif id(value) in run.by_id:
                    node = run.tape.invariants[run.by_id[id(value)].position]
                else:
                    continue
                if depths.get(node.id, (99,))[0] > depth and not (node.kind == "invariant" and node.name):
                    depths[node.id] = depth, node, name

    def tracer(frame, event, argument):             # pragma: no cover
        if frame.f_code.co_filename.startswith(_HOUSE) and not frame.f_code.co_filename.startswith(_CELLS):
            return None
        depth, f = 0, frame.f_back
        while f is not None and f is not here:
            depth, f = depth + 1, f.f_back

        def lines(frame, event, argument):
            if event != "call":
                read(frame, depth)
            return lines
        return lines
    sys.settrace(tracer)
    try:
        result = fn()
    finally:
        sys.settrace(before)
    for _, node, name in depths.values():
        node.name = name
    return result


_HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CELLS = os.path.join(_HOUSE, "recurrent")


def _run(run, cell, x, state):
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


def nesting(state):
    """How a value is nested, without its leaves: what two calls must share if one tape is to serve both."""
    if isinstance(state, dict):
        return type(state), *[(k, nesting(v)) for k, v in state.items()]
    if isinstance(state, (tuple, list)):
        return type(state), *map(nesting, state)
    return state is None


class _Build:
    """The first run: write down what the cell does, and compute one step's values for shapes and dtypes."""
    rules, refused = False, None

    def __init__(self, tape):
        self.tape, self.found, self.by_id, self.kept = tape, [], {}, []

    def follow(self, op, inputs, attributes):
        tape = self.tape
        if mode.recording is not tape.recording:
            raise CannotTrace("its step switches gradients off or on (mg.no_grad); cut single values with .detach()")
        nodes, matchers = [], []
        for x in inputs:
            if type(x) is Traced:
                nodes.append(x.node)
                matchers.append(x)
            elif self.rules and isinstance(x, np.ndarray):          # made by a rule, from shapes alone
                nodes.append(self.constant(x))
            elif isinstance(x, (Tensor, np.ndarray)) and np.ndim(x):
                slot = self.invariant(x)
                nodes.append(tape.invariants[slot.position])
                matchers.append(slot)
            elif isinstance(x, Tensor):
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
        given, attributes = attributes, attributes or {}
        for value in attributes.get("index", ()):
            if isinstance(value, Traced):
                raise CannotTrace("indexing with a value of the step has no compiled form; multiply one-hot rows instead, or use mg.unroll")
        value = op.evaluate(*(n.value for n in nodes), **attributes)
        grad = any(n.requires_grad for n in nodes) and any(r is not None for r in op.rules)
        node = Node(len(tape.nodes), "op", np.asarray(value), op, tuple(nodes), attributes, requires_grad=grad)
        tape.nodes.append(node)
        out = traced(node, grad)
        if not self.rules:
            if any(isinstance(i, np.ndarray) for i in attributes.get("index", ())):
                given = _Index(given)
            tape.calls.append((op, tuple(matchers), given, out))
        return out

    def constant(self, x):
        self.tape.nodes.append(Node(len(self.tape.nodes), "number", x))
        return self.tape.nodes[-1]

    def invariant(self, x):
        slot = self.by_id.get(id(x))
        if slot is None:
            tape = self.tape
            array = x.array if isinstance(x, Tensor) else x.copy()
            if array.dtype.kind == "c":
                raise Complex
            grad = isinstance(x, Tensor) and x.requires_grad and tape.recording
            node = Node(len(tape.nodes), "invariant", array, position=len(tape.invariants), requires_grad=grad)
            node.name = _name_of(x)
            tape.nodes.append(node)
            slot = self.by_id[id(x)] = Slot(node.position)
            tape.invariants.append(node)
            self.found.append(x if isinstance(x, Tensor) else array)
            self.kept.append(x)                             # an id is used again when its owner is gone
        elif type(x) is np.ndarray and not _equal(x, self.found[slot.position]):
            raise CannotTrace("an array that its step uses twice is changed in between; use two arrays")
        return slot


def _name_of(x):
    """A parameter's name; of what was made from one, its name and how: W_h_part, W_h_T."""
    if not isinstance(x, Tensor) or x.name or x.op is None:
        return getattr(x, "name", None)
    source = getattr(x.inputs[0], "name", None)
    return source and f"{source}_{ {'getitem': 'part', 'transpose': 'T'}.get(x.op.name, x.op.name)}"


class _Follow:
    """A later run: is it what the tape says, and what does it meet?"""
    rules, refused = False, None

    def __init__(self, tape):
        self.calls, self.invariants, self.at = tape.calls, tape.invariants, 0
        self.recording, self.mode = tape.recording, mode.__dict__           # this thread's, looked up once
        self.bound = [None] * len(tape.invariants)          # Tensors, and copies of arrays: their owner may change them
        self.met = self.bound[:]

    def follow(self, op, inputs, attributes):
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

    def accept(self, x, node):
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


def _same_number(x, e):
    """Whether x is the Python number e: of its type too, and of its sign if it is zero."""
    if isinstance(x, (np.generic, np.ndarray)) and not x.ndim:
        x = x.item()
    x = int(x) if type(x) is bool else x
    return type(x) is type(e) and x == e and (x != 0 or math.copysign(1, x) == math.copysign(1, e))


def _equal(a, b):
    """Whether two arrays are the same numbers, bit for bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


class _Index:
    """Attributes with arrays in an index, compared by their numbers."""
    __slots__ = ("attributes",)

    def __init__(self, attributes):
        self.attributes = attributes

    def __ne__(self, other):
        a, b = self.attributes, other
        return type(b) is not dict or a.keys() != b.keys() or len(a["index"]) != len(b["index"]) or any(
            not _equal(i, j) if isinstance(i, np.ndarray) and isinstance(j, np.ndarray) else type(i) is not type(j) or i != j
            for i, j in zip(a["index"], b["index"])) or any(a[k] != b[k] for k in a if k != "index")


class _Rules(_Build):
    """The ops' own gradient rules, run on values of the step: what they do is written behind what the cell did."""
    rules = True

    def __init__(self, tape):
        super().__init__(tape)
        self.by_id = {}


def adjoint(tape):
    """Append the gradients to a tape: reverse over what the cell did, by the ops' own rules.

    Returns (cotangents, carries, of_x, of_state, of_invariants), lists of nodes; None where nothing is wanted or reached.
    """
    forward = list(tape.nodes)
    run = _Rules(tape)
    values = {n.id: n.value if n.kind == "number" else traced(n, n.requires_grad) for n in forward}
    grads = {}

    def seed(node, kind, position):
        if not node.requires_grad:
            return None
        leaf = Node(len(tape.nodes), kind, np.ones_like(node.value), position=position, requires_grad=True)
        tape.nodes.append(leaf)
        grads[node.id] = grads[node.id] + traced(leaf) if node.id in grads else traced(leaf)
        return leaf

    before, _following.run = _following.run, run
    try:
        cotangents = [seed(n, "cotangent", i) for i, n in enumerate(tape.y)]
        carries = [seed(n, "carry", i) for i, n in enumerate(tape.new)]
        for node in reversed(forward):
            g = grads.get(node.id)
            if g is None or node.op is None:
                continue
            if node.name and not g.node.name and g.node.op is not None:
                g.node.name = f"d{node.name}"
            attributes = node.attributes
            arguments = [values[n.id] for n in node.inputs]
            for i, x in enumerate(node.inputs):
                rule = node.op.rule(i)
                if not x.requires_grad or rule is None:
                    continue
                if node.op.saves:                   # a fused rule runs on arrays, with what the value saved for it
                    part = run.follow(_with_saved(node.op, i), (g, values[node.id], *arguments), attributes)
                else:
                    part = rule(g, values[node.id], *arguments, **attributes)
                if not isinstance(part, Tensor):
                    part = part.dense()
                part = _unbroadcast(part, np.shape(x.value))
                grads[x.id] = grads[x.id] + part if x.id in grads else part
    finally:
        _following.run = before

    def of(nodes):
        return [grads[n.id].node if n.requires_grad and n.id in grads else None for n in nodes]
    leaves = {k: [n for n in forward if n.kind == k] for k in ("x", "state", "invariant")}
    return cotangents, carries, of(leaves["x"]), of(leaves["state"]), of(leaves["invariant"])


def _with_saved(op, i):
    """The rule of argument i of an op that saves values for it, as an op of (g, y, arguments)."""
    if (op, i) not in _ops:
        def value(g, y, *arguments, **attributes):
            return op.rule(i)(g, y, *arguments, saved=op.value(*arguments, **attributes)[1], **attributes)
        made = _ops[op, i] = Op(f"{op.name}_rule_{i}", value, (None,), None, f"∂{op.name}({{*}})", False, True, None)
        RULE_OF[made] = op, i
    return _ops[op, i]


RULE_OF: dict = {}


def _unbroadcast(g, shape):
    """Sum over the axes along which an operand was stretched."""
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    if axes:
        g = np.sum(g, axis=axes)
    return g if g.shape == tuple(shape) else np.reshape(g, shape)
