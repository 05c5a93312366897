"""``mg.scan``: the numbers of ``mg.unroll``, by a program compiled for the cell.

At every call the cell is run along the tapes that are known for it, which costs about a microsecond an op; if none fits, a
program is made, and compared with the eager unroll, values and gradients, before it is trusted. The call is one node of
the graph. What a program cannot do (higher orders, Jacobians, a cell that is no function of x and state) the unroll does.
"""
import collections
import threading
import warnings

import numpy as np

from ..autodiff import _walk
from ..checkpoint import again
from ..nested import flatten, rebuild
from ..ops import At, Op
from ..recurrent.sequence import _choose, _mask, _segment_length, unroll
from ..recurrent.state import called, check_cell
from ..tensor import Tensor, _leaf, mode, record
from .held import Held, kind
from .program import Program
from .trace import CannotTrace, Complex, Deviates, Tape, Traced, _following, nesting

SIGNATURES = 64         # how many signatures are remembered
TAPES = 4               # how many different steps of one signature
CHECKED = 24            # how many steps of the first call are compared with the eager unroll

_programs: collections.OrderedDict = collections.OrderedDict()      # signature -> programs, or why there is none
_lock = threading.Lock()


class NotCompiled(UserWarning):
    """A scan ran as an eager unroll; the message says why, and what to write instead."""


def scan(cell, xs, state=None, *, lengths=None, reverse=False, states=False, checkpoint_every=None):
    """Run ``cell`` over a sequence as ``mg.unroll`` does, compiled to a NumPy program: same arguments, numbers and gradients.

    The first call makes the program (milliseconds) and compares it with the unroll, values and gradients. A cell that
    cannot be compiled (it reads numbers of the step, branches on the step, draws random numbers inside) runs as an eager
    unroll, and a warning says why. ``mg.scan.source(cell, xs)`` is the program.

    >>> import minigrad as mg
    >>> cell = mg.GRUCell(3, 4, rng=np.random.default_rng(0))
    >>> xs = np.random.default_rng(1).standard_normal((5, 2, 3))
    >>> ys, h = scan(cell, xs)
    >>> bool(np.allclose(ys.data, mg.unroll(cell, xs)[0].data))
    True
    """
    check_cell("scan", cell, " (argument order: scan(cell, xs, state))")
    call = _Call(cell, xs, state, lengths, reverse, states, checkpoint_every)
    if call.eager:
        return call.unrolled()
    program, bound = _find(call)
    if program is None:
        result = call.unrolled()                        # an error of the cell's own comes from here, as the unroll words it
        if bound is not None:
            warnings.warn(f"mg.scan runs {called(cell)} as an eager unroll: {bound}", NotCompiled, stacklevel=2)
        return result
    return call.run(program, bound)


