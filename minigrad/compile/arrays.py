"""Expressions for values over all T steps at once: the array in which a value lives, or the part of one."""
from __future__ import annotations

from typing import Any

from .layout import Layout
from .room import Room
from .value import Value
from .words import Words, apart, indexed, sliced


class Arrays:
    """Where the values of a plan are, in the program's words."""

    def __init__(self, words: Words, layout: Layout, room: Room) -> None:
        self.words, self.layout, self.room = words, layout, room
        self.carries: dict[int, str] = {}               # id of a carried cotangent -> name of the array that keeps it

    def every(self, v: Value, rank: int | None = None, dtype: Any = None) -> str:
        """The expression for v over all steps, padded to ``rank`` axes of one step; a number as an array of ``dtype``."""
        if v.kind == "number":
            return self.constant(v, dtype or v.dtype)
        if not v.depends:
            return self.words.of(v)
        text = self.whole(v)
        if rank is not None and rank > len(v.shape):
            text += "[:, " + ", ".join(["None"] * (rank - len(v.shape))) + "]"
        return text

    def constant(self, v: Value, dtype: Any) -> str:
        return self.words.table(v.number) if v.number.ndim else self.words.number(v.number.item(), dtype)

    def whole(self, v: Value) -> str:
        """The array over all T steps in which v lives."""
        if v.is_view and v.id not in self.layout.slot:
            return self.view(v, self.every(v.inputs[0], len(v.shape) if v.is_op("broadcast_to") else None), over_time=True)
        if v.id in self.layout.piece:
            whole, s = self.layout.piece[v.id]
            return f"{self.whole(whole)}[..., {sliced(s)}]"
        name = self.name(v)
        self.room.use(name)
        return f"{name}[:-1]" if v.kind == "state" else f"{name}[1:]" if v.id in self.layout.slot else name

    def name(self, v: Value) -> str:
        """The name of the array in which v lives, itself or as a part."""
        if v.is_view:
            return self.name(v.inputs[0])
        if v.id in self.layout.piece:
            return self.name(self.layout.piece[v.id][0])
        return self.carries[v.id] if v.kind == "carry" else self.words.of(v)

    def view(self, v: Value, source: str, over_time: bool = False) -> str:
        """A view of ``source``, with or without the axis of time in front."""
        name = v.op.name
        if name == "getitem":
            return f"{source}[{indexed(v.attributes['index'])}]"
        if name == "transpose":
            axes = v.attributes["axes"]
            if axes == (-1, -2):
                return f"{source}.mT"
            n = len(v.shape) + over_time
            return f"{source}.transpose({(*range(n - len(axes)), *(a + n for a in axes))})"
        if name == "apart":
            return f"{source}.{apart(v.inputs[0].shape, v.shape[-1], over_time)}"
        if name == "broadcast_to":
            shape = f"(T, {', '.join(map(str, v.shape))})" if over_time else repr(v.shape)
            return f"{self.words.numpy('broadcast_to')}({source}, {shape})"
        return source                                   # stop_gradient
