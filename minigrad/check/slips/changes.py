"""What an edge makes of the adjoint that it gets, changed: each a function (run, edge, g) -> the edge's part."""
import numpy as np


def nothing(run, edge, g):
    """The edge is not there."""
    return np.zeros_like(run.reverse.value(edge.target))


def times(c):
    """The edge's part, c times."""
    return lambda run, edge, g: c * run.reverse.part(edge, g)


def only(change, block):
    """The change for some columns of the adjoint only."""
    def changed(run, edge, g):
        rest, inside = np.array(g), np.zeros_like(g)
        if hasattr(change, "other"):
            rest[..., block] = change.other(run, edge)[..., block]
            return run.reverse.part(edge, rest)
        rest[..., block], inside[..., block] = 0, g[..., block]
        return run.reverse.part(edge, rest) + change(run, edge, inside)
    return changed


def without(blocks):
    """Some columns of the adjoint are left out."""
    def changed(run, edge, g):
        g = np.array(g)
        for block in blocks:
            g[..., block] = 0
        return run.reverse.part(edge, g)
    return changed


def of(other):
    """The edge works on another adjoint: ``other(run, edge)``."""
    def changed(run, edge, g):
        return run.reverse.part(edge, other(run, edge))
    changed.other = other
    return changed
