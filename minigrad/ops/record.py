"""What an op is: its name, its value, how it is differentiated, how it reads. Knows NumPy and nothing else.

The ops themselves stand in ``table.py``. Nothing here knows Tensor: a function of ours asks its arguments for
``__array_function__``, exactly as NumPy's own functions do, so a rule is plain NumPy that serves arrays and Tensors alike.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Sequence, TypeVar

import numpy as np

from .calls import Array, Call, Shape, scattered

Function = Callable[..., Any]
Rule = Callable[..., Any]               # (g, y, *arguments, **attributes) -> the gradient of one argument
Composition = TypeVar("Composition", bound=Function)

TABLE: dict[str, Op] = {}               # name -> Op
HANDLERS: dict[type, Function] = {}     # a type -> how it records (op, args, kwargs): the short way of ``__array_function__``
FUNCTIONS: dict[Function, Any] = {}     # a NumPy (or our own) function -> the Op it records, or a composition of functions that record


class Op:
    """One record of the table.

    name    how the op is called in graphs, errors and formulas
    value   arrays -> array
    rules   one gradient rule per argument, ``rule(g, y, *arguments, **attributes)``; None where there is no gradient;
            a single rule with ``variadic`` serves argument i as ``rule(i, g, y, arguments, **attributes)``, or, "jointly",
            gives the list of all as ``rule(g, y, arguments, **attributes)``, arrays that nobody else holds
    call    NumPy's call signature -> (inputs, static attributes in normal form)
    reads   the formula, ``{0}`` ``{1}`` … being the arguments
    saves   True: value returns (y, saved), and the rules get ``saved=…``, or ``saved=None`` when a graph is being made
    compose a composition of other ops for calls without a normal form (a vector in matmul); NotImplemented for the rest
    """
    __slots__ = ("name", "value", "rules", "call", "reads", "saves", "variadic", "special", "compose")
    rules: tuple[Any, ...]            # of Rule | None
    compose: Any                      # Function | None

    def __init__(self, name: str, value: Function, rules: tuple[Rule | None, ...], call: Callable[..., Call] | None, reads: str,
                 saves: bool, variadic: bool | str, compose: Function | None) -> None:
        self.name, self.value, self.rules, self.call, self.reads = name, value, rules, call, reads
        self.saves, self.variadic, self.special, self.compose = saves, variadic, saves or variadic, compose

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def evaluate(self, *arrays: Array, **attributes: Any) -> np.ndarray:
        """The value alone, without what the rules may want saved."""
        y = self.value(*arrays, **attributes)
        return y[0] if self.saves else y

    def rule(self, i: int) -> Rule | None:
        """The gradient rule of argument i, or None."""
        if self.variadic == "jointly":
            return lambda g, y, *x, **attributes: self.rules[0](g, y, x, **attributes)[i]
        if self.variadic:
            return lambda g, y, *x, **attributes: self.rules[0](i, g, y, x, **attributes)
        return self.rules[i] if i < len(self.rules) else None


def op(value: Function, *rules: Rule | None, reads: str, name: str | None = None, call: Callable[..., Call] | None = None,
       serves: Sequence[Function] = (), saves: bool = False, variadic: bool | str = False,
       compose: Function | None = None) -> Any:
    """Enter an op into the table; return the function that people call (NumPy's own where there is one)."""
    name = name or value.__name__
    record = Op(name, value, rules, call, reads, saves, variadic, compose)
    TABLE[name] = record
    own = not (isinstance(value, np.ufunc) or serves)
    function = public(record) if own else (serves or (value,))[0]
    for f in (function, *serves):
        FUNCTIONS[f] = record
    return function


def public(record: Op) -> Function:
    """A function that answers like one of NumPy's: arrays give an array, whoever speaks ``__array_function__`` its own."""
    def function(*args: Any, **kwargs: Any) -> Any:
        handler = HANDLERS.get(type(args[0])) if args else None
        if handler is not None:
            return handler(record, args, kwargs)
        for a in args:
            kind = type(a)
            if kind is not np.ndarray and hasattr(kind, "__array_function__"):
                return a.__array_function__(function, (kind,), args, kwargs)
        try:
            if args and type(args[0]) is not np.ndarray:
                args = (_numbers(args[0]), *args[1:])
            inputs, attributes = record.call(*args, **kwargs) if record.call else (args, kwargs)
            return record.evaluate(*(np.asarray(x) if isinstance(x, (list, tuple)) else x for x in inputs), **attributes)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            _explain(error, record.name, args)
            raise
    function.__name__ = function.__qualname__ = record.name
    function.__doc__ = record.value.__doc__
    return function


def _numbers(x: Any) -> Array:
    """What an op of ours takes besides arrays; a number stays a number."""
    array = np.asarray(x)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected a Tensor, an array or a number, not {type(x).__name__}")
    return array if array.ndim else array[()]


def _explain(error: Exception, name: str, args: Sequence[Any]) -> None:
    """Unless the error names the function, raise one of its kind that does, and says what the function got."""
    if str(error).startswith(name):
        return
    given = ", ".join([f"{x.shape}" if isinstance(x, np.ndarray) else repr(x)[:60] for x in args])
    kind = next((k for k in (ValueError, IndexError) if isinstance(error, k)), TypeError)
    raise kind(f"minigrad: {name} got {given}: {error}") from error


def composition(*names: str) -> Callable[[Composition], Composition]:
    """Decorator: NumPy's functions of these names, called on Tensors, run this composition of ops; a gradient of its own is not needed."""
    def enter(function: Composition) -> Composition:
        FUNCTIONS.update((known, function) for known in map(numpys, names) if known)
        return function
    return enter


def numpys(name: str) -> Function | None:
    """``linalg.norm`` -> np.linalg.norm; None if this NumPy has no such function."""
    room, _, name = name.rpartition(".")
    return getattr(getattr(np, room) if room else np, name, None)


# ---- what many rules need ------------------------------------------------------------------------------------------

def spread(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """g stretched over the shape of x, leading axes of either kept: the gradient of a sum."""
    if type(g) is np.ndarray:
        out = np.empty(np.broadcast_shapes(g.shape, x.shape) if g.ndim > x.ndim else x.shape, g.dtype)
        out[...] = g
        return out
    return np.broadcast_to(g, np.broadcast_shapes(g.shape, x.shape))


def real(x: np.ndarray) -> np.ndarray:
    """The real part as an array: what a branch looks at, so that complex step takes the branch of the real point."""
    x = getattr(x, "data", x) if not isinstance(x, np.ndarray) else x
    return x.real if isinstance(x, np.ndarray) else np.real(x)


class Later:
    """A gradient that a rule leaves to the walk to compute: ``dense()`` is the array; ``add`` sums several of one kind at once."""
    __slots__ = ()
    dense: Callable[[], Array]
    add: Callable[..., np.ndarray]    # (parts, total, lead)


class At(Later):
    """A gradient that lives at ``index`` only: added into a buffer that the walk owns, instead of a dense array each."""
    __slots__ = ("index", "g", "shape")

    def __init__(self, index: tuple[Any, ...], g: Array, shape: Shape) -> None:
        self.index, self.g, self.shape = index, g, shape

    def add_into(self, buffer: np.ndarray) -> None:
        if any([type(i) is np.ndarray for i in self.index]):
            np.add.at(buffer, self.index, self.g)       # an index may occur twice
        else:
            part = buffer[self.index]
            part += self.g

    def dense(self) -> Array:
        return scatter(self.g, self.index, self.shape)

    @staticmethod
    def add(parts: Sequence[At], total: np.ndarray | None, lead: int) -> np.ndarray:
        """total (None, or an array to write into) plus all parts; ``lead`` axes in front of the gradients are several walks."""
        first = parts[0]
        if total is None:
            total = np.zeros(first.g.shape[:lead] + first.shape, first.g.dtype)
            if first.g.nbytes > 2048 and _apart(parts):
                for part in parts:
                    total[part.index] = part.g      # where nothing is yet: half the time of adding
                return total
        for part in parts:
            part.add_into(total)
        return total


def _apart(parts: Sequence[At]) -> bool:
    """Whether no two parts meet: their slices of the last axis follow each other, as the gates of one packed array do."""
    stop, dtype = 0, parts[0].g.dtype
    for first, past in sorted([_span(part) for part in parts]):
        if first < stop:
            return False
        stop = past
    return all([part.g.dtype == dtype for part in parts])


def _span(part: At) -> tuple[int, int]:
    """From where to where a part lies on the last axis; (-1, -1), which is nowhere, if that is no plain slice."""
    for i in part.index:
        if type(i) is np.ndarray:
            return -1, -1
    last = part.index[-1]
    return last.indices(part.shape[-1])[:2] if type(last) is slice and last.step is None else (-1, -1)


class Rows(Later):
    """The gradient aᵀ g of a matrix that many rows were multiplied with: those of several steps are one product."""
    __slots__ = ("a", "g")

    def __init__(self, a: np.ndarray, g: np.ndarray) -> None:
        self.a, self.g = a, g

    def dense(self) -> np.ndarray:
        return np.matmul(self.a.mT, self.g)

    @staticmethod
    def add(parts: Sequence[Rows], total: np.ndarray | None, lead: int) -> np.ndarray:
        if lead:        # one by one, since a need not have these axes
            each = [np.add.reduce(d, axis=tuple(range(lead, d.ndim - 2))) for d in (part.dense() for part in parts)]
            new = functools.reduce(np.add, each)
        else:
            a, g = ([_rows(x) for x in xs] for xs in zip(*((p.a, p.g) for p in parts)))
            new = a[0].T.dot(g[0]) if len(a) == 1 else np.concatenate(a).T.dot(np.concatenate(g))
        return new if total is None else np.add(total, new, out=total)


def _rows(x: np.ndarray) -> np.ndarray:
    """A stack of matrices as one."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def scatter(g: Array, index: Any, shape: Shape) -> Array:
    """Zeros of ``shape`` (leading axes of g in front) with g added at ``index``: the transpose of indexing."""
    if not isinstance(g, np.ndarray) and hasattr(type(g), "__array_function__"):
        return g.__array_function__(scatter, (type(g),), (g, index, shape), {})
    try:
        g, (_, normal) = _numbers(g), scattered(g, index, shape)
        index, shape = normal["index"], normal["shape"]
        lead = g.ndim - np.empty(shape, bool)[index].ndim
        return At.add([At(index, np.asarray(g), shape)], None, lead)
    except (TypeError, ValueError, IndexError) as error:
        _explain(error, "scatter_add", (g, index, shape))
        raise
