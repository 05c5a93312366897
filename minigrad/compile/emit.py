"""From the plan to a program: NumPy source that a person can read, from top to bottom.

What must be there is demand.py's, where it lives layout.py's; how one op is written is statements.py's.
"""
from .arrays import Arrays
from .demand import BACKWARD, FORWARD, Demand
from .formula import Formulas
from .layout import Layout
from .lines import Line
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

An array has all T steps, [t] is one of them; d… is the gradient of the loss with respect to …
"""'''
ROWS = '''def rows(a):
    """The steps of an array, as views."""
    return [a[t, ...] for t in range(len(a))]'''


class Writer:
    """Writes the program of a plan: ``source``."""

    def __init__(self, plan: Plan, title="step"):
        self.plan, self.title = plan, title
        self.demand = Demand(plan)
        self.layout = Layout(plan, self.demand)
        self.words = Words(plan, self.layout)
        self.room = Room(self.words)
        self.arrays = Arrays(self.words, self.layout, self.room)
        self.formulas = Formulas(self.words, self.demand, self.layout)
        self.source = self.write()

    def write(self):
        forward = self._forward()
        backward = self._backward() if self.plan.wants_gradient else []
        saves = any("saved[" in line for line in forward + backward)
        inner = [*forward, *([""] if backward else []), *backward, "", f"return forward, {'backward' if backward else None}"]
        room = [line for _, group in self.room.lines() for line in group]
        setup = [*self.words.constants(), *room, *(["saved = {}"] if saves else []), ""]
        sources = self.words.sources
        helpers = sources.text()
        return "\n".join([
            HEAD.format(title=self.title), *(["import numpy as np"] if sources.parts else []),
            f"from numpy import {', '.join(sorted(self.words.imports))}", "", "", *([helpers, "", ""] if helpers else []), ROWS, "", "",
            "def bptt(T):", *_indented(setup + inner)]) + "\n"

    def _forward(self):
        self.room.part = FORWARD
        start = []
        for s in self.layout.states:
            self.room.buffer(self.words.of(s), s, steps="T + 1")
            start.append(Line(f"{self.words.of(s)}[0] = {self.words.of(s)}_0"))
        once = self._once(FORWARD)
        lines = [*once, *start, *self._all_steps(FORWARD, 0), *Loop(self, FORWARD).lines(), *self._all_steps(FORWARD, STATE)]
        outputs = [*(self.arrays.every(v) for v in self.plan.y), *(f"{self.words.of(s)}[T]" for s in self.layout.states)]
        states = [f"{self.words.of(s)}_0" for s in self.layout.states]
        return _function(FORWARD, [*self._leaves("x"), *states, *self._leaves("invariant")], lines, outputs)

    def _backward(self):
        self.room.part = "before"
        lines = [*self._once(BACKWARD), *self._all_steps(BACKWARD, 0)]
        self.room.part = "loop"
        loop = Loop(self, BACKWARD)
        lines += loop.lines()
        self.room.part = "after"
        lines += self._all_steps(BACKWARD, CARRY)
        of_x = [None if v is None else self.arrays.every(v) + ("" if v.id in self.layout.fresh else ".copy()") for v in self.plan.of_x]
        of_state = [None if v is None else f"{self.words.carry(s)}.copy()" for s, v in zip(self.layout.states, self.plan.of_state)]
        totals, of_invariants = self._totals()
        last = [self.words.last(s) for s in self.layout.states]
        function = _function(BACKWARD, [*self._leaves("x"), *self._leaves("invariant"), *self._leaves("cotangent"), *last],
                             lines + totals, [*of_x, *of_state, *of_invariants])
        share(self.room, loop)
        return function

    def _leaves(self, kind):
        return [self.words.of(v) for v in self.plan.of_kind(kind)]

    def _once(self, function):
        return Once(self).lines([v for v in self.demand.live if function in self.demand.once.get(v.id, ())])

    def _all_steps(self, function, late):
        """Before the loop, ``late`` is 0; behind it, STATE or CARRY: what the loop computes."""
        loop = STATE if function == FORWARD else CARRY
        return AllSteps(self).lines([v for v in self.demand.live if self.demand.batched.get(v.id) == function and v.depends & loop == late])

    def _totals(self):
        """The gradients of the parameters: lines, and their names."""
        lines, names = [], []
        leaves = {v.position: v for v in self.plan.of_kind("invariant")}
        for n, v in zip(self.plan.tape.invariants, self.plan.of_invariants):
            if v is None:
                names.append(None)
                continue
            leaf = leaves.get(n.position)
            names.append(self.words.unique(f"d{self.words.of(leaf) if leaf else 'c'}"))
            lines.append(Line(f"{names[-1]} = {total(v, self.arrays.every, self.words.numpy)}"))
        return lines, names


def _function(name, arguments, lines, results):
    return [f"def {name}({', '.join(arguments)}):", *_indented(map(str, lines)), f"    return [{', '.join(map(str, results))}]"]


def _indented(lines):
    return ["    " + line if line else "" for line in lines]
