"""What an op is: its name, its value, how it is differentiated, how it reads. Knows NumPy and nothing else.

The ops themselves stand in ``table.py``. Nothing here knows Tensor: a function of ours asks its arguments for
``__array_function__``, exactly as NumPy's own functions do, so a rule is plain NumPy that serves arrays and Tensors alike.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, Sequence

import numpy as np

from .calls import Array, Call, numbers

Function = Callable[..., Any]
Rule = Callable[..., Any]               # (g, y, *arguments, **attributes) -> the gradient of one argument

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
    __slots__ = ("name", "value", "rules", "reads", "call", "saves", "variadic", "special", "compose", "function")
    function: Function                # what people call: NumPy's own where there is one

    def __init__(self, name: str, value: Function, rules: tuple[Any, ...], reads: str, *, call: Callable[..., Call] | None = None,
                 saves: bool = False, variadic: bool | str = False, compose: Any = None) -> None:
        self.name, self.value, self.rules, self.reads, self.call = name, value, rules, reads, call
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


def op(value: Function, *rules: Rule | None, reads: str, name: str | None = None, serves: Sequence[Function] = (), **more: Any) -> Any:
    """Enter an Op into the table, ``more`` being its other fields; return the function that people call, NumPy's if it ``serves`` one."""
    record = Op(name or value.__name__, value, rules, reads, **more)
    TABLE[record.name] = record
    record.function = serves[0] if serves else value if isinstance(value, np.ufunc) else public(record)
    FUNCTIONS.update(dict.fromkeys((record.function, *serves), record))
    return record.function


def public(record: Op) -> Function:
    """A function that answers like one of NumPy's: arrays give an array, whoever speaks ``__array_function__`` its own."""
    def function(*args: Any, **kwargs: Any) -> Any:
        handler = HANDLERS.get(type(args[0])) if args else None
        if handler is not None:
            return handler(record, args, kwargs)
        for a in (*args, *kwargs.values()):
            kind = type(a)
            if kind is not np.ndarray and hasattr(kind, "__array_function__"):
                return a.__array_function__(function, (kind,), args, kwargs)
        try:
            if args and (type(args[0]) is not np.ndarray or args[0].dtype.kind not in "biufc"):
                args = (numbers(args[0])[()], *args[1:])        # a number stays a number
            inputs, attributes = record.call(*args, **kwargs) if record.call else (args, kwargs)
            return record.evaluate(*(np.asarray(x) if isinstance(x, (list, tuple)) else x for x in inputs), **attributes)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            _explain(error, record.name, args)
            raise
    function.__name__ = function.__qualname__ = record.name
    function.__doc__ = record.value.__doc__
    return function


def _explain(error: Exception, name: str, args: Sequence[Any]) -> None:
    """Unless the error names the function, raise one of its kind that does, and says what the function got."""
    if str(error).startswith(name):
        return
    given = ", ".join([f"{x.shape}" if isinstance(x, np.ndarray) else repr(x)[:60] for x in args])
    kind = next((k for k in (ValueError, IndexError) if isinstance(error, k)), TypeError)
    raise kind(f"minigrad: {name} got {given}: {str(error).split('() ')[-1]}") from error       # without our inner function's name


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
