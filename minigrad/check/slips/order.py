"""Slips in the backward loop itself: its direction, what it starts from, and a Jacobian too many in the products of the double sum."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..edges import Edge, Line
from ..perturb import Arriving, Parts, Reverse

if TYPE_CHECKING:
    from . import Slips


def order(slips: Slips) -> None:
    """All of them, where the network is one loop over the steps 1 … T."""
    r, T = slips.r, slips.r.T
    lines, back = r.crossings(), range(T, 0, -1)
    if (r.steps != list(range(1, T + 1)) or any(r.state(line, t) is None for line in lines for t in r.steps)
            or any(not e.leaf for edges in r.exits().values() for e in edges)):
        return

    def put(kind: str, compute: Callable[[], np.ndarray], says: str, cost: float) -> None:
        slips.put(kind, None, "", says, says, cost, compute=compute, group=kind)

    put("order", lambda: r.sweep(range(1, T + 1))[0], "the backward loop runs forward in time", 0.4)
    put("not reset", lambda: r.sweep(back, carry=r.sweep(back)[1])[0],
        "the carry is not reset to 0 before the last step: it still holds what a pass before this one left", 0.7)
    inner: set[Edge] = set()                      # the edges that a state's adjoint goes through within its step
    for t in r.steps:
        inner |= set(r.through(t, {i: np.ones_like(r.value(i)) for i in (_state(r, line, t) for line in lines)}))
    put("one Jacobian too many at k", lambda: _at_k(r, inner),
        "the product of Jacobians has one factor too many at its low end: it starts at i = k, correct is i = k + 1", 0.5)
    for last in (False, True):
        put("one Jacobian too many at t", partial(_at_t, r, inner, last),
            "the product of Jacobians has one factor too many at its high end: ∂h_{t+1}/∂h_k in place of ∂h_t/∂h_k", 0.6 + 0.1 * last)


def _state(r: Reverse, line: Line, t: int) -> int:
    state = r.state(line, t)
    assert state is not None            # order() has looked
    return state


def _carried(r: Reverse, parts: Parts, t: int) -> Arriving:
    """What a step's parts hand back in time, as if it arrived at that same step's states."""
    arriving: Arriving = {}
    for e, part in parts.items():
        if r.crossing(e):
            i = _state(r, e.line, t)
            arriving[i] = arriving.get(i, 0) + part
    return arriving


def _at_k(r: Reverse, inner: set[Edge]) -> np.ndarray:
    """Before a parameter gets its part, the state's adjoint goes through the step once more."""
    def leaving(t: int, arriving: Arriving, parts: Parts) -> Parts:
        again = r.through(t, _carried(r, parts, t))
        return {e: again.get(e, np.zeros_like(part)) if e in inner else part for e, part in parts.items()}
    return r.sweep(range(r.T, 0, -1), leaving=leaving)[0]


def _at_t(r: Reverse, inner: set[Edge], last: bool) -> np.ndarray:
    """A loss's adjoint goes through the step after first; at the last step through its own (``last``), or it is lost."""
    reach = {r.state(line, t) for line in r.crossings() for t in r.steps} | {e.source for e in inner}

    def entering(t: int, arriving: Arriving) -> Arriving:
        if t == r.T and not last:
            return {}
        into: Arriving = {}
        for e, part in r.through(t, arriving).items():
            if e not in inner and not e.leaf and e.target in reach:
                into[e.target] = into.get(e.target, 0) + part
        s = min(t + 1, r.T)
        return _carried(r, r.through(s, {j: g for i, g in into.items() if (j := r.at(i, s)) is not None}), t)

    flat, start = r.sweep(range(r.T, 0, -1), entering=entering)[0], 0
    reference, fed = r.run({}).flat(), {e.target for e in inner if e.leaf}
    for i in r.leaves.values():                   # leaves that no line of the recurrence feeds keep their gradients
        end = start + r.value(i).size
        if i not in fed:
            flat[start:end] = reference[start:end]
        start = end
    return flat
