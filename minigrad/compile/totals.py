"""Σ over time of a value: what the gradient of a parameter is.

The sum is pushed through sums, transposes and reductions, down to one product over the rows of all steps. So the value itself
is not needed for every step, only what it is made from; both demand.py and emit.py ask here.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..graph.normal import SUM
from .value import Value
from .words import literal


class Plain:
    """How arrays are written where there is no room (room.py) that keeps views of them."""
    numpy = staticmethod(lambda name: name)
    flat = staticmethod(lambda expression, columns: f"{expression}.reshape(-1, {columns})")
    ones = staticmethod(lambda shape, dtype: f"ones({shape}, {literal(dtype)})")


def total(v: Value, every: Callable[[Value], Any], room: Any = Plain) -> str:
    """The expression for Σ_t v; ``every(w)`` is the array with all steps of w."""
    numpy = room.numpy
    if not v.depends:
        return f"T * {every(v)}"
    if v.op is SUM and all(i.shape == v.shape and i.depends for i in v.inputs):
        return " + ".join(total(i, every, room) for i in v.inputs)
    if v.is_op("transpose"):
        axes = tuple(a + len(v.shape) for a in v.attributes["axes"])
        return f"({total(v.inputs[0], every, room)}).transpose({axes})"
    if v.is_op("concatenate"):
        return f"{numpy('concatenate')}(({', '.join(total(i, every, room) for i in v.inputs)}), axis={v.attributes['axis']})"
    if sums_rows(v):
        rows, x = ", ".join(["-1", *map(str, v.shape)]), v.inputs[0]
        if len(v.shape) == 1 and x.dtype == v.dtype and v.dtype.kind == "f":
            each = math.prod(x.shape) // v.shape[0] if v.shape[0] else 0
            return f"{room.ones(f'T * {each}', v.dtype)}.dot({room.flat(every(x), v.shape[0])})"
        return f"{numpy('add')}.reduce({every(x)}.reshape({rows}), axis=0)"
    if is_product_of_rows(v):
        a, b = v.inputs[0].inputs[0], v.inputs[1]
        return f"{room.flat(every(a), a.shape[-1])}.T.dot({room.flat(every(b), b.shape[-1])})"
    return f"{numpy('add')}.reduce({every(v)}, axis=0)"


def sums_rows(v: Value) -> bool:
    """Whether v sums the leading axes of one step."""
    if not v.is_op("sum") or v.attributes["keepdims"]:
        return False
    x = v.inputs[0]
    return bool(x.depends) and v.attributes["axis"] == tuple(range(-len(x.shape), -len(v.shape)))


def is_product_of_rows(v: Value) -> bool:
    """Whether v is aᵀ b for matrices a and b that change from step to step."""
    if not v.is_op("matmul") or len(v.shape) != 2:
        return False
    a, b = v.inputs
    return bool(a.is_op("transpose") and a.attributes["axes"] == (-1, -2) and a.depends and b.depends and len(b.shape) == 2)
