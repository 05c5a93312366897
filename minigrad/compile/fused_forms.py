"""How a statement is written as a loop over its elements (fused.py). A new statement's form is one entry of ``FORMS``.

A product with a matrix goes through it row by row, ``UNROLL`` rows at a time, and so through memory as it lies there.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .elements import NoForm, moved, shifted
from .lines import Line, indented

if TYPE_CHECKING:
    from .fused import Fused

UNROLL = 8
TANH = '''@fused
def tanh_{kind}(x):
    """Lambert's continued fraction of tanh at x / 4, and its angle doubled twice: no branch and one division, so it is vectorised."""
    x = {limit} if x > {limit} else -{limit} if x < -{limit} else x
    x = x * {quarter}
    z = x * x
    p = x * ((((z + {n3}) * z + {n2}) * z + {n1}) * z + {n0})
    q = ((({d4} * z + {d3}) * z + {d2}) * z + {d1}) * z + {n0}
    p, q = {two} * p * q, p * p + q * q
    y = {two} * p * q / (p * p + q * q)
    return {one} if y > {one} else -{one} if y < -{one} else y'''
NUMBERS = {"quarter": 0.25, "one": 1, "two": 2, "n0": 34459425, "n1": 4729725, "n2": 135135, "n3": 990,
           "d1": 16216200, "d2": 945945, "d3": 13860, "d4": 45}
SYMBOLS = {"add": "{} + {}", "subtract": "{} - {}", "multiply": "{} * {}", "divide": "{} / {}", "negative": "-{}", "copy": "{}",
           "square": "{0} * {0}", "greater": "{} > {}", "less": "{} < {}", "greater_equal": "{} >= {}", "less_equal": "{} <= {}",
           "equal": "{} == {}", "not_equal": "{} != {}"}
START = {"add": 0.0, "maximum": -math.inf, "minimum": math.inf}


def elementwise(fused: Fused, line: Line, at: Sequence[str]) -> str:
    """One element of a line: many such lines may be one loop."""
    like = fused.dtype(line.out)
    if like.kind != "f":
        like = fused.meets(line)
    name, operands = line.how[1], [fused.element(text, at, like) for text in line.reads]
    if name == "tanh" and like.kind == "f" and like.itemsize in (4, 8):
        value = f"{_tanh(fused, like)}({operands[0]})"
    elif name in SYMBOLS:
        value = SYMBOLS[name].format(*operands)
    else:
        value = f"np.{name}({', '.join(operands)})"
    return f"{fused.element(line.out, at, like)} = {value}"


def _tanh(fused: Fused, dtype: np.dtype) -> str:
    kind = "single" if dtype.itemsize == 4 else "double"
    fused.helpers[kind] = TANH.format(kind=kind, **{k: fused.number(n, dtype) for k, n in NUMBERS.items()},
                                      limit=fused.number(10 if kind == "single" else 20, dtype))
    return f"tanh_{kind}"


def _copy_where(fused: Fused, line: Line) -> list[str]:
    value, condition = line.reads
    dtype = fused.dtype(line.out)
    return fused.over(fused.shape(line.out), lambda at: [
        f"if {fused.element(condition, at, dtype)}:", f"    {fused.element(line.out, at, dtype)} = {fused.element(value, at, dtype)}"])


def _copy_part(fused: Fused, line: Line, start: int) -> list[str]:
    value, dtype = line.reads[0], fused.dtype(line.out)
    return fused.over(fused.shape(value), lambda at: [
        f"{fused.element(line.out, moved(at, -1, start), dtype)} = {fused.element(value, at, dtype)}"])


def _matmul(fused: Fused, line: Line) -> list[str]:
    a, b = line.reads
    shape, K, k, dtype = fused.shape(line.out), fused.shape(a)[-1], fused.inner, fused.dtype(line.out)
    row, column = len(fused.shape(a)) == 1, len(fused.shape(b)) == 1        # vectors

    def write(at: Sequence[str]) -> list[str]:
        out = fused.element(line.out, at, dtype)

        def term(n: str) -> str:
            left = [n] if row else [*(at if column else at[:-1]), n]
            right = [n] if column else [*(at[:-1] if row else at[:-2]), n, at[-1]]
            return f"{fused.element(a, left, dtype)} * {fused.element(b, right, dtype)}"

        def across(lines: list[str]) -> list[str]:
            return lines if not along or shape[-1] == 1 else [f"for {at[-1]} in range({shape[-1]}):", *indented(lines)]
        if not K:
            raise NoForm(line.text)
        first, whole = min(K, UNROLL), K - K % UNROLL
        lines = across(_total(f"{out} =", [term(str(n)) for n in range(first)]))
        if whole > UNROLL:
            lines += [f"for {k} in range({UNROLL}, {whole}, {UNROLL}):",
                      *indented(across(_total(f"{out} +=", [term(shifted(k, n)) for n in range(UNROLL)])))]
        if K > UNROLL and K > whole:
            lines += across(_total(f"{out} +=", [term(str(n)) for n in range(whole, K)]))
        return lines
    along = not column                                                      # the columns of the matrix: the inner loop is along them
    return fused.over(shape, write, skip=(len(shape) - 1,) if along else ())


def _total(start: str, terms: list[str]) -> list[str]:
    """A sum of many terms, some on each line."""
    lines = [" + ".join(terms[n:n + 4]) for n in range(0, len(terms), 4)]
    if len(lines) == 1:
        return [f"{start} {lines[0]}"]
    indent = " " * (len(start) + 2)
    return [f"{start} ({lines[0]}", *(f"{indent}+ {line}" for line in lines[1:-1]), f"{indent}+ {lines[-1]})"]


def _reshape(fused: Fused, line: Line, attributes: dict[str, Any]) -> list[str]:
    x, dtype = line.reads[0], fused.dtype(line.out)

    def source(at: Sequence[str]) -> list[str]:
        """The element of the same number; where only axes of one come or go, that is the same but for these."""
        ours = [(i, n) for i, n in zip(at, fused.shape(line.out)) if n > 1]
        theirs = [n for n in fused.shape(x) if n > 1]
        if [n for _, n in ours] == theirs:
            indices = iter([i for i, _ in ours])
            return [next(indices) if n > 1 else "0" for n in fused.shape(x)]
        number = "0"
        for i, n in ours:
            number = i if number == "0" else f"({number}) * {n} + {i}"
        found = []
        for n in reversed(fused.shape(x)):
            found.append(f"({number}) % {n}")
            number = f"({number}) // {n}"
        return found[::-1]
    return fused.over(fused.shape(line.out), lambda at: [
        f"{fused.element(line.out, at, dtype)} = {fused.element(x, source(at), dtype)}"])


def _concatenate(fused: Fused, line: Line, attributes: dict[str, Any]) -> list[str]:
    lines, start, dtype = [], 0, fused.dtype(line.out)
    for x in line.reads:
        axis = attributes["axis"] % len(fused.shape(x))
        lines += fused.over(fused.shape(x), lambda at: [f"{fused.element(line.out, moved(at, axis, start), dtype)} = "
                                                        f"{fused.element(x, at, dtype)}"])
        start += fused.shape(x)[axis]
    return lines


def _reduce(fused: Fused, line: Line, name: str, axis: Any, keepdims: bool) -> list[str]:
    x, dtype = line.reads[0], fused.dtype(line.out)
    shape = fused.shape(x)
    axes = range(len(shape)) if axis is None else [a % len(shape) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if dtype.kind != "f":
        raise NoForm(line.text)

    def out(at: Sequence[str]) -> str:
        return fused.element(line.out, ["0" if n in axes else i for n, i in enumerate(at) if keepdims or n not in axes], dtype)

    def write(at: Sequence[str]) -> list[str]:
        inner = [SYMBOLS[name].format(out(at), fused.element(x, at, dtype)) if name in SYMBOLS else
                 f"np.{name}({out(at)}, {fused.element(x, at, dtype)})"]
        inner = [f"{out(at)} = {inner[0]}"]
        for axis in reversed(axes):
            if shape[axis] != 1:
                inner = [f"for {at[axis]} in range({shape[axis]}):", *indented(inner)]
        return [f"{out(at)} = {fused.number(START[name], dtype)}", *inner]
    return fused.over(shape, write, skip=axes)


def _stack(fused: Fused, line: Line, attributes: dict[str, Any]) -> list[str]:
    lines, dtype, axis = [], fused.dtype(line.out), attributes["axis"] % len(fused.shape(line.out))
    for n, x in enumerate(line.reads):
        lines += fused.over(fused.shape(x), lambda at: [f"{fused.element(line.out, [*at[:axis], str(n), *at[axis:]], dtype)} = "
                                                        f"{fused.element(x, at, dtype)}"])
    return lines


def _mean(fused: Fused, line: Line, attributes: dict[str, Any]) -> list[str]:
    out, dtype = fused.shape(line.out), fused.dtype(line.out)
    n = math.prod(fused.shape(line.reads[0])) // max(math.prod(out), 1)
    return [*_reduce(fused, line, "add", attributes["axis"], attributes["keepdims"]),
            *fused.over(out, lambda at: [f"{fused.element(line.out, at, dtype)} /= {fused.number(n, dtype)}"])]


FORMS: dict[str, Any] = {"ufunc": None, "copy where": _copy_where, "copy part": _copy_part, "matmul": _matmul, "reduce": _reduce,
                         "reshape": _reshape, "concatenate": _concatenate, "stack": _stack, "mean": _mean}
