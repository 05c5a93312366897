"""Facts about a recorded graph that a picture rests on: which steps are shown, what is made of parameters alone, which
adds are a running sum over time, which way a loop walks."""

from __future__ import annotations

from typing import Any

from . import marks as marking


class Recorded:
    """A recorded graph and what can be said of its nodes."""

    def __init__(self, graph: Any, steps: int, only: int | None = None) -> None:
        self.graph, self.nodes = graph, graph.nodes
        self.outputs = set(graph.outputs)
        self.uses = [0] * len(graph.nodes)
        self.length: dict[Any, int] = {}
        for node in self.nodes:
            for operand in node.inputs:
                self.uses[operand] += 1
            if node.step:
                self.length[node.loop] = max(self.length.get(node.loop, 0), node.step)
        self.forward: dict[Any, int] = {}      # loop -> +1, or -1 for one that walks from the last step to the first
        self.loops = sorted(self.length, key=lambda loop: (loop is not None, loop))
        total = max(self.length.values(), default=0)
        if only and only <= total:
            self.shown = [only]
        elif total <= steps:
            self.shown = list(range(1, total + 1))
        else:
            # A gap that hides a single step would not be shorter than the step.
            ends = max(1, min(3, steps // 4))
            self.shown = list(range(1, ends + 1)) + list(range(total - ends + 1, total + 1))
        self.keys = marking.Keys()
        self.chained: dict[int, int] = {}      # node of a running sum -> its last node
        self.chains: dict[int, list[int]] = {}
        self.derived: dict[int, bool] = {}
        self.late: set[int] = set()            # nodes outside time that depend on a step
        self.ended: set[int] = set()           # what is computed from a finished sum over time: it comes after the loop
        self.starts: set[int] = set()          # nodes that read an initial state
        self.cuts: dict[int, int] = {}         # leaf -> the value that it is, without its history (mg.detach)

    # --- places -----------------------------------------------------------------------------------------------------

    def source(self, number: int) -> int:
        """The node itself, or the stacked value that it picks, or the value whose history it leaves behind."""
        node = self.nodes[number]
        if node.op is None:
            return self.cuts.get(number, number)
        return self.graph.through(number) if marking.op_name(node) == "getitem" else number

    def fixed(self, number: int) -> bool:
        """Whether the value is made of parameters and constants alone (and at least one parameter)."""
        known, place = self.derived, self.nodes[number].step
        stack = [number]
        while stack:
            current = stack[-1]
            if current in known:
                stack.pop()
                continue
            node = self.nodes[current]
            if node.op is None:
                known[current] = node.kind == "parameter"
            elif (current in self.starts or len(node.inputs) > 4 or node.step not in (None, place)
                    or any(known.get(i) is False and not marking.is_constant(self.nodes[i]) for i in node.inputs)):
                known[current] = False
            elif marking.op_name(node) in ("getitem", "take") and not marking.slices_only(node):
                known[current] = False  # looking up a row (an embedding) is an input, not a weight
            else:
                open_ = [i for i in node.inputs if i not in known]
                if open_:
                    # Leaves last, so that they are looked at first: one input settles the matter.
                    stack.extend(sorted(open_, key=lambda i: self.nodes[i].op is None))
                    continue
                known[current] = any(known[i] for i in node.inputs)
        return known[number]

    # --- cuts -------------------------------------------------------------------------------------------------------

    def find_cuts(self, buckets: dict[tuple[Any, int], list[int]]) -> None:
        """Truncated back-propagation: a leaf that is, to the last bit, a value of the step (or loop) before it."""
        for node in self.nodes:
            if node.op is not None or node.kind != "input" or node.step is None or node.value.dtype.kind != "f":
                continue
            flat = node.value.reshape(-1)
            if not flat.size or (flat[0] == flat).all():         # too easily equal by chance
                continue
            before = [(node.loop, node.step - 1), (node.loop, node.step + 1)] if node.step else [
                (loop, end) for loop in self.loops if loop != node.loop for end in {1, self.length[loop]}]
            content = flat.tobytes()
            same = [self.nodes[n] for place in before for n in buckets.get(place, ()) if self.nodes[n].value.shape == node.value.shape
                    and self.nodes[n].tensor.index < node.tensor.index and self.nodes[n].value.tobytes() == content]
            if same and all(other.op is not None for other in same):              # else it is an input that comes again
                self.cuts[node.id] = self.source(same[-1].id)

    # --- running sums -----------------------------------------------------------------------------------------------

    def find_chains(self) -> None:
        """Running sums over time: l_1 + l_2 + ..., wherever they were added up."""
        self._find_accumulators()
        for number in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[number]
            if number in self.chained or not self._adds(node):
                continue
            if node.step is not None and number not in self.outputs and node.step != self.length[node.loop]:
                continue
            links, terms, stack = [number], [], list(reversed(node.inputs))
            while stack:
                current = stack.pop()
                inner = self.nodes[current]
                if self._adds(inner) and self.uses[current] == 1 and current not in self.outputs \
                        and current in self.accumulators:
                    links.append(current)
                    stack.extend(reversed(inner.inputs))
                else:
                    terms.append(current)
            steps = {(self.nodes[t].loop, self.nodes[t].step) for t in map(self.source, terms) if self.nodes[t].step}
            if len(steps) < 2 or len(links) + 1 < len(steps):
                continue
            if self._recurrent(node, terms):
                continue
            for link in links:
                self.chained[link] = number
            self.chains[number] = [t for t in terms if not self._zero(t)]

    def _adds(self, node: Any) -> bool:
        return node.op is not None and marking.op_name(node) == "add"

    def _zero(self, number: int) -> bool:
        node = self.nodes[number]
        return node.kind == "constant" and node.value.size == 1 and node.value.reshape(-1)[0] == 0

    def _find_accumulators(self) -> None:
        """Adds that belong to a sum over time and not to one of its terms: they reach into another step."""
        self.accumulators: set[int] = set()
        for number, node in enumerate(self.nodes):
            if not self._adds(node):
                continue
            if node.step is None:
                self.accumulators.add(number)
                continue
            for operand in map(self.source, node.inputs):
                other = self.nodes[operand]
                if (other.step is not None and other.step != node.step) or (
                        operand in self.accumulators and self.uses[operand] == 1) or (
                        other.kind == "constant" and self._zero(operand)):
                    self.accumulators.add(number)

    def _recurrent(self, node: Any, terms: list[int]) -> bool:
        """A state that sums up (z + dt * ...) has as many pasts as steps, but other uses too: seen by its uses."""
        return node.step is not None and self.uses[node.id] > 0 and any(
            self.nodes[t].step is not None and self.nodes[t].step != node.step and self.uses[t] > 1 for t in terms)

    # --- directions ---------------------------------------------------------------------------------------------------

    def _directions(self, buckets: dict[tuple[Any, int], list[int]]) -> None:
        balance = {loop: 0 for loop in self.loops}
        for (loop, step), ids in buckets.items():
            for number in ids:
                for operand in map(self.source, self.nodes[number].inputs):
                    other = self.nodes[operand]
                    if other.step and other.loop == loop and abs(other.step - step) == 1:
                        balance[loop] += step - other.step
        self.forward = {loop: -1 if count < 0 else 1 for loop, count in balance.items()}

    def begin(self, loop: Any) -> int:
        """The step that reads the initial state."""
        return 1 if self.forward[loop] > 0 else self.length[loop]

    def end(self, loop: Any) -> int:
        """The step that makes the final state."""
        return self.length[loop] if self.forward[loop] > 0 else 1
