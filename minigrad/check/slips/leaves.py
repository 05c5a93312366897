"""Slips in a parameter's gradient as a whole: zero, scaled, transposed, with weight decay, its gates in another order, or an adjoint in
its place."""
from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..edges import Edge

if TYPE_CHECKING:
    from . import Slips


def leaves(slips: Slips) -> None:
    """All of them for every named leaf."""
    r = slips.r
    slips.put("decay", None, "", "d += λ W", "a multiple of the parameters themselves is added (weight decay)", 0.8, direction=True,
              group="decay", vector=np.concatenate([np.ravel(r.value(i)) for i in r.leaves.values()]))
    for name, i in r.leaves.items():
        _leaf(slips, name, r.value(i), slips.right[slips.spans[name]], r.incoming[i])


def _leaf(slips: Slips, name: str, x: np.ndarray, right: np.ndarray, edges: list[Edge]) -> None:
    r, first = slips.r, edges[0] if edges else None

    def put(kind: str, gradient: np.ndarray, says: str, cost: float,
            e: Edge | None = None, direction: bool = False, group: Hashable = None) -> None:
        whole = np.zeros_like(slips.right) if direction else slips.right.copy()
        whole[slips.spans[name]] = np.ravel(gradient)
        slips.put(kind, e, f"in d{name}", says, says, cost, vector=whole, direction=direction, group=group)

    put("zero", np.zeros(x.shape), f"d{name} is 0", 0.15, first, group="zero")
    put("scale", right, f"d{name} is off by a factor", 0.9, first, direction=True, group="scale")
    put("decay", x, f"a multiple of {name} itself is added to d{name} (weight decay)", 0.8, direction=True, group="decay")
    if edges and x.ndim == 2 and x.shape[0] == x.shape[1]:
        put("transposed", right.reshape(x.shape).T, f"d{name} is transposed", 0.3, first)
    for order, says in _orders(slips, x, edges):
        put("order of gates", right.reshape(x.shape)[..., order], f"d{name} has {says}", 0.5, group=("order of gates", says))
    if first is None or not r.crossing(first):
        return
    others = {(slips.say.adjoint(node.id), node.step): r.g[node.id] for node in r.nodes          # an initial state's, mistaken for another
              if node.op is not None and node.step and node.value.shape == x.shape and r.g[node.id] is not None}
    for (other, step), g in others.items():
        put("wrong adjoint", g, f"d{name} is the adjoint {other} at t={step}", 0.7 + 0.1 * step, first)
    for step in r.steps[1:]:
        carried = [r.parts[e] for line in r.crossings() for e in r.lines[line].values()
                   if e.step == step and r.state(line, step) == r.state(first.line, step)]
        if carried:
            put("wrong adjoint", sum(carried, np.zeros_like(x)), f"d{name} is what is carried into step {step - 1}",
                0.75 + 0.1 * (step - 2), first)


def _orders(slips: Slips, x: np.ndarray, edges: list[Edge]) -> Iterator[tuple[np.ndarray, str]]:
    """(columns, words): the gates of a packed parameter in every other order."""
    e = next((e for e in edges if x.ndim and slips.r.value(e.source).shape[-1:] == x.shape[-1:] and slips.r.blocks_of(e)), None)
    if e is None:
        return
    blocks = slips.r.blocks_of(e)
    if len({b.stop - b.start for b in blocks}) != 1 or len(blocks) > 4:
        return
    names, columns = [slips.block_name(e.source, b) for b in blocks], np.arange(x.shape[-1])
    for order in itertools.permutations(range(len(blocks))):
        if list(order) != sorted(order):
            yield (np.concatenate([columns[blocks[i]] for i in order]),
                   f"its gates in the order {', '.join(names[i] for i in order)}, which is {', '.join(names)} here")
