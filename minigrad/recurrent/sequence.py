"""Time: ``steps`` marks it, ``unroll`` runs a cell through it. There is one loop, and it stands in ``steps``."""
import contextlib
import gc
import sys
import weakref

import numpy as np

from ..nested import flatten, rebuild
from ..place import Loop, Place, variables
from ..tensor import Tensor, _clock, _leaf, mode
from .state import check_same, explain_state


def steps(*sequences, reverse=False, cell=None):
    """Walk over time: ``for x in mg.steps(xs):`` marks everything computed in the body as belonging to step t = 1 … T.

    sequences  arrays or Tensors of shape (T, …), or lists of T of them; several of equal length are walked together and
               give a tuple
    reverse    True: from step T to step 1

    The loop then draws and checks exactly like ``unroll``. Each x is a Tensor; a Tensor that requires gradients gets them.

    >>> import minigrad as mg
    >>> h = 0.
    >>> for x in mg.steps(np.ones((3, 2))):
    ...     h = np.tanh(x + h)
    """
    if not sequences:
        raise TypeError("steps() needs a sequence of shape (T, …)")
    sequences = [_sequence(xs) for xs in sequences]
    lengths = [len(xs) for xs in sequences]
    if len(set(lengths)) > 1:
        raise ValueError(f"steps() got sequences of lengths {lengths}; all must have the same number of steps (axis 0)")
    loop, outer, frame = Loop(), mode.place, None if cell is not None else sys._getframe(1)
    if cell is not None:
        loop.cell = cell
    else:
        loop.initial = _variables(frame)
    T = lengths[0]
    first = None
    try:
        for t in range(T - 1, -1, -1) if reverse else range(T):
            mode.place = place = Place(t + 1, loop, _clock(), outer)
            xs = [s[t] if type(s) is not np.ndarray else _leaf(s[t]) for s in sequences]
            if first is None:
                first = place
            elif first is not False:
                if cell is None:
                    _remember(loop, frame, first)
                first = False
            yield xs[0] if len(xs) == 1 else tuple(xs)
        if first and cell is None:
            _remember(loop, frame, first)
    finally:
        mode.place = outer


def _sequence(xs):
    if isinstance(xs, Tensor):
        if xs.ndim == 0:
            raise ValueError("steps() got a 0-d Tensor; expected shape (T, …)")
        return xs if xs.requires_grad else xs.array
    if isinstance(xs, (list, tuple)) and any(isinstance(x, Tensor) for x in xs):
        return [x if isinstance(x, Tensor) else Tensor(x) for x in xs]
    try:
        xs = np.array(xs)      # a copy: the graph must not change when the caller's array does
    except ValueError:
        raise ValueError(f"steps() got a list of arrays of shapes {[np.shape(x) for x in xs][:6]}; all steps need one shape: "
                         "pad the shorter ones and pass lengths=") from None
    if xs.ndim == 0 or xs.dtype.kind not in "biufc":
        raise ValueError(f"steps() got {xs.dtype} of shape {xs.shape}; expected numbers of shape (T, …)")
    return xs


def _variables(frame):
    """The author's variables that hold Tensors when the loop begins: initial states and parameters.

    Held weakly: among them may be the loss of the step before, whose whole graph would otherwise stay, and the one before it.
    """
    return [(name, weakref.ref(x)) for name, x in variables(frame) if type(x) is Tensor]


def _remember(loop, frame, place):
    """Once per loop, after its first step: what the author calls the values made in it."""
    for name, x in variables(frame):
        if type(x) is Tensor and x.place is place:
            loop.names[x.index - place.start] = name


