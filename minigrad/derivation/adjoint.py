"""The gradients of one step as expressions: the ops' own rules, run on Symbols instead of numbers."""
import numpy as np

from ..ops import Later
from .algebra import build
from .expression import Reference, Static, number
from .symbol import Symbol, as_expression


def adjoint(reader):
    """{node id: Reference of its gradient}; definitions as the rules write them."""
    graph, step = reader.graph, reader.step
    wanted = {n.id for n in graph.nodes if n.requires_grad}
    parts, gradients = {i: [] for i in wanted}, {}

    def arrives(ref, e):
        """e is a part of ref's gradient; of what is the same in every step, all steps' parts are."""
        if ref.index in parts:
            parts[ref.index].append(build("sum_t", (e,), None, e.shape) if ref.once else e)
    if step.loss is not None:
        arrives(step.loss, number(1))
        step.output = None
    else:
        step.output = Reference("given", step.y, step.y.shape, named=True)
        arrives(step.y, step.output.e)
    carries, extra = {}, []
    for k, (before, after, leaf) in enumerate(step.states):
        carry = Reference("carry", before, before.shape, named=True) if leaf is not None else None
        carries[k] = carry
        if carry is not None:
            if after.index < len(graph.nodes):
                arrives(after, carry.e)
            else:                                           # p_t = x_t: what it is gets the gradient
                g = Reference("gradient", after, after.shape, of=after, definition=carry.e, named=True, index=after.index)
                extra.append(g)
                arrives(after.definition.extra[0], g.e)
    for n in reversed(graph.nodes):
        if n.id not in wanted or not parts[n.id]:
            continue
        ref = reader.of_node[n.id].e.extra[0]
        definition = build("add", tuple(parts[n.id]), None, n.value.shape)
        g = Reference("gradient", ref, n.value.shape, once=ref.once, of=ref, definition=definition, named=ref.named, index=n.id)
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
    step.states = [(before, after, carries[k], Reference("given", after, after.shape, named=True) if carries[k] is not None else None)
                   for k, (before, after, _) in enumerate(step.states)]
    step.extra = extra
    return gradients


def _ruled(n, i, g, y, arguments, reader):
    """What the op's rule for argument i writes, broadcasting undone; ∂f/∂x where it has no written form."""
    shape = arguments[i].value.shape
    constants = [np.asarray(a.e.extra) if a.e.op == "number" and a.value.ndim == 0 else a for a in arguments]
    constants = [a.item() if isinstance(a, np.ndarray) else a for a in constants]
    more = {**n.attributes, **({"saved": None} if n.op.saves else {})}
    try:
        with np.errstate(all="ignore"):
            part = n.op.rule(i)(g, y, *constants, **more)
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


def substitute_known(e, known):
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


def _unbroadcast(g, shape):
    extra = g.ndim - len(shape)
    axes = tuple(range(-g.ndim, -g.ndim + extra)) + tuple(
        i - len(shape) for i, n in enumerate(shape) if n == 1 and g.value.shape[i + extra] != 1)
    g = np.sum(g, axis=axes) if axes else g
    return g if g.value.shape == tuple(shape) else g.reshape(tuple(shape))
