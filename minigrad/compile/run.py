"""One call of a program, as one node of the graph: its arrays, its room, and how gradients go back through it.

The node's value is all outputs, flat, in one array; each output is a part of it, and their gradients come back apart.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from ..checkpoint import again
from ..nested import flatten
from ..ops import At, Later, Op
from ..tensor import Tensor, _clock, _leaf, _new, mode

if TYPE_CHECKING:
    from .call import _Call
    from .program import Program


Arrays = list[Any]
Room = Any              # a pair of functions, forward and backward


class Run:
    """One call of a program, for the arguments of ``call`` and what its cell met."""
    room: Room = None

    def __init__(self, call: _Call, program: Program, bound: Sequence[Any]) -> None:
        self.call, self.program, self.place = call, program, mode.place
        self.bound: list[Any]
        self.xs, self.s0 = call.arrays, [s.array for s in call.leaves]
        try:
            self.bound = [b.array for b in bound]
        except AttributeError:                          # it is an array itself
            self.bound = [b.array if type(b) is Tensor else b for b in bound]
        if program.wanted:
            every = (*call.tensors, *call.leaves, *bound)
            self.tensors = tuple([every[i] for i in program.wanted])
            self.stamps = [(every[i], every[i].index) for i in program.constants if type(every[i]) is Tensor]
            made = [b for b in bound if type(b) is Tensor and b.index > call.start and b.op is not None and b.requires_grad]
            self.tensors += _sources(made, self.tensors, call.start) if made else ()

    def outputs(self) -> list[Tensor]:
        """Outputs and last states, as Tensors."""
        arrays, program, place = self.forward(), self.program, self.place
        if self.call.reverse:
            n = program.shown
            arrays[:n] = [y[::-1] for y in arrays[:n]]
        if not program.wanted:
            return [_leaf(a) for a in arrays]
        size, dtype, self.parts = program.layout(self.call.T, arrays)
        packed = np.empty(size, dtype)
        node = _node(_SCAN, packed, self.tensors, tuple([x.array for x in self.tensors]), {"run": self}, place)
        inputs, within = (node,), (packed,)
        out: list[Tensor] = []
        for a, part in zip(arrays, self.parts):
            if part is None:
                out.append(_leaf(a.copy()))
                continue
            value = packed[part["start"]:part["stop"]].reshape(part["shape"])
            value[...] = a
            y = _node(_PART, value, inputs, within, part, place)
            out.append(y if dtype is a.dtype else y.astype(a.dtype))
        return out

    def forward(self) -> list[np.ndarray]:
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

    def __del__(self) -> None:
        if self.room is not None:                       # nobody asked for gradients
            self.program.give(self.call.T, self.room)

    def value(self, arrays: tuple[Any, ...]) -> np.ndarray:
        """The packed outputs, computed again from these inputs."""
        every = [*self.xs, *self.s0, *self.bound]
        for i, a in zip(self.program.wanted, arrays):
            every[i] = a
        outputs = self.program.make(self.call.T)[0](*every)
        return np.concatenate([a for a, wanted in zip(outputs, self.program.differentiable) if wanted], axis=None)

    def gradients(self, g: Any, y: Any) -> Sequence[Any]:
        """The gradients of all inputs."""
        if type(g) is Parts:
            return tuple(self.backward(g))              # nobody else holds them
        return again(g, y, self.unrolled, self.tensors, [], self.place)         # Jacobians and higher orders

    def backward(self, parts: dict[int, np.ndarray]) -> list[np.ndarray]:
        """Gradients for ``tensors``, given those of the outputs that somebody used: a dict, by where they start in the packed array."""
        for x, stamp in self.stamps:                        # of the others the walk knows
            if x.index != stamp:
                raise RuntimeError(f"{x.label()} was changed after scan had used it, so the gradient would be wrong; change data only "
                                   "after backward(), or run the forward pass again")
        program, reverse = self.program, self.call.reverse
        arriving: list[np.ndarray | None] = []
        for part, dtype in zip(self.parts, program.dtypes):
            if part is None:
                arriving.append(None)
                continue
            g = parts.get(part["start"])
            arriving.append(np.zeros(part["shape"], dtype) if g is None else np.asarray(g, dtype, order="C"))
        n, k = program.shown, len(self.xs)
        ys = [y[::-1] if reverse else y for y in arriving[:n] if y is not None]
        back = self.back_through_segments if self.call.every else self.back_through_room
        gradients = back(ys, arriving[n:])
        if reverse:
            gradients[:k] = [x if x is None else x[::-1].copy() for x in gradients[:k]]
        found = [gradients[i] for i in program.wanted]          # of sources none: they get theirs through what was made of them
        return [np.zeros_like(x.array) if g is None else g for g, x in zip(found, self.tensors)] if program.missing else found

    def back_through_room(self, ys: Arrays, last: Arrays) -> list[Any]:
        room = self.__dict__.pop("room", None)          # at once: two threads may go back
        if room is None:                                # a second backward: what was stored has been used up
            room = self.program.take(self.call.T)
            room[0](*self.xs, *self.s0, *self.bound)
        gradients = room[1](*self.xs, *self.bound, *ys, *last)
        self.program.give(self.call.T, room)
        return gradients

    # ---- in segments: the states between them are stored, and each is run again on the way back -------------------------
    def segments(self) -> list[tuple[int, int]]:
        return [(a, min(a + self.call.every, self.call.T)) for a in range(0, self.call.T, self.call.every)]

    def forward_in_segments(self) -> list[np.ndarray]:
        n, state = self.program.shown, self.s0
        ys: list[np.ndarray] = []
        self.starts = []
        for a, b in self.segments():
            self.starts.append(state)
            room = self.program.take(b - a)
            arrays = room[0](*[x[a:b] for x in self.xs], *state, *self.bound)
            if not a:
                ys = [np.empty((self.call.T, *y.shape[1:]), y.dtype) for y in arrays[:n]]
            for whole, y in zip(ys, arrays):
                whole[a:b] = y
            state = [s.copy() for s in arrays[n:]]
            self.program.give(b - a, room)
        return [*ys, *state]

    def back_through_segments(self, ys: Arrays, last: Arrays) -> list[Any]:
        k, n = len(self.xs), len(self.s0)
        xs: list[Any] = [None] * k
        invariants: list[Any] = [None] * len(self.bound)
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

    def unrolled(self) -> Any:
        """The packed outputs by the eager unroll: what higher orders go through."""
        every = [t.reshape(-1) for t in self.unfold().values()]
        return np.concatenate(every) if len(every) > 1 else every[0]

    def unfold(self) -> dict[tuple[int, int], Tensor]:
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

def _node(op: Op, array: np.ndarray, inputs: tuple[Tensor, ...], arrays: tuple[np.ndarray, ...], attributes: dict[str, Any],
          place: Any) -> Tensor:
    """A node whose value is there already."""
    out = _new(Tensor)
    out.array, out.op, out.inputs, out.arrays, out.attributes, out.place, out.index = array, op, inputs, arrays, attributes, place, _clock()
    out.requires_grad, out.grad, out.name = True, None, None
    return out


def _sources(made: list[Tensor], known: tuple[Tensor, ...], start: int) -> tuple[Tensor, ...]:
    """The Tensors of before ``start`` that those made in a step were computed from: the unroll makes them anew, from these."""
    seen, sources = {x.index for x in known}, list[Tensor]()
    while made:
        for x in made.pop().inputs:
            if type(x) is Tensor and x.requires_grad and x.index not in seen:
                seen.add(x.index)
                (made if x.index > start and x.op is not None else sources).append(x)
    return tuple(sources)


def _part(x: np.ndarray, start: int, stop: int, shape: tuple[int, ...]) -> np.ndarray:
    return x[start:stop].reshape(shape)


def _part_rule(g: Any, y: Any, x: Any, start: int, stop: int, shape: tuple[int, ...]) -> _Part:
    return _Part(g, x, start, stop, shape)


class _Part(Later):
    """The gradient of one output. Those of one walk stay apart: the program takes them one by one."""
    __slots__ = ("g", "x", "start", "stop", "shape")

    def __init__(self, g: Any, x: Any, start: int, stop: int, shape: tuple[int, ...]) -> None:
        self.g, self.x, self.start, self.stop, self.shape = g, x, start, stop, shape

    def at(self) -> At:
        """As the gradient of an index, with any axes in front."""
        lead = self.g.shape[:self.g.ndim - len(self.shape)]
        return At((Ellipsis, slice(self.start, self.stop)), self.g.reshape(lead + (self.stop - self.start,)), self.x.shape)

    def dense(self) -> Any:
        return self.at().dense()

    @staticmethod
    def add(parts: list[_Part], total: Any, lead: int) -> Any:
        if lead:
            return At.add([part.at() for part in parts], total, lead)
        total = Parts(parts[0].x) if total is None else total
        for part in parts:
            total[part.start] = part.g
        return total


class Parts(dict[int, Any]):
    """The gradients of the outputs, by where they start in the packed array, which is like ``x``."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        out = np.zeros(self.x.shape, dtype or self.x.dtype)
        for start, g in self.items():
            out[start:start + g.size] = g.reshape(-1)
        return out


_SCAN = Op("scan", lambda *arrays, run: run.value(arrays), (lambda g, y, arrays, run: run.gradients(g, y),), "scan({*})",
           variadic="jointly")
_PART = Op("part", _part, (_part_rule,), "{0}")