class _Call:
    """The arguments of one call, brought into form; ``eager`` says that the unroll is to deal with them."""
    eager = True

    def __init__(self, cell, xs, state, lengths=None, reverse=False, states=False, every=None):
        self.cell, self.given, self.state, self.lengths, self.reverse, self.states = cell, xs, state, lengths, reverse, states
        self.every = every
        if mode.watch is not None or _following.run is not None:        # mg.debug() and traces look at every op
            return
        self.nested = type(xs) in (tuple, dict) or isinstance(xs, tuple)
        tensors = flatten(xs) if self.nested else [xs]
        arrays = []
        for x in tensors:
            if isinstance(x, Tensor):
                if type(x) is Traced:                   # a scan inside a step that is being traced
                    return
                array = x.array
            elif isinstance(x, list):
                return
            else:
                array = np.array(x)                     # a copy: its owner may change it
            if array.ndim == 0 or array.dtype.kind not in "biuf" or len(array) == 0 or arrays and len(array) != len(arrays[0]):
                return
            arrays.append(array)
        if not arrays:
            return
        own = [x if isinstance(x, Tensor) else a for x, a in zip(tensors, arrays)]
        self.given = rebuild(xs, own) if self.nested else own[0]            # what the unroll gets, now or for a picture later
        self.T, self.arrays, self.tensors = len(arrays[0]), arrays, tensors
        first = arrays[0]
        if state is None or lengths is not None:
            batch = first.shape[1] if first.ndim > 2 or first.ndim == 2 and first.dtype.kind in "biu" else None
            if state is None:
                if not hasattr(cell, "initial_state"):
                    return
                self.state = state = cell.initial_state(batch)
        self.step = cell
        if lengths is not None:
            self.arrays = [*arrays, _mask(lengths, self.T, batch)]
            self.lengths = np.array(lengths.data if isinstance(lengths, Tensor) else lengths)
            self.tensors = [*tensors, None]
            self.step = _masked(cell, batch)
        self.leaves = [state] if type(state) is Tensor else flatten(state)
        for s in self.leaves:
            if type(s) is not Tensor or s.array.dtype.kind not in "biuf":
                return
        self.eager = not self.leaves
        self.every = None if every is None or not mode.recording else _segment_length(every, self.T, states)
        if reverse:
            self.arrays = [a[::-1] for a in self.arrays]

    def unrolled(self):
        return unroll(self.cell, self.given, self.state, lengths=self.lengths, reverse=self.reverse, states=self.states,
                      checkpoint_every=self.every)

    def element(self, leaves):
        """x of one step, nested as the step gets it."""
        if self.lengths is not None:
            *leaves, alive = leaves
            return (rebuild(self.given, leaves) if self.nested else leaves[0]), alive
        return rebuild(self.given, leaves) if self.nested else leaves[0]

    def first(self):
        leaves = []
        for a, given in zip(self.arrays, self.tensors):
            x = _leaf(np.asarray(a[0]))
            x.requires_grad = type(given) is Tensor and given.requires_grad
            leaves.append(x)
        return self.element(leaves)

    def signature(self):
        return (kind(self.cell), mode.recording, self.lengths is None, self.states,
                nesting(self.given) if self.nested else None, None if type(self.state) is Tensor else nesting(self.state),
                *[(a.shape[1:], a.dtype.char, type(x) is Tensor and x.requires_grad) for a, x in zip(self.arrays, self.tensors)], None,
                *[(s.array.shape, s.array.dtype.char, s.requires_grad) for s in self.leaves])

    def run(self, program, bound):
        """The call as one node of the graph, and its outputs, taken out of the node."""
        run = _Run(self, program, bound)
        arrays = run.forward()
        n = len(program.plan.y)
        if self.reverse:
            arrays[:n] = [y[::-1] for y in arrays[:n]]
        if not run.trains:
            out = [_leaf(a) for a in arrays]
        else:
            packed, run.parts, at = [], [], 0
            for a, wanted in zip(arrays, program.differentiable):
                if wanted:
                    packed.append(a.reshape(-1))
                    run.parts.append((at, at + a.size, a.shape, a.dtype))
                    at += a.size
                else:
                    run.parts.append(None)
            run.packed = np.concatenate(packed)
            node = record(_SCAN, run.tensors, {"run": run})
            out = [_leaf(a.copy()) if part is None else self.taken(node, part) for a, part in zip(arrays, run.parts)]
        state = out[n] if type(self.state) is Tensor else rebuild(self.state, out[n:])
        if not self.states:
            return out[0], state
        visited = [self.state]
        for t in range(self.T):
            visited.append(rebuild(self.state, [s[self.T - 1 - t if self.reverse else t] for s in out[1:n]]))
        return out[0], state, visited

    @staticmethod
    def taken(node, part):
        start, stop, shape, dtype = part
        out = record(_PART, (node,), {"start": start, "stop": stop, "shape": shape})
        return out if out.array.dtype == dtype else out.astype(dtype)


def _masked(cell, batch):
    """A cell whose rows rest where ``alive`` is false, as ``unroll`` has it with lengths."""
    def step(xs, state):
        x, alive = xs
        y, new = cell(rebuild(x, [_choose(alive, v, 0) for v in flatten(x)]), state)
        for s in (y, *flatten(new)):
            if np.shape(s)[:1] != (batch,):
                raise CannotTrace("with lengths, every output and state needs the batch in front")
        return _choose(alive, y, 0.), rebuild(new, [_choose(alive, a, b) for a, b in zip(flatten(new), flatten(state))])
    return step


