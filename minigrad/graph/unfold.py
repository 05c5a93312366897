"""A node that stands for many ops (a compiled scan) unfolded to the eager nodes, with their places, so that every reader works on it.

What such a node keeps in its attributes as ``run`` has a method ``unfold()``: {(start, stop): Tensor}, the parts of its value,
computed again op by op. What was computed from the node is recorded again from the parts.
"""
from __future__ import annotations

from typing import Any

from ..autodiff import history
from ..checkpoint import as_before
from ..tensor import Tensor, mode, record


def unfolded(*roots: Tensor) -> tuple[tuple[Tensor, ...], dict[int, Tensor]]:
    """(the same roots, computed without such nodes, {id of a Tensor: the Tensor that stands for it now})."""
    order = history(roots)
    new: dict[int, Tensor] = {}
    parts: dict[int, dict[Any, Any]] = {}
    run: Any
    if not any(hasattr((t.attributes or {}).get("run"), "unfold") for t in order):
        return roots, new
    with as_before([], None):
        for t in order:
            mode.place, run = t.place, (t.attributes or {}).get("run")
            if hasattr(run, "unfold"):
                parts[id(t)] = run.unfold()
            elif t.op is not None and id(t.inputs[0]) in parts:
                new[id(t)] = parts[id(t.inputs[0])][t.attributes["start"], t.attributes["stop"]]
            elif any(id(x) in new for x in t.inputs):
                new[id(t)] = out = record(t.op, tuple(new.get(id(x), x) for x in t.inputs), t.attributes)
                out.name = t.name
    return tuple(new.get(id(r), r) for r in roots), new
