"""How one op is written: lines of NumPy that compute a value into its place. A new op's form is one entry of ``FORMS``.

A form gets (site, v, out): ``site`` is where the lines will stand (steps.py: all steps at once, or one step in a loop) and says
how the operands are read there; ``out`` is the place. An op without a form is a ufunc, or its own value's source is called.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..graph.normal import PRODUCT, SUM
from . import calls, cross_entropy, sizes
from .lines import Line, assign, ufunc
from .value import ASSEMBLE, GATES, Value
from .words import sliced

if TYPE_CHECKING:
    from .steps import Site

Form = Callable[["Site", Value, str], list[Line]]


def statements(site: Site, v: Value, out: str) -> list[Line]:
    """The lines that compute v into ``out``."""
    if cross_entropy.applies(site, v):
        return cross_entropy.lines(site, v, out)
    form = FORMS.get(v.op.name)
    if form:
        return form(site, v, out)
    if isinstance(v.op.value, np.ufunc) and not v.attributes:
        return [ufunc(site, v.op.value.__name__, *site.operands(v), out)]
    return calls.lines(site, v, out)


# ---- elementwise --------------------------------------------------------------------------------------------------------
def _like(name: str) -> Form:
    return lambda site, v, out: [ufunc(site, name, *site.operands(v), out)]


def _half_tanh(site: Site, x: str, scale: str, shift: str, out: str) -> list[Line]:
    """NumPy's tanh is its fastest saturating function: σ(x) = ½ tanh(½x) + ½."""
    return [ufunc(site, "multiply", x, scale, out), ufunc(site, "tanh", out, out), ufunc(site, "multiply", out, scale, out),
            ufunc(site, "add", out, shift, out)]


def _sigmoid(site: Site, v: Value, out: str) -> list[Line]:
    half = site.words.number(0.5, v.dtype)
    x, = site.operands(v)
    return _half_tanh(site, x, half, half, out)


def _gates(site: Site, v: Value, out: str) -> list[Line]:
    x, scale, shift = site.operands(v)
    return _half_tanh(site, x, scale, shift, out)


def _relu(site: Site, v: Value, out: str) -> list[Line]:
    return [ufunc(site, "maximum", *site.operands(v), "0", out)]


def _square(site: Site, v: Value, out: str) -> list[Line]:
    return [ufunc(site, "multiply", *site.operands(v), *site.operands(v), out)]


def _where(site: Site, v: Value, out: str) -> list[Line]:
    condition, a, b = site.operands(v)
    if v.inputs[0].dtype != bool:                       # a number, or whole numbers
        condition = f"{site.words.numpy('not_equal')}({condition}, 0)"
    copyto = site.words.numpy("copyto")
    return [Line(f"{copyto}({out}, {b})", (b,), out, ("ufunc", "copy")),
            Line(f"{copyto}({out}, {a}, where={condition})", (a, condition), out, ("copy where",))]


# ---- sums and products of several operands --------------------------------------------------------------------------------
def _sum(site: Site, v: Value, out: str) -> list[Line]:
    """From left to right; what stands inside the sum comes first, what is subtracted comes last."""
    terms, start = [], None
    for i in v.inputs:
        kind = site.layout.inside.get(i.id)
        if kind == "first":
            start = i
        else:
            terms.append(("subtract", site.operand(i.inputs[1], v)) if kind == "sign" else ("add", site.operand(i, v)))
    if start is not None:
        return _sum_from(site, start, terms, v, out)
    terms.sort(key=lambda term: term[0])                # what is added, then what is subtracted
    (how, a), rest = terms[0], terms[1:]
    if how == "subtract":
        lines = [ufunc(site, "negative", a, out)]
    elif rest:
        how, b = rest.pop(0)
        lines = [ufunc(site, how, a, b, out)]
    else:
        return [assign(out, a)]
    return lines + [ufunc(site, how, out, b, out) for how, b in rest]


