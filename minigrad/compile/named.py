"""What the author calls the values of a step: names for the program, read off the variables of the cell while it runs."""
from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any, Callable

import numpy as np

from ..tensor import Tensor, _clock
from .traced import Traced


def named(run: Any, fn: Callable[[], tuple[Any, ...]]) -> tuple[Any, ...]:
    """Run fn; the nodes of the values that it keeps in variables get the variables' names, the caller's before the callee's. What it
    makes of parameters alone is a Tensor, and gets its name itself."""
    depths: dict[int, tuple[int, Any, str]] = {}
    here, before, start = sys._getframe(), sys.gettrace(), _clock()

    def read(frame: FrameType, depth: int) -> None:         # pragma: no cover: a trace function is not traced itself
        for name, value in frame.f_locals.items():
            if isinstance(value, Tensor) and name[0] != "_":
                node: Any
                if type(value) is Traced:
                    node = value.node
                elif value.index > start:
                    node = value
                elif id(value) in run.by_id:
                    node = run.tape.invariants[run.by_id[id(value)].position]
                else:
                    continue
                if depths.get(id(node), (99, None, ""))[0] > depth and not (node is not value and node.name and node.kind == "invariant"):
                    depths[id(node)] = depth, node, name

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:             # pragma: no cover
        if frame.f_code.co_filename.startswith((_HOUSE, _NUMPY)) and not frame.f_code.co_filename.startswith(_CELLS):
            return None
        depth, f = 0, frame.f_back
        while f is not None and f is not here:
            depth, f = depth + 1, f.f_back

        def lines(frame: FrameType, event: str, argument: Any) -> Any:
            if event != "call":
                read(frame, depth)
            return lines
        return lines
    sys.settrace(tracer)
    try:
        result = fn()
    finally:
        sys.settrace(before)
    for _, node, name in depths.values():
        node.name = name
        if id(node) in run.by_id:
            run.tape.invariants[run.by_id[id(node)].position].name = name
    return result


_HOUSE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_CELLS = os.path.join(_HOUSE, "recurrent")
_NUMPY = os.path.dirname(str(np.__file__)) + os.sep


def name_of(x: Any) -> str | None:
    """A parameter's name; of what was made from one, its name and how: W_h_part, W_h_T."""
    if not isinstance(x, Tensor) or x.name or x.op is None:
        return getattr(x, "name", None)
    source = getattr(x.inputs[0], "name", None)
    return source and f"{source}_{ {'getitem': 'part', 'transpose': 'T'}.get(x.op.name, x.op.name)}"