def _part(x, start, stop, shape):
    return x[start:stop].reshape(shape)


def _part_rule(g, y, x, start, stop, shape):
    lead = g.shape[:g.ndim - len(shape)]
    return At((Ellipsis, slice(start, stop)), g.reshape(lead + (stop - start,)), x.shape)


_PART = Op("part", _part, (_part_rule,), None, "{0}", False, False, None)


class _Run:
    """One call of a program: its arrays, its room, and how it goes back."""
    room = packed = None

    def __init__(self, call, program, bound):
        self.call, self.program = call, program
        self.xs = call.arrays
        self.s0 = [s.array for s in call.leaves]
        self.bound = [b.array if type(b) is Tensor else b for b in bound]
        if program.plan.wants_gradient:
            self.wanted = [type(x) is Tensor and x.requires_grad for x in (*call.tensors, *call.leaves, *bound)]
            self.tensors = tuple([x for x, wanted in zip((*call.tensors, *call.leaves, *bound), self.wanted) if wanted])
            self.trains = bool(self.tensors) and program.trains
            self.stamps = [(x, x.index) for x in (*call.leaves, *bound) if type(x) is Tensor and not x.requires_grad]
        else:
            self.trains = False
        self.place = mode.place

    def forward(self):
        """Outputs and last states, as long as the room is not used again."""
        if self.trains and self.call.every:
            return self.forward_in_segments()
        room = self.program.take(self.call.T)
        try:
            arrays = room[0](*self.xs, *self.s0, *self.bound)
        except (IndexError, ValueError):
            self.call.unrolled()                        # says what is wrong, and where
            raise
        if self.trains:
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
        given = iter(arrays)
        every = [next(given) if wanted else a for a, wanted in zip((*self.xs, *self.s0, *self.bound), self.wanted)]
        room = self.program.make(self.call.T)
        return np.concatenate([a.reshape(-1) for a, wanted in zip(room[0](*every), self.program.differentiable) if wanted])

    def gradients(self, g, y):
        """The gradients of all inputs."""
        if type(g) is np.ndarray and g.ndim == 1:
            return self.backward(g)
        return again(g, y, self.unrolled, self.tensors, (), self.place)         # Jacobians and higher orders

    def backward(self, g):
        """Gradients for ``tensors``, given that of the packed outputs."""
        for x, stamp in self.stamps:                        # of the others the walk knows
            if x.index != stamp:
                raise RuntimeError(f"{x.label()} was changed after scan had used it, so the gradient would be wrong; change data only "
                                   "after backward(), or run the forward pass again")
        parts = [None if part is None else g[part[0]:part[1]].reshape(part[2]).astype(part[3], copy=False) for part in self.parts]
        n, reverse = len(self.program.plan.y), self.call.reverse
        ys = [y[::-1] if reverse else y for y in parts[:n] if y is not None]
        if self.call.every:
            gradients = self.back_through_segments(ys, parts[n:])
        else:
            gradients = self.back_through_room(ys, parts[n:])
        if reverse:
            k = len(self.xs)
            gradients[:k] = [x if x is None else x[::-1] for x in gradients[:k]]
        return [np.zeros_like(x.array) if g is None else g for x, g in
                zip(self.tensors, [g for g, wanted in zip(gradients, self.wanted) if wanted])]

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
        return {part[:2]: t for t, part in zip([*ys, *flatten(result[1])], self.parts) if part is not None}


_SCAN = Op("scan", lambda *arrays, run: run.value(arrays), (lambda g, y, arrays, run: run.gradients(g, y),), None, "scan({*})",
           False, "jointly", None)


# ---- programs ----------------------------------------------------------------------------------------------------------

class _Refused:
    """Why there is no program for a signature; asked again after 1, 2, 4, 8 … calls, since a cell may change its ways."""

    def __init__(self, reason):
        self.reason, self.calls, self.next = reason, 0, 1