def _sum_from(site: Site, start: Value, terms: list[tuple[str, str]], v: Value, out: str) -> list[Line]:
    """A sum that starts from a product, or from minus a product."""
    if start.op is not PRODUCT:
        return [_matmul(site, start, out, v), *(ufunc(site, how, out, term, out) for how, term in terms)]
    factors = [f for f in start.inputs if f.kind != "number"]
    lines = _product_of(site, factors, v, out)
    if len(factors) < len(start.inputs):
        (how, term), *terms = terms
        lines += [ufunc(site, "subtract", term, out, out)] if how == "add" else [
            ufunc(site, "add", out, term, out), ufunc(site, "negative", out, out)]
    return lines + [ufunc(site, how, out, term, out) for how, term in terms]


def _product(site: Site, v: Value, out: str) -> list[Line]:
    return _product_of(site, v.inputs, v, out)


def _product_of(site: Site, factors: Sequence[Value], v: Value, out: str) -> list[Line]:
    numbers = [f for f in factors if f.kind == "number"]
    arrays = [f for f in factors if f.kind != "number"]
    current, *rest = [site.operand(f, v) for f in arrays]
    if not rest and not numbers:
        return [assign(out, current)]
    if not rest and len(numbers) == 1 and numbers[0].number == -1 and arrays[0].dtype == v.dtype:
        return [ufunc(site, "negative", current, out)]
    lines = []
    for factor in rest:
        lines.append(ufunc(site, "multiply", current, factor, out))
        current = out
    for n in numbers:
        lines.append(ufunc(site, "negative", current, out) if n.number == -1 and current == out else
                     ufunc(site, "multiply", current, site.operand(n, v), out))
        current = out
    return lines


# ---- matrices, reductions, pieces ------------------------------------------------------------------------------------------
def _matmul(site: Site, v: Value, out: str, whole: Value | None = None) -> Line:
    """The arrays' own ``dot`` where it can: .4 µs less per call, and all steps' rows in one product. ``whole`` is the sum, of which
    ``out`` is the place."""
    a, b = v.inputs
    if b.is_op("blocks") and len(b.shape) > len(v.shape):
        x, blocks = site.operand(a, b), site.plain(b, v)
        return Line(f"{site.words.numpy('matmul')}({x}, {blocks}, {site.apart(v, b.shape[-1], out)})", (x, blocks), out)
    at = (whole or v).id
    matrices = len(a.shape) == len(b.shape) == 2 and at not in site.layout.piece
    if site.over_time:
        x, y = site.operands(v)                         # a matrix without rows of the batch gets their axis
        small = len(a.shape) == 2 and a.shape[0] >= sizes.ROWS and a.shape[0] * b.size <= sizes.SMALL_PRODUCT
        if matrices and a.depends and not b.depends and not small and at not in site.layout.slot:
            flat = site.room.flat
            return Line(f"{flat(x, a.shape[-1])}.dot({y}, {flat(out, v.shape[-1])})", (x, y), out)
    else:
        x, y = site.operands(v)
        if matrices:
            return Line(f"{x}.dot({y}, {out})", (x, y), out, ("matmul",))
    return Line(f"{site.words.numpy('matmul')}({x}, {y}, {out})", (x, y), out, ("matmul",))


def _reduce(name: str) -> Form:
    def form(site: Site, v: Value, out: str) -> list[Line]:
        x, axis, keepdims = site.plain(v.inputs[0], v), v.attributes["axis"], v.attributes["keepdims"]
        return [Line(f"{site.words.numpy(name)}.reduce({x}, axis={axis}, keepdims={keepdims}, out={out})", (x,), out,
                     ("reduce", name, axis, keepdims))]
    return form


def _assemble(site: Site, v: Value, out: str) -> list[Line]:
    """What was not computed in its place is copied there."""
    lines = []
    for p, s in zip(v.inputs, v.attributes["slices"]):
        if site.layout.piece.get(p.id, (None,))[0] is not v:
            text = site.operand(p, v)
            lines.append(Line(f"{out}[..., {sliced(s)}] = {text}", (text,), out, ("copy part", s.start or 0)))
    return lines


FORMS = {
    SUM.name: _sum, PRODUCT.name: _product, ASSEMBLE.name: _assemble, GATES.name: _gates,
    "sigmoid": _sigmoid, "relu": _relu, "square": _square, "where": _where,
    "absolute": _like("absolute"), "maximum": _like("maximum"), "minimum": _like("minimum"),
    "matmul": lambda site, v, out: [_matmul(site, v, out)],
    "sum": _reduce("add"), "max": _reduce("maximum"), "min": _reduce("minimum"),
}
