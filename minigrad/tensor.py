"""Tensor: an array that remembers where it came from.

Here live the recording of ops, the operators and the NumPy protocol. How gradients flow is in ``autodiff.py``, what can
be computed is in ``ops/``.
"""
from __future__ import annotations

import itertools
import operator
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from . import ops
from .errors import explain_call, explain_failure
from .ops import FUNCTIONS, TABLE
from .protocol import OF_THE_REAL_PART, PLAIN_FUNCTIONS, fitting, no_rule, rephrased

ndarray = np.ndarray
Value = Any         # what an op gives, a Tensor: NumPy's stubs say that np.tanh of a Tensor is an ndarray, and no checked cell could use it
Binary = Callable[["Tensor", Any], Value]
_clock = itertools.count(1).__next__     # creation order, one for the process: a topological order of every graph


class _Mode(threading.local):
    """What recording looks like in this thread: on or off, at which time step, and who watches."""
    def __init__(self) -> None:
        self.recording = True
        self.place: Any = None                                  # the time step that ops are recorded in
        self.watch: Callable[[Tensor], Any] | None = None       # called with every recorded Tensor: mg.debug() and the naming of one step


mode = _Mode()


def _operator(name: str) -> tuple[Binary, Binary]:
    """The two methods of a binary operator: ``self op other`` and ``other op self``."""
    op = TABLE[name]
    return (lambda self, other: record(op, (self, other))), (lambda self, other: record(op, (other, self)))


def _number(convert: Any) -> Callable[[Tensor], Any]:
    """The conversion of a Tensor without gradients to a Python number."""
    def conversion(self: Tensor) -> Any:
        if self.requires_grad:
            raise TypeError(f"{convert.__name__}() of {self.label()}, which requires gradients, would cut it from the graph; "
                            f"use .item() for the number, np.where(…) for a choice")
        return _without_gradient(convert, (self,), {})
    return conversion


def _plainly(function: Any) -> Callable[[Tensor, Any], Any]:
    """A binary operator that has no gradient: on Tensors it gives plain arrays."""
    return lambda self, other: _without_gradient(function, (self, other), {})


def _method(function: Any) -> Callable[..., Value]:
    """NumPy's function of that name as a method."""
    op = FUNCTIONS.get(function)

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Value:
        return _apply(op, (self, *args), kwargs) if op else _without_gradient(function, (self, *args), kwargs)
    method.__name__, method.__doc__ = function.__name__, f"As ``np.{function.__name__}(self, …)``."
    return method