def _find(call):
    """(program, what the cell met) for a call: known already, or made and checked now; else (None, the reason)."""
    key = call.signature()
    known = _programs.get(key)
    if known is None:
        with _lock:
            known = _programs.setdefault(key, [[], None])
            while len(_programs) > SIGNATURES:
                _programs.popitem(last=False)
    programs, refused = known
    for program in programs:
        held = Held(call.cell) if program.watched else None
        try:
            bound = program.tape.follow(call.step)
            if held is None or not held.changed():
                return program, bound
        except (Deviates, CannotTrace):
            pass
        if held is not None:                            # as if it had not been run
            held.restore()
    if refused is not None:
        refused.calls += 1
        if refused.calls < refused.next:
            return None, refused.reason
    if len(programs) >= TAPES:
        return None, ("its step was another one in each of so many calls (numbers that change between calls, say); make such a number a "
                      "0-d mg.Tensor, or pass it in xs")
    try:
        program, bound = _compiled(call)
    except Complex:
        return None, None
    except Exception as error:
        reason = str(error) if isinstance(error, CannotTrace) else f"{type(error).__name__}: {error}"
        if refused is None:
            known[1] = _Refused(reason)
        else:
            refused.reason, refused.next = reason, 2 * refused.next
        return None, reason
    programs.append(program)
    return program, bound


def _compiled(call):
    """A program that agrees with the eager step, and what the cell met; the cell is left as it was."""
    held = Held(call.cell)
    if held.iterators:
        raise CannotTrace(f"it holds an iterator ({', '.join(held.iterators)}), and what it takes is gone; pass its values in xs")
    try:
        tape = Tape(call.step, call.first(), call.state, mode.recording, call.states)
        try:
            bound = tape.follow(call.step)
        except Deviates:
            raise CannotTrace("two runs of its step differ (a branch on the step, a counter); pass what changes from step to step in "
                              "xs, or keep it in the state") from None
        if held.drawn():
            raise CannotTrace("its step draws random numbers; draw them for all steps before and pass them in xs, or keep one draw in "
                              "the state")
        if changed := held.changed():
            raise CannotTrace(f"its step changes {', '.join(changed)}; what changes from step to step belongs into the state")
        for a, b in zip(tape.found, bound):
            a, b = (x.array if isinstance(x, Tensor) else x for x in (a, b))
            if a is not b and not np.array_equal(a, b, equal_nan=True):
                raise CannotTrace("an array that its step uses differs from run to run; pass it in xs")
        program = Program(tape, called(call.cell))
        _check(call, program)
        program.watched = held.effects
        return program, tape.follow(call.step)
    finally:
        held.restore()


def _check(call, program):
    """Compare the program with the eager step, values and all gradients, to what rounding explains: on the first steps of the call, and
    on three steps of random numbers near them, since zeros and what overflows hide mistakes."""
    _compare(call, program, min(max(call.T, 3), CHECKED))
    _compare(call, program, 3, near=0.5)


