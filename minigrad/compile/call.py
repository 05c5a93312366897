"""``mg.scan``: the numbers of ``mg.unroll``, by a program compiled for the cell.

A program is found by what the cell does (a tape that the cell is run along at every call), made when there is none, and
compared with the eager unroll, values and gradients, before it is trusted. The call is one node of the graph.
"""
import collections
import threading
import warnings

import numpy as np

from ..autodiff import grad, no_grad
from ..checkpoint import generators_of
from ..nested import flatten, rebuild
from ..ops import Op
from ..recurrent.sequence import unroll
from ..tensor import Tensor, _leaf, mode, record
from .program import Program
from .trace import CannotTrace, Deviates, Tape, Traced

PROGRAMS = 64           # how many signatures are remembered
TAPES = 4               # how many different steps of one signature
CHECKED = 64            # how many steps of the first call are compared with the eager unroll

_programs: collections.OrderedDict = collections.OrderedDict()
_lock = threading.Lock()


class NotCompiled(UserWarning):
    """A scan ran as an eager unroll; the message says why."""


def scan(cell, xs, state=None, *, lengths=None, reverse=False, states=False):
    """Run ``cell`` over a sequence as ``mg.unroll`` does, compiled to a NumPy program: same arguments, numbers and gradients.

    A cell that cannot be compiled runs as an eager unroll, and a warning says why once.

    >>> import minigrad as mg
    >>> cell = mg.GRUCell(3, 4, rng=np.random.default_rng(0))
    >>> xs = np.random.default_rng(1).standard_normal((5, 2, 3))
    >>> ys, h = scan(cell, xs)
    >>> bool(np.allclose(ys.data, mg.unroll(cell, xs)[0].data))
    True
    """
    call = _Call(cell, xs, state, lengths, reverse, states)
    if call.eager:
        return call.unrolled()
    try:
        program, bound = _find(call)
    except CannotTrace as reason:
        return call.fall_back(reason)
    if program is None or program.verdict is not None:
        return call.fall_back(program.verdict if program else "its step is another at every call")
    return call.run(program, bound)


class _Call:
    """The arguments of one call, brought into form."""

    def __init__(self, cell, xs, state, lengths, reverse, states):
        self.cell, self.given, self.state, self.lengths, self.reverse, self.states = cell, xs, state, lengths, reverse, states
        self.eager = True
        leaves = flatten(xs) if isinstance(xs, (tuple, dict)) else [xs]
        if not callable(cell) or lengths is not None or states or isinstance(xs, list):
            return
        arrays = []
        for x in leaves:
            if type(x) is Traced:
                return
            array = x.array if isinstance(x, Tensor) else np.asarray(x)
            if array.ndim == 0 or not len(array) or array.dtype.kind not in "biuf" or len(array) != len(np.asarray(getattr(leaves[0], "array", leaves[0]))):
                return
            arrays.append(array if isinstance(x, Tensor) else array.copy())
        self.T = len(arrays[0])
        self.xs, self.x_tensors = arrays, leaves
        first = arrays[0]
        batch = first.shape[1] if first.ndim > 2 or first.ndim == 2 and first.dtype.kind in "biu" else None
        if state is None:
            if not hasattr(cell, "initial_state"):
                return
            self.state = cell.initial_state(batch)
        self.state_leaves = flatten(self.state)
        if not self.state_leaves or any(type(s) is not Tensor or s.array.dtype.kind == "c" for s in self.state_leaves):
            return
        if reverse:
            self.xs = [a[::-1] for a in self.xs]
        self.eager = False

    def unrolled(self):
        return unroll(self.cell, self.given, self.state, lengths=self.lengths, reverse=self.reverse, states=self.states)

    def fall_back(self, reason):
        warnings.warn(f"mg.scan runs {_called(self.cell)} as an eager unroll: {reason}", NotCompiled, stacklevel=3)
        return self.unrolled()

    def step(self, t, grad=True):
        """x of step t (0 … T-1), nested as the cell gets it."""
        at = len(self.xs[0]) - 1 - t if self.reverse and False else t
        leaves = []
        for a, given in zip(self.xs, self.x_tensors):
            x = _leaf(np.asarray(a[at]))
            x.requires_grad = isinstance(given, Tensor) and given.requires_grad
            leaves.append(x)
        return rebuild(self.given, leaves) if isinstance(self.given, (tuple, dict)) else leaves[0]

    def signature(self):
        cell = self.cell
        code = getattr(cell, "__code__", None) or type(cell)
        return (code, mode.recording, tuple((a.shape[1:], a.dtype.char, type(x) is Tensor and x.requires_grad) for a, x in zip(self.xs, self.x_tensors)),
                tuple((s.array.shape, s.array.dtype.char, s.requires_grad) for s in self.state_leaves))

    def run(self, program, bound):
        """The one node of the graph, and what is taken out of it."""
        arrays = [b.array if isinstance(b, Tensor) else b for b in bound]
        run = _Run(program, self, bound, arrays)
        ys, finals = run.forward()
        recorded = run.inputs and mode.recording
        if not recorded:
            out = [_leaf(a) for a in (ys, *finals)]
        else:
            packed = np.concatenate([a.reshape(-1) for a in (ys, *finals)])
            node = record(Op("scan", _Value(packed), (run.rule,), None, "scan({*})", False, True, None), run.inputs, None)
            out, at = [], 0
            for a in (ys, *finals):
                out.append(node[at:at + a.size].reshape(a.shape))
                at += a.size
        y = out[0]
        if self.reverse:
            y = np.flip(y, axis=0)
        return y, rebuild(self.state, out[1:])


