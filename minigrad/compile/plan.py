"""What is computed when: every value of a step and of its gradient is sorted by what it depends on.

    once      parameters only                                          before everything
    before    x (or the cotangent of the output), not the state        all T steps at once, in one product
    loop      the state, and the next state needs it                   step by step
    after     the rest                                                 all T steps at once, from the stored states

The same words serve the way back, where the carried cotangent takes the place of the state. Sums and products of many operands
are split so that as little as possible is left in the loops: ``(x W + b) + h W_h``, and ``o (1 - tanh² c)`` before the loop back.
"""
import numpy as np

from ..graph.data import Graph
from ..graph.data import Node as GraphNode
from ..graph.normal import PRODUCT, SUM, _frozen, normal_form
from ..ops import TABLE, Op
from .trace import Tape, adjoint

X, STATE, CARRY = 1, 2, 4           # what a value depends on, besides parameters


def _assemble(*pieces, slices, shape):
    out = np.zeros(pieces[0].shape[:-1] + shape[-1:], np.result_type(*pieces))
    for piece, s in zip(pieces, slices):
        out[..., s] = piece
    return out


ASSEMBLE = Op("assemble", _assemble, (None,), None, "[{*}]", False, True, None)
VIEWS = {"getitem", "transpose", "broadcast_to", "stop_gradient", "apart"}


class Value:
    """One value of the plan: op, inputs and attributes; shape and dtype of one step; what it depends on."""
    __slots__ = ("id", "kind", "op", "inputs", "attributes", "shape", "dtype", "depends", "position", "number", "name", "uses")

    def __init__(self, id, kind, op, inputs, attributes, shape, dtype, depends, position=None, number=None):
        self.id, self.kind, self.op, self.inputs, self.attributes = id, kind, op, inputs, attributes
        self.shape, self.dtype, self.depends = tuple(shape), np.dtype(dtype), depends
        self.position, self.number, self.name, self.uses = position, number, None, 0

    def __repr__(self):
        return f"<{self.id} {self.op.name if self.op else self.kind} {[v.id for v in self.inputs]} {self.shape}>"

    @property
    def is_view(self):
        return self.op is not None and self.op.name in VIEWS and _basic(self)


def _basic(v):
    return all(not isinstance(i, np.ndarray) for i in v.attributes.get("index", ()))


