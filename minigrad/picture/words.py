"""A recorded graph in words, for people who look at it: names of values, formulas of ops, and the rules by which gradients go back."""

from __future__ import annotations

from typing import Any

from ..formulas import Symbol
from . import marks as marking, text

DEEP = 4                 # ops in one formula, one inside the other


class Words:
    """Names, formulas and rules of a graph's nodes as text; like ones of different steps are written once."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self._rules: dict[Any, list[str | None]] = {}

    def name(self, id: int, depth: int = 0, seen_from: Any = None) -> str:
        """What a value is called; ``[t-1]`` behind it, if it belongs to the step before that of ``seen_from``."""
        node = self.graph.nodes[id]
        late = ""
        if seen_from is not None and seen_from.step and node.step is not None and node.loop == seen_from.loop and node.kind != "parameter":
            late = f"[t{node.step - seen_from.step:+d}]" if node.step != seen_from.step else ""
        if node.name:
            return text.plain(node.name) + late
        if node.kind == "constant":
            return f"{node.value.item():.4g}" if node.value.size == 1 and node.value.dtype.kind in "fiub" else "constant"
        if node.op is None:
            return node.kind + late
        return self.formula(id, depth + 1) if depth < DEEP else "…"

    def symbol(self, id: int, depth: int, seen_from: Any = None) -> Symbol:
        said = self.name(id, depth, seen_from)
        plain = bool(self.graph.nodes[id].name) or self.graph.nodes[id].op is None or said == "…"
        return Symbol(said, 3 if plain or said.endswith(")") and "(" in said and " " not in said else 1)

    def formula(self, id: int, depth: int = 0) -> str:
        node = self.graph.nodes[id]
        operands = [self.symbol(i, depth, node) for i in node.inputs]
        name = marking.op_name(node)
        sign = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}.get(name)
        if sign == "*" and node.inputs[0] != node.inputs[1] and operands[0].text == operands[1].text:
            return f"{operands[0].at(2)} * {operands[1].at(2)}"         # two values of one name are no square
        if sign and len(operands) == 2:
            return operands[0]._two(operands[1], sign, 1 if sign in "+-" else 2).text
        if name == "getitem":
            return f"{operands[0].at(3)}{marking.index_text(marking.index_of(node))}"
        shown = [o.text for o in operands[:3]] + ["…"] * (len(operands) > 3)
        for k, v in (node.attributes or {}).items():
            everything = k == "axis" and isinstance(v, tuple) and len(v) == self.graph.nodes[node.inputs[0]].value.ndim
            if k in ("axis", "keepdims", "ddof") and v not in (None, False, 0) and not everything:
                shown.append(f"{k}={v[0] if isinstance(v, tuple) and len(v) == 1 else v}")
        return f"{marking.SHORT.get(name, name) if name == 'sigmoid' else name}({', '.join(shown)})"

    def rules(self, node: Any) -> list[str | None]:
        """For each operand what the op's own rule adds to its gradient; None for constants."""
        operands = [(self.name(i, 0, node), self.graph.nodes[i].requires_grad) for i in node.inputs]
        key = (marking.op_name(node), str(node.attributes), self.name(node.id), *operands)
        if key not in self._rules:
            self._rules[key] = [self._rule(node, position) for position in range(len(node.inputs))] if len(node.inputs) < 9 else []
        return self._rules[key]

    def _rule(self, node: Any, position: int) -> str | None:
        operand = self.graph.nodes[node.inputs[position]]
        rule = node.op.rule(position)
        if rule is None or not operand.requires_grad:
            return None
        dy, dx = (f"d{n}" if self.graph.nodes[i].name else f"d({n})" for i, n in (
            (node.id, self.name(node.id)), (operand.id, self.name(operand.id, 0, node))))
        try:
            y = Symbol(self.name(node.id), 3 if node.name else 1)
            said = rule(Symbol(dy), y, *(self.symbol(i, 1, node) for i in node.inputs), **node.attributes).text
            if "broadcast_to" not in said:                              # shapes are no part of a formula
                return f"{dx} += {said}"
        except Exception:                                               # a rule that does more than calculate
            pass
        return f"{dx} += {dy} · ∂{marking.op_name(node)}/∂{self.name(operand.id, 0, node)}"
