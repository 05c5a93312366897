"""Time: ``steps`` marks it, ``unroll`` runs a cell through it. There is one loop, and it stands in ``steps``."""
from __future__ import annotations

import functools
import math
import sys
import weakref
from types import FrameType
from typing import Any, Iterator

import numpy as np

from ..nested import Nested, flatten, rebuild
from ..ops import numbers
from ..place import Loop, Place, variables
from ..tensor import Tensor, _clock, _leaf, mode
from .recompute import recomputed
from .state import (Cell, called, check_cell, check_outputs, check_parameters, check_same, collector_paused, explain_state, initial_state,
                    output)


def steps(*sequences: Any, reverse: bool = False) -> Iterator[Any]:
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
    walked = [_sequence(xs) for xs in sequences]
    lengths = [len(xs) for xs in walked]
    if len(set(lengths)) > 1:
        raise ValueError(f"steps() got sequences of lengths {lengths}; all must have the same number of steps (axis 0)")
    return _in_time(walked, _times(lengths[0], reverse), frame=sys._getframe(1))


def _times(T: int, reverse: bool) -> range:
    return range(T - 1, -1, -1) if reverse else range(T)


def _in_time(sequences: list[Any], times: range, *, cell: Cell | None = None, frame: FrameType | None = None) -> Iterator[Any]:
    """The one loop: the elements of the sequences at ``times``, each with its place in time.

    cell   who computes a step, when ``unroll`` asks
    frame  whose variables the steps' values are named after, when a loop written by hand asks
    """
    loop, outer = Loop(), mode.place
    if frame is None:
        loop.cell = cell
    else:
        loop.initial = _variables(frame)
    first: Any = None
    try:
        for t in times:
            mode.place = place = Place(t + 1, loop, _clock(), outer)
            xs = [s[t] if type(s) is not np.ndarray else _leaf(s[t]) for s in sequences]
            if first is None:
                first = place
            elif first is not False:
                if frame is not None:
                    _remember(loop, frame, first)
                first = False
            yield xs[0] if len(xs) == 1 else tuple(xs)
        if first and frame is not None:
            _remember(loop, frame, first)
    finally:
        loop.ended = True
        while outer is not None and outer.loop.ended:           # of loops that run side by side, in zip, say, any may end first
            outer = outer.outer
        mode.place = outer


def _sequence(xs: Any) -> Any:
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


class _Together:
    """Sequences that are walked together; an element is nested as they are."""

    def __init__(self, like: Nested) -> None:
        self.like, self.sequences = like, [_sequence(xs) for xs in flatten(like)]
        lengths = [len(xs) for xs in self.sequences]
        if len(set(lengths)) != 1:
            raise ValueError(f"unroll got sequences of lengths {lengths}; all must have the same number of steps (axis 0). A list of T "
                             "arrays is one sequence, a tuple or dict is several")

    def __len__(self) -> int:
        return len(self.sequences[0])

    def __getitem__(self, t: int) -> Nested:
        return rebuild(self.like, [s[t] if type(s) is Tensor else _leaf(s[t]) for s in self.sequences])


def _variables(frame: FrameType) -> list[Any]:
    """The author's variables that hold Tensors when the loop begins: initial states and parameters.

    Held weakly: among them may be the loss of the step before, whose whole graph would otherwise stay, and the one before it.
    """
    return [(name, weakref.ref(x)) for name, x in variables(frame) if type(x) is Tensor]


def _remember(loop: Loop, frame: FrameType, place: Place) -> None:
    """Once per loop, after its first step: what the author calls the values made in it."""
    for name, x in variables(frame):
        if type(x) is Tensor and x.place is place:
            loop.names[x.index - place.start] = name, x.op.name if x.op else None


def unroll(cell: Cell, xs: Any, state: Nested = None, *, lengths: Any = None, reverse: bool = False,
           states: bool = False, checkpoint_every: int | str | None = None) -> tuple[Any, ...]:
    """Run ``cell`` over a sequence: BPTT then is ``backward()`` of anything computed from the result.

    cell     callable ``y, state = cell(x, state)``
    xs       (T, B, …), or (T, D) floats without a batch: an array, a Tensor or a list of T of them; a tuple or dict of such
             sequences gives the cell a tuple or dict of their elements (inputs and targets, say)
    state    a Tensor, tuple, NamedTuple or dict, nested; default ``cell.initial_state(B)``
    lengths  (B,) integers, 0 … T: a row past its length keeps its state and gives zero output
    reverse  True: from the last step (of each row) to the first; ``ys`` stays in the order of time
    states   True: a third result, the list of the T + 1 states in the order they were made
    checkpoint_every  k, or "sqrt" for k ≈ √T: store one state in k steps, and compute the steps between them again when
             gradients are asked for (Chen et al. 2016, arXiv:1604.06174): the same numbers, one more forward pass, and
             memory for T / k states and k steps instead of T steps

    Returns (ys, state): ys is one Tensor (T, B, …); with ``states=True`` (ys, state, list).

    >>> import minigrad as mg
    >>> cell = mg.GRUCell(3, 4, rng=np.random.default_rng(0))
    >>> ys, h, states = mg.unroll(cell, np.ones((5, 2, 3)), lengths=[5, 2], states=True)
    >>> ys.shape, h.shape, len(states)
    ((5, 2, 4), (2, 4), 6)
    """
    check_cell("unroll", cell, " (argument order: unroll(cell, xs, state))")
    xs = _Together(xs) if isinstance(xs, (tuple, dict)) else _sequence(xs)
    T = len(xs)
    if T == 0:
        raise ValueError("unroll got a sequence of 0 steps; expected at least one (axis 0 of xs is time)")
    first = xs.sequences[0] if type(xs) is _Together else xs
    shape, integer = np.shape(first[0]), (first.dtype if not isinstance(first, list) else first[0].dtype).kind in "biu"
    batch = shape[0] if len(shape) > 1 or len(shape) == 1 and integer else None
    state = initial_state(cell, batch, "unroll") if state is None else state
    mask = None if lengths is None else _mask(lengths, T, batch)
    if not isinstance(reverse, (bool, np.bool_)):
        raise TypeError(f"unroll got reverse={reverse!r}; expected True or False")
    times = _times(T, reverse)
    if checkpoint_every is not None and mode.recording:
        every = _segment_length(checkpoint_every, T, states)
        return recomputed(functools.partial(_run, cell, mask=mask, batch=batch, first=times[0]), cell, xs, state, times, every)
    visited = [state] if states else None
    ys, state = _run(cell, xs, state, times, mask=mask, batch=batch, first=times[0], visited=visited)
    check_outputs(ys, times, cell)
    if reverse:
        ys.reverse()
    stacked: Any = np.stack(ys)
    stacked = stacked if type(stacked) is Tensor else Tensor(stacked)
    return (stacked, state, visited) if states else (stacked, state)


