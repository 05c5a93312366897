"""Which values must be there for all steps, and which function computes them: pure analysis, nothing is written here.

A value of a loop is there for one step only, unless something outside of the loop reads it: then it is stored. Everything
else is computed where it is first needed: in ``forward``, or in ``backward`` if only the gradients need it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from .totals import total
from .value import Value

if TYPE_CHECKING:
    from .plan import Plan

FORWARD, BACKWARD = "forward", "backward"


class Demand:
    """What the outputs of a plan need.

    live      the values that an output needs, in order
    uses      id -> how many read it; outputs count twice, for they must stay what they are
    once      id -> the functions that need a value of parameters alone; each computes it for itself
    batched   id -> the function that computes a value for all steps at once
    stored    ids of values of a loop that are kept for every step
    kept      ids of what ``forward`` computes for all steps and ``backward`` reads
    carries   ids of carried cotangents that are kept for every step
    summed    ids of what is read over all steps by the sums that are parameters' gradients
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.once: dict[int, set[str]] = {}
        self.batched: dict[int, str] = {}
        self.stored, self.kept, self.carries, self.summed = set[int](), set[int](), set[int](), set[int]()
        self._count()
        loops = {FORWARD: plan.loop, BACKWARD: plan.back}
        outputs = {FORWARD: [*(v for v in plan.new if v.id not in plan.loop), *plan.y],
                   BACKWARD: [v for v in (*(v for v in plan.of_state if v is None or v.id not in plan.back), *plan.of_x) if v is not None]}
        for self._function in (FORWARD, BACKWARD):
            loop = loops[self._function]
            for v in self.of_loop(loop):
                for i in v.inputs:
                    if i.id not in loop and i.kind != "carry":
                        self._need(i)
            for v in outputs[self._function]:
                self._need(v)
        for gradient in plan.of_invariants:
            if gradient is not None:
                total(gradient, self._sum)

    def _count(self) -> None:
        stack, seen = self.plan.roots, set()
        self.uses: dict[int, int] = {}
        for v in stack:
            self.uses[v.id] = self.uses.get(v.id, 0) + 2
        while stack:
            v = stack.pop()
            if v.id not in seen:
                seen.add(v.id)
                for i in v.inputs:
                    self.uses[i.id] = self.uses.get(i.id, 0) + 1
                    stack.append(i)
        self.live = [v for v in self.plan.values if v.id in seen]

    def of_loop(self, ids: set[int]) -> list[Value]:
        """The values of a loop that are needed, in order."""
        return [v for v in self.live if v.id in ids]

    def _need(self, root: Value) -> None:
        """root must be there for all steps at once (once, if it depends on parameters only)."""
        stack = [root]
        while stack:
            v = stack.pop()
            if v.op is None:
                if v.kind == "carry":
                    self.carries.add(v.id)
            elif not v.depends:
                functions = self.once.setdefault(v.id, set())
                if self._function not in functions:
                    functions.add(self._function)
                    stack.extend(v.inputs)
            elif v.id in self.plan.loop or v.id in self.plan.back:
                if v.is_view:
                    stack.append(v.inputs[0])
                self.stored.add(v.id)
            elif v.id not in self.batched:
                self.batched[v.id] = self._function
                stack.extend(v.inputs)
            elif self._function == BACKWARD and self.batched[v.id] == FORWARD:
                self.kept.add(v.id)
                if v.is_view:                           # a look at what is kept
                    stack.append(v.inputs[0])

    def _sum(self, v: Value) -> None:
        self.summed.add(v.id)
        self._need(v)

    def has_array(self, v: Value) -> bool:
        """Whether there is an array with all steps of v."""
        return v.id in self.stored or v.id in self.batched