class Plan:
    """The values of a step and its gradient, and the roles of some of them.

    y, new           outputs of the step: values
    of_x, of_state   gradients of one step's x and state (None where not wanted), given cotangents and carries
    of_invariants    gradient of one step for each invariant: their sum over time is the gradient
    """

    def __init__(self, tape: Tape):
        self.tape = tape
        self.values: list = []
        self.known: dict = {}
        self.wants_gradient = any(n.requires_grad for n in tape.invariants) or any(
            n.requires_grad and n.kind == "x" for n in tape.nodes) or any(
            n.requires_grad for n in tape.nodes if n.kind == "state")
        self.wants_gradient = self.wants_gradient and tape.recording
        forward = len(tape.nodes)
        roles = ([], [], [], [], [])
        if self.wants_gradient:
            roles = adjoint(tape)
        cotangents, carries, of_x, of_state, of_invariants = roles
        outputs = [n for group in (tape.y, tape.new, of_x, of_state, of_invariants) for n in group if n is not None]
        values = iter(self._normal(tape.nodes, outputs, forward))
        self.y, self.new, self.of_x, self.of_state, self.of_invariants = (
            [next(values) if n is not None else None for n in group] for group in (tape.y, tape.new, of_x, of_state, of_invariants))
        self.carried = [n is not None for n in carries]
        self.loop = self._reach([v for v in self.new], STATE)
        self.back = self._reach([v for v in self.of_state if v is not None], CARRY)
        self._split()
        self._gather_gates()
        self._block_gates()
        self._fetch()

    # ---- from the tape ------------------------------------------------------------------------------------------------
    def _normal(self, nodes, outputs, forward):
        kinds = {"number": "constant", "invariant": "parameter", "op": "op"}
        graph = Graph([GraphNode(n.id, n.op, tuple(i.id for i in n.inputs), n.attributes, np.asarray(n.value), kinds.get(n.kind, "input"),
                                 name=n.name) for n in nodes],
                      [n.id for n in outputs], [n.id for n in nodes if n.op is None and n.kind != "number"])
        leaves = [n for n in nodes if n.op is None and n.kind != "number"]
        normal = normal_form(graph)
        leaf = {i: n for i, n in zip(normal.inputs, leaves)}
        made = {}
        uses = [0] * len(normal.nodes)
        for n in normal.nodes:
            for i in n.inputs:
                uses[i] += 1
        for n in normal.nodes:
            if n.id in leaf:
                source = leaf[n.id]
                depends = {"x": X, "cotangent": X, "state": STATE, "carry": CARRY, "invariant": 0}[source.kind]
                made[n.id] = self._add(Value(0, source.kind, None, (), {}, np.shape(source.value), n.value.dtype, depends, source.position))
                made[n.id].name = source.name
            elif n.op is None:
                made[n.id] = self.number(n.value)
            else:
                made[n.id] = self.make(n.op, [made[i] for i in n.inputs], n.attributes, n.value.shape, n.value.dtype,
                                       alone=[uses[i] == 1 for i in n.inputs])
                made[n.id].name = made[n.id].name or n.name
        return [made[i] for i in normal.outputs]

    def _add(self, value):
        value.id = len(self.values)
        self.values.append(value)
        return value

    def number(self, value):
        """A constant: numbers stay weak; a shaped one (folded) is an array of the program."""
        value = np.asarray(value)
        key = ("number", value.dtype.str, value.shape, value.tobytes())
        if key not in self.known:
            self.known[key] = self._add(Value(0, "number", None, (), {}, value.shape, value.dtype, 0, number=value))
        return self.known[key]

    def make(self, op, inputs, attributes, shape, dtype, alone=()):
        """A value, or the one that is the same; slices that are put together become one assembled value."""
        if op.name == "scatter_add" and _basic_last(attributes["index"]):
            return self.make(ASSEMBLE, inputs, {"slices": (attributes["index"][-1],), "shape": tuple(attributes["shape"])}, shape, dtype)
        if op.name == "scatter_add" and all(i is None or i is Ellipsis or i == slice(None) for i in attributes["index"] if not isinstance(
                i, np.ndarray)) and not any(isinstance(i, np.ndarray) for i in attributes["index"]):
            back = tuple(0 if i is None else i for i in attributes["index"])         # x[None] the other way
            return self.make(TABLE["getitem"], inputs, {"index": back}, shape, dtype)
        if op is SUM and len(inputs) > 1 and all(v.op is ASSEMBLE for v in inputs) and all(alone):
            slices = [s for v in inputs for s in v.attributes["slices"]]
            spans = sorted((s.indices(shape[-1])[:2] for s in slices))
            if all(a[1] <= b[0] for a, b in zip(spans, spans[1:])):
                return self.make(ASSEMBLE, [p for v in inputs for p in v.inputs], {"slices": tuple(slices), "shape": tuple(shape)},
                                 shape, dtype)
        if op.name == "transpose" and inputs[0].op is op and np.array_equal(
                np.argsort(np.argsort(attributes["axes"])), np.argsort([a for a in inputs[0].attributes["axes"]])):
            return inputs[0].inputs[0]
        if op is PRODUCT and len(inputs) == 1 and inputs[0].shape == tuple(shape):
            return inputs[0]
        key = (op.name, tuple(v.id for v in inputs), _frozen(attributes), dtype)
        if key not in self.known:
            depends = 0
            for v in inputs:
                depends |= v.depends
            self.known[key] = self._add(Value(0, "op", op, tuple(inputs), attributes, shape, dtype, depends))
        return self.known[key]

    # ---- regions --------------------------------------------------------------------------------------------------------
    def _reach(self, roots, what):
        """Ids of everything that roots need and that depends on ``what``: the body of the loop."""
        seen, stack = set(), list(roots)
        while stack:
            v = stack.pop()
            if v.id not in seen and v.depends & what and v.op is not None:
                seen.add(v.id)
                stack.extend(v.inputs)
        return seen

    def _split(self):
        """In a loop, a sum or product of many operands is one of two: what is known before the loop, and the rest."""
        new: dict = {}

        def again(v):
            inputs = [new.get(i.id, i) for i in v.inputs]
            what = STATE if v.id in self.loop else CARRY if v.id in self.back else 0
            if what and v.op in (SUM, PRODUCT):
                early = [i for i in inputs if not i.depends & what]
                early_values = [i for i in early if i.kind != "number"]
                if len(early_values) > 1 or len(early) > 1 and early_values:
                    late = [i for i in inputs if i.depends & what]
                    shape = np.broadcast_shapes(*(i.shape for i in early))
                    group = self.make(v.op, early, {}, shape, v.dtype)
                    inputs = [group, *late]
            if all(a is b for a, b in zip(inputs, v.inputs)) and len(inputs) == len(v.inputs):
                return v
            made = self.make(v.op, inputs, v.attributes, v.shape, v.dtype)
            made.name = made.name or v.name
            return made
        for v in list(self.values):
            if v.op is not None:
                made = again(v)
                if made is not v:
                    new[v.id] = made
        for group in ("y", "new", "of_x", "of_state", "of_invariants"):
            setattr(self, group, [new.get(v.id, v) if v is not None else None for v in getattr(self, group)])
        self.loop = self._reach(self.new, STATE)
        self.back = self._reach([v for v in self.of_state if v is not None], CARRY)


    # ---- what pays at which size -------------------------------------------------------------------------------------------
    def users(self):
        """id -> who reads the value, among what the outputs need; a reader from outside is None."""
        users: dict = {}
        stack = [v for group in (self.y, self.new, self.of_x, self.of_state, self.of_invariants) for v in group if v is not None]
        for v in stack:
            users.setdefault(v.id, []).append(None)
        seen = set()
        while stack:
            v = stack.pop()
            if v.id not in seen:
                seen.add(v.id)
                for i in v.inputs:
                    users.setdefault(i.id, []).append(v)
                    stack.append(i)
        return users

    def _gather_gates(self):
        """Small gates that are cut from one product are computed together: σ(x) = ½ tanh(½x) + ½ makes all of them one tanh."""
        users, new = self.users(), {}
        for v in list(self.values):
            if v.id not in self.loop or v.op is None or v.is_view or bytes_of(v) > GATES_BYTES or not v.shape:
                continue
            slices = users.get(v.id, [])
            if len(slices) < 2 or any(s is None or s.op.name != "getitem" or not _basic_last(s.attributes["index"]) for s in slices):
                continue
            gates = [users.get(s.id, []) for s in slices]
            if any(len(g) != 1 or g[0] is None or g[0].op.name not in ("sigmoid", "tanh") for g in gates):
                continue
            spans = sorted((s.attributes["index"][-1].indices(v.shape[-1])[:2], g[0].op.name) for s, g in zip(slices, gates))
            if spans[0][0][0] != 0 or spans[-1][0][1] != v.shape[-1] or any(a[0][1] != b[0][0] for a, b in zip(spans, spans[1:])):
                continue
            scale = np.concatenate([np.full(b - a, 0.5 if kind == "sigmoid" else 1.0, v.dtype) for (a, b), kind in spans])
            shift = np.where(scale == 0.5, scale, 0).astype(v.dtype)
            both = self.make(GATES, [v, self.number(scale), self.number(shift)], {}, v.shape, v.dtype)
            for s, (gate,) in zip(slices, gates):
                new[gate.id] = self.make(TABLE["getitem"], [both], s.attributes, gate.shape, gate.dtype)
                new[gate.id].name = gate.name
        if new:
            self._replace(new)

    def _block_gates(self):
        """Large gates of equal size that are cut from one product each get a block of their own: BLAS and the cache like that better."""
        users, new = self.users(), {}
        for v in list(self.values):
            if v.id not in self.loop or v.op is not SUM or len(v.inputs) != 2 or len(v.shape) != 2 or bytes_of(v) <= GATES_BYTES:
                continue
            product = next((i for i in v.inputs if i.op is not None and i.op.name == "matmul" and i.id in self.loop), None)
            other = next((i for i in v.inputs if i is not product), None)
            slices = users.get(v.id, [])
            if product is None or other.shape != v.shape or other.depends != X or product.inputs[1].depends or len(product.inputs[1].shape) != 2 \
                    or len(users[product.id]) > 1 or any(s is None or s.op.name != "getitem" or not _basic_last(s.attributes["index"])
                                                         for s in slices):
                continue
            spans = [s.attributes["index"][-1].indices(v.shape[-1])[:2] for s in slices]
            size = spans[0][1] - spans[0][0]
            if len(set(spans)) < 2 or any(b - a != size or a % size for a, b in spans) or v.shape[-1] % size:
                continue
            (h, W), (B, n) = product.inputs, (v.shape[0], v.shape[1] // size)
            blocks = self.make(BLOCKS, [W], {"size": size}, (n, W.shape[0], size), W.dtype)
            apart = self.make(APART, [other], {"size": size}, (n, B, size), v.dtype)
            total = self.make(SUM, [apart, self.make(TABLE["matmul"], [h, blocks], {}, (n, B, size), v.dtype)], {}, (n, B, size), v.dtype)
            total.name = v.name
            for s, (a, _) in zip(slices, spans):
                index = (Ellipsis, a // size, slice(None), slice(None))
                new[s.id] = self.make(TABLE["getitem"], [total], {"index": index}, s.shape, s.dtype)
                new[s.id].name = s.name
        if new:
            self._replace(new)

    def _replace(self, new):
        """The same plan with some values replaced."""
        def latest(v):
            return new.get(v.id, v)
        for v in [v for v in self.values if v.op is not None]:
            inputs = [latest(i) for i in v.inputs]
            if any(a is not b for a, b in zip(inputs, v.inputs)) and v.id not in new:
                made = self.make(v.op, inputs, v.attributes, v.shape, v.dtype)
                made.name = made.name or v.name
                new[v.id] = made
        for group in ("y", "new", "of_x", "of_state", "of_invariants"):
            setattr(self, group, [latest(v) if v is not None else None for v in getattr(self, group)])
        self._renumber()
        self.loop = self._reach(self.new, STATE)
        self.back = self._reach([v for v in self.of_state if v is not None], CARRY)

    def _renumber(self):
        """Ids in an order in which every value comes after what it is made from."""
        roots = [v for group in (self.y, self.new, self.of_x, self.of_state, self.of_invariants) for v in group if v is not None]
        order, seen, stack = [], set(), [(v, False) for v in reversed(roots)]
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
        self.values, self.known = order, {}

    def _fetch(self):
        """Large elementwise values that only a loop reads are computed in it, while what they read is in the cache."""
        users = self.users()
        for loop, other in ((self.loop, STATE), (self.back, CARRY)):
            for v in reversed(self.values):
                if v.id in self.loop or v.id in self.back or v.op is None or not v.depends or not _elementwise(v) \
                        or v.depends & CARRY or bytes_of(v) < FETCH_BYTES:
                    continue
                readers = users.get(v.id, [None])
                if all(r is not None and r.id in loop for r in readers) and (loop is self.back or not v.depends & STATE):
                    loop.add(v.id)


def bytes_of(v):
    return int(np.prod(v.shape)) * v.dtype.itemsize


def _elementwise(v):
    return v.op in (SUM, PRODUCT) or v.op.name == "sigmoid" or isinstance(v.op.value, np.ufunc) and not v.attributes


GATES_BYTES = 16_384        # up to this size of one step, calls cost more than the numbers: gates are gathered
FETCH_BYTES = 4_096         # from this size of one step on, memory costs more than calls: no pass over all steps


def _gates(x, scale, shift):
    return np.tanh(x * scale) * scale + shift


def _blocks(W, size):
    """(D, n·size) as n blocks of (D, size), each contiguous."""
    return np.ascontiguousarray(W.reshape(W.shape[:-1] + (-1, size)).swapaxes(-2, -3))


def _apart(x, size):
    """The same as a view."""
    return x.reshape(x.shape[:-1] + (-1, size)).swapaxes(-2, -3)


BLOCKS = Op("blocks", _blocks, (None,), None, "{0}", False, False, None)
APART = Op("apart", _apart, (None,), None, "{0}", False, False, None)
GATES = Op("gates", _gates, (None,), None, "gates({0})", False, False, None)


def _basic_last(index):
    """A slice of the last axis alone."""
    return isinstance(index[-1], slice) and index[-1].step in (None, 1) and all(i is Ellipsis or i == slice(None) for i in index[:-1])


matmul, sigmoid = TABLE["matmul"], TABLE["sigmoid"]
