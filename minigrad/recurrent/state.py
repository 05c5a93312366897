"""States: cut from their history, and checked to stay what they are."""
import numpy as np

from ..nested import flatten, rebuild
from ..tensor import Tensor


def detach(state):
    """The same values without history, nesting kept: truncated BPTT is ``state = mg.detach(state)`` between chunks.

    >>> import minigrad as mg
    >>> h, c = detach((mg.parameter([1.]) * 2, mg.parameter([3.])))
    >>> h.requires_grad, c.requires_grad
    (False, False)
    """
    return rebuild(state, [x.detach() if isinstance(x, Tensor) else x for x in flatten(state)])


def _outline(state, dtypes=True):
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


def check_same(old, new, cell, step):
    """A state keeps its nesting, shapes and dtypes."""
    if type(old) is type(new) is Tensor and old.array.shape == new.array.shape and old.array.dtype == new.array.dtype:
        return
    before, after = _outline(old), _outline(new)
    if before != after:
        hint = "is the batch size of the initial state right? is the pair (y, state) in this order?"
        if _outline(old, dtypes=False) == _outline(new, dtypes=False):
            hint = "give xs and the initial state the dtype of the parameters, for example xs.astype(np.float32)"
        raise ValueError(f"{cell} changed its state at t={step}: it took {before} and returned {after}; a state keeps its nesting, "
                         f"shapes and dtypes ({hint})")


def explain_state(error, cell, state, batch, first):
    """Add to an error of the first step that the given state has not the nesting and shapes of ``cell.initial_state``."""
    if first and hasattr(cell, "initial_state"):
        expected, got = _outline(cell.initial_state(batch)), _outline(state)
        if expected != got:
            name = getattr(cell, "__name__", type(cell).__name__)
            error.args = (f"{error} (the state given to unroll is {got}; {name}.initial_state({batch}) is {expected})",)
