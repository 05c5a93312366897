"""Formulas as text, read off the op table: a rule called with ``Symbol``s says itself what it computes."""
from __future__ import annotations

import re
from typing import Any, Callable

import numpy as np

from .ops import FUNCTIONS


class Symbol:
    """A text that calculates: rules called with Symbols return their own formula."""
    __slots__ = ("text", "tight")
    ndim, shape, dtype = 2, (), float

    def __init__(self, text: str, tight: float = 3) -> None:
        self.text, self.tight = text, tight                     # 3 an atom, 2.75 a power, 2.5 a matrix product, 2 a product, 1 a sum

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__

    def at(self, least: float) -> str:
        return self.text if self.tight >= least else f"({self.text})"

    def _two(a: Any, b: Any, sign: str, tight: float) -> Symbol:
        a, b = (x if isinstance(x, Symbol) else Symbol(f"{x:g}" if isinstance(x, (int, float)) else str(x)) for x in (a, b))
        if sign == "*" and "1" in (a.text, b.text):
            return b if a.text == "1" else a
        if sign == "*" and a.text == b.text:
            return a ** 2
        if sign == "@":
            tight = 2.5
        inner = 2.75 if sign in "/@" or sign == "*" and b.tight == 2.5 else tight + (sign == "-")      # a * (b @ c) is not a * b @ c
        return Symbol(f"{a.at(tight)} {sign} {b.at(inner)}", 1.9 if a.tight == 2.5 and tight == 2 else tight)

    def __add__(a, b: Any) -> Symbol: return a._two(b, "+", 1)
    def __radd__(a, b: Any) -> Symbol: return Symbol._two(b, a, "+", 1)
    def __sub__(a, b: Any) -> Symbol: return a._two(b, "-", 1)
    def __rsub__(a, b: Any) -> Symbol: return Symbol._two(b, a, "-", 1)
    def __mul__(a, b: Any) -> Symbol: return a._two(b, "*", 2)
    def __rmul__(a, b: Any) -> Symbol: return Symbol._two(b, a, "*", 2)
    def __truediv__(a, b: Any) -> Symbol: return a._two(b, "/", 2)
    def __rtruediv__(a, b: Any) -> Symbol: return Symbol._two(b, a, "/", 2)
    def __matmul__(a, b: Any) -> Symbol: return a._two(b, "@", 2)
    def __pow__(a, b: Any) -> Symbol: return Symbol(f"{a.at(3)}**{b.at(3) if isinstance(b, Symbol) else b}", 2.75)
    def __neg__(a) -> Symbol: return Symbol(f"-{a.at(2)}", 2)
    def __gt__(a, b: Any) -> Symbol: return Symbol(f"({a.text} > {b})")
    def astype(a, dtype: Any) -> Symbol: return a

    @property
    def mT(a) -> Symbol:
        return Symbol(f"{a.at(3)}.T")

    @property
    def real(a) -> Symbol:
        return a

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Symbol:
        two = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "matmul": "@"}.get(ufunc.__name__)
        if two:
            return Symbol._two(inputs[0], inputs[1], two, 1 if two in "+-" else 2)
        return Symbol(f"{ufunc.__name__}({', '.join(x.text if isinstance(x, Symbol) else f'{x:g}' for x in inputs)})")

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if function is np.real:
            return args[0]
        name = getattr(FUNCTIONS.get(function), "name", function.__name__)
        said = [*(repr(a.replace("...", "")) if type(a) is str else str(a) for a in args),
                *(f"{k}={v}" for k, v in kwargs.items() if v is not None and v is not False)]
        return Symbol(f"{name}({', '.join(said)})")


def atom(text: str) -> str:
    """The text, in parentheses unless it is one name."""
    return text if re.fullmatch(r"[\w.]+(\[[^][]*\])?", text) else f"({text})"
