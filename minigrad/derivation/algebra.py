"""Expressions simplified while they are built, as a person would write them: the rules of algebra, one for each op."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from .expression import (Expression, Reference, Shape, Static, broadcast, equals, has_new_axes, is_gradient, last_slice, make, number,
                         only_moves, size, split_number, without_new_axes, zeros)

Terms = list[Expression]
Arguments = tuple[Expression, ...]


def build(op: str, args: Sequence[Expression], extra: Any, shape: Sequence[int]) -> Expression:
    """The expression, simplified."""
    rule = _RULES.get(op)
    return make(op, tuple(args), extra, shape) if rule is None else rule(tuple(args), extra, tuple(shape))


def substitute(e: Expression, replaced: Callable[[Reference, int], Expression | None],
               known: dict[Expression, Expression] | None = None) -> Expression:
    """e with references replaced: ``replaced(reference, lag)`` is an expression, or None to leave it."""
    known = {} if known is None else known
    if e not in known:
        if e.op == "ref":
            new = replaced(*e.extra)
            known[e] = e if new is None else new
        elif not e.args:
            known[e] = e
        else:
            args = tuple(substitute(a, replaced, known) for a in e.args)
            known[e] = e if args == e.args else build(e.op, args, e.extra, e.shape)
    return known[e]


def shifted(e: Expression, lag: int) -> Expression:
    """e, ``lag`` steps later."""
    return substitute(e, lambda reference, own: reference.at(own + lag)) if lag else e


def _add(args: Arguments, extra: Any, shape: Shape) -> Expression:
    terms: Terms = []
    for a in args:
        terms.extend(a.args if a.op == "add" else (a,))
    order: list[Expression | None] = []                 # None: the plain numbers
    coefficients: dict[Expression | None, float] = {}
    for a in terms:                                     # x + x is 2 x
        c, rest = split_number(a)
        if rest not in coefficients:
            order.append(rest)
        coefficients[rest] = coefficients.get(rest, 0) + c
    terms = [number(coefficients[r]) if r is None else _mul((number(coefficients[r]), r), None, r.shape) for r in order]
    terms = [a for a in terms if a.op != "zeros" and not equals(a, 0)]
    if not terms:
        return zeros(shape) if shape else number(0)
    terms = _unstretched(_gathered(_assembled(_sums_over_time(terms), shape), shape))
    whole = terms[0] if len(terms) == 1 else make("add", tuple(terms), None, broadcast(terms))
    return _stretch((whole,), None, shape)


def _sums_over_time(terms: Terms) -> Terms:
    """Σ_t a + Σ_t b is Σ_t (a + b)."""
    inside = [a.args[0] for a in terms if a.op == "sum_t"]
    if len(inside) < 2:
        return terms
    at = next(i for i, a in enumerate(terms) if a.op == "sum_t")
    rest = [a for a in terms if a.op != "sum_t"]
    shape = broadcast(inside)
    rest.insert(at, build("sum_t", (_add(tuple(inside), None, shape),), None, shape))
    return rest


def _assembled(terms: Terms, shape: Shape) -> Terms:
    """Gradients of slices that lie side by side in the last axis are put together: [a, b, c]."""
    parts = []
    for a in terms:
        if a.op == "scatter" and a.shape == shape:
            at = last_slice(a.extra.value[0])
            if at is not None:
                parts.append((at.indices(shape[-1])[:2], a))
    parts.sort(key=lambda part: part[0])
    spans = [span for span, _ in parts]
    if not parts or any(a[1] > b[0] for a, b in zip(spans, spans[1:])):
        return terms
    pieces, end = [], 0
    for (start, stop), a in parts:
        if start > end:
            pieces.append(zeros((*shape[:-1], start - end)))
        pieces.append(a.args[0])
        end = stop
    if end < shape[-1]:
        pieces.append(zeros((*shape[:-1], shape[-1] - end)))
    whole = make("concatenate", tuple(pieces), -1, shape) if len(pieces) > 1 else pieces[0]
    members = [a for _, a in parts]
    first = next(i for i, a in enumerate(terms) if a in members)
    rest = [a for a in terms if a not in members]
    rest.insert(first, whole)
    return rest


def _unstretched(parts: Terms) -> Terms:
    """Terms of a sum, without broadcasts to what the others make of them anyway."""
    for i, a in enumerate(parts):
        if a.op == "broadcast":
            bare = [*parts[:i], a.args[0], *parts[i + 1:]]
            if broadcast(bare) == broadcast(parts):
                return _unstretched(bare)
    return parts


def _gathered(terms: Terms, shape: Shape) -> Terms:
    """g + … - g ⊙ z is g ⊙ (1 - z): terms that share a gradient are taken together."""
    groups: dict[Expression, list[tuple[Expression, Expression]]] = {}      # gradient -> [(term, what it is multiplied by)]
    for a in terms:
        factors = a.args if a.op == "mul" else (a,)
        shared = [f for f in factors if is_gradient(f)]
        if len(shared) == 1 and shared[0].shape == shape == a.shape:
            rest = [f for f in factors if f is not shared[0]]
            groups.setdefault(shared[0], []).append((a, _mul(tuple(rest), None, broadcast(rest)) if rest else number(1)))
    for g, members in groups.items():
        rests = [r for _, r in members]
        if len(members) > 1 and sum(map(size, rests)) < 12:
            ones = [r for r in rests if equals(r, 1)]
            inside = _add(tuple(ones + [r for r in rests if not equals(r, 1)]), None, broadcast(rests))
            at = terms.index(members[0][0])
            terms = [a for a in terms if a not in [m for m, _ in members]]
            terms.insert(at, _mul((g, inside), None, shape))
    return terms


def _mul(args: Arguments, extra: Any, shape: Shape) -> Expression:
    c: float = 1
    factors: Terms = []
    for a in args:
        for f in a.args if a.op == "mul" else (a,):
            if f.op == "number":
                c = c * f.extra
            elif f.op == "zeros":
                return zeros(shape)
            else:
                factors.append(f)
    if c == 0:
        return zeros(shape) if shape else number(0)
    bare = [f.args[0] if f.op == "broadcast" else f for f in factors]
    if bare != factors:
        return _stretch((_mul((number(c), *bare), None, broadcast(bare)),), shape, shape)
    below = [f.args[1] for f in factors if f.op == "divide"]
    if below and len(factors) > 1:                      # one fraction
        above = [f.args[0] if f.op == "divide" else f for f in factors]
        whole = _divide((_mul(tuple(above), None, broadcast(above)), _mul(tuple(below), None, broadcast(below))), None, shape)
        return _mul((number(c), whole), None, shape) if c != 1 else whole
    powers: dict[Expression, Any] = {}
    order: Terms = []
    for f in factors:
        base, n = (f.args[0], f.args[1].extra) if f.op == "power" and f.args[1].op == "number" else (f, 1)
        if base not in powers:
            order.append(base)
        powers[base] = powers.get(base, 0) + n
    factors = [f if powers[f] == 1 else _power((f, number(powers[f])), None, f.shape) for f in order if powers[f]]
    if not factors or broadcast(factors) != shape:      # what cancelled was longer
        return number(c) if not shape else make("broadcast", (_mul((number(c), *factors), None, broadcast(factors)),), shape, shape)
    if len(factors) == 1:
        only = factors[0]
        if c == 1:
            return only
        if only.op == "add" and c == -1 and len(only.args) == 2 and any(split_number(a)[0] < 0 for a in only.args):
            return _add(tuple(_mul((number(-1), a), None, a.shape) for a in reversed(only.args)), None, shape)
    return make("mul", tuple(([number(c)] if c != 1 else []) + factors), None, shape)


def _power(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, n = args
    if equals(n, 1) and a.shape == shape:
        return a
    if equals(n, 0) and shape == ():
        return number(1)
    return make("power", (a, n), None, shape)


def _divide(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, b = args
    if equals(b, 1) and a.shape == shape:
        return a
    if a.op == b.op == "number":
        return number(a.extra / b.extra)
    if a.op == "zeros":
        return zeros(shape)
    if a.op == "broadcast" and np.broadcast_shapes(a.args[0].shape, b.shape) == shape:
        a = a.args[0]
    c, rest = split_number(a)
    if c != 1 and rest is not None and np.broadcast_shapes(rest.shape, b.shape) == shape:
        return _mul((number(c), _divide((rest, b), None, shape)), None, shape)
    if a.op == "divide":
        a, b = a.args[0], _mul((a.args[1], b), None, np.broadcast_shapes(a.args[1].shape, b.shape))
    return make("divide", (a, b), None, shape)


def _matmul(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, b = args
    if "zeros" in (a.op, b.op):
        return zeros(shape)
    (ca, ra), (cb, rb) = split_number(a), split_number(b)
    if ca * cb != 1 and ra is not None and rb is not None and len(ra.shape) == len(a.shape) and len(rb.shape) == len(b.shape):
        return _mul((number(ca * cb), _matmul((ra, rb), None, shape)), None, shape)
    return make("matmul", (a, b), None, shape)


def _transposed(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    if a.op == "T":
        return a.args[0]
    if a.op == "zeros":
        return zeros(shape)
    c, rest = split_number(a)
    if c != 1 and rest is not None and rest.shape == a.shape:
        return _mul((number(c), _transposed((rest,), None, shape)), None, shape)
    if a.op == "matmul" and "T" in (a.args[0].op, a.args[1].op):
        left, right = ((x.args[0] if x.op == "T" else make("T", (x,), None, (*x.shape[:-2], x.shape[-1], x.shape[-2])))
                       for x in reversed(a.args))
        return make("matmul", (left, right), None, shape)
    return make("T", (a,), None, shape)


def _index(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    index = extra.value
    if only_moves(index, a.shape):
        return _reshape((a,), shape, shape)
    if has_new_axes(index):
        whole, bare = without_new_axes(index, shape)
        return _reshape((_index((a,), Static(whole), bare),), shape, shape)
    if a.op == "concatenate" and a.extra == -1:
        at, start = last_slice(index), 0
        span = at.indices(a.shape[-1])[:2] if at is not None else None
        for piece in a.args:
            if (start, start + piece.shape[-1]) == span:
                return piece
            start += piece.shape[-1]
    at = last_slice(index)
    if at is not None:
        start, stop, _ = at.indices(a.shape[-1])
        if (start, stop) == (0, a.shape[-1]):
            return a
    return make("index", (a,), extra, shape)


def _scatter(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    index, whole = extra.value
    if a.op == "zeros" or only_moves(index, shape):
        return _reshape((a,), shape, shape)
    if has_new_axes(index):
        index, bare = without_new_axes(index, a.shape)
        return _scatter((_reshape((a,), bare, bare),), Static((index, whole)), shape)
    return make("scatter", (a,), extra, shape)


def _reshape(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    if a.op == "reshape":
        a = a.args[0]
    if a.op == "zeros":
        return zeros(shape)
    return a if a.shape == shape else _outside("reshape", a, shape, shape)


def _stretch(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    return a if a.shape == shape else make("broadcast", (a,), shape, shape)


def _sum(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    axis, keepdims = extra
    if not axis or prod(a.shape[i] for i in axis) == 1:
        return _reshape((a,), shape, shape)
    return zeros(shape) if a.op == "zeros" else _outside("sum", a, extra, shape)


def _outside(op: str, a: Expression, extra: Any, shape: Shape) -> Expression:
    """Numbers stand in front of a sum."""
    c, rest = split_number(a)
    if c == 1 or rest is None or rest.shape != a.shape:
        return make(op, (a,), extra, shape)
    return _mul((number(c), build(op, (rest,), extra, shape)), None, shape)


def _sum_t(args: Arguments, extra: Any, shape: Shape) -> Expression:
    a, = args
    return zeros(shape) if a.op == "zeros" or equals(a, 0) else _outside("sum_t", a, None, shape)


def _add_or_wins(args: Arguments, extra: Any, shape: Shape) -> Expression:
    """1[a > b] + ½ 1[a = b]: where a wins; a tie is shared."""
    if len(args) == 2 and args[0].op in ("greater", "less"):
        c, rest = split_number(args[1])
        if c == 0.5 and rest is not None and rest.op == "equal" and set(rest.args) == set(args[0].args):
            a, b = args[0].args if args[0].op == "greater" else args[0].args[::-1]
            return make("wins", (a, b), None, shape)
    return _add(args, extra, shape)


_RULES: dict[str, Callable[[Arguments, Any, Shape], Expression]] = {
    "add": _add_or_wins, "mul": _mul, "power": _power, "divide": _divide, "matmul": _matmul, "T": _transposed, "index": _index,
    "scatter": _scatter, "reshape": _reshape, "broadcast": _stretch, "sum": _sum, "sum_t": _sum_t}
