"""Where in time an op was recorded: plain data that travels with every Tensor; and what a frame calls its values."""
from __future__ import annotations

import inspect
import itertools
from types import FrameType
from typing import Any, Sequence

from .nested import Nested, flatten, rebuild

_loops = itertools.count(1).__next__


class Loop:
    """One pass over a sequence: who it belongs to, and what is needed to name its values when somebody looks.

    names    index of a Tensor -> (the author's variable, op), read once per loop from a hand-written loop's variables
    ended    whether all of it has been gone through
    cell     the cell, when ``unroll`` runs the loop, with what its first step got: naming runs that step again
    """
    __slots__ = ("id", "names", "cell", "x", "state", "initial", "ended")
    names: dict[int, tuple[str, str | None]]
    cell: Any
    x: Nested
    state: Nested
    initial: Sequence[Any]

    def __init__(self) -> None:
        self.ended = False
        self.id, self.names, self.cell, self.x, self.state, self.initial = _loops(), {}, None, None, None, ()

    def remember(self, x: Nested, state: Nested) -> None:
        """Keep the arguments of the first step; of x the numbers alone: its place has this loop, and it may be a view of all xs."""
        leaves = flatten(x)
        self.x = rebuild(x, list(range(len(leaves)))), [(v.array.copy(), v.requires_grad) for v in leaves]
        self.state, self.initial = state, flatten(state)


class Place:
    """Time step (1 … T) of one loop; ``start`` is the clock when the step began, ``outer`` the place around the loop."""
    __slots__ = ("step", "loop", "start", "outer")

    def __init__(self, step: int, loop: Loop, start: int, outer: Place | None = None) -> None:
        self.step, self.loop, self.start, self.outer = step, loop, start, outer

    def __repr__(self) -> str:
        return f"t={self.step}"


def variables(frame: FrameType) -> list[tuple[str, Any]]:
    """The variables of a running function or module: a list of (name, value), private names left out.

    A function's ``f_locals`` is a copy that Python keeps with the frame (until 3.13): emptied, so that it keeps no graph alive.
    """
    values = frame.f_locals
    found = [(name, x) for name, x in values.items() if name[0] != "_" and name.isidentifier()]       # pytest adds @py_assert1
    if type(values) is dict and frame.f_code.co_flags & inspect.CO_OPTIMIZED:
        values.clear()
    return found