class Tensor:
    """An n-dimensional array that records how it was computed.

    data           array-like of numbers, copied; Python floats and ints in lists become float64 and int64
    requires_grad  True for a leaf whose gradient is wanted; only floating (and complex) dtypes can
    name           how pictures, tables and errors call it

    ``.data`` is the ndarray, ``.grad`` the accumulated gradient (an ndarray, or None) after ``backward()``.

    >>> x = Tensor([1., 2.], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4.])
    """
    __slots__ = ("array", "op", "inputs", "arrays", "attributes", "saved", "index", "requires_grad", "grad", "name", "place", "__weakref__")
    __array_priority__ = 1000.0
    array: ndarray
    op: ops.Op | None                       # None: a leaf
    inputs: tuple[Any, ...]                 # what the op was given: Tensors, arrays, numbers; and their values
    arrays: tuple[Any, ...]
    attributes: dict[str, Any] | None
    saved: Any                              # what the op's value leaves for its rules
    index: int                              # when it was made
    place: Any                              # and in which step: a Place
    requires_grad: bool
    grad: ndarray | None
    name: str | None
    backward: Callable[..., None]           # the reverse walk; autodiff.py puts it here
    follow: Callable[..., Tensor]           # how values that are being traced record (compile/traced.py)

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        array = np.array(ops.numbers(data.data if isinstance(data, Tensor) else data, "Tensor: "))
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        if requires_grad and array.dtype.kind not in "fc":
            raise TypeError(f"a Tensor of dtype {array.dtype} cannot require gradients; make it floating: "
                            "np.asarray(data, dtype=float)")
        _fill(self, array, bool(requires_grad), name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.__module__.startswith("minigrad."):      # values that are being traced (compile/)
            return
        raise TypeError("Tensor is not made to be subclassed; keep a Tensor as an attribute of a Module instead")

    # ---- the array and its properties ---------------------------------------------------------------------------
    @property
    def data(self) -> ndarray:
        """The values, an ndarray. Assigning stamps the tensor, so that a graph made before cannot be differentiated."""
        return self.array

    @data.setter
    def data(self, value: Any) -> None:
        if self.op is not None:
            raise RuntimeError(f"the result of {self.op.name} cannot be given other data: its gradient would be wrong; "
                               "compute with np.where(…), or take t.detach() and change that")
        if isinstance(value, Tensor):
            value = value.array
        if value is not self.array:         # `t.data -= …` gives the same array back; any other may change without our knowing
            try:
                value = np.array(value, self.array.dtype)
            except (TypeError, ValueError) as error:
                raise type(error)(f"{self.label()} got data of type {type(value).__name__}: {error}") from None
        if value.shape != self.array.shape:
            raise ValueError(f"{self.label()} has shape {self.array.shape} and got data of shape {value.shape}; "
                             "make a new Tensor for another shape")
        self.array = value
        self.index = _clock()

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    is_leaf = property(lambda self: self.op is None)
    T = property(lambda self: np.transpose(self))
    real = property(lambda self: np.real(self))

    @property
    def mT(self) -> Value:
        n = self.array.ndim
        if n < 2:
            raise ValueError(f"mT swaps the last two axes; got an array of shape {self.array.shape}")
        return record(_transpose, (self,), {"axes": (*range(-n, -2), -1, -2)})

    def label(self) -> str:
        """How a message calls this tensor."""
        return f"{'parameter' if self.requires_grad and self.op is None else 'tensor'} {self.name!r}" if self.name else (
            f"a tensor of shape {self.array.shape}" if self.op is None else f"the result of {self.op.name}")

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item() needs exactly one element, got shape {self.array.shape}; use .data")
        return self.array.item()

    def numpy(self) -> ndarray:
        return self.array

    def detach(self) -> Tensor:
        """The same values as a leaf without history: nothing flows back through it."""
        return _leaf(self.array.copy(), name=self.name)

    def copy(self) -> Tensor:
        return record(TABLE["multiply"], (self, 1))

    def astype(self, dtype: Any) -> Tensor:
        """The values in another dtype; records nothing when the dtype is the same, else gradients flow through."""
        try:
            dtype = np.dtype(dtype)
        except (TypeError, ValueError) as error:
            raise TypeError(f"astype of {self.label()}: {error}") from None
        if dtype.kind not in "biufc":
            raise TypeError(f"astype of {self.label()} got dtype {dtype}; expected numbers")
        if dtype == self.array.dtype:
            return self
        if dtype.kind not in "fc" or not self.requires_grad:
            return _leaf(self.array.astype(dtype))
        return record(TABLE["astype"], (self,), {"dtype": dtype})

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Tensor]:
        if self.array.ndim == 0:
            raise TypeError("cannot iterate over a 0-d Tensor")
        return (self[i] for i in range(len(self.array)))

    def __repr__(self) -> str:
        more = "".join([f", name={self.name!r}" if self.name else "",
                        f", op={self.op.name}" if self.op else ", requires_grad=True" if self.requires_grad else ""])
        return f"Tensor({np.array2string(self.array, separator=', ', prefix='Tensor(')}{more})"

    def __format__(self, spec: str) -> str:
        return format(self.array.item() if spec and self.array.size == 1 else str(self), spec)

    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickling and copying give a leaf with a fresh index: history is not copied."""
        return Tensor, (self.array, self.requires_grad, self.name)

    # ---- what would cut the graph silently raises -----------------------------------------------------------------
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        if self.requires_grad:
            raise TypeError(f"{self.label()} requires gradients, and turning it into a NumPy array would cut it from the graph; "
                            "join Tensors with np.stack(…), or take .data if no gradient is meant to flow")
        return np.array(self.array, dtype=dtype, copy=copy)

    __float__, __int__, __index__, __bool__ = map(_number, (float, int, operator.index, bool))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise TypeError(f"assignment into {self.label()}: a Tensor does not change, its gradient would be wrong. Collect the parts in a "
                        "list and join them with np.stack(…), choose with np.where(…), or write into .data[…] of a leaf before it is used")

    # ---- operators --------------------------------------------------------------------------------------------------
    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __truediv__, __rtruediv__ = _operator("divide")
    _power, __rpow__ = _operator("power")

    def __pow__(self, other: Any) -> Value:
        return record(_square, (self,)) if type(other) is int and other == 2 else self._power(other)

    def __matmul__(self, other: Any) -> Value:
        right = other.array if type(other) is Tensor else other
        if type(right) is ndarray and self.array.ndim > 1 < right.ndim:             # the rule itself
            return record(_matmul, (self, other))
        return _apply(_matmul, (self, other), {})

    def __rmatmul__(self, other: Any) -> Value:
        return _apply(_matmul, (other, self), {})

    def __neg__(self) -> Value:
        return record(_negative, (self,))

    def __pos__(self) -> Tensor:
        return self

    __abs__ = _method(np.absolute)

    def __getitem__(self, index: Any) -> Value:
        if type(index) is int:      # the commonest: one step of a sequence
            n = self.array.ndim
            if n:
                return record(_getitem, (self,), {"index": (Ellipsis, index) + (slice(None),) * (n - 1)})
        elif type(index) is tuple and index and index[0] is Ellipsis and all(type(i) in _BASIC for i in index[1:]):
            return record(_getitem, (self,), {"index": index})
        elif type(index) is tuple and len(index) == self.array.ndim and all([type(i) is slice or type(i) is int for i in index]):
            return record(_getitem, (self,), {"index": (Ellipsis, *index)})
        return _apply(_getitem, (self, index), {})

    # comparisons and whole quotients have no gradient; complex numbers are compared by their real part
    __lt__, __le__, __gt__, __ge__ = map(_plainly, (operator.lt, operator.le, operator.gt, operator.ge))
    __eq__, __ne__, __floordiv__ = map(_plainly, (operator.eq, operator.ne, np.floor_divide))

    def __mod__(self, other: Any) -> NoReturn:
        raise TypeError(no_rule(np.remainder))

    # ---- methods named as in NumPy ----------------------------------------------------------------------------------
    sum, mean, var, std, max, min, prod = map(_method, (np.sum, np.mean, np.var, np.std, np.max, np.min, np.prod))
    cumsum, swapaxes, squeeze, dot, ravel = map(_method, (np.cumsum, np.swapaxes, np.squeeze, np.dot, np.ravel))
    argmax, argmin = map(_method, (np.argmax, np.argmin))
    flatten = ravel

    def reshape(self, *shape: Any) -> Value:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Value:
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return np.transpose(self, None if type(axes) is tuple and not axes else axes)

    # ---- the NumPy protocol -----------------------------------------------------------------------------------------
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs:
            op = FUNCTIONS.get(ufunc)
            if op is not None:
                at_once = ufunc in _DIRECT or op is _matmul and type(inputs[0]) is ndarray and inputs[0].ndim > 1 < self.array.ndim
                return record(op, inputs) if at_once else _apply(op, inputs, kwargs)
        if ufunc in PLAIN_FUNCTIONS and method != "at" and "out" not in kwargs:         # those would write into a Tensor
            return _without_gradient(ufunc if method == "__call__" else getattr(ufunc, method), inputs, kwargs)
        return _apply(*rephrased(ufunc, method, inputs, kwargs))

    def __array_function__(self, function: Callable[..., Any], types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        op = FUNCTIONS.get(function)
        if op is not None:
            return _apply(op, args, kwargs)
        if function not in PLAIN_FUNCTIONS:
            raise TypeError(no_rule(function))
        if isinstance(kwargs.get("out"), Tensor):
            raise TypeError(no_rule(function, keywords=["out"]))
        return _without_gradient(function, args, kwargs)


# ---- recording ----------------------------------------------------------------------------------------------------------

def record(op: ops.Op, inputs: tuple[Any, ...], attributes: dict[str, Any] | None = None) -> Tensor:
    """Compute ``op`` on inputs (Tensors, arrays, Python numbers) and remember it: graphs are made here (a scan makes its one node)."""
    arrays: list[Any] = []
    track = False
    for x in inputs:
        if type(x) is Tensor:
            arrays.append(x.array)
            if x.requires_grad:
                track = True
        elif type(x) is ndarray and x.ndim:
            arrays.append(x.copy())     # its owner may change it before the gradients are computed
        elif type(x) in _NUMBERS:
            arrays.append(x)
        elif isinstance(x, Tensor):
            return x.follow(op, inputs, attributes)     # not computed but traced: compile/traced.py
        else:
            return record(op, tuple([_operand(x, op) for x in inputs]), attributes)
    try:
        y = op.value(*arrays) if attributes is None else op.value(*arrays, **attributes)
    except Exception as error:
        explain_failure(error, op, inputs, mode.place)
        raise
    out = _new(Tensor)
    if op.saves:
        y, out.saved = y
    out.array = y if type(y) is ndarray else np.asarray(y)
    out.index = _clock()
    out.grad = out.name = None
    now = mode.__dict__                 # this thread's, looked up once
    out.place = place = now["place"]
    out.requires_grad = track = track and now["recording"]
    if track or place is not None and now["recording"] and all([x.op is None or x.place is place for x in inputs if type(x) is Tensor]):
        out.op, out.inputs, out.arrays, out.attributes = op, inputs, tuple(arrays), attributes
        if track and now["watch"] is not None:
            now["watch"](out)
    else:       # a constant; one of a step is drawn, [x_1, h_0] in the first: its history ends where the step began
        out.op = out.attributes = None
        out.inputs = out.arrays = ()
    return out


def _operand(x: Any, op: ops.Op) -> Any:
    """What an op takes besides Tensors: Python and 0-d numbers stay weak; arrays are copied, since they may change."""
    if type(x) is Tensor or type(x) in _NUMBERS:
        return x
    array = ops.numbers(x, f"{op.name}: ")
    if array.ndim:
        return array
    number = array.item()
    return number if type(number) in _NUMBERS else _NUMBER_OF[array.dtype.kind](number)         # a longdouble's item is one again


def _apply(op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A call through the NumPy protocol: an op, or a composition of ops."""
    try:
        if type(op) is not ops.Op:
            return op(*args, **kwargs)
        y = op.compose(*args, **kwargs) if op.compose else NotImplemented
        if y is not NotImplemented:
            return y
        inputs, attributes = op.call(*args, **kwargs) if op.call else _as_given(*args, **kwargs)
    except Exception as error:
        name = getattr(op, "name", None) or op.__name__
        if type(error) is TypeError and error.__traceback__ and error.__traceback__.tb_next is None:   # the call itself does not fit
            return _apply(op, args, fitting(name, kwargs, error))
        explain_call(error, name, args, kwargs)
        raise
    return record(op, inputs, attributes)


