"""From the plan to a program: NumPy source that a person can read, from top to bottom.

What must be there is demand.py's, where it lives layout.py's; how one op is written is statements.py's.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .arrays import Arrays
from .demand import BACKWARD, FORWARD, Demand
from .formula import Formulas
from .fused import HEAD as FUSED
from .fused import Fused
from .layout import Layout
from .lines import WIDTH, Line, indented, listed, page, parts
from .loop import Loop
from .plan import Plan
from .room import Room
from .share import share
from .steps import AllSteps, Once
from .totals import total
from .value import CARRY, STATE
from .words import Words

HEAD = '''"""{title}, T steps at a time: written by minigrad from one step of the cell and the gradient rules of its ops.

    forward, backward = bptt(T)

An array has all T steps, [t] is one of them; d… is the gradient of the loss with respect to …; what has no name in the cell
is v and a number.
"""'''
ALIGNED = '''def aligned(shape, dtype, new=empty):
    """A new array that begins where a line of the cache does: no vector of its numbers is in two of them."""
    size = empty(shape, dtype).size
    numbers = new(size + 64, dtype)
    start = -numbers.__array_interface__["data"][0] % 64 // numbers.itemsize
    return numbers[start:start + size].reshape(shape)'''
ROWS = '''def rows(a):
    """The steps of an array, as views."""
    return [a[t, ...] for t in range(len(a))]'''

BEFORE, AFTER = "before the loop: all steps at once", "after the loop: all steps at once"
TOTALS = "gradients of the parameters: one sum over time each"


class Writer:
    """Writes the program of a plan: ``source``. ``fused``: its loops are functions for Numba."""

    def __init__(self, plan: Plan, title: str = "step", fused: bool = False) -> None:
        self.plan, self.title = plan, title
        self.fused: list[Any] | None = [] if fused else None
        self.demand = Demand(plan)
        self.layout = Layout(plan, self.demand)
        self.words = Words(plan, self.layout)
        self.room = Room(self.words)
        self.arrays = Arrays(self.words, self.layout, self.room)
        self.formulas = Formulas(self.words, self.demand, self.layout)
        self.source = self.write()

    def write(self) -> str:
        forward = self._forward()
        backward = self._backward() if self.plan.wants_gradient else []
        saves = ["saved = {}"] if any("saved[" in line for line in forward + backward) else []
        body = parts(("constants", self.words.constants()), *self.room.lines(), ("what rules want of values", saves), ("", forward),
                     ("", backward), ("", [f"return forward, {'backward' if backward else None}"]))
        sources = self.words.sources
        imports = ["import numpy as np"] if sources.parts else []
        numba, functions = self._numba()
        if any("np." in line for text in functions for line in text):
            imports = ["import numpy as np"]
        blocks = [[*HEAD.format(title=self.title).splitlines(), *imports, *numba, *self._numpy()], sources.text().splitlines(),
                  ALIGNED.splitlines() if any("aligned(" in line for line in body) else [],
                  ROWS.splitlines() if any("rows(" in line for line in body) else [], *functions, ["def bptt(T):", *indented(body)]]
        return "\n\n\n".join("\n".join(block) for block in blocks if block) + "\n"

    def _numpy(self) -> list[str]:
        names = sorted(self.words.imports)
        line = f"from numpy import {', '.join(names)}"
        return [line] if len(line) <= WIDTH else listed("from numpy import (", names, ")")

    def _numba(self) -> tuple[list[str], list[list[str]]]:
        """What programs for Numba have at their top: imports, and the functions."""
        if not self.fused:
            return [], []
        helpers = {kind: text for loop in self.fused for kind, text in loop.helpers.items()}
        names = sorted({"njit"}.union(*(loop.imports for loop in self.fused)))
        return [f"from numba import {', '.join(names)}"], [
            [FUSED], *(text.splitlines() for text in helpers.values()), *(loop.definition for loop in self.fused)]

    def _text(self, loop: Loop) -> list[str]:
        """A loop as it stands in its function; for Numba that is a call of one of its own."""
        if self.fused is None or not loop.body:
            return loop.text()
        self.fused.append(Fused(loop, self.words.unique(f"{'backward' if loop.back else 'forward'}_in_time")))
        return [*page(loop.prologue), *self.fused[-1].call()]

    def _forward(self) -> list[str]:
        self.room.part = FORWARD
        start = []
        for s in self.layout.states:
            self.room.buffer(self.words.of(s), s, steps="T + 1")
            start.append(Line(f"{self.words.of(s)}[0] = {self.words.of(s)}_0"))
        before = page([*self._once(FORWARD), *start, *self._all_steps(FORWARD, 0)])
        loop = self._text(Loop(self, FORWARD))
        after = page(self._all_steps(FORWARD, STATE))
        states = [f"{self.words.of(s)}_0" for s in self.layout.states]
        outputs = [*(self.arrays.every(v) for v in self.plan.y), *(f"{self.words.of(s)}[T]" for s in self.layout.states)]
        return _function(FORWARD, [*self._leaves("x"), *states, *self._leaves("invariant")], [
            (BEFORE, before), ("forward in time", loop), (AFTER, after)], outputs)

    def _backward(self) -> list[str]:
        self.room.part = "before"
        before = page([*self._once(BACKWARD), *self._all_steps(BACKWARD, 0)])
        self.room.part = "loop"
        loop = Loop(self, BACKWARD)
        self.room.part = "after"
        after = page(self._all_steps(BACKWARD, CARRY))
        of_x = [None if v is None else self.arrays.every(v) + ("" if v.id in self.layout.fresh else ".copy()") for v in self.plan.of_x]
        of_state = [None if v is None else f"{self.words.carry(s)}.copy()" for s, v in zip(self.layout.states, self.plan.of_state)]
        totals, of_invariants = self._totals()
        share(self.room, loop)
        text = self._text(loop)
        last = [self.words.last(s) for s in self.layout.states]
        return _function(BACKWARD, [*self._leaves("x"), *self._leaves("invariant"), *self._leaves("cotangent"), *last], [
            (BEFORE, before), ("backward in time", text), (AFTER, after), (TOTALS, totals)], [*of_x, *of_state, *of_invariants])

    def _leaves(self, kind: str) -> list[str]:
        return [self.words.of(v) for v in self.plan.of_kind(kind)]

    def _once(self, function: str) -> list[Line]:
        return Once(self).lines([v for v in self.demand.live if function in self.demand.once.get(v.id, ())])

    def _all_steps(self, function: str, late: int) -> list[Line]:
        """Before the loop, ``late`` is 0; behind it, STATE or CARRY: what the loop computes."""
        loop = STATE if function == FORWARD else CARRY
        return AllSteps(self).lines([v for v in self.demand.live if self.demand.batched.get(v.id) == function and v.depends & loop == late])

    def _totals(self) -> tuple[list[str], list[str | None]]:
        """The gradients of the parameters: lines, and their names."""
        lines, names = list[str](), list[str | None]()
        leaves = {v.position: v for v in self.plan.of_kind("invariant")}
        for n, v in zip(self.plan.tape.invariants, self.plan.of_invariants):
            if v is None:
                names.append(None)
                continue
            leaf = leaves.get(n.position)
            names.append(self.words.unique(f"d{self.words.of(leaf) if leaf else 'c'}"))
            lines.append(f"{names[-1]} = {total(v, self.arrays.every, self.room)}")
        return lines, names


def _function(name: str, arguments: Sequence[str], groups: Sequence[tuple[str, Sequence[str]]], results: Sequence[Any]) -> list[str]:
    body = parts(*groups)
    return [*listed(f"def {name}(", arguments, "):"), *indented([*body, *listed("return [", map(str, results), "]")])]
