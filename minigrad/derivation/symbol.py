"""Symbol: an array that is written down instead of computed with. It answers NumPy's functions with expressions.

The ops' gradient rules are plain NumPy, so given Symbols they write the adjoint, comparisons and signs included: what a rule reads
from the numbers (the real part of x, above or below 0) is a Symbol again, and no sample's choice is frozen into the formula.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import total_ordering
from math import prod
from typing import Any

import numpy as np

from ..ops import FUNCTIONS, Op, scatter_add
from ..ops.calls import axes_from_end
from .algebra import build
from .expression import Expression, Shape, Static, make, number, zeros

Written = tuple[str, Sequence[Any], Any]        # an op, its operands, and what else is needed to write it


@total_ordering
class Size:
    """The length of an axis that has a letter. It keeps it when it is multiplied, B · 3 H; other arithmetic with it is written down."""
    __slots__ = ("n", "letters", "factor")

    def __init__(self, n: int, letters: tuple[str, ...], factor: int = 1) -> None:
        self.n, self.letters, self.factor = n, letters, factor

    def __index__(self) -> int:
        return self.n

    def __eq__(self, other: object) -> bool:
        return self.n == other

    def __lt__(self, other: Any) -> bool:
        return self.n < other

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, Size):
            return Size(self.n * other.n, self.letters + other.letters, self.factor * other.factor)
        return Size(self.n * other, self.letters, self.factor * other) if isinstance(other, int) else np.multiply(self.symbol(), other)

    __rmul__ = __mul__

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*(x.symbol() if isinstance(x, Size) else x for x in inputs), **kwargs)

    def symbol(self) -> Symbol:
        return Symbol(as_expression(self), self.n)


class Symbol:
    """``e`` the expression; ``value`` a sample, from which shape and dtype are known; ``letters`` of lengths: {11: "B"}."""
    __slots__ = ("e", "value", "letters")
    __array_priority__ = 2000.0
    __hash__ = None         # type: ignore[assignment]      # object has one; Python's way to take it away
    __iter__ = None

    def __init__(self, e: Expression, value: Any, letters: dict[int, str] | None = None) -> None:
        self.e, self.value, self.letters = e, np.asarray(value), letters or {}

    shape = property(lambda self: tuple(Size(n, (self.letters[n],)) if n in self.letters else n for n in self.value.shape))
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: prod(self.shape))
    dtype = property(lambda self: self.value.dtype)
    data = real = property(lambda self: self)
    mT = property(lambda self: self._new("T", (self.e,), None, self.value.mT))
    T = property(lambda self: np.transpose(self))

    def _new(self, op: str, args: tuple[Expression, ...], extra: Any, value: Any) -> Symbol:
        value = np.asarray(value)
        if op == "reshape" and self._rows(value.shape) != self._rows(args[0].shape):
            raise TypeError("a reshape that mixes the batch with another axis has no written form")
        return Symbol(build(op, args, extra, value.shape), value, self.letters)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError("a rule that turns its arguments into arrays has no written form")

    def _rows(self, shape: Shape) -> int:
        return [self.letters.get(n) for n in shape].count("B")

    def __getitem__(self, index: Any) -> Symbol:
        index = index if isinstance(index, tuple) else (index,)
        index = index if any(i is Ellipsis for i in index) else (*index, Ellipsis)
        n = self.value.ndim - sum(i is not None and i is not Ellipsis for i in index)
        full: list[Any] = []
        for i in index:                                 # written out, with ... in front: as the table has it
            full.extend([slice(None)] * n if i is Ellipsis else [_place(i)])
        if any(isinstance(i, Symbol) for i in full):
            raise TypeError("an index that is computed in the step has no written form")
        return self._new("index", (self.e,), Static((Ellipsis, *full)), self.value[tuple(full)])

    def __bool__(self) -> bool:
        raise TypeError("a rule that branches on the numbers has no written form")

    def reshape(self, *shape: Any) -> Symbol:
        shape = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
        value = self.value.reshape(shape)
        return self._new("reshape", (self.e,), value.shape, value)

    def astype(self, dtype: Any, copy: bool = True) -> Symbol:
        return Symbol(self.e, self.value.astype(dtype), self.letters)

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
        return np.sum(self, axis=axis, keepdims=keepdims)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Symbol:
        if method != "__call__" or kwargs:
            raise TypeError(f"np.{ufunc.__name__}.{method} has no written form")
        return self._apply(ufunc, _NAMES.get(ufunc.__name__, ufunc.__name__), inputs, {})

    def __array_function__(self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in (np.shape, np.ndim, np.size):
            return {np.shape: self.shape, np.ndim: self.ndim, np.size: self.size}[function]
        if function in (np.zeros_like, np.ones_like):
            return function(args[0].value)
        if function in (np.real, np.iscomplexobj):
            return self if function is np.real else False
        if function is scatter_add:
            g, index, shape = args
            return self._new("scatter", (g.e,), Static((tuple(index), tuple(map(int, shape)))), scatter_add(g.value, index, tuple(shape)))
        record = FUNCTIONS.get(function)
        name = record.name if type(record) is Op else "linalg." * (function.__module__ == "numpy.linalg") + function.__name__
        return self._apply(function, name, args, kwargs)

    def _apply(self, function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Symbol:
        """Any function of NumPy's or ours: its value on the sample, and the expression of it."""
        with np.errstate(all="ignore"):
            value = function(*_plain(args), **_plain(kwargs))
        write = WRITTEN.get(name)
        if write is not None:
            op, operands, extra = write(np.shape(value), *args, **kwargs)
        else:
            if isinstance(value, (list, tuple)) or not all(isinstance(a, (Symbol, Size, np.ndarray, float, int)) for a in args):
                raise TypeError(f"this call of np.{name} has no written form")
            op, operands, extra = name, args, Static(tuple(sorted(kwargs.items()))) if kwargs else None
        return self._new(op, tuple(as_expression(x) for x in operands), extra, value)


