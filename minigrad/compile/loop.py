"""The loops of a program: statements for one step, on rows of the arrays over all steps and on buffers that every step overwrites."""
from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import numpy as np

from .demand import BACKWARD, FORWARD
from .lines import WIDTH, Line, assign, indented, listed, page
from .statements import statements
from .steps import Site
from .value import ASSEMBLE, Value
from .words import apart, sliced

if TYPE_CHECKING:
    from .emit import Writer


class Rows(typing.NamedTuple):
    """What a loop goes through: the array, the part of it, and what the list of its rows is called."""
    array: str
    expression: str
    label: str


class Place(typing.NamedTuple):
    """An array of the loop's own: what every step overwrites, or step ``at`` of all."""
    name: str
    shape: tuple[Any, ...]
    dtype: np.dtype
    at: str = ""
    kind: str = "place"


class Loop(Site):
    """One loop, forward or back in time. ``rows`` is what it zips: name of the row -> Rows; ``places`` says which value, or Place, the
    words in its statements are."""

    def __init__(self, writer: Writer, function: str) -> None:
        super().__init__(writer)
        self.plan, self.back = writer.plan, function == BACKWARD
        self.ids = {FORWARD: self.plan.loop, BACKWARD: self.plan.back}[function]
        self.rows: dict[str, Rows] = {}
        self._row_of: dict[str, str] = {}
        self.places: dict[str, Value | Place] = {}
        self.prologue: list[Line] = []
        self.body: list[Line] = []
        if self.back:
            self._keep_carries()
        for v in self.demand.of_loop(self.ids):
            if self.layout.is_written(v):
                out = self.out(v)
                self.body += self.said(v, statements(self, v, out))
        if self.back:
            self._carry_on()
        else:
            for s, v in self.layout.copies:             # what a state becomes without being computed: another state, say
                name = self.words.of(s)
                row = self._row(name, f"{name}[1:]", name)
                self.places[row] = Place(name, s.shape, s.dtype, "t + 1")
                self.body.append(assign(row, self.row(v, s.dtype)))

    def text(self) -> list[str]:
        return page(self.prologue) + ([*self._head(), *indented(page(self.body))] if self.body else [])

    def _head(self) -> list[str]:
        lists = [self.room.rows(r.array, r.expression, r.label, self.back) for r in self.rows.values()]
        if len(lists) < 2:
            return [f"for {row} in {rows}:" for row, rows in zip(self.rows, lists)] or ["for _ in range(T):"]
        head = f"for {', '.join(self.rows)} in zip({', '.join(lists)}):"
        return [head] if len(head) <= WIDTH else [*listed("for (", self.rows, ") in zip("), *listed("        ", lists, "):")]

    # ---- what is carried back ---------------------------------------------------------------------------------------------
    def _keep_carries(self) -> None:
        for s, old in zip(self.layout.states, self.layout.carries):
            if old is not None and old.id in self.demand.carries:
                d = self.words.carry(s)
                self.arrays.carries[old.id] = every = self.words.unique(f"{d}_all")
                self.room.buffer(every, old)
                row = self._row(every, every, d)
                self.places[row] = Place(every, s.shape, s.dtype, "t")
                self.body.append(assign(row, d))

    def _carry_on(self) -> None:
        """The carried gradients before the loop, and what they become at the end of each step."""
        late, zeros = [], []
        for s, v, old in zip(self.layout.states, self.plan.of_state, self.layout.carries):
            if v is None and old is None:               # no gradient comes by this state
                continue
            d = self.words.carry(s)
            self._place(d, s)
            self.prologue.append(assign(d, self.words.last(s)))
            if v is None:
                zeros.append(assign(d, "0"))
            elif v.id not in self.layout.in_place:
                late.append((d, s, v))
        carried = [self.row(v, s.dtype) for _, s, v in late]
        if len(late) > 1 and any(v.kind == "carry" or v.is_view for _, _, v in late):       # they may trade places
            new = [self._place(self.words.unique(f"{d}_new"), s) for d, s, _ in late]
            self.body += [assign(place, text) for place, text in zip(new, carried)]
            self.body += [assign(d, place) for (d, _, _), place in zip(late, new)]
        else:
            self.body += [assign(d, text) for (d, _, _), text in zip(late, carried)]
        self.body += zeros

    def _place(self, name: str, s: Value) -> str:
        """A buffer for the gradient of a state."""
        self.places[name] = Place(name, s.shape, s.dtype)
        return self.room.buffer(name, s, steps=None)

    # ---- operands and places --------------------------------------------------------------------------------------------------
    def operand(self, i: Value, v: Value) -> str:
        return self.row(i, v.dtype)

    def row(self, v: Value, dtype: Any = None) -> str:
        """The expression for v in one step; a number as an array of ``dtype``."""
        text = self._expression(v, dtype)
        self.places[text] = v
        return text

    def _expression(self, v: Value, dtype: Any) -> str:
        if v.kind == "number":
            return self.arrays.constant(v, dtype or v.dtype)
        if not v.depends:
            return self.words.of(v)
        if v.kind == "carry":
            return self.words.carry(self.layout.states[v.position])
        if v.kind == "state":
            return self._row_in(v, "prev")
        if not self.is_overwritten(v):
            return self._row_in(v)
        if v.id in self.layout.piece:                   # a part of a buffer has a name of its own
            whole, s = self.layout.piece[v.id]
            return self.room.view(self.words.of(v), f"{self.out(whole)}[..., {sliced(s)}]")
        if v.is_view:
            return self.room.view(self.words.of(v), self.arrays.view(v, self.row(v.inputs[0])))
        return self.words.of(v)

    def apart(self, v: Value, size: int, out: str) -> str:
        if out in self.rows:
            array, expression, _ = self.rows[out]
            return self._row(array, f"{expression}.{apart(v.shape, size, over_time=True)}", f"{out}_blocks")
        return self.room.view(f"{out}_blocks", f"{out}.{apart(v.shape, size)}")

    def is_overwritten(self, v: Value) -> bool:
        """Whether v is in a buffer that every step overwrites."""
        if v.id in self.ids and v.is_view:
            return self.is_overwritten(v.inputs[0])
        return v.kind == "carry" or v.id in self.ids and v.id not in self.demand.stored

    def _row_in(self, v: Value, which: str = "t") -> str:
        return self._row(self.arrays.name(v), self.arrays.whole(v), self.words.of(v), which)

    def _row(self, array: str, expression: str, base: str, which: str = "t") -> str:
        """The name of this step's row of ``expression``, which is (part of) ``array``."""
        if expression not in self._row_of:
            self._row_of[expression] = name = self.words.unique(f"{base}_{which}", self.rows)
            label = {f"{array}[:-1]": f"{array}_before", f"{array}[1:]": f"{array}_after"}.get(expression, base)
            self.rows[name] = Rows(array, expression, label)
            self.room.use(array)
        return self._row_of[expression]

    def out(self, v: Value) -> str:
        """Where a value of the loop is written; the buffer is there now, if it was not."""
        if v.id not in self.layout.in_place and v.id not in self.layout.slot:
            whole = v
            while whole.id in self.layout.piece:
                whole, _ = self.layout.piece[whole.id]
            self.room.buffer(self.words.of(whole), whole, steps="T" if whole.id in self.demand.stored else None, fill=whole.op is ASSEMBLE)
        return self.row(v)
