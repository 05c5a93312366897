"""Taps: the values that a cell's author named, of every step, read from the recorded graph after the fact."""
from __future__ import annotations

from typing import Any

from ..graph import Graph
from ..nested import Nested, flatten
from ..tensor import Tensor


def taps(root: Nested, *names: str) -> dict[str, list[Tensor]]:
    """The named intermediate values of every step: a dict name -> list of T Tensors, in the order of time.

    root   what was computed: ys, the loss, a state; a Tensor or several, nested
    names  the variables of the cell (or of the loop over ``mg.steps``) that are wanted; default all there are

    The Tensors are the steps' own, so ``mg.grad(loss, taps["c"])`` is ∂loss/∂c_t for every t. Nothing is paid while the graph is
    recorded. A name that several functions of a step use (the h of two layers, of two directions) becomes ``1.h``, ``2.h``, …, in
    the order in which they ran; of a variable that is assigned twice in one step, the last value counts.

    >>> import numpy as np, minigrad as mg
    >>> ys, _ = mg.unroll(mg.LSTMCell(3, 4), np.ones((5, 2, 3)))
    >>> kept = taps(ys, "f", "c")
    >>> len(kept["f"]), kept["f"][0].shape
    (5, (2, 4))
    >>> len(mg.grad(ys.sum(), kept["c"]))
    5
    """
    graph = Graph.of(*flatten(root))
    values: dict[str, dict[tuple[Any, int], dict[int, Tensor]]] = {}       # name -> {(loop, call): {step: Tensor}}
    lengths: dict[int | None, int] = {}            # loop -> T
    for node in graph.nodes:
        if node.step and node.tensor is not None and node.tensor.place is not None and node.kind != "parameter":
            lengths[node.loop] = max(node.step, lengths.get(node.loop, 0))
            if node.name is not None:
                values.setdefault(node.name, {}).setdefault((node.loop, node.call or 0), {})[node.step] = node.tensor
    if not lengths:
        packed = any(node.op is not None and node.op.name == "unroll" for node in graph.nodes)
        raise ValueError("taps() found no time steps: " + (
            "unroll(…, checkpoint_every=…) does not keep them; run it without" if packed else
            "what it got was not computed by mg.unroll or a loop over mg.steps, or under mg.no_grad(), which records nothing"))
    found = {}
    for name, series in values.items():
        for k, (where, steps) in enumerate(sorted(series.items(), key=lambda item: item[0]), 1):
            found[f"{k}.{name}" if len(series) > 1 else name] = steps, lengths[where[0]]
    for name in names:
        if name not in found:
            raise ValueError(_unknown(name, values, found))
    for name, (steps, T) in found.items():
        missing = next((t for t in range(1, T + 1) if t not in steps), None)
        if missing is not None and name in names:
            raise ValueError(f"taps() found no {name!r} at t={missing}: what it got does not depend on it there, or the cell went another "
                             f"way in this step than in the first, whose variables are read. Give it more (the loss and the states), or "
                             f"name the value in the cell: {name.split('.')[-1]}.name = {name.split('.')[-1]!r}")
    return {name: [found[name][0][t] for t in sorted(found[name][0])] for name in names or found
            if names or len(found[name][0]) == found[name][1]}


def _unknown(name: str, values: dict[str, Any], found: dict[str, Any]) -> str:
    if name in values:
        return f"taps() found {name!r} in several functions of a step: {', '.join(n for n in found if n.endswith('.' + name))}; say which"
    return f"taps() found no {name!r}; there are: {', '.join(found)}"
