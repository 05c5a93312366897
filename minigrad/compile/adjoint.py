"""The gradient of a step as data: the ops' own rules, run on the values of a tape and written behind what the cell did."""
from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..ops import Op
from ..tensor import Tensor
from .trace import Node, Tape, _Build, traced
from .traced import _following


class _Rules(_Build):
    """The ops' own gradient rules, run on values of the step: what they do is written behind what the cell did."""
    rules = True

    def __init__(self, tape: Tape) -> None:
        super().__init__(tape)
        self.by_id = {}


def adjoint(tape: Tape) -> tuple[list[Any], ...]:
    """Append the gradients to a tape: reverse over what the cell did, by the ops' own rules.

    Returns (cotangents, carries, of_x, of_state, of_invariants), lists of nodes; None where nothing is wanted or reached.
    """
    forward = list(tape.nodes)
    run = _Rules(tape)
    values = {n.id: n.value if n.kind == "number" else traced(n, n.requires_grad) for n in forward}
    grads: dict[int, Any] = {}

    def seed(node: Node, kind: str, position: int) -> Node | None:
        if not node.requires_grad:
            return None
        leaf = Node(len(tape.nodes), kind, np.ones_like(node.value), position=position, requires_grad=True)
        tape.nodes.append(leaf)
        grads[node.id] = grads[node.id] + traced(leaf) if node.id in grads else traced(leaf)
        return leaf

    before, _following.run = _following.run, run
    try:
        cotangents = [seed(n, "cotangent", i) for i, n in enumerate(tape.y)]
        carries = [seed(n, "carry", i) for i, n in enumerate(tape.new)]
        for node in reversed(forward):
            g = grads.get(node.id)
            if g is None or node.op is None:
                continue
            if node.name and not g.node.name and g.node.op is not None:
                g.node.name = f"d{node.name}"
            attributes = node.attributes
            arguments = [values[n.id] for n in node.inputs]
            for i, x in enumerate(node.inputs):
                rule = node.op.rule(i)
                if not x.requires_grad or rule is None:
                    continue
                if node.op.saves:                   # a fused rule runs on arrays, with what the value saved for it
                    part = run.follow(_with_saved(node.op, i), (g, values[node.id], *arguments), attributes)
                else:
                    part = rule(g, values[node.id], *arguments, **attributes)
                if not isinstance(part, Tensor):
                    part = part.dense()
                part = _unbroadcast(part, np.shape(x.value))
                grads[x.id] = grads[x.id] + part if x.id in grads else part
    finally:
        _following.run = before

    def of(nodes: Iterable[Node]) -> list[Node | None]:
        return [grads[n.id].node if n.requires_grad and n.id in grads else None for n in nodes]
    leaves = {k: [n for n in forward if n.kind == k] for k in ("x", "state", "invariant")}
    return cotangents, carries, of(leaves["x"]), of(leaves["state"]), of(leaves["invariant"])


RULE_OF: dict[Op, tuple[Op, int]] = {}         # an op that is a rule -> (the op whose rule it is, of which argument)


@functools.cache
def _with_saved(op: Op, i: int) -> Op:
    """The rule of argument i of an op that saves values for it, as an op of (g, y, arguments)."""
    def value(g: Any, y: Any, *arguments: Any, **attributes: Any) -> Any:
        rule: Any = op.rule(i)
        return rule(g, y, *arguments, saved=op.value(*arguments, **attributes)[1], **attributes)
    made = Op(f"{op.name}_rule_{i}", value, (None,), f"∂{op.name}({{*}})", variadic=True)
    RULE_OF[made] = op, i
    return made


def _unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Sum over the axes along which an operand was stretched."""
    extra = g.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    if axes:
        g = np.sum(g, axis=axes)
    return g if g.shape == tuple(shape) else np.reshape(g, shape)
