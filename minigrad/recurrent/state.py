"""States: cut from their history, and checked to stay what they are. Cells: checked to be cells."""
from __future__ import annotations

import gc
import types
from typing import Any, Callable

import numpy as np

from ..nested import Nested, flatten, rebuild
from ..place import Place
from ..tensor import Tensor

Cell = Callable[..., Any]           # y, state = cell(x, state)


def detach(state: Nested) -> Nested:
    """The same values without history, nesting kept: truncated BPTT is ``state = mg.detach(state)`` between chunks.

    >>> import minigrad as mg
    >>> h, c = detach((mg.parameter([1.]) * 2, mg.parameter([3.])))
    >>> h.requires_grad, c.requires_grad
    (False, False)
    """
    return rebuild(state, [x.detach() if isinstance(x, Tensor) else x for x in flatten(state)])


class collector_paused:
    """A graph that grows holds no garbage, and Python's collector would walk it again and again."""

    def __enter__(self) -> None:
        self.was = gc.isenabled()
        gc.disable()

    def __exit__(self, *error: object) -> None:
        if self.was:
            gc.enable()


def called(cell: Any) -> str:
    """How messages call a cell."""
    return getattr(cell, "__name__", type(cell).__name__)


def check_cell(what: str, cell: Any, hint: str = "") -> Cell:
    """The cell, if it is one: a callable of one step."""
    if not callable(cell):
        raise TypeError(f"{what} got {type(cell).__name__} as cell; expected a callable y, state = cell(x, state){hint}")
    if isinstance(cell, type):
        raise TypeError(f"{what} got the class {cell.__name__}; expected a cell: {cell.__name__}(input_size, hidden_size)")
    if isinstance(cell, (types.BuiltinFunctionType, np.ufunc)):
        raise TypeError(f"{what} got {cell.__name__}, a function of Python's or NumPy's own, as cell; expected a callable y, state = "
                        f"cell(x, state){hint}")
    if getattr(cell, "whole_sequence", False):
        raise TypeError(f"{what} got {called(cell)}, which reads a whole sequence in two directions and is no cell of one step; run it "
                        "first, ys, _ = net(xs), and the next layer on its output: mg.unroll(cell, ys)")
    return cell


def initial_state(cell: Any, batch_size: int | None, who: str) -> Nested:
    """The state that the cell begins with; ``who`` asks."""
    if not hasattr(cell, "initial_state"):
        name = called(cell)
        raise TypeError(f"{who}: {name} has no initial_state(batch_size); pass state= to unroll, or give it one: {name}.initial_state = "
                        "lambda batch_size: mg.Tensor(np.zeros((batch_size, …)))")
    try:
        return cell.initial_state(batch_size)
    except TypeError as error:
        if batch_size is None and "no batch axis" not in str(error):
            error.args = (f"{error} (xs has no batch axis, so {called(cell)}.initial_state was called with None; let it give a state "
                          "without a batch then, or pass xs[:, None])",)
        raise


def _outline(state: Nested, dtypes: bool = True) -> str:
    if isinstance(state, dict):
        return "{" + ", ".join(f"{k}: {_outline(v, dtypes)}" for k, v in state.items()) + "}"
    if isinstance(state, (tuple, list)):
        return "(" + ", ".join(_outline(v, dtypes) for v in state) + ("," if len(state) == 1 else "") + ")"
    if state is None:
        return "None"
    dtype = getattr(state, "dtype", None)
    if dtype is not None and dtype.kind == "c":      # complex step goes through a real state: no change of dtype
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    shape = tuple(getattr(state, "shape", ()))
    return f"{dtype or type(state).__name__} {shape}" if dtypes else f"{shape}"


def _alike(old: Nested, new: Nested) -> bool:
    """The quick way to say that a state of Tensors and tuples kept its nesting, shapes and dtypes."""
    if type(old) is not type(new):
        return False
    if type(old) is Tensor:
        return old.array.shape == new.array.shape and old.array.dtype == new.array.dtype
    return type(old) is tuple and len(old) == len(new) and all(map(_alike, old, new))


def check_same(old: Nested, new: Nested, cell: Cell, step: int) -> None:
    """A state keeps its nesting, shapes and dtypes."""
    if _alike(old, new):
        return
    before, after = _outline(old), _outline(new)
    if before != after:
        hint = "is the batch size of the initial state right? is the pair (y, state) in this order?"
        if _outline(old, dtypes=False) == _outline(new, dtypes=False):
            hint = "give xs and the initial state the dtype of the parameters, for example xs.astype(np.float32)"
        raise ValueError(f"{called(cell)} changed its state at t={step}: it took {before} and returned {after}; a state keeps its "
                         f"nesting, shapes and dtypes ({hint})")


def output(y: Any, cell: Cell, step: int) -> np.ndarray:
    """What a step shows, if it is not a Tensor: numbers, as an array."""
    array = None if y is None or isinstance(y, (tuple, list, dict)) else np.asarray(y)
    if array is None or array.dtype.kind not in "biufc":
        raise TypeError(f"{called(cell)} returned a {type(y).__name__} as its output y at t={step}; expected one Tensor: join several with "
                        "np.concatenate(…, axis=-1), or keep what is not shown in the state")
    return array


def check_outputs(ys: list[Any], times: range, cell: Cell, shape: tuple[int, ...] | None = None) -> tuple[int, ...] | None:
    """All outputs have one shape, that of the first step; returns it."""
    for y, t in zip(ys, times):
        shape = y.shape if shape is None else shape
        if y.shape != shape:
            raise ValueError(f"{called(cell)} changed the shape of its output: all need one shape; it was {shape} in the first step and is "
                             f"{y.shape} at t={t + 1}")
    return shape


def check_parameters(results: Nested, cell: Cell, place: Place) -> None:
    """A parameter is made once: a trainable leaf that came into being within the second step would be a new one in every step."""
    start, seen, stack = place.start, set(), flatten(results)
    while stack:
        x = stack.pop()
        if type(x) is Tensor and x.index > start and x.index not in seen:
            seen.add(x.index)
            if x.op is None and x.requires_grad:
                what = x.label() if not x.name else f"{x.label()} of shape {x.array.shape}"
                raise ValueError(f"{called(cell)} made {what} inside its step t={place.step}: it would be a new one in every step, and "
                                 "none would be trained. Make parameters once, in __init__ or outside the cell")
            stack += x.inputs


def explain_state(error: Exception, cell: Any, state: Nested, batch: int | None) -> None:
    """Add to an error of the first step that the given state has not the nesting and shapes of ``cell.initial_state``."""
    try:
        expected, got = _outline(cell.initial_state(batch)), _outline(state)
    except Exception:       # it has none
        return
    if expected != got:
        error.args = (f"{error} (the state given to unroll is {got}; {called(cell)}.initial_state({batch}) is {expected})",)
