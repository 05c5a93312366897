"""What comes before and after the steps: initial values, losses, sums over time, and the rails that lead to them."""

from __future__ import annotations

from typing import Any

from . import marks as marking
from . import text
from .steps import Steps
from .story import Rail, Story


class Around(Steps):
    """A recorded graph that can be read outside of its steps too."""

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

    def _after(self, story: Story, post: list[int]) -> None:
        """Marks after the loops, and the rails that lead to them."""
        local = set(post)
        numbers: dict[tuple[Any, int], int] = {}
        gathered: dict[int, list[int]] = {}
        last = {loop: story.columns.get((loop, self.end(loop))) for loop in self.loops}
        final = {loop: {mark.nodes[-1] for mark in (last[loop].marks if last[loop] else [])  # type: ignore[union-attr]
                        if mark.key in flat(story.states[loop])} for loop in self.loops}

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


def flat(states: dict[int, list[int]]) -> set[int]:
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