def _compare(call, program, T, near=0.0):
    """On T steps, those of the call again and again, moved by about ``near``."""
    def moved(a, random, nudge):
        if a.dtype.kind != "f":
            return a
        a = a + (near * random.standard_normal(a.shape)).astype(a.dtype) if near else a
        return a * a.dtype.type(1 + nudge * np.finfo(a.dtype).eps) if nudge else a

    def inputs(nudge=0.0):
        random, leaves = np.random.default_rng(1), []
        for a, given in zip([*(a[np.arange(T) % call.T] for a in call.arrays), *(s.array.copy() for s in call.leaves)],
                            [*call.tensors, *call.leaves]):
            x = _leaf(moved(a, random, nudge if len(leaves) < len(call.arrays) else 0.0))
            x.requires_grad = type(given) is Tensor and given.requires_grad
            leaves.append(x)
        return leaves[:len(call.arrays)], leaves[len(call.arrays):]

    def outputs_of(how, nudge=0.0):
        xs, leaves = inputs(nudge)
        outputs = how(xs, leaves)
        random = np.random.default_rng(0)
        values = [o.array for o in outputs]
        cotangents = [random.standard_normal(o.shape).astype(o.dtype) for o in outputs]
        roots = [(o, g) for o, g in zip(outputs, cotangents) if o.requires_grad and mode.recording]
        found = _walk(*map(list, zip(*roots))) if roots else {}
        own = {x.index: k for k, x in enumerate([*xs, *leaves])}
        return values, {("input", own[i]) if i in own else i: entry[1] for i, entry in found.items()}

    def compiled(xs, leaves):
        short = _Call.__new__(_Call)
        short.__dict__.update(call.__dict__, every=None, arrays=[x.array for x in xs], tensors=xs, leaves=leaves, T=T, states=False,
                              reverse=False,
                              state=rebuild(call.state, leaves))
        y, state = short.run(program, program.tape.follow(call.step))[:2]
        return [y, *flatten(state)]

    def eager(xs, leaves):
        state, ys = rebuild(call.state, leaves), []
        for t in range(T):
            y, state = call.step(call.element([x[t] for x in xs]), state)
            ys.append(y)
        return [o if type(o) is Tensor else _leaf(o) for o in (np.stack(ys), *flatten(state))]

    ours, expected = outputs_of(compiled), outputs_of(eager)
    tolerance = {d: 1e4 * np.finfo(d).eps for d in ("f4", "f8")}
    wrong = _differ(ours, expected, tolerance)
    if wrong and _differ(outputs_of(eager), expected, tolerance):
        raise CannotTrace("two unrolls of it differ (something outside of x, the state and the cell changes); pass it in xs")
    if wrong:                                           # a chaotic cell magnifies rounding: how much, the unroll itself tells
        nudged = outputs_of(eager, nudge=8.0)
        wrong = _differ(ours, expected, tolerance, nudged)
    if wrong:
        raise CannotTrace(f"its program and the unroll differ in {wrong} within the first {T} steps (a branch that few steps take?); "
                          "it must be a function of x and the state alone")
    if not near:
        own = [o.array for o in eager(inputs()[0], call.leaves)], {}
        if _differ(own, (expected[0], {}), tolerance):
            raise CannotTrace("two unrolls of it differ: it asks whether a state is a certain Tensor, or something outside of x, the state "
                              "and the cell changes; put what it is to know into the state or xs")


def _differ(ours, expected, tolerance, nudged=None):
    """What differs by more than rounding explains, in words; None if nothing."""
    for k, (a, b) in enumerate(zip(ours[0], expected[0])):
        if not _close(a, b, tolerance, *((None,) if nudged is None else (nudged[0][k], 0.001))):
            return "the outputs" if k == 0 else "the last state"
    for key in expected[1].keys() | ours[1].keys():
        a, b = (g.get(key) for g in (ours[1], expected[1]))
        a, b = (np.zeros_like(b if a is None else a) if g is None else g for g in (a, b))        # not reached is the same as zero
        a, b = (g.astype(min(a.dtype, b.dtype), copy=False) for g in (a, b))        # the walk gives leaves their own dtype later
        if not _close(a, b, tolerance, None if nudged is None else nudged[1].get(key), 0.01):               # cotangents are about 1
            return "a gradient"
    return None


def _close(a, b, tolerance, nudged, least=0.0):
    """``least``: what is smaller than this may be the rounding of larger numbers that cancel."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if b.dtype.kind != "f":
        return np.array_equal(a, b)
    scale, allowed = np.max(np.abs(b), initial=least), tolerance[f"f{b.dtype.itemsize}"]
    difference = np.max(np.abs(a - b), initial=0.0)
    if nudged is not None and nudged.shape == b.shape:
        return difference <= allowed * scale + 100 * np.max(np.abs(nudged - b), initial=0.0) or not np.isfinite(scale)
    return difference <= allowed * scale or np.array_equal(a, b, equal_nan=True)


def source(cell, xs, state=None, *, lengths=None, reverse=False):
    """The program that ``scan`` runs for these arguments: NumPy source that runs alone.

    >>> import minigrad as mg
    >>> text = source(mg.RNNCell(3, 4), np.zeros((5, 2, 3)))
    >>> "tanh" in text
    True
    """
    call = _Call(cell, xs, state, lengths, reverse)
    program, bound = (None, "its arguments have no compiled form") if call.eager else _find(call)
    if program is None:
        raise CannotTrace(f"{called(cell)} has no program: {bound}")
    return program.source


scan.source = source        # type: ignore[attr-defined]
