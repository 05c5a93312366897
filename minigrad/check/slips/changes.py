"""What an edge makes of the adjoint that it gets, changed: each a function (run, edge, g) -> the edge's part."""
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..edges import Edge
from ..perturb import Change, Run


def nothing(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
    """The edge is not there."""
    return np.zeros_like(run.reverse.value(edge.target))


def times(c: float) -> Change:
    """The edge's part, c times."""
    return lambda run, edge, g: c * run.reverse.part(edge, g)


def only(change: Change, block: slice) -> Change:
    """The change for some columns of the adjoint only."""
    def changed(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
        rest, inside = np.array(g), np.zeros_like(g)
        if isinstance(change, Of):
            rest[..., block] = change.other(run, edge)[..., block]
            return run.reverse.part(edge, rest)
        rest[..., block], inside[..., block] = 0, g[..., block]
        return run.reverse.part(edge, rest) + change(run, edge, inside)
    return changed


def without(blocks: Sequence[slice | None]) -> Change:
    """Some columns of the adjoint are left out; None: all of them."""
    def changed(run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
        g = np.array(g)
        for block in blocks:
            g[..., block] = 0
        return run.reverse.part(edge, g)
    return changed


class Of:
    """The edge works on another adjoint: ``other(run, edge)``."""

    def __init__(self, other: Callable[[Run, Edge], np.ndarray]) -> None:
        self.other = other

    def __call__(self, run: Run, edge: Edge, g: np.ndarray) -> np.ndarray:
        return run.reverse.part(edge, self.other(run, edge))
