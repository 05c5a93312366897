"""``mg.scan``: the numbers of ``mg.unroll``, by a program compiled for the cell.

At every call the cell is run along the tapes that are known for it, which costs about half a microsecond an op, unless its code tells
that it would do what it did (same.py). If none fits, a program is made, and compared with the eager unroll, values and gradients, before
it is trusted (check.py). The call is one node of the graph (run.py). What a program cannot do (higher orders, Jacobians, a cell that is
no function of x and state) the unroll does.
"""
from __future__ import annotations

import collections
import threading
import warnings
from typing import Any, Sequence

import numpy as np

from ..nested import Nested, flatten, rebuild
from ..recurrent.sequence import _choose, _mask, _segment_length, unroll
from ..recurrent.state import Cell, called, check_cell
from ..tensor import Tensor, _clock, _leaf, mode
from .check import compiled
from .held import Held, kind
from .program import Program
from .run import Run
from .same import Same, told
from .trace import nesting
from .traced import CannotTrace, Complex, Deviates, Traced, _following

SIGNATURES = 64         # how many signatures are remembered
CELLS = 16              # how many cells are remembered
TAPES = 4               # how many different steps of one signature
SHORTEST = 2            # a single step the unroll does faster

_programs: collections.OrderedDict[tuple[Any, ...], list[Any]] = collections.OrderedDict()     # signature -> programs, or why there is none
_told: collections.OrderedDict[int, Same] = collections.OrderedDict()          # id of a cell -> what tells that it is the same as before
_lock = threading.Lock()


class NotCompiled(UserWarning):
    """A scan ran as an eager unroll; the message says why, and what to write instead."""


def scan(cell: Cell, xs: Any, state: Nested = None, *, lengths: Any = None, reverse: bool = False, states: bool = False,
         checkpoint_every: int | str | None = None) -> tuple[Any, ...]:
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
    if call.key is None or call.T < SHORTEST:
        return call.unrolled()
    program, bound = _find(call)
    if program is None:
        result = call.unrolled()                        # an error of the cell's own comes from here, as the unroll words it
        if bound is not None:
            warnings.warn(f"mg.scan runs {called(cell)} as an eager unroll: {bound}", NotCompiled, stacklevel=2)
        return result
    return call.run(program, bound)


class _Call:
    """The arguments of one call, brought into form. ``key`` says for what a program is made; None: the unroll is to deal with them."""
    key: Any = None
    step: Cell

    def __init__(self, cell: Cell, xs: Any, state: Nested, lengths: Any = None, reverse: bool = False, states: bool = False,
                 every: int | str | None = None) -> None:
        self.cell, self.given, self.state, self.lengths, self.reverse, self.states = cell, xs, state, lengths, reverse, states
        self.every: Any = every
        self.start = _clock()
        now = mode.__dict__                                                 # this thread's, looked up once
        if now["watch"] is not None or _following.run is not None:          # mg.debug() and traces look at every op
            return
        self.nested = isinstance(xs, tuple) or type(xs) is dict
        self.tensors = tensors = _leaves(xs) if self.nested else (xs,)
        self.arrays: list[np.ndarray] = []
        T, own, key = None, True, [now["recording"], states, lengths is None]
        for x in tensors:
            if type(x) is Tensor:
                array, grad = x.array, x.requires_grad
            elif isinstance(x, (Traced, list)):         # a scan inside a step that is being traced; T arrays
                return
            else:
                array, grad, own = np.array(x), False, False                # a copy: its owner may change it
            shape = array.shape
            if not shape or shape[0] != T is not None:
                return
            T = shape[0]
            self.arrays.append(array)
            key += shape[1:], array.dtype, grad
        if not T:
            return
        self.T = T
        if not own:                                     # what the unroll gets, now or for a picture later
            given = [x if type(x) is Tensor else a for x, a in zip(tensors, self.arrays)]
            self.given = rebuild(xs, given) if self.nested else given[0]
        if state is None or lengths is not None:
            first = self.arrays[0]
            batch = first.shape[1] if first.ndim > 2 or first.ndim == 2 and first.dtype.kind in "biu" else None
            if state is None:
                if not hasattr(cell, "initial_state"):
                    return
                self.state = state = cell.initial_state(batch)
        if lengths is not None:
            self.arrays.append(_mask(lengths, T, batch))
            self.lengths = np.array(lengths.data if isinstance(lengths, Tensor) else lengths)
            self.tensors = [*tensors, None]
        self.step = cell if lengths is None else _masked(cell, len(self.arrays[-1][0]))
        self.leaves = leaves = (state,) if type(state) is Tensor else _leaves(state)
        for s in leaves:
            if type(s) is not Tensor:
                return
            key += s.array.shape, s.array.dtype, s.requires_grad
        if not leaves:
            return
        self.every = None if every is None or not now["recording"] else _segment_length(every, T, states)
        if reverse:
            self.arrays = [a[::-1] for a in self.arrays]
        key += _nesting(xs, tensors), _nesting(state, leaves)
        self.key = key

    def computable(self) -> bool:
        """Whether all arrays hold real numbers."""
        return all([a.dtype.kind in "biuf" for a in (*self.arrays, *[s.array for s in self.leaves])])

    def unrolled(self) -> tuple[Any, ...]:
        return unroll(self.cell, self.given, self.state, lengths=self.lengths, reverse=self.reverse, states=self.states,
                      checkpoint_every=self.every)

    def element(self, leaves: Sequence[Any]) -> Any:
        """x of one step, nested as the step gets it."""
        if self.lengths is not None:
            *leaves, alive = leaves
            return (rebuild(self.given, leaves) if self.nested else leaves[0]), alive
        return rebuild(self.given, leaves) if self.nested else leaves[0]

    def first(self) -> Any:
        leaves = []
        for a, given in zip(self.arrays, self.tensors):
            x = _leaf(np.asarray(a[0]))
            x.requires_grad = type(given) is Tensor and given.requires_grad
            leaves.append(x)
        return self.element(leaves)

    def run(self, program: Program, bound: Sequence[Any]) -> tuple[Any, ...]:
        """Outputs, last state and, if asked for, all states."""
        out, n = Run(self, program, bound).outputs(), program.shown
        state = out[n] if type(self.state) is Tensor else rebuild(self.state, out[n:])
        if not self.states:
            return out[0], state
        visited = [self.state]
        for t in range(self.T):
            visited.append(rebuild(self.state, [s[self.T - 1 - t if self.reverse else t] for s in out[1:n]]))
        return out[0], state, visited


