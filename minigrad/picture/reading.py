"""Reading a recorded graph for a picture: which steps are shown, what belongs to a step, what comes before and after.

The result is a `Story`.  Only the steps that are shown are looked at closely, so a hundred thousand folded steps cost
one light pass.
"""

from __future__ import annotations

from typing import Any, Callable

from . import marks as marking
from . import text
from .marks import Mark
from .recorded import Recorded
from .story import Column, Parameter, Rail, Story

LARGEST = 400  # marks of a graph without time; earlier ones are summed up in one mark


class Reader(Recorded):
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
        self.ended: set[int] = set()   # what is computed from a finished sum over time comes after the loop
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

    def _post(self, outside: list[int], buckets: dict[tuple[Any, int], list[int]]) -> list[int]:
        """Nodes after the loops: what depends on a step but belongs to none; with the running sums' last nodes."""
        late = self.late = set()
        order: list[int] = []
        for number in sorted(outside + list(self.chains)):
            if number in self.chains:
                late.add(number)
                order.append(number)
                continue
            node = self.nodes[number]
            if node.op is None:
                continue
            sources = map(self.source, node.inputs)
            if number in self.ended or any(self.nodes[i].step or i in late for i in sources):
                late.add(number)
                if self.source(number) == number:
                    order.append(number)
        # A stack from which every value is drawn directly is not drawn itself.
        used: set[int] = set(self.outputs)
        for ids in buckets.values():
            used.update(self.source(self.nodes[n].inputs[0]) for n in ids
                        if self.source(n) == n and self._picks(self.nodes[n]))
        kept: list[int] = []
        for number in reversed(order):
            if number in used or number in self.chains:
                kept.append(number)
                operands = self.chains.get(number, self.nodes[number].inputs)
                used.update(self.source(i) for i in operands)
        return kept[::-1]

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

    def _after(self, story: Story, post: list[int]) -> None:
        """Marks after the loops, and the rails that lead to them."""
        local = set(post)
        numbers: dict[tuple[Any, int], int] = {}
        gathered: dict[int, list[int]] = {}
        last = {loop: story.columns.get((loop, self.end(loop))) for loop in self.loops}
        final = {loop: {mark.nodes[-1] for mark in (last[loop].marks if last[loop] else [])  # type: ignore[union-attr]
                        if mark.key in _flat(story.states[loop])} for loop in self.loops}

        def refer(number: int, position: int, operand: int) -> Any:
            target = self.source(operand)
            node = self.nodes[target]
            if target in local:
                return ("mark", target)
            if node.op is not None and self.fixed(target):
                return marking.formula(self.graph, node)
            if node.step:
                if target in final.get(node.loop, ()) and len(self.nodes[number].inputs) < 4 \
                        and marking.op_name(self.nodes[number]) != "stack":
                    return ("step", numbers.setdefault((node.loop, target), len(numbers)))
                gathered.setdefault(number, []).append(target)
                return ("rail", number)
            if marking.is_constant(node):
                return marking.constant_label(node)
            if self.fixed(target):
                return marking.formula(self.graph, node)
            return ("outer", target)

        # The last node of a running sum stands for all of it: its terms are its operands.
        parts: list[int] = []
        for number in post:
            if number not in self.chains:
                for operand in self.nodes[number].inputs:
                    target = self.source(operand)
                    if target not in local and not self.nodes[target].step and not self.fixed(target) \
                            and not marking.is_constant(self.nodes[target]):
                        parts.append(target)
        sources = self._upstream(parts)
        local |= set(sources)
        chains = self.chains
        reader = self

        class View:
            """The graph with running sums as single nodes."""
            nodes = _Summed(reader.nodes, chains)

        story.after, story.after_where = marking.build(View, sorted(set(sources) | set(post)), refer, self.uses,
                                                       self.keys, frozenset(self.outputs) | frozenset(chains))
        for mark in story.after:
            mark.sources = list(dict.fromkeys(mark.sources))
            if mark.nodes[-1] in chains:
                mark.role, mark.op = "total" if mark.nodes[-1] in self.outputs else "loss", "total"
                term = next((self.nodes[t].name for t in chains[mark.nodes[-1]] if self.nodes[t].name), None)
                mark.words = text.join("Σ ", text.name_label(term)) if term else text.label("Σ")
                for words in list(dict.fromkeys(mark.sums))[:1]:   # a penalty on the weights, say
                    mark.words = text.join(mark.words, " + ", words)
        story.after_inputs = {n: place for place, n in numbers.items()}
        shown = set(story.shown)
        for number, targets in gathered.items():
            by_loop: dict[Any, dict[int, list[int]]] = {}
            counts: dict[Any, int] = {}
            for target in targets:
                node = self.nodes[target]
                counts[node.loop] = counts.get(node.loop, 0) + 1
                if node.step in shown:
                    terms = by_loop.setdefault(node.loop, {}).setdefault(node.step, [])
                    if target not in terms:
                        terms.append(target)
            for loop in self.loops:
                if loop in counts:
                    story.rails.append(Rail(loop, number, by_loop.get(loop, {}), number in chains, counts[loop]))

    def _upstream(self, starts: list[int]) -> list[int]:
        """These nodes and all that they are made of, without parameters and constants."""
        seen: set[int] = set()
        stack = list(starts)
        while stack:
            number = stack.pop()
            node = self.nodes[number]
            if number in seen or node.step or number in self.late or self.fixed(number) or marking.is_constant(node):
                continue
            seen.add(number)
            stack.extend(map(self.source, node.inputs))
        return sorted(seen)

    def _before(self, story: Story) -> None:
        """What the initial states (and values picked in every step) are computed from."""
        starts = []
        for slots in story.initial.values():
            starts += [number for number in slots.values() if self.nodes[number].op is not None]
        for column in story.columns.values():
            for mark in column.marks:
                if mark.role == "input" and mark.nodes and self.nodes[mark.nodes[-1]].op is not None:
                    source = self.source(self.nodes[mark.nodes[-1]].inputs[0])
                    if self.nodes[source].op is not None and source not in self.late:
                        starts.append(source)
                        story.picked.setdefault((column.loop, source), {})[column.step] = mark.nodes[-1]
            starts += [n for n in column.elsewhere if self.nodes[n].op is not None and not self.nodes[n].step]
        needed = [n for n in self._upstream(starts)]
        local = set(needed)

        def refer(number: int, position: int, operand: int) -> Any:
            target = self.source(operand)
            node = self.nodes[target]
            if target in local:
                return ("mark", target)
            return marking.constant_label(node) if marking.is_constant(node) else marking.formula(self.graph, node)

        keep = frozenset(starts)
        story.before, story.before_where = marking.build(self.graph, needed, refer, self.uses, self.keys, keep)

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
            keys = _flat(story.states[loop])
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


def _flat(states: dict[int, list[int]]) -> set[int]:
    return {key for keys in states.values() for key in keys}


class _Summed:
    """`nodes` in which the last node of a running sum has the terms as operands."""

    def __init__(self, nodes: Any, chains: dict[int, list[int]]) -> None:
        self._nodes, self._chains = nodes, chains

    def __getitem__(self, number: int) -> Any:
        node = self._nodes[number]
        return _Sum(node, tuple(self._chains[number])) if number in self._chains else node


class _Sum:
    """A running sum as one node."""

    def __init__(self, node: Any, terms: tuple[int, ...]) -> None:
        self.op, self.kind, self.name, self.value = node.op, node.kind, node.name, node.value
        self.attributes, self.inputs, self.id = node.attributes, terms, node.id
