"""Reading a recorded graph for a picture: which steps are shown, what belongs to a step (steps.py), what comes before and after
(around.py), and which part each mark plays.

The result is a `Story`.  Only the steps that are shown are looked at closely, so a hundred thousand folded steps cost
one light pass.
"""

from __future__ import annotations

from typing import Any, Callable

from . import marks as marking
from . import text
from .around import Around, flat
from .marks import Mark
from .story import Column, Parameter, Story

LARGEST = 400  # marks of a graph without time; earlier ones are summed up in one mark


class Reader(Around):
    """Builds the story; one instance per picture."""

    # --- the story --------------------------------------------------------------------------------------------------

    def read(self) -> Story:
        """Everything the layout needs."""
        if not self.loops:
            return self._timeless()
        self.find_chains()
        shown = set(self.shown)
        looked_at = shown | {s + 1 for s in shown} | {s - 1 for s in shown}  # a state is what the next step uses
        buckets: dict[tuple[Any, int], list[int]] = {}
        outside: list[int] = []
        for number, node in enumerate(self.nodes):
            if number in self.chained:
                continue
            if self.chains and any(i in self.chains or i in self.ended for i in node.inputs):
                self.ended.add(number)
                outside.append(number)
            elif node.step and node.step in looked_at:
                buckets.setdefault((node.loop, node.step), []).append(number)
            elif not node.step:
                outside.append(number)
        self.find_cuts(buckets)
        self._directions(buckets)
        initial_ids = self._initial(buckets)
        self.starts = {number for number, _ in initial_ids}
        post = self._post(outside, buckets)
        keep = frozenset(self.outputs)
        columns = {place: self._column(place, buckets[place], initial_ids, keep) for place in sorted(
            buckets, key=lambda p: (self.loops.index(p[0]), p[1]))}
        states, names, initial = self._states(columns)
        columns = {place: column for place, column in columns.items() if place[1] in shown}
        story = Story(self.graph, self.loops, self.length, self.forward, self.shown, columns, states, names, initial)
        self._after(story, post)
        self._before(story)
        story.parameters = self._parameters(story)
        self._roles(story)
        return story

    def _parameters(self, story: Story) -> list[Parameter]:
        """Every parameter once, in the order of first use."""
        found: dict[int, Parameter] = {}
        initial = {n for slots in story.initial.values() for n in slots.values()}
        for number, node in enumerate(self.nodes):
            if node.kind == "parameter" and not (number in initial and self.uses[number] <= 2):
                words = text.name_label(node.name) if node.name else text.label("θ")
                shape = marking.shape_text(node.value.shape)
                found[number] = Parameter(words, node.value.shape, self.uses[number], number,
                                          f"{text.plain(node.name or 'parameter')}  shape {shape}")
        order = sorted(found, key=self._first_use(found))
        return [found[number] for number in order]

    def _first_use(self, found: dict[int, Parameter]) -> Callable[[int], Any]:
        first: dict[int, int] = {}
        for number, node in enumerate(self.nodes):
            for operand in node.inputs:
                if operand in found:
                    first.setdefault(operand, number)
            if len(first) == len(found):
                break
        return lambda number: (first.get(number, 0), number)

    def _roles(self, story: Story) -> None:
        """States, predictions and losses."""
        railed = {(rail.loop, node): rail for rail in story.rails for terms in rail.terms.values()
                  for node in terms}
        stacked = {n for (_, n), rail in railed.items() if not rail.adds}
        for (loop, step), column in story.columns.items():
            keys = flat(story.states[loop])
            named = story.state_names[loop]
            names = {key: named.get(slot) for slot, some in story.states[loop].items() for key in some}
            for mark in column.marks:
                if mark.key in keys and mark.op != "elsewhere":
                    mark.role, mark.circle = "state", True
                    if not mark.name:
                        # A state without a variable (one kept by a mask) is called like the initial state.
                        name = names[mark.key] or "s"
                        mark.name = name + "′" if name in {other.name for other in column.marks} else name
                rail = railed.get((loop, mark.nodes[-1]))
                if rail and rail.adds and mark.role == "op" and self.nodes[mark.nodes[-1]].value.size == 1:
                    mark.role = "loss"
            self._predictions(column.marks, stacked)
        self._predictions(story.after, set())
        for mark in [mark for column in story.columns.values() for mark in column.marks] + story.after:
            if mark.role == "op" and mark.nodes[-1] in self.outputs:
                mark.role = "loss" if self.nodes[mark.nodes[-1]].value.size == 1 else "prediction"
            if mark.role == "loss" and mark.nodes[-1] in self.outputs:
                mark.role = "total"

    def _predictions(self, marks: list[Mark], gathered: set[int]) -> None:
        fed = {n for mark in marks if marking.is_loss(mark.op) for kind, n in mark.sources[:1] if kind == "mark"}
        for index, mark in enumerate(marks):
            last = mark.nodes[-1] if mark.nodes else None
            result = last in self.outputs and self.nodes[last].value.size > 1
            if mark.role == "op" and mark.name and (
                    mark.name.endswith("hat") or index in fed or last in gathered or result):
                mark.role, mark.circle = "prediction", True

    # --- graphs without time ----------------------------------------------------------------------------------------

    def _timeless(self) -> Story:
        """Everything is one block; a parameter is written into a product or a sum, else drawn as a leaf."""
        column = Column(None, 0)
        first = max(0, len(self.nodes) - LARGEST)
        ids = [n for n in range(first, len(self.nodes)) if not marking.is_constant(self.nodes[n])]

        def inline(number: int, position: int, operand: int) -> bool:
            node, leaf = self.nodes[number], self.nodes[operand]
            others = [self.nodes[i] for p, i in enumerate(node.inputs) if p != position]
            if leaf.kind != "parameter" or leaf.value.ndim == 0 or not any(
                    o.kind != "parameter" and not marking.is_constant(o) for o in others):
                return False
            return marking.op_name(node) == "matmul" or (
                marking.op_name(node) == "add" and all(o.value.size > leaf.value.size for o in others))

        drawn: set[int] = set(self.outputs)
        for number in ids:
            for position, operand in enumerate(self.nodes[number].inputs):
                if not inline(number, position, operand):
                    drawn.add(operand)
        ids = [n for n in ids if n in drawn or self.nodes[n].kind != "parameter"]
        local = set(ids)

        def refer(number: int, position: int, operand: int) -> Any:
            node = self.nodes[operand]
            if marking.is_constant(node):
                return marking.constant_label(node)
            if node.kind == "parameter" and inline(number, position, operand):
                return text.name_label(node.name) if node.name else text.label("θ")
            return ("mark", operand) if operand in local else ("outer", 0)

        column.marks, column.where = marking.build(self.graph, ids, refer, self.uses, self.keys,
                                                   frozenset(self.outputs))
        if first:
            column.marks.append(Mark(-1, "elsewhere", text.label(f"… {first:,} earlier nodes"), None, (), boxed=True,
                                     op="elsewhere"))
        for mark in column.marks:
            mark.sources = [("mark", len(column.marks) - 1) if kind == "outer" else (kind, n)
                            for kind, n in mark.sources]
            if mark.role == "op" and mark.nodes and mark.nodes[-1] in self.outputs:
                mark.role = "total" if self.nodes[mark.nodes[-1]].value.size == 1 else "prediction"
                mark.circle = bool(mark.name) and mark.role == "prediction"
        self._predictions(column.marks, set())
        story = Story(self.graph, [], {}, {}, [], {(None, 0): column}, {}, {}, {}, earlier=first)
        story.parameters = self._parameters(story)
        shown = {n for mark in column.marks for n in mark.nodes}
        story.parameters = [p for p in story.parameters if p.node not in shown]
        return story
