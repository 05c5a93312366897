"""A node that stands for many ops (a compiled scan) unfolded to the eager nodes, with their places, so that every reader works on it.

What such a node keeps in its attributes as ``run`` has a method ``unfold()``: {(start, stop): Tensor}, the parts of its value,
computed again op by op. What was computed from the node is recorded again from the parts.
"""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor, mode, record


def unfolded(*roots: Tensor) -> tuple[tuple[Tensor, ...], dict[int, Tensor]]:
    """(the same roots, computed without such nodes, {id of a Tensor: the Tensor that stands for it now})."""
    order: list[Any] = []
    stack: list[Any] = list(roots)
    seen = set()
    while stack:
        t = stack.pop()
        if id(t) not in seen:
            seen.add(id(t))
            order.append(t)
            stack.extend(x for x in t.inputs if type(x) is Tensor)
    if not any(hasattr((t.attributes or {}).get("run"), "unfold") for t in order):
        return roots, {}
    order.sort(key=lambda t: t.index)
    new: dict[int, Tensor] = {}
    parts: dict[int, dict[Any, Any]] = {}
    before = mode.recording, mode.place
    try:
        mode.recording = True
        for t in order:
            run = (t.attributes or {}).get("run")
            if run is not None and hasattr(run, "unfold"):
                mode.place = t.place
                parts[id(t)] = run.unfold()
            elif t.op is not None and id(t.inputs[0]) in parts:
                new[id(t)] = parts[id(t.inputs[0])][t.attributes["start"], t.attributes["stop"]]
            elif t.op is not None and any(id(x) in new for x in t.inputs):
                mode.place = t.place
                new[id(t)] = out = record(t.op, tuple(new.get(id(x), x) for x in t.inputs), t.attributes)
                out.name = t.name
    finally:
        mode.recording, mode.place = before
    return tuple(new.get(id(r), r) for r in roots), new
