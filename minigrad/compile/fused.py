"""The loops of a program for Numba: the statements of loop.py, each as a loop over its elements, in one function that is compiled.

How one statement is written is fused_forms.py's. One without a form leaves the whole program to NumPy: ``NoForm`` says which. Each
has a loop of its own, as in NumPy: compilers find vectors in short loops, and lose them in long ones.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .elements import VIEWS, NoForm, moved
from .fused_forms import FORMS, elementwise
from .lines import Line, indented, listed, page

if TYPE_CHECKING:
    from .loop import Loop

HEAD = '''fused = njit(cache=True, fastmath={"contract"}, error_model="numpy")      # a * b + c in one rounding; nothing else is moved'''


class Fused:
    """One loop as a function of its arrays: ``definition``, and the line that calls it."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop, self.name = loop, name
        self.words, self.layout, self.room = loop.words, loop.layout, loop.room
        self.arguments: dict[str, int] = {}             # name -> rank, as they are met
        self.helpers: dict[str, str] = {}
        self.imports: set[str] = set()
        self.index = [self.words.unique(n, ()) for n in "ijlm"]
        self.inner = self.words.unique("k", ())
        body = [line for place, lines in itertools.groupby(loop.body, self._together) for line in self.statements(place, [*lines])]
        steps = "range(T - 1, -1, -1)" if loop.back else "range(T)"
        self.definition = ["@fused", *listed(f"def {name}(", ["T", *self.arguments], "):"), f"    for t in {steps}:",
                           *indented(indented(page(body)))] if body else []

    def call(self) -> list[str]:
        """What comes from outside need not lie in memory as the function wants it."""
        own = self.room.buffers
        given = [n if n in own else f"{self.words.numpy('ascontiguousarray' if rank else 'asarray')}({n})"
                 for n, rank in self.arguments.items()]
        return listed(f"{self.name}(", ["T", *given], ")") if self.definition else []

    # ---- elements -----------------------------------------------------------------------------------------------------------
    def shape(self, text: str) -> tuple[int, ...]:
        return self.loop.places[text].shape if text in self.loop.places else ()

    def dtype(self, text: str) -> np.dtype:
        return self.loop.places[text].dtype

    def element(self, text: str, at: Sequence[str], like: np.dtype) -> str:
        """The element of an operand, or of a place, at indices that may be more than it has axes; a number in ``like``'s dtype."""
        v: Any = self.loop.places.get(text)
        if v is None:
            if text not in self.words.numbers and not text.isdigit():
                raise NoForm(text)
            return self.number(self.words.numbers[text] if text in self.words.numbers else int(text), like)
        if v.kind == "number" and not v.number.ndim:
            return self.number(v.number.item(), like)
        return self.of(v, [i if n > 1 else "0" for i, n in zip(at[len(at) - len(v.shape):], v.shape)])

    def of(self, v: Any, at: Sequence[str]) -> str:
        """The element of a value, in the array where it lives."""
        if v.kind == "place":
            return self.array(v.name, [v.at, *at] if v.at else at)
        if v.kind == "number":
            return self.array(self.words.table(v.number), at)
        if not v.depends:
            return self.array(self.words.of(v), at)
        if v.is_view and v.id not in self.layout.slot:
            if v.op.name not in VIEWS:
                raise NoForm(v.op.name)
            return self.of(v.inputs[0], VIEWS[v.op.name](v, at))
        if v.id in self.layout.piece:
            whole, s = self.layout.piece[v.id]
            return self.of(whole, moved(at, -1, s.start or 0))
        if v.kind == "carry":
            return self.array(self.words.carry(self.layout.states[v.position]), at)
        if v.id in self.layout.slot:
            return self.array(self.words.of(v), ["t + 1", *at])
        return self.array(self.words.of(v), at if self.loop.is_overwritten(v) else ["t", *at])

    def array(self, name: str, at: Sequence[str]) -> str:
        """The element of an array, which is an argument now."""
        buffer = self.room.buffers.get(name)
        while buffer is not None and buffer.other is not None:          # by its first name: two names would be taken for two arrays
            buffer = buffer.other
        name = name if buffer is None else buffer.name
        self.arguments.setdefault(name, len(at))
        return f"{name}[{', '.join(at) or '()'}]"

    def number(self, number: Any, dtype: np.dtype) -> str:
        """A number of a dtype: Numba computes in double precision with those that do not say theirs."""
        text = repr(number) if math.isfinite(number) else f"np.{number}" if number > 0 or number != number else "-np.inf"
        if dtype.kind != "f" or dtype.itemsize == 8:
            return text
        self.imports.add(dtype.name)
        return f"{dtype.name}({text})"

    # ---- statements -------------------------------------------------------------------------------------------------------
    @staticmethod
    def _together(line: Line) -> str | int:
        """Statements in a row that compute their elements in one place are one loop."""
        return line.out if line.elementwise else id(line)

    def statements(self, place: Any, lines: list[Line]) -> list[Line]:
        """The lines of statements with one place; the comment of the first is behind the first."""
        for line in lines:
            if not line.how or line.how[0] not in FORMS or line.out not in self.loop.places:
                raise NoForm(line.text)
        if lines[0].elementwise:
            texts = self.over(self.shape(place), lambda at: [elementwise(self, line, at) for line in lines])
        else:
            texts = FORMS[lines[0].how[0]](self, *lines, *lines[0].how[1:])
        written = [Line(text) for text in texts]
        written[0].comment = lines[0].comment
        return written

    def over(self, shape: tuple[int, ...], write: Callable[[list[str]], list[str]], skip: Sequence[int] = ()) -> list[str]:
        """``write(indices)`` within loops over a shape; an axis of one needs no loop."""
        if len(shape) > len(self.index):
            raise NoForm(f"arrays of {len(shape)} axes")
        at = [i if n != 1 else "0" for i, n in zip(self.index, shape)]
        lines = write(at)
        for axis in reversed(range(len(shape))):
            if shape[axis] != 1 and axis not in skip:
                lines = [f"for {at[axis]} in range({shape[axis]}):", *indented(lines)]
        return lines

    def meets(self, line: Line) -> np.dtype:
        """The dtype in which the numbers of a line meet what is no number."""
        arrays = [self.dtype(text) for text in line.reads if text in self.loop.places and self.loop.places[text].kind != "number"]
        return np.result_type(*arrays) if arrays else self.dtype(line.out)
