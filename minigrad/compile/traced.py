"""A value of a time step that is not computed but followed: what the cell does with it goes to the run that is going on (trace.py)."""
from __future__ import annotations

import threading
from typing import Any, Callable, NoReturn, Sequence

import numpy as np

from ..ops import FUNCTIONS, HANDLERS, TABLE, Op
from ..protocol import PLAIN_FUNCTIONS
from ..tensor import Tensor


class CannotTrace(TypeError):
    """A cell does what cannot be compiled; the message says what, and what to write instead."""


class ReadsNumbers(CannotTrace):
    """A cell looks at the numbers of its step."""


class Complex(CannotTrace):
    """A complex step goes through the cell: the unroll takes it, and nothing is wrong."""


class Deviates(Exception):
    """A run of the cell is not what the tape says."""


class _Following(threading.local):
    run: Any = None         # what follows the values of a step in this thread


_following = _Following()


def _direct(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two methods of a binary operator: ``self op other`` and ``other op self``."""
    op = TABLE[name]
    return (lambda self, other: _following.run.follow(op, (self, other), None)), (
        lambda self, other: _following.run.follow(op, (other, self), None))


class Traced(Tensor):
    """A value of the step being traced: its shape and dtype are known, its numbers are not."""
    __slots__ = ("node",)
    node: Any
    traced = True

    def follow(self, op: Op, inputs: Sequence[Any], attributes: dict[str, Any] | None) -> Any:
        run = _following.run
        if run is None:
            raise CannotTrace(f"a value of a traced step ({op.name} of it) was used after its step; a cell must keep nothing "
                              "besides its state")
        return run.follow(op, inputs, attributes)

    # what steps are mostly made of goes to the run at once, not by way of Tensor and record
    __add__, __radd__ = _direct("add")
    __sub__, __rsub__ = _direct("subtract")
    __mul__, __rmul__ = _direct("multiply")

    def __matmul__(self, other: Any) -> Any:
        if type(other) is Tensor and other.array.ndim > 1 and self.array.ndim > 1:
            return _following.run.follow(_MATMUL, (self, other), None)
        return Tensor.__matmul__(self, other)

    def _unknown(self, what: str) -> NoReturn:
        reason = (f"{what} of a value of the step needs its numbers, which differ from step to step; choose with np.where(…), "
                  "np.maximum(…) or arithmetic, or use mg.unroll")
        if _following.run is not None:
            _following.run.refused = reason                 # also if the cell catches the error and goes another way
        raise ReadsNumbers(reason)

    @property
    def place(self) -> NoReturn:
        self._unknown("the place in time")

    @property
    def op(self) -> NoReturn:       # type: ignore[override]        # also what mg.grad inside of a step goes by
        self._unknown("the history")

    def __reduce__(self) -> NoReturn:
        self._unknown("a copy")

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self._unknown("a copy")

    def __format__(self, spec: str) -> NoReturn:
        self._unknown("the text")

    def __repr__(self) -> str:
        return f"<a value of the step, {self.array.dtype} {self.array.shape}>"

    @property                   # type: ignore[misc]
    def data(self) -> Any:
        if getattr(_following.run, "rules", False):         # a rule looks at the real part: comparisons are traced too
            return self
        self._unknown("reading .data")

    def item(self) -> NoReturn:
        self._unknown("item()")

    def numpy(self) -> NoReturn:
        self._unknown("numpy()")

    def argmax(self, axis: Any = None) -> NoReturn:
        self._unknown("argmax()")

    def any(self, axis: Any = None) -> NoReturn:
        self._unknown("any()")

    argmin, all = argmax, any

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        self._unknown("turning into an array")

    def __float__(self) -> NoReturn:
        self._unknown("float()")

    def __int__(self) -> NoReturn:
        self._unknown("int()")

    def __index__(self) -> NoReturn:
        self._unknown("int()")

    def __bool__(self) -> NoReturn:
        self._unknown("bool()")

    def detach(self) -> Any:
        return self.follow(STOP, (self,), None)

    def astype(self, dtype: Any) -> Any:
        dtype = np.dtype(dtype)
        return self if dtype == self.array.dtype else self.follow(_ASTYPE, (self,), {"dtype": dtype})

    def __lt__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.less), (self, other), None)

    def __le__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.less_equal), (self, other), None)

    def __gt__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.greater), (self, other), None)

    def __ge__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.greater_equal), (self, other), None)

    def __eq__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.equal), (self, other), None)

    def __ne__(self, other: Any) -> Any:
        return self.follow(_without_gradient(np.not_equal), (self, other), None)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Any:           # of comparisons, which are plain arrays where nothing is traced
        return np.bitwise_and(self, other)

    def __or__(self, other: Any) -> Any:
        return np.bitwise_or(self, other)

    def __xor__(self, other: Any) -> Any:
        return np.bitwise_xor(self, other)

    def __invert__(self) -> Any:
        return np.invert(self)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if ufunc in _OF_TRUTHS and all(np.result_type(x.array if isinstance(x, Tensor) else x) == bool for x in inputs):
            ufunc = _OF_TRUTHS[ufunc]
        if len(inputs) == 1 and not kwargs and ufunc in _UNARY and method == "__call__":
            return _following.run.follow(_UNARY[ufunc], inputs, None)
        if ufunc in PLAIN_FUNCTIONS and method == "__call__" and not kwargs:
            return self.follow(_without_gradient(ufunc), inputs, None)
        return Tensor.__array_ufunc__(self, ufunc, method, *_weak(inputs), **kwargs)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if function in _OF_SHAPES:
            return function(*(x.array if isinstance(x, Tensor) else x for x in args), **kwargs)
        if function in _OF_NUMBERS:
            self._unknown(f"np.{function.__name__}")
        return Tensor.__array_function__(self, function, types, _weak(args), kwargs)


def _weak(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """NumPy's numbers as Python's, as an op takes them."""
    inputs = [x.item() if isinstance(x, (np.generic, np.ndarray)) and not x.ndim else x for x in inputs]
    return tuple([int(x) if type(x) is bool else x for x in inputs])


_OF_SHAPES = {np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.result_type, np.iscomplexobj, np.isrealobj,
              np.broadcast_shapes, np.common_type, np.can_cast}
_OF_NUMBERS = {np.any, np.all, np.allclose, np.isclose, np.array_equal, np.argmax, np.argmin, np.argsort, np.nonzero, np.argwhere,
               np.count_nonzero, np.searchsorted, np.array2string, np.array_repr, np.array_str, np.round, np.around, np.full_like,
               np.digitize, np.isin}
_OF_TRUTHS = {np.bitwise_and: np.logical_and, np.bitwise_or: np.logical_or, np.bitwise_xor: np.logical_xor, np.invert: np.logical_not}
_ops: dict[np.ufunc, Op] = {}


def _without_gradient(ufunc: np.ufunc) -> Op:
    """A comparison (or rounding) as an op: on a Tensor it gives a plain array, in a traced step it must stay in the step."""
    if ufunc not in _ops:
        _ops[ufunc] = Op(ufunc.__name__, ufunc, (None,) * ufunc.nin, f"{ufunc.__name__}({{*}})")
    return _ops[ufunc]


HANDLERS[Traced] = HANDLERS[Tensor]
_MATMUL = TABLE["matmul"]
_UNARY = {f: op for f, op in FUNCTIONS.items() if isinstance(f, np.ufunc) and f.nin == 1 and type(op) is Op and op.call is None
          and op.compose is None}
STOP = Op("stop_gradient", lambda x: x, (None,), "{0}")
_ASTYPE = Op("astype", lambda x, dtype: x.astype(dtype), (lambda g, y, x, dtype: g.astype(x.dtype),), "{0}")
