"""One call of a program, as one node of the graph: its arrays, its room, and how gradients go back through it.

The node's value is all outputs, flat, in one array; each output is a part of it, and their gradients come back apart.
"""
import numpy as np

from ..checkpoint import again
from ..nested import flatten
from ..ops import At, Op
from ..tensor import Tensor, _fill, _leaf, mode


class Run:
    """One call of a program, for the arguments of ``call`` and what its cell met."""
    room = packed = None

    def __init__(self, call, program, bound):
        self.call, self.program, self.place = call, program, mode.place
        self.xs, self.s0 = call.arrays, [s.array for s in call.leaves]
        self.bound = [b.array if type(b) is Tensor else b for b in bound]
        if program.wanted:
            every = (*call.tensors, *call.leaves, *bound)
            self.tensors = tuple([every[i] for i in program.wanted])
            self.stamps = [(x, x.index) for x in (*call.leaves, *bound) if type(x) is Tensor and not x.requires_grad]

    def outputs(self):
        """Outputs and last states, as Tensors."""
        arrays, program = self.forward(), self.program
        if self.call.reverse:
            n = len(program.plan.y)
            arrays[:n] = [y[::-1] for y in arrays[:n]]
        if not program.wanted:
            return [_leaf(a) for a in arrays]
        kept = [a for a, wanted in zip(arrays, program.differentiable) if wanted]
        self.packed = packed = np.concatenate(kept, None)
        self.parts = program.parts(self.call.T, arrays)
        node = _node(_SCAN, packed, self.tensors, tuple([x.array for x in self.tensors]), {"run": self}, self.place)
        out = []
        for a, part in zip(arrays, self.parts):
            if part is None:
                out.append(_leaf(a.copy()))
                continue
            y = _node(_PART, _part(packed, **part), (node,), (packed,), part, self.place)
            out.append(y if y.array.dtype is a.dtype else y.astype(a.dtype))
        return out

    def forward(self):
        """Outputs and last states, as long as the room is not used again."""
        trains = bool(self.program.wanted)
        if trains and self.call.every:
            return self.forward_in_segments()
        room = self.program.take(self.call.T)
        try:
            arrays = room[0](*self.xs, *self.s0, *self.bound)
        except (IndexError, ValueError):
            self.call.unrolled()                        # says what is wrong, and where
            raise
        if trains:
            self.room = room
        else:
            arrays = [a.copy() for a in arrays]         # before another thread gets the room
            self.program.give(self.call.T, room)
        return arrays

    def __del__(self):
        if self.room is not None:                       # nobody asked for gradients
            self.program.give(self.call.T, self.room)

    def value(self, arrays):
        """The packed outputs; computed again where inputs were replaced."""
        if all(a is x.array for a, x in zip(arrays, self.tensors)):
            return self.packed
        every = [*self.xs, *self.s0, *self.bound]
        for i, a in zip(self.program.wanted, arrays):
            every[i] = a
        outputs = self.program.make(self.call.T)[0](*every)
        return np.concatenate([a for a, wanted in zip(outputs, self.program.differentiable) if wanted], axis=None)

    def gradients(self, g, y):
        """The gradients of all inputs."""
        if type(g) is Parts:
            return self.backward(g.parts)
        return again(g, y, self.unrolled, self.tensors, (), self.place)         # Jacobians and higher orders

    def backward(self, parts):
        """Gradients for ``tensors``, given those of the outputs that somebody used: a dict, by where they start in the packed array."""
        for x, stamp in self.stamps:                        # of the others the walk knows
            if x.index != stamp:
                raise RuntimeError(f"{x.label()} was changed after scan had used it, so the gradient would be wrong; change data only "
                                   "after backward(), or run the forward pass again")
        arriving = []
        for part, dtype in zip(self.parts, self.program.dtypes):
            if part is not None:
                g, shape = parts.get(part["start"]), part["shape"]
                part = np.zeros(shape, dtype) if g is None else g.reshape(shape).astype(dtype, copy=False)
            arriving.append(part)
        n, k, reverse = len(self.program.plan.y), len(self.xs), self.call.reverse
        ys = [y[::-1] if reverse else y for y in arriving[:n] if y is not None]
        back = self.back_through_segments if self.call.every else self.back_through_room
        gradients = back(ys, arriving[n:])
        if reverse:
            gradients[:k] = [x if x is None else x[::-1] for x in gradients[:k]]
        found = [gradients[i] for i in self.program.wanted]
        return [np.zeros_like(x.array) if g is None else g for g, x in zip(found, self.tensors)]

    def back_through_room(self, ys, last):
        room = self.__dict__.pop("room", None)          # at once: two threads may go back
        if room is None:                                # a second backward: what was stored has been used up
            room = self.program.take(self.call.T)
            room[0](*self.xs, *self.s0, *self.bound)
        gradients = room[1](*self.xs, *self.bound, *ys, *last)
        self.program.give(self.call.T, room)
        return gradients

    # ---- in segments: the states between them are stored, and each is run again on the way back -------------------------
    def segments(self):
        return [(a, min(a + self.call.every, self.call.T)) for a in range(0, self.call.T, self.call.every)]

    def forward_in_segments(self):
        n, state, ys = len(self.program.plan.y), self.s0, None
        self.starts = []
        for a, b in self.segments():
            self.starts.append(state)
            room = self.program.take(b - a)
            arrays = room[0](*[x[a:b] for x in self.xs], *state, *self.bound)
            if ys is None:
                ys = [np.empty((self.call.T, *y.shape[1:]), y.dtype) for y in arrays[:n]]
            for whole, y in zip(ys, arrays):
                whole[a:b] = y
            state = [s.copy() for s in arrays[n:]]
            self.program.give(b - a, room)
        return [*ys, *state]

    def back_through_segments(self, ys, last):
        k, n = len(self.xs), len(self.s0)
        xs, invariants = [None] * k, [None] * len(self.bound)
        for (a, b), state in zip(reversed(self.segments()), reversed(self.starts)):
            room = self.program.take(b - a)
            x = [v[a:b] for v in self.xs]
            room[0](*x, *state, *self.bound)
            gradients = room[1](*x, *self.bound, *[y[a:b] for y in ys], *last)         # arrays of their own
            for i, g in enumerate(gradients[:k]):
                if g is not None:
                    xs[i] = np.empty((self.call.T, *g.shape[1:]), g.dtype) if xs[i] is None else xs[i]
                    xs[i][a:b] = g
            last = [np.zeros_like(s) if g is None else g for s, g in zip(state, gradients[k:k + n])]
            invariants = [g if total is None else total if g is None else total + g for total, g in zip(invariants, gradients[k + n:])]
            self.program.give(b - a, room)
        return [*xs, *last, *invariants]

    def unrolled(self):
        """The packed outputs by the eager unroll: what higher orders go through."""
        every = [t.reshape(-1) for t in self.unfold().values()]
        return np.concatenate(every) if len(every) > 1 else every[0]

    def unfold(self):
        """The outputs by the eager unroll, each under its place in the packed array: what pictures and checks look at."""
        result = self.call.unrolled()
        ys = [result[0]]
        if self.call.states:
            visited = [flatten(s) for s in result[2][1:]]
            if self.call.reverse:
                visited.reverse()
            ys += [np.stack(list(leaves)) for leaves in zip(*visited)]
        return {(part["start"], part["stop"]): t for t, part in zip([*ys, *flatten(result[1])], self.parts) if part is not None}