def _as_given(*args: Any) -> tuple[tuple[Any, ...], None]:
    return args, None


def _without_gradient(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A function that has no gradient gives plain arrays."""
    take = _real if function in OF_THE_REAL_PART else _plain
    try:
        return function(*map(take, args), **{k: _plain(x) for k, x in kwargs.items()}) if kwargs else function(*map(take, args))
    except Exception as error:
        explain_call(error, function.__name__, args, kwargs)
        raise


def _fill(out: Tensor, array: ndarray, requires_grad: bool, name: str | None) -> Tensor:
    """Make ``out`` a leaf around an array, which is not copied."""
    out.array, out.requires_grad, out.name = array, requires_grad, name
    out.op = out.attributes = out.grad = None
    out.inputs = out.arrays = ()
    out.place, out.index = mode.place, _clock()
    return out


def _leaf(array: ndarray, requires_grad: bool = False, name: str | None = None) -> Tensor:
    """A Tensor around an array, which is not copied."""
    return _fill(_new(Tensor), array, requires_grad, name)


def _plain(x: Any) -> Any:
    if isinstance(x, (list, tuple)):
        return type(x)(_plain(v) for v in x)
    return x.array if type(x) is Tensor else x.numpy() if isinstance(x, Tensor) else x


def _real(x: Any) -> Any:
    x = x.array if type(x) is Tensor else x
    return x.real if isinstance(x, (ndarray, complex)) else x


def parameter(data: Any, name: str | None = None) -> Tensor:
    """A Tensor whose gradient is wanted: ``Tensor(data, requires_grad=True)``; integers become float64.

    >>> parameter([1, 2], name="b")
    Tensor([1., 2.], name='b', requires_grad=True)
    """
    data = data.data if isinstance(data, Tensor) else data
    array = np.asarray(data)
    return Tensor(array.astype(float) if array.dtype.kind in "biu" else array, requires_grad=True, name=name)


_new = Tensor.__new__
_DIRECT = {f for f, op in FUNCTIONS.items() if type(op) is ops.Op and op.call is None and op.compose is None}
ops.HANDLERS[Tensor] = _apply
_NUMBER_OF = {"f": float, "c": complex, "b": int, "i": int, "u": int}
_NUMBERS = frozenset((float, int, complex))
_BASIC = frozenset((int, slice, type(None)))
_square, _negative, _matmul, _getitem, _transpose = (TABLE[n] for n in ("square", "negative", "matmul", "getitem", "transpose"))