def _place(i: Any) -> Any:
    """An index with numbers for lengths."""
    if isinstance(i, slice):
        return slice(_place(i.start), _place(i.stop), _place(i.step))
    if isinstance(i, Size):
        if "B" in i.letters:
            raise TypeError("an index that depends on the batch's length has no written form")
        return i.n
    return i


def _plain(x: Any) -> Any:
    """Samples for Symbols, numbers for lengths, in any nesting."""
    if isinstance(x, Symbol):
        return x.value
    if isinstance(x, Size):
        return x.n
    if isinstance(x, (list, tuple)):
        return type(x)(_plain(v) for v in x)
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    return x


def as_expression(x: Any) -> Expression:
    if isinstance(x, Expression):
        return x
    if isinstance(x, Symbol):
        return x.e
    if isinstance(x, Size):
        return make("size", (), (x.factor, x.letters))
    if np.ndim(x) == 0:
        return number(x)
    x = np.asarray(x)
    return make("array", (), Static(x), x.shape) if x.any() else zeros(x.shape)


def _operator(ufunc: np.ufunc, swapped: bool = False) -> Callable[[Symbol, Any], Symbol]:
    def apply(self: Symbol, other: Any) -> Symbol:
        return ufunc(other, self) if swapped else ufunc(self, other)
    return apply


for _name, _ufunc in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power,
                      "matmul": np.matmul}.items():
    setattr(Symbol, f"__{_name}__", _operator(_ufunc))
    setattr(Symbol, f"__r{_name}__", _operator(_ufunc, swapped=True))
    if _name != "mul":
        setattr(Size, f"__{_name}__", lambda self, other, f=_ufunc: f(self.symbol(), other))
        setattr(Size, f"__r{_name}__", lambda self, other, f=_ufunc: f(other, self.symbol()))
for _name, _ufunc in {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal,
                      "ne": np.not_equal}.items():
    setattr(Symbol, f"__{_name}__", _operator(_ufunc))
for _name, _ufunc in {"neg": np.negative, "abs": np.absolute}.items():
    setattr(Symbol, f"__{_name}__", lambda self, f=_ufunc: f(self))


# ---- how calls are written: (out, *args, **kwargs) -> op, operands, extra ------------------------------------------------

def negated(x: Any) -> Expression:
    e = as_expression(x)
    return build("mul", (number(-1), e), None, e.shape)


def _reduced(op: str) -> Callable[..., Written]:
    def write(out: Shape, x: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False, **more: Any) -> Written:
        extra = axes_from_end(axis, np.ndim(x)), bool(keepdims)
        return op, (x,), extra + tuple(sorted(more.items())) if more else extra
    return write


def _along(op: str) -> Callable[..., Written]:
    return lambda out, x, axis=-1: (op, (x,), axes_from_end(axis, np.ndim(x))[0])


def _joined(out: Shape, arrays: Sequence[Any], axis: int = 0) -> Written:
    return "concatenate", tuple(arrays), axes_from_end(axis, len(out))[0]


def _permuted(out: Shape, x: Any, axes: Sequence[int] | None = None) -> Written:
    n = np.ndim(x)
    axes = tuple(range(n))[::-1] if axes is None else tuple(int(a) % n for a in axes)
    if axes == tuple(range(n)):
        return "reshape", (x,), np.shape(x)
    if n > 1 and axes == (*range(n - 2), n - 1, n - 2):
        return "T", (x,), None
    return "transpose", (x,), tuple(a - n for a in axes)


def _swapped(out: Shape, x: Any, a: int, b: int) -> Written:
    axes = list(range(np.ndim(x)))
    axes[a], axes[b] = axes[b], axes[a]
    return _permuted(out, x, axes)


_NAMES = {"true_divide": "divide"}
WRITTEN: dict[str, Callable[..., Written]] = {
    "add": lambda out, a, b: ("add", (a, b), None),
    "subtract": lambda out, a, b: ("add", (a, negated(b)), None),
    "negative": lambda out, a: ("mul", (number(-1), a), None),
    "multiply": lambda out, a, b: ("mul", (a, b), None),
    "square": lambda out, a: ("power", (a, number(2)), None),
    "matmul": lambda out, a, b: ("matmul", (a, b), None),
    "transpose": _permuted, "swapaxes": _swapped,
    "matrix_transpose": lambda out, a: ("T", (a,), None),
    "reshape": lambda out, x, *more, **even: ("reshape", (x,), out),
    "expand_dims": lambda out, x, *more, **even: ("reshape", (x,), out),
    "broadcast_to": lambda out, x, *more, **even: ("broadcast", (x,), out),
    "concatenate": _joined, "stack": lambda out, arrays, axis=0: ("stack", tuple(arrays), axes_from_end(axis, len(out))[0]),
    "sum": _reduced("sum"), "mean": _reduced("mean"), "var": _reduced("var"), "max": _reduced("max"), "min": _reduced("min"),
    "prod": _reduced("prod"), "logsumexp": _reduced("logsumexp"),
    "softmax": _along("softmax"), "log_softmax": _along("log_softmax"), "cumsum": _along("cumsum"),
    "flip": lambda out, x, axis=None: ("flip", (x,), axes_from_end(axis, np.ndim(x))),
    "triu": lambda out, x, k=0: ("triu", (x,), k), "tril": lambda out, x, k=0: ("tril", (x,), k),
    "einsum": lambda out, text, *operands: ("einsum", operands, text),
    "layer_norm": lambda out, x, eps=1e-5: ("layer_norm", (x,), eps),
}
