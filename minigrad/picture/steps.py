"""What belongs to a time step: its marks, what it reads from the step before and from elsewhere, and which marks are the state."""

from __future__ import annotations

from typing import Any

from . import marks as marking
from . import text
from .marks import Mark
from .recorded import Recorded
from .story import Column


class Steps(Recorded):
    """A recorded graph whose steps can be read as columns."""

    def _initial(self, buckets: dict[tuple[Any, int], list[int]]) -> set[tuple[int, int]]:
        """(node, operand position) pairs of the first step that read the initial state."""
        found: set[tuple[int, int]] = set()
        for loop in self.loops:
            begin = self.begin(loop)
            first, second = buckets.get((loop, begin), []), buckets.get((loop, begin + self.forward[loop]), [])
            for number in first:
                for position, operand in enumerate(self.nodes[number].inputs):
                    if self.nodes[operand].step == 0:
                        found.add((number, position))
            # Where the second step reads the first, the first reads the initial state.
            for a, b in zip(first, second):
                if marking.op_name(self.nodes[a]) != marking.op_name(self.nodes[b]):
                    break
                for position, (i, j) in enumerate(zip(self.nodes[a].inputs, self.nodes[b].inputs)):
                    later = self.nodes[self.source(j)]
                    here = self.nodes[self.source(i)]
                    if later.step == begin and later.loop == loop and not (here.step and here.loop == loop):
                        found.add((a, position))
        return found

    def _column(self, place: tuple[Any, int], ids: list[int], initial: set[tuple[int, int]],
                keep: frozenset[int]) -> Column:
        loop, step = place
        column = Column(loop, step)
        inside: list[int] = []
        picked: dict[int, int] = {}     # a getitem of something outside time -> drawn as an input
        for number in ids:
            node = self.nodes[number]
            source = self.source(number)
            if source != number:
                continue
            if node.op is not None and self.fixed(number):
                continue
            if self._picks(node):
                picked[number] = node.inputs[0]
            inside.append(number)
        local = set(inside)
        slots: dict[int, int] = {}
        outer: dict[int, int] = {}

        def refer(number: int, position: int, operand: int) -> Any:
            target = self.source(operand)
            node = self.nodes[target]
            if number in picked:
                return text.label("")
            if target in local:
                return ("mark", target)
            past = (number, position) in initial or (
                bool(node.step) and node.step == step - self.forward[loop] and node.loop == loop)
            if past:
                return ("past", slots.setdefault(target, len(slots)))
            if marking.is_constant(node):
                return marking.constant_label(node)
            if self.fixed(target):
                return marking.formula(self.graph, node)
            return ("outer", outer.setdefault(target, len(outer)))

        column.marks, column.where = marking.build(self.graph, inside, refer, self.uses, self.keys, keep)
        column.pasts = list(slots)
        column.cuts = {self.cuts[i] for n in inside for i in self.nodes[n].inputs if i in self.cuts}
        for mark in column.marks:
            if mark.nodes[-1] in picked:
                from_ = self.nodes[picked[mark.nodes[-1]]]
                name = mark.name or from_.name
                mark.name, mark.role, mark.circle, mark.boxed, mark.sources = name, "input", True, False, []
                mark.words = text.name_label(name) if name else text.label("x")
                if from_.op is not None and self.later(from_.id):   # computed from another loop
                    mark.name, mark.role, mark.words = from_.name or name, "elsewhere", text.name_label(
                        from_.name or name or "x")
        named = {mark.name for mark in column.marks}
        for mark in column.marks:
            if mark.role == "input" and mark.name is None and "x" in named:
                mark.words = text.label("c")   # a constant that was computed, beside the author's x
        # What comes from elsewhere stands at the foot of the column under its own name.
        for target, count in outer.items():
            column.elsewhere[target] = len(column.marks)
            node = self.nodes[target]
            key = self.keys.of(("elsewhere", count), {})
            name = node.name or ("c" if node.step is None else "s")
            role = "input" if node.op is None and node.step != 0 else "elsewhere"
            own = role == "input" and self.uses[target] == 1   # a target, say: every step has one of its own
            column.marks.append(Mark(key, role, text.name_label(name, node.step), name if own else node.name,
                                     (target,), circle=True, boxed=False, op="" if own else "elsewhere"))
        for mark in column.marks:
            mark.sources = [("mark", column.elsewhere[list(outer)[n]]) if kind == "outer" else (kind, n)
                            for kind, n in mark.sources]
        return column

    def _picks(self, node: Any) -> bool:
        """Whether the node takes this step's part out of a whole sequence: an input."""
        if marking.op_name(node) != "getitem":
            return False
        sequence = self.nodes[self.source(node.inputs[0])]
        if sequence.step is not None:                    # a value of a step, or a part of the initial state
            return False
        if not self.fixed(sequence.id):
            return True
        index = marking.index_of(node)
        items = index if isinstance(index, tuple) else (index,)
        return sequence.op is None and any(isinstance(i, int) for i in items)

    def later(self, number: int) -> bool:
        """Whether a node outside time depends on a step."""
        return number in self.late

    def _states(self, columns: dict[tuple[Any, int], Column]) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
        """Per loop and slot: the keys of the marks that are the state, its name, and the initial value."""
        states: dict[Any, dict[int, list[int]]] = {loop: {} for loop in self.loops}
        names: dict[Any, dict[int, str]] = {loop: {} for loop in self.loops}
        initial: dict[Any, dict[int, int]] = {loop: {} for loop in self.loops}
        for (loop, step), column in columns.items():
            before = columns.get((loop, step - self.forward[loop]))
            for slot, target in enumerate(column.pasts):
                if step == self.begin(loop):
                    initial[loop][slot] = target
                    if self.nodes[target].step == 0 and self.nodes[target].name:
                        names[loop].setdefault(slot, self.nodes[target].name.removesuffix("_0"))
                elif before is not None and target in before.where:
                    mark = before.marks[before.where[target]]
                    keys = states[loop].setdefault(slot, [])
                    if mark.key not in keys:
                        keys.append(mark.key)
                    if mark.name:
                        names[loop][slot] = mark.name
        return states, names, initial