# ---- the node, and the parts of its value ---------------------------------------------------------------------------------

def _node(op, array, inputs, arrays, attributes, place):
    """A node whose value is there already."""
    out = Tensor.__new__(Tensor)
    _fill(out, array, op, inputs, attributes, True, place)
    out.arrays = arrays
    return out


def _part(x, start, stop, shape):
    return x[start:stop].reshape(shape)


def _part_rule(g, y, x, start, stop, shape):
    lead = g.shape[:g.ndim - len(shape)]
    return _Part((Ellipsis, slice(start, stop)), g.reshape(lead + (stop - start,)), x.shape)


class _Part(At):
    """The gradient of one output. Those of one walk stay apart: the program takes them one by one."""
    __slots__ = ()

    @staticmethod
    def add(parts, total, lead):
        if lead:
            return At.add(parts, total, lead)
        total = Parts(parts[0]) if total is None else total
        total.parts.update((part.index[1].start, part.g) for part in parts)
        return total


class Parts:
    """The gradients of the outputs, by where they start in the packed array."""

    def __init__(self, like):
        self.parts, self.shape, self.dtype = {}, like.shape, like.g.dtype

    def __array__(self, dtype=None, copy=None):
        out = np.zeros(self.shape, dtype or self.dtype)
        for start, g in self.parts.items():
            out[start:start + g.size] = g
        return out


_SCAN = Op("scan", lambda *arrays, run: run.value(arrays), (lambda g, y, arrays, run: run.gradients(g, y),), None, "scan({*})",
           False, "jointly", None)
_PART = Op("part", _part, (_part_rule,), None, "{0}", False, False, None)
