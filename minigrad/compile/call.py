"""``mg.scan``: the numbers of ``mg.unroll``, by a program compiled for the cell.

At every call the cell is run along the tapes that are known for it, which costs about half a microsecond an op. If none fits, a
program is made, and compared with the eager unroll, values and gradients, before it is trusted (check.py). The call is one node of
the graph (run.py). What a program cannot do (higher orders, Jacobians, a cell that is no function of x and state) the unroll does.
"""
import collections
import threading
import warnings

import numpy as np

from ..nested import flatten, rebuild
from ..recurrent.sequence import _choose, _mask, _segment_length, unroll
from ..recurrent.state import called, check_cell
from ..tensor import Tensor, _leaf, mode
from .check import compiled
from .held import Held, kind
from .run import Run
from .trace import nesting
from .traced import CannotTrace, Complex, Deviates, Traced, _following

SIGNATURES = 64         # how many signatures are remembered
TAPES = 4               # how many different steps of one signature
SHORTEST = 2            # a single step the unroll does faster

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
    if call.eager or call.T < SHORTEST:
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
        if not all([type(x) is Tensor for x in tensors]):                   # what the unroll gets, now or for a picture later
            own = [x if type(x) is Tensor else a for x, a in zip(tensors, arrays)]
            self.given = rebuild(xs, own) if self.nested else own[0]
        self.T, self.arrays, self.tensors = len(arrays[0]), arrays, tensors
        first = arrays[0]
        if state is None or lengths is not None:
            batch = first.shape[1] if first.ndim > 2 or first.ndim == 2 and first.dtype.kind in "biu" else None
            if state is None:
                if not hasattr(cell, "initial_state"):
                    return
                self.state = state = cell.initial_state(batch)
        if lengths is not None:
            self.arrays = [*arrays, _mask(lengths, self.T, batch)]
            self.lengths = np.array(lengths.data if isinstance(lengths, Tensor) else lengths)
            self.tensors = [*tensors, None]
        self.step = self.step_of(cell)
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

    def step_of(self, cell):
        """What is run in each step: the cell, or with lengths one whose rows rest."""
        return cell if self.lengths is None else _masked(cell, len(self.arrays[-1][0]))

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
        """Outputs, last state and, if asked for, all states."""
        out, n = Run(self, program, bound).outputs(), len(program.plan.y)
        state = out[n] if type(self.state) is Tensor else rebuild(self.state, out[n:])
        if not self.states:
            return out[0], state
        visited = [self.state]
        for t in range(self.T):
            visited.append(rebuild(self.state, [s[self.T - 1 - t if self.reverse else t] for s in out[1:n]]))
        return out[0], state, visited


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
        try:
            return program, _followed(program, call) if program.watched else program.tape.follow(call.step)
        except (Deviates, CannotTrace):
            continue
    if refused is not None:
        refused.calls += 1
        if refused.calls < refused.next:
            return None, refused.reason
    if len(programs) >= TAPES:
        return None, ("its step was another one in each of so many calls (numbers that change between calls, say); make such a number a "
                      "0-d mg.Tensor, or pass it in xs")
    try:
        program, bound = compiled(call)
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


def _followed(program, call):
    """What the cell meets on its way along the tape, if it leaves everything as it was."""
    held = Held(call.cell)
    try:
        bound = program.tape.follow(call.step)
        if not held.changed():
            return bound
    except (Deviates, CannotTrace):
        pass
    held.restore()
    raise Deviates


def source(cell, xs, state=None, *, lengths=None, reverse=False, numba=False):
    """The program that ``scan`` runs for these arguments: NumPy source that runs alone. ``numba``: the one that has loops for Numba.

    >>> import minigrad as mg
    >>> text = source(mg.RNNCell(3, 4), np.zeros((5, 2, 3)))
    >>> "tanh" in text
    True
    """
    call = _Call(cell, xs, state, lengths, reverse)
    program, bound = (None, "its arguments have no compiled form") if call.eager else _find(call)
    if program is None:
        raise CannotTrace(f"{called(cell)} has no program: {bound}")
    return program.fused_source() if numba else program.source


scan.source = source        # type: ignore[attr-defined]