class _Value:
    def __init__(self, array):
        self.array = array

    def __call__(self, *inputs):
        return self.array


class _Run:
    """One call of a program: its arrays, its room, and how it goes back."""

    def __init__(self, program, call, bound, arrays):
        self.program, self.call, self.bound, self.arrays = program, call, bound, arrays
        self.T, self.xs = call.T, call.xs
        self.s0 = [s.array for s in call.state_leaves]
        self.room = None
        candidates = [*call.x_tensors, *call.state_leaves, *bound]
        self.inputs = tuple(x for x in candidates if isinstance(x, Tensor) and x.requires_grad)
        self.wanted = [isinstance(x, Tensor) and x.requires_grad for x in candidates]
        self.last = None

    def forward(self):
        room = self.program.take(self.T)
        ys, finals = room[0](*self.xs, *self.s0, *self.arrays)
        self.shapes = [ys.shape, *(f.shape for f in finals)]
        self.room = room
        if not (mode.recording and self.inputs):
            self.program.give(self.T, room)
            self.room = None
        return ys, finals

    def rule(self, i, g, y, arrays):
        if self.last is None or self.last[0] is not g:
            self.last = g, self.gradients(g)
        part = self.last[1][i]
        if i == len(self.inputs) - 1:
            self.last = None
        return part

    def gradients(self, g):
        if type(g) is not np.ndarray or g.ndim != 1:
            raise NotImplementedError("second order through scan")
        if self.room is None:
            self.forward_again()
        parts, at = [], 0
        for shape in self.shapes:
            n = int(np.prod(shape))
            parts.append(g[at:at + n].reshape(shape))
            at += n
        dxs, ds, dcs = self.room[1](*self.xs, *self.arrays, *parts)
        self.program.give(self.T, self.room)
        self.room = None
        if self.call.reverse:
            dxs = [None if d is None else d[::-1] for d in dxs]
        return [d for d, wanted in zip([*dxs, *ds, *dcs], self.wanted) if wanted]

    def forward_again(self):
        self.room = self.program.take(self.T)
        self.room[0](*self.xs, *self.s0, *self.arrays)


def _find(call):
    """The program for a call, and what the cell met: known already, or made and checked now."""
    key = call.signature()
    tapes = _programs.get(key)
    for program in tapes or ():
        try:
            return program, program.tape.follow(call.cell)
        except Deviates:
            continue
        except CannotTrace:
            raise
    if tapes is not None and len(tapes) >= TAPES:
        return None, None
    program, bound = _compiled(call)
    with _lock:
        _programs.setdefault(key, []).append(program)
        while len(_programs) > PROGRAMS:
            _programs.popitem(last=False)
    return program, bound


def _compiled(call):
    tape = Tape(call.cell, call.step(0), call.state, mode.recording)
    try:
        bound = tape.follow(call.cell)
    except Deviates:
        raise CannotTrace("two runs of its step differ (a branch, a counter, or random numbers drawn inside); pass what changes from step to "
                          "step in xs") from None
    for a, b in zip(tape.found, bound):
        a, b = (x.array if isinstance(x, Tensor) else x for x in (a, b))
        if a is not b and not np.array_equal(a, b, equal_nan=True):
            raise CannotTrace("an array that its step uses differs from run to run (random numbers drawn inside, say); pass it in xs")
    return Program(tape, _called(call.cell)), bound


def _called(cell):
    return getattr(cell, "__name__", type(cell).__name__)
