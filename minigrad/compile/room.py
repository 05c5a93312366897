"""The buffers of a program, and its lists of their rows: made once for T steps, used at every call."""
from __future__ import annotations

import collections
from typing import Any

from .value import Value
from .words import Words, literal


class Buffer:
    """An array of the program. ``used`` says in which parts of it; ``other`` is the buffer whose memory it shares, if any; ``shares``
    is whether it may."""

    def __init__(self, name: str, definition: str, used: set[str | None]) -> None:
        self.name, self.definition, self.used = name, definition, used
        self.other: Buffer | None = None
        self.shares = definition.startswith("aligned((T,") and not definition.endswith("zeros)")      # there, what nobody writes is zero


class Room:
    """What a program keeps between calls, as lines that make it."""

    def __init__(self, words: Words) -> None:
        self.words, self.numpy = words, words.numpy
        self.buffers: dict[str, Buffer] = {}
        self.part: str | None = None                                # of the program, that is being written
        self.kept: dict[int, list[str]] = {}                        # loss -> the arrays that its gradient finds again
        self._used: dict[str, set[str | None]] = collections.defaultdict(set)       # name -> parts of the program
        self._views: dict[str, str] = {}                            # name -> definition
        self._rows: dict[str, str] = {}                             # expression -> name of the list
        self._named: dict[str, str] = {}                            # definition -> name

    def buffer(self, name: str, v: Value, steps: str | None = "T", fill: bool = False, shape: tuple[int, ...] | None = None) -> str:
        """An array for v: over all steps, or for one (``steps=None``)."""
        return self.add(name, self.new(v, steps, fill, shape))

    @staticmethod
    def new(v: Value, steps: str | None = "T", fill: bool = False, shape: tuple[int, ...] | None = None) -> str:
        return f"aligned({_shape(steps, v.shape if shape is None else shape)}, {literal(v.dtype)}{', zeros' if fill else ''})"

    def add(self, name: str, definition: str) -> str:
        """A buffer, unless there is one of this name."""
        if name not in self.buffers:
            self.buffers[name] = Buffer(name, definition, self._used[name])
        self.use(name)
        return name

    def use(self, name: str) -> None:
        self._used[name].add(self.part)

    def view(self, name: str, definition: str) -> str:
        """A view of a buffer, by a name of its own."""
        self._views[name] = definition
        return name

    def flat(self, expression: str, columns: int | None = None) -> str:
        """An array as rows of so many numbers, or all in one: a view, made once if it is one of a buffer."""
        text = f"{expression}.reshape(-1{'' if columns is None else f', {columns}'})"
        name = expression.removesuffix("[1:]").removesuffix("[:-1]")
        if name not in self.buffers:
            return text
        if text not in self._named:
            label = {"": "", "[1:]": "_after", "[:-1]": "_before"}[expression.removeprefix(name)]
            self._named[text] = self.view(self.words.unique(f"{name}{label}_{'numbers' if columns is None else 'flat'}"), text)
        return self._named[text]

    def ones(self, shape: Any, dtype: Any) -> str:
        """An array of ones: a product with it is a sum, in a third of a reduction's time."""
        text = f"{self.numpy('ones')}({shape}, {literal(dtype)})"
        if text not in self._named:
            self._named[text] = self.add(self.words.unique("ones"), text)
        return self._named[text]

    def rows(self, name: str, expression: str, label: str, back: bool) -> str:
        """The T rows of a part of an array, as a list; those of a buffer are made once."""
        text = expression + ("[::-1]" if back else "")
        if name not in self.buffers:
            return f"rows({text})"
        if text not in self._rows:
            self._rows[text] = self.words.unique(f"{label}_{'back' if back else 'rows'}")
        return self._rows[text]

    def lines(self) -> list[tuple[str, list[str]]]:
        """The lines that make it: groups, each with what it is."""
        own = [f"{b.name} = {b.definition}" for b in self.buffers.values() if b.other is None]
        shared = [f"{b.name} = {b.other.name}" for b in sorted(self.buffers.values(), key=_depth) if b.other is not None]
        views = [f"{name} = {definition}" for name, definition in self._views.items()]
        rows = [f"{name} = rows({text})" for text, name in self._rows.items()]
        return [("room for T steps, which every call uses again", own), ("which share room with what is not needed any more", shared),
                ("parts of them", views), ("their steps, forward and back in time", rows)]


def _depth(buffer: Buffer) -> int:
    """Whose room it shares must be there before."""
    return 0 if buffer.other is None else 1 + _depth(buffer.other)


def _shape(steps: str | None, shape: tuple[int, ...]) -> str:
    sizes = [*([steps] if steps else []), *map(str, shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
