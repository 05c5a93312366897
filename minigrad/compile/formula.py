"""The comments of a program: each value as a person writes it, in the names of the program's arrays."""
from __future__ import annotations

from ..graph.normal import PRODUCT, SUM
from .adjoint import RULE_OF
from .demand import Demand
from .layout import Layout
from .value import ASSEMBLE, GATES, Value
from .words import Words, indexed


class Formulas:
    """``h[t] = tanh(a)`` for a value."""

    def __init__(self, words: Words, demand: Demand, layout: Layout) -> None:
        self.words, self.demand, self.layout = words, demand, layout

    def equation(self, v: Value) -> str:
        return f"{self._left(v)} = {self.formula(v)}"

    def _left(self, v: Value) -> str:
        name = self.words.of(v)
        return f"{name}[t]" if self.demand.has_array(v) else name

    def formula(self, v: Value, within: bool = False) -> str:
        """v by what it is made from; ``within`` another formula by its own name, unless it has none."""
        if v.op is None or not v.depends and self.words.has(v):
            return self._leaf(v)
        if within and v.is_view and v.name and v.depends:
            return f"{v.name}[t]" if self.demand.has_array(v.inputs[0]) else v.name
        if within and self.layout.is_written(v) and v.id not in self.layout.piece:
            return self._left(v)
        parts = [self.formula(i, within=True) for i in v.inputs]
        if v.op is SUM:
            return f"({_plus(parts)})" if within else _plus(parts)
        if v.op is PRODUCT:
            return "-" + " * ".join(parts[1:]) if parts[0] == "-1" else " * ".join(parts)
        if v.op is ASSEMBLE:
            return "[" + ", ".join(parts) + "]"
        if v.op is GATES:
            return f"σ or tanh of each part of {parts[0]}"
        if v.op in RULE_OF:
            return f"gradient of {RULE_OF[v.op][0].name}"
        return self._called(v, parts)

    def _leaf(self, v: Value) -> str:
        if v.kind == "number":
            return f"{v.number.item():.6g}" if v.number.ndim == 0 else "…"
        if v.kind == "carry":
            return self.words.carry(self.layout.states[v.position])
        return self.words.of(v) + {"state": "[t-1]", "x": "[t]", "cotangent": "[t]"}.get(v.kind, "")

    @staticmethod
    def _called(v: Value, parts: list[str]) -> str:
        name = v.op.name
        if name == "matmul":
            return " @ ".join(parts)
        if name == "transpose":
            return f"{parts[0]}.T"
        if name == "getitem":
            return f"{parts[0]}[{' '.join(indexed(v.attributes['index']).split())}]"        # an array of two axes is written in lines
        if name in ("apart", "blocks", "broadcast_to", "reshape"):
            return parts[0]
        return f"{'σ' if name == 'sigmoid' else name}({', '.join(parts)})"


def _plus(parts: list[str]) -> str:
    text = parts[0]
    for p in parts[1:]:
        text += f" - {p[1:]}" if p.startswith("-") else f" + {p}"
    return text
