"""Cells made of cells: layers on top of each other, and two directions side by side."""
from __future__ import annotations

from typing import Any, Callable, Iterable

import numpy as np

from ..module import Module
from ..nested import Nested
from .sequence import unroll
from .state import Cell, called, check_cell, initial_state


class _Stacked(Module):
    """Layers: the output of one cell is the input of the next; the state is the tuple of the layers' states."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.cells = list(cells)

    @property
    def __name__(self) -> str:
        return f"stacked({', '.join(map(called, self.cells))})"

    def initial_state(self, batch_size: int | None = None) -> tuple[Any, ...]:
        return tuple(initial_state(cell, batch_size, "stacked()") for cell in self.cells)

    def __call__(self, x: Any, state: Nested) -> tuple[Any, tuple[Any, ...]]:
        states = []
        if not isinstance(state, (tuple, list)) or len(state) != len(self.cells):
            got = len(state) if isinstance(state, (tuple, list)) else type(state).__name__
            raise ValueError(f"stacked: {len(self.cells)} cells got a state of {got}")
        for cell, s in zip(self.cells, state):
            x, s = cell(x, s)
            states.append(s)
        return x, tuple(states)


def stacked(*cells: Cell) -> _Stacked:
    """One cell out of several: each layer reads the output of the one before.

    >>> import minigrad as mg
    >>> deep = stacked(mg.RNNCell(3, 4), mg.GRUCell(4, 5))
    >>> mg.unroll(deep, np.ones((6, 2, 3)))[0].shape
    (6, 2, 5)
    """
    if not cells or not all(callable(c) for c in cells):
        raise TypeError("stacked() needs one or more cells: stacked(RNNCell(3, 4), RNNCell(4, 4))")
    return _Stacked(check_cell("stacked()", cell) for cell in cells)


class _Bidirectional(Module):
    """Two cells that walk in opposite directions: see ``bidirectional``."""
    whole_sequence, __name__ = True, "bidirectional"

    def __init__(self, forward: Cell, backward: Cell) -> None:
        self.forward, self.backward = forward, backward

    def __call__(self, xs: Any, state: Nested = None, *, lengths: Any = None, checkpoint_every: int | str | None = None,
                 over: Callable[..., tuple[Any, ...]] = unroll) -> tuple[Any, tuple[Any, ...]]:
        if not callable(over):
            raise TypeError(f"bidirectional got over={over!r}; expected mg.unroll or mg.scan")
        first, second = state if state is not None else (None, None)
        left, a = over(self.forward, xs, first, lengths=lengths, checkpoint_every=checkpoint_every)
        right, b = over(self.backward, xs, second, lengths=lengths, reverse=True, checkpoint_every=checkpoint_every)
        return np.concatenate([left, right], axis=-1), (a, b)


def bidirectional(forward: Cell, backward: Cell) -> _Bidirectional:
    """A network over a whole sequence: outputs (T, B, H_forward + H_backward), state the pair of final states.

    It is no cell of one step, so it is called itself: ``net(xs, state=None, *, lengths=None, checkpoint_every=None, over=mg.unroll)``,
    with what ``unroll`` takes under these names; ``state`` is a pair, too. ``over=mg.scan`` runs both directions compiled.

    >>> import minigrad as mg
    >>> net = bidirectional(mg.RNNCell(3, 4), mg.RNNCell(3, 5))
    >>> ys, (first, last) = net(np.ones((6, 2, 3)))
    >>> ys.shape
    (6, 2, 9)
    """
    for cell in (forward, backward):
        if not callable(cell):
            raise TypeError(f"bidirectional() got a {type(cell).__name__}; expected two cells")
        check_cell("bidirectional()", cell)
    return _Bidirectional(forward, backward)