def unroll(cell, xs, state=None, *, lengths=None, reverse=False, states=False):
    """Run ``cell`` over a sequence: BPTT then is ``backward()`` of anything computed from the result.

    cell     callable ``y, state = cell(x, state)``
    xs       (T, B, …), or (T, D) floats without a batch: an array, a Tensor or a list of T of them
    state    a Tensor, tuple, NamedTuple or dict, nested; default ``cell.initial_state(B)``
    lengths  (B,) integers: a row past its length keeps its state and gives zero output
    reverse  True: from the last step (of each row) to the first; ``ys`` stays in the order of time
    states   True: a third result, the list of the T + 1 states in the order they were made

    Returns (ys, state): ys is one Tensor (T, B, …); with ``states=True`` (ys, state, list).

    >>> import minigrad as mg
    >>> cell = mg.GRUCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h, states = mg.unroll(cell, np.ones((5, 2, 3)), lengths=[5, 2], states=True)
    >>> ys.shape, h.shape, len(states)
    ((5, 2, 4), (2, 4), 6)
    """
    if not callable(cell):
        raise TypeError(f"unroll got {type(cell).__name__} as cell; expected a callable y, state = cell(x, state) "
                        "(argument order: unroll(cell, xs, state))")
    xs = _sequence(xs)
    T = len(xs)
    if T == 0:
        raise ValueError("unroll got a sequence of 0 steps; expected at least one (axis 0 of xs is time)")
    shape = np.shape(xs[0])
    xs = _leaf(xs) if type(xs) is np.ndarray else xs        # copied once, not again by steps
    integer = (xs.dtype if not isinstance(xs, list) else xs[0].dtype).kind in "biu"
    batch = shape[0] if len(shape) > 1 or len(shape) == 1 and integer else None
    if state is None:
        if not hasattr(cell, "initial_state"):
            raise TypeError(f"unroll: {_called(cell)} has no initial_state(batch_size); pass state=, the initial state")
        state = cell.initial_state(batch)
    mask = None if lengths is None else _mask(lengths, T, batch)
    ys, visited, loop_first = [None] * T, [state], True
    with_leaf_states = flatten(state)
    with _collector_paused():
        for x in steps(xs, reverse=reverse, cell=cell):
            place = mode.place
            if loop_first and mode.recording:
                place.loop.first, place.loop.initial = (x, state), with_leaf_states
            if mask is not None:
                x = _choose(mask[place.step - 1], x, 0)     # what stands in the padding, NaN even, does not reach a gradient
            place.start = _clock()
            try:
                result = cell(x, state)
            except (TypeError, ValueError) as error:
                explain_state(error, cell, state, batch, loop_first)
                raise
            if type(result) is not tuple or len(result) != 2:
                raise TypeError(f"{_called(cell)} returned {_summary(result)} at t={place.step}; expected a pair (y, state)")
            y, new = result
            if loop_first:
                check_same(state, new, _called(cell), place.step)
                loop_first = False
            elif type(new) is Tensor and type(state) is Tensor and new.array.shape != state.array.shape:
                check_same(state, new, _called(cell), place.step)
            if mask is not None:
                for s in (y, *flatten(new)):
                    if np.shape(s)[:1] != (batch,):
                        raise ValueError(f"unroll with lengths: {_called(cell)} made an output or state of shape {np.shape(s)} at "
                                         f"t={place.step}; every one needs the batch in front: ({batch}, …)")
                alive = mask[place.step - 1]
                new = rebuild(new, [_choose(alive, a, b) for a, b in zip(flatten(new), flatten(state))])
                y = _choose(alive, y, 0.)
            state = new
            ys[place.step - 1] = y
            if states:
                visited.append(state)
    check_same(visited[0], state, _called(cell), place.step)        # a nested state that changed after the first step
    ys = np.stack(ys) if isinstance(ys[0], Tensor) else Tensor(np.stack(ys))
    return (ys, state, visited) if states else (ys, state)


@contextlib.contextmanager
def _collector_paused():
    """A graph that grows holds no garbage, and Python's collector would walk it again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _choose(alive, new, old):
    return np.where(alive.reshape(alive.shape + (1,) * (np.ndim(new) - 1)), new, old)


def _mask(lengths, T, batch):
    lengths = np.asarray(getattr(lengths, "data", lengths) if isinstance(lengths, Tensor) else lengths)
    if batch is None:
        raise ValueError("unroll got lengths for xs without a batch axis; expected xs of shape (T, B, …)")
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(f"unroll got lengths of shape {lengths.shape}, dtype {lengths.dtype}; expected {batch} integers, one per row "
                         "of the batch")
    if (lengths < 0).any() or (lengths > T).any():
        row = int(np.argwhere((lengths < 0) | (lengths > T))[0, 0])
        raise ValueError(f"unroll got length {lengths[row]} for row {row} of xs with {T} steps; expected 0 … {T}")
    return np.arange(T)[:, None] < lengths


def _called(cell):
    return getattr(cell, "__name__", type(cell).__name__)


def _summary(x):
    if type(x) is tuple:
        return f"{len(x)} things"
    return f"one {type(x).__name__}"