def _leaves(x: Nested) -> Sequence[Any]:
    """As ``flatten``; a tuple of Tensors is that already."""
    if type(x) is tuple:
        for v in x:
            if type(v) is not Tensor:
                break
        else:
            return x
    return flatten(x)


def _nesting(x: Nested, leaves: Sequence[Any]) -> Any:
    return None if type(x) is Tensor else len(x) if x is leaves else nesting(x)


def _masked(cell: Cell, batch: int) -> Cell:
    """A cell whose rows rest where ``alive`` is false, as ``unroll`` has it with lengths."""
    def step(xs: tuple[Any, ...], state: Nested) -> tuple[Any, Nested]:
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

    def __init__(self, reason: str) -> None:
        self.reason, self.calls, self.next = reason, 0, 1


def _find(call: _Call) -> tuple[Any, Any]:
    """(program, what the cell met) for a call: known already, or made and checked now; else (None, the reason)."""
    cell = call.cell
    same = _told.get(id(cell))
    if same is not None:
        last = same.last                                # once: another thread may put in its own
        if not same.holds():
            same = None
        elif last[0] == call.key:
            return last[1:]
    key = (*call.key, kind(cell) if same is None else same.kind)
    known = _programs.get(key)
    if known is None:
        if not call.computable():
            return None, None
        with _lock:
            known = _programs.setdefault(key, [[], None])
            while len(_programs) > SIGNATURES:
                _programs.popitem(last=False)
    programs, refused = known
    if same is not None:
        for program in programs:
            bound = same.bound.get(program)
            if bound is not None:
                same.last = call.key, program, bound
                return program, bound
    held = None
    for program in programs:
        try:
            if same is None and held is None:
                held = Held(cell)                           # of now: it may run other code than when its program was made
            return program, _met(program, call, same) if held is None or held.harmless() else _watched(program, call, held)
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


def _watched(program: Program, call: _Call, held: Held) -> Sequence[Any]:
    """What the cell meets on its way along the tape, if it leaves everything as it was."""
    if held.iterators:                                      # what is taken from them is gone
        raise Deviates
    try:
        bound = program.tape.follow(call.step)
        if not held.changed():
            return bound
    except Exception:                                       # it does something else, or fails
        pass
    held.restore()
    raise Deviates


def _met(program: Program, call: _Call, same: Same | None) -> Sequence[Any]:
    """What the cell meets on its way along the tape. If its code tells when that is the same again, it is spared the way then: asked
    before a cell's 2nd, 4th, 8th … way (of one that is known, also before the first), since some do something else at every call and
    some are made anew for it. A Tensor that is made on the way is never the same; but then at least the code is known to change nothing."""
    tape = program.tape
    times = tape.times(call.cell)
    now = None
    if times > (same is None) and times & (times - 1) == 0:
        now = told(call.cell, tape.x, tape.state)           # anew: other programs may not have met all that this one reads
    start = _clock()
    bound = tape.follow(call.step)
    made = _clock() != start + 1
    if now is not None and now.holds():                     # it may have changed in between
        now.remember(program, None if made else bound, same)
        _remember(call.cell, now)
    return bound


def _remember(cell: Cell, same: Same) -> None:
    with _lock:
        _told[id(cell)] = same
        while len(_told) > CELLS:
            _told.popitem(last=False)


def source(cell: Cell, xs: Any, state: Nested = None, *, lengths: Any = None, reverse: bool = False, numba: bool = False) -> str:
    """The program that ``scan`` runs for these arguments: NumPy source that runs alone. ``numba``: the one that has loops for Numba.

    >>> import minigrad as mg
    >>> text = source(mg.RNNCell(3, 4), np.zeros((5, 2, 3)))
    >>> "tanh" in text
    True
    """
    call = _Call(cell, xs, state, lengths, reverse)
    program, bound = (None, "its arguments have no compiled form") if call.key is None else _find(call)
    if program is None:
        raise CannotTrace(f"{called(cell)} has no program: {bound}")
    return program.fused_source() if numba else program.source


scan.source = source        # type: ignore[attr-defined]