def _run(cell: Cell, xs: Any, state: Nested, times: range, *, mask: np.ndarray | None, batch: int | None, first: int,
         visited: list[Any] | None = None) -> tuple[list[Any], Nested]:
    """The outputs at ``times``, a list in their order, and the last state; every state is put into ``visited``.

    first  the time at which the whole sequence begins, of which these times may be a part
    """
    ys, begun = [], False
    with collector_paused():
        for x in _in_time([xs], times, cell=cell):
            place: Any = mode.place
            if not begun and mode.recording:
                place.loop.remember(x, state)
            if mask is not None:
                alive = mask[place.step - 1]                # what stands in the padding, NaN even, does not reach a gradient
                x = _choose(alive, x, 0) if type(x) is Tensor else rebuild(x, [_choose(alive, v, 0) for v in flatten(x)])
            place.start = _clock()
            try:
                result = cell(x, state)
            except (TypeError, ValueError) as error:
                if not begun:
                    explain_state(error, cell, state, batch)
                raise
            if type(result) is not tuple or len(result) != 2:
                raise TypeError(f"{called(cell)} returned {_summary(result)} at t={place.step}; expected a pair (y, state)")
            y, new = result
            if not (type(new) is type(state) is Tensor and new.array.shape == state.array.shape and new.array.dtype is state.array.dtype):
                check_same(state, new, cell, place.step)        # what stands before it is only quicker
            y = y if type(y) is Tensor else output(y, cell, place.step)
            if abs(place.step - 1 - first) == 1:
                check_parameters((y, new), cell, place)
            if mask is not None:
                for s in (y, *flatten(new)):
                    if np.shape(s)[:1] != (batch,):
                        raise ValueError(f"unroll with lengths: {called(cell)} made an output or state of shape {np.shape(s)} at "
                                         f"t={place.step}; every one needs the batch in front: ({batch}, …)")
                new = rebuild(new, [_choose(alive, a, b) for a, b in zip(flatten(new), flatten(state))])
                y = _choose(alive, y, 0.)
            state, begun = new, True
            ys.append(y)
            if visited is not None:
                visited.append(state)
    return ys, state


def _segment_length(every: int | str, T: int, states: bool) -> int:
    if states:
        raise ValueError("unroll got states=True and checkpoint_every: a list of all states is what checkpoint_every is there to avoid; "
                         "leave one of them out")
    if every == "sqrt":
        return math.isqrt(T - 1) + 1
    if isinstance(every, bool) or not isinstance(every, (int, np.integer)) or every < 1:
        raise ValueError(f"unroll got checkpoint_every={every!r}; expected a number of steps, 1 or more, or 'sqrt'")
    return int(every)


def _choose(alive: np.ndarray, new: Any, old: Any) -> Any:
    return np.where(alive.reshape(alive.shape + (1,) * (np.ndim(new) - 1)), new, old)


def _mask(lengths: Any, T: int, batch: int | None) -> np.ndarray:
    lengths = numbers(lengths.data if isinstance(lengths, Tensor) else lengths, "unroll: lengths: ")
    if batch is None:
        raise ValueError("unroll got lengths for xs without a batch axis; expected xs of shape (T, B, …)")
    if lengths.shape != (batch,) or lengths.dtype.kind not in "iu":
        raise ValueError(f"unroll got lengths of shape {lengths.shape}, dtype {lengths.dtype}; expected {batch} integers, one per row "
                         "of the batch")
    if (lengths < 0).any() or (lengths > T).any():
        row = int(np.argwhere((lengths < 0) | (lengths > T))[0, 0])
        raise ValueError(f"unroll got length {lengths[row]} for row {row} of xs with {T} steps; expected 0 … {T}")
    return np.arange(T)[:, None] < lengths


def _summary(x: Any) -> str:
    if type(x) is tuple:
        return f"{len(x)} things"
    return f"one {type(x).__name__}"
