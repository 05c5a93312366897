"""Ops that are written as one call: ``out[...] = call(…)``, of NumPy's function or of the op's own, whose source goes along."""
from __future__ import annotations

from typing import Any, Callable

import numpy as np

from .lines import Line, assign
from .adjoint import RULE_OF
from .words import indexed, literal


def lines(site: Any, v: Any, out: str) -> list[Line]:
    """The statement of an op without a form of its own. What it saves for its rule is kept, if it is there for all steps."""
    arguments = [(site.operand if v.is_op("solve") else site.plain)(i, v) for i in v.inputs]
    call = expression(site, v, arguments)
    if not v.op.saves:
        return [Line(f"{out}[...] = {call}", tuple(arguments), out, (v.op.name, v.attributes))]
    if v.id in site.demand.batched:
        return [Line(f"{out}[...], saved[{site.words.of(v)!r}] = {call}", tuple(arguments), out)]
    return [assign(out, f"{call}[0]", *arguments)]


def expression(site: Any, v: Any, arguments: list[str]) -> str:
    """The call, without where its result goes."""
    form: Any = FORMS.get(v.op.name)
    if form:
        return form(site, v, *arguments)
    if v.op in RULE_OF:
        return _rule(site, v, arguments)
    return _called(site, v.op.value, arguments, v.attributes)


def _called(site: Any, function: Callable[..., Any], arguments: list[str], attributes: dict[str, Any]) -> str:
    return f"{site.words.source(function)}({', '.join([*arguments, *(f'{k}={literal(a)}' for k, a in attributes.items())])})"


def _rule(site: Any, v: Any, arguments: list[str]) -> str:
    """A gradient rule that wants what the value saved for it; where that was a loop, each step would have overwritten it."""
    op, i = RULE_OF[v.op]
    y = v.inputs[1]
    saved = f"saved[{site.words.of(y)!r}]" if y.id in site.demand.batched else f"{_called(site, op.value, arguments[2:], v.attributes)}[1]"
    attributes = "".join(f"{k}={literal(a)}, " for k, a in v.attributes.items())
    return f"{site.words.source(op.rules[0] if op.variadic else op.rules[i])}({', '.join(arguments)}, {attributes}saved={saved})"


# ---- forms of their own -----------------------------------------------------------------------------------------------------
def _joined(site: Any, v: Any, *arguments: str) -> str:
    if site.over_time:                                  # what has no axis of time gets one
        arguments = tuple([a if i.depends else f"{site.words.numpy('broadcast_to')}({a}, (T, {', '.join(map(str, i.shape))}))"
                           for a, i in zip(arguments, v.inputs)])
    return f"{site.words.numpy(v.op.name)}(({', '.join(arguments)}), {v.attributes['axis']})"


def _blocks(site: Any, v: Any, W: str) -> str:
    *n, rows, size = v.shape
    W = f"{W}.T" if v.attributes.get("transposed") else W
    return f"{W}.reshape({rows}, {', '.join(map(str, n))}, {size}).{'swapaxes(0, 1)' if len(n) == 1 else 'transpose(1, 2, 0, 3)'}"


def _reshape(site: Any, v: Any, x: str) -> str:
    return f"{x}.reshape({'(T, ' + ', '.join(map(str, v.shape)) + ')' if site.over_time and v.depends else v.shape})"


def _einsum(site: Any, v: Any, *arguments: str) -> str:
    text = ",".join("..." + t for t in v.attributes["terms"]) + "->..." + v.attributes["out"]
    return f"{site.words.numpy('einsum')}({text!r}, {', '.join(arguments)})"


def _fancy(site: Any, index: tuple[Any, ...], write: Callable[[Any], str]) -> list[str]:
    return [site.words.table(i) if isinstance(i, np.ndarray) else write(i) for i in index]


FORMS = {
    "concatenate": _joined, "stack": _joined, "blocks": _blocks, "reshape": _reshape, "einsum": _einsum,
    "astype": lambda site, v, x: f"{x}.astype({literal(v.attributes['dtype'])})",
    "getitem": lambda site, v, x: f"{x}[{', '.join(_fancy(site, v.attributes['index'], lambda i: indexed((i,))))}]",
    "scatter_add": lambda site, v, g: (f"{site.words.sources.scatter()}({g}, ({', '.join(_fancy(site, v.attributes['index'], repr))},), "
                                       f"{v.attributes['shape']})"),
}
