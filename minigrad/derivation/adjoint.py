"""The gradients of one step as expressions: the ops' own rules, run on Symbols instead of numbers."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Node
from ..ops import Later
from .algebra import build
from .expression import Expression, Gradient, Reference, Shape, Static, number
from .forward import Reader
from .symbol import Symbol, as_expression


def adjoint(reader: Reader) -> dict[int, Gradient]:
    """{node id: its gradient}; definitions as the rules write them."""
    graph, step = reader.graph, reader.step
    wanted = {n.id for n in graph.nodes if n.requires_grad}
    parts: dict[int, list[Expression]] = {i: [] for i in wanted}
    gradients: dict[int, Gradient] = {}

    def arrives(ref: Reference, e: Expression) -> None:
        """e is a part of ref's gradient; of what is the same in every step, all steps' parts are."""
        if ref.index in parts:
            parts[ref.index].append(build("sum_t", (e,), None, e.shape) if ref.once else e)
    if step.loss is not None:
        arrives(step.loss, number(1))
        step.output = None
    else:
        step.output = Gradient("given", step.y)
        arrives(step.y, step.output.e)
    step.extra = []
    for _, after, carry, *_ in step.carried:
        if after.index < len(graph.nodes):
            arrives(after, carry.e)
        else:                                               # p_t = x_t: what it is gets the gradient
            g = Gradient("gradient", after, definition=carry.e, index=after.index)
            step.extra.append(g)
            arrives(after.definition.extra[0], g.e)
    for n in reversed(graph.nodes):
        if n.id not in wanted or not parts[n.id]:
            continue
        ref: Reference = reader.of_node[n.id].e.extra[0]
        definition = build("add", tuple(parts[n.id]), None, n.value.shape)
        g = Gradient("gradient", ref, once=ref.once, definition=definition, named=ref.named and ref.index == n.id, index=n.id)
        gradients[n.id] = g
        if n.op is None:
            continue
        one = definition.op == "number" and not n.value.shape
        symbol = Symbol(number(1) if one else g.e, np.ones(n.value.shape, n.value.dtype), reader.letters)
        arguments = [reader.of_node[i] for i in n.inputs]
        for i, j in enumerate(n.inputs):
            if j not in wanted or (not n.op.variadic and n.op.rules[i] is None):
                continue
            part = _ruled(n, i, symbol, reader.of_node[n.id], arguments, reader)
            if ref.once is False and reader.of_node[j].e.extra[0].once:
                part = build("sum_t", (part,), None, part.shape)
            parts[j].append(part)
    return gradients


def _ruled(n: Node, i: int, g: Symbol, y: Symbol, arguments: list[Symbol], reader: Reader) -> Expression:
    """What the op's rule for argument i writes, broadcasting undone; ∂f/∂x where it has no written form."""
    shape = arguments[i].value.shape
    constants = [a.e.extra if a.e.op == "number" and a.value.ndim == 0 else a for a in arguments]
    more = {**n.attributes, **({"saved": None} if n.op.saves else {})}
    try:
        with np.errstate(all="ignore"):
            part: Any = n.op.rule(i)(g, y, *constants, **more)
            part = part.dense() if isinstance(part, Later) else part
            if not isinstance(part, Symbol):
                part = Symbol(as_expression(part), part, reader.letters)
            part = _unbroadcast(part, shape)
    except Exception:
        part = None
    if part is None or part.value.shape != shape:
        reader.step.notes.append(f"the gradient of {n.op.name} has no written form, ∂{n.op.name}(…)/∂… stands for it; fill in "
                                 f"{n.op.name}_pullback_… of the NumPy function")
        return build("pullback", (g.e, *(a.e for a in arguments)), Static((n.op, i)), shape)
    return substitute_known(part.e, reader.known)


def substitute_known(e: Expression, known: dict[Expression, Reference]) -> Expression:
    """Values that have a name already are called by it: softmax(o_t) is ŷ_t."""
    if e.op == "greater" and e.args[1].op == "number" and e.args[1].extra == 0:
        above = known.get(build("relu", e.args[:1], None, e.args[0].shape))         # x > 0 where relu(x) > 0
        if above is not None and above.named:
            return build("greater", (above.e, e.args[1]), None, e.shape)
    if e.op == "equal" and e.args[1].op == "array" and e.args[0].op == "reshape" and e.args[0].args[0].op == "ref" \
            and e.args[0].args[0].extra[0].kind == "target":
        return build("onehot", (e.args[0].args[0],), None, e.shape)
    found = known.get(e)
    if found is not None and e.op not in ("ref", "number"):
        return found.e
    if not e.args:
        return e
    args = tuple(substitute_known(a, known) for a in e.args)
    return e if args == e.args else build(e.op, args, e.extra, e.shape)


def _unbroadcast(g: Symbol, shape: Shape) -> Symbol:
    extra = g.ndim - len(shape)
    axes = tuple(range(-g.ndim, -g.ndim + extra)) + tuple(
        i - len(shape) for i, n in enumerate(shape) if n == 1 and g.value.shape[i + extra] != 1)
    g = g.sum(axes) if axes else g
    return g if g.value.shape == shape else g.reshape(shape)
